/* SPDX-License-Identifier: MIT */
/* Placing and loading. Main thread. */
#include "boot/place.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define INITRD_ALIGN	4096u
#define HUGE_PAGE	(2ull << 20)
/*
 * How much code is copied: what boots with fewer faults begins later, by half a
 * million instructions a MiB.
 */
#define CODE_COPIED	(4ull << 20)

bool place_is_ram(const struct boot_load_params *p, gpa_t base,
		  uint64_t len_bytes)
{
	gpa_t at = base, end;

	if (__builtin_add_overflow(base, len_bytes, &end))
		return false;
	/* Entries in address order may touch. */
	for (size_t i = 0; i < p->map_count && at < end; i++) {
		const struct boot_memory *r = &p->map[i];

		if (r->type == BOOT_RAM && r->base <= at &&
		    at - r->base < r->len_bytes)
			at = r->base + r->len_bytes;
	}
	return at >= end && guest_mem_valid(p->mem, base, len_bytes);
}

gpa_t place_ram_end(const struct boot_load_params *p, gpa_t limit)
{
	gpa_t end = 0;

	for (size_t i = 0; i < p->map_count; i++)
		if (p->map[i].type == BOOT_RAM && p->map[i].base < limit)
			end = p->map[i].base + p->map[i].len_bytes;
	return end < limit ? end : limit;
}

int place_high(const struct boot_load_params *p, uint64_t len_bytes,
	       gpa_t floor, gpa_t limit, gpa_t *out)
{
	for (size_t i = p->map_count; i-- > 0;) {
		const struct boot_memory *r = &p->map[i];
		gpa_t end = r->base + r->len_bytes;
		gpa_t base = r->base > floor ? r->base : floor;

		if (end > limit)
			end = limit;
		if (r->type != BOOT_RAM || base > end ||
		    len_bytes > end - base)
			continue;
		end = (end - len_bytes) & ~(gpa_t)(INITRD_ALIGN - 1);
		if (end < base || !guest_mem_valid(p->mem, end, len_bytes))
			continue;
		*out = end;
		return 0;
	}
	return -ENOSPC;
}

static int fail(const struct place_elf_params *p, const struct elf_segment *s,
		int ret, struct error *e)
{
	if (ret == -ENODATA)
		return error_config(e, ret, "%s: ELF: the segment at p_paddr "
				    "%#llx is truncated", p->name,
				    (unsigned long long)s->paddr);
	return error_config(e, ret, "%s: ELF: loading the segment at p_paddr "
			    "%#llx: %s", p->name, (unsigned long long)s->paddr,
			    strerror(-ret));
}

/* A piece of the file that goes to gpa. */
struct extent {
	uint64_t offset;
	uint64_t len_bytes;
	gpa_t gpa;
};

/*
 * Maps the whole pages of x over guest memory, which then shares them with the
 * page cache and every other VM until it writes to them. Returns the bytes at
 * its start that are not mapped; *mapped is the length that is.
 */
static uint64_t map_pages(const struct place_elf_params *p,
			  const struct extent *x, struct guest_mem *m,
			  uint64_t *mapped)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t head = -x->gpa & (page - 1);
	uint64_t len;
	uint8_t *host;

	*mapped = 0;
	if (!p->map || ((x->offset ^ x->gpa) & (page - 1)) ||
	    x->len_bytes < head + page)
		return x->len_bytes;
	len = (x->len_bytes - head) & ~(page - 1);
	host = guest_mem_ring(m, x->gpa + head, (size_t)len);
	if (!host || ((uintptr_t)host & (page - 1)))
		return x->len_bytes;
	/* Refused before anything is unmapped, as by a limit: copying works. */
	if (mmap(host, (size_t)len, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, p->fd,
		 (off_t)(x->offset + head)) == MAP_FAILED)
		return x->len_bytes;
	*mapped = len;
	return head;
}

static int copy(const struct place_elf_params *p, const struct extent *x,
		struct guest_mem *m)
{
	return source_pread_guest(p->fd, x->offset, m, x->gpa, x->len_bytes);
}

/* The first len bytes of x, which is then what follows them. */
static struct extent take(struct extent *x, uint64_t len_bytes)
{
	struct extent first = *x;

	first.len_bytes = len_bytes;
	x->offset += len_bytes;
	x->gpa += len_bytes;
	x->len_bytes -= len_bytes;
	return first;
}

