/* SPDX-License-Identifier: MIT */
/*
 * What the monitor's files share. All of it is the main thread's.
 *
 *	server.c	listening, accepting, the end
 *	session.c	one client: bytes in, bytes out, bounded
 *	framing.c	bytes → messages
 *	dispatch.c	a message → a command of the table → a reply
 *	commands_*.c	the commands, by subject
 *	block_nodes.c	images by name; netdevs.c: networks by name;
 *			objects.c: other back ends by name
 *	props.c		values in QEMU's loose types
 *	drivers.h	what device_add can make; drivers_*.c
 *	wait.c		replies that come later
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
#define REMOVE_TIMEOUT_MS	30000	/* of disk-remove and its like */

struct session;

struct monitor {
	struct vm *vm;
	struct loop *loop;
	struct listener listener;
	struct session *sessions;
	unsigned int session_count;
	struct object *objects;		/* objects.h */
	struct block_node *block_nodes;	/* block_nodes.h */
	struct set_fd *fdsets;		/* commands_fd.c */
	struct netdev *netdevs;		/* netdevs.c */
	bool quit;			/* the VM was ended from here */
};

#define SESSION_IN_BYTES	4096
#define SESSION_MAX_FDS		16

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
	int fds[SESSION_MAX_FDS];	/* came with the last that brought any */
	unsigned int fd_count;
	bool served;			/* a command since the last look at them */
	struct named_fd *named_fds;	/* commands_fd.c */
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
	ARG_STRING,		/* without a zero inside */
	ARG_BOOL,
	ARG_OBJECT,
	ARG_ANY,		/* the command looks at it */
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
	bool open;			/* takes others too and checks them */
	bool resource;			/* not QEMU's: classes of our own */
	/*
	 * args are checked against the table. 0 and *result (NULL for {}),
	 * -errno and *e, or COMMAND_DEFERRED with session->reply taken over and
	 * *result what will be in it when a device is gone.
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
extern const struct command_group device_commands;
extern const struct command_group block_node_commands;
extern const struct command_group object_commands;
extern const struct command_group fd_commands;
extern const struct command_group pci_commands;
extern const struct command_group query_block_commands;
extern const struct command_group block_stats_commands;
extern const struct command_group schema_commands;
extern const struct command_group disk_commands;
extern const struct command_group pmem_commands;
extern const struct command_group share_commands;
extern const struct command_group resource_commands;
extern const struct command_group stats_commands;
extern const struct command_group block_commands;
extern const struct command_group net_commands;
extern const struct command_group netdev_commands;
extern const struct command_group vsock_commands;
extern const struct command_group memory_commands;
extern const struct command_group qom_commands;
extern const struct command_group save_commands;
extern const struct command_group dump_commands;
extern const struct command_group migrate_commands;
extern const struct command_group cpu_commands;
extern const struct command_group chardev_commands;

/* All groups, NULL after the last. dispatch.c */
extern const struct command_group *const command_groups[];

/* args.c */

bool arg_given(struct json_object *args, const char *name);

/* The value of an ARG_UINT, or fallback when it was not given. */
uint64_t arg_uint(struct json_object *args, const char *name,
		  uint64_t fallback);

/* The value of an ARG_STRING, NULL when it was not given. */
const char *arg_string(struct json_object *args, const char *name);
bool arg_bool(struct json_object *args, const char *name, bool fallback);

/* commands_fd.c */

/* The next descriptor that came with the command; the caller's. -ENOENT. */
int session_take_fd(struct session *s, struct error *e);
/* Takes what getfd has kept under a name; the caller's. -ENOENT. */
int session_named_fd(struct session *s, const char *name, struct error *e);
/* The descriptors that getfd has kept under NAME[:NAME...], and goes on keeping.
 * -ENOENT, -EINVAL: the same twice, -E2BIG. */
int session_list_fds(struct session *s, const char *names, int *fds,
		     unsigned int max, unsigned int *count, struct error *e);
/* Closes those that there are. */
void session_drop_fds(struct session *s, const char *names);
void session_close_fds(struct session *s);
/* A descriptor of a set, which keeps it. -ENOENT. */
int fdset_fd(const struct monitor *m, unsigned int set, bool readonly);
void fdsets_destroy(struct monitor *m);

/* {"qemu": {…}, "package": …}, for the greeting and query-version. */
struct json_object *version_json(void);

struct device;

/*
 * ret is what became of opening path. -EBUSY gets the class AlreadyAttached when
 * a disk or pmem of this VM has the file, by whatever name. Returns ret.
 */
int attached_error(struct vm *vm, const char *path, int ret, struct error *e);

/* commands_query_block.c: how QEMU's answers name a disk, and its image. */
void query_block_put_device(struct json_object *o, const struct device *d);
void query_block_put_node(struct json_object *o, const struct device *d);
/* commands_block_stats.c: a disk's counters in stats. */
void disk_put_counters(struct json_object *o, const struct device *d);
/* commands_migrate.c: what MIGRATION tells. */
struct json_object *migrate_event_json(struct vm *vm);
/* How much of bytes is done, how fast, and when it will be over. */
void progress_put(struct json_object *o, uint64_t done, uint64_t total,
		  uint64_t passed_ms);

/* commands_query.c: what the guest has said, in QEMU's words; id may be NULL. */
struct json_object *report_json(const struct vm_report *r, const char *id);

/* commands_dump.c: the result of query-dump. */
struct vm_dump_status;
struct json_object *dump_status_json(const struct vm_dump_status *status);

/* netdevs.c */
void netdevs_destroy(struct monitor *m);

/* wait.c */
extern const struct command_arg wait_args[];
int wait_run(struct session *s, struct json_object *args,
	     struct json_object **result, struct error *e);
void wait_vm_ended(struct monitor *m);
/*
 * Asks the guest to let a device go, which has an id. The command's reply comes
 * when it is gone, or at the timeout: then by force, or it is an error. What a
 * handler returns.
 */
int wait_remove_device(struct session *s, struct device *device,
		       uint64_t timeout_ms, bool force, struct error *e);
/* The same for what the guest has been asked for already, without force: an array
 * of ids, which is taken a reference of. */
int wait_deleted(struct session *s, struct json_object *ids,
		 uint64_t timeout_ms, struct error *e);
/*
 * The reply, the sizes of memory, comes when the guest has what it was asked to
 * have, or at the timeout; at once when it does not run.
 */
int wait_memory(struct session *s, uint64_t timeout_ms,
		struct json_object **result, struct error *e);
void wait_memory_changed(struct monitor *m);
/* vm_save(); the reply comes when it is done. What a handler returns. */
struct save_params;
int wait_save(struct session *s, const struct save_params *p, struct error *e);
/* Could this client wait once more? To be asked before what it would wait for is
 * begun; -EBUSY. */
int wait_check(const struct session *s, struct error *e);
/* The reply comes when the dump that was just begun has ended; after
 * wait_check(). */
int wait_dump(struct session *s, struct error *e);
void wait_dump_ended(struct monitor *m);
void wait_device_deleted(struct monitor *m, const char *id);
/* The guest will not let it go: an error for whoever waits. */
void wait_device_refused(struct monitor *m, const char *id);
/* Of the command that was deferred last; consumes result. */
void wait_keep_result(struct session *s, struct json_object *result);
void wait_forget(struct session *s);

/* events.c: the names of all, NULL after the last. */
extern const char *const event_names[];
/* A vm_event_fn; opaque is the monitor. */
void events_from_vm(void *opaque, enum vm_event event, bool by_guest,
		    const char *reason);

/* server.c: a place for a client has become free. */
void server_session_gone(struct monitor *m);

#endif
