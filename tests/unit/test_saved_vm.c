/* SPDX-License-Identifier: MIT */
/* LINK: save/state_file save/machine_x86 save/memory_map save/page save/memory_work save/crc32c% */
/* LINK: save_identity saved_vm saved_chain saved_device saved_mems state error progress */
/* Saves whose checksums are right and whose maker means harm. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hot_memory.h"
#include "job.h"
#include "snapshot_internal.h"
#include "vm_devices.h"

#define RAM_BYTES	(2u << 20)
#define LEVELS		24

static char top[] = "/tmp/test-saved-XXXXXX";

/* ---- what is below --------------------------------------------------------- */

const char *device_type_name(enum device_type type)
{
	return type == DEVICE_RNG ? "rng" : type == DEVICE_MEM ? "mem" :
								 "other";
}

const char *device_key(const struct device *device)
{
	(void)device;
	return NULL;
}

const struct pci_function *device_function(const struct device *device)
{
	(void)device;
	return NULL;
}

unsigned int vm_pmem_slot(const struct device *device)
{
	(void)device;
	return 0;
}

uint64_t hot_memory_room_bytes(const struct config_memory *c)
{
	(void)c;
	return 0;
}

bool job_cancelled(const struct job *j)
{
	(void)j;
	return false;
}

void job_add_progress(struct job *j, uint64_t bytes)
{
	(void)j;
	(void)bytes;
}

/* ---- making saves ----------------------------------------------------------- */

struct made {
	const char *name;
	uint8_t id, base_id;		/* of each, all bytes; 0: not a diff */
	const char *relative, *absolute;
	unsigned int slots[3];		/* of a device each; 0: no more */
	const char *type;		/* NULL: rng */
	uint32_t rooms;			/* of virtio-mem devices */
};

static void put_device(struct state_file *f, uint32_t i, unsigned int slot,
		       const char *type)
{
	struct state_writer *w = state_file_add(f, TAG_DEVICE, i);

	state_put_string(w, type);
	state_put_string(w, type);
	state_put_string(w, "");
	state_put_u8(w, 0);
	state_put_u8(w, (uint8_t)slot);
	state_put_bool(w, false);
	state_put_u32(w, 0);
}

static void put_rooms(struct state_file *f, uint32_t count)
{
	struct state_writer *w;

	if (!count)
		return;
	w = state_file_add(f, TAG_MEMS, 0);
	state_put_u32(w, count);
	for (uint32_t i = 0; i < count; i++) {
		state_put_string(w, i ? "m" : "");
		state_put_u64(w, (i + 1ull) << 32);
		state_put_u64(w, 128 << 20);
		state_put_u64(w, 0);
	}
}

static void put_identity(struct state_file *f, const struct made *m)
{
	struct save_identity identity = { .is_diff = m->base_id };

	memset(identity.id, m->id, sizeof(identity.id));
	memset(identity.base_id, m->base_id, sizeof(identity.base_id));
	if (m->base_id) {
		strcpy(identity.base_relative, m->relative);
		strcpy(identity.base_absolute, m->absolute);
	}
	save_identity_put(&identity, state_file_add(f, TAG_SAVE, 0));
}

static void put_memory(struct state_file *f, const struct made *m)
{
	struct state_writer *w = state_file_add(f, TAG_MEMORY, 0);
	struct memory_map map;

	assert_int_equal(memory_map_init(&map, m->base_id ? MEMORY_DIFF :
					 MEMORY_FULL, RAM_BYTES), 0);
	state_put_string(w, "memory");
	state_put_u64(w, 0);
	memory_map_save(&map, w);
	memory_map_deinit(&map);
}

static const char *path_of(const char *name)
{
	static char path[512];

	snprintf(path, sizeof(path), "%s/%s", top, name);
	return path;
}

