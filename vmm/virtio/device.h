/* SPDX-License-Identifier: MIT */
/*
 * The virtio device core (VIRTIO 1.2, 2 and 3): status machine, feature
 * negotiation, queues, activation. Devices implement struct virtio_device_ops
 * and know no transport; a transport calls virtio_reg_*() and gives the core a
 * struct virtio_interrupts.
 *
 * Threads: registers (all of virtio_reg_*) run under the machine lock on vCPU
 * threads. From activate() to quiesce() or reset() a queue belongs to its loop:
 * handle_queue() and every virtqueue_*() call run there. That is the device's
 * loop, unless virtio_queue_set_loop() said another. The core moves the
 * ownership with a synchronous loop_call(), so ops other than config_read,
 * config_write, save, load and destroy run on the device's loop's thread, and
 * those named *_queue on the queue's. These loops are never the main one: who
 * waits for them holds the machine lock.
 */
#ifndef MOTE_VIRTIO_DEVICE_H
#define MOTE_VIRTIO_DEVICE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "error.h"
#include "guest_mem.h"
#include "loop.h"
#include "virtio/virtqueue.h"

struct virtio_device;
struct state_writer;
struct state_reader;

#define VIRTIO_MAX_QUEUES 64

struct virtio_device_ops {
	/*
	 * Device configuration space (2.5), little-endian. The range is inside
	 * config_bytes. Machine lock held. write may be NULL (all read-only).
	 */
	void (*config_read)(struct virtio_device *d, uint32_t offset,
			    uint8_t *data, uint32_t len);
	void (*config_write)(struct virtio_device *d, uint32_t offset,
			     const uint8_t *data, uint32_t len);
	/* DRIVER_OK: d->features is final, enabled queues may be used. An error
	 * sets DEVICE_NEEDS_RESET. */
	int (*activate)(struct virtio_device *d);
	/* A kick, or work to look for after activate/resume. */
	void (*handle_queue)(struct virtio_device *d, unsigned int index);
	/* Stop taking chains and finish (push) all that are in flight. */
	void (*quiesce)(struct virtio_device *d);
	/* Undo quiesce; the core then calls handle_queue for every queue. */
	void (*resume)(struct virtio_device *d);
	/* Back to the state before activate, which may have failed half-way;
	 * in-flight work is finished or cancelled, its chains forgotten. */
	void (*reset)(struct virtio_device *d);
	/*
	 * The same for what a device keeps for each queue, on the queue's loop;
	 * all may be NULL, and a device that has these may have NULL above.
	 * activate_queue follows activate, for every enabled queue; the others
	 * come before quiesce and reset, for every queue.
	 */
	int (*activate_queue)(struct virtio_device *d, unsigned int index);
	void (*quiesce_queue)(struct virtio_device *d, unsigned int index);
	void (*reset_queue)(struct virtio_device *d, unsigned int index);
	/* Device-specific state while quiesced; NULL when there is none. load
	 * follows activate() when the driver was running. */
	void (*save)(struct virtio_device *d, struct state_writer *w);
	int (*load)(struct virtio_device *d, struct state_reader *r,
		    struct error *e);
	/* Where queue interrupts go has changed (queue_eventfd below), while
	 * active. NULL: no matter. */
	void (*interrupts_changed)(struct virtio_device *d);
	/* Guest memory came or went, while active. NULL: d->mem is always asked
	 * anew. */
	void (*memory_changed)(struct virtio_device *d);
	/* Frees the device and what it owns; it is reset by then. */
	void (*destroy)(struct virtio_device *d);
};

/* What a device kind is, as data. */
struct virtio_device_info {
	const char *name;		/* "virtio-blk" */
	uint16_t type_id;		/* VIRTIO 1.2, 5 */
	uint32_t pci_class;		/* 24 bits: class, sub, interface */
	unsigned int vectors;		/* MSI-X; 0: one a queue and one more */
	const struct virtio_device_ops *ops;
};

/* How a transport signals the driver; any thread, lock-free. */
struct virtio_interrupts {
	void (*queue)(void *opaque, unsigned int index);
	void (*config)(void *opaque);
	/* For who signals without us (vhost): the eventfd that does what
	 * queue() would, or -1. Loop's thread. NULL: there are none. */
	int (*queue_eventfd)(void *opaque, unsigned int index);
	void *opaque;
};

struct virtio_queue {
	struct virtqueue *vq;
	struct virtio_device *device;
	struct loop *loop;		/* owns it while active */
	struct loop_watch watch;	/* on kick_fd, while active */
	int kick_fd;			/* eventfd: ioeventfd, vCPU write */
	uint16_t max_size;
	struct virtqueue_config config;	/* written by the driver's registers */
	bool enabled;			/* queue_enable was written */
	bool external;			/* kicks are for somebody else (vhost) */
};

/* Embedded as the first member of a device. */
struct virtio_device {
	const struct virtio_device_info *info;
	struct guest_mem *mem;
	struct loop *loop;		/* the iothread it works on */
	uint64_t offered;		/* device features */
	uint64_t features;		/* negotiated */
	uint32_t config_bytes;
	unsigned int queue_count;
	struct virtio_queue *queues;
	struct virtio_interrupts irq;
	_Atomic uint8_t status;		/* 2.1 */
	_Atomic uint8_t config_generation;
	bool active;
	bool quiesced;
	atomic_bool broken;		/* rings are closed, or about to be */
};

/*
 * Fills the embedded part; queue_sizes[i] is the maximum size of queue i. The
 * core adds VERSION_1, EVENT_IDX and INDIRECT_DESC to features. -ENOMEM,
 * -EMFILE.
 */
