/* SPDX-License-Identifier: MIT */
/* LINK: devices device/% config/config config/config_net config/config_chardev config/config_paths block/vhd error bus irq loop iothread guest_mem pci/root pci/config pci/function pci/bar pci/msix pci/intx pci/host_bridge virtio/virtqueue virtio/device virtio/device_loop virtio/device_reg virtio/virtio_pci virtio/virtio_pci_regs */
/* LINK: net/net net/tap net/stream net/passt virtio/net virtio/net_queue virtio/net_ctrl virtio/net_vhost virtio/vhost pci/state state virtio/net_backend virtio/net_state virtio/net_receive */
/* WITH: pci_fixture */
/* Devices that come and go: places, names, and nothing left of a failure. */
#include "pci_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "devices.h"
#include "p9/p9.h"
#include "virtio/9p.h"
#include "virtio/blk.h"
#include "virtio/console.h"
#include "virtio/serial.h"
#include "virtio/pmem.h"
#include "virtio/rng.h"
#include "virtio/virtio_pci.h"
#include "virtio/vsock.h"

/* ---- devices that do nothing --------------------------------------------- */

static struct {
	unsigned int alive;
	unsigned int made;
	bool fail;
	char log[64];		/* of what was made, a letter each */
	struct virtio_device *witness;
	bool witness_quiesced;	/* when a device was destroyed */
	struct virtio_device *memory;	/* what goes with it is at MEMORY */
	void *memory_host;
} fake;

#define RAM	UINT64_C(0x100000)
#define MEMORY	UINT64_C(0x200000)
#define BYTES	UINT64_C(0x10000)

static int nothing_ret(struct virtio_device *d)
{
	(void)d;
	return 0;
}

static void nothing(struct virtio_device *d)
{
	(void)d;
}

static void nothing_queue(struct virtio_device *d, unsigned int index)
{
	(void)d;
	(void)index;
}

static void destroy(struct virtio_device *d)
{
	fake.alive--;
	if (fake.witness)
		fake.witness_quiesced = fake.witness->quiesced;
	if (d == fake.memory) {
		assert_int_equal(guest_mem_remove(d->mem, MEMORY), 0);
		free(fake.memory_host);
	}
	virtio_device_deinit(d);
	free(d);
}

static const struct virtio_device_ops ops = {
	.activate = nothing_ret,
	.handle_queue = nothing_queue,
	.quiesce = nothing,
	.resume = nothing,
	.reset = nothing,
	.destroy = destroy,
};

static const struct virtio_device_info info = {
	.name = "nothing", .type_id = 42, .pci_class = 0x00ff00, .ops = &ops,
};

static int create(struct virtio_device **out, char letter,
		  struct guest_mem *mem, struct loop *loop, struct error *e)
{
	static const uint16_t sizes[1] = { 16 };
	struct virtio_device *d;

	if (fake.fail)
		return error_set(e, -EIO, "no such thing");
	d = calloc(1, sizeof(*d));
	assert_non_null(d);
	assert_int_equal(virtio_device_init(d, &info, mem, loop, 0, 0, sizes,
					    1, e), 0);
	if (fake.made < sizeof(fake.log) - 1)
		fake.log[fake.made] = letter;
	fake.made++;
	fake.alive++;
	*out = d;
	return 0;
}

int virtio_blk_create(struct virtio_device **out, const struct config_disk *c,
		      struct guest_mem *mem, struct loop *const *loops,
		      struct error *e)
{
	assert_int_equal(c->queues, 1);
	return create(out, c->path[0], mem, loops[0], e);
}

int virtio_balloon_create(struct virtio_device **out,
			  const struct balloon_params *p,
			  const struct balloon_host *host,
			  struct guest_mem *mem, struct loop *loop,
			  struct error *e)
{
	(void)host;
	return create(out, p->deflate_on_oom ? 'B' : 'b', mem, loop, e);
}

int virtio_mem_create(struct virtio_device **out, gpa_t base,
		      uint64_t region_bytes, const struct mem_host *host,
		      struct guest_mem *mem, struct loop *loop,
		      struct error *e)
{
	(void)host;
	assert_true(base == 1ull << 32 && region_bytes == 128 << 20);
	return create(out, 'M', mem, loop, e);
}

int virtio_console_create(struct virtio_device **out, struct chardev *cd,
			  struct guest_mem *mem, struct loop *loop,
			  struct error *e)
{
	(void)cd;
	return create(out, 'C', mem, loop, e);
}

