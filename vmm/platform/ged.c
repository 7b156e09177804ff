/* SPDX-License-Identifier: MIT */
/*
 * The event device. Register reads on vCPU threads under the machine lock;
 * ged_raise() on any.
 */
#include "platform/ged.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define REGISTER_BYTES 4

struct ged {
	struct bus *mmio;
	struct bus_range range;
	struct irq_line line;
	_Atomic uint32_t pending;
};

/* Reading takes all pending events, so that none is delivered twice. */
static void ged_read(void *opaque, uint64_t offset, uint8_t *data,
		     unsigned int len)
{
	struct ged *g = opaque;

	if (offset == 0 && len == REGISTER_BYTES)
		bus_put_le(data, len, atomic_exchange(&g->pending, 0));
	else
		memset(data, 0, len);
}

static void ged_write(void *opaque, uint64_t offset, const uint8_t *data,
		      unsigned int len)
{
	(void)opaque;
	(void)offset;
	(void)data;
	(void)len;
}

static const struct bus_ops ged_ops = { ged_read, ged_write };

int ged_create(struct ged **out, struct bus *mmio, uint64_t base,
	       struct irq_chip *irq, uint32_t gsi, struct error *e)
{
	struct ged *g = calloc(1, sizeof(*g));
	int ret;

	if (!g)
		return error_set(e, -ENOMEM, "out of memory");
	g->mmio = mmio;
	ret = irq_line_init(&g->line, irq, gsi, false, e);
	if (ret)
		goto err_free;
	g->range = (struct bus_range){
		.base = base, .len_bytes = REGISTER_BYTES, .ops = &ged_ops,
		.opaque = g,
	};
	ret = bus_add(mmio, &g->range);
	if (ret) {
		error_errno(e, ret, "event device registers");
		goto err_line;
	}
	*out = g;
	return 0;

err_line:
	irq_line_deinit(&g->line);
err_free:
	free(g);
	return ret;
}

void ged_destroy(struct ged *g)
{
	if (!g)
		return;
	bus_remove(g->mmio, &g->range);
	irq_line_deinit(&g->line);
	free(g);
}

void ged_raise(struct ged *g, uint32_t events)
{
	atomic_fetch_or(&g->pending, events);
	irq_line_raise(&g->line);
}

void ged_reset(struct ged *g)
{
	atomic_store(&g->pending, 0);
}
