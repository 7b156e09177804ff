/* SPDX-License-Identifier: MIT */
/*
 * The board: what a machine has besides vCPUs, RAM and virtio devices, and how
 * a kernel is started on it; one file per architecture, board_<arch>.c. Main
 * thread, vCPUs stopped, unless said otherwise.
 */
#ifndef MOTE_BOARD_H
#define MOTE_BOARD_H

#include <pthread.h>

#include "boot/boot.h"
#include "boot/cmdline.h"
#include "bus.h"
#include "char/chardev.h"
#include "config/config.h"
#include "error.h"
#include "guest_mem.h"
#include "irq.h"
#include "kvm/vcpu_model.h"
#include "loop.h"
#include "pci/pci.h"
#include "platform/hotplug.h"
#include "platform/pci_hotplug.h"
#include "platform/platform.h"
#include "ram.h"

struct board;

/* All outlive the board. */
struct board_params {
	const struct vm_config *config;
	struct vcpu_model *model;
	struct guest_mem *mem;
	struct irq_chip *irq;
	struct bus *pio, *mmio;
	struct loop *loop;		/* main */
	pthread_mutex_t *machine_lock;
	struct chardev *serial;		/* NULL: no serial port */
	struct platform_owner owner;
	bool hotplug;			/* a monitor may plug devices */
	struct pci_hotplug_owner eject;
	struct hotplug_owner cpu_owner;
	struct hotplug_owner dimm_owner;
};

/* Where RAM of this size goes; ranges has RAM_MAX_RANGES. */
unsigned int board_ram_ranges(uint64_t size_bytes, struct ram_range *ranges);

int board_create(struct board **out, const struct board_params *p,
		 struct error *e);
void board_destroy(struct board *b);

struct pci *board_pci(struct board *b);
struct pci_hotplug *board_pci_hotplug(struct board *b);
/* NULL: none can come. */
struct hotplug *board_cpu_hotplug(struct board *b);

/* NULL: there are no slots for DIMMs. */
struct hotplug *board_mem_hotplug(struct board *b);

/* Where the room for memory to come is (hot_memory.h), if there is any. */
gpa_t board_hot_memory_base(const struct board *b);
/* The same for DIMMs (dimms.h); may be less than they could use. */
void board_dimms_area(const struct board *b, gpa_t *base, uint64_t *len_bytes);

/* Guest-physical addresses for persistent memory; may be none. */
void board_pmem_area(const struct board *b, gpa_t *base, uint64_t *len_bytes);

/* What the board adds to the kernel command line. */
int board_cmdline(const struct vm_config *c, struct cmdline *line);
/* Firmware tables and the kernel into RAM; again after every reset. */
int board_load(struct board *b, struct boot_image *image,
	       const struct cmdline *line, bool map_private,
	       struct boot_entry *entry, struct error *e);

/* The firmware tables once more, before the first instruction: devices have
 * come or gone. */
int board_update_tables(struct board *b, struct error *e);

/*
 * Saving, machine lock held, vCPUs stopped: all of the board's devices. Loading
 * comes after the interrupt controllers, into a new board that is alike.
 */
struct state_writer;
struct state_reader;
void board_save(const struct board *b, struct state_writer *w);
int board_load_state(struct board *b, struct state_reader *r, struct error *e);

/* Machine lock held: devices as at power-on. */
void board_reset(struct board *b);
/* Any thread. */
void board_power_button(struct board *b);
/* After a reset request: did the guest say that it follows a panic? */
bool board_reset_after_panic(struct board *b);

#endif
