/* SPDX-License-Identifier: MIT */
/*
 * A message → a command of the table → its reply. Main thread. Classes and
 * texts of the protocol's own errors are the ones that QEMU's clients know.
 */
#include <errno.h>
#include <string.h>

#include "log.h"
#include "monitor/internal.h"
#include "monitor/props.h"

const struct command_group *const command_groups[] = {
	&session_commands,
	&lifecycle_commands,
	&query_commands,
	&device_commands,
	&block_node_commands,
	&object_commands,
	&fd_commands,
	&pci_commands,
	&query_block_commands,
	&block_stats_commands,
	&schema_commands,
	&disk_commands,
	&pmem_commands,
	&share_commands,
	&resource_commands,
	&stats_commands,
	&block_commands,
	&net_commands,
	&netdev_commands,
	&vsock_commands,
	&memory_commands,
	&qom_commands,
	&save_commands,
	&dump_commands,
	&migrate_commands,
	&cpu_commands,
	&chardev_commands,
	NULL,
};

/* json-c's types and what QEMU calls them. */
static const struct {
	enum json_type type;
	const char *name;
} arg_types[] = {
	[ARG_UINT] = { json_type_int, "integer" },
	[ARG_ARRAY] = { json_type_array, "array" },
	[ARG_STRING] = { json_type_string, "string" },
	[ARG_BOOL] = { json_type_boolean, "boolean" },
	[ARG_OBJECT] = { json_type_object, "object" },
};

static void complete(struct session *s, struct json_object *reply,
		     const char *member, struct json_object *value)
{
	if (!reply)
		reply = json_object_new_object();
	json_object_object_add(reply, member, value);
	session_send(s, reply);
}

void reply_return(struct session *s, struct json_object *reply,
		  struct json_object *result)
{
	complete(s, reply, "return",
		 result ? result : json_object_new_object());
}

void reply_error(struct session *s, struct json_object *reply,
		 const struct error *e)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "class", json_object_new_string(
				       error_class_name(e->class)));
	json_object_object_add(o, "desc", json_object_new_string(e->text));
	complete(s, reply, "error", o);
}

/* NULL also for a string with a zero inside, which no name has. */
static const char *plain_string(struct json_object *o)
{
	const char *text = json_object_get_string(o);

	return strlen(text) == (size_t)json_object_get_string_len(o) ? text :
								       NULL;
}

static int check_member(const char *key, struct json_object *value,
			struct error *e)
{
	if (!strcmp(key, "execute")) {
		if (!json_object_is_type(value, json_type_string))
			return error_set(e, -EINVAL, "QMP input member "
					 "'execute' must be a string");
	} else if (!strcmp(key, "arguments")) {
		if (!json_object_is_type(value, json_type_object))
			return error_set(e, -EINVAL, "QMP input member "
					 "'arguments' must be an object");
	} else if (strcmp(key, "id")) {
		return error_set(e, -EINVAL,
				 "QMP input member '%s' is unexpected", key);
	}
	return 0;
}

/* {"execute": …, "arguments": …, "id": …} and nothing else. */
static int check_envelope(struct json_object *message, struct error *e)
{
	int ret;

	json_object_object_foreach(message, key, value) {
		ret = check_member(key, value, e);
		if (ret)
			return ret;
	}
	if (!json_object_object_get_ex(message, "execute", NULL))
		return error_set(e, -EINVAL,
				 "QMP input lacks member 'execute'");
	return 0;
}

static const struct command *find(const char *name)
{
	for (size_t g = 0; name && command_groups[g]; g++)
		for (size_t i = 0; i < command_groups[g]->count; i++)
			if (!strcmp(command_groups[g]->commands[i].name, name))
				return &command_groups[g]->commands[i];
	return NULL;
}

static const struct command_arg *find_arg(const struct command *c,
					  const char *name)
{
	for (const struct command_arg *a = c->args; a && a->name; a++)
		if (!strcmp(a->name, name))
			return a;
	return NULL;
}

/* The types of our own commands are as loose as device_add's: `mote ctl` sends
 * on and off as they are written. */
static int check_loosely(const struct command_arg *a,
			 struct json_object *value, struct error *e)
{
	const struct prop p = {
		a->name, a->type == ARG_BOOL ? PROP_BOOL : PROP_UINT, false,
	};

	return prop_check(&p, value, e);
}

