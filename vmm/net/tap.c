/* SPDX-License-Identifier: MIT */
/*
 * Tap and macvtap interfaces (Documentation/networking/tuntap.rst of Linux).
 * Set-up on the main thread, packets on the thread that owns the queues.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/net.h"

#define IOV_COUNT	1024
/* What may lie in the interface unread before the guest has to wait. */
#define OUTPUT_BYTES	(1 << 20)

/* Linux 6.2; older headers do not have them. */
#ifndef TUN_F_USO4
#define TUN_F_USO4	0x20
#define TUN_F_USO6	0x40
#endif

struct tap {
	struct net_backend base;
	unsigned int enabled;		/* pairs attached to the interface */
	struct iovec iov[IOV_COUNT];	/* without a header on the wire */
};

static struct tap *to_tap(struct net_backend *b)
{
	return (struct tap *)b;
}

static ssize_t tap_receive(struct net_backend *b, unsigned int pair,
			   const struct iovec *iov, unsigned int count)
{
	ssize_t n = readv(b->fds[pair], iov, (int)count);

	return n < 0 ? -errno : n;
}

static int tap_send(struct net_backend *b, unsigned int pair,
		    const struct iovec *iov, unsigned int count)
{
	return writev(b->fds[pair], iov, (int)count) < 0 ? -errno : 0;
}

/* The same for a descriptor that has frames only. */
static ssize_t bare_receive(struct net_backend *b, unsigned int pair,
			    const struct iovec *iov, unsigned int count)
{
	struct tap *t = to_tap(b);
	size_t left = NET_HDR_BYTES;
	ssize_t n;

	count = net_iov_skip(t->iov, IOV_COUNT, iov, count, NET_HDR_BYTES);
	n = tap_receive(b, pair, t->iov, count);
	if (n < 0)
		return n;
	for (unsigned int i = 0; left; i++) {
		size_t len = iov[i].iov_len < left ? iov[i].iov_len : left;

		memset(iov[i].iov_base, 0, len);
		left -= len;
	}
	return n + (ssize_t)NET_HDR_BYTES;
}

static int bare_send(struct net_backend *b, unsigned int pair,
		     const struct iovec *iov, unsigned int count)
{
	struct tap *t = to_tap(b);

	count = net_iov_skip(t->iov, IOV_COUNT, iov, count, NET_HDR_BYTES);
	return tap_send(b, pair, t->iov, count);
}

static unsigned int tun_flags(unsigned int offloads)
{
	unsigned int flags = 0;

	/* The kernel takes none of the others without checksums. */
	if (!(offloads & NET_CSUM))
		return 0;
	flags |= TUN_F_CSUM;
	flags |= offloads & NET_TSO4 ? TUN_F_TSO4 : 0;
	flags |= offloads & NET_TSO6 ? TUN_F_TSO6 : 0;
	flags |= offloads & NET_USO ? TUN_F_USO4 | TUN_F_USO6 : 0;
	/* ECN is a refinement of TSO. */
	if (offloads & NET_ECN && offloads & (NET_TSO4 | NET_TSO6))
		flags |= TUN_F_TSO_ECN;
	return flags;
}

static int tap_set_offloads(struct net_backend *b, unsigned int offloads)
{
	if (!b->headers)
		return 0;
	return ioctl(b->fds[0], TUNSETOFFLOAD, tun_flags(offloads)) ? -errno :
								      0;
}

static int tap_enable_pairs(struct net_backend *b, unsigned int count)
{
	struct tap *t = to_tap(b);
	int ret = 0;

	/* The last first: pair 0 always stays. */
	while (t->enabled > count && !ret) {
		struct ifreq r = { .ifr_flags = IFF_DETACH_QUEUE };

		if (ioctl(b->fds[t->enabled - 1], TUNSETQUEUE, &r))
			ret = -errno;
		else
			t->enabled--;
	}
	while (t->enabled < count && !ret) {
		struct ifreq r = { .ifr_flags = IFF_ATTACH_QUEUE };

		if (ioctl(b->fds[t->enabled], TUNSETQUEUE, &r))
			ret = -errno;
		else
			t->enabled++;
	}
	return ret;
}

static void tap_destroy(struct net_backend *b)
{
	for (unsigned int i = 0; i < b->pairs; i++)
		if (b->fds[i] >= 0)
			close(b->fds[i]);
	free(b);
}

static const struct net_backend_ops tap_ops = {
	.receive = tap_receive,
	.send = tap_send,
	.set_offloads = tap_set_offloads,
	.enable_pairs = tap_enable_pairs,
	.destroy = tap_destroy,
};

static const struct net_backend_ops bare_ops = {
	.receive = bare_receive,
	.send = bare_send,
	.set_offloads = tap_set_offloads,
	.enable_pairs = tap_enable_pairs,
	.destroy = tap_destroy,
};

/* ---- set-up -------------------------------------------------------------- */

/* An ioctl on an interface rather than on a descriptor of it. */
static int interface_ioctl(unsigned long request, struct ifreq *r)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int ret;

	if (fd < 0)
		return -errno;
	ret = ioctl(fd, request, r) ? -errno : 0;
	close(fd);
	return ret;
}

static void read_mtu(struct net_backend *b, const char *name)
{
	struct ifreq r = { 0 };

	memcpy(r.ifr_name, name, IFNAMSIZ);
	/* VIRTIO 1.2, 5.1.4.1: 68 to 65535. */
	if (!interface_ioctl(SIOCGIFMTU, &r) && r.ifr_mtu >= 68 &&
	    r.ifr_mtu <= UINT16_MAX)
		b->mtu = (uint16_t)r.ifr_mtu;
}

