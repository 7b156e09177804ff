/* SPDX-License-Identifier: MIT */
/* Writing and reading streams. */
#include "save/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "save/crc32c.h"
#include "save/page.h"
#include "save/state_file.h"
#include "state.h"

#define HEADER_BYTES	40
#define RECORD_BYTES	88
#define END_PART	UINT32_MAX

#define FLAG_RUNNING	1u
#define FLAG_SHARED	2u

static const uint8_t magic[8] = { 'M', 'O', 'T', 'E', 'M', 'O', 'V', 'E' };

/* In front of a chunk's pages; the last one has END_PART and counts the others in
 * chunk. */
struct record {
	uint32_t part, chunk;
	uint32_t crc;		/* of the pages that follow */
	uint64_t pages[MEMORY_CHUNK_WORDS];	/* bit: it is there */
};

static unsigned int pages_of(const struct stream_part *part, uint64_t chunk)
{
	uint64_t left = (part->len_bytes - chunk * MEMORY_CHUNK_BYTES) /
			MEMORY_PAGE_BYTES;

	return left < MEMORY_CHUNK_PAGES ? (unsigned int)left :
					   MEMORY_CHUNK_PAGES;
}

static uint64_t chunks_of(const struct stream_part *part)
{
	return (part->len_bytes + MEMORY_CHUNK_BYTES - 1) / MEMORY_CHUNK_BYTES;
}

/* Of it in the stream. */
static uint64_t chunks_in(const struct stream_part *part)
{
	return part->elsewhere ? 0 : chunks_of(part);
}

/* ---- writing -------------------------------------------------------------- */

/* Ends a block with its checksum and sends it. */
static int send(struct channel *c, struct state_writer *w)
{
	int ret;

	state_put_u32(w, crc32c(0, w->data, w->len_bytes));
	ret = w->error ? w->error : channel_write(c, w->data, w->len_bytes);
	state_writer_deinit(w);
	return ret;
}

int stream_write_header(struct channel *c, const struct stream_header *h,
			const uint8_t *state)
{
	struct state_writer w = STATE_WRITER_INIT;
	int ret;

	state_put_bytes(&w, magic, sizeof(magic));
	state_put_u32(&w, STREAM_VERSION);
	state_put_u32(&w, state_file_machine);
	state_put_u32(&w, (h->running ? FLAG_RUNNING : 0) |
			  (h->shared ? FLAG_SHARED : 0));
	state_put_u32(&w, 0);
	state_put_u64(&w, h->state_bytes);
	state_put_u32(&w, 0);
	ret = send(c, &w);
	return ret ? ret : channel_write(c, state, h->state_bytes);
}

static int write_record(struct channel *c, const struct record *r)
{
	struct state_writer w = STATE_WRITER_INIT;

	state_put_u32(&w, r->part);
	state_put_u32(&w, r->chunk);
	state_put_u32(&w, r->crc);
	for (size_t i = 0; i < MEMORY_CHUNK_WORDS; i++)
		state_put_u64(&w, r->pages[i]);
	state_put_u64(&w, 0);
	return send(c, &w);
}

/* The pages that are no zeros, and their checksum; how many there are. */
static unsigned int find_pages(struct record *r, const uint8_t *host,
			       unsigned int pages)
{
	unsigned int found = 0;

	for (unsigned int p = 0; p < pages; p++) {
		const uint8_t *page = host + (size_t)p * MEMORY_PAGE_BYTES;

		if (page_is_zero(page))
			continue;
		r->pages[p / 64] |= 1ull << p % 64;
		r->crc = crc32c(r->crc, page, MEMORY_PAGE_BYTES);
		found++;
	}
	return found;
}

static int write_chunk(struct channel *c, const struct stream_part *part,
		       struct record *r, uint64_t *sent)
{
	uint8_t *host = part->host + (uint64_t)r->chunk * MEMORY_CHUNK_BYTES;
	unsigned int found = find_pages(r, host, pages_of(part, r->chunk));
	unsigned int first = 0, count;
	int ret;

	*sent = 0;
	if (!found)
		return 0;
	*sent = RECORD_BYTES + (uint64_t)found * MEMORY_PAGE_BYTES;
	ret = write_record(c, r);
	for (; !ret && memory_next_run(r->pages, &first, &count);
	     first += count)
		ret = channel_write(c, host + (size_t)first * MEMORY_PAGE_BYTES,
				    (size_t)count * MEMORY_PAGE_BYTES);
	return ret;
}