static int check_type(const struct command *c, const struct command_arg *a,
		      struct json_object *value, struct error *e)
{
	if (a->type == ARG_ANY)
		return 0;
	if (c->resource && (a->type == ARG_BOOL || a->type == ARG_UINT))
		return check_loosely(a, value, e);
	if (!json_object_is_type(value, arg_types[a->type].type))
		return error_set(e, -EINVAL, "Invalid parameter type for '%s', "
				 "expected: %s", a->name,
				 arg_types[a->type].name);
	if (a->type == ARG_STRING && !plain_string(value))
		return error_set(e, -EINVAL,
				 "Parameter '%s' has a zero inside", a->name);
	if (a->type == ARG_UINT && json_object_get_int64(value) < 0)
		return error_set(e, -ERANGE,
				 "Parameter '%s' must not be negative",
				 a->name);
	return 0;
}

static int check_args(const struct command *c, struct json_object *args,
		      struct error *e)
{
	int ret;

	json_object_object_foreach(args, key, value) {
		const struct command_arg *a = find_arg(c, key);

		if (!a && c->open)
			continue;
		if (!a)
			return error_set(e, -EINVAL,
					 "Parameter '%s' is unexpected", key);
		ret = check_type(c, a, value, e);
		if (ret)
			return ret;
	}
	for (const struct command_arg *a = c->args; a && a->name; a++)
		if (a->required &&
		    !json_object_object_get_ex(args, a->name, NULL))
			return error_class_set(e, c->resource ?
					       ERROR_MISSING_PARAMETER :
					       ERROR_GENERIC, -EINVAL,
					       "Parameter '%s' is missing",
					       a->name);
	return 0;
}

/* The command's name is known to be a string. */
static int look_up(const struct session *s, struct json_object *message,
		   const struct command **out, struct error *e)
{
	struct json_object *name = json_object_object_get(message, "execute");
	const struct command *c = find(plain_string(name));

	if (!s->negotiated && (!c || strcmp(c->name, "qmp_capabilities")))
		return error_class_set(e, ERROR_COMMAND_NOT_FOUND, -EPERM,
				       "Expecting capabilities negotiation "
				       "with 'qmp_capabilities'");
	if (!c)
		return error_class_set(e, ERROR_COMMAND_NOT_FOUND, -ENOENT,
				       "The command %s has not been found",
				       json_object_get_string(name));
	*out = c;
	return 0;
}

static int run(struct session *s, const struct command *c,
	       struct json_object *message, struct json_object **result,
	       struct error *e)
{
	struct json_object *args;
	int ret;

	if (json_object_object_get_ex(message, "arguments", &args))
		json_object_get(args);
	else
		args = json_object_new_object();
	ret = check_args(c, args, e);
	if (!ret)
		ret = c->run_vm ? c->run_vm(s->monitor->vm, e) :
				  c->run(s, args, result, e);
	json_object_put(args);
	/* Our own say which arguments cannot be; QEMU's have no class for it. */
	if (ret == -EINVAL && c->resource && e->class == ERROR_GENERIC)
		e->class = ERROR_INVALID_CONFIG;
	return ret;
}

/* An id of any type is given back as it came, null too. */
static struct json_object *new_reply(struct json_object *message)
{
	struct json_object *reply = json_object_new_object();
	struct json_object *id;

	if (json_object_object_get_ex(message, "id", &id))
		json_object_object_add(reply, "id", json_object_get(id));
	return reply;
}

static struct json_object *take_reply(struct session *s)
{
	struct json_object *reply = s->reply;

	s->reply = NULL;
	return reply;
}

void dispatch(struct session *s, struct json_object *message)
{
	struct json_object *result = NULL;
	const struct command *c = NULL;
	struct error e;
	int ret;

	if (!json_object_is_type(message, json_type_object)) {
		error_set(&e, -EINVAL, "QMP input must be a JSON object");
		reply_error(s, NULL, &e);
		return;
	}
	s->reply = new_reply(message);
	ret = check_envelope(message, &e);
	if (!ret)
		ret = look_up(s, message, &c, &e);
	if (!ret) {
		log_debug("monitor: %s", c->name);
		ret = run(s, c, message, &result, &e);
	}
	if (ret == COMMAND_DEFERRED) {
		wait_keep_result(s, result);
		return;
	}
	if (ret < 0) {
		log_debug("monitor: %s: %s", error_class_name(e.class), e.text);
		reply_error(s, take_reply(s), &e);
		return;
	}
	reply_return(s, take_reply(s), result);
	if (c->after)
		c->after(s);
}
