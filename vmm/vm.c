/* SPDX-License-Identifier: MIT */
/* Construction and teardown of a VM. Main thread. */
#include "vm.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "dirty.h"
#include "log.h"
#include "snapshot_internal.h"
#include "vm_chardev.h"
#include "vm_internal.h"

static int probe_kvm(struct vm *vm, struct error *e)
{
	(void)vm;
	return kvm_arch_probe(e);
}

static int create_memory(struct vm *vm, struct error *e)
{
	struct config_memory c = vm->config->memory;
	struct ram_range ranges[RAM_MAX_RANGES];
	unsigned int count = board_ram_ranges(c.size_bytes, ranges);
	int ret;

	/* What is in a file is what the VM had that comes in. */
	if (vm->config->incoming != INCOMING_OFF && c.path && !c.share)
		c.saved = true;
	ret = guest_mem_create(&vm->mem);
	if (ret)
		return error_errno(e, ret, "guest memory");
	ret = ram_create(&vm->ram, &c, ranges, count, vm->mem, e);
	if (!ret && c.prealloc)
		ret = ram_prealloc(vm->ram, vm->start_cancelled, e);
	return c.path ? error_of_named(e, ret) : ret;
}

static int create_kvm(struct vm *vm, struct error *e)
{
	int ret = kvm_vm_create(&vm->kvm, e);

	if (!ret)
		ret = vm_end_preload(vm, e);
	if (!ret)
		ret = kvm_arch_init(&vm->kvm, e);
	if (!ret)
		ret = vcpu_model_create(&vm->model, &vm->kvm,
					&vm->config->cpus, e);
	return ret;
}

static int attach_memory(struct vm *vm, struct error *e)
{
	uint64_t size = vm->config->memory.size_bytes;
	struct ram_range ranges[RAM_MAX_RANGES];
	unsigned int count = board_ram_ranges(size, ranges);
	unsigned int bits = vcpu_model_phys_bits(vm->model);
	const struct ram_range *last = &ranges[count - 1];

	if ((last->base + last->len_bytes - 1) >> bits)
		return error_config(e, -ERANGE, "--memory: %llu MiB do not fit "
				    "the guest's %u physical address bits",
				    (unsigned long long)(size >> 20), bits);
	return ram_attach(vm->ram, &vm->kvm, e);
}

static int create_buses(struct vm *vm, struct error *e)
{
	int ret = bus_create(&vm->pio, &vm->machine_lock);

	if (!ret)
		ret = bus_create(&vm->mmio, &vm->machine_lock);
	if (ret)
		return error_errno(e, ret, "buses");
	return irq_chip_create(&vm->irq, &vm->kvm, e);
}

static int create_chardevs(struct vm *vm, struct error *e)
{
	const struct vm_config *c = vm->config;
	int ret = 0;

	if (c->serial.kind != CHAR_NONE)
		ret = chardev_create(&vm->serial, &c->serial, vm->loop,
				     vm_console_key, vm, e);
	if (ret)
		error_prefix(e, ret, "--serial");
	if (!ret && c->console.kind != CHAR_NONE) {
		ret = chardev_create(&vm->console, &c->console, vm->loop,
				     vm_console_key, vm, e);
		if (ret)
			error_prefix(e, ret, "--console");
	}
	for (size_t i = 0; !ret && i < c->chardev_count; i++) {
		ret = vm_chardev_add(vm, c->chardevs[i].id,
				     &c->chardevs[i].back, e);
		if (ret)
			error_prefix(e, ret, "--chardev '%s'",
				     c->chardevs[i].id);
	}
	return error_of_named(e, ret);
}

static int create_board(struct vm *vm, struct error *e)
{
	struct board_params p = {
		.config = vm->config,
		.model = vm->model,
		.mem = vm->mem,
		.irq = vm->irq,
		.pio = vm->pio,
		.mmio = vm->mmio,
		.loop = vm->loop,
		.machine_lock = &vm->machine_lock,
		.serial = vm->serial,
		.owner = { vm_platform_request, vm },
		.hotplug = vm->config->monitor.path ||
			   vm->config->monitor.fd >= 0,
		.eject = { vm_device_ejected, vm },
		.cpu_owner = { vm_cpu_ejected, vm_cpu_reported, vm },
		.dimm_owner = { vm_dimm_ejected, vm_dimm_reported, vm },
	};

	return board_create(&vm->board, &p, e);
}

static void pmem_write_dropped(const char *path, uint64_t count)
{
	log_warn("pmem %s: %llu write%s of the guest dropped: it is read-only",
		 path, (unsigned long long)count, count == 1 ? "" : "s");
}

