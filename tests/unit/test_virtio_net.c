/* SPDX-License-Identifier: MIT */
/* LINK: error loop iothread guest_mem state virtio/virtqueue virtio/device% */
/* LINK: virtio/net virtio/net_queue */
/* LINK: virtio/net_backend virtio/net_ctrl virtio/net_receive virtio/net_state */
/* LINK: virtio/net_vhost virtio/vhost net/net net/stream */
/* WITH: fake_driver */
#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_driver.h"
#include "state.h"
#include "virtio/net.h"

#define BIT(n)		(UINT64_C(1) << (n))
#define DATA		(FAKE_RAM_BASE + 0x100000)
#define NEEDS_RESET	0x40
#define HDR		NET_HDR_BYTES
#define RX		0
#define TX		1
#define MERGE		BIT(VIRTIO_NET_F_MRG_RXBUF)
/* VIRTIO_NET_F_GUEST_USO4, _USO6, HOST_USO: not in older headers. */
#define USO4		BIT(54)
#define USO6		BIT(55)
#define HOST_USO	BIT(56)

/* A tap made of datagram sockets; the test has the other ends. */
struct fake_backend {
	struct net_backend base;
	int peers[NET_MAX_PAIRS];
	_Atomic unsigned int offloads, enabled;
};

struct fixture {
	struct fake_ram ram;
	struct iothread *thread;
	struct fake_backend *b;
	struct virtio_device *d;
	struct fake_irq irq;
	struct fake_queue q[5];
	uint8_t buf[NET_PACKET_MAX + 1];
};

static ssize_t fake_receive(struct net_backend *b, unsigned int pair,
			    const struct iovec *iov, unsigned int count)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov,
			    .msg_iovlen = count };
	ssize_t n = recvmsg(b->fds[pair], &m, MSG_TRUNC | MSG_DONTWAIT);

	return n < 0 ? -errno : n ? n : -ECONNRESET;
}

static int fake_send(struct net_backend *b, unsigned int pair,
		     const struct iovec *iov, unsigned int count)
{
	struct msghdr m = { .msg_iov = (struct iovec *)iov,
			    .msg_iovlen = count };

	return sendmsg(b->fds[pair], &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ?
		       -errno : 0;
}

static int fake_set_offloads(struct net_backend *b, unsigned int offloads)
{
	((struct fake_backend *)b)->offloads = offloads;
	return 0;
}

static int fake_enable_pairs(struct net_backend *b, unsigned int count)
{
	((struct fake_backend *)b)->enabled = count;
	return 0;
}

static void fake_destroy(struct net_backend *b)
{
	for (unsigned int i = 0; i < b->pairs; i++) {
		close(b->fds[i]);
		close(((struct fake_backend *)b)->peers[i]);
	}
	free(b);
}

static const struct net_backend_ops fake_ops = {
	.receive = fake_receive,
	.send = fake_send,
	.set_offloads = fake_set_offloads,
	.enable_pairs = fake_enable_pairs,
	.destroy = fake_destroy,
};

static struct fake_backend *backend_new(unsigned int pairs)
{
	struct fake_backend *b = calloc(1, sizeof(*b));
	int size = 1 << 20;

	b->base = (struct net_backend){
		.ops = &fake_ops, .pairs = pairs, .headers = true,
		.mtu = 9000,
		.offloads = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN,
	};
	for (unsigned int i = 0; i < pairs; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair),
				 0);
		setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size,
			   sizeof(size));
		b->base.fds[i] = pair[0];
		b->peers[i] = pair[1];
	}
	return b;
}

static void create_with(struct fixture *f, struct fake_backend *b)
{
	struct virtio_net_params p = {
		.id = "net0", .mac = { 2, 0, 0, 0, 0, 7 },
	};
	struct error e;

	f->b = b;
	p.backend = &f->b->base;
	assert_int_equal(virtio_net_create(&f->d, &p, f->ram.mem,
					   iothread_loop(f->thread), &e), 0);
	fake_irq_init(&f->irq, f->d);
}

static void create(struct fixture *f, unsigned int pairs)
{
	create_with(f, backend_new(pairs));
}

static void queues_init(struct fixture *f, uint16_t rx_size)
{
	for (unsigned int i = 0; i < 5; i++)
		fake_queue_init(&f->q[i], &f->ram,
				FAKE_RAM_BASE + 0x10000 * i,
				i == RX ? rx_size : 64);
}

