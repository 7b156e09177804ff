/* SPDX-License-Identifier: MIT */
/*
 * The traditional memory balloon (VIRTIO 1.2, 5.5): memory that the guest does
 * without goes back to the host. Created and destroyed by the main thread.
 */
#ifndef MOTE_VIRTIO_BALLOON_H
#define MOTE_VIRTIO_BALLOON_H

#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "guest_mem.h"
#include "loop.h"
#include "virtio/device.h"

#define BALLOON_PAGE_BYTES 4096u
/* How often the driver is asked for statistics, if nothing else is said. */
#define BALLOON_STATS_SECONDS 2

/* What the device needs of its machine. */
struct balloon_host {
	/*
	 * The guest needs nothing that is in [host, host + len), which is
	 * guest memory of some kind; what is not RAM must stay. The device's
	 * loop's thread.
	 */
	void (*discard)(void *opaque, void *host, uint64_t len_bytes);
	/* The balloon's size has changed. vCPU threads, machine lock held. */
	void (*changed)(void *opaque);
	void *opaque;
};

struct balloon_params {
	bool deflate_on_oom;
	bool free_page_reporting;
};

/* What the driver said last (5.5.6.3.1), by tag; BALLOON_STAT_UNKNOWN: never. */
enum balloon_stat {
	BALLOON_STAT_SWAP_IN,		/* bytes */
	BALLOON_STAT_SWAP_OUT,		/* bytes */
	BALLOON_STAT_MAJOR_FAULTS,
	BALLOON_STAT_MINOR_FAULTS,
	BALLOON_STAT_FREE,		/* bytes */
	BALLOON_STAT_TOTAL,		/* bytes */
	BALLOON_STAT_AVAILABLE,		/* bytes */
	BALLOON_STAT_CACHES,		/* bytes */
	BALLOON_STAT_HTLB_ALLOC,
	BALLOON_STAT_HTLB_FAIL,
	BALLOON_STATS,
};
#define BALLOON_STAT_UNKNOWN UINT64_MAX

int virtio_balloon_create(struct virtio_device **out,
			  const struct balloon_params *p,
			  const struct balloon_host *host,
			  struct guest_mem *mem, struct loop *loop,
			  struct error *e);

/* Machine lock held. Both in pages of BALLOON_PAGE_BYTES. */

/* What the guest is asked to do without. */
void virtio_balloon_set_target(struct virtio_device *d, uint32_t pages);
uint32_t virtio_balloon_target(struct virtio_device *d);
/* What it says it does without, which may be anything. */
uint32_t virtio_balloon_actual(struct virtio_device *d);

/* Any thread. */
uint64_t virtio_balloon_stat(struct virtio_device *d, enum balloon_stat which);
/* When the driver said something last: seconds since 1970, 0: never. */
int64_t virtio_balloon_stats_time(struct virtio_device *d);

/* Main thread. 0: never. What it has said stays. */
void virtio_balloon_set_stats_interval(struct virtio_device *d,
				       uint32_t seconds);
uint32_t virtio_balloon_stats_interval(struct virtio_device *d);

#endif
