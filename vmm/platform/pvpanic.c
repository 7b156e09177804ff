/* SPDX-License-Identifier: MIT */
/* The panic device. vCPU threads, machine lock held. */
#include "platform/pvpanic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Reading gives the events that are understood, writing tells of them. */
#define PANICKED	0x01
#define CRASH_LOADED	0x02

struct pvpanic {
	struct bus *pio;
	struct bus_range range;
	struct platform_owner owner;
};

static void pvpanic_read(void *opaque, uint64_t offset, uint8_t *data,
			 unsigned int len)
{
	(void)opaque;
	(void)offset;
	memset(data, 0, len);
	data[0] = PANICKED | CRASH_LOADED;
}

static void pvpanic_write(void *opaque, uint64_t offset, const uint8_t *data,
			  unsigned int len)
{
	struct pvpanic *p = opaque;

	(void)offset;
	(void)len;
	if (data[0] & PANICKED)
		p->owner.request(p->owner.opaque, PLATFORM_PANICKED, data[0]);
	if (data[0] & CRASH_LOADED)
		p->owner.request(p->owner.opaque, PLATFORM_CRASH_LOADED,
				 data[0]);
}

static const struct bus_ops pvpanic_ops = {
	.read = pvpanic_read,
	.write = pvpanic_write,
};

int pvpanic_create(struct pvpanic **out, struct bus *pio, uint64_t port,
		   const struct platform_owner *owner, struct error *e)
{
	struct pvpanic *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return error_errno(e, -ENOMEM, "panic device");
	p->pio = pio;
	p->owner = *owner;
	p->range = (struct bus_range){
		.base = port, .len_bytes = 1, .ops = &pvpanic_ops, .opaque = p,
	};
	ret = bus_add(pio, &p->range);
	if (ret) {
		free(p);
		return error_errno(e, ret, "panic device");
	}
	*out = p;
	return 0;
}

void pvpanic_destroy(struct pvpanic *p)
{
	if (!p)
		return;
	bus_remove(p->pio, &p->range);
	free(p);
}