static void start(struct fixture *f, uint64_t features, uint16_t rx_size)
{
	queues_init(f, rx_size);
	assert_int_equal(fake_start(f->d, features |
				    BIT(VIRTIO_RING_F_EVENT_IDX), f->q,
				    2 * f->b->base.pairs + 1), 15);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	fake_ram_init(&f->ram);
	assert_int_equal(iothread_create(&f->thread, "test-io"), 0);
	create(f, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_device_destroy(f->d);
	iothread_destroy(f->thread);
	fake_ram_deinit(&f->ram);
	free(f);
	return 0;
}

static void inject(struct fixture *f, uint8_t fill, size_t frame)
{
	memset(f->buf, 0, HDR);
	memset(f->buf + HDR, fill, frame);
	f->buf[0] = VIRTIO_NET_HDR_F_DATA_VALID;
	assert_int_equal(send(f->b->peers[0], f->buf, HDR + frame, 0),
			 (ssize_t)(HDR + frame));
}

static void offer(struct fixture *f, gpa_t at, uint32_t len)
{
	const struct fake_buffer b = { at, len, true };

	fake_add(&f->q[RX], &b, 1);
}

static uint32_t used_wait(struct fixture *f, unsigned int index)
{
	uint32_t id, len;

	if (!fake_used_wait(&f->q[index], &f->irq, index, &id, &len))
		fail_msg("queue %u: nothing is used", index);
	return len;
}

static struct virtio_net_hdr_v1 header(struct fixture *f, gpa_t at)
{
	struct virtio_net_hdr_v1 h;

	memcpy(&h, fake_ptr(&f->ram, at), sizeof(h));
	return h;
}

/* What the device has done so far, it has done. */
static void nothing(void *opaque)
{
	(void)opaque;
}

static void settle(struct fixture *f)
{
	for (int i = 0; i < 3; i++)
		loop_call(iothread_loop(f->thread), nothing, NULL);
	usleep(20000);
}

/* ---- receiving ----------------------------------------------------------- */

static void test_net_receives_into_one_chain(void **state)
{
	struct fixture *f = *state;

	start(f, 0, 64);
	offer(f, DATA, 2048);
	offer(f, DATA + 0x1000, 2048);
	fake_kick(f->d, RX);
	inject(f, 0x11, 60);
	assert_int_equal(used_wait(f, RX), HDR + 60);
	assert_int_equal(header(f, DATA).num_buffers, 1);
	/* Not negotiated: not seen. */
	assert_int_equal(header(f, DATA).flags, 0);
	assert_int_equal(*(uint8_t *)fake_ptr(&f->ram, DATA + HDR + 59), 0x11);
	inject(f, 0x22, 1514);
	assert_int_equal(used_wait(f, RX), HDR + 1514);
}

static void test_net_receive_waits_for_buffers(void **state)
{
	struct fixture *f = *state;
	struct virtio_net_counters rx, tx;

	start(f, MERGE | BIT(VIRTIO_NET_F_GUEST_CSUM), 64);
	for (int i = 0; i < 5; i++)
		inject(f, (uint8_t)i, 100);
	settle(f);
	virtio_net_count(f->d, &rx, &tx);
	assert_int_equal(rx.packets, 0);
	for (unsigned int i = 0; i < 5; i++) {
		offer(f, DATA + 0x1000 * i, 2048);
		fake_kick(f->d, RX);
		assert_int_equal(used_wait(f, RX), HDR + 100);
		assert_int_equal(*(uint8_t *)fake_ptr(&f->ram, DATA + HDR +
						      0x1000 * i), i);
	}
	assert_int_equal(header(f, DATA).flags, VIRTIO_NET_HDR_F_DATA_VALID);
	virtio_net_count(f->d, &rx, &tx);
	assert_int_equal(rx.packets, 5);
	assert_int_equal(rx.bytes, 500);
	assert_int_equal(rx.drops + rx.errors, 0);
}

/* The chains of one packet, straight from the back end or by way of ours. */
static void merged(struct fixture *f, unsigned int chains, uint32_t size,
		   size_t frame)
{
	size_t left = HDR + frame, at = HDR;
	unsigned int n = 0;

	start(f, MERGE, 128);
	for (unsigned int i = 0; i < chains; i++)
		offer(f, DATA + size * i, size);
	fake_kick(f->d, RX);
	settle(f);
	inject(f, 0, frame);
	for (; left; n++) {
		uint32_t len = used_wait(f, RX);

		assert_int_equal(len, left < size ? left : size);
		left -= len;
	}
	assert_int_equal(header(f, DATA).num_buffers, n);
	for (; at < HDR + frame; at++)
		assert_int_equal(*(uint8_t *)fake_ptr(&f->ram, DATA + at), 0);
	assert_int_equal(virtio_reg_status(f->d), 15);
}

static void test_net_merges_buffers(void **state)
{
	memset(((struct fixture *)*state)->ram.first, 0xee, FAKE_RAM_BYTES);
	merged(*state, 64, 2048, 60000);
}

static void test_net_merges_few_buffers(void **state)
{
	memset(((struct fixture *)*state)->ram.first, 0xee, FAKE_RAM_BYTES);
	merged(*state, 4, 1000, 3500);
}

static void test_net_long_packet_after_short_ones_is_whole(void **state)
{
	struct fixture *f = *state;
	const size_t frame = 60000;
	size_t left = HDR + frame;
	gpa_t at = DATA + 2048 * 20;

	start(f, MERGE, 64);
	for (unsigned int i = 0; i < 60; i++)
		offer(f, DATA + 2048 * i, 2048);
	fake_kick(f->d, RX);
	for (int i = 0; i < 20; i++) {
		inject(f, 1, 60);
		assert_int_equal(used_wait(f, RX), HDR + 60);
	}
	for (size_t i = 0; i < frame; i++)
		f->buf[HDR + i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(send(f->b->peers[0], f->buf, HDR + frame, 0),
			 HDR + frame);
	while (left)
		left -= used_wait(f, RX);
	assert_int_equal(header(f, at).num_buffers, 30);
	for (size_t i = 0; i < frame; i++)
		if (*(uint8_t *)fake_ptr(&f->ram, at + HDR + i) !=
		    (uint8_t)(i * 7 + i / 256))
			fail_msg("byte %zu", i);
}

static void test_net_packet_waits_until_it_fits(void **state)
{
	struct fixture *f = *state;

	start(f, MERGE, 64);
	offer(f, DATA, 1000);
	fake_kick(f->d, RX);
	inject(f, 0x55, 2500);
	settle(f);
	assert_int_equal(fake_used_idx(&f->q[RX]), 0);
	offer(f, DATA + 0x1000, 1000);
	fake_kick(f->d, RX);
	settle(f);
	assert_int_equal(fake_used_idx(&f->q[RX]), 0);
	offer(f, DATA + 0x2000, 1000);
	fake_kick(f->d, RX);
	assert_int_equal(used_wait(f, RX), 1000);
	assert_int_equal(used_wait(f, RX), 1000);
	assert_int_equal(used_wait(f, RX), 512);
	assert_int_equal(header(f, DATA).num_buffers, 3);
}

static void test_net_packet_too_long_for_the_ring_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct virtio_net_counters rx, tx;

	start(f, MERGE, 2);
	offer(f, DATA, 1000);
	offer(f, DATA + 0x1000, 1000);
	fake_kick(f->d, RX);
	inject(f, 0x55, 2500);
	inject(f, 0x66, 100);
	assert_int_equal(used_wait(f, RX), HDR + 100);
	virtio_net_count(f->d, &rx, &tx);
	assert_int_equal(rx.drops, 1);
	assert_int_equal(rx.packets, 1);
}

static void test_net_packet_too_long_for_its_chain_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct virtio_net_counters rx, tx;

	start(f, 0, 64);
	memset(f->ram.first + (DATA - FAKE_RAM_BASE), 0xee, 0x2000);
	offer(f, DATA, 200);
	offer(f, DATA + 0x1000, 200);
	fake_kick(f->d, RX);
	inject(f, 0x55, 500);
	inject(f, 0x66, 100);
	assert_int_equal(used_wait(f, RX), HDR + 100);
	assert_int_equal(*(uint8_t *)fake_ptr(&f->ram, DATA + 200), 0xee);
	virtio_net_count(f->d, &rx, &tx);
	assert_int_equal(rx.drops, 1);
}

