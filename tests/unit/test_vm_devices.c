/* SPDX-License-Identifier: MIT */
/* LINK: vm_devices platform/ged platform/registers platform/pci_hotplug error bus irq loop pci/root pci/config pci/function pci/bar pci/msix pci/intx pci/host_bridge pci/state state */
/* WITH: pci_fixture */
/* Who removes a device when: the client, the guest, a reset, force. */
#include "pci_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block/block.h"
#include "block/vhd.h"
#include "virtio/pmem.h"
#include "virtio/virtio_pci.h"
#include "vm_devices.h"
#include "vm_internal.h"

#define GED	0xfed00000ull
#define HOTPLUG	0xfed00100ull
#define REMOVE	(HOTPLUG + 0x0c)
#define EJECT	(HOTPLUG + 0x10)

/* ---- devices that only have a place -------------------------------------- */

struct devices {
	struct pci *pci;
	struct device *first;
};

struct virtio_pci {
	struct pci_function f;
};

int devices_add(struct devices *d, const struct device_spec *spec,
		struct device **out, struct error *e)
{
	static const struct pci_ids ids = { .vendor = 0x1af4, .device = 0x1042 };
	struct device *device = calloc(1, sizeof(*device));

	device->pci = calloc(1, sizeof(*device->pci));
	pci_function_init(&device->pci->f, NULL, &ids);
	if (pci_attach(d->pci, &device->pci->f, spec->bus, spec->slot, e)) {
		free(device->pci);
		free(device);
		return -ENOSPC;
	}
	device->id = spec->id ? strdup(spec->id) : NULL;
	device->next = d->first;
	d->first = device;
	*out = device;
	return 0;
}

void vm_ports_drop(struct vm *vm, const struct device *device)
{
	(void)vm;
	(void)device;
}

void devices_remove(struct devices *d, struct device *device)
{
	struct device **link = &d->first;

	while (*link != device)
		link = &(*link)->next;
	*link = device->next;
	pci_detach(&device->pci->f);
	pci_function_deinit(&device->pci->f);
	free(device->pci);
	free(device->id);
	free(device);
}

void devices_mark_removing(struct device *device)
{
	device->removing = true;
}

struct device *devices_first(const struct devices *d)
{
	return d->first;
}

struct device *devices_find(const struct devices *d, const char *id)
{
	for (struct device *i = d->first; i; i = i->next)
		if (i->id && !strcmp(i->id, id))
			return i;
	return NULL;
}

struct device *devices_at(const struct devices *d, unsigned int bus,
			  unsigned int slot)
{
	for (struct device *i = d->first; i; i = i->next)
		if (i->pci->f.bus == bus && i->pci->f.slot == slot)
			return i;
	return NULL;
}

const struct pci_function *device_function(const struct device *device)
{
	return &device->pci->f;
}

int block_open(struct block_file **out, const struct block_open_params *p,
	       struct error *e)
{
	(void)out;
	(void)p;
	return error_set(e, -EIO, "no");
}

void block_close(struct block_file *f)
{
	assert_null(f);
}

struct virtio_device *virtio_pci_device(struct virtio_pci *v)
{
	return (struct virtio_device *)v;
}

void virtio_reg_config_read(struct virtio_device *d, uint64_t offset,
			    uint8_t *data, uint32_t len)
{
	(void)d;
	assert_int_equal(offset, 0);
	assert_int_equal(len, 8);
	bus_put_le(data, len, 3);
}

const struct pmem_region *virtio_pmem_region(struct virtio_device *d)
{
	(void)d;
	return NULL;
}

uint64_t pmem_region_bytes(const struct pmem_region *r)
{
	(void)r;
	return 0;
}

unsigned int pmem_region_slot(const struct pmem_region *r)
{
	assert_null(r);
	return 7;
}

/* ---- the VM -------------------------------------------------------------- */

struct board {
	struct pci *pci;
	struct pci_hotplug *hotplug;
};

struct pci *board_pci(struct board *b)
{
	return b->pci;
}

struct pci_hotplug *board_pci_hotplug(struct board *b)
{
	return b->hotplug;
}

static char events[256];

