/* SPDX-License-Identifier: MIT */
/* Encoding and checking state files. One thread at a time. */
#include "save/state_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "save/crc32c.h"

#define HEADER_BYTES	40
#define ENTRY_BYTES	48

static const uint8_t magic[8] = { 'M', 'O', 'T', 'E', 'S', 'A', 'V', 'E' };

struct section {
	char tag[STATE_TAG_BYTES];
	uint32_t instance;
	struct state_writer w;
};

struct state_file {
	struct section *sections;
	size_t count;
};

/* ---- writing -------------------------------------------------------------- */

int state_file_create(struct state_file **out)
{
	*out = calloc(1, sizeof(**out));
	return *out ? 0 : -ENOMEM;
}

void state_file_destroy(struct state_file *f)
{
	if (!f)
		return;
	for (size_t i = 0; i < f->count; i++)
		state_writer_deinit(&f->sections[i].w);
	free(f->sections);
	free(f);
}

struct state_writer *state_file_add(struct state_file *f, const char *tag,
				    uint32_t instance)
{
	struct section *s = realloc(f->sections,
				    (f->count + 1) * sizeof(*s));

	if (!s)
		return NULL;
	f->sections = s;
	s = &s[f->count++];
	*s = (struct section){ .instance = instance };
	strncpy(s->tag, tag, sizeof(s->tag) - 1);
	return &s->w;
}

/* The table, and behind it what the sections hold. */
static void put_sections(const struct state_file *f, struct state_writer *table,
			 struct state_writer *body)
{
	uint64_t base = HEADER_BYTES + f->count * ENTRY_BYTES;

	for (size_t i = 0; i < f->count; i++) {
		const struct section *s = &f->sections[i];

		state_put_bytes(table, s->tag, sizeof(s->tag));
		state_put_u32(table, s->instance);
		state_put_u32(table, crc32c(0, s->w.data, s->w.len_bytes));
		state_put_u64(table, base + body->len_bytes);
		state_put_u64(table, s->w.len_bytes);
		state_put_u64(table, 0);
		state_put_bytes(body, s->w.data, s->w.len_bytes);
		if (s->w.error)
			body->error = s->w.error;
	}
}

static void put_header(const struct state_file *f, struct state_writer *w,
		       const struct state_writer *table, size_t file_bytes)
{
	state_put_bytes(w, magic, sizeof(magic));
	state_put_u32(w, STATE_FILE_VERSION);
	state_put_u32(w, state_file_machine);
	state_put_u32(w, (uint32_t)f->count);
	state_put_u32(w, 0);
	state_put_u64(w, file_bytes);
	state_put_u32(w, crc32c(0, table->data, table->len_bytes));
	state_put_u32(w, crc32c(0, w->data, w->len_bytes));
}

int state_file_encode(struct state_file *f, uint8_t **data, size_t *len_bytes)
{
	struct state_writer table = STATE_WRITER_INIT, w = STATE_WRITER_INIT;
	struct state_writer body = STATE_WRITER_INIT;
	int ret;

	put_sections(f, &table, &body);
	put_header(f, &w, &table,
		   HEADER_BYTES + table.len_bytes + body.len_bytes);
	state_put_bytes(&w, table.data, table.len_bytes);
	state_put_bytes(&w, body.data, body.len_bytes);
	ret = table.error ? table.error : body.error ? body.error : w.error;
	if (!ret && (w.len_bytes > STATE_MAX_BYTES ||
		     f->count > STATE_MAX_SECTIONS))
		ret = -E2BIG;
	state_writer_deinit(&table);
	state_writer_deinit(&body);
	if (ret) {
		state_writer_deinit(&w);
		return ret;
	}
	*data = w.data;
	*len_bytes = w.len_bytes;
	return 0;
}

/* ---- reading -------------------------------------------------------------- */

struct header {
	uint32_t version, machine, count;
	uint64_t file_bytes;
	uint32_t table_crc;
};

/* Before the checksum: where it is, is up to the version. */
static int check_header(struct state_reader *r, struct header *h,
			struct error *e)
{
	uint8_t start[sizeof(magic)];
	uint32_t crc;

	if (r->len_bytes < HEADER_BYTES)
		return error_config(e, -EINVAL, "section 'header': the file "
				    "ends inside it");
	state_get_bytes(r, start, sizeof(start));
	if (memcmp(start, magic, sizeof(magic)))
		return error_config(e, -EINVAL, "section 'header': not a saved "
				    "VM of mote");
	h->version = state_get_u32(r);
	h->machine = state_get_u32(r);
	h->count = state_get_u32(r);
	state_get_u32(r);
	h->file_bytes = state_get_u64(r);
	h->table_crc = state_get_u32(r);
	crc = state_get_u32(r);
	if (h->version != STATE_FILE_VERSION)
		return error_config(e, -EINVAL, "section 'header': format "
				    "version %u: this mote reads version %u",
				    h->version, STATE_FILE_VERSION);
	if (h->machine != state_file_machine)
		return error_config(e, -EINVAL, "section 'header': saved on "
				    "another architecture (ELF machine %u, not "
				    "%u)", h->machine, state_file_machine);
	if (crc != crc32c(0, r->data, HEADER_BYTES - 4))
		return error_config(e, -EINVAL, "section 'header': wrong "
				    "checksum: the file is damaged");
	return 0;
}