static void find_offloads(struct net_backend *b)
{
	const unsigned int tries[] = {
		NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_USO,
		NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN,
		NET_CSUM | NET_TSO4 | NET_TSO6,
		NET_CSUM,
	};

	for (size_t i = 0; i < sizeof(tries) / sizeof(tries[0]); i++) {
		if (tap_set_offloads(b, tries[i]))
			continue;
		b->offloads = tries[i];
		break;
	}
	tap_set_offloads(b, 0);
}

/* One descriptor of the interface that r names in the end. */
static int check_descriptor(int fd, bool *headers, struct ifreq *r,
			    bool limit_output, struct error *e)
{
	int size = (int)NET_HDR_BYTES, limit = OUTPUT_BYTES, flags;

	*r = (struct ifreq){ 0 };
	if (ioctl(fd, TUNGETIFF, r))
		return error_config(e, -EINVAL, "descriptor %d is no tap "
				    "interface", fd);
	if (!(r->ifr_flags & IFF_TAP) || !(r->ifr_flags & IFF_NO_PI))
		return error_config(e, -EINVAL, "descriptor %d: %.15s: not "
				    "opened with IFF_TAP and IFF_NO_PI", fd,
				    r->ifr_name);
	/* Whoever had it before may have left it so. */
	if (r->ifr_flags & IFF_DETACH_QUEUE &&
	    ioctl(fd, TUNSETQUEUE, &(struct ifreq){
		    .ifr_flags = IFF_ATTACH_QUEUE }))
		return error_errno(e, -errno, "descriptor %d: %.15s", fd,
				   r->ifr_name);
	*headers = r->ifr_flags & IFF_VNET_HDR;
	flags = fcntl(fd, F_GETFL);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) ||
	    (*headers && ioctl(fd, TUNSETVNETHDRSZ, &size)) ||
	    (limit_output && ioctl(fd, TUNSETSNDBUF, &limit)))
		return error_errno(e, -errno, "descriptor %d: %.15s", fd,
				   r->ifr_name);
	return 0;
}

int net_tap_adopt(struct net_backend **out, const int *fds, unsigned int pairs,
		  bool limit_output, struct error *e)
{
	struct tap *t = calloc(1, sizeof(*t));
	char name[IFNAMSIZ] = "";
	bool headers = false;
	struct ifreq r;
	int ret = 0;

	if (!t)
		return error_set(e, -ENOMEM, "out of memory");
	for (unsigned int i = 0; !ret && i < pairs; i++) {
		ret = check_descriptor(fds[i], &headers, &r, limit_output, e);
		if (!ret && i && (strncmp(name, r.ifr_name, IFNAMSIZ) ||
				  headers != t->base.headers))
			ret = error_config(e, -EINVAL, "descriptors %d and %d "
					   "are not of one interface", fds[0],
					   fds[i]);
		memcpy(name, r.ifr_name, IFNAMSIZ);
		t->base.headers = headers;
		t->base.fds[i] = fds[i];
	}
	if (ret) {
		free(t);
		return ret;
	}
	t->base.ops = headers ? &tap_ops : &bare_ops;
	t->base.pairs = t->enabled = pairs;
	if (headers)
		find_offloads(&t->base);
	read_mtu(&t->base, name);
	*out = &t->base;
	return 0;
}

/* A descriptor of the interface, as one of several queues or as the only one. */
static int open_queue(const char *name, bool multi, struct error *e)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK), ret;

	if (fd < 0)
		return error_errno(e, -errno, "tap %s: /dev/net/tun", name);
	if (multi)
		r.ifr_flags |= IFF_MULTI_QUEUE;
	memcpy(r.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	if (!ioctl(fd, TUNSETIFF, &r))
		return fd;
	ret = -errno;
	close(fd);
	if (ret == -EINVAL)
		return error_set(e, ret, "tap %s: %s", name, multi ?
				 "not a tap interface with several queues" :
				 "not a tap interface");
	if (ret == -EPERM)
		return error_set(e, ret, if_nametoindex(name) ?
				 "tap %s belongs to another user" :
				 "tap %s does not exist, and to make it takes "
				 "CAP_NET_ADMIN", name);
	return error_errno(e, ret, "tap %s", name);
}

static void bring_up(const char *name)
{
	struct ifreq r = { 0 };

	memcpy(r.ifr_name, name, strnlen(name, IFNAMSIZ - 1));
	if (interface_ioctl(SIOCGIFFLAGS, &r))
		return;
	r.ifr_flags |= IFF_UP;
	interface_ioctl(SIOCSIFFLAGS, &r);
}

int net_tap_create(struct net_backend **out, const char *name,
		   unsigned int pairs, bool limit_output, struct error *e)
{
	bool made = !if_nametoindex(name), multi = pairs > 1;
	int fds[NET_MAX_PAIRS], ret = 0;
	unsigned int opened = 0;

	while (!ret && opened < pairs) {
		int fd = open_queue(name, multi, e);

		/* One queue of an interface made for several will do, too. */
		if (fd == -EINVAL && !multi)
			fd = open_queue(name, true, NULL);
		if (fd < 0)
			ret = fd;
		else
			fds[opened++] = fd;
	}
	if (!ret)
		ret = net_tap_adopt(out, fds, pairs, limit_output, e);
	if (ret) {
		while (opened)
			close(fds[--opened]);
		return ret;
	}
	if (made)
		bring_up(name);
	return 0;
}
