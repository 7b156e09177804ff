/* SPDX-License-Identifier: MIT */
/* Registers for ACPI code. vCPU threads, machine lock held. */
#include "platform/registers.h"

#include <string.h>

#define REGISTER_BYTES 4

static void registers_read(void *opaque, uint64_t offset, uint8_t *data,
			   unsigned int len)
{
	struct registers *r = opaque;

	memset(data, 0, len);
	if (len == REGISTER_BYTES)
		bus_put_le(data, len, r->ops->read(r->opaque, offset));
}

static void registers_write(void *opaque, uint64_t offset, const uint8_t *data,
			    unsigned int len)
{
	struct registers *r = opaque;

	if (len == REGISTER_BYTES && r->ops->write)
		r->ops->write(r->opaque, offset,
			      (uint32_t)bus_get_le(data, len));
}

static const struct bus_ops registers_bus_ops = {
	registers_read, registers_write
};

int registers_add(struct registers *r, struct bus *bus, uint64_t base,
		  uint64_t len_bytes, const struct registers_ops *ops,
		  void *opaque, const char *name, struct error *e)
{
	int ret;

	*r = (struct registers){
		.bus = bus, .ops = ops, .opaque = opaque,
		.range = {
			.base = base, .len_bytes = len_bytes,
			.ops = &registers_bus_ops, .opaque = r,
		},
	};
	ret = bus_add(bus, &r->range);
	return ret ? error_errno(e, ret, "%s", name) : 0;
}

void registers_remove(struct registers *r)
{
	bus_remove(r->bus, &r->range);
}
