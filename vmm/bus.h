/* SPDX-License-Identifier: MIT */
/*
 * Address ranges that exit to user space: one struct bus for port I/O, one for
 * MMIO.
 *
 * The machine lock: bus_read() and bus_write(), run by vCPU threads, take the
 * mutex given to bus_create() around the device's callback. So every register
 * access of every device is serialized, and whoever changes the machine from
 * another thread (monitor commands, resets) takes the same mutex first.
 * Callbacks run with it held, must not take it, must not wait for a vCPU, and
 * may add and remove ranges. Data paths (ioeventfd → iothread → irqfd) never
 * take it.
 */
#ifndef MOTE_BUS_H
#define MOTE_BUS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct bus;

struct bus_ops {
	/*
	 * len is 1 … 8, not always a power of two: KVM cuts an access where a
	 * page ends. [offset, offset+len) lies inside the range; data is
	 * little-endian guest bytes. read() must fill all len bytes.
	 */
	void (*read)(void *opaque, uint64_t offset, uint8_t *data,
		     unsigned int len);
	void (*write)(void *opaque, uint64_t offset, const uint8_t *data,
		      unsigned int len);
};

/* Caller-owned; must live until bus_remove(). */
struct bus_range {
	uint64_t base;
	uint64_t len_bytes;
	const struct bus_ops *ops;
	void *opaque;
	bool attached;		/* set by bus_add(), cleared by bus_remove() */
};

int bus_create(struct bus **out, pthread_mutex_t *machine_lock);
void bus_destroy(struct bus *b);

/* Machine lock held, or before the vCPUs run. -EEXIST: overlaps; -EINVAL. */
int bus_add(struct bus *b, struct bus_range *r);
void bus_remove(struct bus *b, struct bus_range *r); /* no-op if not attached */

/*
 * vCPU threads. False when no range holds the whole access: reads then give
 * all ones, writes are dropped.
 */
bool bus_read(struct bus *b, uint64_t addr, uint8_t *data, unsigned int len);
bool bus_write(struct bus *b, uint64_t addr, const uint8_t *data,
	       unsigned int len);

/* Little-endian helpers for callbacks. */
uint64_t bus_get_le(const uint8_t *data, unsigned int len);
void bus_put_le(uint8_t *data, unsigned int len, uint64_t value);

#endif
