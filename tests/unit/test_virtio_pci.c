/* SPDX-License-Identifier: MIT */
/* LINK: error bus irq loop iothread guest_mem pci/root pci/config pci/function pci/bar pci/msix pci/intx pci/host_bridge virtio/virtqueue virtio/device% virtio/virtio_pci virtio/virtio_pci_regs virtio/virtio_pci_state pci/state state */
/* WITH: pci_fixture fake_driver */
/*
 * The PCI transport above the real device core, rings and iothread: a driver
 * that brings it up, and one that writes anything anywhere.
 */
#include "pci_fixture.h"

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake_driver.h"
#include "state.h"
#include "virtio/virtio_pci.h"

#define QUEUES		3u
#define QUEUE_SIZE	16u
#define CONFIG_BYTES	24u
#define TYPE_ID		42u
#define BUS		1u
#define SLOT		3u
#define GSI		(GSI_INTX + SLOT)
#define ADDRESS		0xfee00000u
#define DATA		(FAKE_RAM_BASE + 0x100000)

#define COMMON(field)	(t->common + VIRTIO_PCI_COMMON_##field)
#define NEGOTIATED	(VIRTIO_CONFIG_S_ACKNOWLEDGE | \
			 VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK)
#define LIVE		(NEGOTIATED | VIRTIO_CONFIG_S_DRIVER_OK)

/* A device that gives every chain back as it came. */
struct echo {
	struct virtio_device d;
	uint8_t config[CONFIG_BYTES];
	struct iovec iov[64];
	bool *destroyed;
};

static void config_read(struct virtio_device *d, uint32_t offset,
			uint8_t *data, uint32_t len)
{
	memcpy(data, ((struct echo *)d)->config + offset, len);
}

static void config_write(struct virtio_device *d, uint32_t offset,
			 const uint8_t *data, uint32_t len)
{
	memcpy(((struct echo *)d)->config + offset, data, len);
}

static int activate(struct virtio_device *d)
{
	(void)d;
	return 0;
}

static void handle_queue(struct virtio_device *d, unsigned int index)
{
	struct echo *dev = (struct echo *)d;
	struct virtq_chain c = { .iov = dev->iov, .iov_max = 64 };
	int ret;

	while ((ret = virtqueue_pop(virtio_vq(d, index), &c)) == 1)
		virtqueue_push(virtio_vq(d, index), c.head, 0);
	if (ret < 0)
		virtio_device_broken(d);
	else
		virtio_queue_flush(d, index);
}

static void nothing(struct virtio_device *d)
{
	(void)d;
}

static void destroy(struct virtio_device *d)
{
	*((struct echo *)d)->destroyed = true;
	virtio_device_deinit(d);
	test_free(d);
}

static const struct virtio_device_ops echo_ops = {
	.config_read = config_read,
	.config_write = config_write,
	.activate = activate,
	.handle_queue = handle_queue,
	.quiesce = nothing,
	.resume = nothing,
	.reset = nothing,
	.destroy = destroy,
};

static const struct virtio_device_info echo_info = {
	.name = "echo",
	.type_id = TYPE_ID,
	.pci_class = 0x00ff00,
	.ops = &echo_ops,
};

struct fixture {
	struct pci_fixture m;
	struct fake_ram ram;
	struct iothread *io;
	struct echo *dev;
	struct virtio_pci *v;
	bool destroyed;
	struct fake_queue queues[QUEUES];
	/* What a driver finds through the capabilities. */
	uint64_t bar, common, isr, notify, config, table;
	uint32_t multiplier;
};

static uint64_t structure(struct fixture *t, uint8_t type, uint32_t *cap_out)
{
	for (unsigned int n = 0; n < 8; n++) {
		uint32_t cap = find_capability(&t->m, BUS, SLOT,
					       PCI_CAP_ID_VNDR, n);

		assert_int_not_equal(cap, 0);
		if (ecam_get(&t->m, BUS, SLOT, cap + VIRTIO_PCI_CAP_CFG_TYPE,
			     1) != type)
			continue;
		*cap_out = cap;
		return t->bar + ecam_get(&t->m, BUS, SLOT,
					 cap + VIRTIO_PCI_CAP_OFFSET, 4);
	}
	fail_msg("no structure of type %u", type);
	return 0;
}

static void find_structures(struct fixture *t)
{
	uint32_t cap;

	t->bar = ecam_get(&t->m, BUS, SLOT, PCI_BASE_ADDRESS_0, 4);
	t->common = structure(t, VIRTIO_PCI_CAP_COMMON_CFG, &cap);
	t->isr = structure(t, VIRTIO_PCI_CAP_ISR_CFG, &cap);
	t->config = structure(t, VIRTIO_PCI_CAP_DEVICE_CFG, &cap);
	t->notify = structure(t, VIRTIO_PCI_CAP_NOTIFY_CFG, &cap);
	t->multiplier = ecam_get(&t->m, BUS, SLOT,
				 cap + VIRTIO_PCI_NOTIFY_CAP_MULT, 4);
	cap = find_capability(&t->m, BUS, SLOT, PCI_CAP_ID_MSIX, 0);
	t->table = t->bar + (ecam_get(&t->m, BUS, SLOT, cap + PCI_MSIX_TABLE,
				      4) & ~7u);
}