int virtio_serial_create(struct virtio_device **out, unsigned int max_ports,
			 const struct serial_host *host, struct guest_mem *mem,
			 struct loop *loop, struct error *e)
{
	(void)host;
	return create(out, (char)('0' + max_ports), mem, loop, e);
}

int virtio_rng_create(struct virtio_device **out, const char *source,
		      struct guest_mem *mem, struct loop *loop,
		      struct error *e)
{
	return create(out, source ? source[0] : 'R', mem, loop, e);
}

static unsigned int regions;

int pmem_region_create(struct pmem_region **out, struct pmem_space *s,
		       const struct config_pmem *c, struct error *e)
{
	(void)s;
	(void)e;
	assert_non_null(c->path);
	*out = NULL;
	regions++;
	return 0;
}

void pmem_region_destroy(struct pmem_region *r)
{
	(void)r;
	regions--;
}

int virtio_pmem_create(struct virtio_device **out, struct pmem_region *region,
		       struct guest_mem *mem, struct loop *loop,
		       struct error *e)
{
	(void)region;
	return create(out, 'P', mem, loop, e);
}

int virtio_vsock_create(struct virtio_device **out,
			const struct config_vsock *c, struct guest_mem *mem,
			struct loop *loop, struct error *e)
{
	assert_string_equal(c->path, "v");
	return create(out, 'V', mem, loop, e);
}

struct vsock *virtio_vsock_host(struct virtio_device *d)
{
	return strchr(fake.log, 'V') ? (struct vsock *)d : NULL;
}

int virtio_9p_create(struct virtio_device **out, const struct config_9p *c,
		     struct p9_files *files, struct guest_mem *mem,
		     struct error *e)
{
	(void)c;
	(void)files;
	return create(out, '9', mem, NULL, e);
}

/* ---- the fixture --------------------------------------------------------- */

struct fixture {
	struct pci_fixture m;
	struct guest_mem *mem;
	struct vm_config config;
	struct devices_params p;
	struct p9_files p9_files;
	struct iothread_pool *io;
	struct devices *devices;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	memset(&fake, 0, sizeof(fake));
	pci_fixture_init(&f->m);
	assert_int_equal(iothread_pool_create(&f->io, 1), 0);
	assert_int_equal(guest_mem_create(&f->mem), 0);
	config_init(&f->config);
	f->config.rng = false;
	f->p = (struct devices_params){
		.config = &f->config,
		.mem = f->mem,
		.io_loop = f->m.loop,
		.io = f->io,
		.pci = f->m.pci,
		.irq = f->m.irq,
		.kvm = &f->m.vm,
		.p9_files = &f->p9_files,
		.machine_lock = &f->m.lock,
	};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	devices_destroy(f->devices);
	assert_int_equal(fake.alive, 0);
	iothread_pool_destroy(f->io);
	guest_mem_destroy(f->mem);
	pci_fixture_deinit(&f->m);
	config_deinit(&f->config);
	free(f);
	return 0;
}

static void start(struct fixture *f)
{
	struct error e;

	assert_int_equal(devices_create(&f->devices, &f->p, &e), 0);
}

static int add(struct fixture *f, const char *id, int bus, int slot,
	       struct device **out, struct error *e)
{
	const struct device_spec spec = {
		.type = DEVICE_RNG, .id = id, .config = "/dev/hwrng",
		.bus = bus, .slot = slot,
	};

	return devices_add(f->devices, &spec, out, e);
}

static struct device *must_add(struct fixture *f, const char *id, int bus,
			       int slot)
{
	struct device *d = NULL;
	struct error e;

	assert_int_equal(add(f, id, bus, slot, &d, &e), 0);
	return d;
}

static bool visible(struct fixture *f, unsigned int bus, unsigned int slot)
{
	return ecam_get(&f->m, bus, slot, PCI_VENDOR_ID, 2) == 0x1af4;
}

/* ---- tests --------------------------------------------------------------- */

