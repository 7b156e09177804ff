/* SPDX-License-Identifier: MIT */
/*
 * ELF program headers (System V gABI, chapters 4 and 5). Main thread. Only
 * little-endian files on little-endian hosts.
 */
#include "boot/elf.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/source.h"

_Static_assert(__BYTE_ORDER == __LITTLE_ENDIAN, "headers are read in place");

#define MAX_HEADERS	128
#define MAX_NOTES_BYTES	(64u << 10)
#define MAX_SECTIONS	256
/* A shorter range is not worth a mapping of its own. */
#define MIN_CONSTANT	(1ull << 20)
#define PADDING		4096u	/* that lies between two sections */
/* xen/include/public/elfnote.h */
#define XEN_ELFNOTE_PHYS32_ENTRY 18

struct reader {
	int fd;
	uint64_t offset;
	uint64_t len_bytes;
	const char *name;
};

static int rd(const struct reader *r, uint64_t at, void *buf, size_t len_bytes,
	      const char *what, struct error *e)
{
	int ret;

	if (len_bytes > r->len_bytes || at > r->len_bytes - len_bytes)
		return error_config(e, -EINVAL, "%s: ELF: %s is outside the "
				    "%llu bytes there are", r->name, what,
				    (unsigned long long)r->len_bytes);
	ret = source_pread(r->fd, r->offset + at, buf, len_bytes);
	if (ret == -ENODATA)
		return error_config(e, ret, "%s: ELF: truncated in %s",
				    r->name, what);
	if (ret)
		return error_config(e, ret, "%s: ELF: %s: %s", r->name, what,
				    strerror(-ret));
	return 0;
}

static Elf64_Ehdr widen_ehdr(const Elf32_Ehdr *h)
{
	return (Elf64_Ehdr){
		.e_type = h->e_type,
		.e_machine = h->e_machine,
		.e_version = h->e_version,
		.e_entry = h->e_entry,
		.e_phoff = h->e_phoff,
		.e_phentsize = h->e_phentsize,
		.e_phnum = h->e_phnum,
		.e_shoff = h->e_shoff,
		.e_shentsize = h->e_shentsize,
		.e_shnum = h->e_shnum,
	};
}

static Elf64_Phdr widen_phdr(const Elf32_Phdr *h)
{
	return (Elf64_Phdr){
		.p_type = h->p_type,
		.p_flags = h->p_flags,
		.p_offset = h->p_offset,
		.p_vaddr = h->p_vaddr,
		.p_paddr = h->p_paddr,
		.p_filesz = h->p_filesz,
		.p_memsz = h->p_memsz,
		.p_align = h->p_align,
	};
}

static Elf64_Shdr widen_shdr(const Elf32_Shdr *h)
{
	return (Elf64_Shdr){
		.sh_type = h->sh_type,
		.sh_flags = h->sh_flags,
		.sh_offset = h->sh_offset,
		.sh_size = h->sh_size,
	};
}

bool elf_sniff(const uint8_t *head, size_t len_bytes)
{
	return len_bytes >= SELFMAG && !memcmp(head, ELFMAG, SELFMAG);
}

static int read_ehdr(struct elf_image *out, const struct reader *r,
		     Elf64_Ehdr *h, struct error *e)
{
	unsigned char ident[EI_NIDENT];
	size_t phentsize;
	Elf32_Ehdr h32;
	int ret;

	ret = rd(r, 0, ident, sizeof(ident), "e_ident", e);
	if (ret)
		return ret;
	if (!elf_sniff(ident, sizeof(ident)))
		return error_config(e, -EINVAL, "%s: not an ELF file", r->name);
	if (ident[EI_DATA] != ELFDATA2LSB || ident[EI_VERSION] != EV_CURRENT ||
	    (ident[EI_CLASS] != ELFCLASS64 && ident[EI_CLASS] != ELFCLASS32))
		return error_config(e, -EINVAL, "%s: ELF: e_ident: class %u, "
				    "data %u, version %u are not supported",
				    r->name, ident[EI_CLASS], ident[EI_DATA],
				    ident[EI_VERSION]);
	out->is64 = ident[EI_CLASS] == ELFCLASS64;
	phentsize = out->is64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	if (out->is64) {
		ret = rd(r, 0, h, sizeof(*h), "the ELF header", e);
	} else {
		ret = rd(r, 0, &h32, sizeof(h32), "the ELF header", e);
		if (!ret)
			*h = widen_ehdr(&h32);
	}
	if (ret)
		return ret;
	if (h->e_type != ET_EXEC && h->e_type != ET_DYN)
		return error_config(e, -EINVAL, "%s: ELF: e_type %u is not an "
				    "executable", r->name, h->e_type);
	if (h->e_phentsize != phentsize)
		return error_config(e, -EINVAL, "%s: ELF: e_phentsize %u is "
				    "not %zu", r->name, h->e_phentsize,
				    phentsize);
	if (!h->e_phnum || h->e_phnum > MAX_HEADERS)
		return error_config(e, -EINVAL, "%s: ELF: e_phnum %u is not "
				    "in 1..%u", r->name, h->e_phnum,
				    MAX_HEADERS);
	out->machine = h->e_machine;
	out->entry = h->e_entry;
	return 0;
}

