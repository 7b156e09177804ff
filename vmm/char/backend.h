/* SPDX-License-Identifier: MIT */
/*
 * Between the chardev core (chardev.c, traffic.c) and its back ends: it owns rings,
 * descriptors and their watches; a back end opens them and decides what an end
 * or an error means. Everything runs on the loop's thread.
 */
#ifndef MOTE_CHAR_BACKEND_H
#define MOTE_CHAR_BACKEND_H

#include <pthread.h>

#include "char/chardev.h"
#include "char/ring.h"

#define CHARDEV_STAGE_BYTES	16384

/* One direction of a back end: a descriptor of its own. */
struct chardev_io {
	int fd;			/* -1: none */
	bool is_socket;		/* MSG_DONTWAIT instead of O_NONBLOCK */
	bool always_ready;	/* epoll does not take it: a regular file */
	uint32_t events;	/* watched for */
	struct loop_watch watch;
};

struct chardev_backend_ops {
	const char *name;
	/* Somebody comes and goes: chardev_connected(). Without him, and when
	 * he does not read, the oldest output is dropped. */
	bool drops_oldest;
	bool swallows;		/* output goes nowhere, by design */
	int (*open)(struct chardev *c, const struct config_char *cfg,
		    struct error *e);
	/* After the flush; also for a half-opened back end. */
	void (*close)(struct chardev *c);
	/*
	 * The members below may be NULL. Input as read; it hands on what
	 * remains with chardev_input(), at most twice the bytes.
	 */
	void (*filter)(struct chardev *c, const uint8_t *data, size_t len);
	/* Before each read; false: not now, chardev_resume_input() follows. */
	bool (*may_read)(struct chardev *c);
	/* End of input (err 0), or -errno of a failed read or write. */
	void (*input_ended)(struct chardev *c, int err);
	void (*output_failed)(struct chardev *c, int err);
	void (*update)(struct chardev *c);
	/* Any thread. */
	void (*size)(struct chardev *c, uint16_t *columns, uint16_t *rows);
};

enum chardev_wake { WAKE_NONE, WAKE_LATER, WAKE_SOON, WAKE_NOW };

struct chardev {
	const struct chardev_backend_ops *ops;
	void *backend;		/* the back end's own struct */
	struct loop *loop;
	char *label;
	const struct chardev_client *client;	/* never NULL */
	void *client_opaque;
	void (*key_fn)(void *opaque, enum chardev_key key);
	void *key_opaque;

	/* Loop's thread only. */
	struct chardev_io in, out;
	uint16_t columns, rows;
	uint8_t stage[CHARDEV_STAGE_BYTES];	/* taken from the ring */
	size_t stage_start, stage_len;

	struct loop_timer timer;	/* the wake-up; set under the lock */

	pthread_mutex_t lock;		/* the members below */
	struct ring output, input;
	enum chardev_wake wake;		/* how the timer is set */
	bool output_stalled;	/* the loop waits for the reader */
	bool output_dead;	/* nothing can be written any more */
	bool open;		/* somebody is there */
	bool lossless;		/* chardev_set_lossless() */
	bool input_paused;	/* the loop waits for room */
	bool input_resume;	/* the timer shall look for input */
	bool input_fresh;	/* a new client has not been told */
	bool short_write;	/* output_ready() is owed */
	uint64_t dropped_bytes;
};

/*
 * Takes the descriptors over and starts the traffic; either may be -1. They are
 * non-blocking, sockets, or of a kind that never blocks for long. Both must be
 * different descriptors.
 */
void chardev_attach(struct chardev *c, int in_fd, int out_fd);
/* Stops the traffic and closes what is still open. */
void chardev_detach(struct chardev *c);
/* Drops what a failed write was about, counted; what output_failed does when it
 * is NULL. */
void chardev_drop_stage(struct chardev *c);
/* From now on output is dropped and counted. */
void chardev_output_dead(struct chardev *c);
/* Looks for input again after may_read() said no. */
void chardev_resume_input(struct chardev *c);
/* Watches the read side for a hang-up only, which ends in input_ended(). */
void chardev_await_hangup(struct chardev *c);

void chardev_input(struct chardev *c, const uint8_t *data, size_t len);
void chardev_connected(struct chardev *c, bool on);
/* Tells the client if the terminal's size is another than before. */
void chardev_resized(struct chardev *c, uint16_t columns, uint16_t rows);
/* label: "name" or "name:path"; -ENOMEM */
int chardev_set_label(struct chardev *c, const char *path);

extern const struct chardev_backend_ops stdio_backend, null_backend,
	file_backend, unix_backend, pty_backend, connect_backend;

#endif
