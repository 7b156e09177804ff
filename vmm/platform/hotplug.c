/* SPDX-License-Identifier: MIT */
/* Hot-plug registers. vCPU threads and the main one, machine lock held. */
#include "platform/hotplug.h"

#include <errno.h>
#include <stdlib.h>

#include "platform/registers.h"
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
};

#define NO_NEWS		UINT32_MAX
#define DEVICE_CHECK	1u
#define EJECT_REQUEST	3u

struct layout {
	const char *name;		/* for errors */
	uint32_t event;
	uint64_t source, status, len_bytes;
};

static const struct layout layouts[] = {
	[HOTPLUG_CPUS] = { "vCPU hot-plug registers", GED_CPU_HOTPLUG,
			   0x10, 0x14, 0x18 },
	[HOTPLUG_DIMMS] = { "DIMM hot-plug registers", GED_MEM_HOTPLUG,
			    0x20, 0x24, 0x28 },
};

struct unit {
	uint64_t base, len_bytes;
	uint8_t news;			/* 0: none */
	bool present;
	bool looked;			/* the guest has, since it started */
};

struct hotplug {
	enum hotplug_kind kind;
	struct registers regs;
	struct ged *ged;
	struct hotplug_owner owner;
	uint32_t selected, source;
	struct unit units[HOTPLUG_UNITS];
};

static uint32_t take_news(struct hotplug *h)
{
	for (uint32_t i = 0; i < HOTPLUG_UNITS; i++) {
		uint32_t what = h->units[i].news;

		h->units[i].news = 0;
		if (what)
			return what << 8 | i;
	}
	return NO_NEWS;
}

static uint32_t hotplug_read(void *opaque, uint64_t offset)
{
	struct hotplug *h = opaque;
	struct unit *u;

	if (offset == REG_NEWS)
		return take_news(h);
	if (h->selected >= HOTPLUG_UNITS ||
	    offset >= layouts[h->kind].source)
		return 0;
	u = &h->units[h->selected];
	switch (offset) {
	case REG_PRESENT:
		u->looked = true;
		return u->present;
	case REG_BASE:
		return (uint32_t)u->base;
	case REG_BASE_HIGH:
		return (uint32_t)(u->base >> 32);
	case REG_LENGTH:
		return (uint32_t)u->len_bytes;
	case REG_LENGTH_HIGH:
		return (uint32_t)(u->len_bytes >> 32);
	default:
		return 0;
	}
}

static void hotplug_write(void *opaque, uint64_t offset, uint32_t value)
{
	struct hotplug *h = opaque;
	const struct layout *l = &layouts[h->kind];

	if (offset == REG_SELECT)
		h->selected = value;
	else if (offset == REG_EJECT && value < HOTPLUG_UNITS)
		h->owner.ejected(h->owner.opaque, value);
	else if (offset == l->source)
		h->source = value;
	else if (offset == l->status && h->selected < HOTPLUG_UNITS)
		h->owner.reported(h->owner.opaque, h->selected, h->source,
				  value);
}

static const struct registers_ops hotplug_ops = { hotplug_read, hotplug_write };

int hotplug_create(struct hotplug **out, enum hotplug_kind kind,
		   struct bus *mmio, uint64_t base, struct ged *ged,
		   unsigned int present, const struct hotplug_owner *owner,
		   struct error *e)
{
	struct hotplug *h = calloc(1, sizeof(*h));
	int ret;

	if (!h)
		return error_set(e, -ENOMEM, "out of memory");
	h->kind = kind;
	h->ged = ged;
	h->owner = *owner;
	for (unsigned int i = 0; i < present && i < HOTPLUG_UNITS; i++)
		h->units[i].present = true;
	ret = registers_add(&h->regs, mmio, base, layouts[kind].len_bytes,
			    &hotplug_ops, h, layouts[kind].name, e);
	if (ret) {
		free(h);
		return ret;
	}
	*out = h;
	return 0;
}

void hotplug_destroy(struct hotplug *h)
{
	if (!h)
		return;
	registers_remove(&h->regs);
	free(h);
}

bool hotplug_present(const struct hotplug *h, unsigned int unit)
{
	return unit < HOTPLUG_UNITS && h->units[unit].present;
}

bool hotplug_looked(const struct hotplug *h, unsigned int unit)
{
	return h->units[unit].looked;
}

static void tell(struct hotplug *h, unsigned int unit, uint8_t what)
{
	h->units[unit].news = what;
	ged_raise(h->ged, layouts[h->kind].event);
}

void hotplug_added(struct hotplug *h, unsigned int unit, uint64_t base,
		   uint64_t len_bytes)
{
	h->units[unit].present = true;
	h->units[unit].base = base;
	h->units[unit].len_bytes = len_bytes;
	tell(h, unit, DEVICE_CHECK);
}

void hotplug_request(struct hotplug *h, unsigned int unit)
{
	tell(h, unit, EJECT_REQUEST);
}

void hotplug_gone(struct hotplug *h, unsigned int unit)
{
	h->units[unit] = (struct unit){ .looked = h->units[unit].looked };
}

void hotplug_reset(struct hotplug *h)
{
	h->selected = h->source = 0;
	for (unsigned int i = 0; i < HOTPLUG_UNITS; i++) {
		h->units[i].news = 0;
		h->units[i].looked = false;
	}
}

void hotplug_save(const struct hotplug *h, struct state_writer *w)
{
	state_put_u32(w, h->selected);
	state_put_u32(w, h->source);
	for (unsigned int i = 0; i < HOTPLUG_UNITS; i++) {
		if (h->kind == HOTPLUG_CPUS)
			state_put_bool(w, h->units[i].present);
		state_put_u8(w, h->units[i].news);
	}
}

int hotplug_load(struct hotplug *h, struct state_reader *r)
{
	h->selected = state_get_u32(r);
	h->source = state_get_u32(r);
	for (unsigned int i = 0; i < HOTPLUG_UNITS; i++) {
		struct unit *u = &h->units[i];

		if (h->kind == HOTPLUG_CPUS)
			u->present = state_get_bool(r);
		u->news = state_get_u8(r);
		/* It has run, and by far most of that time is after it has. */
		u->looked = true;
		if (u->news && u->news != DEVICE_CHECK &&
		    u->news != EJECT_REQUEST)
			return -EPROTO;
	}
	return state_reader_error(r);
}
