/* SPDX-License-Identifier: MIT */
/* The memory file's map. Any thread. */
#include <errno.h>
#include <stdlib.h>

#include "save/memory_internal.h"

int memory_map_init(struct memory_map *m, enum memory_kind kind,
		    uint64_t len_bytes)
{
	*m = (struct memory_map){
		.kind = kind,
		.len_bytes = len_bytes,
		.chunk_count = (len_bytes + MEMORY_CHUNK_BYTES - 1) /
			       MEMORY_CHUNK_BYTES,
	};
	m->chunks = calloc(m->chunk_count, sizeof(*m->chunks));
	return m->chunks ? 0 : -ENOMEM;
}

void memory_map_deinit(struct memory_map *m)
{
	free(m->chunks);
	*m = (struct memory_map){ 0 };
}

bool memory_chunk_empty(const struct memory_chunk *c)
{
	uint64_t any = 0;

	for (size_t i = 0; i < MEMORY_CHUNK_WORDS; i++)
		any |= c->pages[i] | c->zeros[i];
	return !any;
}

uint64_t memory_map_data_bytes(const struct memory_map *m)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < m->chunk_count; i++)
		for (size_t k = 0; k < MEMORY_CHUNK_WORDS; k++)
			pages += (uint64_t)__builtin_popcountll(
				m->chunks[i].pages[k]);
	return pages * PAGE;
}

void memory_map_save(const struct memory_map *m, struct state_writer *w)
{
	uint32_t used = 0;

	for (size_t i = 0; i < m->chunk_count; i++)
		used += !memory_chunk_empty(&m->chunks[i]);
	state_put_u8(w, (uint8_t)m->kind);
	state_put_u64(w, m->len_bytes);
	state_put_u32(w, used);
	for (size_t i = 0; i < m->chunk_count; i++) {
		const struct memory_chunk *c = &m->chunks[i];

		if (memory_chunk_empty(c))
			continue;
		state_put_u64(w, i);
		state_put_u32(w, c->crc);
		for (size_t k = 0; k < MEMORY_CHUNK_WORDS; k++)
			state_put_u64(w, c->pages[k]);
		for (size_t k = 0; m->kind == MEMORY_DIFF &&
				   k < MEMORY_CHUNK_WORDS; k++)
			state_put_u64(w, c->zeros[k]);
	}
}

unsigned int memory_chunk_pages(const struct memory_map *m, uint64_t i)
{
	uint64_t left = (m->len_bytes - i * MEMORY_CHUNK_BYTES) / PAGE;

	return left < MEMORY_CHUNK_PAGES ? (unsigned int)left :
					   MEMORY_CHUNK_PAGES;
}

/* A page is there, or has become zeros, or neither; and is inside. */
static bool chunk_valid(const struct memory_map *m, uint64_t i)
{
	const struct memory_chunk *c = &m->chunks[i];

	for (size_t k = 0; k < MEMORY_CHUNK_WORDS; k++)
		if (c->pages[k] & c->zeros[k])
			return false;
	for (unsigned int p = memory_chunk_pages(m, i); p < MEMORY_CHUNK_PAGES;
	     p++)
		if (memory_chunk_has(c->pages, p) ||
		    memory_chunk_has(c->zeros, p))
			return false;
	return !memory_chunk_empty(c);
}

static int load_chunk(struct memory_map *m, uint64_t *next,
		      struct state_reader *r)
{
	uint64_t i = state_get_u64(r);
	struct memory_chunk *c;

	if (state_reader_error(r))
		return state_reader_error(r);
	if (i < *next || i >= m->chunk_count)
		return -EPROTO;
	*next = i + 1;
	c = &m->chunks[i];
	c->crc = state_get_u32(r);
	for (size_t k = 0; k < MEMORY_CHUNK_WORDS; k++)
		c->pages[k] = state_get_u64(r);
	for (size_t k = 0; m->kind == MEMORY_DIFF && k < MEMORY_CHUNK_WORDS;
	     k++)
		c->zeros[k] = state_get_u64(r);
	if (state_reader_error(r))
		return state_reader_error(r);
	return chunk_valid(m, i) ? 0 : -EPROTO;
}

int memory_map_load(struct memory_map *m, struct state_reader *r)
{
	uint8_t kind = state_get_u8(r);
	uint64_t len = state_get_u64(r), next = 0;
	uint32_t used = state_get_u32(r);
	int ret = state_reader_error(r);

	*m = (struct memory_map){ 0 };
	if (ret)
		return ret;
	/* A chunk table is not larger than one for 16 TiB. */
	if (kind > MEMORY_DIFF || !len || len % PAGE || len > 16ull << 40 ||
	    (kind == MEMORY_LIVE && used))
		return -EPROTO;
	ret = memory_map_init(m, kind, len);
	for (uint32_t i = 0; !ret && i < used; i++)
		ret = load_chunk(m, &next, r);
	if (ret)
		memory_map_deinit(m);
	return ret;
}
