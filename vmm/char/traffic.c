/* SPDX-License-Identifier: MIT */
/*
 * The traffic of a chardev: between its rings and its descriptors, in batches, so
 * that neither side waits for the other. The loop's thread; chardev_wake() on any.
 */
#include "char/traffic.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* How long a small write waits for company. */
#define COALESCE_NS		1000000
/* A pty may be reported as writable and take nothing: then it is asked again
 * after a while instead of at once, for ever. */
#define RETRY_MS		20
#define FLUSH_TIMEOUT_MS	1000
#define INPUT_BATCH		4096
/* Reads or writes in a row before the loop's other watches have their turn. */
#define ROUNDS			16

/* ---- waking the loop: the lock is held ---------------------------------- */

void chardev_wake(struct chardev *c, enum chardev_wake how)
{
	static const uint64_t delays_ns[] = {
		[WAKE_LATER] = RETRY_MS * 1000000,
		[WAKE_SOON] = COALESCE_NS,
		[WAKE_NOW] = 1,
	};

	if (c->wake >= how)
		return;
	c->wake = how;
	loop_timer_set(&c->timer, delays_ns[how], 0);
}

/* ---- one direction ------------------------------------------------------ */

static void on_input_event(struct loop_watch *w, uint32_t events);
static void on_output_event(struct loop_watch *w, uint32_t events);

static void io_watch(struct chardev *c, struct chardev_io *io, uint32_t events)
{
	loop_fn fn = io == &c->in ? on_input_event : on_output_event;
	int ret;

	if (io->events == events || io->always_ready)
		return;
	if (!events) {
		loop_remove(&io->watch);
	} else if (io->events) {
		loop_modify(&io->watch, events);
	} else {
		ret = loop_add(c->loop, &io->watch, io->fd, events, fn, c);
		if (ret)
			io->always_ready = true;
	}
	io->events = io->always_ready ? 0 : events;
}

static void io_close(struct chardev *c, struct chardev_io *io)
{
	if (io->fd < 0)
		return;
	io_watch(c, io, 0);
	close(io->fd);
	*io = (struct chardev_io){ .fd = -1, .watch = LOOP_WATCH_INIT };
}

static void io_open(struct chardev_io *io, int fd)
{
	struct stat st;

	*io = (struct chardev_io){ .fd = fd, .watch = LOOP_WATCH_INIT };
	if (fd >= 0 && !fstat(fd, &st)) {
		io->is_socket = S_ISSOCK(st.st_mode);
		io->always_ready = S_ISREG(st.st_mode) || S_ISDIR(st.st_mode);
	}
}

static ssize_t io_read(struct chardev_io *io, uint8_t *data, size_t len)
{
	ssize_t n = io->is_socket ? recv(io->fd, data, len, MSG_DONTWAIT) :
				    read(io->fd, data, len);

	return n < 0 ? -errno : n;
}

static ssize_t io_write(struct chardev_io *io, const uint8_t *data, size_t len)
{
	ssize_t n = io->is_socket ?
		    send(io->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) :
		    write(io->fd, data, len);

	return n < 0 ? -errno : n;
}

/* ---- output ------------------------------------------------------------- */

/*
 * Makes sure that there is something in the stage, where the oldest bytes wait
 * for the descriptor while the front end may drop others from the ring.
 */
static bool fill_stage(struct chardev *c)
{
	bool owed;

	if (c->stage_len)
		return true;
	pthread_mutex_lock(&c->lock);
	c->stage_start = 0;
	c->stage_len = ring_get(&c->output, c->stage, sizeof(c->stage));
	owed = c->short_write &&
	       ring_room(&c->output) >= CHARDEV_OUTPUT_BYTES / 2;
	if (owed)
		c->short_write = false;
	pthread_mutex_unlock(&c->lock);
	if (owed && c->client->output_ready)
		c->client->output_ready(c->client_opaque);
	return c->stage_len;
}

