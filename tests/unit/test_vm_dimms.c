/* SPDX-License-Identifier: MIT */
/* LINK: vm_dimms vm_reports dimms hot_memory ram guest_mem platform/ged platform/registers platform/hotplug error bus irq loop state pci/root pci/config pci/function pci/bar pci/msix pci/intx pci/host_bridge */
/* WITH: pci_fixture */
/* DIMMs that come and go, as the client and the guest see it. */
#include "pci_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vm_cpus.h"
#include "vm_dimms.h"
#include "vm_internal.h"
#include "vm_memory.h"

#define MIB		(1ull << 20)
#define BASE		(8192 * MIB)
#define HOTPLUG		0xfed00300ull
#define NEWS		(HOTPLUG + 0x00)
#define SELECT		(HOTPLUG + 0x04)
#define PRESENT		(HOTPLUG + 0x08)
#define EJECT		(HOTPLUG + 0x0c)
#define SOURCE		(HOTPLUG + 0x20)
#define STATUS		(HOTPLUG + 0x24)
#define NONE		0xffffffffu

static struct {
	struct pci_fixture m;
	struct ged *ged;
	struct hotplug *h;
	struct vm vm;
	struct guest_mem *mem;
	unsigned int quiet;	/* times devices were */
	bool is_quiet;
	unsigned int noted;	/* by the account of changed pages */
	uint64_t room;
	char told[512];
} f;

/* ---- what is below --------------------------------------------------------- */

int kvm_set_memory(struct kvm_vm *vm, uint32_t slot, uint32_t flags,
		   uint64_t gpa, uint64_t len_bytes, void *host)
{
	(void)vm;
	(void)slot;
	(void)flags;
	(void)gpa;
	(void)len_bytes;
	(void)host;
	assert_true(f.is_quiet);
	return 0;
}

/* While its memory is there. */
void vm_dirty_note_unplugged(struct vm *vm, const struct dimm *dimm)
{
	(void)vm;
	assert_true(guest_mem_valid(f.mem, dimm->base, 1));
	f.noted++;
}

/* What it holds is new. */
void vm_dirty_note_plugged(struct vm *vm, const struct dimm *dimm)
{
	(void)vm;
	assert_true(guest_mem_valid(f.mem, dimm->base, 1));
	f.noted++;
}

void devices_begin_memory(struct devices *d)
{
	(void)d;
	assert_int_equal(pthread_mutex_trylock(&f.vm.machine_lock), EBUSY);
	f.is_quiet = true;
	f.quiet++;
}

void devices_end_memory(struct devices *d)
{
	(void)d;
	f.is_quiet = false;
}

struct device *devices_find(const struct devices *d, const char *id)
{
	(void)d;
	(void)id;
	return NULL;
}

struct hotplug *board_mem_hotplug(struct board *b)
{
	(void)b;
	return f.h;
}

uint64_t vm_memory_room(const struct vm *vm)
{
	return f.room - dimms_bytes(vm->dimms);
}

int vm_mem_of(const struct vm *vm, const char *memdev)
{
	(void)vm;
	return strcmp(memdev, "busy") ? -1 : 0;
}

void vm_cpu_info(const struct vm *vm, size_t index, struct vm_cpu_info *out)
{
	(void)vm;
	(void)index;
	*out = (struct vm_cpu_info){ .present = false };
}

void vm_cpu_note_report(struct vm *vm, const struct vm_report *r)
{
	(void)vm;
	(void)r;
}

void vm_emit(struct vm *vm, enum vm_event event, bool by_guest,
	     const char *reason)
{
	size_t len = strlen(f.told);

	(void)vm;
	(void)by_guest;
	snprintf(f.told + len, sizeof(f.told) - len, "%s-%s ",
		 event == VM_EVENT_DEVICE_DELETED ? "gone" :
		 event == VM_EVENT_REPORT ? "said" : "refused",
		 reason ? reason : "");
}

/* ---- the fixture ----------------------------------------------------------- */

static void stop(void *opaque)
{
	loop_stop(opaque);
}

static const char *settle(void)
{
	struct loop_timer timer;

	f.told[0] = '\0';
	assert_int_equal(loop_timer_init(f.m.loop, &timer, stop, f.m.loop), 0);
	loop_timer_set(&timer, 2000000, 0);
	loop_run(f.m.loop);
	loop_timer_deinit(&timer);
	return f.told;
}

