/* SPDX-License-Identifier: MIT */
/*
 * A monitor over a fake VM, and clients with real sockets. One thread: the loop
 * runs while a client waits for a line. What must come and does not within some
 * seconds fails the test.
 */
#ifndef MOTE_QMP_FIXTURE_H
#define MOTE_QMP_FIXTURE_H

#include "unit.h"

#include <json-c/json.h>

#include "dump.h"
#include "migrate.h"
#include "monitor/monitor.h"
#include "vm.h"
#include "vm_devices.h"
#include "vm_dimms.h"
#include "vm_memory.h"
#include "vm_mems.h"

#define FAKE_CHARDEVS 4

/* The fake: notes what was called and tells events as the real one does. */
struct vm {
	struct vm_config config;
	enum vm_state state;
	struct vm_exit_report report;
	vm_event_fn event_fn;
	void *event_opaque;
	const char *fail;	/* this command is refused: InvalidState */
	int powerdowns, resets, nmis;
	struct vsock_service service;	/* the last one set; its path copied */
	char service_path[64];
	uid_t service_uids[4];
	bool service_listen;	/* by vsock-listen */
	uint32_t removed_port;
	struct device *devices;	/* only books are kept of them */
	int next_slot;
	uint64_t disk_bytes;
	bool link_down;		/* of net0 */
	char cpu_id[32];	/* of the last one added */
	unsigned int cpu_removing;
	uint64_t balloon_bytes;	/* 0: no balloon */
	struct vm_mem_info mem;	/* no id: none */
	struct dimm dimm;	/* no size: none; its names are in: */
	char dimm_id[32], dimm_memdev[32];
	struct config_memory dimm_backing;
	bool dimm_removing;
	struct vm_report ost;
	uint64_t set_bytes;	/* by memory-set */
	uint64_t available_bytes;	/* what it said last */
	uint32_t stats_interval;
	struct fake_chardev {
		char id[32], path[64];
		struct config_char config;
		bool used;
	} chardevs[FAKE_CHARDEVS];
	unsigned int chardev_count;
	struct {
		char id[32], bus[32], name[32], chardev[32];
		int nr;
		bool console, open;
	} port;			/* the last one; id "": none */
	struct vm_migrate_info migrate;
	struct vm_migrate_capabilities capabilities;
	char migrate_uri[64];
	bool saving;
	struct vm_dump_status dump;
	uint64_t dump_begin, dump_bytes;
	struct config_net nic;	/* that nic-update gave, strings copied */
};

struct qmp {
	struct loop *loop;
	struct vm vm;
	struct config_monitor config;
	struct monitor *monitor;
	char dir[32], path[64];
};

struct client {
	struct qmp *q;
	int fd;
	char *buf;
	size_t len, size;
};

/* cmocka's setup and teardown; *state is the struct qmp. */
int qmp_setup(void **state);
int qmp_teardown(void **state);
/* How often log_write() has been called since the setup, but for debug; the last
 * line of that. */
extern unsigned int qmp_log_lines;
extern char qmp_debug[128];

/* What the VM does on its own. */
void fake_vm_event(struct vm *vm, enum vm_event event, bool by_guest,
		   const char *reason);

/* The guest lets a device go that it was asked for: there must be one. */
void fake_vm_let_go(struct vm *vm, const char *id);
/* The spec that the last device was made from, its disk, NIC and rng source. */
extern struct device_spec fake_spec;
extern struct config_disk fake_disk;
extern struct config_net fake_nic;
extern char fake_source[64];

/* Lets the loop do all it has to do. */
void qmp_settle(struct qmp *q);
void qmp_run_ms(struct qmp *q, uint64_t ms);
/* Also again, after monitor_destroy(). */
void qmp_start_monitor(struct qmp *q);

/* Connected to the path, nothing read. */
struct client client_open(struct qmp *q);
/* Greeted and negotiated. */
struct client client_ready(struct qmp *q);
void client_close(struct client *c);
void client_send(struct client *c, const char *text);
/* The next line without CRLF, as sent; free() it. NULL: end of stream. */
char *client_line(struct client *c);
/* True when nothing is there to be read. */
bool client_is_quiet(struct client *c);
/* The text with descriptors. */
void client_send_fds(struct client *c, const char *text, const int *fds,
		     size_t count);
/* The next line must be this JSON but for a timestamp, which must be one. */
void client_expect(struct client *c, const char *json);
/* An orderly end: no line, no ECONNRESET. */
void client_expect_eof(struct client *c);
/* Sends a command; args: a JSON object. */
void client_run(struct client *c, const char *command, const char *args);
struct refused_command {
	const char *command, *args, *class, *text;
};
/* Sends each, expects client_expect_error() of it. */
void client_refused(struct client *c, const struct refused_command *r,
		    size_t count);
/* Sends a line, expects a line. */
void client_exchange(struct client *c, const char *command, const char *json);
/* The next line must be an error of this class, desc holding the text. */
void client_expect_error(struct client *c, const char *class,
			 const char *text);
/* The next line's "return": json_object_put() it. */
struct json_object *client_result(struct client *c);

#endif
