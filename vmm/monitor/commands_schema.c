/* SPDX-License-Identifier: MIT */
/*
 * query-qmp-schema: QEMU's introspection, as far as clients look: which commands
 * and events there are, and the names and types of arguments. Results are of the
 * type any, and so are the arguments of which a command takes others, too.
 * Main thread.
 */
#include <stdio.h>

#include "monitor/internal.h"

static const struct {
	const char *name, *json_type;
} builtins[] = {
	[ARG_UINT] = { "int", "int" },
	[ARG_ARRAY] = { "array", "array" },
	[ARG_STRING] = { "str", "string" },
	[ARG_BOOL] = { "bool", "boolean" },
	[ARG_OBJECT] = { "object", "object" },
	[ARG_ANY] = { "any", "value" },
};

static struct json_object *entry(struct json_object *list, const char *name,
				 const char *meta_type)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "name", json_object_new_string(name));
	json_object_object_add(o, "meta-type",
			       json_object_new_string(meta_type));
	json_object_array_add(list, o);
	return o;
}

static void put(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static void add_builtin(struct json_object *list, const char *name,
			const char *json_type)
{
	put(entry(list, name, "builtin"), "json-type", json_type);
}

/* An optional member has a default, whose value is not said. */
static struct json_object *members(const struct command_arg *args)
{
	struct json_object *list = json_object_new_array();

	for (; args && args->name; args++) {
		struct json_object *o = json_object_new_object();

		put(o, "name", args->name);
		put(o, "type", builtins[args->type].name);
		if (!args->required)
			json_object_object_add(o, "default", NULL);
		json_object_array_add(list, o);
	}
	return list;
}

static void add_command(struct json_object *list, const struct command *c)
{
	struct json_object *o = entry(list, c->name, "command"), *type;
	char name[96];

	snprintf(name, sizeof(name), "%s-arg", c->name);
	put(o, "arg-type", c->open ? "any" : name);
	put(o, "ret-type", "any");
	json_object_object_add(o, "allow-oob", json_object_new_boolean(0));
	if (c->open)
		return;
	type = entry(list, name, "object");
	json_object_object_add(type, "members", members(c->args));
}

static int query_qmp_schema(struct session *s, struct json_object *args,
			    struct json_object **result, struct error *e)
{
	struct json_object *list = json_object_new_array();

	(void)s;
	(void)args;
	(void)e;
	for (size_t g = 0; command_groups[g]; g++)
		for (size_t i = 0; i < command_groups[g]->count; i++)
			add_command(list, &command_groups[g]->commands[i]);
	for (size_t i = 0; event_names[i]; i++)
		put(entry(list, event_names[i], "event"), "arg-type", "any");
	for (size_t i = 0; i < sizeof(builtins) / sizeof(builtins[0]); i++)
		add_builtin(list, builtins[i].name, builtins[i].json_type);
	*result = list;
	return 0;
}

static const struct command commands[] = {
	{
		.name = "query-qmp-schema",
		.help = "The commands, their arguments and the events, for "
			"programs",
		.run = query_qmp_schema,
	},
};

const struct command_group schema_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
