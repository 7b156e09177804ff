/* SPDX-License-Identifier: MIT */
/*
 * share-add, share-remove, and device_add virtio-9p-pci. A directory that is
 * shared already is counted, by the device (device_use()), so that whatever
 * takes the device away takes the count along. Main thread.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "monitor/drivers.h"
#include "monitor/objects.h"
#include "config/option_9p.h"

static const struct config_9p *share_of(const struct device *d)
{
	return d->type == DEVICE_9P ? d->config : NULL;
}

/* A directory that is gone is known by what it was called. */
static char *real_path(const char *path)
{
	char *real = realpath(path, NULL);

	return real ? real : strdup(path);
}

/* The first behind from (NULL: of all) with this path, this tag; NULL: any. */
static struct device *find_next(struct vm *vm, const struct device *from,
				const char *path, const char *tag)
{
	char *real = path ? real_path(path) : NULL;
	struct device *d = from ? from->next : vm_device_first(vm);

	for (; d; d = d->next) {
		const struct config_9p *s = share_of(d);
		char *there = s && path ? real_path(s->path) : NULL;
		bool same = s && (!path || (real && there &&
					    !strcmp(real, there)));

		free(there);
		if (same && (!tag || !strcmp(s->tag, tag)))
			break;
	}
	free(real);
	return d;
}

static struct json_object *share_json(const struct device *d,
				      unsigned int refs)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "tag",
			       json_object_new_string(share_of(d)->tag));
	json_object_object_add(o, "refs", json_object_new_int64(refs));
	return o;
}

/* ---- share-add ----------------------------------------------------------- */

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : a == b;
}

/* What tells a share from the one that is asked for; NULL: nothing. */
static const char *difference(const struct device *d,
			      const struct config_9p *s)
{
	const struct config_9p *there = share_of(d);

	return there->readonly != s->readonly ? "readonly" :
	       !same_text(there->allowed, s->allowed) ? "allowed" :
	       s->tag && strcmp(there->tag, s->tag) ? "tag" :
	       s->id && !same_text(d->id, s->id) ? "id" :
	       s->msize_bytes && there->msize_bytes != s->msize_bytes ?
		       "msize" : NULL;
}

/* first: the first one of that directory, which may be shared several times. */
static int add_again(struct vm *vm, struct device *first,
		     const struct config_9p *s, struct device **out,
		     struct error *e)
{
	struct device *d = first;

	while (d && difference(d, s))
		d = find_next(vm, d, s->path, NULL);
	if (!d)
		return error_class_set(e, ERROR_ALREADY_ATTACHED, -EEXIST,
				       "%s is shared as '%s' with another %s",
				       s->path, share_of(first)->tag,
				       difference(first, s));
	if (d->removing)
		return error_class_set(e, ERROR_INVALID_STATE, -EBUSY,
				       "the guest was asked to let '%s' go and "
				       "has not yet", share_of(d)->tag);
	device_use(d, 1);
	*out = d;
	return 0;
}

static int check_tag(struct vm *vm, const char *tag, struct error *e)
{
	const struct device *d = find_next(vm, NULL, NULL, tag);

	return !d ? 0 : error_class_set(e, ERROR_ALREADY_ATTACHED, -EEXIST,
					"the tag '%s' is that of %s", tag,
					share_of(d)->path);
}

/* The tag asked for, or the first free of share0, share1 and so on. */
static int choose_tag(struct vm *vm, struct config_9p *s, struct error *e)
{
	char text[32];

	if (s->tag)
		return check_tag(vm, s->tag, e);
	for (unsigned int n = 0; !s->tag; n++) {
		snprintf(text, sizeof(text), "share%u", n);
		if (find_next(vm, NULL, NULL, text))
			continue;
		s->tag = strdup(text);
		if (!s->tag)
			return error_set(e, -ENOMEM, "out of memory");
	}
	return 0;
}

static int check_id(struct vm *vm, const char *given, const char *id,
		    struct error *e)
{
	int ret = id_check(given, "id", e);

	if (!ret && vm_device_find(vm, id))
		ret = error_class_set(e, ERROR_ALREADY_ATTACHED, -EEXIST,
				      "there is a device '%s' already", id);
	return ret;
}

static int add_new(struct vm *vm, struct config_9p *s, struct device **out,
		   struct error *e)
{
	struct device_spec spec = {
		.type = DEVICE_9P, .config = s, .bus = -1, .slot = -1,
	};
	char id[CONFIG_TAG_MAX + 8], *real = realpath(s->path, NULL);
	int ret = 0;

	if (!real)
		return error_of_named(e, error_errno(e, -errno, "9p %s",
						     s->path));
	free(s->path);
	s->path = real;
	ret = choose_tag(vm, s, e);
	if (!ret)
		ret = config_check_share(s, e);
	if (ret)
		return ret;
	snprintf(id, sizeof(id), "share-%s", s->tag);
	spec.id = s->id ? s->id : id;
	ret = check_id(vm, s->id, spec.id, e);
	return ret ? ret : error_of_named(e, vm_device_add(vm, &spec, out, e));
}

