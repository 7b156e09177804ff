/* SPDX-License-Identifier: MIT */
/*
 * Both ends of the network benchmark, static, so that it runs in any initramfs.
 *
 *	netload serve ADDRESS             prints "ready"
 *	netload send|receive HOST BYTES   a TCP stream: nanoseconds
 *	netload trip HOST COUNT           round trips of one byte: nanoseconds
 *
 * A client names its mode in its first byte. Times are from after the connect
 * until the last byte has reached the other program.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PORT	7010

static char buf[128 << 10];

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void put(int fd, uint64_t bytes)
{
	while (bytes) {
		size_t want = bytes < sizeof(buf) ? bytes : sizeof(buf);
		ssize_t n = write(fd, buf, want);

		if (n <= 0)
			die("write");
		bytes -= (uint64_t)n;
	}
}

static void get(int fd, uint64_t bytes)
{
	while (bytes) {
		size_t want = bytes < sizeof(buf) ? bytes : sizeof(buf);
		ssize_t n = read(fd, buf, want);

		if (n <= 0)
			die("read");
		bytes -= (uint64_t)n;
	}
}

/* What a client asks for. */
struct request {
	uint64_t mode;
	uint64_t amount;
};

static void answer(int fd)
{
	struct request r;

	get(fd, sizeof(r));
	memcpy(&r, buf, sizeof(r));
	if (r.mode == 's') {
		get(fd, r.amount);
		put(fd, 1);
	} else if (r.mode == 'r') {
		put(fd, r.amount);
	} else {
		while (r.amount--) {
			get(fd, 1);
			put(fd, 1);
		}
	}
}

static void set_no_delay(int fd)
{
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
}

static int serve(struct sockaddr_in *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), client;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	if (bind(fd, (struct sockaddr *)address, sizeof(*address)) ||
	    listen(fd, 8))
		die("listen");
	signal(SIGCHLD, SIG_IGN);
	puts("ready");
	fflush(stdout);
	while ((client = accept(fd, NULL, NULL)) >= 0) {
		set_no_delay(client);
		if (!fork()) {
			answer(client);
			_exit(0);
		}
		close(client);
	}
	return 1;
}

static uint64_t ask(int fd, const struct request *r)
{
	uint64_t start = now();

	memcpy(buf, r, sizeof(*r));
	put(fd, sizeof(*r));
	if (r->mode == 's') {
		put(fd, r->amount);
		get(fd, 1);
	} else if (r->mode == 'r') {
		get(fd, r->amount);
	} else {
		for (uint64_t i = 0; i < r->amount; i++) {
			put(fd, 1);
			get(fd, 1);
		}
	}
	return now() - start;
}

int main(int argc, char **argv)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(PORT) };
	struct request r;
	int fd;

	if (argc < 3 || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1)
		return 2;
	if (!strcmp(argv[1], "serve"))
		return serve(&address);
	if (argc < 4)
		return 2;
	r = (struct request){ (uint64_t)argv[1][0],
			      strtoull(argv[3], NULL, 10) };
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		die("connect");
	set_no_delay(fd);
	printf("netload %s %llu %llu\n", argv[1], (unsigned long long)r.amount,
	       (unsigned long long)ask(fd, &r));
	return 0;
}