static void test_net_runt_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct virtio_net_counters rx, tx;

	start(f, 0, 64);
	offer(f, DATA, 2048);
	fake_kick(f->d, RX);
	assert_int_equal(send(f->b->peers[0], f->buf, 13, 0), 13);
	inject(f, 0x66, 100);
	assert_int_equal(used_wait(f, RX), HDR + 100);
	virtio_net_count(f->d, &rx, &tx);
	assert_int_equal(rx.errors, 1);
}

/* A chain of nothing, and the device-readable one, which is no receive buffer. */
static void test_net_odd_receive_chains_do_no_harm(void **state)
{
	struct fixture *f = *state;
	const struct fake_buffer readable = { DATA, 100, false };

	start(f, MERGE, 64);
	offer(f, DATA, 0);
	offer(f, DATA, 1);
	offer(f, DATA + 1, 11);
	offer(f, DATA + 12, 2000);
	fake_kick(f->d, RX);
	inject(f, 0x77, 100);
	assert_int_equal(used_wait(f, RX), 0);
	assert_int_equal(used_wait(f, RX), 1);
	assert_int_equal(used_wait(f, RX), 11);
	assert_int_equal(used_wait(f, RX), 100);
	assert_int_equal(header(f, DATA).num_buffers, 4);
	fake_add(&f->q[RX], &readable, 1);
	fake_kick(f->d, RX);
	inject(f, 0x77, 100);
	assert_true(fake_irq_wait(&f->irq.config));
	assert_int_equal(virtio_reg_status(f->d), 15 | NEEDS_RESET);
}

/* ---- transmitting -------------------------------------------------------- */

static void transmit(struct fixture *f, gpa_t at, uint32_t frame)
{
	const struct fake_buffer b[] = { { at, HDR, false },
					 { at + HDR, frame, false } };

	fake_add(&f->q[TX], b, 2);
}

static void test_net_sends_packets_with_their_header(void **state)
{
	struct fixture *f = *state;
	struct virtio_net_counters rx, tx;

	start(f, 0, 64);
	memset(fake_ptr(&f->ram, DATA), 0x11, 2000);
	transmit(f, DATA, 1514);
	fake_kick(f->d, TX);
	assert_int_equal(used_wait(f, TX), 0);
	assert_int_equal(recv(f->b->peers[0], f->buf, sizeof(f->buf), 0),
			 HDR + 1514);
	assert_int_equal(f->buf[0], 0x11);
	assert_int_equal(f->buf[HDR + 1513], 0x11);
	virtio_net_count(f->d, &rx, &tx);
	assert_int_equal(tx.packets, 1);
	assert_int_equal(tx.bytes, 1514);
}

static void test_net_full_back_end_holds_the_driver_up(void **state)
{
	struct fixture *f = *state;
	struct virtio_net_counters rx, tx;
	unsigned int sent = 0, taken = 0;
	struct pollfd p = { .fd = f->b->peers[0], .events = POLLIN };

	start(f, 0, 64);
	for (; sent < 64; sent++) {
		memset(fake_ptr(&f->ram, DATA + 16000 * sent + HDR), sent, 15000);
		transmit(f, DATA + 16000 * sent, 15000);
		if (sent == 31) {	/* descriptors are for 32 chains */
			sent++;
			break;
		}
	}
	fake_kick(f->d, TX);
	settle(f);
	virtio_net_count(f->d, &rx, &tx);
	assert_in_range(tx.packets, 1, sent - 1);
	assert_int_equal(fake_used_idx(&f->q[TX]), tx.packets);
	for (; taken < sent; taken++) {
		assert_int_equal(poll(&p, 1, 5000), 1);
		assert_int_equal(recv(p.fd, f->buf, sizeof(f->buf), 0),
				 HDR + 15000);
		assert_int_equal(f->buf[HDR + 14999], taken);
	}
	settle(f);
	virtio_net_count(f->d, &rx, &tx);
	assert_int_equal(tx.packets, sent);
	assert_int_equal(tx.errors + tx.drops, 0);
}

