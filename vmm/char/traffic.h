/* SPDX-License-Identifier: MIT */
/* Between chardev.c and traffic.c; back ends need backend.h only. */
#ifndef MOTE_CHAR_TRAFFIC_H
#define MOTE_CHAR_TRAFFIC_H

#include "char/backend.h"

/* Has the loop look at the rings, or at the descriptors again. Lock held; any
 * thread. */
void chardev_wake(struct chardev *c, enum chardev_wake how);
/* Of chardev.timer; opaque is the chardev. */
void chardev_on_timer(void *opaque);

/* Wants to hear nothing. */
extern const struct chardev_client chardev_no_client;

#endif
