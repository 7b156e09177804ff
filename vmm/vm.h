/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine: owns everything in it, in construction order, and its life
 * cycle: created → running ⇄ paused → stopped. Main thread only.
 */
#ifndef MOTE_VM_H
#define MOTE_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "config/config.h"
#include "error.h"
#include "loop.h"
#include "vsock/vsock.h"

struct vm;

enum vm_state {
	VM_PRELAUNCH,		/* created, never run: --paused */
	VM_RUNNING,
	VM_PAUSED,
	VM_SHUTDOWN,		/* ended; the process is about to leave */
	VM_PANICKED,		/* --on-panic pause */
	VM_SAVING,		/* paused for as long as its memory is written */
	VM_FINISH_MIGRATE,	/* the same, for another process */
	VM_POSTMIGRATE,		/* there it is now, too */
	VM_INMIGRATE,		/* it has not come in yet */
};

/* Why a VM ended: the exit report's kind. */
enum vm_exit_kind {
	VM_EXIT_NONE,
	VM_EXIT_POWEROFF,
	VM_EXIT_RESET,		/* under --on-reboot exit */
	VM_EXIT_PANIC,
	VM_EXIT_TRIPLE_FAULT,
	VM_EXIT_KVM_ERROR,
	VM_EXIT_QUIT,		/* the monitor, or a signal */
	VM_EXIT_QUIT_KEY,	/* the console: a "quit" as well */
	VM_EXIT_TERMINATED,
	VM_EXIT_HOST_ERROR,
	VM_EXIT_PORT,		/* --exit-port */
};

struct vm_exit_report {
	enum vm_exit_kind kind;
	int code;		/* mote's exit status */
	char reason[256];
	struct timespec started, stopped;	/* CLOCK_REALTIME; 0: never */
};

/* What happens in a VM, for the monitor's events and the exit report. */
enum vm_event {
	VM_EVENT_STOP,
	VM_EVENT_RESUME,
	VM_EVENT_RESET,
	VM_EVENT_POWERDOWN,
	VM_EVENT_PANICKED,
	VM_EVENT_SHUTDOWN,	/* the report is final */
	VM_EVENT_DEVICE_DELETED,	/* vm_devices.h */
	VM_EVENT_BALLOON_CHANGE,	/* vm_memory.h */
	VM_EVENT_MEMORY_CHANGE,		/* vm_memory.h */
	VM_EVENT_PORT_CHANGE,		/* vm_serial.h; reason: the id */
	VM_EVENT_DUMP_COMPLETED,	/* dump.h */
	VM_EVENT_MIGRATION,		/* migrate.h */
	VM_EVENT_SAVE_PROGRESS,		/* snapshot.h */
	VM_EVENT_REPORT,		/* vm_report(); reason: the id, or NULL */
	VM_EVENT_UNPLUG_REFUSED,	/* the same, of what it was to let go */
};

/* What the guest has said of a vCPU or a DIMM (ACPI 6.4, 6.3.5). */
struct vm_report {
	bool dimm;		/* else a vCPU */
	unsigned int slot;	/* or the vCPU's index */
	uint32_t source;	/* what it was told, or what it did itself */
	uint32_t status;	/* 0: it is done */
};

typedef void (*vm_event_fn)(void *opaque, enum vm_event event, bool by_guest,
			    const char *reason);

/*
 * Makes everything, runs nothing. loop is the main thread's. While the kernel is
 * read and decompressed, or memory is allocated, which can take minutes, cancelled
 * is asked about ten times a second; true: -ECANCELED. Or NULL.
 */
int vm_create(struct vm **out, const struct vm_config *c, struct loop *loop,
	      bool (*cancelled)(void), struct error *e);
void vm_destroy(struct vm *vm);
void vm_set_event_fn(struct vm *vm, vm_event_fn fn, void *opaque);

/* During VM_EVENT_REPORT: what it is about. */
const struct vm_report *vm_report(const struct vm *vm);
/*
 * What it said last, about each slot for a DIMM, then each vCPU where more may
 * come; of source and status 0 if nothing since it was told something. False:
 * there is none with this index.
 */
bool vm_report_last(struct vm *vm, size_t index, struct vm_report *out);

const struct vm_config *vm_config(const struct vm *vm);
enum vm_state vm_state(const struct vm *vm);
/* "prelaunch", "running", "save-vm", and so on: QEMU's. */
const char *vm_state_name(enum vm_state state);
const struct vm_exit_report *vm_exit_report(const struct vm *vm);
const char *vm_exit_kind_name(enum vm_exit_kind kind);

/*
 * Stop: every vCPU is out of KVM_RUN and every device idle on return. Cont: all
 * run again. Idempotent. -EPERM (InvalidState) in a state that has no such
 * transition.
 */
int vm_stop(struct vm *vm, struct error *e);
int vm_cont(struct vm *vm, struct error *e);
/* Presses the power button. */
int vm_powerdown(struct vm *vm, struct error *e);
/* As a press of the reset button: the guest starts anew. */
int vm_reset(struct vm *vm, struct error *e);
int vm_inject_nmi(struct vm *vm, struct error *e);
/* Plugs the cable of a network device in or out, by the id of it or of what it
 * is made from (config_net.netdev). -ENOENT: DeviceNotFound. */
int vm_set_link(struct vm *vm, const char *id, bool up, struct error *e);
/* SIGWINCH: the consoles on the terminal look at its size again. */
void vm_terminal_resized(struct vm *vm);
/*
 * Ends the VM: vCPUs stop, the report is filled, SHUTDOWN is sent, and the loop
 * is stopped so that main() can take everything down. Only the first call counts.
 */
void vm_end(struct vm *vm, enum vm_exit_kind kind, int code,
	    const char *reason);

/*
 * Makes a disk's image that large and tells the guest. -ENODEV: no such disk;
 * else as block_resize().
 */
int vm_disk_resize(struct vm *vm, const char *id, uint64_t size_bytes,
		   struct error *e);

/* See vsock/vsock.h; NotSupported without a vsock by Unix sockets. */
int vm_vsock_listen(struct vm *vm, const struct vsock_service *s,
		    struct error *e);
int vm_vsock_service_set(struct vm *vm, const struct vsock_service *s,
			 struct error *e);
int vm_vsock_service_remove(struct vm *vm, uint32_t port, struct error *e);

#define VM_CPU_ID_BYTES 128

struct vm_cpu_info {
	unsigned int index;
	bool present;
	pid_t thread_id;	/* 0: it is not there */
	unsigned int socket, core, thread;
	char id[VM_CPU_ID_BYTES];
};
/* How many are there. */
size_t vm_cpu_count(const struct vm *vm);
/* index: below vm_config()->cpus.max */
void vm_cpu_info(const struct vm *vm, size_t index, struct vm_cpu_info *out);

#endif