int stream_write_memory(struct channel *c, const struct stream_part *parts,
			size_t count, stream_progress progress,
			int (*check)(void *opaque), void *opaque)
{
	struct record end = { .part = END_PART };
	int ret = 0;

	for (uint32_t i = 0; !ret && i < count; i++)
		for (uint64_t k = 0; !ret && k < chunks_in(&parts[i]); k++) {
			struct record r = { .part = i, .chunk = (uint32_t)k };
			uint64_t sent;

			ret = write_chunk(c, &parts[i], &r, &sent);
			end.chunk += sent > 0;
			progress(opaque, (uint64_t)pages_of(&parts[i], k) *
						 MEMORY_PAGE_BYTES, sent);
		}
	if (!ret)
		ret = check(opaque);
	return ret ? ret : write_record(c, &end);
}

/* ---- reading -------------------------------------------------------------- */

static int damaged(struct error *e, const char *section, const char *what)
{
	return error_config(e, -EBADMSG, "section '%s': %s", section, what);
}

/* A block of known length, its last four bytes the checksum of the others. */
static bool intact(const uint8_t *block, size_t len)
{
	struct state_reader r;

	state_reader_init(&r, block + len - 4, 4);
	return state_get_u32(&r) == crc32c(0, block, len - 4);
}

static int decode_header(const uint8_t *block, struct stream_header *h,
			 struct error *e)
{
	uint8_t start[sizeof(magic)];
	uint32_t version, machine, flags;
	struct state_reader r;

	state_reader_init(&r, block, HEADER_BYTES);
	state_get_bytes(&r, start, sizeof(start));
	if (memcmp(start, magic, sizeof(magic)))
		return damaged(e, "header", "not a VM's stream of mote");
	version = state_get_u32(&r);
	machine = state_get_u32(&r);
	flags = state_get_u32(&r);
	state_get_u32(&r);
	h->state_bytes = state_get_u64(&r);
	if (version != STREAM_VERSION)
		return error_config(e, -EBADMSG, "section 'header': format "
				    "version %u: this mote reads version %u",
				    version, STREAM_VERSION);
	if (machine != state_file_machine)
		return error_config(e, -EBADMSG, "section 'header': of another "
				    "architecture (ELF machine %u, not %u)",
				    machine, state_file_machine);
	if (!intact(block, HEADER_BYTES) ||
	    flags & ~(FLAG_RUNNING | FLAG_SHARED) || !h->state_bytes ||
	    h->state_bytes > STATE_MAX_BYTES)
		return damaged(e, "header", "wrong checksum: the stream is "
			       "damaged");
	h->running = flags & FLAG_RUNNING;
	h->shared = flags & FLAG_SHARED;
	return 0;
}

int stream_read_header(struct channel *c, struct stream_header *h,
		       uint8_t **state, struct error *e)
{
	uint8_t block[HEADER_BYTES];
	int ret = channel_read(c, block, sizeof(block));

	if (!ret)
		ret = decode_header(block, h, e);
	if (ret)
		return ret;
	*state = malloc(h->state_bytes);
	if (!*state)
		return -ENOMEM;
	ret = channel_read(c, *state, h->state_bytes);
	if (ret) {
		free(*state);
		*state = NULL;
	}
	return ret;
}

/* The last: it has no pages, and as many were before it as it says. */
static bool possible_end(const struct record *r, uint32_t records)
{
	unsigned int first = 0, n;

	return r->chunk == records && !r->crc &&
	       !memory_next_run(r->pages, &first, &n);
}

/* Later than the one before, inside RAM, and of at least one page. */
static bool possible(const struct record *r, const struct record *last,
		     const struct stream_part *parts, size_t count)
{
	unsigned int pages, first = 0, n;

	if (r->part >= count || r->chunk >= chunks_in(&parts[r->part]))
		return false;
	if (last->part != END_PART &&
	    (r->part < last->part ||
	     (r->part == last->part && r->chunk <= last->chunk)))
		return false;
	pages = pages_of(&parts[r->part], r->chunk);
	for (unsigned int p = pages; p < MEMORY_CHUNK_PAGES; p++)
		if (memory_chunk_has(r->pages, p))
			return false;
	return memory_next_run(r->pages, &first, &n);
}

