/* SPDX-License-Identifier: MIT */
/*
 * GSIs, their routing and the eventfds behind them. Set-up under the machine
 * lock; irq_line_raise() and msix_vector_notify() on any thread.
 */
#include "irq.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "kvm/kvm.h"

#define MAX_FIXED 64

/*
 * With each irqfd that it takes away, and each new routing, KVM waits for a grace
 * period of its irq_srcu. The kernel expedites that wait, to some microseconds,
 * only where the last one ended a while ago (srcutree.exp_holdoff, by default
 * 25 us); otherwise it takes 10 ms and more.
 */
#define GRACE_GAP_NS	30000
#define NS_PER_S	1000000000ll

struct irq_chip {
	struct kvm_vm *vm;
	struct kvm_irq_routing *table;	/* fixed entries, then one per MSI GSI */
	unsigned int fixed;
	uint32_t first_msi;
	unsigned int msi_room, msi_max;
	bool *used;			/* MSI GSI first_msi + i is taken */
	int64_t waited_ns;		/* when KVM last had */
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * NS_PER_S + t.tv_nsec;
}

static void take_irqfd_away(struct irq_chip *c, uint32_t gsi, int fd)
{
	int64_t early = c->waited_ns + GRACE_GAP_NS - now_ns();
	const struct timespec gap = { .tv_nsec = early };

	if (early > 0)
		nanosleep(&gap, NULL);
	kvm_irqfd(c->vm, gsi, fd, -1, false);
	c->waited_ns = now_ns();
}

/* The table is what KVM is given; unused MSI entries are left out of it. */
static int apply(struct irq_chip *c)
{
	int ret = kvm_set_gsi_routing(c->vm, c->table);

	c->waited_ns = now_ns();
	return ret;
}

static int grow(struct irq_chip *c)
{
	unsigned int room = c->msi_room ? 2 * c->msi_room : 16;
	struct kvm_irq_routing *t;
	bool *used;

	if (room > c->msi_max)
		room = c->msi_max;
	if (room == c->msi_room)
		return -ENOSPC;
	t = realloc(c->table, sizeof(*t) + (c->fixed + room) *
						   sizeof(t->entries[0]));
	if (!t)
		return -ENOMEM;
	c->table = t;
	used = realloc(c->used, room * sizeof(*used));
	if (!used)
		return -ENOMEM;
	c->used = used;
	memset(used + c->msi_room, 0, (room - c->msi_room) * sizeof(*used));
	c->msi_room = room;
	return 0;
}

int irq_chip_create(struct irq_chip **out, struct kvm_vm *vm, struct error *e)
{
	struct irq_chip *c = calloc(1, sizeof(*c));
	int max = kvm_check(vm, KVM_CAP_IRQ_ROUTING);
	int ret;

	if (!c)
		return error_set(e, -ENOMEM, "out of memory");
	c->vm = vm;
	c->table = calloc(1, sizeof(*c->table) +
			     MAX_FIXED * sizeof(c->table->entries[0]));
	if (!c->table) {
		ret = error_set(e, -ENOMEM, "out of memory");
		goto err;
	}
	c->fixed = kvm_arch_routes(c->table->entries, MAX_FIXED, &c->first_msi);
	c->table->nr = c->fixed;
	c->msi_max = (unsigned int)max > c->fixed ?
			     (unsigned int)max - c->fixed : 0;
	*out = c;
	return 0;
err:
	irq_chip_destroy(c);
	return ret;
}

void irq_chip_destroy(struct irq_chip *c)
{
	if (!c)
		return;
	free(c->table);
	free(c->used);
	free(c);
}

static struct kvm_irq_routing_entry *msi_entry(struct irq_chip *c, uint32_t gsi)
{
	for (unsigned int i = c->fixed; i < c->table->nr; i++)
		if (c->table->entries[i].gsi == gsi)
			return &c->table->entries[i];
	return NULL;
}

static int gsi_alloc(struct irq_chip *c, uint32_t *gsi)
{
	unsigned int i = 0;
	int ret;

	while (i < c->msi_room && c->used[i])
		i++;
	if (i == c->msi_room) {
		ret = grow(c);
		if (ret)
			return ret;
	}
	c->used[i] = true;
	*gsi = c->first_msi + i;
	c->table->entries[c->table->nr++] = (struct kvm_irq_routing_entry){
		.gsi = *gsi, .type = KVM_IRQ_ROUTING_MSI,
	};
	return 0;
}

