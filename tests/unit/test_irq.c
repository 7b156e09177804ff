/* SPDX-License-Identifier: MIT */
/* LINK: irq error */
/* GSI routing and MSI-X vectors, over a mock of the KVM ioctls. */
#include "unit.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "irq.h"
#include "kvm/kvm.h"

#define FIXED 3
#define FIRST_MSI 24
#define MAX_ROUTES 40

static struct {
	struct kvm_irq_routing *routes;
	int irqfd[64];		/* by GSI; -1: none */
	unsigned int routings;
	int fail_routing;
	int64_t removed_ns, least_gap_ns;
} mock;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

int kvm_check(const struct kvm_vm *vm, int capability)
{
	(void)vm;
	return capability == KVM_CAP_IRQ_ROUTING ? MAX_ROUTES : 0;
}

unsigned int kvm_arch_routes(struct kvm_irq_routing_entry *entries,
			     unsigned int max, uint32_t *first_msi)
{
	assert_true(max >= FIXED);
	for (uint32_t i = 0; i < FIXED; i++)
		entries[i].gsi = i;
	*first_msi = FIRST_MSI;
	return FIXED;
}

int kvm_set_gsi_routing(struct kvm_vm *vm, struct kvm_irq_routing *r)
{
	size_t len = sizeof(*r) + r->nr * sizeof(r->entries[0]);

	(void)vm;
	if (mock.fail_routing)
		return mock.fail_routing;
	free(mock.routes);
	mock.routes = malloc(len);
	memcpy(mock.routes, r, len);
	mock.routings++;
	return 0;
}

int kvm_irqfd(struct kvm_vm *vm, uint32_t gsi, int fd, int resamplefd,
	      bool assign)
{
	(void)vm;
	(void)resamplefd;
	assert_true(gsi < 64);
	if (assign && mock.irqfd[gsi] != -1)
		return -EBUSY;
	mock.irqfd[gsi] = assign ? fd : -1;
	if (!assign && now_ns() - mock.removed_ns < mock.least_gap_ns)
		mock.least_gap_ns = now_ns() - mock.removed_ns;
	if (!assign)
		mock.removed_ns = now_ns();
	return 0;
}

static const struct kvm_irq_routing_entry *routed(uint32_t gsi)
{
	for (uint32_t i = 0; mock.routes && i < mock.routes->nr; i++)
		if (mock.routes->entries[i].gsi == gsi)
			return &mock.routes->entries[i];
	return NULL;
}

static struct irq_chip *chip(void)
{
	static struct kvm_vm vm;
	struct irq_chip *c;
	struct error e;

	free(mock.routes);
	memset(&mock, 0, sizeof(mock));
	for (int i = 0; i < 64; i++)
		mock.irqfd[i] = -1;
	mock.least_gap_ns = INT64_MAX;
	assert_int_equal(irq_chip_create(&c, &vm, &e), 0);
	return c;
}

static void test_msix_unmask_routes_and_connects(void **state)
{
	struct irq_chip *c = chip();
	struct msix_vector v;

	(void)state;
	assert_int_equal(msix_vector_init(&v, c), 0);
	assert_int_equal(mock.routings, 0);
	assert_int_equal(msix_vector_unmask(&v, 0x1fee00000ull, 0x41), 0);
	assert_int_equal(v.gsi, FIRST_MSI);
	assert_int_equal(routed(v.gsi)->u.msi.address_lo, 0xfee00000);
	assert_int_equal(routed(v.gsi)->u.msi.address_hi, 1);
	assert_int_equal(routed(v.gsi)->u.msi.data, 0x41);
	assert_int_equal(mock.irqfd[v.gsi], v.eventfd);
	assert_non_null(routed(0));	/* the fixed routes are still there */
	msix_vector_deinit(&v);
	assert_int_equal(mock.irqfd[FIRST_MSI], -1);
	irq_chip_destroy(c);
}

static void test_msix_same_route_is_not_sent_again(void **state)
{
	struct irq_chip *c = chip();
	struct msix_vector v;

	(void)state;
	assert_int_equal(msix_vector_init(&v, c), 0);
	assert_int_equal(msix_vector_unmask(&v, 0xfee00000, 1), 0);
	msix_vector_mask(&v);
	assert_int_equal(mock.irqfd[v.gsi], -1);
	assert_int_equal(msix_vector_unmask(&v, 0xfee00000, 1), 0);
	assert_int_equal(mock.irqfd[v.gsi], v.eventfd);
	assert_int_equal(mock.routings, 1);
	assert_int_equal(msix_vector_unmask(&v, 0xfee00000, 2), 0);
	assert_int_equal(mock.routings, 2);
	assert_int_equal(routed(v.gsi)->u.msi.data, 2);
	msix_vector_deinit(&v);
	irq_chip_destroy(c);
}

