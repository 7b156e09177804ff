/* SPDX-License-Identifier: MIT */
/* LINK: error loop iothread guest_mem state virtio/virtqueue */
/* LINK: virtio/device% */
/* WITH: fake_driver */
/* A device whose queues are on several loops. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_driver.h"

#define QUEUES		4
#define RING(i)		(FAKE_RAM_BASE + 0x10000 * (gpa_t)(i))
#define DATA		(FAKE_RAM_BASE + 0x100000)
#define DRIVER_OK	15
#define NEEDS_RESET	0x40

/* Checks on which thread it is called, and keeps what was called. */
struct spread {
	struct virtio_device dev;
	atomic_uint log_len;
	char log[64];		/* a letter an op, small with a queue */
	int fail_queue;		/* whose activation fails; -1: none */
	atomic_uint handled[QUEUES];
	atomic_uint calls;
};

static void note(struct spread *s, char what)
{
	unsigned int i = atomic_fetch_add(&s->log_len, 1);

	if (i < sizeof(s->log) - 1)
		s->log[i] = what;
}

static void on_own_loop(const struct virtio_device *d)
{
	assert_true(loop_is_current(d->loop));
}

static void on_queue_loop(const struct virtio_device *d, unsigned int index)
{
	assert_true(loop_is_current(d->queues[index].loop));
}

static int spread_activate(struct virtio_device *d)
{
	on_own_loop(d);
	note((struct spread *)d, 'A');
	return 0;
}

static int spread_activate_queue(struct virtio_device *d, unsigned int index)
{
	struct spread *s = (struct spread *)d;

	on_queue_loop(d, index);
	note(s, 'a');
	return s->fail_queue == (int)index ? -ENOMEM : 0;
}

static void spread_handle_queue(struct virtio_device *d, unsigned int index)
{
	struct iovec iov[16];
	struct virtq_chain c = { .iov = iov, .iov_max = 16 };
	int ret;

	on_queue_loop(d, index);
	atomic_fetch_add(&((struct spread *)d)->handled[index], 1);
	do {
		while ((ret = virtqueue_pop(virtio_vq(d, index), &c)) > 0)
			virtqueue_push(virtio_vq(d, index), c.head, 0);
	} while (!ret && virtqueue_arm(virtio_vq(d, index)));
	if (ret < 0)
		virtio_queue_broken(d, index);
	virtio_queue_flush(d, index);
}

static void spread_quiesce(struct virtio_device *d)
{
	on_own_loop(d);
	note((struct spread *)d, 'Q');
}

static void spread_quiesce_queue(struct virtio_device *d, unsigned int index)
{
	on_queue_loop(d, index);
	note((struct spread *)d, 'q');
}

static void spread_reset(struct virtio_device *d)
{
	on_own_loop(d);
	note((struct spread *)d, 'R');
}

static void spread_reset_queue(struct virtio_device *d, unsigned int index)
{
	on_queue_loop(d, index);
	note((struct spread *)d, 'r');
}

static const struct virtio_device_ops ops = {
	.activate = spread_activate,
	.handle_queue = spread_handle_queue,
	.quiesce = spread_quiesce,
	.reset = spread_reset,
	.activate_queue = spread_activate_queue,
	.quiesce_queue = spread_quiesce_queue,
	.reset_queue = spread_reset_queue,
	.destroy = virtio_device_deinit,
};

static const struct virtio_device_info info = {
	.name = "spread", .type_id = 99, .ops = &ops,
};

struct fixture {
	struct fake_ram ram;
	struct iothread *threads[3];
	struct spread spread;
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q[QUEUES];
};

/* Queues 0 and 3 on the device's loop, 1 and 2 on others. */
static int set_up(void **state)
{
	static const uint16_t sizes[QUEUES] = { 16, 16, 16, 16 };
	struct fixture *f = calloc(1, sizeof(*f));
	struct error e;

	fake_ram_init(&f->ram);
	for (unsigned int i = 0; i < 3; i++)
		assert_int_equal(iothread_create(&f->threads[i], "io"), 0);
	f->d = &f->spread.dev;
	f->spread.fail_queue = -1;
	assert_int_equal(virtio_device_init(f->d, &info, f->ram.mem,
					    iothread_loop(f->threads[0]), 0, 0,
					    sizes, QUEUES, &e), 0);
	virtio_queue_set_loop(f->d, 1, iothread_loop(f->threads[1]));
	virtio_queue_set_loop(f->d, 2, iothread_loop(f->threads[2]));
	fake_irq_init(&f->irq, f->d);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtio_device_destroy(f->d);
	for (unsigned int i = 0; i < 3; i++)
		iothread_destroy(f->threads[i]);
	fake_ram_deinit(&f->ram);
	free(f);
	return 0;
}

