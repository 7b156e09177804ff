/* SPDX-License-Identifier: MIT */
/*
 * The virtio devices of a VM: made from its configuration, added and removed
 * while it runs, through one table of kinds (device/). Main thread.
 *
 * Adding and removing take the machine lock themselves; the functions that say
 * so need it held.
 */
#ifndef MOTE_DEVICES_H
#define MOTE_DEVICES_H

#include <pthread.h>

#include "char/chardev.h"
#include "config/config.h"
#include "error.h"
#include "guest_mem.h"
#include "irq.h"
#include "kvm/kvm.h"
#include "loop.h"
#include "pci/pci.h"
#include "pmem/pmem.h"
#include "virtio/balloon.h"
#include "virtio/mem.h"
#include "virtio/serial.h"

struct devices;
struct net_backend;
struct p9_files;
struct virtio_pci;
struct vsock;

/* The rows of the table, in the order of the boot devices' places. */
enum device_type {
	DEVICE_DISK,		/* config: struct config_disk */
	DEVICE_NET,		/* config: struct config_net */
	DEVICE_CONSOLE,		/* config: none, devices_params.console */
	DEVICE_RNG,		/* config: the source, a string, or NULL */
	DEVICE_PMEM,		/* config: struct config_pmem */
	DEVICE_VSOCK,		/* config: struct config_vsock */
	DEVICE_9P,		/* config: struct config_9p */
	DEVICE_BALLOON,		/* config: struct config_balloon; one at most */
	DEVICE_MEM,		/* config: struct device_mem, borrowed */
	DEVICE_SERIAL,		/* config: struct config_serial */
	DEVICE_TYPES,
};

/* The room of a virtio-mem. */
struct device_mem {
	gpa_t base;
	uint64_t bytes;
	struct mem_host host;
};

/* All outlive the devices. */
struct devices_params {
	const struct vm_config *config;
	struct guest_mem *mem;
	struct loop *io_loop;		/* the first iothread's */
	struct iothread_pool *io;	/* for what wants several */
	struct pci *pci;
	struct irq_chip *irq;
	struct kvm_vm *kvm;
	struct pmem_space *pmem;
	struct chardev *console;	/* NULL: no virtio console */
	struct device_mem hot_memory;	/* 0 bytes: none */
	struct balloon_host balloon;
	struct serial_host serial;
	struct p9_files *p9_files;
	pthread_mutex_t *machine_lock;
	/*
	 * Where the configuration's devices go, or NULL: the next free place.
	 * *id is that of the configuration, or a share's tag, and becomes the
	 * device's; NULL: it has none. A negative result ends
	 * devices_create().
	 */
	int (*place)(const void *opaque, enum device_type type,
		     const char **id, int *bus, int *slot, struct error *e);
	const void *place_opaque;
};

/* What is to be made. */
struct device_spec {
	enum device_type type;
	const char *id;		/* NULL: it has no name */
	const char *object;	/* the monitor's, which it is made from, or NULL */
	const void *config;	/* copied */
	int bus, slot;		/* -1: the next free */
};

/* Not to be changed outside devices.c. */
struct device {
	struct device *next;
	enum device_type type;
	char *id, *object;	/* the spec's; each may be NULL */
	void *config;		/* a copy of the spec's */
	struct virtio_pci *pci;
	bool removing;		/* devices_mark_removing() */
	unsigned int uses;	/* device_use() */
};

/* Makes the configuration's devices. */
int devices_create(struct devices **out, const struct devices_params *p,
		   struct error *e);
void devices_destroy(struct devices *d);

/*
 * Makes a device and plugs it in; on failure nothing has changed. -EEXIST: the
 * id is taken; else what the kind's create and pci_attach() say.
 */
int devices_add(struct devices *d, const struct device_spec *spec,
		struct device **out, struct error *e);
/* Unplugs and destroys it, whatever the driver is doing with it. */
void devices_remove(struct devices *d, struct device *device);
/*
 * The device has become another: a copy of what describes it now, which takes
 * the place of its config, or, not to be kept, is freed. NULL: out of memory.
 */
void *devices_copy_config(const struct device *device, const void *config);
void devices_set_config(struct device *device, void *copy, bool keep);
/* The guest has been asked to let the device go. */
void devices_mark_removing(struct device *device);
/*
 * Between the two guest memory comes or goes: nothing is in flight, and after it
 * everybody sees what there is. The machine lock is held throughout.
 */
void devices_begin_memory(struct devices *d);
void devices_end_memory(struct devices *d);

/* What a network device's packets go to; n is checked. */
int devices_open_net(struct net_backend **out, const struct config_net *n,
		     struct error *e);

/* All devices in the order of their making: start with this, go on by next. */
struct device *devices_first(const struct devices *d);
struct device *devices_find(const struct devices *d, const char *id);
/* The device in a slot, NULL when there is none. */
struct device *devices_at(const struct devices *d, unsigned int bus,
			  unsigned int slot);
const struct pci_function *device_function(const struct device *device);
/* The host's end of the vsock; NULL: none, or the kernel's. */
struct vsock *devices_vsock(const struct devices *d);
/* The first of a kind, NULL: there is none. */
struct virtio_device *devices_first_of(const struct devices *d,
				       enum device_type type);
/* One that asks for it more, or less (1, -1): from 1, and not to 0, where it would
 * be removed. */
void device_use(struct device *device, int change);
/* What a device is known by in a saved VM: its id; of a share, its tag. NULL: it
 * has none. */
const char *device_key(const struct device *device);
const char *device_type_name(enum device_type type);

/* Machine lock held. */

/* Nothing is in flight on return; resume undoes it. What is added in between
 * is quiet, too. */
void devices_quiesce(struct devices *d);
void devices_resume(struct devices *d);
/* System reset. */
void devices_reset(struct devices *d);

#endif