static int read_phdr(const struct elf_image *out, const struct reader *r,
		     const Elf64_Ehdr *h, unsigned int i, Elf64_Phdr *p,
		     struct error *e)
{
	uint64_t at;
	Elf32_Phdr p32;
	int ret;

	if (__builtin_add_overflow(h->e_phoff, (uint64_t)i * h->e_phentsize,
				   &at))
		at = UINT64_MAX;
	if (out->is64)
		return rd(r, at, p, sizeof(*p), "the program header table", e);
	ret = rd(r, at, &p32, sizeof(p32), "the program header table", e);
	if (!ret)
		*p = widen_phdr(&p32);
	return ret;
}

static int add_segment(struct elf_image *out, const struct reader *r,
		       unsigned int i, const Elf64_Phdr *p, struct error *e)
{
	uint64_t file_end, mem_end;

	if (p->p_filesz > p->p_memsz)
		return error_config(e, -EINVAL, "%s: ELF: program header %u: "
				    "p_filesz %#llx is more than p_memsz %#llx",
				    r->name, i, (unsigned long long)p->p_filesz,
				    (unsigned long long)p->p_memsz);
	if (!p->p_memsz)
		return 0;
	if (__builtin_add_overflow(p->p_offset, p->p_filesz, &file_end) ||
	    file_end > r->len_bytes)
		return error_config(e, -EINVAL, "%s: ELF: program header %u: "
				    "p_offset %#llx + p_filesz %#llx is "
				    "outside the %llu bytes there are",
				    r->name, i, (unsigned long long)p->p_offset,
				    (unsigned long long)p->p_filesz,
				    (unsigned long long)r->len_bytes);
	if (__builtin_add_overflow(p->p_paddr, p->p_memsz, &mem_end))
		return error_config(e, -EINVAL, "%s: ELF: program header %u: "
				    "p_paddr %#llx + p_memsz %#llx wraps",
				    r->name, i, (unsigned long long)p->p_paddr,
				    (unsigned long long)p->p_memsz);
	if (out->count == ELF_MAX_SEGMENTS)
		return error_config(e, -E2BIG, "%s: ELF: more than %u PT_LOAD "
				    "segments", r->name, ELF_MAX_SEGMENTS);
	out->segments[out->count++] = (struct elf_segment){
		.file_offset = p->p_offset,
		.file_bytes = p->p_filesz,
		.mem_bytes = p->p_memsz,
		.paddr = p->p_paddr,
		.vaddr = p->p_vaddr,
		.writable = p->p_flags & PF_W,
		.executable = p->p_flags & PF_X,
	};
	if (p->p_filesz && file_end > out->extent)
		out->extent = file_end;
	return 0;
}

static uint64_t align_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) & ~(to - 1);
}

/*
 * The PVH entry point is a 4-byte address in a note of Xen's (Xen's
 * docs/misc/pvh.pandoc); 64-bit kernels write it as 8 bytes. Notes that make no
 * sense end the search: they are no business of a kernel without one.
 */
static void find_pvh(struct elf_image *out, const uint8_t *notes,
		     uint64_t len_bytes, uint64_t align)
{
	uint64_t at = 0;
	Elf64_Nhdr n;

	while (len_bytes - at >= sizeof(n)) {
		uint64_t name, desc, entry = 0;

		memcpy(&n, notes + at, sizeof(n));
		name = at + sizeof(n);
		desc = align_up(name + n.n_namesz, align);
		if (desc > len_bytes || n.n_descsz > len_bytes - desc)
			return;
		if (n.n_type == XEN_ELFNOTE_PHYS32_ENTRY && n.n_namesz == 4 &&
		    !memcmp(notes + name, "Xen", 4) &&
		    (n.n_descsz == 4 || n.n_descsz == 8)) {
			memcpy(&entry, notes + desc, n.n_descsz);
			if (entry > UINT32_MAX)
				return;
			out->has_pvh = true;
			out->pvh_entry = (uint32_t)entry;
			return;
		}
		at = align_up(desc + n.n_descsz, align);
		if (at > len_bytes)
			return;
	}
}

static int read_notes(struct elf_image *out, const struct reader *r,
		      const Elf64_Phdr *p, struct error *e)
{
	uint64_t len = p->p_filesz;
	uint8_t *notes;
	int ret;

	if (len > MAX_NOTES_BYTES)
		len = MAX_NOTES_BYTES;
	if (out->has_pvh || !len)
		return 0;
	notes = malloc((size_t)len);
	if (!notes)
		return error_set(e, -ENOMEM, "out of memory");
	ret = rd(r, p->p_offset, notes, (size_t)len, "a PT_NOTE segment", e);
	if (!ret) {
		find_pvh(out, notes, len, p->p_align == 8 ? 8 : 4);
		if (p->p_offset + len > out->extent)
			out->extent = p->p_offset + len;
	}
	free(notes);
	return ret;
}

static int by_paddr(const void *a, const void *b)
{
	const struct elf_segment *x = a, *y = b;

	return (x->paddr > y->paddr) - (x->paddr < y->paddr);
}

