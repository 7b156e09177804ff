/* SPDX-License-Identifier: MIT */
/*
 * The monitor: a server of QEMU's QMP on one Unix stream socket, with any
 * number of clients. It drives the VM through vm.h only. Main thread.
 */
#ifndef MOTE_MONITOR_H
#define MOTE_MONITOR_H

#include "config/config.h"
#include "error.h"
#include "loop.h"
#include "vm.h"

struct monitor;

/*
 * Listens at c->path (a stale socket is replaced, a live one is an error; only
 * the owner may connect) or on the inherited c->fd, and takes the VM's events
 * (vm_set_event_fn). vm and loop outlive the monitor; c need not.
 */
int monitor_create(struct monitor **out, const struct config_monitor *c,
		   struct vm *vm, struct loop *loop, struct error *e);

/*
 * Sends what is still queued, for at most a second, hangs up and removes the
 * socket if it was made here. An inherited socket is closed.
 */
void monitor_destroy(struct monitor *m);

#endif
