/* SPDX-License-Identifier: MIT */
/*
 * The memory balloon (VIRTIO 1.2, 5.5). Create and destroy run on the main
 * thread, the configuration space under the machine lock, the rest on the
 * device's loop.
 */
#include "virtio/balloon.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <linux/virtio_ids.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "state.h"

#define QUEUE_SIZE	128
#define IOV_MAX_COUNT	(QUEUE_SIZE + VIRTQ_IOV_SLACK)
/* Of one chain; Linux sends 256. What is beyond stays with the guest. */
#define CHAIN_PAGES	4096u
/* For one turn of the loop, which has other devices too. */
#define TURN_PAGES	16384u
#define CHAIN_COST_PAGES 64u		/* a chain counts for at least this */
#define SECOND_NS	UINT64_C(1000000000)

/*
 * 5.5.2 numbers the reporting queue 4; drivers and devices number those there
 * are, without gaps. No free page hints are offered, so both 3 and 4 can only
 * mean reporting, and so can 2 without statistics.
 */
enum { INFLATE, DEFLATE, STATS, REPORTING, REPORTING_BY_SPEC, QUEUES };

struct stat_entry {
	uint16_t tag;
	uint64_t value;
} __attribute__((packed));

struct virtio_balloon {
	struct virtio_device dev;
	struct balloon_host host;
	/* 5.5.4; machine lock, but for a reset, which others wait for. */
	struct {
		uint32_t num_pages, actual;	/* little-endian */
	} config;
	bool stopped;

	bool held;			/* the chain that statistics come in */
	uint16_t held_head;
	struct loop_timer ask;		/* for the next ones */
	_Atomic uint32_t interval_s;	/* 0: it is not asked */
	_Atomic uint64_t stats[BALLOON_STATS];
	_Atomic int64_t stats_time;

	uint32_t pfns[CHAIN_PAGES];
	struct iovec iov[IOV_MAX_COUNT];
};

static struct virtio_balloon *to_balloon(struct virtio_device *d)
{
	return (struct virtio_balloon *)d;
}

static void forget_stats(struct virtio_balloon *b)
{
	for (unsigned int i = 0; i < BALLOON_STATS; i++)
		atomic_store(&b->stats[i], BALLOON_STAT_UNKNOWN);
	atomic_store(&b->stats_time, 0);
}

/* ---- the queues ------------------------------------------------------------ */

static void discard(struct virtio_balloon *b, uint8_t *start, uint64_t len)
{
	if (len)
		b->host.discard(b->host.opaque, start, len);
}

/* Pages that are neighbours in the host, in either order, go at once. */
static void discard_pages(struct virtio_balloon *b, size_t count)
{
	uint8_t *start = NULL, *p;
	uint64_t len = 0;

	for (size_t i = 0; i < count; i++) {
		gpa_t gpa = (gpa_t)le32toh(b->pfns[i]) * BALLOON_PAGE_BYTES;

		p = guest_mem_ring(b->dev.mem, gpa, BALLOON_PAGE_BYTES);
		if (!p)
			continue;
		if (len && p == start + len) {
			len += BALLOON_PAGE_BYTES;
		} else if (len && p + BALLOON_PAGE_BYTES == start) {
			start = p;
			len += BALLOON_PAGE_BYTES;
		} else {
			discard(b, start, len);
			start = p;
			len = BALLOON_PAGE_BYTES;
		}
	}
	discard(b, start, len);
}

/* 5.5.6: page numbers. What deflates comes back by being touched. */
static unsigned int handle_pages(struct virtio_balloon *b,
				 const struct virtq_chain *c, bool inflate)
{
	size_t n = iov_read(c->iov, c->readable, 0, b->pfns,
			    sizeof(b->pfns)) / sizeof(b->pfns[0]);

	if (inflate)
		discard_pages(b, n);
	return inflate ? (unsigned int)n : 0;
}

/* 5.5.6.7: the buffers themselves are what is free. */
static unsigned int handle_report(struct virtio_balloon *b,
				  const struct virtq_chain *c)
{
	for (uint32_t i = 0; i < c->writable; i++) {
		const struct iovec *v = &c->iov[c->readable + i];

		discard(b, v->iov_base, v->iov_len);
	}
	return c->writable * CHAIN_COST_PAGES;
}

