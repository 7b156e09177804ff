/* SPDX-License-Identifier: MIT */
/*
 * What the monitor's files share. All of it is the main thread's.
 *
 *	server.c	listening, accepting, the end
 *	session.c	one client: bytes in, bytes out, bounded
 *	framing.c	bytes → messages
 *	dispatch.c	a message → a command of the table → a reply
 *	commands_*.c	the commands, by subject
 *	wait.c		replies that come when the VM ends
 *	events.c	what happens in the VM → all clients
 */
#ifndef MOTE_MONITOR_INTERNAL_H
#define MOTE_MONITOR_INTERNAL_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "char/listener.h"
#include "error.h"
#include "loop.h"
#include "monitor/framing.h"
#include "vm.h"

#define MONITOR_MAX_SESSIONS	128
#define SESSION_MAX_WAITERS	64

struct session;

struct monitor {
	struct vm *vm;
	struct loop *loop;
	struct listener listener;
	struct session *sessions;
	unsigned int session_count;
	bool quit;			/* the VM was ended from here */
};

#define SESSION_IN_BYTES	4096

struct waiter;

/* A client. Created and destroyed by session.c's own callbacks only. */
struct session {
	struct monitor *monitor;
	struct session *next;
	struct loop_watch watch;	/* the connection */
	struct framer framer;
	char in[SESSION_IN_BYTES];	/* received, not yet taken */
	size_t in_start, in_len;
	char *out;			/* to be sent */
	size_t out_start, out_len, out_size;
	bool negotiated;		/* qmp_capabilities was accepted */
	bool busy;			/* in its callback */
	bool eof;			/* nothing more comes */
	bool deaf;			/* nothing can be sent any more */
	bool dropped;			/* too much was queued */
	struct json_object *reply;	/* to the command that runs, or NULL */
	struct waiter *waiters;
	unsigned int waiter_count;
};

/* Takes fd over, also on failure; queues the greeting. */
int session_create(struct monitor *m, int fd);
void session_destroy(struct session *s);
/*
 * Queues a message, consumes the reference; never blocks, and never destroys
 * the session at once. A client that does not read is hung up on when what is
 * queued gets too long.
 */
void session_send(struct session *s, struct json_object *message);
/* Writes what can be written; true: some is left. */
bool session_flush(struct session *s);
/* The VM has ended: runs what had arrived by then, a `wait` above all. */
void session_last_call(struct session *s);

/* dispatch.c: runs a message (borrowed) and queues the reply. */
void dispatch(struct session *s, struct json_object *message);
/*
 * Complete and queue a reply, which holds the command's id if it had one; NULL:
 * to no command. reply and result are consumed, a NULL result is {}.
 */
void reply_return(struct session *s, struct json_object *reply,
		  struct json_object *result);
void reply_error(struct session *s, struct json_object *reply,
		 const struct error *e);

enum arg_type {
	ARG_UINT,
	ARG_ARRAY,
};

struct command_arg {
	const char *name;
	enum arg_type type;
	bool required;
};

/* From a handler: the reply will come later. */
#define COMMAND_DEFERRED 1

struct command {
	const char *name;
	const char *help;		/* one line, for `mote ctl` */
	const struct command_arg *args;	/* ends with a NULL name; NULL: none */
	/*
	 * args are checked against the table. 0 and *result (NULL for {}),
	 * -errno and *e, or COMMAND_DEFERRED with session->reply taken over.
	 */
	int (*run)(struct session *s, struct json_object *args,
		   struct json_object **result, struct error *e);
	/* Instead of run: a function of vm.h. */
	int (*run_vm)(struct vm *vm, struct error *e);
	/* After a successful reply was queued, or NULL. */
	void (*after)(struct session *s);
};

struct command_group {
	const struct command *commands;
	size_t count;
};

extern const struct command_group session_commands;
extern const struct command_group lifecycle_commands;
extern const struct command_group query_commands;

/* All groups, NULL after the last. dispatch.c */
extern const struct command_group *const command_groups[];

/* The value of an ARG_UINT, or fallback when it was not given. */
uint64_t arg_uint(struct json_object *args, const char *name,
		  uint64_t fallback);

/* {"qemu": {…}, "package": …}, for the greeting and query-version. */
struct json_object *version_json(void);

/* wait.c */
extern const struct command_arg wait_args[];
int wait_run(struct session *s, struct json_object *args,
	     struct json_object **result, struct error *e);
void wait_vm_ended(struct monitor *m);
void wait_forget(struct session *s);

/* events.c: a vm_event_fn; opaque is the monitor. */
void events_from_vm(void *opaque, enum vm_event event, bool by_guest,
		    const char *reason);

/* server.c: a place for a client has become free. */
void server_session_gone(struct monitor *m);

#endif
