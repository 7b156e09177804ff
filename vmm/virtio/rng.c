/* SPDX-License-Identifier: MIT */
/*
 * The entropy device (VIRTIO 1.2, 5.4). Create and destroy run on the main
 * thread, the rest on the device's loop.
 */
#include "virtio/rng.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define QUEUE_SIZE	8
#define IOV_MAX_COUNT	(QUEUE_SIZE + VIRTQ_IOV_SLACK)
/* For one chain, and for one turn of the loop, which has other devices too. */
#define CHAIN_MAX_BYTES	(64u << 10)
#define TURN_MAX_BYTES	(64u << 10)
#define CHAIN_COST_BYTES 1024u		/* a chain counts for at least this */
#define RETRY_NS	UINT64_C(100000000)

struct virtio_rng {
	struct virtio_device dev;
	int fd;				/* -1: getrandom() */
	bool exhausted;			/* the source has ended */
	bool stopped;
	struct loop_timer retry;	/* while the source has nothing */
	struct iovec iov[IOV_MAX_COUNT];
};

static struct virtio_rng *to_rng(struct virtio_device *d)
{
	return (struct virtio_rng *)d;
}

static ssize_t source_read(const struct virtio_rng *r, const struct iovec *v)
{
	ssize_t n;

	do {
		n = r->fd < 0 ?
			getrandom(v->iov_base, v->iov_len, GRND_NONBLOCK) :
			read(r->fd, v->iov_base, v->iov_len);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/*
 * Fills as much of the chain as the source gives at once and the bound allows.
 * Returns the bytes, or -EAGAIN when there are none now, -ENODATA when there
 * will be none any more.
 */
static int fill(struct virtio_rng *r, const struct virtq_chain *c)
{
	size_t done = 0;

	for (uint32_t i = 0; i < c->writable && done < CHAIN_MAX_BYTES; i++) {
		struct iovec v = c->iov[c->readable + i];
		ssize_t n;

		if (v.iov_len > CHAIN_MAX_BYTES - done)
			v.iov_len = CHAIN_MAX_BYTES - done;
		n = source_read(r, &v);
		if (n <= 0 && !done)
			return n == -EAGAIN ? -EAGAIN : -ENODATA;
		if (n > 0)
			done += (size_t)n;
		if (n < (ssize_t)v.iov_len)
			break;
	}
	return (int)done;
}

/* One chain: its cost, 0 when there is none, -EPROTO, or what fill() says. */
static int serve(struct virtio_device *d, unsigned int index)
{
	struct virtio_rng *r = to_rng(d);
	struct virtqueue *vq = virtio_vq(d, index);
	struct virtq_chain c = { .iov = r->iov, .iov_max = IOV_MAX_COUNT };
	int ret = virtqueue_pop(vq, &c);

	if (ret <= 0)
		return ret;
	/* 5.4.6.1: the driver offers writable buffers only, and some. */
	if (!c.writable || c.readable)
		return -EPROTO;
	ret = fill(r, &c);
	if (ret > 0) {
		virtqueue_push(vq, c.head, (uint32_t)ret);
		return CHAIN_COST_BYTES + ret;
	}
	virtqueue_unpop(vq);
	return ret;
}

static void wait_for_source(struct virtio_rng *r);

static void rng_handle_queue(struct virtio_device *d, unsigned int index)
{
	struct virtio_rng *r = to_rng(d);
	int ret;

	if (r->stopped || r->exhausted)
		return;
	ret = virtio_queue_drain(d, index, TURN_MAX_BYTES, serve);
	if (ret == -EAGAIN)
		wait_for_source(r);
	else if (ret == -ENODATA)
		r->exhausted = true;
}

static void on_retry(void *opaque)
{
	struct virtio_rng *r = opaque;

	rng_handle_queue(&r->dev, 0);
}

static void wait_for_source(struct virtio_rng *r)
{
	/* Made when first needed; without a timer the next kick tries again. */
	if (r->retry.watch.fd < 0 &&
	    loop_timer_init(r->dev.loop, &r->retry, on_retry, r)) {
		virtqueue_arm(virtio_vq(&r->dev, 0));
		return;
	}
	loop_timer_set(&r->retry, RETRY_NS, 0);
}

static void rng_config_read(struct virtio_device *d, uint32_t offset,
			    uint8_t *data, uint32_t len)
{
	(void)d;
	(void)offset;
	memset(data, 0xff, len);
}

static int rng_activate(struct virtio_device *d)
{
	to_rng(d)->stopped = d->quiesced;
	return 0;
}

static void rng_quiesce(struct virtio_device *d)
{
	to_rng(d)->stopped = true;
	loop_timer_deinit(&to_rng(d)->retry);
}

static void rng_resume(struct virtio_device *d)
{
	to_rng(d)->stopped = false;
}

static void rng_destroy(struct virtio_device *d)
{
	struct virtio_rng *r = to_rng(d);

	virtio_device_deinit(d);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
}

/* Nothing to save: no chain is held, and entropy is never replayed. */
static const struct virtio_device_ops rng_ops = {
	.config_read = rng_config_read,
	.activate = rng_activate,
	.handle_queue = rng_handle_queue,
	.quiesce = rng_quiesce,
	.resume = rng_resume,
	.reset = rng_quiesce,
	.destroy = rng_destroy,
};

static const struct virtio_device_info rng_info = {
	.name = "virtio-rng",
	.type_id = VIRTIO_ID_RNG,
	.pci_class = 0x00ff00,		/* unclassified */
	.ops = &rng_ops,
};

static int open_source(struct virtio_rng *r, const char *source,
		       struct error *e)
{
	struct stat st;

	if (!source)
		return 0;
	r->fd = open(source, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (r->fd < 0 || fstat(r->fd, &st))
		return error_errno(e, -errno, "rng source %s", source);
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		return error_set(e, -EINVAL, "rng source %s: neither a file "
				 "nor a character device", source);
	return 0;
}

int virtio_rng_create(struct virtio_device **out, const char *source,
		      struct guest_mem *mem, struct loop *loop,
		      struct error *e)
{
	static const uint16_t sizes[] = { QUEUE_SIZE };
	struct virtio_rng *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return error_errno(e, -ENOMEM, "virtio-rng");
	r->fd = -1;
	r->retry.watch.fd = -1;
	ret = open_source(r, source, e);
	if (!ret)
		ret = virtio_device_init(&r->dev, &rng_info, mem, loop, 0, 0,
					 sizes, 1, e);
	if (ret) {
		if (r->fd >= 0)
			close(r->fd);
		free(r);
		return ret;
	}
	*out = &r->dev;
	return 0;
}
