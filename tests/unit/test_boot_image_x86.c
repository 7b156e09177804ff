/* SPDX-License-Identifier: MIT */
/* LINK: error guest_mem boot/source boot/elf boot/codec boot/codec_stream boot/codec_block boot/confine boot/decompress boot/cache boot/initrd boot/place boot/image boot/bzimage_x86 boot/linux_x86 boot/pvh_x86 boot/image_x86 boot/wait */
#include "boot_machine_x86.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>

/* ---- formats and the cache ----------------------------------------------- */

static void test_boot_bzimage_of_every_format_is_loaded(void **state)
{
	struct machine *m = *state;

	for (enum codec c = CODEC_GZIP; c <= CODEC_ZSTD; c++) {
		memset(m->low + KERNEL, 0, 0x300000);
		machine_boot(m, vmlinuz(c));
		assert_loaded(m);
		assert_false(boot_was_cached(m->image));
		/* And copied instead of mapped, over what is there. */
		memset(m->low + KERNEL, 0xee, 0x300000);
		m->load.map_private = false;
		assert_int_equal(machine_load(m), 0);
		assert_loaded(m);
		m->load.map_private = true;
	}
}

static void test_boot_second_open_finds_the_kernel_in_the_cache(void **state)
{
	struct machine *m = *state;
	struct boot_image *again;
	char *path;

	m->open.cache = m->cache;
	machine_boot(m, vmlinuz(CODEC_XZ));
	assert_loaded(m);
	assert_false(boot_was_cached(m->image));
	assert_int_equal(dir_count(m->cache), 1);

	assert_true(asprintf(&path, "%s/vmlinuz", m->dir) > 0);
	m->open.kernel = path;
	assert_int_equal(boot_open(&again, &m->open, &m->e), 0);
	assert_true(boot_was_cached(again));
	boot_close(m->image);
	m->image = again;
	memset(m->low + KERNEL, 0, 0x300000);
	assert_int_equal(machine_load(m), 0);
	assert_loaded(m);

	/* Another kernel under the same name. */
	m->open.kernel = NULL;
	machine_boot(m, vmlinuz(CODEC_LZ4));
	assert_false(boot_was_cached(m->image));
	assert_loaded(m);
	free(path);
}

static bool is_mapped_from(const void *address, const char *what)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[PATH_MAX];
	bool found = false;

	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps)) {
		uintptr_t from, to;

		if (sscanf(line, "%lx-%lx", &from, &to) == 2 &&
		    (uintptr_t)address >= from && (uintptr_t)address < to)
			found = strstr(line, what) && strstr(line, "rw-p");
	}
	fclose(maps);
	return found;
}

static void test_boot_private_memory_maps_pages_of_the_cache(void **state)
{
	struct machine *m = *state;

	m->open.cache = m->cache;
	machine_boot(m, vmlinuz(CODEC_ZSTD));
	assert_true(is_mapped_from(m->low + KERNEL, m->cache));
	assert_true(is_mapped_from(m->low + KERNEL + 0x11fff, m->cache));
	/* Not where another segment or nothing shares the page. */
	assert_false(is_mapped_from(m->low + KERNEL + 0x12000, m->cache));
	assert_false(is_mapped_from(m->low + DATA, m->cache));
	assert_true(is_mapped_from(m->low + 0x1201000, m->cache));
	assert_false(is_mapped_from(m->low + KERNEL - 1, m->cache));

	m->load.map_private = false;
	machine_boot(m, vmlinuz(CODEC_ZSTD));
	assert_loaded(m);
}

static void test_boot_load_again_repairs_what_the_guest_changed(void **state)
{
	struct machine *m = *state;

	for (int copy = 0; copy < 2; copy++) {
		m->open.cache = m->cache;
		m->load.map_private = !copy;
		machine_boot(m, vmlinuz(CODEC_GZIP));
		for (int i = 0; i < 3; i++) {
			memset(m->low, 0xaa, LOW_BYTES);
			assert_int_equal(machine_load(m), 0);
			assert_loaded(m);
		}
		boot_close(m->image);
		m->image = NULL;
		/* The guest's writes stayed its own. */
		machine_boot(m, vmlinuz(CODEC_GZIP));
		assert_loaded(m);
	}
}