static void sent(struct fixture *f, unsigned int count, uint32_t frame)
{
	for (unsigned int i = 0; i < count; i++) {
		used_wait(f, TX);
		assert_int_equal(recv(f->b->peers[0], f->buf, sizeof(f->buf),
				      0), HDR + frame);
	}
}

#define MUCH	20000u

/* Turns that send much, kicked; false when one asked for a late kick. */
static bool kicks_each_time(struct fixture *f, unsigned int turns)
{
	bool each = true;

	while (turns--) {
		transmit(f, DATA, MUCH);
		fake_kick(f->d, TX);
		sent(f, 1, MUCH);
		if (fake_avail_event(&f->q[TX]) != f->q[TX].avail_idx)
			each = false;
	}
	return each;
}

/* Three packets behind one that was kicked: sent without a kick? */
static bool gathers(struct fixture *f)
{
	uint16_t end;
	bool all;

	kicks_each_time(f, 1);
	for (int i = 0; i < 3; i++)
		transmit(f, DATA, MUCH);
	end = f->q[TX].avail_idx;
	settle(f);
	all = fake_used_idx(&f->q[TX]) == end;
	if (!all)
		fake_kick(f->d, TX);
	sent(f, 3, MUCH);
	return all;
}

/* The device waits for a fraction of a millisecond, which may be over before the
 * test has done anything: it is tried several times. */
static void test_net_much_is_gathered(void **state)
{
	struct fixture *f = *state;
	bool late = false, gathered = false;

	start(f, 0, 64);
	transmit(f, DATA, 1000);
	fake_kick(f->d, TX);
	sent(f, 1, 1000);
	assert_int_equal(fake_avail_event(&f->q[TX]), f->q[TX].avail_idx);
	for (int i = 0; i < 50 && !late; i++) {
		late = !kicks_each_time(f, 1);
		/* Nothing follows: not worth the wait, nor is the next. */
		settle(f);
		assert_int_equal(fake_avail_event(&f->q[TX]),
				 f->q[TX].avail_idx);
		assert_true(kicks_each_time(f, 8));
	}
	assert_true(late);
	for (int i = 0; i < 50 && !gathered; i++) {
		gathered = gathers(f);
		if (!gathered)
			kicks_each_time(f, 8);
	}
	assert_true(gathered);
	/* A pause loses nothing of it. */
	kicks_each_time(f, 1);
	virtio_device_quiesce(f->d);
	transmit(f, DATA, MUCH);
	virtio_device_resume(f->d);
	sent(f, 1, MUCH);
}

static void test_net_bad_frames_are_errors(void **state)
{
	struct fixture *f = *state;
	const struct fake_buffer shorter = { DATA, HDR + 13, false };
	const struct fake_buffer longer = { DATA, NET_PACKET_MAX + 1, false };
	const struct fake_buffer writable = { DATA, 100, true };
	struct virtio_net_counters rx, tx;

	start(f, 0, 64);
	fake_add(&f->q[TX], &shorter, 1);
	fake_add(&f->q[TX], &longer, 1);
	fake_kick(f->d, TX);
	used_wait(f, TX);
	used_wait(f, TX);
	virtio_net_count(f->d, &rx, &tx);
	assert_int_equal(tx.errors, 2);
	assert_int_equal(tx.packets, 0);
	fake_add(&f->q[TX], &writable, 1);
	fake_kick(f->d, TX);
	assert_true(fake_irq_wait(&f->irq.config));
	assert_int_equal(virtio_reg_status(f->d), 15 | NEEDS_RESET);
}

/* The rest of a frame that the socket took in part needs no other to follow. */
static void test_net_stream_sends_the_rest_of_a_frame(void **state)
{
	struct fixture *f = *state;
	int pair[2], size = 4096, frames = 3;
	struct net_backend *stream;
	size_t left;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	assert_int_equal(net_stream_create(&stream, pair[0], NULL), 0);
	virtio_device_destroy(f->d);
	create(f, 1);
	stream->mtu = 9000;
	stream->offloads = f->b->base.offloads;
	assert_int_equal(virtio_net_set_backend(f->d, stream, NULL), 0);
	queues_init(f, 64);
	assert_int_equal(fake_start(f->d, BIT(VIRTIO_RING_F_EVENT_IDX), f->q,
				    3), 15);
	for (int i = 0; i < frames; i++)
		transmit(f, DATA + 0x10000 * i, 50000);
	fake_kick(f->d, TX);
	settle(f);
	left = (size_t)frames * (4 + 50000);
	while (left) {
		struct pollfd p = { .fd = pair[1], .events = POLLIN };
		ssize_t n;

		assert_int_equal(poll(&p, 1, 5000), 1);
		n = read(pair[1], f->buf, sizeof(f->buf));
		assert_true(n > 0 && (size_t)n <= left);
		left -= (size_t)n;
	}
	close(pair[1]);
}

#define SLOW_FRAMES	1500u
#define SLOW_BYTES	1000u

/* Reads nothing for a while, then all; in order. */
static void *slow_peer(void *opaque)
{
	const int fd = *(int *)opaque;
	uint8_t frame[4 + SLOW_BYTES];
	uint32_t seq;

	usleep(300000);
	for (uint32_t i = 0; i < SLOW_FRAMES; i++) {
		if (recv(fd, frame, sizeof(frame), MSG_WAITALL) !=
		    sizeof(frame))
			return NULL;
		memcpy(&seq, frame + 4, sizeof(seq));
		if (seq != i)
			return NULL;
	}
	return opaque;
}

