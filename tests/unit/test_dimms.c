/* SPDX-License-Identifier: MIT */
/* LINK: dimms hot_memory ram guest_mem error */
/* The memory of DIMMs, over a mock of the memory slot ioctl. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "dimms.h"

#define MIB (1ull << 20)
#define BASE (8192 * MIB)

static struct {
	unsigned int made, gone;
	uint32_t slot;
	uint64_t gpa;
	int fail;
} mock;

int kvm_set_memory(struct kvm_vm *vm, uint32_t slot, uint32_t flags,
		   uint64_t gpa, uint64_t len_bytes, void *host)
{
	(void)vm;
	(void)flags;
	(void)host;
	if (mock.fail)
		return mock.fail;
	mock.made += len_bytes != 0;
	mock.gone += len_bytes == 0;
	mock.slot = slot;
	mock.gpa = gpa;
	return 0;
}

struct fixture {
	struct guest_mem *mem;
	struct kvm_vm kvm;
	struct dimms *d;
};

static int setup(void **state)
{
	static struct fixture f;
	struct error e;

	memset(&mock, 0, sizeof(mock));
	f.kvm.max_memslots = 32764;
	assert_int_equal(guest_mem_create(&f.mem), 0);
	assert_int_equal(dimms_create(&f.d, 3, BASE, 1024 * MIB, f.mem, &f.kvm,
				      &e), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dimms_destroy(f->d);
	assert_false(guest_mem_region(f->mem, 0));
	assert_int_equal(mock.made, mock.gone);
	guest_mem_destroy(f->mem);
	return 0;
}

static struct dimm_spec spec_of(const char *id, uint64_t mib)
{
	return (struct dimm_spec){
		.id = id, .memdev = "m", .backing.size_bytes = mib * MIB,
	};
}

static struct dimm *add(struct fixture *f, const struct dimm_spec *spec)
{
	struct dimm *dimm;
	struct error e;

	assert_int_equal(dimms_prepare(f->d, spec, &dimm, &e), 0);
	assert_int_equal(dimms_plug(f->d, dimm, &e), 0);
	return dimm;
}

static void refused(struct fixture *f, const struct dimm_spec *spec, int ret,
		    enum error_class class)
{
	struct dimm *dimm;
	struct error e;

	assert_int_equal(dimms_prepare(f->d, spec, &dimm, &e), ret);
	assert_int_equal(e.class, class);
}

static void test_dimms_slots_come_with_a_max(void **state)
{
	struct config_memory c = { .size_bytes = 512 * MIB };

	(void)state;
	assert_int_equal(dimms_slots(&c), 0);
	assert_true(!dimms_room_bytes(&c));
	c.max_bytes = 1000 * MIB;
	assert_true(dimms_slots(&c) > 0);
	assert_true(dimms_room_bytes(&c) == 512 * MIB);
	c.slots = 5;
	assert_int_equal(dimms_slots(&c), 5);
}

static void test_dimm_is_there_until_it_is_removed(void **state)
{
	struct fixture *f = *state;
	struct dimm_spec s = spec_of("a", 128);
	struct dimm *dimm = add(f, &s);
	char byte = 0;

	assert_ptr_equal(dimms_find(f->d, "a"), dimm);
	assert_ptr_equal(dimms_at(f->d, 0), dimm);
	assert_null(dimms_at(f->d, 3));
	assert_null(dimms_find(NULL, "a"));
	assert_true(dimm->base == BASE && mock.gpa == BASE);
	assert_true(dimms_bytes(f->d) == 128 * MIB);
	assert_int_equal(guest_mem_write(f->mem, BASE + MIB, "x", 1), 0);
	assert_false(guest_mem_valid(f->mem, BASE + 128 * MIB, 1));
	/* What the guest needs no more is gone, and after a reset all is. */
	assert_true(dimms_discard(f->d, ram_host(dimm->ram, 0), 2 * MIB));
	assert_false(dimms_discard(f->d, &byte, 1));
	guest_mem_read(f->mem, BASE + MIB, &byte, 1);
	assert_int_equal(byte, 0);
	guest_mem_write(f->mem, BASE + MIB, "x", 1);
	dimms_reset(f->d);
	byte = 1;
	guest_mem_read(f->mem, BASE + MIB, &byte, 1);
	assert_int_equal(byte, 0);
	dimms_remove(f->d, dimm);
	assert_null(dimms_find(f->d, "a"));
	assert_false(guest_mem_valid(f->mem, BASE, 1));
	assert_int_equal(mock.gone, 1);
}

