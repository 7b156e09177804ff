/* SPDX-License-Identifier: MIT */
/*
 * Guest-physical address translation. Readers run on any thread and only load
 * the current table; the main thread publishes changed copies.
 */
#include "guest_mem.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct table {
	struct table *older;	/* kept for readers that still use it */
	size_t count;
	struct guest_mem_region regions[];
};

struct guest_mem {
	_Atomic(struct table *) table;
	_Atomic(struct guest_mem_log *) log;	/* or NULL */
	atomic_bool silent;
};

static struct table *table_new(size_t count)
{
	struct table *t;

	t = calloc(1, sizeof(*t) + count * sizeof(t->regions[0]));
	if (t)
		t->count = count;
	return t;
}

static const struct table *current(const struct guest_mem *m)
{
	return atomic_load_explicit(&m->table, memory_order_acquire);
}

static void publish(struct guest_mem *m, struct table *t)
{
	t->older = atomic_load_explicit(&m->table, memory_order_relaxed);
	atomic_store_explicit(&m->table, t, memory_order_release);
}

int guest_mem_create(struct guest_mem **out)
{
	struct guest_mem *m = calloc(1, sizeof(*m));
	struct table *t = table_new(0);

	if (!m || !t) {
		free(m);
		free(t);
		return -ENOMEM;
	}
	atomic_init(&m->table, t);
	*out = m;
	return 0;
}

static void free_tables(struct table *t)
{
	struct table *older;

	for (; t; t = older) {
		older = t->older;
		free(t);
	}
}

void guest_mem_forget(struct guest_mem *m)
{
	struct table *t = atomic_load(&m->table);

	free_tables(t->older);
	t->older = NULL;
}

void guest_mem_destroy(struct guest_mem *m)
{
	if (!m)
		return;
	free_tables(atomic_load(&m->table));
	free(m);
}

static int add(struct guest_mem *m, gpa_t base, uint64_t len_bytes,
	       void *host, bool readonly)
{
	const struct table *old = current(m);
	struct table *t;
	gpa_t last;
	size_t at = 0;

	if (!len_bytes || __builtin_add_overflow(base, len_bytes - 1, &last))
		return -EINVAL;
	while (at < old->count && old->regions[at].base < base)
		at++;
	if (at > 0 && base - old->regions[at - 1].base <
		      old->regions[at - 1].len_bytes)
		return -EEXIST;
	if (at < old->count && old->regions[at].base <= last)
		return -EEXIST;

	t = table_new(old->count + 1);
	if (!t)
		return -ENOMEM;
	memcpy(t->regions, old->regions, at * sizeof(t->regions[0]));
	t->regions[at] = (struct guest_mem_region){
		.base = base, .len_bytes = len_bytes, .host = host,
		.readonly = readonly,
	};
	memcpy(t->regions + at + 1, old->regions + at,
	       (old->count - at) * sizeof(t->regions[0]));
	publish(m, t);
	return 0;
}

int guest_mem_add(struct guest_mem *m, gpa_t base, uint64_t len_bytes,
		  void *host)
{
	return add(m, base, len_bytes, host, false);
}

int guest_mem_add_readonly(struct guest_mem *m, gpa_t base, uint64_t len_bytes,
			   void *host)
{
	return add(m, base, len_bytes, host, true);
}

int guest_mem_remove(struct guest_mem *m, gpa_t base)
{
	const struct table *old = current(m);
	struct table *t;
	size_t at = 0;

	while (at < old->count && old->regions[at].base != base)
		at++;
	if (at == old->count)
		return -ENOENT;
	t = table_new(old->count - 1);
	if (!t)
		return -ENOMEM;
	memcpy(t->regions, old->regions, at * sizeof(t->regions[0]));
	memcpy(t->regions + at, old->regions + at + 1,
	       (old->count - at - 1) * sizeof(t->regions[0]));
	publish(m, t);
	return 0;
}

/* ---- the log ------------------------------------------------------------- */

void guest_mem_set_log(struct guest_mem *m, struct guest_mem_log *log)
{
	atomic_store(&m->log, log);
}

struct guest_mem_log *guest_mem_get_log(const struct guest_mem *m)
{
	return atomic_load_explicit(&m->log, memory_order_acquire);
}

void guest_mem_note_silent(struct guest_mem *m)
{
	atomic_store(&m->silent, true);
}

bool guest_mem_has_silent(const struct guest_mem *m)
{
	return atomic_load(&m->silent);
}

void guest_mem_log_note(struct guest_mem_log *log, gpa_t gpa,
			uint64_t len_bytes)
{
	uint64_t first = gpa / GUEST_MEM_LOG_PAGE, last;

	if (!len_bytes || __builtin_add_overflow(gpa, len_bytes - 1, &last))
		return;
	last /= GUEST_MEM_LOG_PAGE;
	if (first >= log->pages)
		return;
	if (last >= log->pages)
		last = log->pages - 1;
	for (uint64_t i = first / 64; i <= last / 64; i++) {
		uint64_t bits = ~0ull;

		if (i == first / 64)
			bits &= ~0ull << first % 64;
		if (i == last / 64)
			bits &= ~0ull >> (63 - last % 64);
		/* Most have been noted before: no need to own the line. */
		if (~atomic_load_explicit(&log->bits[i],
					  memory_order_relaxed) & bits)
			atomic_fetch_or_explicit(&log->bits[i], bits,
						 memory_order_relaxed);
	}
}