void chardev_drop_stage(struct chardev *c)
{
	pthread_mutex_lock(&c->lock);
	c->dropped_bytes += c->stage_len;
	pthread_mutex_unlock(&c->lock);
	c->stage_len = 0;
}

/* 0, or -errno of the write. */
static int write_stage(struct chardev *c)
{
	ssize_t n = io_write(&c->out, c->stage + c->stage_start, c->stage_len);

	if (n < 0)
		return n == -EINTR ? 0 : (int)n;
	c->stage_start += (size_t)n;
	c->stage_len -= (size_t)n;
	return 0;
}

static void set_stalled(struct chardev *c, bool stalled)
{
	pthread_mutex_lock(&c->lock);
	c->output_stalled = stalled;
	pthread_mutex_unlock(&c->lock);
}

static void await_room(struct chardev *c, bool misled)
{
	if (!misled)
		io_watch(c, &c->out, EPOLLOUT);
	pthread_mutex_lock(&c->lock);
	c->output_stalled = true;
	if (!c->out.events)
		chardev_wake(c, WAKE_LATER);
	pthread_mutex_unlock(&c->lock);
}

static void pump_output(struct chardev *c, bool was_ready)
{
	for (int round = 0; round < ROUNDS; round++) {
		int ret;

		if (c->out.fd < 0) {
			set_stalled(c, true);
			return;
		}
		if (!fill_stage(c))
			return;
		ret = write_stage(c);
		if (ret == -EAGAIN) {
			await_room(c, was_ready && !round);
			return;
		}
		if (ret && c->ops->output_failed)
			c->ops->output_failed(c, ret);
		else if (ret)
			chardev_drop_stage(c);
	}
	pthread_mutex_lock(&c->lock);
	chardev_wake(c, WAKE_NOW);
	pthread_mutex_unlock(&c->lock);
}

static void on_output_event(struct loop_watch *w, uint32_t events)
{
	struct chardev *c = w->opaque;

	(void)events;
	io_watch(c, &c->out, 0);
	set_stalled(c, false);
	pump_output(c, true);
}

/* What nobody will read: the ring and the stage. The lock is held. */
static void drop_output(struct chardev *c)
{
	c->dropped_bytes += c->stage_len + c->output.used;
	c->stage_len = 0;
	ring_skip(&c->output, c->output.used);
}

void chardev_output_dead(struct chardev *c)
{
	bool owed;

	io_close(c, &c->out);
	pthread_mutex_lock(&c->lock);
	drop_output(c);
	c->output_dead = true;
	owed = c->short_write;
	c->short_write = false;
	pthread_mutex_unlock(&c->lock);
	if (owed && c->client->output_ready)
		c->client->output_ready(c->client_opaque);
}

void chardev_flush(struct chardev *c)
{
	const struct chardev_client *client = c->client;
	int waited = 0;

	c->client = &chardev_no_client;
	while (c->out.fd >= 0 && fill_stage(c) && waited < FLUSH_TIMEOUT_MS) {
		struct pollfd p = { .fd = c->out.fd, .events = POLLOUT };
		int ret = write_stage(c);

		if (ret && ret != -EAGAIN)
			break;
		if (!ret) {
			waited = 0;
			continue;
		}
		if (waited)	/* misled by poll() before */
			poll(NULL, 0, RETRY_MS);
		waited += RETRY_MS;
		if (!poll(&p, 1, FLUSH_TIMEOUT_MS))
			break;
	}
	c->client = client;
}

/* ---- input -------------------------------------------------------------- */

static size_t input_room(struct chardev *c)
{
	size_t room;

	pthread_mutex_lock(&c->lock);
	room = ring_room(&c->input) / 2; /* a filter may double the bytes */
	c->input_paused = !room;
	pthread_mutex_unlock(&c->lock);
	return room < INPUT_BATCH ? room : INPUT_BATCH;
}

