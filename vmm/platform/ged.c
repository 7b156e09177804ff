/* SPDX-License-Identifier: MIT */
/*
 * The event device. Register reads on vCPU threads under the machine lock, ends
 * of interrupt on the loop's, ged_raise() on any.
 */
#include "platform/ged.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "platform/registers.h"
#include "state.h"

#define REGISTERS_BYTES 4

struct ged {
	struct registers regs;
	struct irq_line line;
	struct loop_watch end_of_interrupt;
	_Atomic uint32_t pending;
};

/* Reading takes all pending events, so that none is delivered twice. */
static uint32_t ged_read(void *opaque, uint64_t offset)
{
	struct ged *g = opaque;

	(void)offset;
	return atomic_exchange(&g->pending, 0);
}

static const struct registers_ops ged_ops = { .read = ged_read };

/* KVM has lowered the line; what came after the register was read counts. */
static void end_of_interrupt(struct loop_watch *w, uint32_t events)
{
	struct ged *g = w->opaque;
	uint64_t count;

	(void)events;
	(void)!read(w->fd, &count, sizeof(count));
	if (atomic_load(&g->pending))
		irq_line_raise(&g->line);
}

int ged_create(struct ged **out, struct bus *mmio, uint64_t base,
	       struct irq_chip *irq, uint32_t gsi, struct loop *loop,
	       struct error *e)
{
	struct ged *g = calloc(1, sizeof(*g));
	int ret;

	if (!g)
		return error_set(e, -ENOMEM, "out of memory");
	g->end_of_interrupt = (struct loop_watch)LOOP_WATCH_INIT;
	ret = irq_line_init(&g->line, irq, gsi, true, e);
	if (ret)
		goto err_free;
	ret = loop_add(loop, &g->end_of_interrupt, g->line.resamplefd, EPOLLIN,
		       end_of_interrupt, g);
	if (ret) {
		error_errno(e, ret, "event device");
		goto err_line;
	}
	ret = registers_add(&g->regs, mmio, base, REGISTERS_BYTES, &ged_ops, g,
			    "event device registers", e);
	if (ret)
		goto err_watch;
	*out = g;
	return 0;

err_watch:
	loop_remove(&g->end_of_interrupt);
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
	registers_remove(&g->regs);
	loop_remove(&g->end_of_interrupt);
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

void ged_save(const struct ged *g, struct state_writer *w)
{
	state_put_u32(w, atomic_load(&g->pending));
}

int ged_load(struct ged *g, struct state_reader *r)
{
	uint32_t pending = state_get_u32(r);

	if (!state_reader_error(r) && pending)
		ged_raise(g, pending);
	return state_reader_error(r);
}
