/* SPDX-License-Identifier: MIT */
/*
 * A whole session of 9P messages out of arbitrary bytes: what fuzz_p9 and
 * test_p9_corpus run. The input is a list of: a length (u16), the room for the
 * reply (u16), a message of that length without its size field.
 */
#include "p9_session.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "p9/p9.h"

#define MAX_MESSAGES	200
#define REPLY_BYTES	16384
#define MAX_FILE_BYTES	(1u << 20)

static char top[128], share[160];
static struct loop *loop;
static struct p9_export *export;

struct call {
	struct p9_request request;
	struct iovec out, in;
	uint8_t *message, *reply;	/* of their own, for the sanitizers */
	unsigned int done;
	uint32_t bytes;
};

static void done(struct p9_request *r, uint32_t bytes)
{
	struct call *c = (struct call *)r;

	if (c->done++ || bytes > c->in.iov_len)
		abort();
	c->bytes = bytes;
}

static void batch_done(void *opaque)
{
	(void)opaque;
}

static int remove_one(const char *path, const struct stat *st, int flag,
		      struct FTW *ftw)
{
	(void)st;
	(void)flag;
	/* The share itself stays: the export holds it. */
	return ftw->level ? remove(path) : 0;
}

static void put(const char *name, const char *text)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", top, name);
	fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
}

static void fill_share(void)
{
	char path[256];

	put("share/file", "content");
	snprintf(path, sizeof(path), "%s/dir", share);
	mkdir(path, 0755);
	put("share/dir/inner", "inner");
	snprintf(path, sizeof(path), "%s/link", share);
	if (symlink("../secret", path))
		abort();
}

void p9_session_init(void)
{
	const struct rlimit size = { MAX_FILE_BYTES, MAX_FILE_BYTES };
	static struct p9_files files;
	struct p9_params p = { .path = share, .files = &files };
	struct error e;

	p9_files_init(&files, 512);
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &size);
	snprintf(top, sizeof(top), "%s/fuzz-p9-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(top))
		abort();
	snprintf(share, sizeof(share), "%s/share", top);
	mkdir(share, 0755);
	put("secret", "secret");
	/* Mapped: no device of the host's is ever made. */
	p.mapped = true;
	if (loop_create(&loop) || p9_export_open(&export, &p, &e))
		abort();
}

void p9_session_deinit(void)
{
	char path[256];

	p9_export_close(export);
	loop_destroy(loop);
	nftw(share, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	snprintf(path, sizeof(path), "%s/secret", top);
	unlink(path);
	rmdir(share);
	rmdir(top);
}

/* All that lies next to the share is as it was. */
static void check_outside(void)
{
	char path[256], text[16] = "";
	int fd;

	snprintf(path, sizeof(path), "%s/secret", top);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text)) != 6 ||
	    strcmp(text, "secret"))
		abort();
	close(fd);
}

static size_t submit(struct p9_server *s, struct call *c, const uint8_t *data,
		     size_t size)
{
	size_t len = (size_t)(data[0] | data[1] << 8);
	size_t room = (size_t)(data[2] | data[3] << 8) % REPLY_BYTES;
	uint32_t total;

	if (len > size - 4)
		len = size - 4;
	c->message = malloc(len + 4);
	c->reply = malloc(room + 1);
	if (!c->message || !c->reply)
		abort();
	total = (uint32_t)len + 4;
	memcpy(c->message, &total, 4);
	memcpy(c->message + 4, data + 4, len);
	c->out = (struct iovec){ c->message, len + 4 };
	c->in = (struct iovec){ c->reply, room };
	c->request = (struct p9_request){
		.out = &c->out, .out_count = 1, .out_bytes = len + 4,
		.in = &c->in, .in_count = 1, .in_bytes = room, .done = done,
	};
	p9_server_submit(s, &c->request);
	return len + 4;
}

void p9_session_run(const uint8_t *data, size_t size)
{
	static struct call calls[MAX_MESSAGES];
	struct p9_server *s;
	unsigned int n = 0;

	fill_share();
	memset(calls, 0, sizeof(calls));
	if (p9_server_create(&s, export, loop, batch_done, NULL))
		abort();
	while (size >= 4 && n < MAX_MESSAGES) {
		size_t used = submit(s, &calls[n++], data, size);

		data += used;
		size -= used;
	}
	p9_server_destroy(s);
	for (unsigned int i = 0; i < n; i++) {
		if (calls[i].done != 1)
			abort();
		free(calls[i].message);
		free(calls[i].reply);
	}
	check_outside();
	nftw(share, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}