static int check_layout(struct elf_image *out, const struct reader *r,
			struct error *e)
{
	if (!out->count)
		return error_config(e, -EINVAL, "%s: ELF: no PT_LOAD segment",
				    r->name);
	qsort(out->segments, out->count, sizeof(out->segments[0]), by_paddr);
	for (size_t i = 1; i < out->count; i++) {
		const struct elf_segment *a = &out->segments[i - 1];
		const struct elf_segment *b = &out->segments[i];

		if (a->paddr + a->mem_bytes > b->paddr)
			return error_config(e, -EINVAL, "%s: ELF: the segments "
					    "at p_paddr %#llx and %#llx "
					    "overlap", r->name,
					    (unsigned long long)a->paddr,
					    (unsigned long long)b->paddr);
	}
	return 0;
}

/* Sections of read-only segments may be called writable: Linux's .rodata. */
static bool is_constant(const struct elf_image *out, const Elf64_Shdr *s)
{
	if (s->sh_type == SHT_NOBITS || !(s->sh_flags & SHF_ALLOC) ||
	    (s->sh_flags & SHF_EXECINSTR))
		return false;
	for (size_t i = 0; i < out->count; i++) {
		const struct elf_segment *seg = &out->segments[i];

		if (s->sh_offset >= seg->file_offset &&
		    s->sh_offset - seg->file_offset < seg->file_bytes)
			return !seg->writable || !(s->sh_flags & SHF_WRITE);
	}
	return false;
}

static bool read_shdr(const struct elf_image *out, const struct reader *r,
		      const Elf64_Ehdr *h, unsigned int i, Elf64_Shdr *s)
{
	size_t size = out->is64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	Elf32_Shdr s32;
	uint64_t at;

	if (h->e_shentsize != size ||
	    __builtin_add_overflow(h->e_shoff, i * size, &at))
		return false;
	if (out->is64)
		return !rd(r, at, s, sizeof(*s), "", NULL);
	if (rd(r, at, &s32, sizeof(s32), "", NULL))
		return false;
	*s = widen_shdr(&s32);
	return true;
}

/*
 * Loading needs no section headers: what is wrong with them ends this. Sections
 * come in the order of their offsets; in another one fewer ranges are found.
 */
static void find_constant(struct elf_image *out, const struct reader *r,
			  const Elf64_Ehdr *h)
{
	struct source_map *map = &out->constant;
	uint64_t from = 0, to = 0;
	Elf64_Shdr s;

	for (unsigned int i = 0; i <= h->e_shnum; i++) {
		bool more = i < h->e_shnum && i < MAX_SECTIONS &&
			    map->count < SOURCE_MAP_RANGES &&
			    read_shdr(out, r, h, i, &s);
		uint64_t end;

		if (more && (!is_constant(out, &s) ||
			     __builtin_add_overflow(s.sh_offset, s.sh_size,
						    &end)))
			continue;
		/* Padding between two of them is part of both. */
		if (more && s.sh_offset >= to && s.sh_offset - to < PADDING) {
			to = end;
			continue;
		}
		if (to - from >= MIN_CONSTANT) {
			map->data[map->count].from = from;
			map->data[map->count].to = to;
			map->count++;
		}
		if (!more)
			return;
		from = s.sh_offset;
		to = end;
	}
}

int elf_read(struct elf_image *out, int fd, uint64_t offset,
	     uint64_t len_bytes, const char *name, struct error *e)
{
	struct reader r = {
		.fd = fd,
		.offset = offset,
		.len_bytes = len_bytes,
		.name = name,
	};
	Elf64_Ehdr h;
	Elf64_Phdr p;
	int ret;

	memset(out, 0, sizeof(*out));
	ret = read_ehdr(out, &r, &h, e);
	if (ret)
		return ret;
	out->extent = out->is64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
	for (unsigned int i = 0; i < h.e_phnum; i++) {
		ret = read_phdr(out, &r, &h, i, &p, e);
		if (!ret && p.p_type == PT_LOAD)
			ret = add_segment(out, &r, i, &p, e);
		else if (!ret && p.p_type == PT_NOTE)
			ret = read_notes(out, &r, &p, e);
		if (ret)
			return ret;
	}
	/* read_phdr() has shown that the whole table is inside the file. */
	if (h.e_phoff + (uint64_t)h.e_phnum * h.e_phentsize > out->extent)
		out->extent = h.e_phoff + (uint64_t)h.e_phnum * h.e_phentsize;
	ret = check_layout(out, &r, e);
	if (!ret)
		find_constant(out, &r, &h);
	return ret;
}

const struct elf_segment *elf_find(const struct elf_image *elf, gpa_t gpa)
{
	for (size_t i = 0; i < elf->count; i++) {
		const struct elf_segment *s = &elf->segments[i];

		if (gpa >= s->paddr && gpa - s->paddr < s->mem_bytes)
			return s;
	}
	return NULL;
}

gpa_t elf_end(const struct elf_image *elf)
{
	const struct elf_segment *last = &elf->segments[elf->count - 1];

	return last->paddr + last->mem_bytes;
}
