/* SPDX-License-Identifier: MIT */
/* LINK: vm_mems_save saved_mems hot_memory dimms ram guest_mem state save/state_file save/machine_x86 save/crc32c% error */
/* The rooms of virtio-mem devices in a save: they are where they were again. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "snapshot_internal.h"
#include "vm_internal.h"

#define MIB	(1ull << 20)
#define HOT	(4096 * MIB)
#define ROOM	(1024 * MIB)
#define DIMMS	(HOT + ROOM)

/* One that is saved, and what is made of that. */
static struct side {
	struct vm vm;
	struct vm_config config;
	struct guest_mem *mem;
} from, to;
static struct saved_device devices[] = {
	{ .type = DEVICE_MEM }, { .type = DEVICE_MEM }, { .type = DEVICE_MEM },
};
static struct saved_vm saved;
static struct state_file *file;
static uint8_t *data;

/* ---- what is below --------------------------------------------------------- */

int kvm_set_memory(struct kvm_vm *vm, uint32_t slot, uint32_t flags,
		   uint64_t gpa, uint64_t len_bytes, void *host)
{
	(void)vm;
	(void)slot;
	(void)flags;
	(void)gpa;
	(void)len_bytes;
	(void)host;
	return 0;
}

int vm_mem_make_room(struct vm *vm, unsigned int n, const char *memdev,
		     const struct config_memory *backing, gpa_t base,
		     struct error *e)
{
	struct hot_memory *h = NULL;
	int ret = dimms_reserve(vm->dimms, backing->size_bytes, &base, e);

	if (!ret)
		ret = hot_memory_create_at(&h, backing, base, n, vm->mem,
					   &vm->kvm, e);
	vm->mems[n].memory = h;
	vm->mems[n].memdev = strdup(memdev);
	return ret;
}

uint64_t vm_memory_offset(const struct vm *vm, gpa_t gpa)
{
	return 2 * MIB + gpa - hot_memory_base(vm->hot_memory);
}

int saved_vm_lowest_file(const struct saved_vm *s, uint64_t *len_bytes)
{
	*len_bytes = s->map.len_bytes;
	return s->memory_fd;
}

int saved_vm_section_error(const struct saved_vm *s, const char *tag,
			   uint32_t instance, int ret, struct error *e)
{
	(void)s;
	(void)instance;
	return error_prefix(e, ret, "section '%s'", tag);
}

/* ---- the tests --------------------------------------------------------------- */

static void make(struct side *s)
{
	struct error e;

	memset(s, 0, sizeof(*s));
	s->config.memory.size_bytes = 2 * MIB;
	s->config.memory.max_bytes = 2 * MIB + ROOM;
	s->vm.config = &s->config;
	s->vm.kvm.max_memslots = 32764;
	s->vm.saved = &saved;
	assert_int_equal(guest_mem_create(&s->mem), 0);
	s->vm.mem = s->mem;
	assert_int_equal(hot_memory_create(&s->vm.hot_memory, &s->config.memory,
					   HOT, s->mem, &s->vm.kvm, &e), 0);
	s->vm.mems[0].memory = s->vm.hot_memory;
	assert_int_equal(dimms_create(&s->vm.dimms, 4, DIMMS, ROOM, s->mem,
				      &s->vm.kvm, &e), 0);
}

static void unmake(struct side *s)
{
	for (unsigned int n = 0; n < VM_MEMS_MAX; n++) {
		hot_memory_destroy(s->vm.mems[n].memory);
		free(s->vm.mems[n].memdev);
	}
	dimms_destroy(s->vm.dimms);
	guest_mem_destroy(s->mem);
}