static int read_record(struct channel *c, struct record *r, struct error *e)
{
	uint8_t block[RECORD_BYTES];
	struct state_reader reader;
	int ret = channel_read(c, block, sizeof(block));

	if (ret)
		return ret;
	if (!intact(block, sizeof(block)))
		return damaged(e, "memory", "wrong checksum: the stream is "
			       "damaged");
	state_reader_init(&reader, block, sizeof(block));
	r->part = state_get_u32(&reader);
	r->chunk = state_get_u32(&reader);
	r->crc = state_get_u32(&reader);
	for (size_t i = 0; i < MEMORY_CHUNK_WORDS; i++)
		r->pages[i] = state_get_u64(&reader);
	return 0;
}

/* Pages of a chunk from first to end are zeros. */
static void clear(const struct stream_part *part, uint64_t chunk,
		  unsigned int first, unsigned int end)
{
	if (part->zeros)
		return;
	for (; first < end; first++) {
		uint8_t *page = part->host + chunk * MEMORY_CHUNK_BYTES +
				(size_t)first * MEMORY_PAGE_BYTES;

		if (!page_is_zero(page))
			memset(page, 0, MEMORY_PAGE_BYTES);
	}
}

static int read_chunk(struct channel *c, const struct stream_part *part,
		      const struct record *r, uint64_t *received,
		      struct error *e)
{
	uint8_t *host = part->host + (uint64_t)r->chunk * MEMORY_CHUNK_BYTES;
	unsigned int first = 0, done = 0, count;
	uint32_t crc = 0;

	for (; memory_next_run(r->pages, &first, &count); first += count) {
		uint8_t *to = host + (size_t)first * MEMORY_PAGE_BYTES;
		size_t len = (size_t)count * MEMORY_PAGE_BYTES;
		int ret = channel_read(c, to, len);

		if (ret)
			return ret;
		crc = crc32c(crc, to, len);
		*received += len;
		clear(part, r->chunk, done, first);
		done = first + count;
	}
	clear(part, r->chunk, done, pages_of(part, r->chunk));
	if (crc == r->crc)
		return 0;
	return error_config(e, -EBADMSG, "section 'memory': wrong checksum of "
			    "the 2 MiB at %#llx of part %u: the stream is "
			    "damaged", (unsigned long long)r->chunk *
			    MEMORY_CHUNK_BYTES, r->part);
}

/* The chunks from *part, *chunk up to the record's, which are not there. */
static void skip_to(const struct record *r, const struct stream_part *parts,
		    size_t count, uint32_t *part, uint64_t *chunk,
		    stream_progress progress, void *opaque)
{
	while (*part < count) {
		if (*chunk == chunks_in(&parts[*part])) {
			++*part;
			*chunk = 0;
			continue;
		}
		if (*part == r->part && *chunk == r->chunk)
			return;
		clear(&parts[*part], *chunk, 0,
		      pages_of(&parts[*part], *chunk));
		progress(opaque, (uint64_t)pages_of(&parts[*part], *chunk) *
					 MEMORY_PAGE_BYTES, 0);
		++*chunk;
	}
}

int stream_read_memory(struct channel *c, const struct stream_part *parts,
		       size_t count, stream_progress progress, void *opaque,
		       struct error *e)
{
	struct record r = { 0 }, last = { .part = END_PART };
	uint32_t part = 0, records = 0;
	uint64_t chunk = 0, received;

	for (;; last = r, records++) {
		int ret = read_record(c, &r, e);
		bool end = r.part == END_PART;

		if (ret)
			return ret;
		if (end ? !possible_end(&r, records) :
			  !possible(&r, &last, parts, count))
			return damaged(e, "memory", "chunks are missing, or out "
				       "of order, or not of this VM's RAM");
		skip_to(&r, parts, count, &part, &chunk, progress, opaque);
		if (end)
			return 0;
		received = RECORD_BYTES;
		ret = read_chunk(c, &parts[part], &r, &received, e);
		if (ret)
			return ret;
		chunk++;
		progress(opaque, (uint64_t)pages_of(&parts[part], r.chunk) *
					 MEMORY_PAGE_BYTES, received);
	}
}