static int setup(void **state)
{
	const struct hotplug_owner owner = {
		vm_dimm_ejected, vm_dimm_reported, &f.vm,
	};
	struct error e;

	(void)state;
	memset(&f, 0, sizeof(f));
	pci_fixture_init(&f.m);
	assert_int_equal(ged_create(&f.ged, f.m.mmio, 0xfed00000, f.m.irq, 18,
				    f.m.loop, &e), 0);
	assert_int_equal(hotplug_create(&f.h, HOTPLUG_DIMMS, f.m.mmio, HOTPLUG,
					f.ged, 0, &owner, &e), 0);
	assert_int_equal(guest_mem_create(&f.mem), 0);
	pthread_mutex_init(&f.vm.machine_lock, NULL);
	f.vm.loop = f.m.loop;
	f.vm.state = VM_RUNNING;
	f.vm.kvm.max_memslots = 4096;
	f.room = 1024 * MIB;
	assert_int_equal(dimms_create(&f.vm.dimms, 4, BASE, f.room, f.mem,
				      &f.vm.kvm, &e), 0);
	assert_int_equal(vm_dimms_init(&f.vm, &e), 0);
	assert_int_equal(vm_reports_init(&f.vm, &e), 0);
	/* The guest has enumerated its devices. */
	for (unsigned int slot = 0; slot < 4; slot++) {
		mmio_put(&f.m, SELECT, 4, slot);
		mmio_get(&f.m, PRESENT, 4);
	}
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	f.is_quiet = true;
	vm_reports_deinit(&f.vm);
	vm_dimms_deinit(&f.vm);
	dimms_destroy(f.vm.dimms);
	guest_mem_destroy(f.mem);
	hotplug_destroy(f.h);
	ged_destroy(f.ged);
	pci_fixture_deinit(&f.m);
	return 0;
}

static struct dimm *add(const char *id, uint64_t mib, bool automatic)
{
	const struct dimm_spec spec = {
		.id = id, .backing.size_bytes = mib * MIB,
		.automatic = automatic,
	};
	struct error e;

	assert_int_equal(vm_dimm_add(&f.vm, &spec, &e), 0);
	return id ? vm_dimm_find(&f.vm, id) : NULL;
}

static void removed(struct dimm *dimm)
{
	struct error e;

	assert_int_equal(vm_dimm_remove(&f.vm, dimm, &e), 0);
}

static void put(uint64_t at, uint32_t value)
{
	mmio_put(&f.m, at, 4, value);
}

static uint32_t get(uint64_t at)
{
	return (uint32_t)mmio_get(&f.m, at, 4);
}

static void say(unsigned int slot, uint32_t source, uint32_t status)
{
	put(SELECT, slot);
	put(SOURCE, source);
	put(STATUS, status);
}

/* ---- the tests ------------------------------------------------------------- */

static void test_vm_dimm_comes_and_goes(void **state)
{
	struct dimm *dimm = add("a", 128, false);

	(void)state;
	assert_true(dimm->hotplugged && !dimm->taken);
	assert_int_equal(f.quiet, 1);
	assert_int_equal(get(NEWS), 1 << 8);
	say(0, 1, 0);
	assert_string_equal(settle(), "said-a ");
	assert_true(dimm->taken);
	removed(dimm);
	assert_int_equal(get(NEWS), 3 << 8);
	assert_string_equal(settle(), "");
	put(EJECT, 0);
	/* The guest finds nothing at once; it goes on the main thread. */
	put(SELECT, 0);
	assert_int_equal(get(PRESENT), 0);
	assert_ptr_equal(vm_dimm_find(&f.vm, "a"), dimm);
	say(0, 3, 0);
	put(EJECT, 0);
	assert_non_null(strstr(settle(), "gone-a "));
	assert_null(vm_dimm_find(&f.vm, "a"));
	assert_int_equal(f.quiet, 2);
	assert_false(guest_mem_valid(f.mem, BASE, 1));
}

static void test_vm_dimm_before_the_start(void **state)
{
	(void)state;
	f.vm.state = VM_PRELAUNCH;
	assert_true(add("a", 128, false)->taken);
	assert_true(f.vm.tables_stale);
	f.told[0] = '\0';
	removed(vm_dimm_find(&f.vm, "a"));
	assert_string_equal(f.told, "gone-a ");
	assert_null(vm_dimm_at(&f.vm, 0));
}

