/* SPDX-License-Identifier: MIT */
/* LINK: error loop iothread guest_mem state virtio/virtqueue */
/* LINK: virtio/device% virtio/console_port virtio/serial virtio/serial_control virtio/serial_state */
/* LINK: char/chardev char/traffic char/ring char/null char/file char/unix char/connect char/listener char/pty char/stdio char/terminal char/escape */
/* WITH: fake_driver */
/* A port before a socket with somebody who reads slowly, or leaves. The test's
 * thread is the main loop and the driver in turn. */
#include "unit.h"

#include <linux/virtio_console.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fake_driver.h"
#include "virtio/serial.h"

#define RING(n)	(FAKE_RAM_BASE + 0x10000 * (gpa_t)(n))
#define DATA	(FAKE_RAM_BASE + 0x100000)
#define CHUNK	32768u
#define CHUNKS	64u

struct fixture {
	struct fake_ram ram;
	struct iothread *thread;
	struct loop *loop;
	struct chardev *cd;
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q[6];
	char dir[32], path[64];
	int client;
};

static void on_timeout(void *opaque)
{
	loop_stop(opaque);
}

static void spin(struct fixture *f)
{
	struct loop_timer t;

	assert_int_equal(loop_timer_init(f->loop, &t, on_timeout, f->loop), 0);
	loop_timer_set(&t, 5000000, 0);
	loop_run(f->loop);
	loop_timer_deinit(&t);
}

static void say(struct fixture *f, uint32_t id, uint16_t event)
{
	const struct virtio_console_control c = { id, event, 1 };
	uint32_t used, len;

	memcpy(fake_ptr(&f->ram, DATA), &c, sizeof(c));
	fake_add(&f->q[3], &(struct fake_buffer){ DATA, sizeof(c), false }, 1);
	fake_kick(f->d, 3);
	assert_true(fake_used_wait(&f->q[3], &f->irq, 3, &used, &len));
}

static void connect_client(struct fixture *f)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	strcpy(addr.sun_path, f->path);
	f->client = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_int_equal(connect(f->client, (struct sockaddr *)&addr,
				 sizeof(addr)), 0);
	spin(f);
}

static void ignore(void *opaque)
{
	(void)opaque;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct config_char cfg = { .kind = CHAR_UNIX, .path = f->path };
	const struct serial_host host = { .changed = ignore };
	struct error e;

	strcpy(f->dir, "/tmp/mote-unit-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/x", f->dir);
	fake_ram_init(&f->ram);
	assert_int_equal(loop_create(&f->loop), 0);
	assert_int_equal(iothread_create(&f->thread, "io"), 0);
	assert_int_equal(chardev_create(&f->cd, &cfg, f->loop, NULL, NULL, &e),
			 0);
	assert_int_equal(virtio_serial_create(&f->d, 2, &host, f->ram.mem,
					      iothread_loop(f->thread), &e), 0);
	fake_irq_init(&f->irq, f->d);
	assert_int_equal(virtio_serial_add(f->d, 1, "p", false, f->cd), 0);
	for (unsigned int i = 0; i < 6; i++)
		fake_queue_init(&f->q[i], &f->ram, RING(i), 64);
	assert_int_equal(fake_start(f->d, UINT64_MAX, f->q, 6), 15);
	for (unsigned int i = 0; i < 16; i++)
		fake_add(&f->q[2], &(struct fake_buffer){
			 DATA + 0x20000 + 64 * (gpa_t)i, 64, true }, 1);
	fake_kick(f->d, 2);
	say(f, 0, VIRTIO_CONSOLE_DEVICE_READY);
	say(f, 1, VIRTIO_CONSOLE_PORT_READY);
	say(f, 1, VIRTIO_CONSOLE_PORT_OPEN);
	connect_client(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	virtio_device_destroy(f->d);
	chardev_destroy(f->cd);
	iothread_destroy(f->thread);
	loop_destroy(f->loop);
	fake_ram_deinit(&f->ram);
	close(f->client);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* As much as the queue takes, of a pattern. */
static void send_all(struct fixture *f)
{
	uint8_t *p = fake_ptr(&f->ram, DATA);

	for (uint32_t i = 0; i < CHUNK; i++)
		p[i] = (uint8_t)(i * 7 >> 3);
	for (unsigned int i = 0; i < CHUNKS; i++)
		fake_add(&f->q[5], &(struct fake_buffer){ DATA, CHUNK, false },
			 1);
	fake_kick(f->d, 5);
}

static void test_port_slow_reader_gets_everything(void **state)
{
	struct fixture *f = *state;
	static uint8_t buf[10000];
	size_t total = 0;

	send_all(f);
	for (int i = 0; i < 20; i++)
		spin(f);
	/* It waits, and not all is taken. */
	assert_true(fake_used_idx(&f->q[5]) < CHUNKS);
	while (total < CHUNK * CHUNKS) {
		ssize_t n = read(f->client, buf, sizeof(buf));

		if (n <= 0) {
			spin(f);
			continue;
		}
		for (ssize_t i = 0; i < n; i++, total++)
			assert_int_equal(buf[i],
					 (uint8_t)(total % CHUNK * 7 >> 3));
	}
	assert_int_equal(fake_used_idx(&f->q[5]), CHUNKS);
	assert_int_equal(chardev_dropped_bytes(f->cd), 0);
}

static void test_port_reader_that_leaves_holds_nobody_up(void **state)
{
	struct fixture *f = *state;

	send_all(f);
	for (int i = 0; i < 20; i++)
		spin(f);
	assert_true(fake_used_idx(&f->q[5]) < CHUNKS);
	close(f->client);
	for (int i = 0; i < 400 && fake_used_idx(&f->q[5]) < CHUNKS; i++)
		spin(f);
	assert_int_equal(fake_used_idx(&f->q[5]), CHUNKS);
	connect_client(f);
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_port_slow_reader_gets_everything),
		T(test_port_reader_that_leaves_holds_nobody_up),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