static void pmem_lost(const char *path)
{
	log_error("pmem %s: the file has become smaller, or a part of it could "
		  "not be reached: the guest finds zeros there, and its flushes "
		  "fail", path);
}

static int create_pmem(struct vm *vm, struct error *e)
{
	struct pmem_space_params p = {
		.kvm = &vm->kvm,
		.mem = vm->mem,
		.mmio = vm->mmio,
		.loop = vm->loop,
		.machine_lock = &vm->machine_lock,
		.slots = vm->config->pmem_max,
		.max_bytes = vm->config->pmem_max_bytes,
		.on_dropped_write = pmem_write_dropped,
		.on_lost = pmem_lost,
	};

	board_pmem_area(vm->board, &p.base, &p.len_bytes);
	return pmem_space_create(&vm->pmem, &p, e);
}

/* As many as can run at once; but some, so that one does not wait for all. */
static unsigned int io_threads(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < 4 ? 4 : cpus > 16 ? 16 : (unsigned int)cpus;
}

static int create_hot_memory(struct vm *vm, struct error *e)
{
	const struct config_memory *c = &vm->config->memory;
	uint64_t len;
	gpa_t base;
	int ret;

	if (!hot_memory_room_bytes(c))
		return 0;
	ret = hot_memory_create(&vm->hot_memory, c,
				board_hot_memory_base(vm->board), vm->mem,
				&vm->kvm, e);
	vm->mems[0].vm = vm;
	vm->mems[0].memory = vm->hot_memory;
	if (ret)
		return ret;
	board_dimms_area(vm->board, &base, &len);
	return dimms_create(&vm->dimms, dimms_slots(c), base, len, vm->mem,
			    &vm->kvm, e);
}

/* As far as it was open; its content comes with the RAM's. */
static int restore_hot_memory(struct vm *vm, struct error *e)
{
	int ret = create_hot_memory(vm, e);

	return ret ? ret : vm_mems_load(vm, e);
}

static int create_devices(struct vm *vm, struct error *e)
{
	struct devices_params p = {
		.config = vm->config,
		.mem = vm->mem,
		.pci = board_pci(vm->board),
		.irq = vm->irq,
		.kvm = &vm->kvm,
		.pmem = vm->pmem,
		.console = vm->console,
		.balloon = { vm_memory_discard, vm_balloon_changed, vm },
		.serial = { vm_port_changed, vm },
		.p9_files = &vm->p9_files,
		.machine_lock = &vm->machine_lock,
	};
	int ret = iothread_pool_create(&vm->io, io_threads());

	if (ret)
		return error_errno(e, ret, "iothread");
	if (vm->hot_memory)
		vm_mem_config(vm, 0, &p.hot_memory);
	p.io = vm->io;
	p.io_loop = iothread_pool_first(vm->io);
	if (vm->saved) {
		p.place = saved_vm_place;
		p.place_opaque = vm->saved;
	}
	return error_of_named(e, devices_create(&vm->devices, &p, e));
}

static int create_vcpus(struct vm *vm, struct error *e)
{
	struct vcpu_owner owner = {
		.died = vm_vcpu_died,
		.repair_memory = pmem_maps_repair,
		.opaque = vm,
	};

	/* Of a saved VM, or one that comes in, others than it starts with may
	 * be there. */
	bool first = vm->saved || vm->config->incoming != INCOMING_OFF;

	return vcpus_create(&vm->vcpus, &vm->kvm, vm->model,
			    first ? 1 : vm->config->cpus.count,
			    vm->config->cpus.max, vm->pio, vm->mmio, &owner, e);
}

/* RAM and what is in devices and processors come with migrate-incoming. */
static int await_incoming(struct vm *vm, struct error *e)
{
	(void)e;
	vm->state = VM_INMIGRATE;
	return 0;
}

typedef int (*build_step)(struct vm *vm, struct error *e);

/* Up to the one that fails. */
static int build(struct vm *vm, const build_step *step, struct error *e)
{
	int ret = 0;

	for (; !ret && *step; step++)
		ret = (*step)(vm, e);
	return ret;
}

/* What watches, waits and tells on the loop. */
static int init_parts(struct vm *vm, struct error *e)
{
	static const build_step parts[] = {
		vm_life_init, vm_requests_init, vm_devices_init, vm_cpus_init,
		vm_dimms_init, vm_reports_init, vm_memory_init, vm_ports_init,
		NULL,
	};

	return build(vm, parts, e);
}