/* It finds it when it enumerates its devices, and says nothing. */
static void test_vm_dimm_while_the_guest_starts(void **state)
{
	(void)state;
	hotplug_reset(f.h);
	assert_true(add("a", 128, false)->taken);
	assert_int_equal(get(NEWS), 1 << 8);
	put(SELECT, 1);
	assert_int_equal(get(PRESENT), 0);
	assert_false(add("b", 128, false)->taken);
}

static void test_vm_dimm_that_is_refused_stays(void **state)
{
	struct dimm *a = add("a", 128, false), *b = add("b", 128, true);

	(void)state;
	removed(a);
	removed(b);
	say(0, 3, 0x84);
	say(0, 3, 0x82);
	say(1, 3, 1);
	assert_string_equal(settle(), "said-a said-a refused-a said-b "
			    "refused-b ");
	assert_false(a->removing);
	/* memory-set's goes at a reset. */
	assert_true(b->removing && b->refused);
	f.told[0] = '\0';
	vm_dimms_settle(&f.vm);
	assert_string_equal(f.told, "gone-b ");
	assert_true(a->taken);
}

static void test_vm_dimm_that_the_guest_lets_go_by_itself(void **state)
{
	(void)state;
	add("a", 128, false);
	put(EJECT, 3);
	put(EJECT, 0);
	assert_string_equal(settle(), "gone-a ");
	/* Or at a reset, before the main thread has looked. */
	add("b", 128, false);
	put(EJECT, 0);
	f.told[0] = '\0';
	vm_dimms_settle(&f.vm);
	assert_string_equal(f.told, "gone-b ");
	assert_string_equal(settle(), "");
}

static void test_vm_dimm_stays_while_memory_is_read(void **state)
{
	const struct dimm_spec spec = { .backing.size_bytes = 128 * MIB };
	struct dimm *dimm = add("a", 128, false);
	struct error e;

	(void)state;
	f.vm.state = VM_SAVING;
	put(EJECT, 0);
	assert_string_equal(settle(), "");
	assert_true(guest_mem_valid(f.mem, BASE, 1));
	assert_int_equal(vm_dimm_add(&f.vm, &spec, &e), -EPERM);
	assert_int_equal(vm_dimm_remove(&f.vm, dimm, &e), -EPERM);
	assert_int_equal(e.class, ERROR_INVALID_STATE);
	f.vm.state = VM_RUNNING;
	vm_dimms_released(&f.vm);
	assert_string_equal(settle(), "gone-a ");
	assert_int_equal(f.noted, 2);
}

static void test_vm_dimm_refusals(void **state)
{
	struct dimm_spec spec = { .backing.size_bytes = 128 * MIB };
	struct hotplug *h = f.h;
	struct error e;

	(void)state;
	/* Names of its own are not those of others. */
	add("dimm0", 128, false);
	add(NULL, 128, false);
	assert_non_null(vm_dimm_find(&f.vm, "dimm1"));
	spec.id = "dimm1";
	assert_int_equal(vm_dimm_add(&f.vm, &spec, &e), -EEXIST);
	spec.id = "b";
	spec.memdev = "busy";
	assert_int_equal(vm_dimm_add(&f.vm, &spec, &e), -EBUSY);
	assert_int_equal(e.class, ERROR_ALREADY_ATTACHED);
	spec.memdev = NULL;
	spec.backing.size_bytes = 896 * MIB;
	assert_int_equal(vm_dimm_add(&f.vm, &spec, &e), -ENOSPC);
	assert_int_equal(e.class, ERROR_NO_AVAILABLE_LOCATION);
	f.h = NULL;
	assert_int_equal(vm_dimm_add(&f.vm, &spec, &e), -ENOTSUP);
	f.h = h;
	f.vm.state = VM_SHUTDOWN;
	assert_int_equal(vm_dimm_add(&f.vm, &spec, &e), -EPERM);
	assert_int_equal(dimms_bytes(f.vm.dimms) / MIB, 256);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_vm_dimm_comes_and_goes),
		T(test_vm_dimm_before_the_start),
		T(test_vm_dimm_while_the_guest_starts),
		T(test_vm_dimm_that_is_refused_stays),
		T(test_vm_dimm_that_the_guest_lets_go_by_itself),
		T(test_vm_dimm_stays_while_memory_is_read),
		T(test_vm_dimm_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