static struct echo *make_echo(struct fixture *t)
{
	static const uint16_t sizes[QUEUES] = { QUEUE_SIZE, QUEUE_SIZE, 4 };
	struct echo *dev = test_calloc(1, sizeof(*dev));

	assert_int_equal(virtio_device_init(&dev->d, &echo_info, t->ram.mem,
					    iothread_loop(t->io), 0,
					    CONFIG_BYTES, sizes, QUEUES, NULL),
			 0);
	for (unsigned int i = 0; i < CONFIG_BYTES; i++)
		dev->config[i] = (uint8_t)(0x40 + i);
	dev->destroyed = &t->destroyed;
	return dev;
}

static int set_up(void **state)
{
	struct fixture *t = test_calloc(1, sizeof(*t));

	pci_fixture_init(&t->m);
	fake_ram_init(&t->ram);
	assert_int_equal(iothread_create(&t->io, "echo"), 0);
	t->dev = make_echo(t);
	assert_int_equal(virtio_pci_create(&t->v, &t->dev->d, t->m.pci,
					   t->m.irq, &t->m.vm, BUS, SLOT,
					   NULL), 0);
	ecam_put(&t->m, BUS, SLOT, PCI_COMMAND, 2,
		 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	find_structures(t);
	*state = t;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *t = *state;

	virtio_pci_destroy(t->v);
	assert_true(t->destroyed);
	iothread_destroy(t->io);
	fake_ram_deinit(&t->ram);
	pci_fixture_deinit(&t->m);
	test_free(t);
	return 0;
}

/* ---- a driver ------------------------------------------------------------ */

static void put64(struct fixture *t, uint64_t at, uint64_t value)
{
	mmio_put(&t->m, at, 4, (uint32_t)value);
	mmio_put(&t->m, at + 4, 4, value >> 32);
}

static void use_msix(struct fixture *t)
{
	uint32_t cap = find_capability(&t->m, BUS, SLOT, PCI_CAP_ID_MSIX, 0);

	ecam_put(&t->m, BUS, SLOT, cap + PCI_MSIX_FLAGS, 2,
		 PCI_MSIX_FLAGS_ENABLE);
	for (unsigned int i = 0; i <= QUEUES; i++) {
		put64(t, t->table + 16 * i, ADDRESS);
		mmio_put(&t->m, t->table + 16 * i + 8, 4, 0x30 + i);
		mmio_put(&t->m, t->table + 16 * i + 12, 4, 0);
	}
}

/* Vector 0 for the configuration, 1 + n for queue n. */
static void negotiate(struct fixture *t)
{
	mmio_put(&t->m, COMMON(STATUS), 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	mmio_put(&t->m, COMMON(STATUS), 1, VIRTIO_CONFIG_S_ACKNOWLEDGE |
					   VIRTIO_CONFIG_S_DRIVER);
	mmio_put(&t->m, COMMON(GFSELECT), 4, 1);
	mmio_put(&t->m, COMMON(GF), 4, 1 << (VIRTIO_F_VERSION_1 - 32));
	mmio_put(&t->m, COMMON(STATUS), 1, NEGOTIATED);
	assert_int_equal(mmio_get(&t->m, COMMON(STATUS), 1), NEGOTIATED);
}

static void start(struct fixture *t)
{
	negotiate(t);
	mmio_put(&t->m, COMMON(MSIX), 2, 0);
	for (uint16_t i = 0; i < 2; i++) {
		struct fake_queue *q = &t->queues[i];

		fake_queue_init(q, &t->ram, FAKE_RAM_BASE + i * 0x10000u,
				QUEUE_SIZE);
		mmio_put(&t->m, COMMON(Q_SELECT), 2, i);
		mmio_put(&t->m, COMMON(Q_MSIX), 2, i + 1u);
		put64(t, COMMON(Q_DESCLO), q->config.desc);
		put64(t, COMMON(Q_AVAILLO), q->config.avail);
		put64(t, COMMON(Q_USEDLO), q->config.used);
		mmio_put(&t->m, COMMON(Q_ENABLE), 2, 1);
		assert_int_equal(mmio_get(&t->m, COMMON(Q_ENABLE), 2), 1);
	}
	mmio_put(&t->m, COMMON(STATUS), 1, LIVE);
	assert_int_equal(mmio_get(&t->m, COMMON(STATUS), 1), LIVE);
}

static uint64_t wait_interrupt(uint32_t gsi)
{
	uint64_t n;

	for (int i = 0; i < 2000; i++) {
		n = take_interrupts(gsi);
		if (n)
			return n;
		usleep(1000);
	}
	return 0;
}

/* One chain through the queue by a doorbell write. */
static void send(struct fixture *t, unsigned int queue)
{
	const struct fake_buffer b = { .addr = DATA, .len = 64 };

	fake_add(&t->queues[queue], &b, 1);
	mmio_put(&t->m, t->notify + queue * t->multiplier, 2, queue);
}

/* ---- tests --------------------------------------------------------------- */

static void test_transport_identity_is_that_of_the_spec(void **state)
{
	struct fixture *t = *state;
	uint32_t cap;

	assert_int_equal(ecam_get(&t->m, BUS, SLOT, 0, 4),
			 (0x1040 + TYPE_ID) << 16 | 0x1af4);
	assert_int_equal(ecam_get(&t->m, BUS, SLOT, PCI_CLASS_REVISION, 4),
			 0x00ff0001);
	assert_true(ecam_get(&t->m, BUS, SLOT, PCI_SUBSYSTEM_ID, 2) >= 0x40);
	/* The notify structure holds every doorbell (4.1.4.4). */
	structure(t, VIRTIO_PCI_CAP_NOTIFY_CFG, &cap);
	assert_true(ecam_get(&t->m, BUS, SLOT, cap + VIRTIO_PCI_CAP_LENGTH,
			     4) >= (QUEUES - 1) * t->multiplier + 2);
	structure(t, VIRTIO_PCI_CAP_DEVICE_CFG, &cap);
	assert_int_equal(ecam_get(&t->m, BUS, SLOT,
				  cap + VIRTIO_PCI_CAP_LENGTH, 4),
			 CONFIG_BYTES);
	assert_ptr_equal(virtio_pci_device(t->v), &t->dev->d);
	assert_ptr_equal(virtio_pci_function(t->v),
			 pci_function_at(t->m.pci, BUS, SLOT));
}

static void test_registers_read_back_at_their_width(void **state)
{
	struct fixture *t = *state;

	assert_int_equal(mmio_get(&t->m, COMMON(NUMQ), 2), QUEUES);
	mmio_put(&t->m, COMMON(DFSELECT), 4, 1);
	assert_int_equal(mmio_get(&t->m, COMMON(DFSELECT), 4), 1);
	assert_true(mmio_get(&t->m, COMMON(DF), 4) &
		    1 << (VIRTIO_F_VERSION_1 - 32));
	mmio_put(&t->m, COMMON(DFSELECT), 4, 2);
	assert_int_equal(mmio_get(&t->m, COMMON(DF), 4), 0);
	mmio_put(&t->m, COMMON(Q_SELECT), 2, 1);
	assert_int_equal(mmio_get(&t->m, COMMON(Q_SIZE), 2), QUEUE_SIZE);
	assert_int_equal(mmio_get(&t->m, COMMON(Q_NOFF), 2), 1);
	mmio_put(&t->m, COMMON(Q_SIZE), 2, 8);
	assert_int_equal(mmio_get(&t->m, COMMON(Q_SIZE), 2), 8);
	/* A 64-bit field as halves and at once. */
	mmio_put(&t->m, COMMON(Q_AVAILLO), 8, 0x1122334455667788);
	assert_int_equal(mmio_get(&t->m, COMMON(Q_AVAILHI), 4), 0x11223344);
	assert_true(mmio_get(&t->m, COMMON(Q_AVAILLO), 8) ==
		    0x1122334455667788);
	/* Other widths do nothing. */
	mmio_put(&t->m, COMMON(Q_SELECT), 1, 2);
	mmio_put(&t->m, COMMON(Q_SIZE), 4, 4);
	mmio_put(&t->m, COMMON(NUMQ), 2, 9);
	assert_int_equal(mmio_get(&t->m, COMMON(Q_SELECT), 2), 1);
	assert_int_equal(mmio_get(&t->m, COMMON(Q_SIZE), 2), 8);
	assert_int_equal(mmio_get(&t->m, COMMON(NUMQ), 2), QUEUES);
	assert_int_equal(mmio_get(&t->m, t->common + 0x38, 4), 0);
}

static void test_registers_of_an_absent_queue_are_dead(void **state)
{
	static const uint16_t absent[] = { QUEUES, 64, 0x8000, 0xffff };
	struct fixture *t = *state;

	negotiate(t);
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
		mmio_put(&t->m, COMMON(Q_SELECT), 2, absent[i]);
		assert_int_equal(mmio_get(&t->m, COMMON(Q_SIZE), 2), 0);
		mmio_put(&t->m, COMMON(Q_SIZE), 2, 4);
		mmio_put(&t->m, COMMON(Q_MSIX), 2, 1);
		mmio_put(&t->m, COMMON(Q_ENABLE), 2, 1);
		put64(t, COMMON(Q_DESCLO), FAKE_RAM_BASE);
		assert_int_equal(mmio_get(&t->m, COMMON(Q_SIZE), 2), 0);
		assert_int_equal(mmio_get(&t->m, COMMON(Q_MSIX), 2),
				 VIRTIO_MSI_NO_VECTOR);
		assert_int_equal(mmio_get(&t->m, COMMON(Q_ENABLE), 2), 0);
		assert_int_equal(mmio_get(&t->m, COMMON(Q_DESCLO), 8), 0);
	}
}

static void test_vectors_out_of_range_read_back_no_vector(void **state)
{
	static const struct {
		uint16_t written, read;
	} table[] = {
		{ 0, 0 },
		{ QUEUES, QUEUES },
		{ QUEUES + 1, VIRTIO_MSI_NO_VECTOR },
		{ 0x8000, VIRTIO_MSI_NO_VECTOR },
		{ VIRTIO_MSI_NO_VECTOR, VIRTIO_MSI_NO_VECTOR },
	};
	struct fixture *t = *state;

	assert_int_equal(mmio_get(&t->m, COMMON(MSIX), 2),
			 VIRTIO_MSI_NO_VECTOR);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		mmio_put(&t->m, COMMON(MSIX), 2, table[i].written);
		assert_int_equal(mmio_get(&t->m, COMMON(MSIX), 2),
				 table[i].read);
		mmio_put(&t->m, COMMON(Q_MSIX), 2, table[i].written);
		assert_int_equal(mmio_get(&t->m, COMMON(Q_MSIX), 2),
				 table[i].read);
	}
	mmio_put(&t->m, COMMON(MSIX), 2, 1);
	mmio_put(&t->m, COMMON(STATUS), 1, 0);
	assert_int_equal(mmio_get(&t->m, COMMON(MSIX), 2),
			 VIRTIO_MSI_NO_VECTOR);
}