/* As a kernel's .bss, which has its zeros in the file. */
static void test_boot_zeros_of_the_file_are_not_mapped(void **state)
{
	const struct elf_part part = { KERNEL, KERNEL_VADDR + KERNEL,
				       0x200000, 0x280000 };
	struct machine *m = *state;
	struct bytes elf = elf64_new(&part, 1, ENTRY, 0);

	memset(elf.p + 0x1000 + 0x20000, 0, 0x100000);
	memset(elf.p + 0x1000 + 0x180000, 0, 0x80000);
	m->open.cache = m->cache;
	machine_boot(m, bzimage_pack(CODEC_ZSTD, elf));
	for (int i = 0; i < 3; i++) {
		assert_memory_equal(m->low + KERNEL, elf.p + 0x1000, 0x200000);
		assert_true(is_mapped_from(m->low + KERNEL, m->cache));
		assert_false(is_mapped_from(m->low + KERNEL + 0x80000,
					    m->cache));
		assert_true(is_mapped_from(m->low + KERNEL + 0x140000,
					   m->cache));
		assert_false(is_mapped_from(m->low + KERNEL + 0x1f0000,
					    m->cache));
		assert_int_equal(m->low[KERNEL + 0x27ffff], 0);
		memset(m->low + KERNEL, 0x55, 0x280000);
		assert_int_equal(machine_load(m), 0);
	}
	bytes_free(&elf);
}

#define MIB	(1u << 20)
#define FIRST	(6 * MIB + 0x10000)	/* bytes of the first segment */

static const struct elf_part large_parts[] = {
	{ KERNEL, KERNEL_VADDR + KERNEL, FIRST, FIRST },
	{ KERNEL + 8 * MIB, KERNEL_VADDR + KERNEL + 8 * MIB, 4 * MIB,
	  6 * MIB },
};
static const struct elf_section large_sections[] = {
	{ 0, 0, 5 * MIB, SHF_ALLOC | SHF_EXECINSTR, SHT_PROGBITS },
	{ 0, 5 * MIB, FIRST - 5 * MIB, SHF_ALLOC | SHF_WRITE, SHT_PROGBITS },
	{ 1, 0, MIB, SHF_ALLOC | SHF_WRITE, SHT_PROGBITS },
	{ 1, MIB, MIB + 0x10000, SHF_ALLOC, SHT_PROGBITS },
	{ 1, 3 * MIB, MIB, SHF_ALLOC | SHF_WRITE, SHT_PROGBITS },
};

/* 5 MiB of code, and a table in each of two segments. */
static struct bytes large(void)
{
	struct bytes elf = elf64_new(large_parts, 2, ENTRY, 0);

	put_le(elf.p + PHDR(0) + 4, PF_R | PF_X, 4);
	put_le(elf.p + PHDR(1) + 4, PF_R | PF_W, 4);
	elf64_add_sections(&elf, large_sections, 5);
	return elf;
}

/*
 * Of code, 4 MiB are copied; of a writable segment, all but what its sections
 * call constant and is not the beginning of a huge page with more to come.
 */
static void test_boot_what_will_be_written_is_copied(void **state)
{
	static const struct {
		unsigned int from, to;
		bool mapped;
	} where[] = {
		{ 0, 4 * MIB, false },		{ 4 * MIB, FIRST, true },
		{ 8 * MIB, 9 * MIB, false },	{ 9 * MIB, 10 * MIB, true },
		{ 10 * MIB, 14 * MIB, false },
	};
	struct machine *m = *state;
	struct bytes elf = large();
	const uint8_t *second = elf.p + get_le(elf.p + PHDR(1) + 8, 8);
	size_t offset = (size_t)(second - elf.p);

	m->open.cache = m->cache;
	machine_boot(m, bzimage_pack(CODEC_LZ4, elf));
	for (int i = 0; i < 2; i++) {
		for (size_t j = 0; j < sizeof(where) / sizeof(where[0]); j++) {
			const uint8_t *p = m->low + KERNEL;

			assert_int_equal(is_mapped_from(p + where[j].from,
							m->cache),
					 where[j].mapped);
			assert_int_equal(is_mapped_from(p + where[j].to - 1,
							m->cache),
					 where[j].mapped);
		}
		assert_memory_equal(m->low + KERNEL, elf.p + 0x1000, FIRST);
		assert_memory_equal(m->low + KERNEL + 8 * MIB, elf.p + offset,
				    4 * MIB);
		assert_int_equal(m->low[KERNEL + 13 * MIB], 0);
		memset(m->low + KERNEL, 0x55, 14 * MIB);
		assert_int_equal(machine_load(m), 0);
	}
	bytes_free(&elf);
}

/* Documentation/admin-guide/mm/pagemap.rst: present, and not a file's. */
static bool is_own_page(const void *address)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	assert_int_equal(pread(fd, &entry, sizeof(entry),
			       (off_t)((uintptr_t)address / 4096 * 8)), 8);
	close(fd);
	return entry >> 63 && !(entry >> 61 & 1);
}

