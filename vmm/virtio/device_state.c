/* SPDX-License-Identifier: MIT */
/*
 * Saving and loading a virtio device: what its registers hold, where its queues
 * are, then what the device adds. Main thread, machine lock held, quiesced.
 */
#include "virtio/device.h"

#include <errno.h>
#include <linux/virtio_config.h>

#include "state.h"

#define STATUS_BITS	(VIRTIO_CONFIG_S_ACKNOWLEDGE |			\
			 VIRTIO_CONFIG_S_DRIVER |			\
			 VIRTIO_CONFIG_S_FEATURES_OK |			\
			 VIRTIO_CONFIG_S_DRIVER_OK |			\
			 VIRTIO_CONFIG_S_NEEDS_RESET |			\
			 VIRTIO_CONFIG_S_FAILED)

void virtio_device_note_written(struct virtio_device *d)
{
	for (unsigned int i = 0; i < d->queue_count; i++)
		virtqueue_note_written(d->queues[i].vq);
}

void virtio_device_save(struct virtio_device *d, struct state_writer *w)
{
	state_put_u8(w, atomic_load(&d->status));
	state_put_u8(w, atomic_load(&d->config_generation));
	state_put_u64(w, d->features);
	state_put_u32(w, d->queue_count);
	for (unsigned int i = 0; i < d->queue_count; i++) {
		const struct virtio_queue *q = &d->queues[i];
		struct virtqueue_state s;

		virtqueue_save(q->vq, &s);
		state_put_bool(w, q->enabled);
		state_put_u16(w, q->config.size);
		state_put_u64(w, q->config.desc);
		state_put_u64(w, q->config.avail);
		state_put_u64(w, q->config.used);
		state_put_u16(w, s.next_avail);
		state_put_u16(w, s.next_used);
	}
	if (d->info->ops->save)
		d->info->ops->save(d, w);
}

/* 3.1.1: what a status has is what the steps before it have left. */
static bool status_possible(uint8_t status)
{
	const uint8_t negotiated = VIRTIO_CONFIG_S_ACKNOWLEDGE |
				   VIRTIO_CONFIG_S_DRIVER |
				   VIRTIO_CONFIG_S_FEATURES_OK;

	if (status & (uint8_t)~STATUS_BITS)
		return false;
	return !(status & VIRTIO_CONFIG_S_DRIVER_OK) ||
	       (status & negotiated) == negotiated;
}

static void read_queue(struct virtio_queue *q, struct virtqueue_state *s,
		       struct state_reader *r)
{
	q->enabled = state_get_bool(r);
	q->config.size = state_get_u16(r);
	q->config.desc = state_get_u64(r);
	q->config.avail = state_get_u64(r);
	q->config.used = state_get_u64(r);
	s->next_avail = state_get_u16(r);
	s->next_used = state_get_u16(r);
}

static int read_common(struct virtio_device *d, struct virtqueue_state *states,
		       struct state_reader *r, struct error *e)
{
	const char *name = d->info->name;
	uint8_t status = state_get_u8(r);
	uint8_t generation = state_get_u8(r);
	uint32_t count;

	d->features = state_get_u64(r);
	count = state_get_u32(r);
	if (!state_reader_error(r) && count != d->queue_count)
		return error_set(e, -EINVAL, "%s: state has %u queues, not %u",
				 name, count, d->queue_count);
	for (unsigned int i = 0; i < d->queue_count; i++)
		read_queue(&d->queues[i], &states[i], r);
	if (state_reader_error(r))
		return error_errno(e, state_reader_error(r),
				   "%s: bad state", name);
	if (!status_possible(status))
		return error_set(e, -EINVAL, "%s: state has status 0x%02x",
				 name, status);
	if (status & VIRTIO_CONFIG_S_FEATURES_OK &&
	    !virtio_features_acceptable(d))
		return error_set(e, -EINVAL, "%s: state has features 0x%llx, "
				 "offered are 0x%llx", name,
				 (unsigned long long)d->features,
				 (unsigned long long)d->offered);
	atomic_store(&d->status, status);
	atomic_store(&d->config_generation, generation);
	return 0;
}

int virtio_device_load(struct virtio_device *d, struct state_reader *r,
		       struct error *e)
{
	struct virtqueue_state states[VIRTIO_MAX_QUEUES] = { 0 };
	uint8_t status;
	int ret;

	virtio_device_quiesce(d);
	ret = read_common(d, states, r, e);
	if (ret)
		goto err;
	status = atomic_load(&d->status);
	if (status & VIRTIO_CONFIG_S_DRIVER_OK &&
	    !(status & VIRTIO_CONFIG_S_NEEDS_RESET)) {
		ret = virtio_device_activate(d, states);
		if (ret) {
			error_errno(e, ret, "%s: cannot restart its queues",
				    d->info->name);
			goto err;
		}
	}
	ret = d->info->ops->load ? d->info->ops->load(d, r, e) : 0;
	if (ret)
		goto err;
	return 0;

err:
	virtio_device_reset(d);
	return ret;
}