void vm_emit(struct vm *vm, enum vm_event event, bool by_guest,
	     const char *reason)
{
	size_t used = strlen(events);

	(void)vm;
	(void)by_guest;
	assert_int_equal(event, VM_EVENT_DEVICE_DELETED);
	snprintf(events + used, sizeof(events) - used, "%s;",
		 reason ? reason : "(none)");
}

struct fixture {
	struct pci_fixture m;
	struct ged *ged;
	struct devices devices;
	struct board board;
	struct vm vm;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct pci_hotplug_owner owner = { vm_device_ejected, &f->vm };
	struct error e;

	events[0] = '\0';
	pci_fixture_init(&f->m);
	assert_int_equal(ged_create(&f->ged, f->m.mmio, GED, f->m.irq, 18,
				    f->m.loop, &e), 0);
	assert_int_equal(pci_hotplug_create(&f->board.hotplug, f->m.mmio,
					    HOTPLUG, f->ged, &owner, &e), 0);
	f->board.pci = f->devices.pci = f->m.pci;
	f->vm.board = &f->board;
	f->vm.devices = &f->devices;
	f->vm.loop = f->m.loop;
	f->vm.state = VM_RUNNING;
	f->vm.ejection = (struct loop_event)LOOP_EVENT_INIT;
	f->vm.remind.watch = (struct loop_watch)LOOP_WATCH_INIT;
	pthread_mutex_init(&f->vm.machine_lock, NULL);
	assert_int_equal(vm_devices_init(&f->vm, &e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	while (f->devices.first)
		devices_remove(&f->devices, f->devices.first);
	vm_devices_deinit(&f->vm);
	pci_hotplug_destroy(f->board.hotplug);
	ged_destroy(f->ged);
	pci_fixture_deinit(&f->m);
	pthread_mutex_destroy(&f->vm.machine_lock);
	free(f);
	return 0;
}

static struct device *add(struct fixture *f, const char *id)
{
	const struct device_spec spec = {
		.type = DEVICE_RNG, .id = id, .bus = 1, .slot = -1,
	};
	struct device *d;
	struct error e;

	assert_int_equal(vm_device_add(&f->vm, &spec, &d, &e), 0);
	return d;
}

static void eject(struct fixture *f, uint32_t slot)
{
	mmio_put(&f->m, EJECT, 4, 1 << 8 | slot);
}

/* ---- tests --------------------------------------------------------------- */

static void test_vm_device_goes_when_the_guest_lets_it(void **state)
{
	struct fixture *f = *state;
	struct device *d = add(f, "a");
	struct error e;

	assert_int_equal(mmio_get(&f->m, GED, 4), GED_PCI_HOTPLUG);
	assert_int_equal(vm_device_remove(&f->vm, d, &e), 0);
	run_loop(f->m.loop);
	assert_ptr_equal(vm_device_find(&f->vm, "a"), d);
	assert_string_equal(events, "");
	mmio_put(&f->m, HOTPLUG + 4, 4, 1);
	assert_int_equal(mmio_get(&f->m, REMOVE, 4), 1);
	eject(f, 0);
	/* At once for the guest, a little later in fact. */
	assert_int_equal(ecam_get(&f->m, 1, 0, 0, 4), 0xffffffff);
	assert_ptr_equal(vm_device_find(&f->vm, "a"), d);
	run_loop(f->m.loop);
	assert_null(vm_device_find(&f->vm, "a"));
	assert_string_equal(events, "a;");
	/* The place is free again, and its next owner is not ejected. */
	add(f, "b");
	run_loop(f->m.loop);
	assert_non_null(vm_device_find(&f->vm, "b"));
	assert_int_equal(ecam_get(&f->m, 1, 0, 0, 2), 0x1af4);
}

static void test_vm_device_guest_is_reminded(void **state)
{
	struct fixture *f = *state;
	struct device *d = add(f, "a");
	struct error e;

	f->vm.remind_ns = 1000000;
	mmio_put(&f->m, HOTPLUG + 4, 4, 1);
	assert_int_equal(vm_device_remove(&f->vm, d, &e), 0);
	assert_int_equal(mmio_get(&f->m, REMOVE, 4), 1);
	while (!mmio_get(&f->m, REMOVE, 4))
		run_loop(f->m.loop);
	/* It has answered once, for both; the second answer is to nobody. */
	eject(f, 0);
	run_loop(f->m.loop);
	assert_string_equal(events, "a;");
	add(f, "b");
	eject(f, 0);
	run_loop(f->m.loop);
	assert_string_equal(events, "a;");
	eject(f, 0);
	run_loop(f->m.loop);
	assert_string_equal(events, "a;b;");
	/* Nobody is reminded of what is gone. */
	for (int i = 0; i < 10; i++)
		run_loop(f->m.loop);
	assert_int_equal(mmio_get(&f->m, REMOVE, 4), 0);
}

/* It was asked before it was saved, and has not heard, or not answered yet. */
/* A device that the guest had been asked for when the VM was saved. */
static struct device *restore_removing(struct fixture *f, bool ejected)
{
	struct device *d = add(f, "a");

	f->vm.remind_ns = 1000000;
	mmio_put(&f->m, HOTPLUG + 4, 4, 1);
	pthread_mutex_lock(&f->vm.machine_lock);
	if (ejected)
		pci_hide(&d->pci->f);
	vm_device_note_removing(&f->vm, d);
	if (ejected)
		vm_device_note_ejected(&f->vm, 1, 0);
	pthread_mutex_unlock(&f->vm.machine_lock);
	return d;
}

static void test_vm_device_guest_is_reminded_after_a_restore(void **state)
{
	struct fixture *f = *state;

	assert_true(restore_removing(f, false)->removing);
	assert_int_equal(mmio_get(&f->m, REMOVE, 4), 0);
	while (!mmio_get(&f->m, REMOVE, 4))
		run_loop(f->m.loop);
	eject(f, 0);
	run_loop(f->m.loop);
	assert_string_equal(events, "a;");
	/* There is another answer to come, which is not about this one. */
	add(f, "b");
	eject(f, 0);
	run_loop(f->m.loop);
	assert_string_equal(events, "a;");
}

static void test_vm_device_restored_and_let_go_is_not_asked_for(void **state)
{
	struct fixture *f = *state;

	restore_removing(f, true);
	run_loop(f->m.loop);
	assert_string_equal(events, "a;");
	add(f, "b");
	eject(f, 0);
	run_loop(f->m.loop);
	assert_string_equal(events, "a;b;");
}

static void test_vm_device_guest_may_eject_on_its_own(void **state)
{
	struct fixture *f = *state;

	add(f, "a");
	add(f, NULL);
	eject(f, 1);
	eject(f, 1);
	run_loop(f->m.loop);
	assert_string_equal(events, "(none);");
	assert_non_null(vm_device_find(&f->vm, "a"));
}

static void test_vm_device_ejections_of_nothing_do_nothing(void **state)
{
	struct fixture *f = *state;

	add(f, "a");
	mmio_put(&f->m, EJECT, 4, 0);		/* the host bridge */
	mmio_put(&f->m, EJECT, 4, 0xffffffff);
	mmio_put(&f->m, EJECT, 4, 0x1000);
	mmio_put(&f->m, EJECT, 4, 0x0120);
	mmio_put(&f->m, EJECT, 4, 0x0105);
	run_loop(f->m.loop);
	assert_string_equal(events, "");
	assert_int_not_equal(ecam_get(&f->m, 0, 0, 0, 4), 0xffffffff);
}

/* A virtio-mem: it is known by its number, and has memory. */
static void test_vm_device_that_stays_is_not_ejected(void **state)
{
	struct fixture *f = *state;

	add(f, "a")->pci->f.stays = true;
	eject(f, 0);
	run_loop(f->m.loop);
	assert_string_equal(events, "");
	assert_int_equal(ecam_get(&f->m, 1, 0, 0, 2), 0x1af4);
	vm_devices_settle(&f->vm);
	assert_non_null(vm_device_find(&f->vm, "a"));
}

static void test_vm_device_force_beats_a_late_ejection(void **state)
{
	struct fixture *f = *state;
	struct device *d = add(f, "a");

	eject(f, 0);
	vm_device_force_remove(&f->vm, d);
	add(f, "b");
	run_loop(f->m.loop);
	assert_string_equal(events, "a;");
	assert_non_null(vm_device_find(&f->vm, "b"));
}

static void test_vm_device_reset_completes_removals(void **state)
{
	struct fixture *f = *state;
	struct device *a = add(f, "a");
	struct error e;

	add(f, "b");
	add(f, "c");
	assert_int_equal(vm_device_remove(&f->vm, a, &e), 0);
	eject(f, 2);
	vm_devices_settle(&f->vm);
	assert_null(vm_device_find(&f->vm, "a"));
	assert_non_null(vm_device_find(&f->vm, "b"));
	assert_null(vm_device_find(&f->vm, "c"));
	run_loop(f->m.loop);
	assert_non_null(vm_device_find(&f->vm, "b"));
}

static void test_vm_device_before_the_start_needs_no_guest(void **state)
{
	struct fixture *f = *state;
	struct device *d;
	struct error e;

	f->vm.state = VM_PRELAUNCH;
	d = add(f, "a");
	assert_true(f->vm.tables_stale);
	assert_int_equal(mmio_get(&f->m, GED, 4), 0);
	assert_int_equal(vm_device_remove(&f->vm, d, &e), 0);
	assert_null(vm_device_find(&f->vm, "a"));
	assert_string_equal(events, "a;");
}

/* A dump is made of it: it has not run all the same. */
static void test_vm_device_held_before_the_start_needs_no_guest(void **state)
{
	struct fixture *f = *state;
	struct error e;

	f->vm.state = VM_SAVING;
	f->vm.held_state = VM_PRELAUNCH;
	add(f, "a");
	assert_int_equal(mmio_get(&f->m, GED, 4), 0);
	assert_true(f->vm.tables_stale);
	assert_int_equal(vm_device_remove(&f->vm, vm_device_find(&f->vm, "a"),
					  &e), 0);
	assert_string_equal(events, "a;");
	f->vm.held_state = VM_PAUSED;
	add(f, "b");
	assert_int_equal(mmio_get(&f->m, GED, 4), GED_PCI_HOTPLUG);
}

static void test_vm_device_after_the_end_is_refused(void **state)
{
	struct fixture *f = *state;
	const struct device_spec spec = { .type = DEVICE_RNG, .bus = -1,
					  .slot = -1 };
	struct device *d = add(f, "a");
	struct error e;

	f->vm.state = VM_SHUTDOWN;
	assert_int_equal(vm_device_add(&f->vm, &spec, NULL, &e), -EPERM);
	assert_int_equal(e.class, ERROR_INVALID_STATE);
	assert_int_equal(vm_device_remove(&f->vm, d, &e), -EPERM);
}

static void test_vm_device_says_what_the_guest_sees(void **state)
{
	struct fixture *f = *state;
	struct vm_pci_slot slot;

	add(f, "a");
	assert_true(vm_pci_slot(&f->vm, 1, 0, &slot));
	assert_string_equal(slot.id, "a");
	assert_int_equal(bus_get_le(slot.config, 2), 0x1af4);
	assert_true(vm_pci_slot(&f->vm, 0, 0, &slot));
	assert_null(slot.id);
	assert_false(vm_pci_slot(&f->vm, 1, 1, &slot));
	assert_int_equal(vm_disk_size_bytes(&f->vm, vm_device_find(&f->vm, "a")),
			 3 * 512);
	assert_int_equal(vm_pmem_slot(vm_device_find(&f->vm, "a")), 7);
	assert_string_equal(vm_image_format("x.vhd"), "vhd");
	assert_string_equal(vm_image_format("x.img"), "raw");
	eject(f, 0);
	assert_false(vm_pci_slot(&f->vm, 1, 0, &slot));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_vm_device_goes_when_the_guest_lets_it),
		T(test_vm_device_guest_may_eject_on_its_own),
		T(test_vm_device_guest_is_reminded),
		T(test_vm_device_guest_is_reminded_after_a_restore),
		T(test_vm_device_restored_and_let_go_is_not_asked_for),
		T(test_vm_device_ejections_of_nothing_do_nothing),
		T(test_vm_device_that_stays_is_not_ejected),
		T(test_vm_device_force_beats_a_late_ejection),
		T(test_vm_device_reset_completes_removals),
		T(test_vm_device_before_the_start_needs_no_guest),
		T(test_vm_device_held_before_the_start_needs_no_guest),
		T(test_vm_device_after_the_end_is_refused),
		T(test_vm_device_says_what_the_guest_sees),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