/*
 * A driver that lets only so many packets be on their way, and as Linux' asks to
 * hear of what is used when most of it is.
 */
static void test_net_slow_stream_holds_the_driver_up(void **state)
{
	const unsigned int most = 90;
	struct fixture *f = *state;
	unsigned int out = 0;
	struct net_backend *stream;
	struct virtio_net_counters rx, tx;
	pthread_t thread;
	uint32_t id, len;
	int pair[2];
	void *good;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	assert_int_equal(net_stream_create(&stream, pair[0], NULL), 0);
	virtio_device_destroy(f->d);
	create(f, 1);
	stream->mtu = 9000;
	stream->offloads = f->b->base.offloads;
	assert_int_equal(virtio_net_set_backend(f->d, stream, NULL), 0);
	queues_init(f, 64);
	fake_queue_init(&f->q[TX], &f->ram, FAKE_RAM_BASE + 0x10000, 256);
	assert_int_equal(fake_start(f->d, BIT(VIRTIO_RING_F_EVENT_IDX), f->q,
				    3), 15);
	pthread_create(&thread, NULL, slow_peer, &pair[1]);
	for (uint32_t i = 0; i < SLOW_FRAMES; i++) {
		gpa_t at = DATA + i % 128 * 0x800;

		while (fake_used(&f->q[TX], &id, &len))
			out--;
		while (out == most) {
			assert_true(fake_irq_wait(&f->irq.queue[TX]));
			while (fake_used(&f->q[TX], &id, &len))
				out--;
		}
		memcpy(fake_ptr(&f->ram, at + HDR), &i, sizeof(i));
		transmit(f, at, SLOW_BYTES);
		out++;
		fake_set_used_event(&f->q[TX], (uint16_t)(f->q[TX].used_idx +
							  out * 3 / 4));
		fake_kick(f->d, TX);
	}
	pthread_join(thread, &good);
	assert_non_null(good);
	/* The last one is counted after its peer has it. */
	settle(f);
	virtio_net_count(f->d, &rx, &tx);
	assert_int_equal(tx.packets, SLOW_FRAMES);
	assert_int_equal(tx.drops + tx.errors, 0);
	close(pair[1]);
}

/* ---- link and back end --------------------------------------------------- */

static struct virtio_net_config config(struct fixture *f)
{
	struct virtio_net_config c = { 0 };

	virtio_reg_config_read(f->d, 0, (uint8_t *)&c,
			       offsetof(struct virtio_net_config, speed));
	return c;
}

static void test_net_link_down_drops_both_ways(void **state)
{
	struct fixture *f = *state;
	struct virtio_net_counters rx, tx;

	start(f, MERGE, 64);
	offer(f, DATA, 2048);
	fake_kick(f->d, RX);
	assert_int_equal(config(f).status, VIRTIO_NET_S_LINK_UP);
	virtio_net_set_link(f->d, false);
	assert_true(fake_irq_wait(&f->irq.config));
	assert_int_equal(config(f).status, 0);
	inject(f, 1, 60);
	transmit(f, DATA + 0x1000, 60);
	fake_kick(f->d, TX);
	used_wait(f, TX);
	settle(f);
	virtio_net_count(f->d, &rx, &tx);
	assert_int_equal(rx.drops, 1);
	assert_int_equal(tx.drops, 1);
	virtio_net_set_link(f->d, true);
	assert_true(fake_irq_wait(&f->irq.config));
	inject(f, 2, 60);
	assert_int_equal(used_wait(f, RX), HDR + 60);
	assert_int_equal(*(uint8_t *)fake_ptr(&f->ram, DATA + HDR), 2);
}

static void test_net_back_end_that_goes_takes_the_link_along(void **state)
{
	struct fixture *f = *state;
	struct fake_backend *other = backend_new(1);
	struct error e;

	start(f, MERGE, 64);
	offer(f, DATA, 2048);
	fake_kick(f->d, RX);
	shutdown(f->b->peers[0], SHUT_RDWR);
	assert_true(fake_irq_wait(&f->irq.config));
	assert_false(virtio_net_link(f->d));
	transmit(f, DATA + 0x1000, 60);
	fake_kick(f->d, TX);
	used_wait(f, TX);
	/* However much it is: nobody looks again by himself. */
	transmit(f, DATA, MUCH);
	fake_kick(f->d, TX);
	used_wait(f, TX);
	assert_int_equal(fake_avail_event(&f->q[TX]), f->q[TX].avail_idx);
	/* Another one brings it back. */
	assert_int_equal(virtio_net_set_backend(f->d, &other->base, &e), 0);
	f->b = other;
	assert_true(virtio_net_link(f->d));
	inject(f, 3, 60);
	assert_int_equal(used_wait(f, RX), HDR + 60);
}

static void test_net_poorer_back_end_is_refused(void **state)
{
	struct fixture *f = *state;
	struct fake_backend *other = backend_new(1);
	struct error e;

	start(f, MERGE, 64);
	other->base.offloads = 0;
	assert_int_equal(virtio_net_set_backend(f->d, &other->base, &e),
			 -ENOTSUP);
	fake_destroy(&other->base);
	offer(f, DATA, 2048);
	fake_kick(f->d, RX);
	inject(f, 3, 60);
	assert_int_equal(used_wait(f, RX), HDR + 60);
}

