/* SPDX-License-Identifier: MIT */
/* `mote ctl`: a client of the monitor. Main thread, a process of its own. */
#include "ctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "ctl_args.h"
#include "error.h"
#include "monitor/framing.h"
#include "nearest.h"
#include "progress.h"

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_USAGE = 2 };

struct ctl {
	const char *path;
	const char *command;		/* NULL: list or follow */
	struct json_object *args;
	bool pretty, follow;
	int fd;
	struct framer framer;
	char in[4096];
	size_t in_start, in_len;
};

static int fail(int status, const struct error *e)
{
	error_say(e->text);
	return status;
}

static int print(const struct ctl *c, struct json_object *o, bool pretty)
{
	int flags = JSON_C_TO_STRING_NOSLASHESCAPE;

	flags |= pretty && c->pretty ?
		 JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED :
		 JSON_C_TO_STRING_PLAIN;
	/* Whoever read it may have left: then there is nobody to tell. */
	if (puts(json_object_to_json_string_ext(o, flags)) < 0 ||
	    fflush(stdout))
		return STATUS_FAILED;
	return STATUS_OK;
}

/* ---- the connection ---- */

static int ctl_connect(struct ctl *c, struct error *e)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(c->path) >= sizeof(addr.sun_path))
		return error_errno(e, -ENAMETOOLONG, "%s", c->path);
	strcpy(addr.sun_path, c->path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 ||
	    connect(c->fd, (const struct sockaddr *)&addr, sizeof(addr)))
		return error_errno(e, -errno, "no monitor at %s", c->path);
	return 0;
}

/* False: whoever reads stdout has left, and may never be written to again. */
static bool wait_input(const struct ctl *c)
{
	struct pollfd fds[] = {
		{ .fd = c->fd, .events = POLLIN },
		{ .fd = STDOUT_FILENO },
	};

	while (poll(fds, 2, -1) < 0 && errno == EINTR)
		;
	return !(fds[1].revents & (POLLERR | POLLNVAL));
}

/* 1: *message is the next one; 0: the stream has ended; -errno. */
static int next_message(struct ctl *c, struct json_object **message,
			struct error *e)
{
	for (;;) {
		enum framer_result r;
		size_t used;
		ssize_t n;

		r = framer_feed(&c->framer, c->in + c->in_start, c->in_len,
				&used, message, e);
		c->in_start += used;
		c->in_len -= used;
		if (r == FRAMER_MESSAGE)
			return 1;
		if (r == FRAMER_ERROR)
			return error_prefix(e, -EPROTO, "%s", c->path);
		n = recv(c->fd, c->in, sizeof(c->in), 0);
		if (n < 0 && errno == EINTR)
			continue;
		/* Reset: it went with commands of ours unread. */
		if (!n || (n < 0 && errno == ECONNRESET))
			return 0;
		if (n < 0)
			return error_errno(e, -errno, "%s", c->path);
		c->in_start = 0;
		c->in_len = (size_t)n;
	}
}

static int send_command(struct ctl *c, const char *name,
			struct json_object *args, struct error *e)
{
	struct json_object *o = json_object_new_object();
	const char *text;
	size_t len;
	int ret = 0;

	json_object_object_add(o, "execute", json_object_new_string(name));
	if (args)
		json_object_object_add(o, "arguments", json_object_get(args));
	text = json_object_to_json_string_length(o, JSON_C_TO_STRING_PLAIN,
						 &len);
	while (len && !ret) {
		ssize_t n = send(c->fd, text, len, MSG_NOSIGNAL);

		if (n > 0) {
			text += n;
			len -= (size_t)n;
		} else if (errno == EPIPE) {
			/* What it said before it left is still to be read. */
			len = 0;
		} else if (errno != EINTR) {
			ret = error_errno(e, -errno, "%s", c->path);
		}
	}
	json_object_put(o);
	return ret;
}

