/* SPDX-License-Identifier: MIT */
/*
 * The registers every virtio transport shows (VIRTIO 1.2, 2.1, 2.2 and 3.1).
 * vCPU threads, machine lock held; nothing here waits except a reset and the
 * step to DRIVER_OK, which wait for the device's loop.
 */
#include "virtio/device.h"

#include <linux/virtio_config.h>
#include <string.h>

#define S_ACK		VIRTIO_CONFIG_S_ACKNOWLEDGE
#define S_DRIVER	VIRTIO_CONFIG_S_DRIVER
#define S_FEATURES_OK	VIRTIO_CONFIG_S_FEATURES_OK
#define S_DRIVER_OK	VIRTIO_CONFIG_S_DRIVER_OK
#define S_NEEDS_RESET	VIRTIO_CONFIG_S_NEEDS_RESET
#define S_FAILED	VIRTIO_CONFIG_S_FAILED

#define SEEN		(S_ACK | S_DRIVER)
#define NEGOTIATED	(SEEN | S_FEATURES_OK)
#define LIVE		(NEGOTIATED | S_DRIVER_OK)

/*
 * 3.1.1, one row a step; a driver may take the first two in one write. FAILED
 * (2.1) may be added in every state; nothing but a reset leads out of it. There
 * is no way around FEATURES_OK: the device has no legacy interface.
 */
static const struct {
	uint8_t from, to;
} transitions[] = {
	{ 0, S_ACK },
	{ 0, SEEN },
	{ S_ACK, SEEN },
	{ SEEN, NEGOTIATED },
	{ NEGOTIATED, LIVE },
	{ 0, S_FAILED },
	{ S_ACK, S_ACK | S_FAILED },
	{ SEEN, SEEN | S_FAILED },
	{ NEGOTIATED, NEGOTIATED | S_FAILED },
	{ LIVE, LIVE | S_FAILED },
};

static bool transition_legal(uint8_t from, uint8_t to)
{
	for (size_t i = 0; i < sizeof(transitions) / sizeof(*transitions); i++)
		if (transitions[i].from == from && transitions[i].to == to)
			return true;
	return false;
}

bool virtio_features_acceptable(const struct virtio_device *d)
{
	/* 2.2.2: only what was offered; 6.2: VERSION_1 is not optional. */
	return !(d->features & ~d->offered) &&
	       virtio_has(d, VIRTIO_F_VERSION_1);
}

uint8_t virtio_reg_status(struct virtio_device *d)
{
	return atomic_load(&d->status);
}

void virtio_reg_status_write(struct virtio_device *d, uint8_t value)
{
	/* NEEDS_RESET is the device's: a driver writes back what it read. */
	uint8_t from = atomic_load(&d->status) & (uint8_t)~S_NEEDS_RESET;
	uint8_t to = value & (uint8_t)~S_NEEDS_RESET;

	if (!value) {
		virtio_device_reset(d);
		return;
	}
	if (!transition_legal(from, to))
		return;
	if (to == NEGOTIATED && !virtio_features_acceptable(d))
		return;
	/* Transitions only add bits, so a NEEDS_RESET of the loop is kept. */
	atomic_fetch_or(&d->status, to);
	if (to == LIVE)
		virtio_device_activate(d, NULL);
}

uint32_t virtio_reg_device_features(struct virtio_device *d, uint32_t select)
{
	return select < 2 ? (uint32_t)(d->offered >> (32 * select)) : 0;
}

uint32_t virtio_reg_driver_features_read(struct virtio_device *d,
					 uint32_t select)
{
	return select < 2 ? (uint32_t)(d->features >> (32 * select)) : 0;
}

void virtio_reg_driver_features(struct virtio_device *d, uint32_t select,
				uint32_t value)
{
	uint64_t half = UINT64_C(0xffffffff);

	/* 3.1.1: none after FEATURES_OK. */
	if (select > 1 || virtio_reg_status(d) & S_FEATURES_OK)
		return;
	d->features &= ~(half << (32 * select));
	d->features |= (uint64_t)value << (32 * select);
}

/* The queue, while the driver may still change it; else NULL. */
static struct virtio_queue *queue_in_setup(struct virtio_device *d,
					   unsigned int index)
{
	if (index >= d->queue_count || d->queues[index].enabled)
		return NULL;
	/* 3.1.1: all queues are set up before DRIVER_OK. */
	return virtio_reg_status(d) & S_DRIVER_OK ? NULL : &d->queues[index];
}

void virtio_reg_queue_size(struct virtio_device *d, unsigned int index,
			   uint16_t size)
{
	struct virtio_queue *q = queue_in_setup(d, index);

	if (q && size && size <= q->max_size && !(size & (size - 1)))
		q->config.size = size;
}

void virtio_reg_queue_enable(struct virtio_device *d, unsigned int index)
{
	struct virtio_queue *q = queue_in_setup(d, index);

	/* Its features decide what a ring looks like: 3.1.1 puts them first. */
	if (q && virtio_reg_status(d) & S_FEATURES_OK)
		q->enabled = true;
}

void virtio_reg_queue_address(struct virtio_device *d, unsigned int index,
			      unsigned int area, bool high, uint32_t value)
{
	struct virtio_queue *q = queue_in_setup(d, index);
	unsigned int shift = high ? 32 : 0;
	gpa_t *address;

	if (!q || area > 2)
		return;
	address = area == 0 ? &q->config.desc :
		  area == 1 ? &q->config.avail : &q->config.used;
	*address &= ~(UINT64_C(0xffffffff) << shift);
	*address |= (uint64_t)value << shift;
}

void virtio_reg_queue_notify(struct virtio_device *d, unsigned int index)
{
	if (index < d->queue_count)
		virtio_queue_again(d, index);
}

static bool in_config(const struct virtio_device *d, uint64_t offset,
		      uint32_t len)
{
	return offset <= d->config_bytes && len <= d->config_bytes - offset;
}

void virtio_reg_config_read(struct virtio_device *d, uint64_t offset,
			    uint8_t *data, uint32_t len)
{
	if (in_config(d, offset, len))
		d->info->ops->config_read(d, (uint32_t)offset, data, len);
	else
		memset(data, 0xff, len);
}

void virtio_reg_config_write(struct virtio_device *d, uint64_t offset,
			     const uint8_t *data, uint32_t len)
{
	if (in_config(d, offset, len) && d->info->ops->config_write)
		d->info->ops->config_write(d, (uint32_t)offset, data, len);
}