void guest_mem_written(const struct guest_mem *m, gpa_t gpa, uint64_t len_bytes)
{
	struct guest_mem_log *log = guest_mem_get_log(m);

	if (log)
		guest_mem_log_note(log, gpa, len_bytes);
}

/* ---- access -------------------------------------------------------------- */

enum access { READ, WRITE };

/*
 * The host address of gpa and, in *run, how many of len bytes follow it in the
 * same region. NULL when gpa is not guest memory, or not for this access. A
 * linear search: few regions, and RAM, which nearly all of it is about, comes
 * first.
 */
static uint8_t *translate(const struct table *t, gpa_t gpa, uint64_t len,
			  enum access access, uint64_t *run)
{
	for (size_t i = 0; i < t->count; i++) {
		const struct guest_mem_region *r = &t->regions[i];
		uint64_t offset = gpa - r->base;

		if (gpa < r->base)
			return NULL;
		if (offset < r->len_bytes) {
			uint64_t left = r->len_bytes - offset;

			if (access == WRITE && r->readonly)
				return NULL;
			*run = len < left ? len : left;
			return r->host + offset;
		}
	}
	return NULL;
}

static bool table_holds(const struct table *t, gpa_t gpa, uint64_t len,
			enum access access)
{
	gpa_t end;
	uint64_t run;

	if (__builtin_add_overflow(gpa, len, &end))
		return false;
	while (len) {
		if (!translate(t, gpa, len, access, &run))
			return false;
		gpa += run;
		len -= run;
	}
	return true;
}

bool guest_mem_valid(const struct guest_mem *m, gpa_t gpa, uint64_t len_bytes)
{
	return table_holds(current(m), gpa, len_bytes, READ);
}

int guest_mem_read(const struct guest_mem *m, gpa_t gpa, void *buf,
		   size_t len_bytes)
{
	const struct table *t = current(m);
	uint8_t *to = buf;
	uint64_t run = 0;

	if (!table_holds(t, gpa, len_bytes, READ))
		return -EFAULT;
	for (; len_bytes; len_bytes -= run, gpa += run, to += run) {
		const uint8_t *host = translate(t, gpa, len_bytes, READ,
						&run);

		memcpy(to, host, run);
	}
	return 0;
}

int guest_mem_write(struct guest_mem *m, gpa_t gpa, const void *buf,
		    size_t len_bytes)
{
	const struct table *t = current(m);
	const uint8_t *from = buf;
	uint64_t run = 0;

	if (!table_holds(t, gpa, len_bytes, WRITE))
		return -EFAULT;
	for (; len_bytes; len_bytes -= run, gpa += run, from += run) {
		uint8_t *host = translate(t, gpa, len_bytes, WRITE, &run);

		memcpy(host, from, run);
		guest_mem_written(m, gpa, run);
	}
	return 0;
}

int guest_mem_zero(struct guest_mem *m, gpa_t gpa, size_t len_bytes)
{
	const struct table *t = current(m);
	uint64_t run = 0;

	if (!table_holds(t, gpa, len_bytes, WRITE))
		return -EFAULT;
	for (; len_bytes; len_bytes -= run, gpa += run) {
		uint8_t *host = translate(t, gpa, len_bytes, WRITE, &run);

		memset(host, 0, run);
		guest_mem_written(m, gpa, run);
	}
	return 0;
}

static int describe(const struct guest_mem *m, gpa_t gpa, size_t len_bytes,
		    enum access access, struct iovec *iov, size_t max)
{
	const struct table *t = current(m);
	size_t used = 0;
	uint64_t run = 0;
	gpa_t end;

	if (__builtin_add_overflow(gpa, len_bytes, &end))
		return -EFAULT;
	for (; len_bytes; len_bytes -= run, gpa += run) {
		uint8_t *host = translate(t, gpa, len_bytes, access, &run);

		if (!host)
			return -EFAULT;
		if (used == max)
			return -E2BIG;
		if (access == WRITE)
			guest_mem_written(m, gpa, run);
		iov[used++] = (struct iovec){ host, run };
	}
	return (int)used;
}

int guest_mem_iov(const struct guest_mem *m, gpa_t gpa, size_t len_bytes,
		  struct iovec *iov, size_t max)
{
	return describe(m, gpa, len_bytes, WRITE, iov, max);
}

int guest_mem_iov_read(const struct guest_mem *m, gpa_t gpa, size_t len_bytes,
		       struct iovec *iov, size_t max)
{
	return describe(m, gpa, len_bytes, READ, iov, max);
}

void *guest_mem_ring(const struct guest_mem *m, gpa_t gpa, size_t len_bytes)
{
	uint64_t run;
	void *host = translate(current(m), gpa, len_bytes, WRITE, &run);

	return host && run == len_bytes ? host : NULL;
}

const struct guest_mem_region *guest_mem_region(const struct guest_mem *m,
						 size_t i)
{
	const struct table *t = current(m);

	return i < t->count ? &t->regions[i] : NULL;
}