/* What takes long is shown where somebody looks; true: something is. */
static bool show_progress(struct json_object *event)
{
	struct json_object *name, *data, *total, *remaining, *rate;
	bool save;

	if (!isatty(STDERR_FILENO) ||
	    !json_object_object_get_ex(event, "event", &name) ||
	    !json_object_object_get_ex(event, "data", &data) ||
	    !json_object_object_get_ex(data, "total", &total) ||
	    !json_object_object_get_ex(data, "remaining", &remaining) ||
	    !json_object_object_get_ex(data, "bytes-per-second", &rate))
		return false;
	save = !strcmp(json_object_get_string(name), "SAVE_PROGRESS");
	progress_show(STDERR_FILENO, save ? "saving" : "sending",
		      json_object_get_uint64(total) -
			      json_object_get_uint64(remaining),
		      json_object_get_uint64(total),
		      json_object_get_uint64(rate));
	return true;
}

/* The reply to one command; events before it are printed under --follow. */
static int call(struct ctl *c, const char *name, struct json_object *args,
		struct json_object **reply, struct error *e)
{
	int ret = send_command(c, name, args, e);
	bool shown = false;

	if (ret)
		return ret;
	while ((ret = next_message(c, reply, e)) > 0) {
		if (json_object_object_get_ex(*reply, "return", NULL) ||
		    json_object_object_get_ex(*reply, "error", NULL)) {
			if (shown)
				progress_hide(STDERR_FILENO);
			return 0;
		}
		if (!c->follow)
			shown = show_progress(*reply) || shown;
		if (c->follow &&
		    json_object_object_get_ex(*reply, "event", NULL))
			print(c, *reply, false);
		json_object_put(*reply);
	}
	return ret ? ret : error_set(e, -ECONNRESET,
				     "%s: the monitor hung up", c->path);
}

/* ---- what is asked for ---- */

static const char *member_text(struct json_object *o, const char *name)
{
	struct json_object *value;

	return json_object_object_get_ex(o, name, &value) &&
	       json_object_is_type(value, json_type_string) ?
	       json_object_get_string(value) : "";
}

/* The server's list: [{name, help}, …], or NULL. */
static struct json_object *command_list(struct ctl *c,
					struct json_object **reply)
{
	struct json_object *list;
	struct error e;

	if (call(c, "query-commands", NULL, reply, &e)) {
		*reply = NULL;
		return NULL;
	}
	if (!json_object_object_get_ex(*reply, "return", &list) ||
	    !json_object_is_type(list, json_type_array))
		return NULL;
	return list;
}

static const char *name_at(struct json_object *list, size_t i)
{
	return member_text(json_object_array_get_idx(list, i), "name");
}

static int list_commands(struct ctl *c)
{
	struct json_object *reply, *list = command_list(c, &reply);
	int status = STATUS_OK, width = 0;

	if (!list) {
		fprintf(stderr, "mote: %s: no list of commands\n", c->path);
		status = STATUS_FAILED;
	}
	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		if ((int)strlen(name_at(list, i)) > width)
			width = (int)strlen(name_at(list, i));
	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		printf("%-*s  %s\n", width, name_at(list, i), member_text(
			       json_object_array_get_idx(list, i), "help"));
	if (fflush(stdout))
		status = STATUS_FAILED;
	json_object_put(reply);
	return status;
}

/* The commands that begin with what was written; how many there are. */
static size_t complete(const struct ctl *c, struct json_object *list,
		       char *line, size_t size)
{
	size_t used = strlen(line), len = strlen(c->command), count = 0;

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		if (strncmp(name_at(list, i), c->command, len))
			continue;
		/* What there is no room for is cut off. */
		if (used < size)
			used += (size_t)snprintf(line + used, size - used,
						 "%s %s", count ? "," :
						 "; there are", name_at(list, i));
		count++;
	}
	return count;
}

/* Appends to what is said about a command that is not there. */
static void suggest(struct ctl *c, char *line, size_t size)
{
	struct json_object *reply, *list = command_list(c, &reply);
	struct nearest n = { .word = c->command };
	size_t used = strlen(line);

	if (complete(c, list, line, size)) {
		json_object_put(reply);
		return;
	}
	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		nearest_offer(&n, name_at(list, i));
	/* Further away, it is hardly what was meant. */
	if (n.best && n.distance <= strlen(c->command) / 3 + 1)
		snprintf(line + used, size - used, "; did you mean '%s'?",
			 n.best);
	json_object_put(reply);
}