static int check_extent(const struct header *h, const struct state_reader *r,
			struct error *e)
{
	if (r->len_bytes != h->file_bytes)
		return error_config(e, -EINVAL, "section 'header': the file has "
				    "%zu bytes, not %llu: it is truncated or "
				    "damaged", r->len_bytes,
				    (unsigned long long)h->file_bytes);
	if (!h->count || h->count > STATE_MAX_SECTIONS ||
	    h->count * (size_t)ENTRY_BYTES > r->len_bytes - HEADER_BYTES)
		return error_config(e, -EINVAL, "section 'header': %u sections "
				    "are impossible", h->count);
	if (crc32c(0, r->data + HEADER_BYTES,
		   h->count * (size_t)ENTRY_BYTES) != h->table_crc)
		return error_config(e, -EINVAL, "section 'table': wrong "
				    "checksum: the file is damaged");
	return 0;
}

static bool valid_tag(const char *tag)
{
	size_t len = strnlen(tag, STATE_TAG_BYTES);

	if (!len || len == STATE_TAG_BYTES)
		return false;
	for (size_t i = 0; i < len; i++)
		if ((tag[i] < 'a' || tag[i] > 'z') && tag[i] != '-')
			return false;
	return true;
}

/* One entry; *end is where the one before ended: there are no gaps. */
static int read_entry(struct state_reader *r, struct state_section *s,
		      uint64_t *end, struct error *e)
{
	uint32_t crc;
	uint64_t offset, len;

	state_get_bytes(r, s->tag, sizeof(s->tag));
	s->instance = state_get_u32(r);
	crc = state_get_u32(r);
	offset = state_get_u64(r);
	len = state_get_u64(r);
	if (state_get_u64(r) || !valid_tag(s->tag))
		return error_config(e, -EINVAL, "section 'table': an entry is "
				    "malformed");
	if (offset != *end || len > r->len_bytes - offset)
		return error_config(e, -EINVAL, "section '%s' %u: not inside "
				    "the file", s->tag, s->instance);
	s->data = r->data + offset;
	s->len_bytes = len;
	*end = offset + len;
	if (crc32c(0, s->data, s->len_bytes) != crc)
		return error_config(e, -EINVAL, "section '%s' %u: wrong "
				    "checksum: the file is damaged", s->tag,
				    s->instance);
	return 0;
}

static int read_table(struct state_view *v, struct state_reader *r,
		      uint32_t count, struct error *e)
{
	uint64_t end = HEADER_BYTES + (uint64_t)count * ENTRY_BYTES;

	for (uint32_t i = 0; i < count; i++) {
		struct state_section *s = &v->sections[i];
		int ret = read_entry(r, s, &end, e);

		if (ret)
			return ret;
		if (state_view_find(v, s->tag, s->instance))
			return error_config(e, -EINVAL, "section '%s' %u: is "
					    "there twice", s->tag, s->instance);
		v->count++;
	}
	if (end != r->len_bytes)
		return error_config(e, -EINVAL, "section 'table': bytes that no "
				    "section owns");
	return 0;
}

int state_view_init(struct state_view *v, const uint8_t *data,
		    size_t len_bytes, struct error *e)
{
	struct state_reader r;
	struct header h = { 0 };
	int ret;

	*v = (struct state_view){ 0 };
	state_reader_init(&r, data, len_bytes);
	ret = check_header(&r, &h, e);
	if (!ret)
		ret = check_extent(&h, &r, e);
	if (ret)
		return ret;
	v->sections = calloc(h.count, sizeof(*v->sections));
	if (!v->sections)
		return error_set(e, -ENOMEM, "out of memory");
	ret = read_table(v, &r, h.count, e);
	if (ret)
		state_view_deinit(v);
	return ret;
}

void state_view_deinit(struct state_view *v)
{
	free(v->sections);
	*v = (struct state_view){ 0 };
}

const struct state_section *state_view_find(const struct state_view *v,
					    const char *tag, uint32_t instance)
{
	for (size_t i = 0; i < v->count; i++)
		if (v->sections[i].instance == instance &&
		    !strcmp(v->sections[i].tag, tag))
			return &v->sections[i];
	return NULL;
}

uint32_t state_view_count(const struct state_view *v, const char *tag)
{
	uint32_t n = 0;

	while (state_view_find(v, tag, n))
		n++;
	return n;
}
