/* SPDX-License-Identifier: MIT */
/* LINK: irq error kvm/kvm kvm/machine_x86 */
/*
 * MSI-X vectors on a real KVM: what an eventfd counts while its irqfd is away is
 * delivered when it comes back (virt/kvm/eventfd.c), once, and nothing else is.
 */
#include "unit.h"

#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "irq.h"
#include "kvm/kvm.h"

#define VECTOR 0x41
#define LAPIC_IRR 0x200
#define LAPIC_SVR 0xf0

struct machine {
	struct kvm_vm vm;
	int vcpu;
	struct irq_chip *chip;
	struct msix_vector v;
};

static int set_up(void **state)
{
	static struct machine m;
	struct kvm_lapic_state lapic;
	struct error e = { 0 };

	if (kvm_vm_create(&m.vm, &e) || kvm_arch_init(&m.vm, &e))
		fail_msg("%s", e.text);
	m.vcpu = kvm_create_vcpu(&m.vm, 0);
	assert_true(m.vcpu >= 0);
	/* Software-enable the local APIC, or it takes no interrupt. */
	assert_int_equal(ioctl(m.vcpu, KVM_GET_LAPIC, &lapic), 0);
	lapic.regs[LAPIC_SVR + 1] |= 1;
	assert_int_equal(ioctl(m.vcpu, KVM_SET_LAPIC, &lapic), 0);
	assert_int_equal(irq_chip_create(&m.chip, &m.vm, &e), 0);
	assert_int_equal(msix_vector_init(&m.v, m.chip), 0);
	*state = &m;
	return 0;
}

static int tear_down(void **state)
{
	struct machine *m = *state;

	msix_vector_deinit(&m->v);
	irq_chip_destroy(m->chip);
	close(m->vcpu);
	kvm_vm_destroy(&m->vm);
	return 0;
}

/* Is the vector requested at the local APIC? Waits a little: KVM may inject
 * from a work item. */
static bool requested(struct machine *m, bool expected)
{
	struct kvm_lapic_state lapic;
	unsigned int byte = LAPIC_IRR + VECTOR / 32 * 0x10 + VECTOR % 32 / 8;
	bool is = !expected;

	for (int tries = 0; is != expected && tries < 50; tries++) {
		assert_int_equal(ioctl(m->vcpu, KVM_GET_LAPIC, &lapic), 0);
		is = lapic.regs[byte] >> VECTOR % 8 & 1;
		if (is != expected)
			usleep(10000);
	}
	return is;
}

static void clear_request(struct machine *m)
{
	struct kvm_lapic_state lapic;

	assert_int_equal(ioctl(m->vcpu, KVM_GET_LAPIC, &lapic), 0);
	lapic.regs[LAPIC_IRR + VECTOR / 32 * 0x10 + VECTOR % 32 / 8] = 0;
	assert_int_equal(ioctl(m->vcpu, KVM_SET_LAPIC, &lapic), 0);
}

static void test_unmasked_vector_reaches_the_lapic(void **state)
{
	struct machine *m = *state;

	assert_int_equal(msix_vector_unmask(&m->v, 0xfee00000, VECTOR), 0);
	assert_false(requested(m, false));
	msix_vector_notify(&m->v);
	assert_true(requested(m, true));
}

static void test_pending_while_masked_is_delivered_at_unmask(void **state)
{
	struct machine *m = *state;

	assert_int_equal(msix_vector_unmask(&m->v, 0xfee00000, VECTOR), 0);
	msix_vector_mask(&m->v);
	msix_vector_notify(&m->v);
	msix_vector_notify(&m->v);
	assert_true(msix_vector_pending(&m->v));
	usleep(20000);
	assert_false(requested(m, false));
	assert_int_equal(msix_vector_unmask(&m->v, 0xfee00000, VECTOR), 0);
	assert_true(requested(m, true));
	assert_false(msix_vector_pending(&m->v));
	/* It was consumed: another round of masking brings nothing back. */
	clear_request(m);
	msix_vector_mask(&m->v);
	assert_false(msix_vector_pending(&m->v));
	assert_int_equal(msix_vector_unmask(&m->v, 0xfee00000, VECTOR), 0);
	usleep(20000);
	assert_false(requested(m, false));
}

static void test_many_vectors_can_be_routed(void **state)
{
	enum { N = 1200 };	/* 400 devices with three each */
	const struct rlimit limit = { 2 * N, 2 * N };
	struct machine *m = *state;
	static struct msix_vector v[N];

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	for (int i = 0; i < N; i++) {
		assert_int_equal(msix_vector_init(&v[i], m->chip), 0);
		assert_int_equal(msix_vector_unmask(&v[i], 0xfee00000, VECTOR),
				 0);
	}
	msix_vector_notify(&v[N - 1]);
	assert_true(requested(m, true));
	for (int i = 0; i < N; i++)
		msix_vector_deinit(&v[i]);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_unmasked_vector_reaches_the_lapic),
		T(test_pending_while_masked_is_delivered_at_unmask),
		T(test_many_vectors_can_be_routed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