static int print_error(struct ctl *c, struct json_object *error)
{
	const char *class = member_text(error, "class");
	char line[1024];

	snprintf(line, sizeof(line), "%s: %s", class,
		 member_text(error, "desc"));
	if (!strcmp(class, "CommandNotFound"))
		suggest(c, line, sizeof(line));
	error_say(line);
	return STATUS_FAILED;
}

static int run_command(struct ctl *c)
{
	struct json_object *reply, *value;
	struct error e;
	int status;

	if (call(c, c->command, c->args, &reply, &e))
		return fail(STATUS_FAILED, &e);
	if (json_object_object_get_ex(reply, "return", &value))
		status = print(c, value, true);
	else
		status = print_error(c, json_object_object_get(reply, "error"));
	json_object_put(reply);
	return status;
}

/* Events until the VM ends, which is the end of the stream. */
static int follow(struct ctl *c)
{
	struct json_object *o;
	struct error e;
	int ret, status = STATUS_OK;

	while (status == STATUS_OK) {
		if (!c->in_len && !wait_input(c))
			return STATUS_FAILED;
		ret = next_message(c, &o, &e);
		if (ret < 0)
			return fail(STATUS_FAILED, &e);
		if (!ret)
			return STATUS_OK;
		if (json_object_object_get_ex(o, "event", NULL))
			status = print(c, o, false);
		json_object_put(o);
	}
	return status;
}

/* The greeting says whether it is a monitor at all. */
static int negotiate(struct ctl *c, struct error *e)
{
	struct json_object *o;
	bool ok;
	int ret = next_message(c, &o, e);

	if (ret < 0)
		return ret;
	ok = ret && json_object_object_get_ex(o, "QMP", NULL);
	if (ret)
		json_object_put(o);
	if (!ok)
		return error_set(e, -EPROTO, "no monitor at %s: no greeting",
				 c->path);
	ret = call(c, "qmp_capabilities", NULL, &o, e);
	if (ret)
		return ret;
	ok = json_object_object_get_ex(o, "return", NULL);
	json_object_put(o);
	return ok ? 0 : error_set(e, -EPROTO, "no monitor at %s: refused",
				  c->path);
}

static int session(struct ctl *c)
{
	struct error e;
	int status = STATUS_OK;

	if (framer_init(&c->framer)) {
		error_set(&e, -ENOMEM, "out of memory");
		return fail(STATUS_FAILED, &e);
	}
	if (ctl_connect(c, &e) || negotiate(c, &e))
		return fail(STATUS_USAGE, &e);
	if (c->command)
		status = run_command(c);
	else if (!c->follow)
		status = list_commands(c);
	if (c->follow && status == STATUS_OK)
		status = follow(c);
	return status;
}

static int parse(struct ctl *c, int argc, char **argv, struct error *e)
{
	int ret;

	for (int i = 0; i < argc; i++) {
		const char *word = argv[i];

		if (!strcmp(word, "--pretty")) {
			c->pretty = true;
		} else if (!strcmp(word, "--follow")) {
			c->follow = true;
		} else if (!strncmp(word, "--", 2)) {
			return error_config(e, -EINVAL,
					    "ctl: unknown option '%s'; there "
					    "are --pretty and --follow", word);
		} else if (!c->path) {
			c->path = word;
		} else if (!c->command) {
			c->command = word;
		} else {
			ret = ctl_args_add(c->args, word, e);
			if (ret)
				return error_prefix(e, ret, "ctl");
		}
	}
	return c->path ? 0 : error_config(e, -EINVAL, "usage: mote ctl SOCKET "
					  "[COMMAND [key=value]...] "
					  "[--pretty] [--follow]");
}

int ctl_main(int argc, char **argv)
{
	struct ctl c = { .fd = -1 };
	struct error e;
	int status;

	signal(SIGPIPE, SIG_IGN);
	c.args = json_object_new_object();
	if (parse(&c, argc, argv, &e))
		status = fail(STATUS_USAGE, &e);
	else
		status = session(&c);
	framer_deinit(&c.framer);
	if (c.fd >= 0)
		close(c.fd);
	json_object_put(c.args);
	return status;
}