/* Two more, the first of them not where it would be put. */
static int setup(void **state)
{
	const struct config_memory size = { .size_bytes = 256 * MIB };
	struct error e;

	(void)state;
	make(&from);
	make(&to);
	memset(&saved, 0, sizeof(saved));
	saved.devices = devices;
	saved.device_count = 3;
	saved.memory_fd = -1;
	saved.mode = RESTORE_COPY;
	assert_int_equal(hot_memory_open(from.vm.hot_memory, 128 * MIB, &e), 0);
	assert_int_equal(vm_mem_make_room(&from.vm, 1, "one", &size,
					  DIMMS + 512 * MIB, &e), 0);
	assert_int_equal(vm_mem_make_room(&from.vm, 2, "two", &size, 0, &e), 0);
	assert_int_equal(hot_memory_open(from.vm.mems[1].memory, 256 * MIB, &e),
			 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	state_view_deinit(&saved.view);
	state_file_destroy(file);
	free(data);
	data = NULL;
	file = NULL;
	unmake(&from);
	unmake(&to);
	return 0;
}

/* As the section says it, but for what is changed at that byte of it. */
static int load(int at, uint8_t value, struct error *e)
{
	struct state_writer *w;
	size_t len;
	int ret;

	state_view_deinit(&saved.view);
	state_file_destroy(file);
	free(data);
	saved.mem_count = 0;
	assert_int_equal(state_file_create(&file), 0);
	w = state_file_add(file, TAG_MEMS, 0);
	vm_mems_save(&from.vm, w);
	if (at >= 0)
		w->data[at] = value;
	assert_int_equal(state_file_encode(file, &data, &len), 0);
	assert_int_equal(state_view_init(&saved.view, data, len, e), 0);
	ret = saved_mems_read(&saved, true, e);
	return ret ? ret : vm_mems_load(&to.vm, e);
}

static void test_mems_are_where_they_were(void **state)
{
	struct error e;

	(void)state;
	assert_int_equal(load(-1, 0, &e), 0);
	assert_int_equal(saved.mem_count, 3);
	for (int n = 0; n < 3; n++) {
		const struct hot_memory *a = from.vm.mems[n].memory;
		const struct hot_memory *b = to.vm.mems[n].memory;

		assert_true(hot_memory_base(a) == hot_memory_base(b));
		assert_true(hot_memory_bytes(a) == hot_memory_bytes(b));
		assert_true(hot_memory_open_bytes(a) ==
			    hot_memory_open_bytes(b));
	}
	assert_string_equal(to.vm.mems[1].memdev, "one");
	assert_true(guest_mem_valid(to.mem, DIMMS + 512 * MIB, 256 * MIB));
	assert_false(guest_mem_valid(to.mem, DIMMS, 1));
}

static void test_mems_have_what_is_in_the_file(void **state)
{
	uint64_t at = vm_memory_offset(&from.vm, DIMMS + 512 * MIB);
	struct error e;
	char byte = 0;

	(void)state;
	saved.memory_fd = memfd_create("saved", MFD_CLOEXEC);
	saved.map.len_bytes = at + 256 * MIB;
	saved.mode = RESTORE_MAP;
	assert_int_equal(ftruncate(saved.memory_fd,
				   (off_t)saved.map.len_bytes), 0);
	assert_int_equal(pwrite(saved.memory_fd, "x", 1, (off_t)(at + 5)), 1);
	assert_int_equal(load(-1, 0, &e), 0);
	guest_mem_read(to.mem, DIMMS + 512 * MIB + 5, &byte, 1);
	assert_int_equal(byte, 'x');
	close(saved.memory_fd);
}

/* The count, then of the first: no memdev, base, bytes, open; of the second from
 * 32 on: its memdev, from 39 on base, bytes, open. */
static void test_mems_that_cannot_be_are_refused(void **state)
{
	static const struct {
		int at;
		uint8_t value;
	} wrong[] = {
		{ 0, 0 }, { 0, 1 }, { 0, 4 }, { 3, 1 }, { 8, 1 }, { 16, 1 },
		{ 24, 1 }, { 26, 1 }, { 32, 200 }, { 39, 1 }, { 43, 0 },
		{ 43, 9 }, { 47, 1 }, { 51, 1 }, { 57, 1 }, { 59, 1 },
	};
	struct error e;

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		if (!load(wrong[i].at, wrong[i].value, &e))
			fail_msg("byte %d: %u", wrong[i].at, wrong[i].value);
		assert_non_null(strstr(e.text, "section 'mems'"));
		unmake(&to);
		make(&to);
	}
}

/* One that is told twice, in different words. */
static void test_mems_agree_with_the_section_of_the_memory(void **state)
{
	struct error e;

	(void)state;
	assert_int_equal(load(-1, 0, &e), 0);
	saved.mem_count = 0;
	saved.hot_bytes = 256 * MIB;
	assert_int_equal(saved_mems_read(&saved, false, &e), -EPROTO);
	assert_int_equal(saved.mem_count, 0);
	saved.hot_bytes = 128 * MIB;
	assert_int_equal(saved_mems_read(&saved, false, &e), 0);
}

/* Of before there was such a section. */
static void test_mems_of_an_older_save_are_opened(void **state)
{
	struct error e;

	(void)state;
	saved.hot_bytes = 256 * MIB;
	assert_int_equal(vm_mems_load(&to.vm, &e), 0);
	assert_true(hot_memory_open_bytes(to.vm.hot_memory) == 256 * MIB);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_mems_are_where_they_were),
		TEST(test_mems_have_what_is_in_the_file),
		TEST(test_mems_that_cannot_be_are_refused),
		TEST(test_mems_agree_with_the_section_of_the_memory),
		TEST(test_mems_of_an_older_save_are_opened),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
