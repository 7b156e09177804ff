/* SPDX-License-Identifier: MIT */
/* LINK: vm_memory_set error */
/* Which means memory-set chooses: virtio-mem, DIMMs, the balloon. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "vm_dimms.h"
#include "vm_internal.h"
#include "vm_memory.h"

#define MIB (1ull << 20)

static struct {
	struct virtio_device mem, balloon;
	bool has_mem, has_balloon;
	struct dimm dimms[4];
	unsigned int count, slots;
	uint64_t requested, plugged, ballooned;
	uint64_t kept;		/* by the balloon's last request; 0: none */
} fake;

struct virtio_device *devices_first_of(const struct devices *d,
				       enum device_type type)
{
	(void)d;
	if (type == DEVICE_MEM)
		return fake.has_mem ? &fake.mem : NULL;
	return fake.has_balloon ? &fake.balloon : NULL;
}

struct dimm *vm_dimm_at(const struct vm *vm, unsigned int slot)
{
	(void)vm;
	return slot < 4 && fake.dimms[slot].len_bytes ? &fake.dimms[slot] :
							NULL;
}

uint64_t dimms_bytes(const struct dimms *d)
{
	uint64_t sum = 0;

	(void)d;
	for (unsigned int i = 0; i < 4; i++)
		sum += fake.dimms[i].len_bytes;
	return sum;
}

int vm_dimm_add(struct vm *vm, const struct dimm_spec *spec, struct error *e)
{
	unsigned int i = 0;

	(void)vm;
	assert_true(spec->automatic);
	while (i < fake.slots && fake.dimms[i].len_bytes)
		i++;
	if (i == fake.slots)
		return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOSPC,
				       "full");
	fake.dimms[i] = (struct dimm){
		.slot = i, .len_bytes = spec->backing.size_bytes,
		.automatic = true, .taken = true,
	};
	return 0;
}

int vm_dimm_remove(struct vm *vm, struct dimm *dimm, struct error *e)
{
	(void)vm;
	(void)e;
	dimm->removing = true;
	dimm->refused = false;
	return 0;
}

bool vm_mem_info(const struct vm *vm, unsigned int n, struct vm_mem_info *out)
{
	(void)vm;
	*out = (struct vm_mem_info){
		.requested = fake.requested, .plugged = fake.plugged,
	};
	return !n;
}

uint64_t vm_mems_requested(const struct vm *vm)
{
	(void)vm;
	return fake.requested;
}

uint64_t vm_mems_plugged(const struct vm *vm)
{
	(void)vm;
	return fake.plugged;
}

int vm_mem_request(struct vm *vm, unsigned int n, uint64_t bytes,
		   struct error *e)
{
	(void)vm;
	(void)e;
	assert_int_equal(n, 0);
	fake.requested = bytes;
	return 0;
}

int vm_balloon_set(struct vm *vm, uint64_t bytes, struct error *e)
{
	(void)vm;
	(void)e;
	fake.kept = bytes;
	return 0;
}

uint32_t virtio_balloon_target(struct virtio_device *d)
{
	(void)d;
	return (uint32_t)(fake.ballooned / BALLOON_PAGE_BYTES);
}

uint32_t virtio_balloon_actual(struct virtio_device *d)
{
	(void)d;
	return (uint32_t)(fake.ballooned / BALLOON_PAGE_BYTES);
}

void hot_memory_backing(struct config_memory *c)
{
	c->prealloc = false;
}

static struct vm_config config = {
	.memory = { .size_bytes = 512 * MIB, .max_bytes = 2048 * MIB },
};

static int setup(void **state)
{
	static struct vm vm;

	memset(&fake, 0, sizeof(fake));
	fake.has_mem = true;
	fake.slots = 4;
	vm = (struct vm){
		.config = &config, .state = VM_RUNNING,
		.hot_memory = (struct hot_memory *)&fake,
	};
	pthread_mutex_init(&vm.machine_lock, NULL);
	*state = &vm;
	return 0;
}

static void set(struct vm *vm, uint64_t mib)
{
	struct error e;

	assert_int_equal(vm_memory_set(vm, mib * MIB, &e), 0);
}

static void assert_sizes(struct vm *vm, uint64_t requested, uint64_t plugged)
{
	uint64_t r, p;

	vm_memory_sizes(vm, &r, &p);
	assert_int_equal(r / MIB, requested);
	assert_int_equal(p / MIB, plugged);
}