static void test_devices_of_the_configuration_keep_their_order(void **state)
{
	struct fixture *f = *state;
	struct device *d;

	f->config.rng = true;
	f->config.rootfs.path = strdup("root");
	f->config.disks = calloc(2, sizeof(*f->config.disks));
	f->config.disk_count = 2;
	f->config.disks[0].queues = f->config.disks[1].queues = 1;
	f->config.disks[0].path = strdup("a");
	f->config.disks[0].id = strdup("disk0");
	f->config.disks[1].path = strdup("b");
	f->config.disks[1].id = strdup("disk1");
	f->config.vsock.cid = 3;
	f->config.vsock.path = strdup("v");
	f->config.balloon.enable = true;
	f->p.hot_memory.base = 1ull << 32;
	f->p.hot_memory.bytes = 128 << 20;
	f->p.console = (struct chardev *)&fake;
	start(f);
	assert_string_equal(fake.log, "rabCRVbM");
	assert_non_null(devices_first_of(f->devices, DEVICE_BALLOON));
	assert_non_null(devices_vsock(f->devices));
	d = devices_first(f->devices);
	assert_string_equal(d->id, "rootfs");
	for (unsigned int slot = 1; d; d = d->next, slot++) {
		assert_int_equal(device_function(d)->bus, 0);
		assert_int_equal(device_function(d)->slot, slot);
		assert_ptr_equal(devices_at(f->devices, 0, slot), d);
	}
	d = devices_find(f->devices, "disk1");
	assert_non_null(d);
	assert_int_equal(d->type, DEVICE_DISK);
	assert_string_equal(((struct config_disk *)d->config)->path, "b");
	assert_string_equal(device_type_name(d->type), "disk");
}

static void test_devices_shares_are_known_by_their_tags(void **state)
{
	struct fixture *f = *state;
	struct device *d;

	f->config.shares = calloc(2, sizeof(*f->config.shares));
	f->config.share_count = 2;
	f->config.shares[0].path = strdup("/a");
	f->config.shares[0].tag = strdup("/dev/root");
	f->config.shares[1].path = strdup("/b");
	f->config.shares[1].tag = strdup("b");
	f->config.shares[1].id = strdup("mine");
	start(f);
	d = devices_find(f->devices, "share-/dev/root");
	assert_non_null(d);
	assert_string_equal(device_key(d), "/dev/root");
	d = devices_find(f->devices, "mine");
	assert_non_null(d);
	assert_string_equal(device_key(d), "b");
}

static void test_devices_configuration_that_fails_leaves_nothing(void **state)
{
	struct fixture *f = *state;
	struct error e;

	f->config.rng = true;
	fake.fail = true;
	assert_int_equal(devices_create(&f->devices, &f->p, &e), -EIO);
	assert_string_equal(e.text, "no such thing");
	assert_int_equal(pci_roots_in_use(f->m.pci), 1);
	assert_null(pci_function_at(f->m.pci, 0, 1));
}

static void test_devices_add_takes_the_next_free_slot(void **state)
{
	struct fixture *f = *state;
	struct device *first, *second;

	start(f);
	first = must_add(f, "a", -1, -1);
	second = must_add(f, "b", -1, -1);
	assert_int_equal(device_function(first)->slot, 1);
	assert_int_equal(device_function(second)->slot, 2);
	assert_true(visible(f, 0, 1));
	devices_remove(f->devices, first);
	assert_false(visible(f, 0, 1));
	assert_int_equal(device_function(must_add(f, "c", -1, -1))->slot, 1);
	assert_int_equal(device_function(must_add(f, "d", 3, -1))->slot, 0);
	assert_int_equal(device_function(must_add(f, "e", 3, 9))->slot, 9);
	assert_int_equal(pci_roots_in_use(f->m.pci), 1 | 8);
}

static void test_devices_add_fills_every_slot_and_then_refuses(void **state)
{
	struct fixture *f = *state;
	const unsigned int places = PCI_ROOTS * PCI_SLOTS - 1;
	struct error e;

	pci_set_vector_room(f->m.pci, 100, 1);
	start(f);
	for (unsigned int i = 0; i < places; i++)
		must_add(f, NULL, -1, -1);
	assert_int_equal(add(f, NULL, -1, -1, NULL, &e), -ENOSPC);
	assert_int_equal(e.class, ERROR_NO_AVAILABLE_LOCATION);
	assert_int_equal(fake.alive, places);
	devices_remove(f->devices, devices_at(f->devices, 7, 7));
	assert_int_equal(device_function(must_add(f, "x", -1, -1))->bus, 7);
}