static void test_msix_notify_while_masked_is_pending(void **state)
{
	struct irq_chip *c = chip();
	struct msix_vector v;

	(void)state;
	assert_int_equal(msix_vector_init(&v, c), 0);
	assert_false(msix_vector_pending(&v));
	msix_vector_notify(&v);
	assert_true(msix_vector_pending(&v));
	assert_true(msix_vector_pending(&v));	/* looking does not take it */
	msix_vector_clear(&v);
	assert_false(msix_vector_pending(&v));
	msix_vector_deinit(&v);
	irq_chip_destroy(c);
}

static void test_msix_gsis_run_out_and_come_back(void **state)
{
	struct irq_chip *c = chip();
	struct msix_vector v[MAX_ROUTES];
	unsigned int n = 0;

	(void)state;
	for (;; n++) {
		assert_int_equal(msix_vector_init(&v[n], c), 0);
		if (msix_vector_unmask(&v[n], 0xfee00000, n) == -ENOSPC)
			break;
	}
	assert_int_equal(n, MAX_ROUTES - FIXED);
	assert_false(v[n].connected);
	for (unsigned int i = 0; i < n; i++)	/* all distinct */
		for (unsigned int j = 0; j < i; j++)
			assert_int_not_equal(v[i].gsi, v[j].gsi);
	msix_vector_deinit(&v[5]);
	assert_int_equal(msix_vector_unmask(&v[n], 0xfee00000, 99), 0);
	assert_int_equal(routed(v[n].gsi)->u.msi.data, 99);
	/* The others' routes survived the exchange. */
	for (unsigned int i = 0; i < n; i++)
		if (i != 5)
			assert_int_equal(routed(v[i].gsi)->u.msi.data, i);
	for (unsigned int i = 0; i <= n; i++)
		msix_vector_deinit(&v[i]);
	irq_chip_destroy(c);
}

static void test_msix_failed_routing_leaves_it_masked(void **state)
{
	struct irq_chip *c = chip();
	struct msix_vector v;

	(void)state;
	assert_int_equal(msix_vector_init(&v, c), 0);
	mock.fail_routing = -EINVAL;
	assert_int_equal(msix_vector_unmask(&v, 0xfee00000, 1), -EINVAL);
	assert_false(v.connected);
	mock.fail_routing = 0;
	assert_int_equal(msix_vector_unmask(&v, 0xfee00000, 1), 0);
	assert_true(v.connected);
	msix_vector_deinit(&v);
	irq_chip_destroy(c);
}

static void test_irq_line_raise_writes_its_eventfd(void **state)
{
	struct irq_chip *c = chip();
	struct irq_line l;
	struct error e;
	struct pollfd p;

	(void)state;
	assert_int_equal(irq_line_init(&l, c, 17, true, &e), 0);
	assert_true(l.resamplefd >= 0);
	assert_int_equal(mock.irqfd[17], l.eventfd);
	irq_line_raise(&l);
	p = (struct pollfd){ .fd = l.eventfd, .events = POLLIN };
	assert_int_equal(poll(&p, 1, 0), 1);
	irq_line_deinit(&l);
	assert_int_equal(l.eventfd, -1);
	assert_int_equal(mock.irqfd[17], -1);
	irq_chip_destroy(c);
}

static void test_irqfds_are_taken_away_with_a_gap(void **state)
{
	struct irq_chip *c = chip();
	struct msix_vector v[8];

	(void)state;
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(msix_vector_init(&v[i], c), 0);
		assert_int_equal(msix_vector_unmask(&v[i], 0xfee00000, i), 0);
	}
	for (int i = 0; i < 8; i++)
		msix_vector_mask(&v[i]);
	assert_true(mock.least_gap_ns >= 25000);
	for (int i = 0; i < 8; i++)
		msix_vector_deinit(&v[i]);
	irq_chip_destroy(c);
}

static int free_routes(void **state)
{
	(void)state;
	free(mock.routes);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_msix_unmask_routes_and_connects),
		cmocka_unit_test(test_msix_same_route_is_not_sent_again),
		cmocka_unit_test(test_msix_notify_while_masked_is_pending),
		cmocka_unit_test(test_msix_gsis_run_out_and_come_back),
		cmocka_unit_test(test_msix_failed_routing_leaves_it_masked),
		cmocka_unit_test(test_irqfds_are_taken_away_with_a_gap),
		cmocka_unit_test(test_irq_line_raise_writes_its_eventfd),
	};

	return cmocka_run_group_tests(tests, NULL, free_routes);
}
