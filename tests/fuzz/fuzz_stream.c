/* SPDX-License-Identifier: MIT */
/* LINK: save/page save/stream save/channel save/output char/listener loop save/command save/crc32c% save/machine_x86 state error */
/* A VM's stream, from somebody who gets the checksums right. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "save/crc32c.h"
#include "save/state_file.h"
#include "save/stream.h"

#define HEADER	40u
#define RECORD	88u
#define PAGE	4096u
#define MIB	(1u << 20)
#define MOST	(4 * MIB)	/* of a stream */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

static void seal(uint8_t *block, size_t len)
{
	put32(block + len - 4, crc32c(0, block, len - 4));
}

static size_t pages_of(const uint8_t *record)
{
	size_t pages = 0;

	for (size_t i = 0; i < 64; i++)
		pages += (size_t)__builtin_popcount(record[12 + i]);
	return pages;
}

/* A record's pages follow it; with an even checksum in the input it is right. */
static size_t add_record(uint8_t *to, const uint8_t *record)
{
	size_t len = pages_of(record) * PAGE;

	memcpy(to, record, RECORD);
	memset(to + RECORD, record[8] | 1, len);
	if (!(record[8] & 1) && len)
		put32(to + 8, crc32c(0, to + RECORD, len));
	seal(to, RECORD);
	return RECORD + len;
}

/* The input is a header, two bytes of a state, and records without pages. */
static size_t make(uint8_t *to, const uint8_t *data, size_t size)
{
	size_t used = HEADER + 2;
	uint64_t state = 2;

	memcpy(to, data, used);
	memcpy(to, "MOTEMOVE\1\0\0\0", 12);
	put32(to + 12, state_file_machine);
	memcpy(to + 24, &state, sizeof(state));
	seal(to, HEADER);
	for (size_t at = used; at + RECORD <= size; at += RECORD) {
		if (used + RECORD + pages_of(data + at) * PAGE > MOST)
			break;
		used += add_record(to + used, data + at);
	}
	return used;
}

static void count(void *opaque, uint64_t ram_bytes, uint64_t sent_bytes)
{
	(void)sent_bytes;
	*(uint64_t *)opaque += ram_bytes;
}

static void read_stream(int fd)
{
	uint64_t ram_bytes = 2 * MIB + 4 * PAGE, done = 0;
	/* Of their own, so that a byte too many is seen. */
	uint8_t *ram[] = { aligned_alloc(PAGE, 2 * MIB + PAGE),
			   aligned_alloc(PAGE, 3 * PAGE) };
	struct stream_part parts[] = {
		{ memset(ram[0], 1, 2 * MIB + PAGE), 2 * MIB + PAGE, false, false },
		{ memset(ram[1], 0, 3 * PAGE), 3 * PAGE, true, false },
	};
	struct stream_header h;
	uint8_t *state = NULL;
	struct channel *c;
	struct error e;
	char uri[64];

	snprintf(uri, sizeof(uri), "file:/proc/self/fd/%d", fd);
	if (channel_open(&c, uri, CHANNEL_IN, &e))
		abort();
	if (!stream_read_header(c, &h, &state, &e) &&
	    !stream_read_memory(c, parts, h.shared ? 0 : 2, count, &done, &e) &&
	    done != (h.shared ? 0 : ram_bytes))
		abort();
	channel_close(c);
	free(state);
	free(ram[0]);
	free(ram[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t stream[MOST + RECORD];
	size_t len;
	int fd;

	if (size < HEADER + 2)
		return 0;
	len = make(stream, data, size);
	fd = memfd_create("stream", 0);
	if (fd < 0 || write(fd, stream, len) != (ssize_t)len)
		abort();
	read_stream(fd);
	close(fd);
	return 0;
}
