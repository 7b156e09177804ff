/* SPDX-License-Identifier: MIT */
/*
 * The parts of a VM, for the files that are the VM: vm.c (construction), vm_*.c,
 * snapshot.c, migrate*.c, dump.c. Main thread where nothing else is said.
 */
#ifndef MOTE_VM_INTERNAL_H
#define MOTE_VM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "board.h"
#include "devices.h"
#include "dimms.h"
#include "hot_memory.h"
#include "kvm/kvm.h"
#include "p9/p9.h"
#include "pmem/pmem.h"
#include "vcpu.h"
#include "vm.h"
#include "vm_mems.h"
#include "vm_notice.h"
#include "vm_serial.h"

/* What vCPU threads ask of the main thread: bits of vm->requests. */
enum vm_request {
	VM_REQUEST_POWEROFF = 1 << 0,
	VM_REQUEST_RESET = 1 << 1,
	VM_REQUEST_PANICKED = 1 << 2,
	VM_REQUEST_CRASH_LOADED = 1 << 3,
	VM_REQUEST_EXIT_PORT = 1 << 4,
	VM_REQUEST_TRIPLE_FAULT = 1 << 5,
	VM_REQUEST_KVM_ERROR = 1 << 6,
};

/* A virtio-mem (vm_mems.c), by its number. */
struct vm_mem {
	struct vm *vm;
	_Atomic(struct hot_memory *) memory;
	char *memdev;
	gpa_t base;		/* reserved among DIMMs; 0: not the first's */
	uint64_t bytes;		/* of memdev */
	uint64_t told_bytes;	/* plugged, when clients were told */
};

#define VM_REPORTS_MAX 1024

/* What the guest has said, until the main thread looks: machine lock. */
struct vm_reports {
	struct loop_event event;
	struct vm_report queue[VM_REPORTS_MAX];
	unsigned int count;
	/* By vm_report.dimm: how often it may still say something, and what it
	 * has said last. */
	uint8_t allowed[2][CONFIG_MAX_DIMMS];
	struct { uint32_t source, status; } last[2][CONFIG_MAX_DIMMS];
	const struct vm_report *now;		/* main thread; being told */
};

struct vm {
	const struct vm_config *config;
	const struct saved_vm *saved;	/* while it is being restored */
	struct loop *loop;		/* the main thread's */
	bool (*start_cancelled)(void);	/* or NULL */

	/* In order of construction. */
	struct boot_image *image;
	struct cmdline cmdline;
	struct vm_preloader *preloader;	/* vm_boot.c; NULL once it has ended */
	struct kvm_vm kvm;
	pthread_mutex_t machine_lock;	/* see bus.h */
	struct guest_mem *mem;
	struct ram *ram;
	struct bus *pio, *mmio;
	struct irq_chip *irq;
	struct chardev *serial, *console;
	struct iothread_pool *io;
	struct vcpu_model *model;
	struct board *board;
	struct pmem_space *pmem;
	struct hot_memory *hot_memory;	/* NULL: no max= */
	struct dimms *dimms;		/* the same */
	struct p9_files p9_files;
	struct devices *devices;
	struct vcpus *vcpus;

	enum vm_state state;
	enum vm_state held_state;	/* what it was before vm_hold() */
	bool is_template;	/* others have its RAM: it must not run */
	/* vm_save.c */
	struct save_job *save_job;	/* NULL: none is being made */
	struct dirty *dirty;		/* NULL: never saved, nor restored */
	struct vm_exit_report report;
	vm_event_fn event_fn;
	void *event_opaque;

	/* Written by vCPU threads, handled on the loop. */
	struct loop_event request;
	struct loop_timer populate;	/* soon after the kernel has started */
	atomic_uint requests;
	_Atomic uint8_t exit_value;
	pthread_mutex_t death_lock;
	char death_reason[256];
	bool crash_noted;	/* main thread: said in the log since the reset */

	/* vm_devices.c */
	struct loop_event ejection;
	struct loop_timer remind;
	uint64_t remind_ns;			/* to the first reminder */
	uint64_t remind_next_ns;
	uint32_t ejected[PCI_ROOTS];		/* machine lock */
	/* vm_cpus.c */
	struct loop_event cpu_ejection;
	bool cpus_ejected[CONFIG_MAX_CPUS];	/* machine lock */
	bool cpu_removing[CONFIG_MAX_CPUS];	/* the guest was asked */
	char *cpu_ids[CONFIG_MAX_CPUS];		/* NULL: cpuN */