static void make(const struct made *m)
{
	static const char *const others[] = { TAG_CONFIG, TAG_CPU, TAG_MACHINE,
					      TAG_BOARD, TAG_DIMMS, TAG_VCPU };
	struct state_file *f;
	uint8_t *data;
	size_t len;
	int fd;

	assert_int_equal(state_file_create(&f), 0);
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		state_put_bytes(state_file_add(f, others[i], 0), "{}", 2);
	for (uint32_t i = 0; m->slots[i]; i++)
		put_device(f, i, m->slots[i], m->type ? m->type : "rng");
	put_rooms(f, m->rooms);
	put_identity(f, m);
	put_memory(f, m);
	assert_int_equal(state_file_encode(f, &data, &len), 0);
	state_file_destroy(f);
	fd = open(path_of(m->name), O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
	free(data);
}

static void assert_refused(const char *name, const char *says)
{
	struct error e = { .text = "" };
	struct saved_vm *s;

	assert_true(saved_vm_open(&s, path_of(name), &e) < 0);
	if (!strstr(e.text, says))
		fail_msg("%s: not '%s'", e.text, says);
}

static void assert_opens(const char *name)
{
	struct error e = { .text = "" };
	struct saved_vm *s;

	if (saved_vm_open(&s, path_of(name), &e))
		fail_msg("%s", e.text);
	saved_vm_close(s);
}

/* ---- tests ------------------------------------------------------------------ */

static void test_two_devices_in_one_slot_are_refused(void **state)
{
	(void)state;
	make(&(struct made){ .name = "s", .id = 1, .slots = { 3, 4 } });
	assert_opens("s");
	make(&(struct made){ .name = "s", .id = 1, .slots = { 3, 3 } });
	assert_refused("s", "in one slot");
}

static void test_rooms_without_their_devices_are_refused(void **state)
{
	struct made m = { .name = "s", .id = 1, .type = "mem", .rooms = 2,
			  .slots = { 3, 4 } };

	(void)state;
	make(&m);
	assert_opens("s");
	m.rooms = 1;
	make(&m);
	assert_refused("s", "section 'mems'");
	m.rooms = 3;
	make(&m);
	assert_refused("s", "section 'mems'");
}

/* What is of another kind holds nobody up. */
static void test_fifos_are_refused_at_once(void **state)
{
	char memory[512];

	(void)state;
	assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
	alarm(10);
	assert_refused("fifo", "not a saved VM's");
	make(&(struct made){ .name = "s", .id = 1 });
	strcpy(memory, path_of("memory"));
	unlink(memory);
	assert_int_equal(mkfifo(memory, 0600), 0);
	assert_refused("s", "memory");
	alarm(0);
	unlink(memory);
	close(open(memory, O_WRONLY | O_CREAT, 0600));
	assert_int_equal(truncate(memory, RAM_BYTES), 0);
	assert_opens("s");
}

/*
 * Two of each level, each with the wrong one as its first place and the right one
 * as its second: each is opened for the two below it, if all of a base is looked
 * at before its id.
 */
static void test_chain_of_wrong_bases_takes_no_time(void **state)
{
	char relative[32], absolute[64], name[32];

	(void)state;
	for (uint8_t level = 0; level < LEVELS; level++)
		for (uint8_t twin = 0; twin < 2; twin++) {
			uint8_t below = (uint8_t)(2 * (level - 1));
			struct made m = {
				.name = name, .relative = relative,
				.absolute = absolute,
				.id = (uint8_t)(2 * level + twin + 1),
				.base_id = (uint8_t)(level ? below + twin + 1 :
							     0),
			};

			snprintf(name, sizeof(name), "c%u-%u", level, twin);
			snprintf(relative, sizeof(relative), "c%u-%u",
				 level - 1, !twin);
			snprintf(absolute, sizeof(absolute), "%s/c%u-%u", top,
				 level - 1, twin);
			make(&m);
		}
	alarm(10);
	assert_opens(name);
	alarm(0);
	/* And a wrong one only is told as such. */
	unlink(path_of("c0-1"));
	assert_refused("c1-1", "another save");
}

static void test_how_ram_was_come_by_is_no_part_of_it(void **state)
{
	static const struct config_memory bad[] = {
		{ .size_bytes = RAM_BYTES, .share = true },
		{ .size_bytes = RAM_BYTES, .prealloc = true },
		{ .size_bytes = RAM_BYTES, .hugepages = true },
		{ .size_bytes = RAM_BYTES, .path = (char *)"/dev/null" },
	};
	struct vm_config c = { .cpus = { .count = 1, .max = 1 } };
	struct error e;
	struct saved_vm *s;

	(void)state;
	make(&(struct made){ .name = "s", .id = 1 });
	assert_int_equal(saved_vm_open(&s, path_of("s"), &e), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		c.memory = bad[i];
		assert_int_equal(saved_vm_use(s, RESTORE_MAP, &c, &e), -EINVAL);
		assert_non_null(strstr(e.text, "section 'config'"));
	}
	c.memory = (struct config_memory){ .size_bytes = RAM_BYTES };
	assert_int_equal(saved_vm_use(s, RESTORE_COPY, &c, &e), 0);
	saved_vm_close(s);
}

static int set_up(void **state)
{
	int fd;

	(void)state;
	if (!mkdtemp(top))
		return -1;
	fd = open(path_of("memory"), O_WRONLY | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, RAM_BYTES))
		return -1;
	close(fd);
	return 0;
}

static int tear_down(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", top);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_devices_in_one_slot_are_refused),
		cmocka_unit_test(test_rooms_without_their_devices_are_refused),
		cmocka_unit_test(test_fifos_are_refused_at_once),
		cmocka_unit_test(test_chain_of_wrong_bases_takes_no_time),
		cmocka_unit_test(test_how_ram_was_come_by_is_no_part_of_it),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