static void start(struct fixture *f, uint8_t status)
{
	for (unsigned int i = 0; i < QUEUES; i++)
		fake_queue_init(&f->q[i], &f->ram, RING(i), 16);
	assert_int_equal(fake_start(f->d, 0, f->q, QUEUES), status);
}

static void echo(struct fixture *f, unsigned int index)
{
	struct fake_buffer b = { DATA, 16, true };
	uint16_t head = fake_add(&f->q[index], &b, 1);
	uint32_t id, len;

	fake_kick(f->d, index);
	assert_true(fake_used_wait(&f->q[index], &f->irq, index, &id, &len));
	assert_int_equal(id, head);
}

/* What has been called since the last time. */
static void called(struct fixture *f, const char *log)
{
	assert_string_equal(f->spread.log, log);
	memset(f->spread.log, 0, sizeof(f->spread.log));
	atomic_store(&f->spread.log_len, 0);
}

static void test_queues_work_on_their_own_loops(void **state)
{
	struct fixture *f = *state;

	start(f, DRIVER_OK);
	called(f, "Aaaaa");
	for (unsigned int i = 0; i < QUEUES; i++)
		echo(f, i);
	virtio_device_reset(f->d);
	called(f, "rrrrR");
	start(f, DRIVER_OK);
	for (unsigned int i = 0; i < QUEUES; i++)
		echo(f, i);
}

static void test_queues_quiesce_and_resume_on_all_loops(void **state)
{
	struct fixture *f = *state;
	struct fake_buffer b = { DATA, 16, true };
	uint32_t id, len;

	start(f, DRIVER_OK);
	called(f, "Aaaaa");
	virtio_device_quiesce(f->d);
	called(f, "qqqqQ");
	for (unsigned int i = 0; i < QUEUES; i++) {
		fake_add(&f->q[i], &b, 1);
		fake_kick(f->d, i);
		assert_int_equal(fake_used_idx(&f->q[i]), 0);
	}
	virtio_device_resume(f->d);
	for (unsigned int i = 0; i < QUEUES; i++)
		assert_true(fake_used_wait(&f->q[i], &f->irq, i, &id, &len));
}

static void test_queues_malformed_one_stops_all(void **state)
{
	struct fixture *f = *state;
	unsigned int handled;

	for (unsigned int bad = 0; bad < QUEUES; bad++) {
		start(f, DRIVER_OK);
		fake_set_avail_idx(&f->q[bad], 1000);
		fake_kick(f->d, bad);
		assert_true(fake_irq_wait(&f->irq.config));
		assert_int_equal(virtio_reg_status(f->d),
				 DRIVER_OK | NEEDS_RESET);
		/* On return, all loops have met what was sent to them. */
		virtio_device_quiesce(f->d);
		virtio_device_resume(f->d);
		for (unsigned int i = 0; i < QUEUES; i++) {
			handled = atomic_load(&f->spread.handled[i]);
			fake_kick(f->d, i);
			virtio_device_quiesce(f->d);
			virtio_device_resume(f->d);
			assert_int_equal(atomic_load(&f->spread.handled[i]),
					 handled);
		}
		virtio_device_reset(f->d);
		/* One interrupt, not one a queue. */
		assert_false(fake_irq_take(&f->irq.config));
	}
	start(f, DRIVER_OK);
	for (unsigned int i = 0; i < QUEUES; i++)
		echo(f, i);
}

static void test_queues_failed_activation_needs_reset(void **state)
{
	struct fixture *f = *state;

	for (int bad = 0; bad < QUEUES; bad++) {
		f->spread.fail_queue = bad;
		start(f, DRIVER_OK | NEEDS_RESET);
		for (unsigned int i = 0; i < QUEUES; i++)
			assert_false(virtqueue_enabled(virtio_vq(f->d, i)));
		virtio_device_reset(f->d);
	}
	f->spread.fail_queue = -1;
	start(f, DRIVER_OK);
	echo(f, 2);
}

static void count_call(struct virtio_device *d, unsigned int index)
{
	on_queue_loop(d, index);
	atomic_fetch_add(&((struct spread *)d)->calls, 1 + 16 * index);
}

static void test_queues_call_reaches_enabled_queues(void **state)
{
	struct fixture *f = *state;

	virtio_queues_call(f->d, count_call);
	assert_int_equal(f->spread.calls, 0);
	for (unsigned int i = 0; i < QUEUES; i++)
		fake_queue_init(&f->q[i], &f->ram, RING(i), 16);
	assert_int_equal(fake_start(f->d, 0, f->q, 3), DRIVER_OK);
	virtio_queues_call(f->d, count_call);
	assert_int_equal(f->spread.calls, 3 + 16 * (1 + 2));
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_queues_work_on_their_own_loops),
		T(test_queues_quiesce_and_resume_on_all_loops),
		T(test_queues_malformed_one_stops_all),
		T(test_queues_failed_activation_needs_reset),
		T(test_queues_call_reaches_enabled_queues),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