static void test_memory_set_by_virtio_mem_where_its_driver_is(void **state)
{
	struct vm *vm = *state;

	fake.mem.active = true;
	set(vm, 1001);
	assert_int_equal(fake.requested / MIB, 490);
	assert_int_equal(dimms_bytes(NULL), 0);
	assert_sizes(vm, 1002, 512);
	set(vm, 512);
	assert_int_equal(fake.requested, 0);
}

static void test_memory_set_by_dimms_where_it_is_not(void **state)
{
	struct vm *vm = *state;

	set(vm, 700);
	assert_int_equal(fake.requested, 0);
	assert_int_equal(fake.dimms[0].len_bytes / MIB, 256);
	assert_sizes(vm, 768, 768);
	/* What there is is enough. */
	set(vm, 768);
	assert_int_equal(fake.dimms[1].len_bytes, 0);
	set(vm, 1024);
	assert_int_equal(fake.dimms[1].len_bytes / MIB, 256);
	/* Whole DIMMs go, the last first, once they are not needed. */
	set(vm, 800);
	assert_false(fake.dimms[1].removing);
	set(vm, 768);
	assert_true(fake.dimms[1].removing);
	assert_false(fake.dimms[0].removing);
	assert_sizes(vm, 768, 1024);
	/* One that was refused stays when it is needed again. */
	fake.dimms[1].refused = true;
	set(vm, 1024);
	assert_false(fake.dimms[1].removing);
	assert_sizes(vm, 1024, 1024);
	set(vm, 512);
	assert_true(fake.dimms[0].removing && fake.dimms[1].removing);
}

static void test_memory_set_leaves_the_dimms_of_others(void **state)
{
	struct vm *vm = *state;

	fake.dimms[2] = (struct dimm){ .len_bytes = 256 * MIB, .slot = 2 };
	set(vm, 512);
	assert_false(fake.dimms[2].removing);
	/* The guest has not taken it. */
	assert_sizes(vm, 768, 512);
	set(vm, 768);
	assert_int_equal(dimms_bytes(NULL) / MIB, 256);
}

static void test_memory_set_without_a_slot_asks_virtio_mem(void **state)
{
	struct vm *vm = *state;

	fake.slots = 0;
	set(vm, 700);
	assert_int_equal(fake.requested / MIB, 188);
	assert_sizes(vm, 700, 512);
}

static void test_memory_set_with_a_balloon_is_exact(void **state)
{
	struct vm *vm = *state;

	fake.has_balloon = true;
	set(vm, 700);
	assert_int_equal(fake.dimms[0].len_bytes / MIB, 256);
	assert_int_equal(fake.kept / MIB, 700);
	set(vm, 768);
	assert_int_equal(fake.kept / MIB, 768);
	set(vm, 100);
	assert_true(fake.dimms[0].removing);
	/* Of what is still there all but 412 MiB, and the DIMM will go. */
	assert_int_equal(fake.kept / MIB, 768 - 412);
	fake.ballooned = 412 * MIB;
	assert_sizes(vm, 100, 768 - 412);
	/* What the guest says of it may be anything. */
	fake.ballooned = 1ull << 40;
	assert_sizes(vm, 0, 0);
}

static void test_memory_set_refusals(void **state)
{
	struct vm *vm = *state;
	struct error e;

	assert_int_equal(vm_memory_set(vm, 0, &e), -EINVAL);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	assert_int_equal(vm_memory_set(vm, 2049 * MIB, &e), -EINVAL);
	assert_int_equal(vm_memory_set(vm, 511 * MIB, &e), -ENOTSUP);
	assert_int_equal(e.class, ERROR_NOT_SUPPORTED);
	vm->state = VM_SHUTDOWN;
	assert_int_equal(vm_memory_set(vm, 512 * MIB, &e), -EPERM);
	assert_int_equal(e.class, ERROR_INVALID_STATE);
	assert_true(!fake.requested && !dimms_bytes(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, setup)
		T(test_memory_set_by_virtio_mem_where_its_driver_is),
		T(test_memory_set_by_dimms_where_it_is_not),
		T(test_memory_set_leaves_the_dimms_of_others),
		T(test_memory_set_without_a_slot_asks_virtio_mem),
		T(test_memory_set_with_a_balloon_is_exact),
		T(test_memory_set_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