static void gsi_free(struct irq_chip *c, uint32_t gsi)
{
	struct kvm_irq_routing_entry *entry = msi_entry(c, gsi);

	/* The stale route goes with the next change; its irqfd is gone. */
	*entry = c->table->entries[--c->table->nr];
	c->used[gsi - c->first_msi] = false;
}

int irq_line_init(struct irq_line *l, struct irq_chip *c, uint32_t gsi,
		  bool level, struct error *e)
{
	int ret;

	*l = (struct irq_line){
		.chip = c, .gsi = gsi, .eventfd = -1, .resamplefd = -1,
	};
	l->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (level)
		l->resamplefd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->eventfd < 0 || (level && l->resamplefd < 0)) {
		ret = error_errno(e, -errno, "interrupt line %u: eventfd", gsi);
		goto err;
	}
	ret = kvm_irqfd(c->vm, gsi, l->eventfd, l->resamplefd, true);
	if (ret) {
		error_errno(e, ret, "interrupt line %u: KVM_IRQFD", gsi);
		goto err;
	}
	return 0;
err:
	if (l->resamplefd >= 0)
		close(l->resamplefd);
	if (l->eventfd >= 0)
		close(l->eventfd);
	l->eventfd = l->resamplefd = -1;
	return ret;
}

void irq_line_deinit(struct irq_line *l)
{
	if (l->eventfd < 0)
		return;
	take_irqfd_away(l->chip, l->gsi, l->eventfd);
	close(l->eventfd);
	if (l->resamplefd >= 0)
		close(l->resamplefd);
	l->eventfd = l->resamplefd = -1;
}

static void signal_eventfd(int fd)
{
	uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
}

void irq_line_raise(struct irq_line *l)
{
	signal_eventfd(l->eventfd);
}

int msix_vector_init(struct msix_vector *v, struct irq_chip *c)
{
	*v = (struct msix_vector){ .chip = c };
	v->eventfd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return v->eventfd < 0 ? -errno : 0;
}

void msix_vector_deinit(struct msix_vector *v)
{
	if (v->eventfd < 0)
		return;
	msix_vector_mask(v);
	if (v->has_gsi)
		gsi_free(v->chip, v->gsi);
	close(v->eventfd);
	v->eventfd = -1;
	v->has_gsi = false;
}

static int route(struct msix_vector *v, uint64_t address, uint32_t data)
{
	struct kvm_irq_routing_entry *entry = msi_entry(v->chip, v->gsi);

	entry->u.msi.address_lo = (uint32_t)address;
	entry->u.msi.address_hi = (uint32_t)(address >> 32);
	entry->u.msi.data = data;
	return apply(v->chip);
}

int msix_vector_unmask(struct msix_vector *v, uint64_t address, uint32_t data)
{
	int ret;

	if (v->has_gsi && v->address == address && v->data == data) {
		if (v->connected)
			return 0;
		goto connect;
	}
	if (!v->has_gsi) {
		ret = gsi_alloc(v->chip, &v->gsi);
		if (ret)
			return ret;
		v->has_gsi = true;
	}
	ret = route(v, address, data);
	if (ret) {
		/* Not what KVM has: the next unmask must route again. */
		msix_vector_mask(v);
		gsi_free(v->chip, v->gsi);
		v->has_gsi = false;
		return ret;
	}
	v->address = address;
	v->data = data;
	if (v->connected)
		return 0;
connect:
	ret = kvm_irqfd(v->chip->vm, v->gsi, v->eventfd, -1, true);
	v->connected = !ret;
	return ret;
}

void msix_vector_mask(struct msix_vector *v)
{
	if (!v->connected)
		return;
	take_irqfd_away(v->chip, v->gsi, v->eventfd);
	v->connected = false;
}

bool msix_vector_pending(const struct msix_vector *v)
{
	struct pollfd p = { .fd = v->eventfd, .events = POLLIN };

	return !v->connected && poll(&p, 1, 0) == 1;
}

void msix_vector_clear(struct msix_vector *v)
{
	uint64_t count;

	(void)!read(v->eventfd, &count, sizeof(count));
}

void msix_vector_notify(struct msix_vector *v)
{
	signal_eventfd(v->eventfd);
}