static void test_device_config_is_bounded(void **state)
{
	struct fixture *t = *state;

	assert_int_equal(mmio_get(&t->m, t->config, 4), 0x43424140);
	assert_int_equal(mmio_get(&t->m, t->config + CONFIG_BYTES - 1, 1),
			 0x40 + CONFIG_BYTES - 1);
	assert_int_equal(mmio_get(&t->m, t->config + CONFIG_BYTES - 2, 4),
			 0xffffffff);
	assert_int_equal(mmio_get(&t->m, t->config + 0xfff, 1), 0xff);
	mmio_put(&t->m, t->config + 8, 4, 0xdeadbeef);
	assert_int_equal(mmio_get(&t->m, t->config + 8, 4), 0xdeadbeef);
	mmio_put(&t->m, t->config + CONFIG_BYTES - 2, 4, 0);
	mmio_put(&t->m, t->config + 0xffc, 8, 0);
	assert_int_equal(t->dev->config[CONFIG_BYTES - 1],
			 0x40 + CONFIG_BYTES - 1);
}

static void test_queue_interrupt_takes_its_msix_vector(void **state)
{
	struct fixture *t = *state;
	uint32_t id, len;

	use_msix(t);
	start(t);
	for (unsigned int i = 0; i < 3; i++) {
		send(t, 1);
		assert_int_equal(wait_interrupt(GSI_MSI + 2), 1);
		assert_true(fake_used(&t->queues[1], &id, &len));
	}
	send(t, 0);
	assert_int_equal(wait_interrupt(GSI_MSI + 1), 1);
	assert_int_equal(take_interrupts(GSI_MSI), 0);
	/* MSI-X does not need the interrupt status for queues. */
	assert_int_equal(mmio_get(&t->m, t->isr, 1), 0);
	/* No INTx line was made for it. */
	assert_int_equal(fake_kvm.irqfd_count, QUEUES + 1);
}

