/* SPDX-License-Identifier: MIT */
/*
 * The vsock's tests and benchmark, on both sides: in the guest's initramfs and on
 * the host. An ADDRESS is vsock:CID:PORT, unix:PATH, or mote:PATH:PORT, the
 * guest's port by way of mote's socket. A client's first byte says what it
 * wants: E echo, D discard and count, G generate.
 *
 *	serve ADDRESS			serve clients, for ever
 *	echo ADDRESS COUNT BYTES	that many streams at once, checked
 *	messages ADDRESS		SOCK_SEQPACKET, echoed and checked
 *	refused ADDRESS			succeeds when a connection does not
 *	rtt ADDRESS COUNT		median round trip of a byte, in ns
 *	send|receive ADDRESS BYTES	throughput, in bytes a second
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/vm_sockets.h>

#define MAX_CLIENTS	2000
#define BUFFER		65536

static void die(const char *what)
{
	fprintf(stderr, "vsock-tool: %s: %s\n", what, strerror(errno));
	exit(1);
}

struct address {
	union {
		struct sockaddr any;
		struct sockaddr_vm vm;
		struct sockaddr_un un;
	} to;
	socklen_t len;
	const char *port;	/* of mote's guest, NULL: none */
};

static struct address parse(char *text)
{
	struct address a = { 0 };
	char *word = strchr(text, ':'), *last = strrchr(text, ':');

	if (!word)
		die(text);
	*word++ = '\0';
	if (!strcmp(text, "vsock")) {
		*last++ = '\0';
		a.to.vm = (struct sockaddr_vm){
			.svm_family = AF_VSOCK,
			.svm_cid = (unsigned int)strtoul(word, NULL, 0),
			.svm_port = (unsigned int)strtoul(last, NULL, 0),
		};
		a.len = sizeof(a.to.vm);
		return a;
	}
	if (!strcmp(text, "mote")) {
		*last++ = '\0';
		a.port = last;
	}
	a.to.un.sun_family = AF_UNIX;
	snprintf(a.to.un.sun_path, sizeof(a.to.un.sun_path), "%s", word);
	a.len = sizeof(a.to.un);
	return a;
}

static bool write_all(int fd, const void *data, size_t len)
{
	while (len) {
		ssize_t n = write(fd, data, len);

		if (n <= 0)
			return false;
		data = (const char *)data + n;
		len -= (size_t)n;
	}
	return true;
}

static bool read_all(int fd, void *data, size_t len)
{
	while (len) {
		ssize_t n = read(fd, data, len);

		if (n <= 0)
			return false;
		data = (char *)data + n;
		len -= (size_t)n;
	}
	return true;
}

/* -1 and errno; 0 for mote's refusal. */
static int try_connect(const struct address *a, int type)
{
	int fd = socket(a->to.any.sa_family, type, 0);
	char line[32];
	size_t n = 0;

	if (fd < 0 || connect(fd, &a->to.any, a->len)) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	if (!a->port)
		return fd;
	snprintf(line, sizeof(line), "CONNECT %s\n", a->port);
	if (!write_all(fd, line, strlen(line)))
		goto refused;
	do
		if (n == sizeof(line) || read(fd, line + n, 1) != 1)
			goto refused;
	while (line[n++] != '\n');
	if (!memcmp(line, "OK ", 3))
		return fd;
refused:
	close(fd);
	errno = ECONNREFUSED;
	return -1;
}