static void take_stats(struct virtio_balloon *b, const struct virtq_chain *c)
{
	struct stat_entry s;

	/* One for each tag there may ever be is enough of them. */
	for (size_t i = 0; i < 64; i++) {
		if (iov_read(c->iov, c->readable, i * sizeof(s), &s,
			     sizeof(s)) != sizeof(s))
			break;
		if (le16toh(s.tag) < BALLOON_STATS)
			atomic_store(&b->stats[le16toh(s.tag)],
				     le64toh(s.value));
	}
	atomic_store(&b->stats_time, (int64_t)time(NULL));
}

static void give_back(struct virtio_balloon *b)
{
	if (!b->held)
		return;
	b->held = false;
	virtqueue_push(virtio_vq(&b->dev, STATS), b->held_head, 0);
	virtio_queue_flush(&b->dev, STATS);
}

static void on_ask(void *opaque)
{
	give_back(opaque);
}

static void ask_later(struct virtio_balloon *b)
{
	if (b->ask.watch.fd >= 0 ||
	    !loop_timer_init(b->dev.loop, &b->ask, on_ask, b))
		loop_timer_set(&b->ask, atomic_load(&b->interval_s) * SECOND_NS,
			       0);
}

/* 5.5.6.3: the buffer stays here until statistics are wanted again. */
static void handle_stats(struct virtio_balloon *b, const struct virtq_chain *c)
{
	give_back(b);
	take_stats(b, c);
	b->held = true;
	b->held_head = c->head;
	ask_later(b);
}

static bool is_stats(const struct virtio_balloon *b, unsigned int index)
{
	return index == STATS && virtio_has(&b->dev, VIRTIO_BALLOON_F_STATS_VQ);
}

/* One chain: what it cost, 0 when there is none, -EPROTO. */
static int serve(struct virtio_device *d, unsigned int index)
{
	struct virtio_balloon *b = to_balloon(d);
	struct virtqueue *vq = virtio_vq(d, index);
	struct virtq_chain c = { .iov = b->iov, .iov_max = IOV_MAX_COUNT };
	unsigned int pages = 0;
	int ret = virtqueue_pop(vq, &c);

	if (ret <= 0)
		return ret;
	if (is_stats(b, index)) {
		handle_stats(b, &c);
		return CHAIN_COST_PAGES;
	}
	if (index <= DEFLATE)
		pages = handle_pages(b, &c, index == INFLATE);
	else if (virtio_has(&b->dev, VIRTIO_BALLOON_F_REPORTING))
		pages = handle_report(b, &c);
	virtqueue_push(vq, c.head, 0);
	return (int)(pages + CHAIN_COST_PAGES);
}

static void balloon_handle_queue(struct virtio_device *d, unsigned int index)
{
	if (!to_balloon(d)->stopped)
		virtio_queue_drain(d, index, TURN_PAGES, serve);
}

/* ---- configuration and life ------------------------------------------------ */

static void balloon_config_read(struct virtio_device *d, uint32_t offset,
				uint8_t *data, uint32_t len)
{
	memcpy(data, (const uint8_t *)&to_balloon(d)->config + offset, len);
}

/* 5.5.4: actual is the driver's to write. */
static void balloon_config_write(struct virtio_device *d, uint32_t offset,
				 const uint8_t *data, uint32_t len)
{
	struct virtio_balloon *b = to_balloon(d);
	const uint32_t first = sizeof(b->config.num_pages);

	if (offset < first)
		return;
	memcpy((uint8_t *)&b->config + offset, data, len);
	b->host.changed(b->host.opaque);
}

static int balloon_activate(struct virtio_device *d)
{
	to_balloon(d)->stopped = d->quiesced;
	return 0;
}

/* Nothing is held in a pause; the driver answers after it. */
static void balloon_quiesce(struct virtio_device *d)
{
	struct virtio_balloon *b = to_balloon(d);

	b->stopped = true;
	loop_timer_deinit(&b->ask);
	give_back(b);
}

static void balloon_resume(struct virtio_device *d)
{
	to_balloon(d)->stopped = false;
}

/* What was asked for still is: the next driver finds it. */
static void balloon_reset(struct virtio_device *d)
{
	struct virtio_balloon *b = to_balloon(d);

	b->stopped = true;
	b->held = false;
	loop_timer_deinit(&b->ask);
	forget_stats(b);
	b->config.actual = 0;
}