/* The arguments are the sub-options of --9p. */
static int parse(struct json_object *args, struct config_9p *out,
		 struct error *e)
{
	static const struct option option = {
		.name = "9p", .bare = "path", .fields = option_9p_fields,
	};
	struct vm_config c = { 0 };
	int ret = option_9p_set(&c, &option, args, "share-add", e);

	if (!ret)
		*out = c.shares[0];
	free(c.shares);
	return ret;
}

static int share_add(struct session *s, struct json_object *args,
		     struct json_object **result, struct error *e)
{
	struct vm *vm = s->monitor->vm;
	struct config_9p share;
	struct device *d;
	int ret = parse(args, &share, e);

	if (ret)
		return ret;
	d = find_next(vm, NULL, share.path, NULL);
	ret = d ? add_again(vm, d, &share, &d, e) :
		  add_new(vm, &share, &d, e);
	config_9p_deinit(&share);
	if (!ret)
		*result = share_json(d, d->uses);
	return ret;
}

/* ---- share-remove -------------------------------------------------------- */

static int share_remove(struct session *s, struct json_object *args,
			struct json_object **result, struct error *e)
{
	struct vm *vm = s->monitor->vm;
	const char *path = arg_string(args, "path");
	const char *tag = arg_string(args, "tag");
	struct device *d;
	int ret;

	if (!path && !tag)
		return error_class_set(e, ERROR_MISSING_PARAMETER, -EINVAL,
				       "which share: path or tag");
	d = find_next(vm, NULL, path, tag);
	if (!d || !d->id)
		return error_class_set(e, ERROR_NOT_ATTACHED, -ENOENT,
				       "%s is not shared%s%s",
				       path ? path : tag,
				       path && tag ? " as " : "",
				       path && tag ? tag : "");
	/* The last use stays one until the guest has let it go. */
	if (d->uses > 1) {
		device_use(d, -1);
		*result = share_json(d, d->uses);
		return 0;
	}
	*result = share_json(d, 0);
	ret = wait_remove_device(s, d, arg_uint(args, "timeout-ms",
						REMOVE_TIMEOUT_MS),
				 arg_bool(args, "force", false), e);
	if (ret < 0) {
		json_object_put(*result);
		*result = NULL;
	}
	return ret;
}

/* ---- device_add ---------------------------------------------------------- */

const struct prop driver_9p_props[] = {
	{ "mount_tag", PROP_STRING, true },
	{ "fsdev", PROP_STRING, false },
	{ "path", PROP_STRING, false },
	{ "readonly", PROP_BOOL, false },
	{ 0 },
};

/*
 * QEMU takes its fsdev from the command line only. Here it is an object of
 * object-add, or the device has the path itself.
 */
int driver_9p_add(struct session *s, struct json_object *args,
		  struct device_spec spec, struct error *e)
{
	const char *fsdev = prop_string(args, "fsdev");
	struct config_9p share = {
		.id = (char *)spec.id,
		.path = (char *)prop_string(args, "path"),
		.tag = (char *)prop_string(args, "mount_tag"),
		.readonly = prop_bool(args, "readonly", false),
	};
	const struct object *o;
	int ret;

	if (!fsdev == !share.path)
		return error_set(e, -EINVAL, "virtio-9p-pci: one of fsdev and "
				 "path");
	if (fsdev) {
		o = object_find(s->monitor, fsdev, "fsdev-local", "fsdev", e);
		if (!o)
			return -ENOENT;
		share.path = (char *)prop_string(o->props, "path");
		share.readonly |= prop_bool(o->props, "readonly", false);
	}
	ret = config_check_share(&share, e);
	if (!ret)
		ret = check_tag(s->monitor->vm, share.tag, e);
	if (ret)
		return ret;
	spec.type = DEVICE_9P;
	spec.object = fsdev;
	spec.config = &share;
	return vm_device_add(s->monitor->vm, &spec, NULL, e);
}

/* ---- the table ----------------------------------------------------------- */

static const struct command_arg add_args[] = {
	{ "path", ARG_STRING, true },
	{ "tag", ARG_STRING, false },
	{ "id", ARG_STRING, false },
	{ "readonly", ARG_BOOL, false },
	{ "allowed", ARG_ANY, false },
	{ "msize", ARG_ANY, false },
	{ 0 },
};

static const struct command_arg remove_args[] = {
	{ "path", ARG_STRING, false },
	{ "tag", ARG_STRING, false },
	{ "timeout-ms", ARG_UINT, false },
	{ "force", ARG_BOOL, false },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "share-add",
		.help = "Share a directory once more: path, [tag], [id], "
			"[readonly], [allowed], [msize]",
		.args = add_args,
		.resource = true,
		.run = share_add,
	}, {
		.name = "share-remove",
		.help = "Once less, the last time take it away: path or tag, "
			"[timeout-ms] (30 s), [force]",
		.args = remove_args,
		.resource = true,
		.run = share_remove,
	},
};

const struct command_group share_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