/* Maps x, and copies what is not whole pages. */
static int share(const struct place_elf_params *p, struct extent *x,
		 struct guest_mem *m)
{
	uint64_t mapped;
	struct extent head = take(x, map_pages(p, x, m, &mapped));
	int ret = copy(p, &head, m);

	take(x, mapped);
	return ret ? ret : copy(p, x, m);
}

/* What place_elf() goes through the file with. */
struct walk {
	const struct place_elf_params *p;
	struct guest_mem *m;
	uint64_t code_left;	/* to be copied */
	struct place_range *code;
};

/* How much is copied of n bytes at gpa that are not constant. */
static uint64_t bytes_to_copy(struct walk *w, const struct elf_segment *s,
			      gpa_t gpa, uint64_t n)
{
	uint64_t copied = n < w->code_left ? n : w->code_left;

	if (s->writable || !w->p->map)
		return n;
	if (!s->executable)
		return 0;
	w->code_left -= copied;
	if (copied < n && !w->code->len_bytes)
		*w->code = (struct place_range){ gpa + copied, n - copied };
	return copied;
}

/*
 * What of the constant bytes of s before end is copied nevertheless: the
 * beginning of a huge page that the rest of the segment can have.
 */
static uint64_t tail_to_copy(const struct elf_segment *s, gpa_t end,
			     uint64_t constant)
{
	uint64_t tail = end & (HUGE_PAGE - 1);

	return tail < constant && tail < HUGE_PAGE / 4 &&
	       end < s->paddr + s->mem_bytes ? tail : 0;
}

/*
 * What the guest will write to is copied, into huge pages: nobody would share
 * it for long, and a mapped page costs up to three nested faults by then. That
 * holds for code too, which Linux patches all over as it boots.
 */
static int place_extent(struct walk *w, const struct elf_segment *s,
			struct extent *x)
{
	const struct place_elf_params *p = w->p;
	int ret = 0;

	while (x->len_bytes && !ret) {
		uint64_t at = x->offset - p->offset, from, to, n, tail;
		struct extent part;

		source_map_next(&p->elf->constant, at, at + x->len_bytes,
				&from, &to);
		n = bytes_to_copy(w, s, x->gpa, from - at);
		part = take(x, n);
		ret = copy(p, &part, w->m);
		n = to - at - n;
		tail = tail_to_copy(s, x->gpa + n, to - from);
		part = take(x, n - tail);
		if (!ret)
			ret = share(p, &part, w->m);
		part = take(x, tail);
		if (!ret)
			ret = copy(p, &part, w->m);
	}
	return ret;
}

static int zero(const struct place_elf_params *p, struct guest_mem *m,
		gpa_t gpa, uint64_t len_bytes)
{
	return p->zeroed ? 0 : guest_mem_zero(m, gpa, (size_t)len_bytes);
}

/*
 * Zeros in the file are left to memory that is zero already: mapping them would
 * fill the page cache, and what the guest writes there could be no huge pages.
 */
static int place_segment(struct walk *w, const struct elf_segment *s)
{
	const struct place_elf_params *p = w->p;
	struct guest_mem *m = w->m;
	uint64_t at = s->file_offset, end = at + s->file_bytes;
	int ret = 0;

	while (at < end && !ret) {
		gpa_t gpa = s->paddr + (at - s->file_offset);
		uint64_t from = at, to = end;
		struct extent x;

		if (p->data)
			source_map_next(p->data, at, end, &from, &to);
		ret = zero(p, m, gpa, from - at);
		x.offset = p->offset + from;
		x.len_bytes = to - from;
		x.gpa = gpa + (from - at);
		if (!ret)
			ret = place_extent(w, s, &x);
		at = to;
	}
	if (ret)
		return ret;
	return zero(p, m, s->paddr + s->file_bytes,
		    s->mem_bytes - s->file_bytes);
}

int place_elf(const struct place_elf_params *p, struct guest_mem *m,
	      struct place_range *code, struct error *e)
{
	struct walk w = {
		.p = p, .m = m, .code_left = CODE_COPIED, .code = code,
	};

	*code = (struct place_range){ 0 };
	for (size_t i = 0; i < p->elf->count; i++) {
		const struct elf_segment *s = &p->elf->segments[i];
		int ret = place_segment(&w, s);

		if (ret)
			return fail(p, s, ret, e);
	}
	return 0;
}