	struct vm_chardev *chardevs;		/* vm_chardev.c */
	struct vm_port *ports;			/* vm_serial.c */
	/* vm_dimms.c */
	struct loop_event dimm_ejection;
	bool dimms_ejected[DIMMS_MAX];		/* machine lock */

	struct vm_mem mems[VM_MEMS_MAX];	/* the first is hot_memory's */
	struct vm_reports reports;		/* vm_reports.c */

	struct vm_notice balloon_notice, mem_notice;	/* vm_memory.c */
	struct vm_notice port_notice;			/* vm_serial.c */

	struct vm_dump *dump;	/* NULL: never dumped */
	struct fault *fault;	/* NULL: RAM is all there */
	struct vm_migration *migration;	/* NULL: never asked about */
	bool run_incoming;	/* once it has come in, if it ran over there */

	bool tables_stale;	/* devices have changed before the first run */
};

/* vm_life.c */
int vm_life_init(struct vm *vm, struct error *e);
void vm_life_deinit(struct vm *vm);
/* Everything as after power-on, the kernel loaded anew; it runs if the VM does. */
void vm_start_anew(struct vm *vm, bool by_guest);
void vm_console_key(void *opaque, enum chardev_key key);
void vm_emit(struct vm *vm, enum vm_event event, bool by_guest,
	     const char *reason);

/* vm_requests.c */
int vm_requests_init(struct vm *vm, struct error *e);
void vm_requests_deinit(struct vm *vm);
void vm_platform_request(void *opaque, enum platform_request r, uint8_t value);
void vm_vcpu_died(void *opaque, enum vcpu_death why, const char *reason);

/*
 * vm_hold.c. A VM that is held is in the given state, paused, and nothing but
 * vm_release() and its end changes that; what the guest has asked for waits. -EPERM
 * (InvalidState): it is held already, or cannot be paused.
 */
int vm_hold(struct vm *vm, enum vm_state state, const char *what,
	    struct error *e);
/* Could it be held? */
int vm_check_hold(const struct vm *vm, const char *what, struct error *e);
/* It is as before, and runs if it did then. No-op when it is not held. */
void vm_release(struct vm *vm);

/* Has all of its memory been there until now? -EIO: what is zeros may have been
 * something else, and the VM is about to end. Any thread. */
int vm_check_memory(const struct vm *vm, const char *what, struct error *e);

static inline bool vm_is_held(const struct vm *vm)
{
	return vm->state == VM_SAVING || vm->state == VM_FINISH_MIGRATE;
}

/* Is there something to be decided? A crash kernel, of which a guest may speak all
 * the time, is only noted. */
static inline bool vm_is_asked(const struct vm *vm)
{
	return atomic_load(&vm->requests) & ~(unsigned int)VM_REQUEST_CRASH_LOADED;
}

/* The guest has run: it is told of what comes and goes. Else the tables are to be
 * written again. */
static inline bool vm_guest_knows(const struct vm *vm)
{
	enum vm_state state = vm_is_held(vm) ? vm->held_state : vm->state;

	return state != VM_PRELAUNCH && state != VM_INMIGRATE;
}

/* vm_fault.c: before and after anybody touches the memory of vm->saved. */
int vm_fault_start(struct vm *vm, struct error *e);
/* The VM is held: all of its memory is brought, before somebody reads it. What
 * cannot be is an error, and the VM as it was. A job's thread. */
struct job;
int vm_fault_fill(struct vm *vm, struct job *j, const char *what,
		  struct error *e);
/* The vCPUs go: a page that cannot be read is told to nobody. */
void vm_fault_quiet(struct vm *vm);
void vm_fault_stop(struct vm *vm);

/* dump.c, migrate.c: the end of what is under way. */
void vm_dump_deinit(struct vm *vm);
void vm_migration_deinit(struct vm *vm);

/* vm_devices.c */
int vm_devices_init(struct vm *vm, struct error *e);
void vm_devices_deinit(struct vm *vm);
void vm_device_ejected(void *opaque, unsigned int bus, unsigned int slot);
/* A reset: what the guest was asked to let go is gone when it starts anew. */
void vm_devices_settle(struct vm *vm);