static int must_connect(const struct address *a, int type)
{
	int fd = try_connect(a, type);

	if (fd < 0)
		die("connect");
	return fd;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the server: one process, any number of clients ---------------------- */

struct client {
	char what;		/* 0: not said yet */
	size_t start, len;	/* of what waits to be written */
	uint64_t count;
	bool eof;
	char *data;
};

static struct pollfd polls[MAX_CLIENTS + 1];
static struct client clients[MAX_CLIENTS + 1];

/* False: the client is done. */
static bool take_input(int fd, struct client *c)
{
	ssize_t n;

	if (!c->what) {
		n = read(fd, &c->what, 1);
		return n == 1 || (n < 0 && errno == EAGAIN);
	}
	n = read(fd, c->data, BUFFER);
	if (n < 0)
		return errno == EAGAIN;
	c->start = 0;
	c->len = c->what == 'E' ? (size_t)n : 0;
	c->count += (uint64_t)n;
	if (n)
		return true;
	c->eof = true;
	if (c->what != 'D')
		return false;
	memcpy(c->data, &c->count, sizeof(c->count));
	c->len = sizeof(c->count);
	return true;
}

static bool give_output(int fd, struct client *c)
{
	ssize_t n;

	if (!c->len && c->what == 'G') {
		c->start = 0;
		c->len = BUFFER;
	}
	n = write(fd, c->data + c->start, c->len);
	if (n < 0)
		return errno == EAGAIN;
	c->start += (size_t)n;
	c->len -= (size_t)n;
	return c->len || !c->eof;
}

static void drop(int i, int *count)
{
	close(polls[i].fd);
	free(clients[i].data);
	polls[i] = polls[--*count];
	clients[i] = clients[*count];
}

static _Noreturn void serve(const struct address *a)
{
	int listener = socket(a->to.any.sa_family, SOCK_STREAM, 0), count = 1;

	if (listener < 0 || bind(listener, &a->to.any, a->len) ||
	    listen(listener, 1024))
		die("listen");
	polls[0] = (struct pollfd){ .fd = listener, .events = POLLIN };
	for (;;) {
		poll(polls, (nfds_t)count, -1);
		for (int i = count - 1; i > 0; i--) {
			struct client *c = &clients[i];
			short events = polls[i].revents;
			bool alive = true;

			if (events & POLLOUT)
				alive = give_output(polls[i].fd, c);
			else if (events)
				alive = take_input(polls[i].fd, c);
			if (!alive) {
				drop(i, &count);
				continue;
			}
			polls[i].events = c->len || c->what == 'G' ? POLLOUT :
								     POLLIN;
		}
		if (polls[0].revents && count <= MAX_CLIENTS) {
			int fd = accept(listener, NULL, NULL);

			if (fd < 0)
				continue;
			fcntl(fd, F_SETFL, O_NONBLOCK);
			polls[count] = (struct pollfd){ .fd = fd,
							.events = POLLIN };
			clients[count++] = (struct client){
				.data = calloc(1, BUFFER),
			};
		}
	}
}

/* ---- clients ------------------------------------------------------------- */

static uint32_t next_word(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void fill(uint32_t *state, uint32_t *words, size_t count)
{
	for (size_t i = 0; i < count; i++)
		words[i] = next_word(state);
}

/* One direction of a checked stream: pseudo-random words, as bytes. */
struct flow {
	uint32_t state, words[4096];
	size_t at;		/* bytes used of words */
	uint64_t left;
};

static char *flow_next(struct flow *f, size_t *len)
{
	if (f->at == sizeof(f->words)) {
		fill(&f->state, f->words, 4096);
		f->at = 0;
	}
	*len = sizeof(f->words) - f->at;
	if (*len > f->left)
		*len = f->left;
	return (char *)f->words + f->at;
}

static void flow_advance(struct flow *f, ssize_t n)
{
	f->at += (size_t)n;
	f->left -= (uint64_t)n;
}

static void send_some(int fd, struct flow *f)
{
	size_t len;
	char *from = flow_next(f, &len);
	ssize_t n = write(fd, from, len);

	if (n < 0 && errno != EAGAIN)
		die("write");
	if (n > 0)
		flow_advance(f, n);
	if (!f->left)
		shutdown(fd, SHUT_WR);
}

static bool check_some(int fd, struct flow *f)
{
	static char data[sizeof(f->words)];
	size_t len;
	char *expected = flow_next(f, &len);
	ssize_t n = read(fd, data, len);

	if (n < 0 && errno == EAGAIN)
		return true;
	if (n <= 0)
		die("read");
	if (memcmp(data, expected, (size_t)n))
		return false;
	flow_advance(f, n);
	return true;
}

/* Sends and checks at once: neither side waits for the other to be through. */
static int echo_one(int fd, uint32_t seed, uint64_t bytes)
{
	static struct flow out, in;
	char byte;

	out = in = (struct flow){ .state = seed, .at = sizeof(out.words),
				  .left = bytes };
	if (!write_all(fd, "E", 1))
		die("write");
	fcntl(fd, F_SETFL, O_NONBLOCK);
	while (in.left) {
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (out.left)
			p.events |= POLLOUT;
		poll(&p, 1, -1);
		if (p.revents & POLLOUT && out.left)
			send_some(fd, &out);
		if (p.revents & (POLLIN | POLLHUP | POLLERR) &&
		    !check_some(fd, &in)) {
			fprintf(stderr, "vsock-tool: wrong data in %u\n",
				seed);
			return 1;
		}
	}
	/* And then the end, and no error. */
	fcntl(fd, F_SETFL, 0);
	if (read(fd, &byte, 1))
		die("end of file");
	return 0;
}

static int echo(const struct address *a, int count, uint64_t bytes)
{
	int failed = 0, status;

	for (int i = 0; i < count; i++) {
		int fd = must_connect(a, SOCK_STREAM);

		if (!fork())
			exit(echo_one(fd, 12345u + (uint32_t)i, bytes));
		close(fd);
	}
	while (wait(&status) > 0)
		failed += status != 0;
	printf("%d streams of %d failed\n", failed, count);
	return failed != 0;
}

static int messages(const struct address *a)
{
	static uint32_t out[16384], in[16384];
	int fd = must_connect(a, SOCK_SEQPACKET);
	uint32_t state = 99;

	for (size_t len = 1; len <= sizeof(out); len += 1 + len / 2) {
		fill(&state, out, 16384);
		if (send(fd, out, len, 0) != (ssize_t)len ||
		    send(fd, out, 3, 0) != 3)
			die("send");
		if (recv(fd, in, sizeof(in), 0) != (ssize_t)len ||
		    memcmp(in, out, len) || recv(fd, in, sizeof(in), 0) != 3) {
			fprintf(stderr, "vsock-tool: message of %zu\n", len);
			return 1;
		}
	}
	printf("messages are whole\n");
	return 0;
}

static int refused(const struct address *a)
{
	uint64_t began = now_ns();
	int fd = try_connect(a, SOCK_STREAM);

	if (fd >= 0) {
		printf("accepted\n");
		return 1;
	}
	printf("%s %s\n", strerrorname_np(errno),
	       now_ns() - began < 1000000000 ? "at once" : "late");
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int rtt(const struct address *a, size_t count)
{
	uint64_t *ns = calloc(count, sizeof(*ns)), began;
	int fd = must_connect(a, SOCK_STREAM);
	char byte = 'E';

	if (!ns || !write_all(fd, &byte, 1))
		die("write");
	for (size_t i = 0; i < count; i++) {
		began = now_ns();
		if (!write_all(fd, &byte, 1) || !read_all(fd, &byte, 1))
			die("round trip");
		ns[i] = now_ns() - began;
	}
	qsort(ns, count, sizeof(*ns), compare);
	printf("%llu\n", (unsigned long long)ns[count / 2]);
	return 0;
}

static int throughput(const struct address *a, char what, uint64_t bytes)
{
	static char data[BUFFER];
	int fd = must_connect(a, SOCK_STREAM);
	uint64_t began = now_ns(), done = 0, counted;

	if (!write_all(fd, &what, 1))
		die("write");
	while (done < bytes) {
		ssize_t n = what == 'D' ? write(fd, data, sizeof(data)) :
					  read(fd, data, sizeof(data));

		if (n <= 0)
			die("transfer");
		done += (uint64_t)n;
	}
	if (what == 'D') {
		shutdown(fd, SHUT_WR);
		if (!read_all(fd, &counted, sizeof(counted)) ||
		    counted != done)
			die("count");
	}
	printf("%llu\n", (unsigned long long)((double)done * 1e9 /
					      (double)(now_ns() - began)));
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit limit;
	struct address a;
	uint64_t n[2] = { 0, 0 };

	if (argc < 3) {
		fprintf(stderr, "usage: see the source's first lines\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	a = parse(argv[2]);
	for (int i = 3; i < argc && i < 5; i++)
		n[i - 3] = strtoull(argv[i], NULL, 0);
	if (!strcmp(argv[1], "serve"))
		serve(&a);
	if (!strcmp(argv[1], "echo"))
		return echo(&a, (int)n[0], n[1]);
	if (!strcmp(argv[1], "messages"))
		return messages(&a);
	if (!strcmp(argv[1], "refused"))
		return refused(&a);
	if (!strcmp(argv[1], "rtt"))
		return rtt(&a, (size_t)n[0]);
	if (!strcmp(argv[1], "send"))
		return throughput(&a, 'D', n[0]);
	if (!strcmp(argv[1], "receive"))
		return throughput(&a, 'G', n[0]);
	fprintf(stderr, "vsock-tool: %s?\n", argv[1]);
	return 2;
}
