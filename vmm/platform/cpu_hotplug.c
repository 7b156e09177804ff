/* SPDX-License-Identifier: MIT */
/* vCPU hot-plug registers. vCPU threads and the main one, machine lock held. */
#include "platform/cpu_hotplug.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

enum reg {
	REG_NEWS = 0x00,
	REG_SELECT = 0x04,
	REG_PRESENT = 0x08,
	REG_EJECT = 0x0c,
	REG_SOURCE = 0x10,
	REG_STATUS = 0x14,
};

#define REGISTER_BYTES	4
#define NO_NEWS		UINT32_MAX
#define DEVICE_CHECK	1u
#define EJECT_REQUEST	3u

struct cpu_hotplug {
	struct bus *mmio;
	struct bus_range range;
	struct ged *ged;
	struct cpu_hotplug_owner owner;
	uint32_t selected, source;
	bool present[CPU_HOTPLUG_MAX];
	uint8_t news[CPU_HOTPLUG_MAX];	/* 0: none */
};

static uint32_t take_news(struct cpu_hotplug *h)
{
	for (uint32_t cpu = 0; cpu < CPU_HOTPLUG_MAX; cpu++) {
		uint32_t what = h->news[cpu];

		h->news[cpu] = 0;
		if (what)
			return what << 8 | cpu;
	}
	return NO_NEWS;
}

static void hotplug_read(void *opaque, uint64_t offset, uint8_t *data,
			 unsigned int len)
{
	struct cpu_hotplug *h = opaque;
	uint32_t value = 0;

	memset(data, 0, len);
	if (len != REGISTER_BYTES)
		return;
	if (offset == REG_NEWS)
		value = take_news(h);
	else if (offset == REG_PRESENT)
		value = cpu_hotplug_present(h, h->selected);
	bus_put_le(data, len, value);
}

static void hotplug_write(void *opaque, uint64_t offset, const uint8_t *data,
			  unsigned int len)
{
	struct cpu_hotplug *h = opaque;
	uint32_t value;

	if (len != REGISTER_BYTES)
		return;
	value = (uint32_t)bus_get_le(data, len);
	if (offset == REG_SELECT)
		h->selected = value;
	else if (offset == REG_EJECT)
		h->owner.ejected(h->owner.opaque, value);
	else if (offset == REG_SOURCE)
		h->source = value;
	else if (offset == REG_STATUS)
		h->owner.reported(h->owner.opaque, h->selected, h->source,
				  value);
}

static const struct bus_ops hotplug_ops = { hotplug_read, hotplug_write };

int cpu_hotplug_create(struct cpu_hotplug **out, struct bus *mmio,
		       uint64_t base, struct ged *ged, unsigned int present,
		       const struct cpu_hotplug_owner *owner, struct error *e)
{
	struct cpu_hotplug *h = calloc(1, sizeof(*h));
	int ret;

	if (!h)
		return error_set(e, -ENOMEM, "out of memory");
	h->mmio = mmio;
	h->ged = ged;
	h->owner = *owner;
	for (unsigned int i = 0; i < present && i < CPU_HOTPLUG_MAX; i++)
		h->present[i] = true;
	h->range = (struct bus_range){
		.base = base, .len_bytes = CPU_HOTPLUG_BYTES,
		.ops = &hotplug_ops, .opaque = h,
	};
	ret = bus_add(mmio, &h->range);
	if (ret) {
		free(h);
		return error_errno(e, ret, "vCPU hot-plug registers");
	}
	*out = h;
	return 0;
}

void cpu_hotplug_destroy(struct cpu_hotplug *h)
{
	if (!h)
		return;
	bus_remove(h->mmio, &h->range);
	free(h);
}

bool cpu_hotplug_present(const struct cpu_hotplug *h, unsigned int cpu)
{
	return cpu < CPU_HOTPLUG_MAX && h->present[cpu];
}

static void tell(struct cpu_hotplug *h, unsigned int cpu, uint8_t what)
{
	h->news[cpu] = what;
	ged_raise(h->ged, GED_CPU_HOTPLUG);
}

void cpu_hotplug_added(struct cpu_hotplug *h, unsigned int cpu)
{
	h->present[cpu] = true;
	tell(h, cpu, DEVICE_CHECK);
}

void cpu_hotplug_request(struct cpu_hotplug *h, unsigned int cpu)
{
	tell(h, cpu, EJECT_REQUEST);
}

void cpu_hotplug_gone(struct cpu_hotplug *h, unsigned int cpu)
{
	h->present[cpu] = false;
	h->news[cpu] = 0;
}

void cpu_hotplug_reset(struct cpu_hotplug *h)
{
	h->selected = h->source = 0;
	memset(h->news, 0, sizeof(h->news));
}

void cpu_hotplug_save(const struct cpu_hotplug *h, struct state_writer *w)
{
	state_put_u32(w, h->selected);
	state_put_u32(w, h->source);
	for (unsigned int i = 0; i < CPU_HOTPLUG_MAX; i++) {
		state_put_bool(w, h->present[i]);
		state_put_u8(w, h->news[i]);
	}
}

int cpu_hotplug_load(struct cpu_hotplug *h, struct state_reader *r)
{
	h->selected = state_get_u32(r);
	h->source = state_get_u32(r);
	for (unsigned int i = 0; i < CPU_HOTPLUG_MAX; i++) {
		h->present[i] = state_get_bool(r);
		h->news[i] = state_get_u8(r);
		if (h->news[i] && h->news[i] != DEVICE_CHECK &&
		    h->news[i] != EJECT_REQUEST)
			return -EPROTO;
	}
	return state_reader_error(r);
}