static void test_dimms_take_the_lowest_place(void **state)
{
	struct fixture *f = *state;
	struct dimm_spec s = spec_of("a", 256);
	struct dimm *a = add(f, &s), *b, *c;

	s = spec_of("b", 128);
	b = add(f, &s);
	assert_true(b->slot == 1 && b->base == BASE + 256 * MIB);
	dimms_remove(f->d, a);
	/* It does not fit before b. */
	s = spec_of("c", 384);
	c = add(f, &s);
	assert_true(c->slot == 0 && c->base == BASE + 384 * MIB);
	s = spec_of("d", 384);
	refused(f, &s, -ENOSPC, ERROR_NO_AVAILABLE_LOCATION);
	s = spec_of("d", 128);
	s.base = BASE + 128 * MIB;
	s.has_slot = true;
	s.slot = 2;
	assert_true(add(f, &s)->base == BASE + 128 * MIB);
	assert_int_equal(mock.slot, 642);
	/* There are three slots. */
	s = spec_of("e", 128);
	refused(f, &s, -ENOSPC, ERROR_NO_AVAILABLE_LOCATION);
}

static void test_dimm_refusals_change_nothing(void **state)
{
	struct fixture *f = *state;
	struct dimm_spec s = spec_of("a", 128);
	struct dimm *dimm;
	struct error e;

	add(f, &s);
	s = spec_of("b", 0);
	refused(f, &s, -EINVAL, ERROR_INVALID_CONFIG);
	s = spec_of("b", 64);
	refused(f, &s, -EINVAL, ERROR_INVALID_CONFIG);
	s = spec_of("b", 128);
	s.base = BASE + MIB;
	refused(f, &s, -EINVAL, ERROR_INVALID_CONFIG);
	s.base = BASE - 128 * MIB;
	refused(f, &s, -EINVAL, ERROR_INVALID_CONFIG);
	s.base = ~0ull / (128 * MIB) * (128 * MIB);
	refused(f, &s, -EINVAL, ERROR_INVALID_CONFIG);
	s.base = BASE;
	refused(f, &s, -EEXIST, ERROR_ALREADY_ATTACHED);
	s.base = 0;
	s.has_slot = true;
	refused(f, &s, -EBUSY, ERROR_ALREADY_ATTACHED);
	s.slot = 1ull << 32;
	refused(f, &s, -ENOSPC, ERROR_NO_AVAILABLE_LOCATION);
	s.has_slot = false;
	s.backing.path = "/nowhere";
	assert_true(dimms_prepare(f->d, &s, &dimm, &e) < 0);
	assert_non_null(strstr(e.text, "'m'"));
	s.backing.path = NULL;
	assert_int_equal(dimms_prepare(f->d, &s, &dimm, &e), 0);
	mock.fail = -ENOMEM;
	assert_int_equal(dimms_plug(f->d, dimm, &e), -ENOMEM);
	mock.fail = 0;
	assert_null(dimms_at(f->d, 1));
	f->kvm.max_memslots = 509;
	assert_int_equal(dimms_prepare(f->d, &s, &dimm, &e), -ENOSPC);
}

/* Nothing is in the way of what is given back. */
static void test_dimms_room_given_back_is_free(void **state)
{
	struct fixture *f = *state;
	gpa_t a = 0, b = 0, c = 0;
	struct error e;

	assert_int_equal(dimms_reserve(f->d, 128 * MIB, &a, &e), 0);
	assert_int_equal(dimms_reserve(f->d, MIB, &b, &e), 0);
	assert_true(a == BASE && b == BASE + 128 * MIB);
	dimms_unreserve(f->d, a);
	dimms_unreserve(f->d, b);
	assert_int_equal(dimms_reserve(f->d, 1024 * MIB, &c, &e), 0);
	assert_true(c == BASE);
}

/* As a saved VM's has to be: where it was, or not at all. */
static void test_dimms_room_is_where_it_is_asked_for(void **state)
{
	struct fixture *f = *state;
	gpa_t at = BASE + 256 * MIB, outside = BASE + 1024 * MIB;
	gpa_t odd = BASE + MIB, below = 0;
	struct error e;

	assert_int_equal(dimms_reserve(f->d, 128 * MIB, &at, &e), 0);
	assert_true(at == BASE + 256 * MIB);
	assert_int_equal(dimms_reserve(f->d, 128 * MIB, &at, &e), -EEXIST);
	assert_int_equal(dimms_reserve(f->d, MIB, &outside, &e), -EINVAL);
	assert_int_equal(dimms_reserve(f->d, MIB, &odd, &e), -EINVAL);
	assert_int_equal(dimms_reserve(f->d, 512 * MIB, &below, &e), 0);
	assert_true(below == BASE + 384 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		cmocka_unit_test(test_dimms_slots_come_with_a_max),
		T(test_dimm_is_there_until_it_is_removed),
		T(test_dimms_take_the_lowest_place),
		T(test_dimm_refusals_change_nothing),
		T(test_dimms_room_given_back_is_free),
		T(test_dimms_room_is_where_it_is_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
