/* SPDX-License-Identifier: MIT */
/* A guest's memory and memory map for the boot loader's tests. */
#ifndef MOTE_TEST_BOOT_MACHINE_X86_H
#define MOTE_TEST_BOOT_MACHINE_X86_H

#include "boot_fixture_x86.h"

#include "boot/boot.h"
#include "guest_mem.h"
#include "layout_x86.h"

#define LOW_BYTES	(48ull << 20)
#define HIGH_BYTES	(16ull << 20)
#define MACHINE_RSDP	0xe0000u

static const struct boot_memory machine_map[] = {
	{ 0, LAYOUT_EBDA, BOOT_RAM },
	{ 0xe0000, 0x20000, BOOT_ACPI },
	{ 0x100000, LOW_BYTES - 0x100000, BOOT_RAM },
	{ LAYOUT_ECAM, LAYOUT_ECAM_LEN, BOOT_RESERVED },
	{ LAYOUT_HIGH_RAM, HIGH_BYTES, BOOT_RAM },
};
#define MACHINE_MAP_COUNT (sizeof(machine_map) / sizeof(machine_map[0]))

struct machine {
	char *dir;
	char *cache;
	struct guest_mem *mem;
	uint8_t *low, *high;
	struct boot_image *image;
	struct boot_open_params open;
	struct boot_load_params load;
	struct boot_entry entry;
	struct error e;
};

static inline uint8_t *machine_memory(struct machine *m, gpa_t base,
				      uint64_t len)
{
	uint8_t *p = mmap(NULL, (size_t)len, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(guest_mem_add(m->mem, base, len, p), 0);
	return p;
}

static inline int machine_setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->dir = dir_new();
	assert_true(asprintf(&m->cache, "%s/cache", m->dir) > 0);
	assert_int_equal(guest_mem_create(&m->mem), 0);
	m->low = machine_memory(m, 0, LOW_BYTES);
	m->high = machine_memory(m, LAYOUT_HIGH_RAM, HIGH_BYTES);
	m->open.cache = "off";
	m->load = (struct boot_load_params){
		.mem = m->mem,
		.map = machine_map,
		.map_count = MACHINE_MAP_COUNT,
		.cmdline = "console=ttyS0 quiet",
		.rsdp = MACHINE_RSDP,
		.map_private = true,
	};
	*state = m;
	return 0;
}

static inline int machine_teardown(void **state)
{
	struct machine *m = *state;

	boot_close(m->image);
	guest_mem_destroy(m->mem);
	munmap(m->low, LOW_BYTES);
	munmap(m->high, HIGH_BYTES);
	dir_remove(m->dir);
	free(m->cache);
	free(m->dir);
	free(m);
	return 0;
}

/* boot_open() of a file with these bytes, which are freed. */
static inline int machine_open(struct machine *m, struct bytes kernel)
{
	char *path = file_new(m->dir, "vmlinuz", kernel.p, kernel.len);
	int ret;

	bytes_free(&kernel);
	boot_close(m->image);
	m->image = NULL;
	memset(&m->e, 0, sizeof(m->e));
	m->open.kernel = path;
	ret = boot_open(&m->image, &m->open, &m->e);
	m->open.kernel = NULL;
	free(path);
	return ret;
}

static inline int machine_load(struct machine *m)
{
	return boot_load(m->image, &m->load, &m->entry, &m->e);
}

static inline void machine_boot(struct machine *m, struct bytes kernel)
{
	if (machine_open(m, kernel) || machine_load(m))
		fail_msg("%s", m->e.text);
}

/* Fails, with a text that holds all of what. */
#define assert_refused(m, ret, what) \
	assert_refused_at(m, ret, what, __FILE__, __LINE__)
static inline void assert_refused_at(struct machine *m, int ret,
				     const char *what, const char *file,
				     int line)
{
	if (ret >= 0 || !strstr(m->e.text, what) ||
	    m->e.class != ERROR_INVALID_CONFIG) {
		print_error("%d, class %d: %s\n", ret, m->e.class, m->e.text);
		_fail(file, line);
	}
}

/* ---- a small Linux ------------------------------------------------------- */

#define KERNEL	0x1000000u
#define ENTRY	(KERNEL + 0x40u)
#define DATA	0x1200010u		/* not page-aligned */

static const struct elf_part parts[] = {
	{ KERNEL, KERNEL_VADDR + KERNEL, 0x12345, 0x12345 },
	{ DATA, KERNEL_VADDR + DATA, 0x3456, 0x9000 },
};

static inline struct bytes vmlinux(void)
{
	return elf64_new(parts, 2, ENTRY, 0);
}

static inline struct bytes vmlinuz(enum codec codec)
{
	struct bytes elf = vmlinux(), b = bzimage_pack(codec, elf);

	bytes_free(&elf);
	return b;
}

static inline void assert_loaded(struct machine *m)
{
	for (size_t i = 0; i < 2; i++) {
		struct bytes b = bytes_new((size_t)parts[i].memsz);

		fill_pattern(b.p, (size_t)parts[i].filesz,
			     (uint32_t)parts[i].paddr);
		assert_memory_equal(m->low + parts[i].paddr, b.p, b.len);
		bytes_free(&b);
	}
	assert_int_equal(m->entry.protocol, BOOT_LINUX64);
	assert_int_equal(m->entry.entry, ENTRY);
}

#endif
