/* SPDX-License-Identifier: MIT */
/* DIMM hot-plug registers. vCPU threads and the main one, machine lock held. */
#include "platform/mem_hotplug.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

enum reg {
	REG_NEWS = 0x00,
	REG_SELECT = 0x04,
	REG_PRESENT = 0x08,
	REG_EJECT = 0x0c,
	REG_BASE = 0x10,
	REG_BASE_HIGH = 0x14,
	REG_LENGTH = 0x18,
	REG_LENGTH_HIGH = 0x1c,
	REG_SOURCE = 0x20,
	REG_STATUS = 0x24,
};

#define REGISTER_BYTES	4
#define NO_NEWS		UINT32_MAX
#define DEVICE_CHECK	1u
#define EJECT_REQUEST	3u

struct slot {
	uint64_t base, len_bytes;	/* 0 bytes: empty */
	uint8_t news;			/* 0: none */
	bool looked;			/* the guest has, since it started */
};

struct mem_hotplug {
	struct bus *mmio;
	struct bus_range range;
	struct ged *ged;
	struct mem_hotplug_owner owner;
	uint32_t selected, source;
	struct slot slots[MEM_HOTPLUG_MAX];
};

static uint32_t take_news(struct mem_hotplug *h)
{
	for (uint32_t i = 0; i < MEM_HOTPLUG_MAX; i++) {
		uint32_t what = h->slots[i].news;

		h->slots[i].news = 0;
		if (what)
			return what << 8 | i;
	}
	return NO_NEWS;
}

/* Of the slot that is selected, if there is such a one. */
static uint32_t describe(struct mem_hotplug *h, uint64_t offset)
{
	struct slot none = { .base = 0 };
	struct slot *s = h->selected < MEM_HOTPLUG_MAX ?
				 &h->slots[h->selected] : &none;

	switch (offset) {
	case REG_PRESENT:
		s->looked = true;
		return s->len_bytes != 0;
	case REG_BASE:
		return (uint32_t)s->base;
	case REG_BASE_HIGH:
		return (uint32_t)(s->base >> 32);
	case REG_LENGTH:
		return (uint32_t)s->len_bytes;
	case REG_LENGTH_HIGH:
		return (uint32_t)(s->len_bytes >> 32);
	default:
		return 0;
	}
}

static void hotplug_read(void *opaque, uint64_t offset, uint8_t *data,
			 unsigned int len)
{
	struct mem_hotplug *h = opaque;

	memset(data, 0, len);
	if (len == REGISTER_BYTES)
		bus_put_le(data, len, offset == REG_NEWS ? take_news(h) :
							   describe(h, offset));
}

static void hotplug_write(void *opaque, uint64_t offset, const uint8_t *data,
			  unsigned int len)
{
	struct mem_hotplug *h = opaque;
	uint32_t value;

	if (len != REGISTER_BYTES)
		return;
	value = (uint32_t)bus_get_le(data, len);
	if (offset == REG_SELECT)
		h->selected = value;
	else if (offset == REG_EJECT && value < MEM_HOTPLUG_MAX)
		h->owner.ejected(h->owner.opaque, value);
	else if (offset == REG_SOURCE)
		h->source = value;
	else if (offset == REG_STATUS && h->selected < MEM_HOTPLUG_MAX)
		h->owner.reported(h->owner.opaque, h->selected, h->source,
				  value);
}

static const struct bus_ops hotplug_ops = { hotplug_read, hotplug_write };

int mem_hotplug_create(struct mem_hotplug **out, struct bus *mmio,
		       uint64_t base, struct ged *ged,
		       const struct mem_hotplug_owner *owner, struct error *e)
{
	struct mem_hotplug *h = calloc(1, sizeof(*h));
	int ret;

	if (!h)
		return error_set(e, -ENOMEM, "out of memory");
	h->mmio = mmio;
	h->ged = ged;
	h->owner = *owner;
	h->range = (struct bus_range){
		.base = base, .len_bytes = MEM_HOTPLUG_BYTES,
		.ops = &hotplug_ops, .opaque = h,
	};
	ret = bus_add(mmio, &h->range);
	if (ret) {
		free(h);
		return error_errno(e, ret, "DIMM hot-plug registers");
	}
	*out = h;
	return 0;
}

void mem_hotplug_destroy(struct mem_hotplug *h)
{
	if (!h)
		return;
	bus_remove(h->mmio, &h->range);
	free(h);
}

bool mem_hotplug_present(const struct mem_hotplug *h, unsigned int slot)
{
	return slot < MEM_HOTPLUG_MAX && h->slots[slot].len_bytes;
}

bool mem_hotplug_looked(const struct mem_hotplug *h, unsigned int slot)
{
	return h->slots[slot].looked;
}

static void tell(struct mem_hotplug *h, unsigned int slot, uint8_t what)
{
	h->slots[slot].news = what;
	ged_raise(h->ged, GED_MEM_HOTPLUG);
}

void mem_hotplug_added(struct mem_hotplug *h, unsigned int slot,
		       uint64_t base, uint64_t len_bytes)
{
	h->slots[slot].base = base;
	h->slots[slot].len_bytes = len_bytes;
	tell(h, slot, DEVICE_CHECK);
}

void mem_hotplug_request(struct mem_hotplug *h, unsigned int slot)
{
	tell(h, slot, EJECT_REQUEST);
}

void mem_hotplug_gone(struct mem_hotplug *h, unsigned int slot)
{
	h->slots[slot] = (struct slot){ .looked = h->slots[slot].looked };
}

void mem_hotplug_reset(struct mem_hotplug *h)
{
	h->selected = h->source = 0;
	for (unsigned int i = 0; i < MEM_HOTPLUG_MAX; i++) {
		h->slots[i].news = 0;
		h->slots[i].looked = false;
	}
}

void mem_hotplug_save(const struct mem_hotplug *h, struct state_writer *w)
{
	state_put_u32(w, h->selected);
	state_put_u32(w, h->source);
	for (unsigned int i = 0; i < MEM_HOTPLUG_MAX; i++)
		state_put_u8(w, h->slots[i].news);
}

int mem_hotplug_load(struct mem_hotplug *h, struct state_reader *r)
{
	h->selected = state_get_u32(r);
	h->source = state_get_u32(r);
	for (unsigned int i = 0; i < MEM_HOTPLUG_MAX; i++) {
		h->slots[i].news = state_get_u8(r);
		/* It has run, and by far most of that time is after it has. */
		h->slots[i].looked = true;
		if (h->slots[i].news && h->slots[i].news != DEVICE_CHECK &&
		    h->slots[i].news != EJECT_REQUEST)
			return -EPROTO;
	}
	return state_reader_error(r);
}
