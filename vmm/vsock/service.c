/* SPDX-License-Identifier: MIT */
/*
 * What the user said about ports. The functions of vsock.h are the main thread's
 * and change the list on the loop; the others are the loop's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "vsock/internal.h"

struct service {
	struct service *next;
	uint32_t port;
	char *path;
	bool once, disabled;
	bool spent;		/* once, and it has been */
	uid_t *uids;
	size_t uid_count;
};

static struct service *find(const struct vsock *v, uint32_t port)
{
	struct service *s = v->services;

	while (s && s->port != port)
		s = s->next;
	return s;
}

char *service_path(struct vsock *v, uint32_t port)
{
	const struct service *s = find(v, port);
	char *path;

	if (s && (s->disabled || s->spent))
		return NULL;
	if (s && s->path)
		return strdup(s->path);
	if (!v->path || asprintf(&path, "%s_%u", v->path, port) < 0)
		return NULL;
	return path;
}

bool service_allows(const struct vsock *v, uint32_t port, uid_t uid)
{
	const struct service *s = find(v, port);

	if (!s)
		return true;
	if (s->disabled)
		return false;
	for (size_t i = 0; i < s->uid_count; i++)
		if (s->uids[i] == uid)
			return true;
	return !s->uid_count;
}

void service_used(struct vsock *v, uint32_t port)
{
	struct service *s = find(v, port);

	if (s && s->once)
		s->spent = true;
}

static void service_free(struct service *s)
{
	if (!s)
		return;
	free(s->path);
	free(s->uids);
	free(s);
}

void services_free(struct vsock *v)
{
	struct service *s;

	while ((s = v->services)) {
		v->services = s->next;
		service_free(s);
	}
}

static int check(const struct vsock *v, const struct vsock_service *s,
		 struct error *e)
{
	const size_t max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

	if (s->path && (!*s->path || strlen(s->path) > max))
		return error_config(e, -EINVAL, "vsock port %u: path: from 1 "
				    "to %zu bytes", s->port, max);
	if (!s->path && !s->disabled && !v->path)
		return error_class_set(e, ERROR_MISSING_PARAMETER, -EINVAL,
				       "vsock port %u: path: --vsock has none "
				       "to take it from", s->port);
	if (s->uid_count > VSOCK_MAX_UIDS)
		return error_config(e, -EINVAL, "vsock port %u: allow-uid: at "
				    "most %u", s->port, VSOCK_MAX_UIDS);
	return 0;
}

static struct service *copy(const struct vsock_service *from)
{
	struct service *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->port = from->port;
	s->once = from->once;
	s->disabled = from->disabled;
	s->path = from->path ? strdup(from->path) : NULL;
	s->uids = from->uid_count ? calloc(from->uid_count, sizeof(*s->uids)) :
				    NULL;
	if ((from->path && !s->path) || (from->uid_count && !s->uids)) {
		service_free(s);
		return NULL;
	}
	if (s->uids)
		memcpy(s->uids, from->uids,
		       from->uid_count * sizeof(*s->uids));
	s->uid_count = from->uid_count;
	return s;
}

/* ---- changes, made on the loop ------------------------------------------- */

struct change {
	struct vsock *v;
	uint32_t port;
	struct service *new;	/* NULL: the service goes */
	bool only_new;		/* -EEXIST for one that is in use */
	bool drop_existing;	/* instead of replacing it */
	int ret;
};

static void take_out(struct vsock *v, uint32_t port)
{
	struct service **p = &v->services, *s;

	while (*p && (*p)->port != port)
		p = &(*p)->next;
	s = *p;
	if (!s)
		return;
	*p = s->next;
	v->service_count--;
	service_free(s);
}

static void change_on_loop(void *opaque)
{
	struct change *c = opaque;
	struct vsock *v = c->v;
	const struct service *old = find(v, c->port);

	if (old && c->only_new && !old->spent) {
		c->ret = -EEXIST;
	} else if (!old && c->new && v->service_count == VSOCK_MAX_SERVICES) {
		c->ret = -ENOSPC;
	} else {
		bool drop = !c->new || (old && c->drop_existing);

		take_out(v, c->port);
		if (drop)
			return;
		c->new->next = v->services;
		v->services = c->new;
		v->service_count++;
		c->new = NULL;
	}
}

static int set(struct vsock *v, const struct vsock_service *s, bool only_new,
	       struct error *e)
{
	struct change c = { .v = v, .port = s->port, .only_new = only_new };
	int ret = check(v, s, e);

	if (ret)
		return ret;
	c.drop_existing = s->disabled && !s->path && !s->uid_count && !s->once;
	c.new = copy(s);
	if (!c.new)
		return error_set(e, -ENOMEM, "out of memory");
	loop_call(v->loop, change_on_loop, &c);
	service_free(c.new);
	if (c.ret == -EEXIST)
		return error_class_set(e, ERROR_ALREADY_SET, c.ret,
				       "vsock port %u has a service already",
				       s->port);
	if (c.ret)
		return error_class_set(e, ERROR_TOO_MANY_ATTACHMENTS, c.ret,
				       "vsock port %u: there are %u services",
				       s->port, VSOCK_MAX_SERVICES);
	return 0;
}

int vsock_listen(struct vsock *v, const struct vsock_service *s,
		 struct error *e)
{
	return set(v, s, true, e);
}

int vsock_service_set(struct vsock *v, const struct vsock_service *s,
		      struct error *e)
{
	return set(v, s, false, e);
}

void vsock_service_remove(struct vsock *v, uint32_t port)
{
	struct change c = { .v = v, .port = port };

	loop_call(v->loop, change_on_loop, &c);
}