/* vm_chardev.c: after the devices. */
void vm_chardevs_destroy(struct vm *vm);
/* The one with this id becomes, or is no longer, somebody's. */
struct chardev *vm_chardev_claim(struct vm *vm, const char *id,
				 struct error *e);
void vm_chardev_release(struct vm *vm, const struct chardev *cd);

/* vm_serial.c */
int vm_ports_init(struct vm *vm, struct error *e);
void vm_ports_deinit(struct vm *vm);
/* The guest has opened or closed one. A device's loop; opaque is the vm. */
void vm_port_changed(void *opaque);
/* The device goes, and with it its ports. */
void vm_ports_drop(struct vm *vm, const struct device *device);
/* As vm_port_add(), to d; spec's bus is not looked at. */
int vm_port_add_to(struct vm *vm, const struct device *d,
		   const struct vm_port_spec *spec, struct error *e);
/* Of port index, its device and what makes it anew; false: no more. */
bool vm_port_info(const struct vm *vm, size_t index, const struct device **d,
		  struct vm_port_spec *spec);

/* vm_cpus.c */
int vm_cpus_init(struct vm *vm, struct error *e);
void vm_cpus_deinit(struct vm *vm);
void vm_cpu_ejected(void *opaque, unsigned int cpu);
/* As vm_devices_settle(). */
void vm_cpus_settle(struct vm *vm);
/* Those that the guest has let go, and nobody had looked yet. */
void vm_cpus_take_ejected(struct vm *vm);
/* What is known of a vCPU besides its registers. Loading adds it, where only
 * vCPU 0 is there. */
void vm_cpu_save(const struct vm *vm, unsigned int index,
		 struct state_writer *w);
int vm_cpu_load(struct vm *vm, unsigned int index, struct state_reader *r,
		struct error *e);

/* What the guest said of a vCPU. */
void vm_cpu_note_report(struct vm *vm, const struct vm_report *r);

/* vm_dimms.c */
int vm_dimms_init(struct vm *vm, struct error *e);
void vm_dimms_deinit(struct vm *vm);
void vm_dimm_ejected(void *opaque, unsigned int slot);
/* As vm_devices_settle(). */
void vm_dimms_settle(struct vm *vm);
/* The VM is no longer held: what was let go meanwhile can go. */
void vm_dimms_released(struct vm *vm);
/* Those that the guest has let go, and nobody had looked yet. */
void vm_dimms_take_ejected(struct vm *vm);
void vm_dimm_note_report(struct vm *vm, const struct vm_report *r);

/* vm_reports.c */
int vm_reports_init(struct vm *vm, struct error *e);
void vm_reports_deinit(struct vm *vm);
/* The guest has been told something: some reports about it are let through.
 * Machine lock held. */
void vm_report_allow(struct vm *vm, bool dimm, unsigned int slot);
/* It did not do what it was asked for. */
bool vm_report_is_refusal(const struct vm_report *r);
void vm_cpu_reported(void *opaque, unsigned int cpu, uint32_t source,
		     uint32_t status);
void vm_dimm_reported(void *opaque, unsigned int slot, uint32_t source,
		      uint32_t status);

/* vm_memory.c */
int vm_memory_init(struct vm *vm, struct error *e);
void vm_memory_deinit(struct vm *vm);
/* For the balloon: opaque is the VM. */
void vm_memory_discard(void *opaque, void *host, uint64_t len_bytes);
void vm_balloon_changed(void *opaque);

/* vm_mems.c */
void vm_mems_deinit(struct vm *vm);
/* Memory for virtio-mem n, at base, or, where that is 0, the lowest free address.
 * What fails may leave a part of it, until vm_mems_deinit(). */
int vm_mem_make_room(struct vm *vm, unsigned int n, const char *memdev,
		     const struct config_memory *backing, gpa_t base,
		     struct error *e);
