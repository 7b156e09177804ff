/* SPDX-License-Identifier: MIT */
/* Writing ELF cores. Any one thread. */
#include "save/elf_core.h"

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "save/page.h"
#include "save/state_file.h"

#define RUN_BYTES (2u << 20)	/* at most, so that progress is told */

static size_t padded(size_t bytes)
{
	return (bytes + 3) & ~(size_t)3;
}

/* System V ABI, "Note Section": name and description padded to four bytes. */
void elf_core_put_note(struct state_writer *w, const char *name, uint32_t type,
		       const void *desc, size_t desc_bytes)
{
	static const uint8_t zeros[4];
	size_t name_bytes = strlen(name) + 1;

	state_put_u32(w, (uint32_t)name_bytes);
	state_put_u32(w, (uint32_t)desc_bytes);
	state_put_u32(w, type);
	state_put_bytes(w, name, name_bytes);
	state_put_bytes(w, zeros, padded(name_bytes) - name_bytes);
	state_put_bytes(w, desc, desc_bytes);
	state_put_bytes(w, zeros, padded(desc_bytes) - desc_bytes);
}

uint64_t elf_core_ram_bytes(const struct elf_core *c)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < c->part_count; i++)
		bytes += c->parts[i].len_bytes;
	return bytes;
}

/* RAM begins at a page of the file, so that it can be mapped and have holes. */
static size_t headers_bytes(const struct elf_core *c)
{
	size_t bytes = sizeof(Elf64_Ehdr) +
		       (c->part_count + 1) * sizeof(Elf64_Phdr) +
		       c->notes_bytes;

	return (bytes + MEMORY_PAGE_BYTES - 1) / MEMORY_PAGE_BYTES *
	       MEMORY_PAGE_BYTES;
}

static int write_headers(const struct elf_core *c, struct channel *to)
{
	static const uint8_t zeros[MEMORY_PAGE_BYTES];
	size_t phdrs = c->part_count + 1, start = headers_bytes(c);
	Elf64_Ehdr ehdr = {
		.e_ident = { ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64,
			     ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_CORE,
		.e_machine = (Elf64_Half)state_file_machine,
		.e_version = EV_CURRENT,
		.e_phoff = sizeof(ehdr),
		.e_ehsize = sizeof(ehdr),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (Elf64_Half)phdrs,
	};
	Elf64_Phdr p = {
		.p_type = PT_NOTE,
		.p_offset = sizeof(ehdr) + phdrs * sizeof(p),
		.p_filesz = c->notes_bytes,
		.p_memsz = c->notes_bytes,
	};
	size_t used = p.p_offset + c->notes_bytes;
	uint64_t offset = start;
	int ret = channel_write(to, &ehdr, sizeof(ehdr));

	if (!ret)
		ret = channel_write(to, &p, sizeof(p));
	for (size_t i = 0; !ret && i < c->part_count; i++) {
		const struct elf_core_part *part = &c->parts[i];

		p = (Elf64_Phdr){
			.p_type = PT_LOAD,
			.p_offset = offset,
			.p_vaddr = part->base,
			.p_paddr = part->base,
			.p_filesz = part->len_bytes,
			.p_memsz = part->len_bytes,
		};
		offset += part->len_bytes;
		ret = channel_write(to, &p, sizeof(p));
	}
	if (!ret)
		ret = channel_write(to, c->notes, c->notes_bytes);
	return ret ? ret : channel_write(to, zeros, start - used);
}

/* Pages of one kind, of zeros or not, from host on; at most limit bytes. */
static uint64_t run_of(const uint8_t *host, uint64_t limit, bool *zero)
{
	uint64_t len = MEMORY_PAGE_BYTES;

	*zero = page_is_zero(host);
	while (len < limit && page_is_zero(host + len) == *zero)
		len += MEMORY_PAGE_BYTES;
	return len;
}

int elf_core_write(const struct elf_core *c, struct channel *to,
		   void (*progress)(void *opaque, uint64_t bytes),
		   void *opaque)
{
	int ret = write_headers(c, to);

	for (size_t i = 0; !ret && i < c->part_count; i++) {
		const struct elf_core_part *part = &c->parts[i];
		uint64_t at = 0;

		while (!ret && at < part->len_bytes) {
			uint64_t left = part->len_bytes - at, len;
			bool zero;

			if (left > RUN_BYTES)
				left = RUN_BYTES;
			len = run_of(part->host + at, left, &zero);
			ret = zero ? channel_skip(to, len) :
				     channel_write(to, part->host + at, len);
			at += len;
			progress(opaque, len);
		}
	}
	return ret;
}
