/* SPDX-License-Identifier: MIT */
/* Validation of network devices, and what is derived for them. Main thread. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

#define ID_MAX	127

void config_net_deinit(struct config_net *n)
{
	free(n->id);
	free(n->tap);
	free(n->fd);
	free(n->unix_path);
	free(n->mac);
	free(n->netdev);
}

static char *copy_string(const char *text, bool *failed)
{
	char *copy = text ? strdup(text) : NULL;

	*failed |= text && !copy;
	return copy;
}

int config_net_copy(struct config_net *dst, const struct config_net *src)
{
	bool failed = false;

	*dst = *src;
	dst->id = copy_string(src->id, &failed);
	dst->tap = copy_string(src->tap, &failed);
	dst->fd = copy_string(src->fd, &failed);
	dst->unix_path = copy_string(src->unix_path, &failed);
	dst->mac = copy_string(src->mac, &failed);
	dst->netdev = copy_string(src->netdev, &failed);
	if (failed)
		config_net_deinit(dst);
	return failed ? -ENOMEM : 0;
}

static int no_memory(struct error *e)
{
	return error_set(e, -ENOMEM, "out of memory");
}

static bool id_taken(const struct vm_config *c, const char *id)
{
	for (size_t i = 0; i < c->net_count; i++)
		if (c->nets[i].id && !strcmp(c->nets[i].id, id))
			return true;
	return false;
}

static int name_net(struct vm_config *c, struct config_net *n, struct error *e)
{
	char id[24];

	for (unsigned int i = 0; !n->id; i++) {
		snprintf(id, sizeof(id), "net%u", i);
		if (id_taken(c, id))
			continue;
		n->id = strdup(id);
		if (!n->id)
			return no_memory(e);
	}
	return 0;
}

static int check_id(const struct vm_config *c, const struct config_net *n,
		    struct error *e)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
		"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";

	if (!*n->id || strlen(n->id) > ID_MAX ||
	    n->id[strspn(n->id, allowed)])
		return error_config(e, -EINVAL, "--net: id '%s': up to %u "
				    "letters, digits and ._:-", n->id, ID_MAX);
	for (const struct config_net *p = c->nets; p < n; p++)
		if (p->id && !strcmp(p->id, n->id))
			return error_config(e, -EINVAL, "--net: id '%s' is "
					    "given twice", n->id);
	return 0;
}

/* What the kernel takes as a name, and no pattern of one. */
static int check_tap(const struct config_net *n, struct error *e)
{
	size_t len = strlen(n->tap);
	bool bad = len >= IFNAMSIZ || !strcmp(n->tap, ".") ||
		   !strcmp(n->tap, "..");

	for (const char *p = n->tap; *p; p++)
		bad |= !isgraph((unsigned char)*p) || strchr("/:%", *p);
	if (bad)
		return error_config(e, -EINVAL, "--net: tap '%s' cannot be an "
				    "interface's name: up to %d characters, "
				    "none of /:%% and spaces", n->tap,
				    IFNAMSIZ - 1);
	return 0;
}

static int parse_fds(struct config_net *n, struct error *e)
{
	const char *p = n->fd;

	n->fd_count = 0;
	for (;; p++) {
		char *end;
		unsigned long fd;

		errno = 0;
		fd = strtoul(p, &end, 10);
		if (!isdigit((unsigned char)*p) || (*end && *end != ':') ||
		    errno || fd > INT_MAX)
			return error_config(e, -EINVAL, "--net: fd=%s: not of "
					    "the form N[:N...]", n->fd);
		if (n->fd_count == CONFIG_MAX_NET_QUEUES)
			return error_config(e, -EINVAL, "--net: fd=%s: more "
					    "than %u descriptors", n->fd,
					    CONFIG_MAX_NET_QUEUES);
		for (unsigned int i = 0; i < n->fd_count; i++)
			if (n->fds[i] == (int)fd)
				return error_config(e, -EINVAL, "--net: fd=%s: "
						    "%lu is there twice",
						    n->fd, fd);
		n->fds[n->fd_count++] = (int)fd;
		p = end;
		if (!*p)
			return 0;
	}
}