static void test_boot_populate_copies_mapped_code_only(void **state)
{
	struct machine *m = *state;
	struct bytes elf = large(), b = bzimage_pack(CODEC_LZ4, elf);
	const uint8_t *code = m->low + KERNEL + 4 * MIB;

	m->open.cache = m->cache;
	machine_boot(m, b);
	for (int i = 0; i < 2; i++) {
		assert_false(is_own_page(code));
		m->low[KERNEL + 4 * MIB + 5] ^= 0xff;
		assert_true(boot_populate(m->image, m->load.mem, MIB / 2));
		assert_true(is_own_page(code + MIB / 2 - 1));
		assert_false(is_own_page(code + MIB / 2));
		assert_false(boot_populate(m->image, m->load.mem, MIB));
		assert_true(is_own_page(code + MIB - 1));
		assert_false(is_own_page(code + MIB));
		assert_false(boot_populate(m->image, m->load.mem, MIB));
		m->low[KERNEL + 4 * MIB + 5] ^= 0xff;
		assert_memory_equal(code, elf.p + 0x1000 + 4 * MIB, MIB);
		assert_int_equal(machine_load(m), 0);
	}
	bytes_free(&elf);
}

static void test_boot_preload_is_a_part_of_the_first_load(void **state)
{
	struct machine *m = *state;

	m->open.cache = m->cache;
	assert_int_equal(machine_open(m, vmlinuz(CODEC_ZSTD)), 0);
	assert_int_equal(boot_preload(m->image, m->load.mem, true, &m->e), 0);
	assert_true(is_mapped_from(m->low + KERNEL, m->cache));
	m->low[DATA] ^= 1;
	assert_int_equal(machine_load(m), 0);
	m->low[DATA] ^= 1;
	assert_loaded(m);
	memset(m->low + KERNEL, 0xee, 0x300000);
	assert_int_equal(machine_load(m), 0);
	assert_loaded(m);
}

static void test_boot_preload_leaves_what_does_not_fit(void **state)
{
	const struct elf_part part = { LOW_BYTES - 0x1000, KERNEL_VADDR,
				       0x1000, 0x2000 };
	struct machine *m = *state;
	struct bytes elf = elf64_new(&part, 1, LOW_BYTES - 0x1000, 0);

	assert_int_equal(machine_open(m, elf), 0);
	assert_int_equal(boot_preload(m->image, m->load.mem, true, &m->e), 0);
	assert_int_equal(m->low[LOW_BYTES - 1], 0);
	assert_refused(m, machine_load(m), "RAM");
}

static void test_boot_unusable_cache_directory_is_named(void **state)
{
	struct machine *m = *state;

	assert_int_equal(mkdir(m->cache, 0700), 0);
	assert_int_equal(chmod(m->cache, 0777), 0);
	m->open.cache = m->cache;
	assert_refused(m, machine_open(m, vmlinuz(CODEC_GZIP)), m->cache);
}

/* A tmpfs of 32 KiB at path, seen by this process only. */
static bool mount_small(const char *path)
{
	int uid = (int)getuid(), fd;
	char map[32];

	if (unshare(CLONE_NEWNS)) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
			return false;
		snprintf(map, sizeof(map), "0 %d 1", uid);
		fd = open("/proc/self/uid_map", O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, map, strlen(map)) < 0)
			return false;
		close(fd);
	}
	return !mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) &&
	       !mkdir(path, 0700) &&
	       !mount("none", path, "tmpfs", 0, "size=32k,mode=0700");
}

