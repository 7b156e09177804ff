/* SPDX-License-Identifier: MIT */
/*
 * PCI: one segment, PCI_ROOTS root buses pcie.0 … (bus numbers 0 …), each with
 * 32 single-function devices; configuration space by ECAM (PCIe 3.0, 7.2.2) and
 * by 0xcf8/0xcfc, BARs, the MSI-X capability, INTx.
 *
 * Everything here runs under the machine lock (bus.h) or before the vCPUs run,
 * except pci_intx_raise() and msix_vector_notify(): any thread. Resample events
 * of INTx lines are handled on the loop given to pci_create().
 */
#ifndef MOTE_PCI_H
#define MOTE_PCI_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "bus.h"
#include "error.h"
#include "irq.h"
#include "loop.h"

#define PCI_ROOTS	16
#define PCI_SLOTS	32
/* Stored per function. The rest of the 4 KiB that ECAM shows reads as zero: no
 * function here has an extended capability. */
#define PCI_CONFIG_BYTES 256
#define PCI_BARS	6

struct pci;			/* all root buses */
struct pci_function;

/* Where a host bridge's windows are; layout_<arch>.h has the numbers. */
struct pci_windows {
	uint64_t ecam_base;	/* 1 MiB per bus */
	uint64_t mmio32_base, mmio32_len;
	uint64_t mmio64_base, mmio64_len;
	uint32_t intx_gsi[4];	/* INTA..INTD of slot 0; slots rotate */
};

/* Any member may be NULL. */
struct pci_function_ops {
	/* After the guest wrote config space; the bytes are already merged
	 * under the write mask and BARs and MSI-X have followed. */
	void (*config_written)(struct pci_function *f, uint32_t offset,
			       uint32_t len);
	/* Reads of config space with side effects: called before the read when
	 * it touches [hook_offset, hook_offset + hook_len). */
	void (*config_reading)(struct pci_function *f, uint32_t offset,
			       uint32_t len);
	/* A BAR was mapped at (new) address or unmapped; ioeventfds follow. */
	void (*bar_mapped)(struct pci_function *f, unsigned int bar,
			   uint64_t address);
	void (*bar_unmapped)(struct pci_function *f, unsigned int bar);
	/* Level of the function's INTx cause, asked after an end of interrupt
	 * (pci loop's thread, no lock: reads an atomic). */
	bool (*intx_level)(struct pci_function *f);
};

struct pci_bar {
	struct bus_range range;	/* len_bytes 0: absent; a power of two.
				 * attached: the guest sees it at base */
	uint64_t home;		/* given at attach; 0: none */
	bool is_64bit;
	bool prefetchable;
};

struct pci_msix {
	struct msix_vector *vectors;
	unsigned int count;	/* vectors made; 0: no MSI-X */
	unsigned int room;	/* entries of the arrays */
	uint8_t *table;		/* 16 bytes each, as the guest wrote them, but
				 * masked when no GSI is left */
	uint8_t cap;		/* offset of the capability */
	_Atomic bool enabled;	/* MSI-X enable set */
	bool function_masked;
};

/* Embedded in the device's PCI side. */
struct pci_function {
	struct pci *pci;
	uint8_t bus, slot;
	bool hidden;				/* pci_hide() */
	bool stays;				/* the guest cannot let it go */
	uint8_t config[PCI_CONFIG_BYTES];
	uint8_t writable[PCI_CONFIG_BYTES];	/* bits the guest may write */
	uint8_t initial[PCI_CONFIG_BYTES];	/* what a reset restores */
	uint16_t hook_offset, hook_len;		/* see config_reading */
	struct pci_bar bars[PCI_BARS];
	struct pci_msix msix;
	const struct pci_function_ops *ops;
	uint8_t cap_end, last_cap;
	struct irq_line intx;			/* set up on first use */
	struct loop_watch intx_resample;
	_Atomic bool intx_ready;
	_Atomic bool intx_disabled;		/* PCI_COMMAND_INTX_DISABLE */
};

/* loop: where resample events are handled. */
int pci_create(struct pci **out, struct bus *mmio, struct bus *pio,
	       struct irq_chip *irq, struct loop *loop,
	       const struct pci_windows *w, struct error *e);
/* Every function is detached by then. NULL is fine. */
void pci_destroy(struct pci *p);

/* System reset: the address register of 0xcf8 as at power-on. Functions are
 * reset by who has them: pci_function_reset(). */
void pci_reset(struct pci *p);

/*
 * Port 0xcf9, the reset control register, lies inside the range of 0xcf8: byte
 * accesses to it are passed on. Until this is called they go nowhere.
 */
void pci_set_reset_port(struct pci *p, uint8_t (*read)(void *opaque),
			void (*write)(void *opaque, uint8_t value),
			void *opaque);

/* The parts of the windows that root bus owns: what its _CRS declares. len 0:
 * there is no such window. */
void pci_root_window32(const struct pci *p, unsigned int bus, uint64_t *base,
		       uint64_t *len_bytes);