static void test_devices_add_refusals_change_nothing(void **state)
{
	struct fixture *f = *state;
	struct error e;

	start(f);
	must_add(f, "a", 0, 5);
	assert_int_equal(add(f, "a", -1, -1, NULL, &e), -EEXIST);
	assert_non_null(strstr(e.text, "'a'"));
	assert_int_equal(add(f, "b", 0, 5, NULL, &e), -EBUSY);
	assert_int_equal(e.class, ERROR_ALREADY_ATTACHED);
	assert_int_equal(add(f, "b", 0, 0, NULL, &e), -EBUSY);
	assert_int_equal(add(f, "b", 16, 0, NULL, &e), -EINVAL);
	assert_int_equal(add(f, "b", 0, 32, NULL, &e), -EINVAL);
	fake.fail = true;
	assert_int_equal(add(f, "b", -1, -1, NULL, &e), -EIO);
	fake.fail = false;
	assert_int_equal(fake.alive, 1);
	assert_null(devices_find(f->devices, "b"));
	assert_ptr_equal(devices_first(f->devices),
			 devices_find(f->devices, "a"));
	assert_null(devices_first(f->devices)->next);
	/* The last is the one that the next is put behind. */
	devices_remove(f->devices, devices_find(f->devices, "a"));
	must_add(f, "b", -1, -1);
	must_add(f, "a", -1, -1);
	assert_string_equal(devices_first(f->devices)->id, "b");
	assert_string_equal(devices_first(f->devices)->next->id, "a");
}

static void test_devices_one_balloon_only(void **state)
{
	const struct config_balloon config = { .deflate_on_oom = true };
	struct device_spec spec = {
		.type = DEVICE_BALLOON, .id = "x", .config = &config,
		.bus = -1, .slot = -1,
	};
	struct fixture *f = *state;
	struct device *d;
	struct error e;

	start(f);
	assert_null(devices_first_of(f->devices, DEVICE_BALLOON));
	assert_int_equal(devices_add(f->devices, &spec, &d, &e), 0);
	assert_string_equal(fake.log, "B");
	assert_ptr_equal(devices_first_of(f->devices, DEVICE_BALLOON),
			 virtio_pci_device(d->pci));
	spec.id = "y";
	assert_int_equal(devices_add(f->devices, &spec, NULL, &e), -EEXIST);
	assert_int_equal(fake.alive, 1);
}

/* Its memory would go with it. */
static void test_devices_virtio_mem_is_not_the_guests_to_eject(void **state)
{
	const struct device_mem config = { .base = 1ull << 32,
					   .bytes = 128 << 20 };
	const struct device_spec spec = {
		.type = DEVICE_MEM, .id = "m", .config = &config,
		.bus = -1, .slot = -1,
	};
	struct fixture *f = *state;
	struct device *d;
	struct error e;

	start(f);
	assert_int_equal(devices_add(f->devices, &spec, &d, &e), 0);
	assert_true(device_function(d)->stays);
	assert_false(device_function(must_add(f, "a", -1, -1))->stays);
}

static void test_devices_added_while_quiet_are_quiet(void **state)
{
	struct fixture *f = *state;
	struct device *d;

	start(f);
	pthread_mutex_lock(&f->m.lock);
	devices_quiesce(f->devices);
	pthread_mutex_unlock(&f->m.lock);
	d = must_add(f, "a", -1, -1);
	assert_true(virtio_pci_device(d->pci)->quiesced);
	pthread_mutex_lock(&f->m.lock);
	devices_resume(f->devices);
	pthread_mutex_unlock(&f->m.lock);
	assert_false(virtio_pci_device(d->pci)->quiesced);
	assert_false(virtio_pci_device(must_add(f, "b", -1, -1)->pci)
			     ->quiesced);
}

/* The root image is first; memory goes when nobody uses it. */
static void test_devices_pmem_leaves_when_the_others_are_quiet(void **state)
{
	struct config_pmem config = { .path = (char *)"m", .id = (char *)"m" };
	const struct device_spec spec = {
		.type = DEVICE_PMEM, .id = "m", .config = &config, .bus = -1,
		.slot = -1,
	};
	struct fixture *f = *state;
	struct device *d;
	struct error e;

	regions = 0;
	f->config.rootfs.path = strdup("root");
	f->config.rootfs.type = ROOTFS_PMEM;
	f->config.pmems = calloc(1, sizeof(*f->config.pmems));
	f->config.pmem_count = 1;
	f->config.pmems[0].path = strdup("a");
	f->config.pmems[0].id = strdup("pmem0");
	start(f);
	assert_string_equal(fake.log, "PP");
	assert_int_equal(regions, 2);
	assert_string_equal(devices_first(f->devices)->id, "rootfs");
	d = must_add(f, "other", -1, -1);
	fake.witness = virtio_pci_device(d->pci);
	devices_remove(f->devices, devices_find(f->devices, "pmem0"));
	assert_true(fake.witness_quiesced);
	assert_false(fake.witness->quiesced);
	assert_int_equal(devices_add(f->devices, &spec, &d, &e), 0);
	assert_int_equal(regions, 3);
	config.id = (char *)"n";
	fake.fail = true;
	assert_int_equal(devices_add(f->devices, &(struct device_spec){
			 .type = DEVICE_PMEM, .id = "n", .config = &config,
			 .bus = -1, .slot = -1 }, NULL, &e), -EIO);
	assert_int_equal(regions, 3);
	fake.witness = NULL;
}