static int create(struct vm **out, const struct vm_config *c,
		  struct loop *loop, bool (*cancelled)(void),
		  const struct saved_vm *saved, struct error *e)
{
	static const build_step boot[] = {
		vm_open_image, probe_kvm, create_memory, vm_begin_preload,
		create_kvm, attach_memory, create_buses, init_parts,
		create_chardevs, create_board, create_pmem, create_hot_memory,
		create_devices, create_vcpus, vm_load, NULL,
	};
	static const build_step restore[] = {
		probe_kvm, create_memory, create_kvm, snapshot_load_cpu,
		attach_memory, create_buses, init_parts, create_chardevs,
		create_board, create_pmem, restore_hot_memory,
		snapshot_load_dimms, vm_fault_start, create_devices,
		snapshot_add_devices, create_vcpus, snapshot_load, NULL,
	};
	static const build_step incoming[] = {
		probe_kvm, create_memory, create_kvm, attach_memory,
		create_buses, init_parts, create_chardevs, create_board,
		create_pmem, create_hot_memory, create_devices, create_vcpus,
		await_incoming, NULL,
	};
	const build_step *step = saved ? restore :
				 c->incoming != INCOMING_OFF ? incoming : boot;
	struct vm *vm = calloc(1, sizeof(*vm));
	int ret;

	if (!vm)
		return error_set(e, -ENOMEM, "out of memory");
	vm->config = c;
	vm->saved = saved;
	vm->loop = loop;
	vm->start_cancelled = cancelled;
	vm->kvm = (struct kvm_vm){ .sys_fd = -1, .fd = -1 };
	vm->request = (struct loop_event)LOOP_EVENT_INIT;
	vm->ejection = (struct loop_event)LOOP_EVENT_INIT;
	vm->remind.watch = (struct loop_watch)LOOP_WATCH_INIT;
	vm->cpu_ejection = (struct loop_event)LOOP_EVENT_INIT;
	vm->dimm_ejection = (struct loop_event)LOOP_EVENT_INIT;
	vm->reports.event = (struct loop_event)LOOP_EVENT_INIT;
	vm->balloon_notice = (struct vm_notice)VM_NOTICE_INIT;
	vm->mem_notice = (struct vm_notice)VM_NOTICE_INIT;
	vm->port_notice = (struct vm_notice)VM_NOTICE_INIT;
	vm->populate.watch = (struct loop_watch)LOOP_WATCH_INIT;
	pthread_mutex_init(&vm->machine_lock, NULL);
	pthread_mutex_init(&vm->death_lock, NULL);
	ret = build(vm, step, e);
	if (ret) {
		vm_destroy(vm);
		return ret;
	}
	vm->saved = NULL;
	*out = vm;
	return 0;
}

int vm_create(struct vm **out, const struct vm_config *c, struct loop *loop,
	      bool (*cancelled)(void), struct error *e)
{
	return create(out, c, loop, cancelled, NULL, e);
}

int vm_restore(struct vm **out, const struct vm_config *c, struct loop *loop,
	       const struct saved_vm *s, bool (*cancelled)(void),
	       struct error *e)
{
	return create(out, c, loop, cancelled, s, e);
}

void vm_destroy(struct vm *vm)
{
	struct error ignored;

	if (!vm)
		return;
	vm_dump_deinit(vm);
	vm_migration_deinit(vm);
	vm_end_preload(vm, &ignored);
	vm_save_deinit(vm);
	/* It would stop them. */
	vm_fault_quiet(vm);
	vcpus_destroy(vm->vcpus);
	devices_destroy(vm->devices);
	vm_mems_deinit(vm);
	dimms_destroy(vm->dimms);
	pmem_space_destroy(vm->pmem);
	board_destroy(vm->board);
	iothread_pool_destroy(vm->io);
	vm_ports_deinit(vm);
	vm_chardevs_destroy(vm);
	chardev_destroy(vm->console);
	chardev_destroy(vm->serial);
	vm_memory_deinit(vm);
	vm_reports_deinit(vm);
	vm_dimms_deinit(vm);
	vm_cpus_deinit(vm);
	vm_devices_deinit(vm);
	vm_requests_deinit(vm);
	vm_life_deinit(vm);
	irq_chip_destroy(vm->irq);
	bus_destroy(vm->mmio);
	bus_destroy(vm->pio);
	/* Devices, and vhost, have written to its log until now. */
	dirty_destroy(vm->dirty);
	vm_fault_stop(vm);
	ram_destroy(vm->ram);
	guest_mem_destroy(vm->mem);
	vcpu_model_destroy(vm->model);
	kvm_vm_destroy(&vm->kvm);
	cmdline_deinit(&vm->cmdline);
	boot_close(vm->image);
	pthread_mutex_destroy(&vm->death_lock);
	pthread_mutex_destroy(&vm->machine_lock);
	free(vm);
}

const struct vm_config *vm_config(const struct vm *vm)
{
	return vm->config;
}