void pci_root_window64(const struct pci *p, unsigned int bus, uint64_t *base,
		       uint64_t *len_bytes);
/* Bit n: root bus n has a function. Bit 0 is always set. */
uint32_t pci_roots_in_use(const struct pci *p);
/* Where INTA of a slot arrives: what _PRT declares. */
uint32_t pci_intx_gsi(const struct pci *p, unsigned int bus,
		      unsigned int slot);

/*
 * A guest whose processors have no interrupt vector left cannot use INTx
 * either: a line needs one when its first driver asks for it. So functions get
 * MSI-X only while all their vectors fit, the others INTx from the start.
 *
 * pci_set_vector_room(): what the processors have for MSI-X, no limit by
 * default. pci_claim_vectors(): before pci_add_msix(); false: go without.
 * A successful claim is given back with the same count.
 */
void pci_set_vector_room(struct pci *p, unsigned int per_cpu,
			 unsigned int cpus);
bool pci_claim_vectors(struct pci *p, unsigned int count);
void pci_release_vectors(struct pci *p, unsigned int count);

struct pci_ids {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint8_t revision;
	uint32_t class_code;	/* 24 bits */
};

/* Fills the header; the function is not visible yet. */
void pci_function_init(struct pci_function *f,
		       const struct pci_function_ops *ops,
		       const struct pci_ids *ids);
/* Adds a capability of len bytes (header included), returns its offset, 0 when
 * the first 256 bytes are full. */
uint8_t pci_add_capability(struct pci_function *f, uint8_t id, uint8_t len);
/* Memory BAR (pair when 64-bit); len a power of two ≥ 16. */
void pci_add_bar(struct pci_function *f, unsigned int bar, uint64_t len_bytes,
		 bool is_64bit, bool prefetchable, const struct bus_ops *ops,
		 void *opaque);
/* MSI-X with table and PBA inside BAR bar at the given offsets; the device's
 * bus_ops call pci_msix_read/_write for those ranges. */
int pci_add_msix(struct pci_function *f, struct irq_chip *irq,
		 unsigned int count, unsigned int bar, uint32_t table_offset,
		 uint32_t pba_offset, struct error *e);
void pci_msix_table_read(struct pci_function *f, uint64_t offset, uint8_t *data,
			 unsigned int len);
void pci_msix_table_write(struct pci_function *f, uint64_t offset,
			  const uint8_t *data, unsigned int len);
void pci_msix_pba_read(struct pci_function *f, uint64_t offset, uint8_t *data,
		       unsigned int len);

/*
 * Sets the INTx line up on its first call, for a guest that uses the function
 * without MSI-X, and raises it when ops->intx_level() asks for that. Before it
 * pci_intx_raise() does nothing. -EMFILE and what KVM_IRQFD gives.
 */
int pci_intx_prepare(struct pci_function *f);
/* Asserts INTx (no-op when the guest disabled it or uses MSI-X). Any thread.
 * The cause that ops->intx_level() reads is set before the call. */
void pci_intx_raise(struct pci_function *f);

/*
 * Plugs the function in: bus and slot as asked, or -1 for the lowest one (from
 * slot 1 of bus 0 up) whose bus also has room for the BARs. BARs get addresses from the windows at once, as
 * firmware would do, but decode nothing until the guest sets
 * PCI_COMMAND_MEMORY; it may move them. -EBUSY: taken; -ENOSPC; -EINVAL.
 */
int pci_attach(struct pci *p, struct pci_function *f, int bus, int slot,
	       struct error *e);
/* On the loop's thread, or while nobody is in loop_run(). The device behind it
 * must not raise interrupts any more. No-op when not attached. */
void pci_detach(struct pci_function *f);
/* The guest has let the function go: its configuration space answers no more,
 * whatever becomes of it afterwards. */
void pci_hide(struct pci_function *f);
/* Reset: config space back to what it was at attach, MSI-X masked. */
void pci_function_reset(struct pci_function *f);
/* Frees what add_msix allocated; detached by then, and after init. */
void pci_function_deinit(struct pci_function *f);

/*
 * Saving, with the vCPUs stopped. While its interrupts are held back, none is on
 * its way: what the device raises stays in the vectors, as their pending bits,
 * which is what a save writes down.
 */
struct state_writer;
struct state_reader;
void pci_function_hold_interrupts(struct pci_function *f);
void pci_function_release_interrupts(struct pci_function *f);
void pci_function_save(const struct pci_function *f, struct state_writer *w);
/*
 * Into a new function of the same kind; interrupts that were pending arrive, so
 * that interrupt controllers must have been loaded. On failure, -EPROTO or what
 * the reader says, it is to be destroyed.
 */
int pci_function_load(struct pci_function *f, struct state_reader *r);
/* The root's own registers. */
void pci_save(const struct pci *p, struct state_writer *w);
int pci_load(struct pci *p, struct state_reader *r);

/* NULL when the slot is empty. */
struct pci_function *pci_function_at(struct pci *p, unsigned int bus,
				     unsigned int slot);

#endif