static void start_with_ring(struct virtio_device *d, gpa_t ring)
{
	static const uint8_t steps[] = { 1, 3, 11, 15 };

	virtio_reg_driver_features(d, 1, 1);
	for (size_t i = 0; i < sizeof(steps); i++) {
		virtio_reg_status_write(d, steps[i]);
		for (unsigned int area = 0; steps[i] == 11 && area < 3; area++)
			virtio_reg_queue_address(d, 0, area, false,
						 (uint32_t)ring + area * 0x1000);
		if (steps[i] == 11)
			virtio_reg_queue_enable(d, 0);
	}
	assert_int_equal(virtio_reg_status(d), 15);
}

/* paused: by the user; the VM goes on later. */
static void remove_memory_under_rings(struct fixture *f, bool paused)
{
	struct config_pmem config = { .path = (char *)"m", .id = (char *)"m" };
	const struct device_spec spec = {
		.type = DEVICE_PMEM, .id = "m", .config = &config, .bus = -1,
		.slot = -1,
	};
	struct virtio_device *in_ram, *in_memory;
	void *ram = calloc(1, BYTES);
	struct device *d;
	struct error e;

	start(f);
	fake.memory_host = calloc(1, BYTES);
	assert_int_equal(guest_mem_add(f->mem, RAM, BYTES, ram), 0);
	assert_int_equal(guest_mem_add(f->mem, MEMORY, BYTES,
				       fake.memory_host), 0);
	assert_int_equal(devices_add(f->devices, &spec, &d, &e), 0);
	fake.memory = virtio_pci_device(d->pci);
	in_ram = virtio_pci_device(must_add(f, "a", -1, -1)->pci);
	in_memory = virtio_pci_device(must_add(f, "b", -1, -1)->pci);
	start_with_ring(in_ram, RAM);
	start_with_ring(in_memory, MEMORY);
	if (paused)
		devices_quiesce(f->devices);
	devices_remove(f->devices, d);
	if (paused)
		devices_resume(f->devices);
	assert_int_equal(virtio_reg_status(in_ram), 15);
	assert_true(virtqueue_enabled(virtio_vq(in_ram, 0)));
	assert_int_equal(virtio_reg_status(in_memory), 15 | 0x40);
	assert_false(virtqueue_enabled(virtio_vq(in_memory, 0)));
	virtqueue_arm(virtio_vq(in_memory, 0));
	virtio_device_reset(in_ram);
	free(ram);
}

static void test_devices_rings_in_memory_that_leaves_are_closed(void **state)
{
	remove_memory_under_rings(*state, false);
}

static void test_devices_rings_are_closed_in_a_pause_too(void **state)
{
	remove_memory_under_rings(*state, true);
}

static void test_devices_give_their_vectors_back(void **state)
{
	struct fixture *f = *state;
	struct device *d;

	/* Room for one: a queue and the configuration. */
	pci_set_vector_room(f->m.pci, 2, 1);
	start(f);
	for (unsigned int i = 0; i < 3; i++) {
		d = must_add(f, "a", -1, -1);
		assert_int_equal(device_function(d)->msix.count, 2);
		assert_int_equal(device_function(must_add(f, "b", -1, -1))
					 ->msix.count, 0);
		devices_remove(f->devices, d);
		devices_remove(f->devices, devices_find(f->devices, "b"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_devices_of_the_configuration_keep_their_order),
		T(test_devices_shares_are_known_by_their_tags),
		T(test_devices_configuration_that_fails_leaves_nothing),
		T(test_devices_add_takes_the_next_free_slot),
		T(test_devices_add_fills_every_slot_and_then_refuses),
		T(test_devices_add_refusals_change_nothing),
		T(test_devices_one_balloon_only),
		T(test_devices_virtio_mem_is_not_the_guests_to_eject),
		T(test_devices_added_while_quiet_are_quiet),
		T(test_devices_pmem_leaves_when_the_others_are_quiet),
		T(test_devices_rings_in_memory_that_leaves_are_closed),
		T(test_devices_rings_are_closed_in_a_pause_too),
		T(test_devices_give_their_vectors_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