static void test_net_other_back_end_goes_on(void **state)
{
	struct fixture *f = *state;
	struct fake_backend *other = backend_new(1), *narrow = backend_new(1);
	struct error e;

	start(f, MERGE | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE), 64);
	offer(f, DATA, 2048);
	offer(f, DATA + 2048, 2048);
	fake_kick(f->d, RX);
	inject(f, 1, 60);
	assert_int_equal(used_wait(f, RX), HDR + 60);
	/* The driver believes in 9000 bytes for as long as the device is. */
	narrow->base.mtu = 1500;
	assert_int_equal(virtio_net_set_backend(f->d, &narrow->base, &e),
			 -ENOTSUP);
	assert_non_null(strstr(e.text, "MTU is 1500, less than 9000"));
	fake_destroy(&narrow->base);
	other->base.mtu = 0;
	assert_int_equal(virtio_net_set_backend(f->d, &other->base, &e), 0);
	f->b = other;
	assert_int_equal(config(f).mtu, 9000);
	assert_int_equal(config(f).status,
			 VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	inject(f, 2, 60);
	assert_int_equal(used_wait(f, RX), HDR + 60);
	assert_int_equal(*(uint8_t *)fake_ptr(&f->ram, DATA + 2048 + HDR), 2);
}

/* ---- control queue ------------------------------------------------------- */

#define ACK_AT	(DATA + 0x8000)

/* The answer to a command; the control queue is queue `index`. */
static uint8_t control(struct fixture *f, unsigned int index, uint8_t class,
		       uint8_t command, const void *data, uint32_t len)
{
	struct virtio_net_ctrl_hdr head = { class, command };
	const struct fake_buffer b[] = {
		{ DATA + 0x7000, sizeof(head), false },
		{ DATA + 0x7100, len, false }, { ACK_AT, 1, true },
	};

	memcpy(fake_ptr(&f->ram, b[0].addr), &head, sizeof(head));
	memcpy(fake_ptr(&f->ram, b[1].addr), data, len);
	*(uint8_t *)fake_ptr(&f->ram, ACK_AT) = 0xff;
	fake_add(&f->q[index], b, 3);
	fake_kick(f->d, index);
	assert_int_equal(used_wait(f, index), 1);
	return *(uint8_t *)fake_ptr(&f->ram, ACK_AT);
}

static void test_net_control_commands_are_checked(void **state)
{
	static const uint8_t mac[6] = { 2, 1, 2, 3, 4, 5 };
	static const uint8_t tables[] = { 1, 0, 0, 0, 1, 2, 3, 4, 5, 6,
					  0, 0, 0, 0 };
	static const uint8_t huge[] = { 255, 255, 255, 255, 0, 0, 0, 0 };
	static const struct {
		uint8_t class, command;
		const void *data;
		uint32_t len;
		uint8_t answer;
	} commands[] = {
		{ VIRTIO_NET_CTRL_RX, 0, "\1", 1, VIRTIO_NET_OK },
		{ VIRTIO_NET_CTRL_RX, 1, "\0", 1, VIRTIO_NET_OK },
		{ VIRTIO_NET_CTRL_RX, 0, "\2", 1, VIRTIO_NET_ERR },
		{ VIRTIO_NET_CTRL_RX, 0, "\1\1", 2, VIRTIO_NET_ERR },
		{ VIRTIO_NET_CTRL_RX, 9, "\1", 1, VIRTIO_NET_ERR },
		{ VIRTIO_NET_CTRL_MAC, 0, tables, 14, VIRTIO_NET_OK },
		{ VIRTIO_NET_CTRL_MAC, 0, tables, 13, VIRTIO_NET_ERR },
		{ VIRTIO_NET_CTRL_MAC, 0, huge, 8, VIRTIO_NET_ERR },
		{ VIRTIO_NET_CTRL_MAC, 1, mac, 5, VIRTIO_NET_ERR },
		{ VIRTIO_NET_CTRL_MAC, 1, mac, 6, VIRTIO_NET_OK },
		{ VIRTIO_NET_CTRL_MAC, 2, mac, 6, VIRTIO_NET_ERR },
		{ VIRTIO_NET_CTRL_ANNOUNCE, 0, "", 0, VIRTIO_NET_OK },
		{ VIRTIO_NET_CTRL_MQ, 0, "\1\0", 2, VIRTIO_NET_ERR },
		{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, "\2\0\0\0\0\0\0\0", 8,
		  VIRTIO_NET_OK },
		{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, "\2\4\0\0\0\0\0\0", 8,
		  VIRTIO_NET_ERR },
		{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, "\2\0", 2,
		  VIRTIO_NET_ERR },
		{ 77, 0, "", 0, VIRTIO_NET_ERR },
	};
	struct fixture *f = *state;

	start(f, BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |
		 BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
		 BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) |
		 BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) |
		 BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS), 64);
	assert_int_equal(f->b->offloads, NET_CSUM | NET_TSO4);
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (control(f, 2, commands[i].class, commands[i].command,
			    commands[i].data, commands[i].len) !=
		    commands[i].answer)
			fail_msg("command %zu", i);
	assert_memory_equal(config(f).mac, mac, 6);
	assert_int_equal(f->b->offloads, NET_CSUM);
	/* A reset undoes what the driver has set. */
	virtio_reg_status_write(f->d, 0);
	assert_int_equal(config(f).mac[1], 0);
	assert_int_equal(f->b->offloads, 0);
}