int virtio_device_init(struct virtio_device *d,
		       const struct virtio_device_info *info,
		       struct guest_mem *mem, struct loop *loop,
		       uint64_t features, uint32_t config_bytes,
		       const uint16_t *queue_sizes, unsigned int queue_count,
		       struct error *e);
void virtio_device_deinit(struct virtio_device *d);
/* After init, before a driver: another loop than the device's for one queue. */
void virtio_queue_set_loop(struct virtio_device *d, unsigned int index,
			   struct loop *loop);
/* Resets, then ops->destroy. NULL is fine. */
void virtio_device_destroy(struct virtio_device *d);

/* For devices, on the thread of the queue's loop. */

/* publish, and interrupt if the driver wants one: the end of a batch. */
void virtio_queue_flush(struct virtio_device *d, unsigned int index);
/* Kicks the queue again: handle_queue() left work for the sake of others. */
void virtio_queue_again(struct virtio_device *d, unsigned int index);
/*
 * A turn of handle_queue(): chain by chain until there is none left, or they have
 * cost the budget, for the sake of others. take() handles one: what it cost (from
 * 1), 0: there was none, -EPROTO: the device is broken, -errno: later. What it
 * gave last.
 */
int virtio_queue_drain(struct virtio_device *d, unsigned int index,
		       unsigned int budget,
		       int (*take)(struct virtio_device *d,
				   unsigned int index));
/*
 * A malformed ring: DEVICE_NEEDS_RESET, config interrupt. All queues stop: from
 * here on pop finds nothing and push reaches nobody. The first is for devices
 * whose queues all are on the device's loop. The other names the queue that was
 * found malformed; queues on other loops than its own stop a little later.
 */
void virtio_device_broken(struct virtio_device *d);
void virtio_queue_broken(struct virtio_device *d, unsigned int index);
/*
 * The configuration space changes (2.5.3): begin before the first field,
 * changed after the last, so that a driver that reads in between sees another
 * generation afterwards. changed() also interrupts. Any thread.
 */
void virtio_device_config_begin(struct virtio_device *d);
void virtio_device_config_changed(struct virtio_device *d);
static inline struct virtqueue *virtio_vq(struct virtio_device *d,
					  unsigned int index)
{
	return d->queues[index].vq;
}
static inline bool virtio_has(const struct virtio_device *d, unsigned int bit)
{
	return (d->features >> bit) & 1;
}

/* For transports, machine lock held. */

uint32_t virtio_reg_device_features(struct virtio_device *d, uint32_t select);
void virtio_reg_driver_features(struct virtio_device *d, uint32_t select,
				uint32_t value);
uint32_t virtio_reg_driver_features_read(struct virtio_device *d,
					 uint32_t select);
uint8_t virtio_reg_status(struct virtio_device *d);
/* Illegal transitions are ignored or, where 2.1.2 asks for it, refused. 0 is
 * a reset: on return the device is reset. */
void virtio_reg_status_write(struct virtio_device *d, uint8_t value);
/* Writes to an enabled or absent queue are ignored. */
void virtio_reg_queue_size(struct virtio_device *d, unsigned int index,
			   uint16_t size);
void virtio_reg_queue_enable(struct virtio_device *d, unsigned int index);
void virtio_reg_queue_address(struct virtio_device *d, unsigned int index,
			      unsigned int area /* 0 desc 1 avail 2 used */,
			      bool high, uint32_t value);
/* A doorbell write that reached user space: the same as an ioeventfd. */
void virtio_reg_queue_notify(struct virtio_device *d, unsigned int index);
/* Bounds-checked; outside reads give 0xff.. and writes are dropped. */
void virtio_reg_config_read(struct virtio_device *d, uint64_t offset,
			    uint8_t *data, uint32_t len);
void virtio_reg_config_write(struct virtio_device *d, uint64_t offset,
			     const uint8_t *data, uint32_t len);

/* For the VM, machine lock held: pause, save, restore. */

/* Runs fn on its loop for every enabled queue of an active device. */
void virtio_queues_call(struct virtio_device *d,
			void (*fn)(struct virtio_device *d,
				   unsigned int index));

/* Idempotent; an inactive device is only marked. */
void virtio_device_quiesce(struct virtio_device *d);
void virtio_device_resume(struct virtio_device *d);
void virtio_device_reset(struct virtio_device *d);
/* Guest memory came or, while quiesced, went. A device with a ring in what is
 * gone is broken. */
void virtio_device_memory_changed(struct virtio_device *d);

/* For transports: what queue_eventfd() says has changed. Machine lock held. */
void virtio_device_interrupts_changed(struct virtio_device *d);

/* For the core itself: may the driver have these features? */
bool virtio_features_acceptable(const struct virtio_device *d);

/*
 * For the core itself: DRIVER_OK was reached, by the driver or by a load, which
 * gives the state of each queue. On failure the device is broken.
 */
int virtio_device_activate(struct virtio_device *d,
			   const struct virtqueue_state *states);

/* Quiesced: what the device writes to without saying so each time goes to
 * guest_mem's log. */
void virtio_device_note_written(struct virtio_device *d);
/* Registers, queues and the device's own state; quiesced. */
void virtio_device_save(struct virtio_device *d, struct state_writer *w);
/*
 * Into a new device; it comes up quiesced and virtio_device_resume() sets it
 * going. Guest memory is there already (its content may follow). On failure,
 * -errno, the device is reset.
 */
int virtio_device_load(struct virtio_device *d, struct state_reader *r,
		       struct error *e);

#endif
