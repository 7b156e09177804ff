/* SPDX-License-Identifier: MIT */
/*
 * A chardev for the tests of what is before one: it keeps what is written, gives
 * what was typed, and does as the test says. Test's thread, but for what the
 * device calls.
 */
#ifndef MOTE_FAKE_CHARDEV_H
#define MOTE_FAKE_CHARDEV_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "char/chardev.h"

struct chardev {
	pthread_mutex_t lock;
	size_t room;			/* that output has still */
	uint8_t output[1 << 20];
	size_t out_len, longest_write;
	unsigned int writes;
	uint8_t input[1 << 20];		/* [in_pos … in_len) */
	size_t in_pos, in_len;
	uint16_t columns, rows;
	bool open, lossless;
	const struct chardev_client *client;
	void *opaque;
};

/* Of zeros; with room for all. */
void fake_chardev_init(struct chardev *c);

void fake_chardev_type(struct chardev *c, const void *text, size_t len);
void fake_chardev_set_room(struct chardev *c, size_t room);
void fake_chardev_set_open(struct chardev *c, bool on);
size_t fake_chardev_written(struct chardev *c);

#endif