/* A frame to an address of which the driver sees only what it asked for. */
static void inject_to(struct fixture *f, const char *to)
{
	memset(f->buf, 0, HDR + 60);
	memcpy(f->buf + HDR, to, 6);
	assert_int_equal(send(f->b->peers[0], f->buf, HDR + 60, 0), HDR + 60);
}

#define OWN		"\2\0\0\0\0\7"
#define OTHER		"\2\1\1\1\1\1"
#define LISTED		"\2\1\1\1\1\2"
#define GROUP		"\1\0\x5e\1\1\1"
#define LISTED_GROUP	"\1\0\x5e\1\1\2"
#define BROADCAST	"\xff\xff\xff\xff\xff\xff"

/* Which of them arrive, as bits; what is last always does. */
static unsigned int arriving(struct fixture *f)
{
	static const char *const all[] = {
		OTHER, LISTED, GROUP, LISTED_GROUP, BROADCAST, OWN,
	};
	const struct vring_desc *desc = fake_ptr(&f->ram, f->q[RX].config.desc);
	unsigned int bits = 0, i = 0;

	for (size_t k = 0; k < 6; k++) {
		offer(f, DATA + 0x10000 + 2048u * f->q[RX].avail_idx, 2048);
		inject_to(f, all[k]);
	}
	fake_kick(f->d, RX);
	while (i < 6) {
		uint32_t id, len;
		const char *at;

		assert_true(fake_used_wait(&f->q[RX], &f->irq, RX, &id, &len));
		at = fake_ptr(&f->ram, desc[id].addr + HDR);
		while (i < 6 && memcmp(all[i], at, 6))
			i++;
		bits |= 1u << i++;
	}
	return bits;
}

static void test_net_filters_what_the_driver_does_not_want(void **state)
{
	static const char tables[] = "\1\0\0\0" LISTED
				     "\1\0\0\0" LISTED_GROUP;
	struct fixture *f = *state;
	uint8_t many[8 + 65 * 6] = { 65 };

	start(f, BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX), 64);
	assert_int_equal(arriving(f), 0x3f);
	control(f, 2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, "", 1);
	assert_int_equal(arriving(f), 0x30);
	assert_int_equal(control(f, 2, VIRTIO_NET_CTRL_MAC, 0, tables, 20),
			 VIRTIO_NET_OK);
	assert_int_equal(arriving(f), 0x3a);
	control(f, 2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, "\1", 1);
	assert_int_equal(arriving(f), 0x3e);
	control(f, 2, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, "", 1);
	/* More unicast addresses than there is room for: all of them. */
	assert_int_equal(control(f, 2, VIRTIO_NET_CTRL_MAC, 0, many,
				 sizeof(many)), VIRTIO_NET_OK);
	assert_int_equal(arriving(f), 0x33);
}

static void test_net_control_without_room_for_an_answer_breaks(void **state)
{
	struct fixture *f = *state;
	const struct fake_buffer b = { DATA, 3, false };

	start(f, BIT(VIRTIO_NET_F_CTRL_VQ), 64);
	fake_add(&f->q[2], &b, 1);
	fake_kick(f->d, 2);
	assert_true(fake_irq_wait(&f->irq.config));
	assert_int_equal(virtio_reg_status(f->d), 15 | NEEDS_RESET);
}

static void test_net_pairs_are_enabled_by_the_driver(void **state)
{
	struct fixture *f = *state;
	const struct fake_buffer b = { DATA + 0x3000, 2048, true };

	virtio_device_destroy(f->d);
	create(f, 2);
	assert_int_equal(config(f).max_virtqueue_pairs, 2);
	start(f, MERGE | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ), 64);
	assert_int_equal(f->b->enabled, 1);
	assert_int_equal(control(f, 4, VIRTIO_NET_CTRL_MQ, 0, "\3\0", 2),
			 VIRTIO_NET_ERR);
	assert_int_equal(control(f, 4, VIRTIO_NET_CTRL_MQ, 0, "\0\0", 2),
			 VIRTIO_NET_ERR);
	assert_int_equal(control(f, 4, VIRTIO_NET_CTRL_MQ, 0, "\2\0", 2),
			 VIRTIO_NET_OK);
	assert_int_equal(f->b->enabled, 2);
	fake_add(&f->q[2], &b, 1);
	fake_kick(f->d, 2);
	memset(f->buf, 0, HDR + 60);
	assert_int_equal(send(f->b->peers[1], f->buf, HDR + 60, 0), HDR + 60);
	assert_int_equal(used_wait(f, 2), HDR + 60);
	assert_int_equal(control(f, 4, VIRTIO_NET_CTRL_MQ, 0, "\1\0", 2),
			 VIRTIO_NET_OK);
	assert_int_equal(f->b->enabled, 1);
}

/* ---- features, pause, saving --------------------------------------------- */

static void test_net_offers_what_the_back_end_can(void **state)
{
	struct fixture *f = *state;
	uint64_t offered = f->d->offered;

	assert_true(offered & BIT(VIRTIO_NET_F_HOST_TSO4));
	assert_true(offered & BIT(VIRTIO_NET_F_MTU));
	assert_false(offered & BIT(VIRTIO_NET_F_MQ));
	assert_false(offered & HOST_USO);
	assert_int_equal(config(f).mtu, 9000);
	assert_int_equal(config(f).mac[5], 7);
}