static void balloon_save(struct virtio_device *d, struct state_writer *w)
{
	struct virtio_balloon *b = to_balloon(d);

	state_put_u32(w, le32toh(b->config.num_pages));
	state_put_u32(w, le32toh(b->config.actual));
}

static int balloon_load(struct virtio_device *d, struct state_reader *r,
			struct error *e)
{
	struct virtio_balloon *b = to_balloon(d);
	uint32_t num_pages = state_get_u32(r), actual = state_get_u32(r);

	if (state_reader_error(r))
		return error_errno(e, state_reader_error(r),
				   "virtio-balloon: bad state");
	b->config.num_pages = htole32(num_pages);
	b->config.actual = htole32(actual);
	return 0;
}

static void balloon_destroy(struct virtio_device *d)
{
	struct virtio_balloon *b = to_balloon(d);

	virtio_device_deinit(d);
	free(b);
}

static const struct virtio_device_ops balloon_ops = {
	.config_read = balloon_config_read,
	.config_write = balloon_config_write,
	.activate = balloon_activate,
	.handle_queue = balloon_handle_queue,
	.quiesce = balloon_quiesce,
	.resume = balloon_resume,
	.reset = balloon_reset,
	.save = balloon_save,
	.load = balloon_load,
	.destroy = balloon_destroy,
};

static const struct virtio_device_info balloon_info = {
	.name = "virtio-balloon",
	.type_id = VIRTIO_ID_BALLOON,
	.pci_class = 0x00ff00,		/* unclassified */
	.ops = &balloon_ops,
};

int virtio_balloon_create(struct virtio_device **out,
			  const struct balloon_params *p,
			  const struct balloon_host *host,
			  struct guest_mem *mem, struct loop *loop,
			  struct error *e)
{
	static const uint16_t sizes[QUEUES] = {
		QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE, QUEUE_SIZE,
	};
	struct virtio_balloon *b = calloc(1, sizeof(*b));
	uint64_t features = 1ull << VIRTIO_BALLOON_F_STATS_VQ;
	unsigned int queues = STATS + 1;
	int ret;

	if (!b)
		return error_errno(e, -ENOMEM, "virtio-balloon");
	if (p->deflate_on_oom)
		features |= 1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM;
	if (p->free_page_reporting) {
		features |= 1ull << VIRTIO_BALLOON_F_REPORTING;
		queues = QUEUES;
	}
	b->host = *host;
	b->ask.watch.fd = -1;
	atomic_store(&b->interval_s, BALLOON_STATS_SECONDS);
	forget_stats(b);
	ret = virtio_device_init(&b->dev, &balloon_info, mem, loop, features,
				 sizeof(b->config), sizes, queues, e);
	if (ret) {
		free(b);
		return ret;
	}
	*out = &b->dev;
	return 0;
}

/* ---- the host's side ------------------------------------------------------- */

void virtio_balloon_set_target(struct virtio_device *d, uint32_t pages)
{
	virtio_device_config_begin(d);
	to_balloon(d)->config.num_pages = htole32(pages);
	virtio_device_config_changed(d);
}

uint32_t virtio_balloon_target(struct virtio_device *d)
{
	return le32toh(to_balloon(d)->config.num_pages);
}

uint32_t virtio_balloon_actual(struct virtio_device *d)
{
	return le32toh(to_balloon(d)->config.actual);
}

uint64_t virtio_balloon_stat(struct virtio_device *d, enum balloon_stat which)
{
	return atomic_load(&to_balloon(d)->stats[which]);
}

int64_t virtio_balloon_stats_time(struct virtio_device *d)
{
	return atomic_load(&to_balloon(d)->stats_time);
}

static void on_interval(void *opaque)
{
	struct virtio_balloon *b = opaque;

	if (b->held)
		ask_later(b);
}

void virtio_balloon_set_stats_interval(struct virtio_device *d,
				       uint32_t seconds)
{
	atomic_store(&to_balloon(d)->interval_s, seconds);
	loop_call(d->loop, on_interval, to_balloon(d));
}

uint32_t virtio_balloon_stats_interval(struct virtio_device *d)
{
	return atomic_load(&to_balloon(d)->interval_s);
}
