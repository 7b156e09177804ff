/* SPDX-License-Identifier: MIT */
/* LINK: kvm/msrs_x86 */
/* MSRs, over an ioctl() that stops at some of them, as KVM does. */
#include "unit.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/kvm.h"
#include "kvm/vcpu_model_x86.h"

#define COUNT	700u
#define AT_ONCE	255u		/* as many as KVM's MAX_IO_MSRS are too many */

static struct {
	uint64_t values[COUNT];
	uint32_t refused;	/* every so many-th; 0: none */
	unsigned int calls;
} mock;

static bool is_refused(uint32_t index)
{
	return mock.refused && index % mock.refused == 0;
}

static int list_all(struct kvm_msr_list *list)
{
	uint32_t room = list->nmsrs;

	list->nmsrs = COUNT;
	if (room < COUNT) {
		errno = E2BIG;
		return -1;
	}
	for (uint32_t i = 0; i < COUNT; i++)
		list->indices[i] = i;
	return 0;
}

int ioctl(int fd, unsigned long request, ...)
{
	struct kvm_msrs *m;
	va_list ap;
	void *arg;

	(void)fd;
	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	if (request == KVM_GET_MSR_INDEX_LIST)
		return list_all(arg);
	m = arg;
	mock.calls++;
	if (m->nmsrs > AT_ONCE) {
		errno = E2BIG;
		return -1;
	}
	for (uint32_t i = 0; i < m->nmsrs; i++) {
		struct kvm_msr_entry *e = &m->entries[i];

		assert_true(e->index < COUNT);
		if (is_refused(e->index))
			return (int)i;
		if (request == KVM_SET_MSRS)
			mock.values[e->index] = e->data;
		else
			e->data = mock.values[e->index];
	}
	return (int)m->nmsrs;
}

static void clear(uint32_t refused)
{
	memset(&mock, 0, sizeof(mock));
	mock.refused = refused;
}

static void test_msrs_are_set_up_to_the_first_refused(void **state)
{
	struct kvm_msr_entry all[COUNT];

	(void)state;
	for (uint32_t i = 0; i < COUNT; i++)
		all[i] = (struct kvm_msr_entry){ .index = i, .data = i + 1 };
	clear(0);
	assert_int_equal(vcpu_set_msrs(0, all, COUNT), COUNT);
	assert_int_equal(mock.calls, 3);
	assert_int_equal(mock.values[COUNT - 1], COUNT);
	assert_int_equal(vcpu_set_msrs(0, all, 2 * AT_ONCE), 2 * AT_ONCE);
	clear(400);
	assert_int_equal(vcpu_set_msrs(0, all + 1, COUNT - 1), 399);
	assert_int_equal(mock.values[399], 400);
	assert_int_equal(mock.values[401], 0);
	assert_int_equal(vcpu_set_msrs(0, all + 400, 1), 0);
	assert_int_equal(vcpu_set_msrs(0, all, 0), 0);
	assert_int_equal(vcpu_set_msr(0, 400, 1), -EIO);
	assert_int_equal(vcpu_set_msr(0, 401, 5), 0);
	assert_int_equal(mock.values[401], 5);
}

static void read_with(uint32_t refused)
{
	struct kvm_vm vm = { .sys_fd = 0, .fd = -1 };
	struct kvm_msrs *msrs;
	uint32_t n = 0;

	clear(refused);
	for (uint32_t i = 0; i < COUNT; i++)
		mock.values[i] = i * 3ull;
	assert_int_equal(vcpu_read_msrs(&vm, 0, &msrs), 0);
	for (uint32_t i = 0; i < COUNT; i++) {
		if (is_refused(i))
			continue;
		assert_true(n < msrs->nmsrs);
		assert_int_equal(msrs->entries[n].index, i);
		assert_int_equal(msrs->entries[n++].data, i * 3);
	}
	assert_int_equal(n, msrs->nmsrs);
	free(msrs);
}

static void test_msrs_that_can_be_read_are_all_read(void **state)
{
	(void)state;
	read_with(0);
	read_with(1);
	read_with(2);
	read_with(100);
	read_with(AT_ONCE);
	read_with(AT_ONCE + 1);
	read_with(COUNT - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_msrs_are_set_up_to_the_first_refused),
		cmocka_unit_test(test_msrs_that_can_be_read_are_all_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
