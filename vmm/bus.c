/* SPDX-License-Identifier: MIT */
/*
 * Dispatch of accesses that leave the guest. vCPU threads read and write; the
 * machine lock serializes them with each other and with changes.
 */
#include "bus.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct bus {
	pthread_mutex_t *lock;
	struct bus_range **ranges;	/* sorted by base */
	size_t count, room;
};

int bus_create(struct bus **out, pthread_mutex_t *machine_lock)
{
	struct bus *b = calloc(1, sizeof(*b));

	if (!b)
		return -ENOMEM;
	b->lock = machine_lock;
	*out = b;
	return 0;
}

void bus_destroy(struct bus *b)
{
	if (!b)
		return;
	free(b->ranges);
	free(b);
}

/* The index of the first range whose base is above addr. */
static size_t upper(const struct bus *b, uint64_t addr)
{
	size_t low = 0, high = b->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (b->ranges[mid]->base <= addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int make_room(struct bus *b)
{
	size_t room = b->room ? 2 * b->room : 16;
	struct bus_range **p;

	if (b->count < b->room)
		return 0;
	p = realloc(b->ranges, room * sizeof(*p));
	if (!p)
		return -ENOMEM;
	b->ranges = p;
	b->room = room;
	return 0;
}

int bus_add(struct bus *b, struct bus_range *r)
{
	uint64_t last;
	size_t at;
	int ret;

	if (!r->len_bytes || r->attached ||
	    __builtin_add_overflow(r->base, r->len_bytes - 1, &last))
		return -EINVAL;
	at = upper(b, r->base);
	if (at > 0 && r->base - b->ranges[at - 1]->base <
		      b->ranges[at - 1]->len_bytes)
		return -EEXIST;
	if (at < b->count && b->ranges[at]->base <= last)
		return -EEXIST;
	ret = make_room(b);
	if (ret)
		return ret;
	memmove(b->ranges + at + 1, b->ranges + at,
		(b->count - at) * sizeof(*b->ranges));
	b->ranges[at] = r;
	b->count++;
	r->attached = true;
	return 0;
}

void bus_remove(struct bus *b, struct bus_range *r)
{
	size_t at;

	if (!r->attached)
		return;
	at = upper(b, r->base) - 1;
	memmove(b->ranges + at, b->ranges + at + 1,
		(b->count - at - 1) * sizeof(*b->ranges));
	b->count--;
	r->attached = false;
}

static struct bus_range *find(const struct bus *b, uint64_t addr,
			      unsigned int len)
{
	size_t at = upper(b, addr);
	struct bus_range *r;

	if (!at)
		return NULL;
	r = b->ranges[at - 1];
	if (len > r->len_bytes || addr - r->base > r->len_bytes - len)
		return NULL;
	return r;
}

bool bus_read(struct bus *b, uint64_t addr, uint8_t *data, unsigned int len)
{
	struct bus_range *r;

	pthread_mutex_lock(b->lock);
	r = find(b, addr, len);
	if (r)
		r->ops->read(r->opaque, addr - r->base, data, len);
	else
		memset(data, 0xff, len);
	pthread_mutex_unlock(b->lock);
	return r;
}

bool bus_write(struct bus *b, uint64_t addr, const uint8_t *data,
	       unsigned int len)
{
	struct bus_range *r;

	pthread_mutex_lock(b->lock);
	r = find(b, addr, len);
	if (r)
		r->ops->write(r->opaque, addr - r->base, data, len);
	pthread_mutex_unlock(b->lock);
	return r;
}

uint64_t bus_get_le(const uint8_t *data, unsigned int len)
{
	uint64_t value = 0;

	while (len--)
		value = value << 8 | data[len];
	return value;
}

void bus_put_le(uint8_t *data, unsigned int len, uint64_t value)
{
	for (unsigned int i = 0; i < len; i++, value >>= 8)
		data[i] = (uint8_t)value;
}
