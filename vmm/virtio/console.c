/* SPDX-License-Identifier: MIT */
/*
 * The console device (VIRTIO 1.2, 5.3). Create and destroy run on the main
 * thread, and so do the chardev's callbacks, which only note what happened and
 * wake the device's loop, where the rest runs. The configuration space is read
 * and written under the machine lock.
 */
#include "virtio/console.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_console.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "state.h"
#include "virtio/console_port.h"

#define RECEIVEQ	0
#define TRANSMITQ	1

struct virtio_console {
	struct virtio_device dev;
	struct console_port port;
	struct loop_watch wake;		/* on wake_fd, while active */
	int wake_fd;			/* eventfd: input, room or a new size */
	_Atomic uint32_t size;		/* columns | rows << 16 */
	uint32_t shown_size;		/* what the driver was told of */
	bool used;			/* the driver has written: it listens */
	bool stopped;
	struct iovec iov[CONSOLE_IOVS];
};

static struct virtio_console *to_console(struct virtio_device *d)
{
	return (struct virtio_console *)d;
}

/*
 * 5.3.4: the driver hears of a new size. Linux does not look at the first one by
 * itself, and forgets one that comes before its port is ready: with the first
 * output it is.
 */
static void show_size(struct virtio_console *c)
{
	uint32_t size = atomic_load(&c->size);

	if (!c->used || size == c->shown_size)
		return;
	c->shown_size = size;
	if (virtio_has(&c->dev, VIRTIO_CONSOLE_F_SIZE))
		virtio_device_config_changed(&c->dev);
}

static void console_handle_queue(struct virtio_device *d, unsigned int index)
{
	struct virtio_console *c = to_console(d);

	if (c->stopped || !console_port_run(&c->port, index))
		return;
	c->used = true;
	show_size(c);
}

static void on_wake(struct loop_watch *w, uint32_t events)
{
	struct virtio_console *c = w->opaque;
	uint64_t count;

	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	show_size(c);
	console_handle_queue(&c->dev, RECEIVEQ);
	console_handle_queue(&c->dev, TRANSMITQ);
}

static int console_watch(struct virtio_console *c)
{
	return loop_add(c->dev.loop, &c->wake, c->wake_fd, EPOLLIN, on_wake, c);
}

static int console_activate(struct virtio_device *d)
{
	struct virtio_console *c = to_console(d);

	c->port.sent = 0;
	c->shown_size = 0;
	c->used = false;
	c->stopped = d->quiesced;
	return c->stopped ? 0 : console_watch(c);
}

static void console_quiesce(struct virtio_device *d)
{
	to_console(d)->stopped = true;
	loop_remove(&to_console(d)->wake);
}

static void console_resume(struct virtio_device *d)
{
	to_console(d)->stopped = false;
	if (console_watch(to_console(d)))
		virtio_device_broken(d);
}

/* ---- the chardev's callbacks: main thread -------------------------------- */

static void wake(void *opaque)
{
	struct virtio_console *c = opaque;
	uint64_t one = 1;

	(void)!write(c->wake_fd, &one, sizeof(one));
}

static void resized(void *opaque, uint16_t columns, uint16_t rows)
{
	struct virtio_console *c = opaque;

	virtio_device_config_begin(&c->dev);
	atomic_store(&c->size, columns | (uint32_t)rows << 16);
	wake(c);
}

static const struct chardev_client client = {
	.input_ready = wake,
	.output_ready = wake,
	.resized = resized,
};

/* ---- machine lock -------------------------------------------------------- */

static void console_config_read(struct virtio_device *d, uint32_t offset,
				uint8_t *data, uint32_t len)
{
	uint32_t size = atomic_load(&to_console(d)->size);
	struct virtio_console_config config = {
		.cols = htole16((uint16_t)size),
		.rows = htole16((uint16_t)(size >> 16)),
		.max_nr_ports = htole32(1),
	};

	memcpy(data, (const uint8_t *)&config + offset, len);
}

/* 5.3.4: with EMERG_WRITE a byte goes out without any queue. */
static void console_config_write(struct virtio_device *d, uint32_t offset,
				 const uint8_t *data, uint32_t len)
{
	if (offset == offsetof(struct virtio_console_config, emerg_wr) && len)
		chardev_write(to_console(d)->port.cd, data, 1);
}

static void console_save(struct virtio_device *d, struct state_writer *w)
{
	state_put_u64(w, to_console(d)->port.sent);
}

/* The size is the new terminal's: a driver that knows another is told. */
static int console_load(struct virtio_device *d, struct state_reader *r,
			struct error *e)
{
	struct virtio_console *c = to_console(d);

	c->port.sent = state_get_u64(r);
	c->shown_size = UINT32_MAX;
	c->used = true;
	if (state_reader_error(r))
		return error_errno(e, state_reader_error(r),
				   "virtio-console: bad state");
	wake(c);
	return 0;
}

static void console_free(struct virtio_console *c)
{
	if (c->wake_fd >= 0)
		close(c->wake_fd);
	free(c);
}

static void console_destroy(struct virtio_device *d)
{
	static const struct chardev_client nobody;

	chardev_set_client(to_console(d)->port.cd, &nobody, NULL);
	virtio_device_deinit(d);
	console_free(to_console(d));
}

static const struct virtio_device_ops console_ops = {
	.config_read = console_config_read,
	.config_write = console_config_write,
	.activate = console_activate,
	.handle_queue = console_handle_queue,
	.quiesce = console_quiesce,
	.resume = console_resume,
	.reset = console_quiesce,
	.save = console_save,
	.load = console_load,
	.destroy = console_destroy,
};

static const struct virtio_device_info console_info = {
	.name = "virtio-console",
	.type_id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000,		/* communication, other */
	.ops = &console_ops,
};

int virtio_console_create(struct virtio_device **out, struct chardev *cd,
			  struct guest_mem *mem, struct loop *loop,
			  struct error *e)
{
	static const uint16_t sizes[] = {
		CONSOLE_QUEUE_SIZE, CONSOLE_QUEUE_SIZE,
	};
	uint64_t features = UINT64_C(1) << VIRTIO_CONSOLE_F_SIZE |
			    UINT64_C(1) << VIRTIO_CONSOLE_F_EMERG_WRITE;
	struct virtio_console *c = calloc(1, sizeof(*c));
	uint16_t columns = 0, rows = 0;
	int ret;

	if (!c)
		return error_errno(e, -ENOMEM, "virtio-console");
	c->port = (struct console_port){
		.dev = &c->dev, .cd = cd, .receiveq = RECEIVEQ,
		.transmitq = TRANSMITQ, .iov = c->iov,
	};
	c->wake.fd = -1;
	c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (c->wake_fd < 0) {
		ret = error_errno(e, -errno, "virtio-console");
		goto err;
	}
	ret = virtio_device_init(&c->dev, &console_info, mem, loop, features,
				 sizeof(struct virtio_console_config), sizes, 2,
				 e);
	if (ret)
		goto err;
	chardev_size(cd, &columns, &rows);
	atomic_init(&c->size, columns | (uint32_t)rows << 16);
	chardev_set_client(cd, &client, c);
	*out = &c->dev;
	return 0;

err:
	console_free(c);
	return ret;
}