static int check_backend(struct config_net *n, struct error *e)
{
	unsigned int given = n->user + (n->tap != NULL) + (n->fd != NULL) +
			     (n->unix_path != NULL);
	int ret = 0;

	if (given != 1)
		return error_config(e, -EINVAL, "--net: id=%s: %s one of user, "
				    "tap=NAME, fd=N, unix=PATH", n->id,
				    given ? "more than" : "no back end:");
	if (n->tap)
		ret = check_tap(n, e);
	else if (n->fd && !n->fds_lent)
		ret = parse_fds(n, e);
	if (ret)
		return ret;
	if (n->fd && n->queues && n->queues != n->fd_count)
		return error_config(e, -EINVAL, "--net: queues=%u, but fd=%s",
				    n->queues, n->fd);
	if (!n->queues)
		n->queues = n->fd ? n->fd_count : 1;
	if (n->queues > CONFIG_MAX_NET_QUEUES)
		return error_config(e, -EINVAL, "--net: queues=%u: from 1 to "
				    "%u", n->queues, CONFIG_MAX_NET_QUEUES);
	if (!n->tap && !n->fd && n->queues > 1)
		return error_config(e, -EINVAL, "--net: queues=%u: only tap "
				    "and fd can have several", n->queues);
	if (!n->tap && !n->fd && n->vhost)
		return error_config(e, -EINVAL, "--net: vhost=on: only with "
				    "tap or fd");
	return 0;
}

/* Stable for a VM's UUID and the device's id: FNV-1a, 64 bits. */
static void derive_mac(const char *uuid, const char *id, uint8_t mac[6])
{
	const char *parts[] = { uuid, "/", id };
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 0; i < 3; i++)
		for (const char *p = parts[i]; *p; p++)
			hash = (hash ^ (uint8_t)*p) * 0x100000001b3;
	hash ^= hash >> 32;
	/* Locally administered, an individual's (IEEE 802, 8.2). */
	mac[0] = 0x02;
	for (int i = 1; i < 6; i++)
		mac[i] = (uint8_t)(hash >> (8 * (i - 1)));
}

static int check_mac(const char *uuid, struct config_net *n, struct error *e)
{
	static const uint8_t zero[6];
	unsigned int b[6];
	char text[18];
	int used = 0;

	if (!n->mac) {
		derive_mac(uuid, n->id, n->mac_bytes);
		snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x",
			 n->mac_bytes[0], n->mac_bytes[1], n->mac_bytes[2],
			 n->mac_bytes[3], n->mac_bytes[4], n->mac_bytes[5]);
		n->mac = strdup(text);
		return n->mac ? 0 : no_memory(e);
	}
	if (strlen(n->mac) != 17 ||
	    n->mac[strspn(n->mac, "0123456789abcdefABCDEF:")] ||
	    sscanf(n->mac, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2],
		   &b[3], &b[4], &b[5], &used) != 6 || used != 17)
		return error_config(e, -EINVAL, "--net: mac '%s' is not of the "
				    "form xx:xx:xx:xx:xx:xx", n->mac);
	for (int i = 0; i < 6; i++)
		n->mac_bytes[i] = (uint8_t)b[i];
	if (n->mac_bytes[0] & 1)
		return error_config(e, -EINVAL, "--net: mac %s is a multicast "
				    "address", n->mac);
	if (!memcmp(n->mac_bytes, zero, sizeof(zero)))
		return error_config(e, -EINVAL, "--net: mac %s is no address",
				    n->mac);
	return 0;
}

int config_check_net(const char *uuid, struct config_net *n, struct error *e)
{
	struct vm_config c = { .nets = n, .net_count = 1 };
	int ret = check_id(&c, n, e);

	if (!ret)
		ret = check_backend(n, e);
	return ret ? ret : check_mac(uuid, n, e);
}

int config_check_nets(struct vm_config *c, struct error *e)
{
	int ret = 0;

	for (size_t i = 0; !ret && i < c->net_count; i++) {
		struct config_net *n = &c->nets[i];

		ret = n->id ? check_id(c, n, e) : name_net(c, n, e);
		if (!ret)
			ret = check_backend(n, e);
		if (!ret)
			ret = check_mac(c->uuid, n, e);
	}
	return ret;
}
