/* SPDX-License-Identifier: MIT */
/*
 * The core of character back ends: what the front end sees of one, and its life;
 * the traffic between rings and descriptors is in traffic.c. chardev_write(),
 * chardev_read(), chardev_size() and chardev_dropped_bytes() run on any thread;
 * everything else, and every callback, on the loop's (main).
 */
#include "char/chardev.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>

#include "char/traffic.h"

/* A write of fewer bytes waits for company (COALESCE_NS). */
#define SMALL_WRITE_BYTES	16

const struct chardev_client chardev_no_client;

/* ---- the front end's side: any thread ----------------------------------- */

/* The lock is held. */
static void wake_output(struct chardev *c, size_t added)
{
	if (c->output_stalled)
		return;
	chardev_wake(c, added < SMALL_WRITE_BYTES &&
			c->output.used < CHARDEV_OUTPUT_BYTES / 4 ?
			WAKE_SOON : WAKE_NOW);
}

/* Puts the newest bytes into the ring at the cost of the oldest. */
static void put_newest(struct chardev *c, const uint8_t *data, size_t len)
{
	struct ring *r = &c->output;
	size_t keep = len < r->size_bytes ? len : r->size_bytes;
	size_t lost = keep > ring_room(r) ? keep - ring_room(r) : 0;

	ring_skip(r, lost);
	ring_put(r, data + (len - keep), keep);
	c->dropped_bytes += lost + (len - keep);
}

size_t chardev_write(struct chardev *c, const uint8_t *data, size_t len)
{
	size_t taken = len;

	if (c->ops->swallows || !len)
		return len;
	pthread_mutex_lock(&c->lock);
	if (c->output_dead || (c->lossless && !c->open)) {
		c->dropped_bytes += len;
	} else if (c->ops->drops_oldest && !c->lossless) {
		put_newest(c, data, len);
		wake_output(c, len);
	} else {
		taken = ring_put(&c->output, data, len);
		if (taken < len)
			c->short_write = true;
		if (taken)
			wake_output(c, taken);
	}
	pthread_mutex_unlock(&c->lock);
	return taken;
}

size_t chardev_read(struct chardev *c, uint8_t *data, size_t len)
{
	size_t n;

	pthread_mutex_lock(&c->lock);
	n = ring_get(&c->input, data, len);
	if (c->input_paused && ring_room(&c->input) >= CHARDEV_INPUT_BYTES / 2) {
		c->input_paused = false;
		c->input_resume = true;
		chardev_wake(c, WAKE_NOW);
	}
	pthread_mutex_unlock(&c->lock);
	return n;
}

uint64_t chardev_dropped_bytes(struct chardev *c)
{
	uint64_t n;

	pthread_mutex_lock(&c->lock);
	n = c->dropped_bytes;
	pthread_mutex_unlock(&c->lock);
	return n;
}

void chardev_set_lossless(struct chardev *c, bool on)
{
	pthread_mutex_lock(&c->lock);
	c->lossless = on;
	pthread_mutex_unlock(&c->lock);
}

bool chardev_is_open(struct chardev *c)
{
	bool open;

	pthread_mutex_lock(&c->lock);
	open = c->open;
	pthread_mutex_unlock(&c->lock);
	return open;
}

void chardev_resized(struct chardev *c, uint16_t columns, uint16_t rows)
{
	if (columns == c->columns && rows == c->rows)
		return;
	c->columns = columns;
	c->rows = rows;
	if (c->client->resized)
		c->client->resized(c->client_opaque, columns, rows);
}

void chardev_update_size(struct chardev *c)
{
	if (c->ops->update)
		c->ops->update(c);
}

void chardev_size(struct chardev *c, uint16_t *columns, uint16_t *rows)
{
	*columns = *rows = 0;
	if (c->ops->size)
		c->ops->size(c, columns, rows);
}

const char *chardev_label(const struct chardev *c)
{
	return c->label;
}

int chardev_set_label(struct chardev *c, const char *path)
{
	char *label;

	if (asprintf(&label, "%s%s%s", c->ops->name, path ? ":" : "",
		     path ? path : "") < 0)
		return -ENOMEM;
	free(c->label);
	c->label = label;
	return 0;
}

void chardev_set_client(struct chardev *c, const struct chardev_client *client,
			void *opaque)
{
	c->client = client ? client : &chardev_no_client;
	c->client_opaque = opaque;
	pthread_mutex_lock(&c->lock);
	c->input_fresh = c->input.used;
	if (c->input_fresh)
		chardev_wake(c, WAKE_NOW);
	pthread_mutex_unlock(&c->lock);
}

/* ---- life --------------------------------------------------------------- */

static const struct chardev_backend_ops *backend_of(enum config_char_kind kind)
{
	switch (kind) {
	case CHAR_STDIO:
		return &stdio_backend;
	case CHAR_FILE:
		return &file_backend;
	case CHAR_UNIX:
		return &unix_backend;
	case CHAR_PTY:
		return &pty_backend;
	case CHAR_CONNECT:
		return &connect_backend;
	default:
		return &null_backend;
	}
}

static int init(struct chardev *c, struct error *e)
{
	int ret = ring_init(&c->output, CHARDEV_OUTPUT_BYTES);

	if (!ret)
		ret = ring_init(&c->input, CHARDEV_INPUT_BYTES);
	if (!ret)
		ret = chardev_set_label(c, NULL);
	if (!ret)
		ret = loop_timer_init(c->loop, &c->timer, chardev_on_timer, c);
	if (ret)
		error_errno(e, ret, "%s", c->ops->name);
	return ret;
}

int chardev_create(struct chardev **out, const struct config_char *cfg,
		   struct loop *loop,
		   void (*key_fn)(void *opaque, enum chardev_key key),
		   void *key_opaque, struct error *e)
{
	struct chardev *c = calloc(1, sizeof(*c));
	int ret;

	if (!c)
		return error_errno(e, -ENOMEM, "character device");
	c->ops = backend_of(cfg->kind);
	c->loop = loop;
	c->client = &chardev_no_client;
	c->key_fn = key_fn;
	c->key_opaque = key_opaque;
	c->open = !c->ops->drops_oldest;
	c->in.fd = c->out.fd = -1;
	c->in.watch.fd = c->out.watch.fd = c->timer.watch.fd = -1;
	pthread_mutex_init(&c->lock, NULL);
	ret = init(c, e);
	if (!ret && c->ops->open)
		ret = c->ops->open(c, cfg, e);
	if (ret) {
		chardev_destroy(c);
		return ret;
	}
	*out = c;
	return 0;
}

void chardev_destroy(struct chardev *c)
{
	if (!c)
		return;
	c->client = &chardev_no_client;
	chardev_flush(c);
	if (c->backend)
		c->ops->close(c);
	chardev_detach(c);
	loop_timer_deinit(&c->timer);
	ring_deinit(&c->output);
	ring_deinit(&c->input);
	pthread_mutex_destroy(&c->lock);
	free(c->label);
	free(c);
}