void chardev_input(struct chardev *c, const uint8_t *data, size_t len)
{
	size_t put;

	if (!len)
		return;
	pthread_mutex_lock(&c->lock);
	put = ring_put(&c->input, data, len);
	pthread_mutex_unlock(&c->lock);
	assert(put == len);
	(void)put;
	if (c->client->input_ready)
		c->client->input_ready(c->client_opaque);
}

static void end_input(struct chardev *c, int err)
{
	if (c->ops->input_ended)
		c->ops->input_ended(c, err);
	else
		io_close(c, &c->in);
}

/* False when there is nothing more to do now. */
static bool read_once(struct chardev *c)
{
	uint8_t buf[INPUT_BATCH];
	size_t room = input_room(c);
	ssize_t n;

	if (!room || (c->ops->may_read && !c->ops->may_read(c))) {
		io_watch(c, &c->in, 0);
		return false;
	}
	n = io_read(&c->in, buf, room);
	if (n == -EINTR)
		return true;
	if (n == -EAGAIN) {
		io_watch(c, &c->in, EPOLLIN);
		return false;
	}
	if (n <= 0) {
		end_input(c, (int)n);
		return false;
	}
	if (c->ops->filter)
		c->ops->filter(c, buf, (size_t)n);
	else
		chardev_input(c, buf, (size_t)n);
	return true;
}

void chardev_resume_input(struct chardev *c)
{
	pthread_mutex_lock(&c->lock);
	c->input_resume = true;
	chardev_wake(c, WAKE_NOW);
	pthread_mutex_unlock(&c->lock);
}

static void pump_input(struct chardev *c)
{
	for (int round = 0; round < ROUNDS; round++)
		if (c->in.fd < 0 || c->in.events == EPOLLHUP || !read_once(c))
			return;
	chardev_resume_input(c);
}

static void on_input_event(struct loop_watch *w, uint32_t events)
{
	struct chardev *c = w->opaque;

	(void)events;
	if (c->in.events == EPOLLHUP)
		end_input(c, -EPIPE);
	else
		pump_input(c);
}

void chardev_await_hangup(struct chardev *c)
{
	io_watch(c, &c->in, EPOLLHUP);
}

/* ---- both --------------------------------------------------------------- */

void chardev_on_timer(void *opaque)
{
	struct chardev *c = opaque;
	bool resume, fresh;

	pthread_mutex_lock(&c->lock);
	c->wake = WAKE_NONE;
	resume = c->input_resume;
	fresh = c->input_fresh;
	c->input_resume = c->input_fresh = false;
	pthread_mutex_unlock(&c->lock);
	if (!c->out.events) {
		set_stalled(c, false);
		pump_output(c, false);
	}
	if (fresh && c->client->input_ready)
		c->client->input_ready(c->client_opaque);
	if (resume)
		pump_input(c);
}

void chardev_attach(struct chardev *c, int in_fd, int out_fd)
{
	assert(c->in.fd < 0 && c->out.fd < 0);
	io_open(&c->in, in_fd);
	io_open(&c->out, out_fd);
	pthread_mutex_lock(&c->lock);
	c->output_stalled = false;
	c->input_resume = true;
	chardev_wake(c, WAKE_NOW);
	pthread_mutex_unlock(&c->lock);
}

void chardev_detach(struct chardev *c)
{
	io_close(c, &c->in);
	io_close(c, &c->out);
	set_stalled(c, true);
}

void chardev_connected(struct chardev *c, bool on)
{
	bool owed;

	pthread_mutex_lock(&c->lock);
	c->open = on;
	owed = !on && c->lossless && c->short_write;
	if (owed)
		c->short_write = false;
	if (c->lossless)
		drop_output(c);
	pthread_mutex_unlock(&c->lock);
	if (owed && c->client->output_ready)
		c->client->output_ready(c->client_opaque);
	if (c->client->connected)
		c->client->connected(c->client_opaque, on);
}