static void test_net_udp_is_segmented_where_the_back_end_can(void **state)
{
	struct fixture *f = *state;
	struct fake_backend *b = backend_new(1);
	uint64_t on = htole64(USO4 | USO6 | BIT(VIRTIO_NET_F_GUEST_CSUM));

	virtio_device_destroy(f->d);
	b->base.offloads |= NET_USO;
	create_with(f, b);
	assert_true((f->d->offered & (USO4 | USO6 | HOST_USO)) ==
		    (USO4 | USO6 | HOST_USO));
	/* The back end knows both kinds or none. */
	start(f, BIT(VIRTIO_NET_F_GUEST_CSUM) | USO4, 64);
	assert_int_equal(b->offloads, NET_CSUM);
	virtio_reg_status_write(f->d, 0);
	start(f, BIT(VIRTIO_NET_F_GUEST_CSUM) | USO4 | USO6 | HOST_USO |
		 BIT(VIRTIO_NET_F_CTRL_VQ) |
		 BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS), 64);
	assert_int_equal(b->offloads, NET_CSUM | NET_USO);
	assert_int_equal(control(f, 2, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0,
				 "\2\0\0\0\0\0\0\0", 8), VIRTIO_NET_OK);
	assert_int_equal(b->offloads, NET_CSUM);
	assert_int_equal(control(f, 2, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &on,
				 8), VIRTIO_NET_OK);
	assert_int_equal(b->offloads, NET_CSUM | NET_USO);
}

static void test_net_quiesced_gives_unused_chains_back(void **state)
{
	struct fixture *f = *state;

	start(f, MERGE, 64);
	for (unsigned int i = 0; i < 40; i++)
		offer(f, DATA + 2048 * i, 2048);
	fake_kick(f->d, RX);
	inject(f, 1, 60);
	used_wait(f, RX);
	virtio_device_quiesce(f->d);
	inject(f, 2, 60);
	settle(f);
	assert_int_equal(fake_used_idx(&f->q[RX]), 1);
	virtio_device_resume(f->d);
	assert_int_equal(used_wait(f, RX), HDR + 60);
	assert_int_equal(*(uint8_t *)fake_ptr(&f->ram, DATA + 2048 + HDR), 2);
}

static void test_net_saved_and_loaded_goes_on(void **state)
{
	struct fixture *f = *state;
	struct state_writer w = STATE_WRITER_INIT;
	struct state_reader r;
	struct error e;

	start(f, MERGE | BIT(VIRTIO_NET_F_CTRL_VQ) |
		 BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
		 BIT(VIRTIO_NET_F_GUEST_ANNOUNCE), 64);
	for (unsigned int i = 0; i < 40; i++)
		offer(f, DATA + 2048 * i, 2048);
	fake_kick(f->d, RX);
	control(f, 2, VIRTIO_NET_CTRL_MAC, 1, "\2\0\0\0\0\x55", 6);
	inject(f, 1, 60);
	used_wait(f, RX);
	virtio_net_set_link(f->d, false);
	virtio_device_quiesce(f->d);
	virtio_device_save(f->d, &w);
	virtio_device_destroy(f->d);

	create(f, 1);
	for (size_t len = 0; len < w.len_bytes; len++) {
		state_reader_init(&r, w.data, len);
		assert_true(virtio_device_load(f->d, &r, &e) < 0);
	}
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(virtio_device_load(f->d, &r, &e), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	assert_int_equal(config(f).mac[5], 0x55);
	assert_int_equal(config(f).status, VIRTIO_NET_S_ANNOUNCE);
	virtio_device_resume(f->d);
	virtio_net_set_link(f->d, true);
	inject(f, 2, 60);
	assert_int_equal(used_wait(f, RX), HDR + 60);
	assert_int_equal(*(uint8_t *)fake_ptr(&f->ram, DATA + 2048 + HDR), 2);
	assert_int_equal(control(f, 2, VIRTIO_NET_CTRL_ANNOUNCE, 0, "", 0),
			 VIRTIO_NET_OK);
	assert_int_equal(config(f).status, VIRTIO_NET_S_LINK_UP);
	state_writer_deinit(&w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_net_receives_into_one_chain),
		TEST(test_net_receive_waits_for_buffers),
		TEST(test_net_merges_buffers),
		TEST(test_net_merges_few_buffers),
		TEST(test_net_long_packet_after_short_ones_is_whole),
		TEST(test_net_packet_waits_until_it_fits),
		TEST(test_net_packet_too_long_for_the_ring_is_dropped),
		TEST(test_net_packet_too_long_for_its_chain_is_dropped),
		TEST(test_net_runt_is_an_error),
		TEST(test_net_odd_receive_chains_do_no_harm),
		TEST(test_net_sends_packets_with_their_header),
		TEST(test_net_full_back_end_holds_the_driver_up),
		TEST(test_net_much_is_gathered),
		TEST(test_net_bad_frames_are_errors),
		TEST(test_net_stream_sends_the_rest_of_a_frame),
		TEST(test_net_slow_stream_holds_the_driver_up),
		TEST(test_net_link_down_drops_both_ways),
		TEST(test_net_back_end_that_goes_takes_the_link_along),
		TEST(test_net_poorer_back_end_is_refused),
		TEST(test_net_other_back_end_goes_on),
		TEST(test_net_control_commands_are_checked),
		TEST(test_net_filters_what_the_driver_does_not_want),
		TEST(test_net_control_without_room_for_an_answer_breaks),
		TEST(test_net_pairs_are_enabled_by_the_driver),
		TEST(test_net_offers_what_the_back_end_can),
		TEST(test_net_udp_is_segmented_where_the_back_end_can),
		TEST(test_net_quiesced_gives_unused_chains_back),
		TEST(test_net_saved_and_loaded_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