/* No room for the entry: the kernel is booted without the cache. */
static void test_boot_full_cache_is_done_without(void **state)
{
	struct machine *m = *state;
	uint8_t start[4096];
	int status;
	pid_t pid;

	fill_pattern(start, sizeof(start), KERNEL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* No assertions here: they would go on with the next test. */
		if (!mount_small(m->cache))
			_exit(77);
		m->open.cache = m->cache;
		if (machine_open(m, vmlinuz(CODEC_LZO)) || machine_load(m))
			_exit(1);
		if (dir_count(m->cache) || m->entry.entry != ENTRY ||
		    memcmp(m->low + KERNEL, start, sizeof(start)))
			_exit(2);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

static void test_boot_vmlinux_is_cached_without_what_follows(void **state)
{
	const struct elf_part big[] = {
		{ KERNEL, KERNEL_VADDR + KERNEL, 5u << 20, 5u << 20 },
	};
	struct machine *m = *state;
	struct boot_image *again;
	struct bytes elf = elf64_new(big, 1, ENTRY, 0);
	struct bytes b = bytes_new(elf.len + (3u << 20));
	char *path;

	memcpy(b.p, elf.p, elf.len);
	m->open.cache = m->cache;
	machine_boot(m, b);
	assert_int_equal(m->entry.entry, ENTRY);
	assert_true(is_mapped_from(m->low + KERNEL, m->cache));
	assert_memory_equal(m->low + KERNEL, elf.p + 0x1000, 5u << 20);
	bytes_free(&elf);

	assert_true(asprintf(&path, "%s/vmlinuz", m->dir) > 0);
	m->open.kernel = path;
	assert_int_equal(boot_open(&again, &m->open, &m->e), 0);
	assert_true(boot_was_cached(again));
	boot_close(again);
	m->open.kernel = NULL;
	free(path);

	/* Without a cache it is read from its own file. */
	m->open.cache = "off";
	m->load.map_private = false;
	machine_boot(m, vmlinux());
	assert_loaded(m);
}

static void test_boot_compressed_vmlinux_is_loaded(void **state)
{
	struct machine *m = *state;
	struct bytes elf = vmlinux();

	for (enum codec c = CODEC_GZIP; c <= CODEC_ZSTD; c++) {
		memset(m->low + KERNEL, 0, 0x300000);
		machine_boot(m, pack(c, elf));
		assert_loaded(m);
	}
	bytes_free(&elf);
}

static void test_boot_kernel_from_a_pipe_is_loaded(void **state)
{
	struct bytes b = vmlinuz(CODEC_XZ);
	struct machine *m = *state;
	char path[32];
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		_exit(write(fds[1], b.p, b.len) != (ssize_t)b.len);
	}
	close(fds[1]);
	snprintf(path, sizeof(path), "/dev/fd/%d", fds[0]);
	m->open.kernel = path;
	m->open.cache = m->cache;
	assert_int_equal(boot_open(&m->image, &m->open, &m->e), 0);
	m->open.kernel = NULL;
	close(fds[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(machine_load(m), 0);
		assert_loaded(m);
	}
	assert_int_equal(dir_count(m->cache), 0);
	bytes_free(&b);
}

/* ---- hostile images ------------------------------------------------------ */

static void test_boot_what_is_no_kernel_is_refused(void **state)
{
	struct machine *m = *state;
	struct bytes b;

	m->open.kernel = "/nonexistent/bzImage";
	assert_refused(m, boot_open(&m->image, &m->open, &m->e),
		       "kernel: /nonexistent/bzImage: No such file");
	m->open.kernel = m->dir;
	assert_refused(m, boot_open(&m->image, &m->open, &m->e),
		       "Is a directory");
	m->open.kernel = "/dev/zero";
	assert_refused(m, boot_open(&m->image, &m->open, &m->e),
		       "neither a regular file nor a pipe");
	assert_refused(m, machine_open(m, bytes_new(0)), "empty");
	assert_refused(m, machine_open(m, bytes_new(1)), "not a kernel");
	assert_refused(m, machine_open(m, bytes_new(5000)), "not a kernel");
	b = bytes_new(600);
	m->open.cache = m->cache;
	assert_refused(m, machine_open(m, pack(CODEC_GZIP, b)), "not an ELF");
	bytes_free(&b);
	/* It was made to unpack that. */
	assert_int_equal(access(m->cache, F_OK), -1);
}

static void test_boot_hostile_bzimage_field_is_named(void **state)
{
	static const struct {
		size_t at;
		unsigned int len;
		uint64_t value;
		const char *text;
	} bad[] = {
		{ BZ_VERSION, 2, 0x200, "version 2.00" },
		{ BZ_SETUP_SECTS, 1, 255, "setup_sects" },
		{ BZ_PAYLOAD_OFFSET, 4, 0xffffff00, "payload_offset" },
		{ BZ_PAYLOAD_LENGTH, 4, 0xffffff00, "payload_length" },
		{ BZ_PAYLOAD_LENGTH, 4, 0x100, "payload (xz): truncated" },
		{ BZ_INIT_SIZE, 4, 0x2000001, "needs RAM at [0x1000000, "
		  "0x3000001), the guest's ends at 0x3000000" },
		{ BZ_INIT_SIZE, 4, 0xffffffff, "needs RAM" },
		{ BZ_SETUP_BYTES + BZ_PAYLOAD + 30, 4, 0xdeadbeef,
		  "payload (xz): corrupt" },
	};
	struct machine *m = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bytes b = vmlinuz(CODEC_XZ);
		int ret;

		put_le(b.p + bad[i].at, bad[i].value, bad[i].len);
		ret = machine_open(m, b);
		if (!ret)
			ret = machine_load(m);
		assert_refused(m, ret, bad[i].text);
		assert_refused(m, ret, "vmlinuz");
	}
	assert_int_equal(m->low[KERNEL + 1], 0);
	assert_int_equal(m->low[LAYOUT_BOOT_PARAMS + 0x1fe], 0);
}

static void test_boot_wrong_unpacked_size_is_refused(void **state)
{
	struct bytes b = vmlinuz(CODEC_LZ4);
	struct machine *m = *state;

	m->open.cache = m->cache;
	put_le(b.p + b.len - 0x104, 77, 4);
	assert_refused(m, machine_open(m, b), "announces 77");
	assert_int_equal(dir_count(m->cache), 0);
}

static void test_boot_every_truncation_of_a_bzimage_is_refused(void **state)
{
	struct bytes b = vmlinuz(CODEC_GZIP);
	struct machine *m = *state;
	size_t cut[] = { 1, 0x1f0, 0x1ff, 0x206, 0x24f, 0x26b, 0x28f, 0x290,
			 BZ_SETUP_BYTES, BZ_SETUP_BYTES + 1,
			 BZ_SETUP_BYTES + BZ_PAYLOAD, b.len - 0x101 };

	for (size_t i = 0; i < sizeof(cut) / sizeof(cut[0]); i++) {
		struct bytes c = bytes_new(cut[i]);

		memcpy(c.p, b.p, cut[i]);
		assert_refused(m, machine_open(m, c), "vmlinuz");
	}
	bytes_free(&b);
}

static void test_boot_hostile_elf_in_a_bzimage_is_refused(void **state)
{
	static const struct {
		size_t at;
		unsigned int len;
		uint64_t value;
		const char *text;
	} bad[] = {
		{ 0, 4, 0, "not an ELF" },
		{ 18, 2, EM_AARCH64, "e_machine" },
		{ 24, 8, 0x100000, "e_entry 0x100000" },
		{ 24, 8, UINT64_MAX, "e_entry" },
		{ PHDR(0) + 24, 8, 0x90000, "below 0x100000" },
		{ PHDR(0) + 24, 8, 0, "below 0x100000" },
		{ PHDR(1) + 24, 8, 0xfffff000, "above 4 GiB" },
		{ PHDR(1) + 24, 8, 0x100000000, "above 4 GiB" },
		{ PHDR(1) + 24, 8, KERNEL + 0x12344, "overlap" },
		{ PHDR(1) + 24, 8, LOW_BYTES - 0x8fff, "needs RAM" },
		{ PHDR(1) + 24, 8, LOW_BYTES, "needs RAM" },
		{ PHDR(1) + 24, 8, 0xe0000000, "needs RAM" },
		{ PHDR(1) + 40, 8, 0x100000000, "above 4 GiB" },
		{ PHDR(1) + 40, 8, UINT64_MAX, "wraps" },
	};
	struct machine *m = *state;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bytes elf = vmlinux(), b;
		int ret;

		put_le(elf.p + bad[i].at, bad[i].value, bad[i].len);
		b = bzimage_pack(CODEC_LZ4, elf);
		bytes_free(&elf);
		ret = machine_open(m, b);
		if (!ret)
			ret = machine_load(m);
		assert_refused(m, ret, bad[i].text);
	}
	assert_int_equal(m->low[KERNEL + 1], 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, machine_setup, \
						machine_teardown)
	const struct CMUnitTest tests[] = {
		T(test_boot_bzimage_of_every_format_is_loaded),
		T(test_boot_second_open_finds_the_kernel_in_the_cache),
		T(test_boot_private_memory_maps_pages_of_the_cache),
		T(test_boot_load_again_repairs_what_the_guest_changed),
		T(test_boot_zeros_of_the_file_are_not_mapped),
		T(test_boot_what_will_be_written_is_copied),
		T(test_boot_populate_copies_mapped_code_only),
		T(test_boot_preload_is_a_part_of_the_first_load),
		T(test_boot_preload_leaves_what_does_not_fit),
		T(test_boot_unusable_cache_directory_is_named),
		T(test_boot_full_cache_is_done_without),
		T(test_boot_vmlinux_is_cached_without_what_follows),
		T(test_boot_compressed_vmlinux_is_loaded),
		T(test_boot_kernel_from_a_pipe_is_loaded),
		T(test_boot_what_is_no_kernel_is_refused),
		T(test_boot_hostile_bzimage_field_is_named),
		T(test_boot_wrong_unpacked_size_is_refused),
		T(test_boot_every_truncation_of_a_bzimage_is_refused),
		T(test_boot_hostile_elf_in_a_bzimage_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