static void test_config_interrupt_sets_isr_and_takes_its_vector(void **state)
{
	struct fixture *t = *state;
	uint64_t before = mmio_get(&t->m, COMMON(CFGGENERATION), 1);

	use_msix(t);
	start(t);
	virtio_device_config_changed(&t->dev->d);
	assert_int_equal(take_interrupts(GSI_MSI), 1);
	assert_int_not_equal(mmio_get(&t->m, COMMON(CFGGENERATION), 1),
			     before);
	assert_int_equal(mmio_get(&t->m, t->isr, 1), VIRTIO_PCI_ISR_CONFIG);
	assert_int_equal(mmio_get(&t->m, t->isr, 1), 0);
	/* Without a vector nobody is told (4.1.5.1.2). */
	mmio_put(&t->m, COMMON(MSIX), 2, VIRTIO_MSI_NO_VECTOR);
	virtio_device_config_changed(&t->dev->d);
	for (uint32_t i = 0; i <= QUEUES; i++)
		assert_int_equal(take_interrupts(GSI_MSI + i), 0);
}

static void test_intx_is_used_without_msix(void **state)
{
	struct fixture *t = *state;

	assert_int_equal(fake_kvm.irqfd_count, 0);
	start(t);
	assert_int_equal(fake_kvm.irqfd_count, 1);
	send(t, 0);
	assert_int_equal(wait_interrupt(GSI), 1);
	assert_true(ecam_get(&t->m, BUS, SLOT, PCI_STATUS, 2) &
		    PCI_STATUS_INTERRUPT);
	/* Not read yet: the line comes back. */
	end_of_interrupt(GSI);
	run_loop(t->m.loop);
	assert_int_equal(take_interrupts(GSI), 1);
	virtio_device_config_changed(&t->dev->d);
	assert_int_equal(mmio_get(&t->m, t->isr, 1), VIRTIO_PCI_ISR_CONFIG | 1);
	assert_int_equal(mmio_get(&t->m, t->isr, 1), 0);
	take_interrupts(GSI);
	end_of_interrupt(GSI);
	run_loop(t->m.loop);
	assert_int_equal(take_interrupts(GSI), 0);
	/* A device reset takes the cause away. */
	send(t, 0);
	assert_int_equal(wait_interrupt(GSI), 1);
	mmio_put(&t->m, COMMON(STATUS), 1, 0);
	assert_int_equal(mmio_get(&t->m, t->isr, 1), 0);
}

