/* SPDX-License-Identifier: MIT */
/*
 * The driver's side of a split virtqueue for unit tests: builds chains in real
 * guest memory, well-formed or not, and reads the used ring. Test's thread.
 */
#ifndef MOTE_FAKE_DRIVER_H
#define MOTE_FAKE_DRIVER_H

#include <semaphore.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "guest_mem.h"
#include "virtio/device.h"
#include "virtio/virtqueue.h"

/* RAM at FAKE_RAM_BASE, and a second region that touches it. */
#define FAKE_RAM_BASE	UINT64_C(0x100000)
#define FAKE_RAM_BYTES	UINT64_C(0x200000)
#define FAKE_RAM2_BASE	(FAKE_RAM_BASE + FAKE_RAM_BYTES)
#define FAKE_RAM2_BYTES	UINT64_C(0x10000)
#define FAKE_RAM_END	(FAKE_RAM2_BASE + FAKE_RAM2_BYTES)

struct fake_ram {
	struct guest_mem *mem;
	uint8_t *first, *second;
};

void fake_ram_init(struct fake_ram *r);
void fake_ram_deinit(struct fake_ram *r);
/* The host's view of an address; aborts the test when it is outside. */
void *fake_ptr(struct fake_ram *r, gpa_t gpa);

struct fake_queue {
	struct fake_ram *ram;
	struct virtqueue_config config;
	uint16_t avail_idx;	/* heads offered */
	uint16_t used_idx;	/* used elements taken */
	uint16_t next_desc;	/* next descriptor of fake_add() */
};

/* Lays the three areas out from gpa on and clears them. */
void fake_queue_init(struct fake_queue *q, struct fake_ram *r, gpa_t gpa,
		     uint16_t size);

/* Descriptor index of the queue's own table. */
void fake_desc(struct fake_queue *q, uint16_t index, gpa_t addr, uint32_t len,
	       uint16_t flags, uint16_t next);
/* Entry index of an indirect table at gpa. */
void fake_indirect(struct fake_ram *r, gpa_t table, uint16_t index, gpa_t addr,
		   uint32_t len, uint16_t flags, uint16_t next);
/* Puts the head into the available ring and moves the index. */
void fake_offer(struct fake_queue *q, uint16_t head);
void fake_set_avail_idx(struct fake_queue *q, uint16_t idx);
void fake_set_avail_flags(struct fake_queue *q, uint16_t flags);
void fake_set_used_event(struct fake_queue *q, uint16_t event);
uint16_t fake_used_flags(struct fake_queue *q);
uint16_t fake_avail_event(struct fake_queue *q);
uint16_t fake_used_idx(struct fake_queue *q);

struct fake_buffer {
	gpa_t addr;
	uint32_t len;
	bool writable;
};

/* A chain of count buffers in the next descriptors, offered; its head. */
uint16_t fake_add(struct fake_queue *q, const struct fake_buffer *b,
		  unsigned int count);
/* Takes the next used element; false when there is none. */
bool fake_used(struct fake_queue *q, uint32_t *id, uint32_t *len);

/*
 * Brings d up as a driver does, with the features that are offered and wanted
 * (VERSION_1 is added), and queues[0 … count). Returns the status.
 */
uint8_t fake_start(struct virtio_device *d, uint64_t wanted,
		   struct fake_queue *queues, unsigned int count);

/* Counts the interrupts of a device; they come from its loop's thread. */
struct fake_irq {
	sem_t queue[8];
	sem_t config;
};

void fake_irq_init(struct fake_irq *irq, struct virtio_device *d);
/* Waits for one, at most five seconds; false when none came. */
bool fake_irq_wait(sem_t *s);
/* True when one is there already; takes it. */
bool fake_irq_take(sem_t *s);

/* Offers are seen: what the doorbell does. */
void fake_kick(struct virtio_device *d, unsigned int index);
/* Waits for the next used element, as fake_used(). */
bool fake_used_wait(struct fake_queue *q, struct fake_irq *irq,
		    unsigned int index, uint32_t *id, uint32_t *len);

#endif