/* What its device is made from, of one that has its memory. */
void vm_mem_config(struct vm *vm, unsigned int n, struct device_mem *out);
/* Is there more than the VM started with, plugged or not? */
bool vm_memory_added(const struct vm *vm);
/* For virtio-mem: opaque is the struct vm_mem. The second is in vm_memory.c. */
void vm_mem_clear(void *opaque, uint64_t offset, uint64_t len_bytes);
void vm_mem_changed(void *opaque);
/* As hot_memory_discard(), for all. */
bool vm_mems_discard(const struct vm *vm, void *host, uint64_t len_bytes);
/* Tells clients of those that have changed. */
void vm_mems_tell(struct vm *vm);
/* A reset, after that of the devices; machine lock held. */
void vm_mems_reset(struct vm *vm);

/* A saved function was hidden: as vm_device_ejected(), machine lock held. */
void vm_device_note_ejected(struct vm *vm, unsigned int bus,
			    unsigned int slot);
/* The guest had been asked to let a saved device go: as it goes on after
 * vm_device_remove(). Main thread, machine lock held. */
void vm_device_note_removing(struct vm *vm, struct device *device);

/* vm_save.c */
/* The end of a save that is under way. */
void vm_save_deinit(struct vm *vm);

/* vm_dirty.c */
/* All logs are asked what has changed; parts are all of RAM. */
int vm_dirty_collect(struct vm *vm, const struct ram_part *parts, size_t count,
		     struct error *e);
/* RAM is now as in the save of this id. */
int vm_dirty_note_base(struct vm *vm, const uint8_t *id, struct error *e);
/* A reset: RAM is new, all of it. */
void vm_dirty_memory_lost(struct vm *vm);
/* Some of it is, host address. Any thread. */
void vm_dirty_note_discarded(struct vm *vm, const void *host,
			     uint64_t len_bytes);
/* Memory in a KVM slot has come: all of it is new; or is gone. */
void vm_dirty_note_plugged(struct vm *vm, const struct dimm *dimm);
void vm_dirty_note_unplugged(struct vm *vm, const struct dimm *dimm);
/* Where in the memory file what is at an address of the room for more is. */
uint64_t vm_memory_offset(const struct vm *vm, gpa_t gpa);
/* RAM in all memory slots; parts has RAM_MAX_PARTS. */
size_t vm_ram_parts(const struct vm *vm, struct ram_part *parts);
/* The same as parts of a memory file. */
struct memory_part;
size_t vm_memory_parts(const struct vm *vm, struct memory_part *parts);

/* vm_dimms_save.c: what the section of that name holds; loading makes them. */
void vm_dimms_save(const struct vm *vm, struct state_writer *w);
int vm_dimms_load(struct vm *vm, struct state_reader *r, struct error *e);

/* vm_mems_save.c: the same of virtio-mem's rooms; loading makes those that are
 * not there, and opens all as far as they were. */
void vm_mems_save(const struct vm *vm, struct state_writer *w);
int vm_mems_load(struct vm *vm, struct error *e);

/* vm_ports_save.c: the same of virtio-serial devices and their ports, where there
 * are any. */
bool vm_ports_any(const struct vm *vm);
void vm_ports_save(const struct vm *vm, struct state_writer *w);
/* What saved device n of that kind is made from. */
int vm_ports_device(const struct saved_vm *s, unsigned int n,
		    struct config_serial *out, struct error *e);
/* All its devices are there. */
int vm_ports_load(struct vm *vm, struct error *e);
/* Are those of the devices that are there the saved ones? */
int vm_ports_check(struct vm *vm, const struct saved_vm *s,
		   struct error *e);

/* snapshot.c: steps of making a VM from vm->saved. */
int snapshot_load_cpu(struct vm *vm, struct error *e);
int snapshot_load_dimms(struct vm *vm, struct error *e);
/* The devices that no configuration asks for. */
int snapshot_add_devices(struct vm *vm, struct error *e);
int snapshot_load(struct vm *vm, struct error *e);
/* The part of it that is neither RAM nor what a CPU is. */
int snapshot_load_state(struct vm *vm, struct error *e);

/* vm_boot.c */

/* The kernel, and what it is told. */
int vm_open_image(struct vm *vm, struct error *e);
/* RAM is there: a thread begins to load it; and has ended, well or not. */
int vm_begin_preload(struct vm *vm, struct error *e);
int vm_end_preload(struct vm *vm, struct error *e);
/* Loads what is not loaded yet and puts the boot vCPU at its entry. */
int vm_load(struct vm *vm, struct error *e);

#endif