static void test_intx_line_follows_when_msix_is_given_up(void **state)
{
	struct fixture *t = *state;
	uint32_t cap = find_capability(&t->m, BUS, SLOT, PCI_CAP_ID_MSIX, 0);

	use_msix(t);
	start(t);
	ecam_put(&t->m, BUS, SLOT, cap + PCI_MSIX_FLAGS, 2, 0);
	assert_int_equal(fake_kvm.irqfd_count, 1);
	send(t, 1);
	assert_int_equal(wait_interrupt(GSI), 1);
}

static void test_doorbells_exist_while_queue_and_bar_are_in_use(void **state)
{
	struct fixture *t = *state;
	uint64_t moved = t->bar + 0x100000;

	assert_int_equal(fake_kvm.ioeventfd_count, 0);
	start(t);
	assert_int_equal(fake_kvm.ioeventfd_count, 2);
	assert_true(has_ioeventfd(t->notify));
	assert_true(has_ioeventfd(t->notify + t->multiplier));
	ecam_put(&t->m, BUS, SLOT, PCI_BASE_ADDRESS_0, 4, (uint32_t)moved);
	assert_int_equal(fake_kvm.ioeventfd_count, 2);
	assert_true(has_ioeventfd(t->notify + 0x100000));
	ecam_put(&t->m, BUS, SLOT, PCI_COMMAND, 2, 0);
	assert_int_equal(fake_kvm.ioeventfd_count, 0);
	ecam_put(&t->m, BUS, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(fake_kvm.ioeventfd_count, 2);
	mmio_put(&t->m, moved + (COMMON(STATUS) - t->bar), 1, 0);
	assert_int_equal(fake_kvm.ioeventfd_count, 0);
}

static void test_doorbells_work_without_ioeventfds(void **state)
{
	struct fixture *t = *state;

	fake_kvm.ioeventfd_room = 1;
	use_msix(t);
	start(t);
	assert_int_equal(fake_kvm.ioeventfd_count, 1);
	send(t, 1);
	assert_int_equal(wait_interrupt(GSI_MSI + 2), 1);
	/* Any width; not between two, not behind the last. */
	fake_add(&t->queues[1], &(struct fake_buffer){ DATA, 8, false }, 1);
	mmio_put(&t->m, t->notify + t->multiplier + 2, 2, 1);
	mmio_put(&t->m, t->notify + QUEUES * t->multiplier, 2, 1);
	usleep(20000);
	assert_int_equal(take_interrupts(GSI_MSI + 2), 0);
	mmio_put(&t->m, t->notify + t->multiplier, 4, 1);
	assert_int_equal(wait_interrupt(GSI_MSI + 2), 1);
}

static void test_pci_cfg_capability_performs_the_access(void **state)
{
	struct fixture *t = *state;
	uint32_t cap, data;

	structure(t, VIRTIO_PCI_CAP_PCI_CFG, &cap);
	data = cap + 16;
	/* Memory decoding is not needed for it. */
	ecam_put(&t->m, BUS, SLOT, PCI_COMMAND, 2, 0);
	ecam_put(&t->m, BUS, SLOT, cap + VIRTIO_PCI_CAP_LENGTH, 4, 2);
	ecam_put(&t->m, BUS, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4,
		 VIRTIO_PCI_COMMON_NUMQ);
	assert_int_equal(ecam_get(&t->m, BUS, SLOT, data, 2), QUEUES);
	ecam_put(&t->m, BUS, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4,
		 VIRTIO_PCI_COMMON_Q_SELECT);
	ecam_put(&t->m, BUS, SLOT, data, 2, 2);
	ecam_put(&t->m, BUS, SLOT, cap + VIRTIO_PCI_CAP_LENGTH, 4, 1);
	ecam_put(&t->m, BUS, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4,
		 VIRTIO_PCI_COMMON_STATUS);
	ecam_put(&t->m, BUS, SLOT, data, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	assert_int_equal(ecam_get(&t->m, BUS, SLOT, data, 1),
			 VIRTIO_CONFIG_S_ACKNOWLEDGE);
	ecam_put(&t->m, BUS, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(mmio_get(&t->m, COMMON(Q_SELECT), 2), 2);
	assert_int_equal(mmio_get(&t->m, COMMON(STATUS), 1),
			 VIRTIO_CONFIG_S_ACKNOWLEDGE);
}

static void test_pci_cfg_capability_refuses_nonsense(void **state)
{
	static const struct {
		uint8_t bar;
		uint32_t offset, length;
	} table[] = {
		{ 1, 0x14, 1 },		/* no such BAR */
		{ 0xff, 0x14, 1 },
		{ 0, 0x14, 0 },
		{ 0, 0x14, 3 },
		{ 0, 0x14, 8 },
		{ 0, 0x14, 0x10001 },
		{ 0, 0x15, 2 },		/* not aligned */
		{ 0, 0x4000, 1 },	/* behind the end */
		{ 0, 0xffffffff, 1 },
		{ 0, 0xfffffffc, 4 },
		{ 0, 0xfffffffe, 2 },
	};
	struct fixture *t = *state;
	uint32_t cap;

	structure(t, VIRTIO_PCI_CAP_PCI_CFG, &cap);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		ecam_put(&t->m, BUS, SLOT, cap + VIRTIO_PCI_CAP_BAR, 1,
			 table[i].bar);
		ecam_put(&t->m, BUS, SLOT, cap + VIRTIO_PCI_CAP_OFFSET, 4,
			 table[i].offset);
		ecam_put(&t->m, BUS, SLOT, cap + VIRTIO_PCI_CAP_LENGTH, 4,
			 table[i].length);
		ecam_put(&t->m, BUS, SLOT, cap + 16, 4, 0x01010101);
		assert_int_equal(ecam_get(&t->m, BUS, SLOT, cap + 16, 4),
				 0x01010101);
		assert_int_equal(mmio_get(&t->m, COMMON(STATUS), 1), 0);
	}
}

static void test_system_reset_is_as_after_create(void **state)
{
	struct fixture *t = *state;

	use_msix(t);
	start(t);
	ecam_put(&t->m, BUS, SLOT, PCI_BASE_ADDRESS_0, 4,
		 (uint32_t)t->bar + 0x100000);
	virtio_pci_reset(t->v);
	assert_int_equal(fake_kvm.irqfd_count, 0);
	assert_int_equal(fake_kvm.ioeventfd_count, 0);
	assert_int_equal(mmio_get(&t->m, COMMON(STATUS), 1), 0xff);
	assert_int_equal(ecam_get(&t->m, BUS, SLOT, PCI_BASE_ADDRESS_0, 4),
			 t->bar);
	ecam_put(&t->m, BUS, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(mmio_get(&t->m, COMMON(STATUS), 1), 0);
	assert_int_equal(mmio_get(&t->m, COMMON(Q_SELECT), 2), 0);
	use_msix(t);
	start(t);
	send(t, 0);
	assert_int_equal(wait_interrupt(GSI_MSI + 1), 1);
}

static void test_create_failure_leaves_the_device_to_the_caller(void **state)
{
	struct fixture *t = *state;
	struct echo *dev = make_echo(t);
	struct virtio_pci *v = NULL;
	struct error e;

	assert_int_equal(virtio_pci_create(&v, &dev->d, t->m.pci, t->m.irq,
					   &t->m.vm, BUS, SLOT, &e), -EBUSY);
	assert_non_null(strstr(e.text, "echo: "));
	assert_null(v);
	assert_null(dev->d.irq.queue);
	virtio_device_destroy(&dev->d);
	assert_true(t->destroyed);
	t->destroyed = false;
	virtio_pci_destroy(NULL);
}

static void test_device_without_vectors_has_intx_only(void **state)
{
	struct fixture *t = *state;

	virtio_pci_destroy(t->v);
	pci_set_vector_room(t->m.pci, QUEUES, 1);
	t->dev = make_echo(t);
	assert_int_equal(virtio_pci_create(&t->v, &t->dev->d, t->m.pci,
					   t->m.irq, &t->m.vm, BUS, SLOT,
					   NULL), 0);
	ecam_put(&t->m, BUS, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_int_equal(find_capability(&t->m, BUS, SLOT, PCI_CAP_ID_MSIX, 0),
			 0);
	mmio_put(&t->m, COMMON(MSIX), 2, 0);
	assert_int_equal(mmio_get(&t->m, COMMON(MSIX), 2),
			 VIRTIO_MSI_NO_VECTOR);
	mmio_put(&t->m, t->table + 12, 4, 0);
	assert_int_equal(mmio_get(&t->m, t->table + 12, 4), 0xffffffff);
	start(t);
	send(t, 0);
	assert_int_equal(wait_interrupt(GSI), 1);
	/* One that fits gives its vectors back when it leaves. */
	pci_set_vector_room(t->m.pci, QUEUES + 1, 1);
	for (unsigned int i = 0; i < 2; i++) {
		virtio_pci_destroy(t->v);
		t->dev = make_echo(t);
		assert_int_equal(virtio_pci_create(&t->v, &t->dev->d, t->m.pci,
						   t->m.irq, &t->m.vm, BUS,
						   SLOT, NULL), 0);
		assert_int_not_equal(find_capability(&t->m, BUS, SLOT,
						     PCI_CAP_ID_MSIX, 0), 0);
	}
}

/* ---- a driver that writes anything anywhere ------------------------------ */

static uint32_t next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return (uint32_t)(*seed >> 16);
}

/* Values that lead somewhere more often than chance would. */
static uint64_t some_value(uint64_t *seed)
{
	static const uint64_t values[] = {
		0, 1, 2, 3, 4, 7, 0xb, 0xf, 0x80, 0xff, 0xffff, 0xffffffff,
		~0ull, FAKE_RAM_BASE, FAKE_RAM_BASE + 0x1000, FAKE_RAM_END,
		ADDRESS, PCI_MSIX_FLAGS_ENABLE, PCI_MSIX_FLAGS_MASKALL,
		MMIO32_BASE + BUS * SLICE32, MMIO32_BASE + BUS * SLICE32 +
					     0x8000,
	};
	uint32_t r = next(seed);

	if (r & 1)
		return values[(r >> 1) % (sizeof(values) / sizeof(values[0]))];
	return (uint64_t)next(seed) << 32 | r;
}

static uint64_t some_place(struct fixture *t, uint64_t *seed)
{
	static const uint32_t areas[] = { 0, 0, 0, 0, 0x800, 0x1000, 0x2000,
					  0x2000, 0x3000, 0x3000, 0x3800 };
	uint32_t r = next(seed);
	uint64_t bar = ecam_get(&t->m, BUS, SLOT, PCI_BASE_ADDRESS_0, 4);

	switch (r % 8) {
	case 0:
		return ecam_address(BUS, SLOT, (r >> 8) % 256);
	case 1:
		return bar + (r >> 8) % 0x4008;
	default:
		return bar + areas[(r >> 8) % (sizeof(areas) /
					       sizeof(areas[0]))] +
		       (r >> 16) % 0x44;
	}
}

/* Up to DRIVER_OK with whatever rings, so that activation is reached too. */
static void hostile_start(struct fixture *t, uint64_t *seed)
{
	static const uint8_t steps[] = { 0, 1, 3, NEGOTIATED };

	mmio_put(&t->m, COMMON(GFSELECT), 4, 1);
	for (size_t i = 0; i < sizeof(steps); i++) {
		mmio_put(&t->m, COMMON(STATUS), 1, steps[i]);
		mmio_put(&t->m, COMMON(GF), 4,
			 1 << (VIRTIO_F_VERSION_1 - 32));
		mmio_put(&t->m, COMMON(GFSELECT), 4, 1);
	}
	for (uint16_t i = 0; i < QUEUES; i++) {
		mmio_put(&t->m, COMMON(Q_SELECT), 2, i);
		mmio_put(&t->m, COMMON(Q_MSIX), 2, next(seed) % 6);
		put64(t, COMMON(Q_DESCLO), FAKE_RAM_BASE + 0x1000u * i);
		put64(t, COMMON(Q_AVAILLO), FAKE_RAM_BASE + 0x9000u);
		put64(t, COMMON(Q_USEDLO), next(seed) % 8 ?
			      FAKE_RAM_BASE + 0xa000u : some_value(seed));
		mmio_put(&t->m, COMMON(Q_ENABLE), 2, next(seed) % 2);
	}
	mmio_put(&t->m, COMMON(STATUS), 1, LIVE);
}

static void hostile_steps(struct fixture *t, uint64_t seed, unsigned int steps)
{
	for (unsigned int i = 0; i < steps; i++) {
		unsigned int len = 1u << next(&seed) % 4;
		uint64_t at = some_place(t, &seed);

		if (next(&seed) % 4)
			mmio_put(&t->m, at & ~(uint64_t)(len - 1), len,
				 some_value(&seed));
		else
			mmio_get(&t->m, at, len);
		switch (next(&seed) % 64) {
		case 0:		/* a fresh start, not to stay stuck */
			ecam_put(&t->m, BUS, SLOT, PCI_BASE_ADDRESS_0, 4,
				 (uint32_t)t->bar);
			ecam_put(&t->m, BUS, SLOT, PCI_COMMAND, 2,
				 PCI_COMMAND_MEMORY);
			mmio_put(&t->m, COMMON(STATUS), 1, 0);
			break;
		case 1:
			hostile_start(t, &seed);
			break;
		case 2:
			virtio_device_config_changed(&t->dev->d);
			break;
		case 3:
			fake_kvm.routing_error = next(&seed) % 4 ? 0 : -EINVAL;
			fake_kvm.irqfd_error = next(&seed) % 4 ? 0 : -ENOMEM;
			fake_kvm.ioeventfd_room = next(&seed) % 4;
			break;
		default:
			break;
		}
	}
}

static void test_hostile_driver_leaves_a_working_device(void **state)
{
	struct fixture *t = *state;
	uint32_t gsi;

	for (uint64_t seed = 1; seed <= 100; seed++) {
		hostile_steps(t, seed * 0x9e3779b97f4a7c15u, 3000);
		fake_kvm.routing_error = fake_kvm.irqfd_error = 0;
		fake_kvm.ioeventfd_room = FAKE_KVM_MAX;
		virtio_pci_reset(t->v);
		ecam_put(&t->m, BUS, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
		use_msix(t);
		start(t);
		send(t, 0);
		/* Its GSI is whichever was free. */
		gsi = virtio_pci_function(t->v)->msix.vectors[1].gsi;
		assert_int_equal(wait_interrupt(gsi), 1);
		virtio_pci_reset(t->v);
		ecam_put(&t->m, BUS, SLOT, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	}
}

/* The same function again, as a restored VM has it before its state is loaded. */
static void make_anew(struct fixture *t)
{
	virtio_pci_destroy(t->v);
	assert_true(t->destroyed);
	t->destroyed = false;
	t->dev = make_echo(t);
	assert_int_equal(virtio_pci_create(&t->v, &t->dev->d, t->m.pci,
					   t->m.irq, &t->m.vm, BUS, SLOT,
					   NULL), 0);
	virtio_device_quiesce(&t->dev->d);
}

static void save(struct fixture *t, struct state_writer *w)
{
	struct pci_function *f = virtio_pci_function(t->v);

	virtio_device_quiesce(&t->dev->d);
	pci_function_hold_interrupts(f);
	virtio_pci_save(t->v, w);
	pci_function_release_interrupts(f);
	assert_int_equal(w->error, 0);
}

static int load(struct fixture *t, const uint8_t *data, size_t len)
{
	struct state_reader r;
	struct error e;
	int ret;

	state_reader_init(&r, data, len);
	ret = virtio_pci_load(t->v, &r, &e);
	return ret ? ret : state_reader_finish(&r);
}

static void saved_device_goes_on(struct fixture *t, uint32_t gsi)
{
	struct state_writer w = STATE_WRITER_INIT;
	const struct fake_buffer b = { .addr = DATA, .len = 64 };
	uint32_t id, len;

	send(t, 1);
	assert_true(wait_interrupt(gsi) > 0);
	assert_true(fake_used(&t->queues[1], &id, &len));
	/* Offered, and not seen before the save. */
	virtio_device_quiesce(&t->dev->d);
	fake_add(&t->queues[1], &b, 1);
	save(t, &w);
	make_anew(t);
	assert_int_equal(load(t, w.data, w.len_bytes), 0);
	take_interrupts(gsi);
	assert_int_equal(mmio_get(&t->m, COMMON(STATUS), 1), LIVE);
	assert_int_equal(mmio_get(&t->m, COMMON(Q_SELECT), 2), 1);
	assert_true(has_ioeventfd(t->notify + t->multiplier));
	assert_false(fake_used(&t->queues[1], &id, &len));
	virtio_device_resume(&t->dev->d);
	assert_true(wait_interrupt(gsi) > 0);
	assert_true(fake_used(&t->queues[1], &id, &len));
	send(t, 0);
	state_writer_deinit(&w);
}

static void test_saved_device_goes_on_with_msix(void **state)
{
	struct fixture *t = *state;

	use_msix(t);
	start(t);
	/* Vectors get GSIs as they are unmasked: queue 1's is the third. */
	saved_device_goes_on(t, GSI_MSI + 2);
}

static void test_saved_device_goes_on_with_intx(void **state)
{
	struct fixture *t = *state;

	start(t);
	saved_device_goes_on(t, GSI);
}

static void test_saved_pending_interrupt_arrives(void **state)
{
	struct fixture *t = *state;
	struct pci_function *f = virtio_pci_function(t->v);
	struct state_writer w = STATE_WRITER_INIT;

	use_msix(t);
	start(t);
	take_interrupts(GSI_MSI + 1);
	virtio_device_quiesce(&t->dev->d);
	pci_function_hold_interrupts(f);
	msix_vector_notify(&f->msix.vectors[1]);
	virtio_pci_save(t->v, &w);
	make_anew(t);
	assert_int_equal(take_interrupts(GSI_MSI + 1), 0);
	assert_int_equal(load(t, w.data, w.len_bytes), 0);
	assert_int_equal(take_interrupts(GSI_MSI + 1), 1);
	state_writer_deinit(&w);
}

/* Whatever is in a state, with checksums that are right, does no harm. */
static void test_saved_state_of_any_content_is_survived(void **state)
{
	struct fixture *t = *state;
	struct state_writer w = STATE_WRITER_INIT;
	unsigned int refused = 0;
	uint8_t *copy;

	use_msix(t);
	start(t);
	save(t, &w);
	copy = malloc(w.len_bytes);
	for (size_t n = 0; n < w.len_bytes; n += 7) {
		make_anew(t);
		memcpy(copy, w.data, n);
		assert_true(load(t, copy, n) < 0);
	}
	srand(1);
	for (int round = 0; round < 400; round++) {
		memcpy(copy, w.data, w.len_bytes);
		for (int i = 0; i < 1 + round % 4; i++)
			copy[(size_t)rand() % w.len_bytes] = (uint8_t)rand();
		make_anew(t);
		if (load(t, copy, w.len_bytes))
			refused++;
		else
			virtio_device_resume(&t->dev->d);
	}
	assert_true(refused > 50);
	free(copy);
	state_writer_deinit(&w);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(test_transport_identity_is_that_of_the_spec),
		TEST(test_registers_read_back_at_their_width),
		TEST(test_registers_of_an_absent_queue_are_dead),
		TEST(test_vectors_out_of_range_read_back_no_vector),
		TEST(test_device_config_is_bounded),
		TEST(test_queue_interrupt_takes_its_msix_vector),
		TEST(test_config_interrupt_sets_isr_and_takes_its_vector),
		TEST(test_intx_is_used_without_msix),
		TEST(test_intx_line_follows_when_msix_is_given_up),
		TEST(test_doorbells_exist_while_queue_and_bar_are_in_use),
		TEST(test_doorbells_work_without_ioeventfds),
		TEST(test_pci_cfg_capability_performs_the_access),
		TEST(test_pci_cfg_capability_refuses_nonsense),
		TEST(test_system_reset_is_as_after_create),
		TEST(test_device_without_vectors_has_intx_only),
		TEST(test_create_failure_leaves_the_device_to_the_caller),
		TEST(test_hostile_driver_leaves_a_working_device),
		TEST(test_saved_device_goes_on_with_msix),
		TEST(test_saved_device_goes_on_with_intx),
		TEST(test_saved_pending_interrupt_arrives),
		TEST(test_saved_state_of_any_content_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
