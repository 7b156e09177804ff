/* SPDX-License-Identifier: MIT */
/* LINK: save/state_file save/machine_x86 save/memory_map save/page save/memory_work save/memory_layers save/crc32c% */
/* LINK: save_identity saved_vm saved_chain saved_device saved_mems state error job loop kvm/cpuid_x86 kvm/cpuid_state_x86 kvm/cpu_features_x86 kvm/kvm progress */
/* The golden save of each format version is read, on any host; tests/golden. */
#include "unit.h"

#include <endian.h>
#include <fcntl.h>
#include <glob.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hot_memory.h"
#include "kvm/cpuid_x86.h"
#include "save/crc32c.h"
#include "snapshot_internal.h"
#include "vm_devices.h"

/* What saved_vm.c needs of devices: their names. */
const char *device_type_name(enum device_type type)
{
	static const char *const names[DEVICE_TYPES] = {
		[DEVICE_RNG] = "rng",
	};

	return names[type] ? names[type] : "other";
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

static char top[] = "/tmp/test-golden-XXXXXX";

static void unpack(const char *version)
{
	char command[512];

	assert_non_null(mkdtemp(top));
	snprintf(command, sizeof(command), "cp %s/state %s/config.json %s && "
		 "gzip -dc %s/memory.gz >%s/memory", version, version, top,
		 version, top);
	assert_int_equal(system(command), 0);
}

static void assert_reads(void)
{
	struct vm_config c = { .cpus = { .count = 1, .max = 1 },
			       .memory = { .size_bytes = 16u << 20 } };
	uint8_t *ram = calloc(1, 16u << 20);
	const struct memory_part part = { .host = ram, .len_bytes = 16u << 20 };
	struct memory_layer layers[SAVED_MAX_LAYERS];
	struct kvm_cpuid2 *cpuid;
	const struct state_section *cpu;
	struct state_reader r;
	struct saved_vm *s;
	struct error e = { .text = "" };
	uint32_t word;

	if (saved_vm_open(&s, top, &e))
		fail_msg("%s", e.text);
	assert_int_equal(saved_vm_use(s, RESTORE_COPY, &c, &e), 0);
	assert_int_equal(saved_vm_layers(s, layers, &e), 1);
	assert_int_equal(memory_layers_read(layers, 1, &part, 1,
					    MEMORY_CHECK_ALL, NULL, &e), 0);
	/* What the guest has put there. */
	memcpy(&word, ram + 0x40f000, sizeof(word));
	assert_int_equal(word, 0x40f000);
	cpu = state_view_find(&s->view, TAG_CPU, 0);
	state_reader_init(&r, cpu->data, cpu->len_bytes);
	state_get_u64(&r);
	assert_int_equal(cpuid_load(&cpuid, &r), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	free(cpuid);
	saved_vm_close(s);
	free(ram);
}

static void test_golden_saves_are_read(void **state)
{
	char command[64];
	glob_t g;

	(void)state;
	assert_int_equal(glob("tests/golden/v*", 0, NULL, &g), 0);
	for (size_t i = 0; i < g.gl_pathc; i++) {
		unpack(g.gl_pathv[i]);
		assert_reads();
		snprintf(command, sizeof(command), "rm -r %s", top);
		assert_int_equal(system(command), 0);
		strcpy(top + strlen(top) - 6, "XXXXXX");
	}
	globfree(&g);
}

/* ---- saves that replace each other ---------------------------------------- */

#define OPENS 400

/* state_file.h: a table's entry, and what is in the header. docs/SNAPSHOT.md */
#define ENTRY(n) (40 + 48 * (size_t)(n))

static void store_crc(uint8_t *at, const uint8_t *data, size_t len)
{
	uint32_t crc = htole32(crc32c(0, data, len));

	memcpy(at, &crc, sizeof(crc));
}

static void write_at_start(const char *dir, const char *name, const void *data,
			   size_t len)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

/* A copy of the save at top, whose id and memory both begin with that. */
static void copy_save(const char *dir, uint8_t with)
{
	const struct state_section *section;
	char command[128];
	struct saved_vm *s;
	struct error e = { .text = "" };
	size_t n = 0;

	snprintf(command, sizeof(command), "cp -r %s/save %s", top, dir);
	assert_int_equal(system(command), 0);
	if (saved_vm_open(&s, dir, &e))
		fail_msg("%s", e.text);
	section = state_view_find(&s->view, TAG_SAVE, 0);
	s->data[section->data - s->data] = with;
	while (strcmp((char *)s->data + ENTRY(n), TAG_SAVE))
		n++;
	store_crc(s->data + ENTRY(n) + 20, section->data, section->len_bytes);
	store_crc(s->data + 32, s->data + ENTRY(0), 48 * s->view.count);
	store_crc(s->data + 36, s->data, 36);
	write_at_start(dir, "state", s->data, s->len_bytes);
	write_at_start(dir, "memory", &with, 1);
	saved_vm_close(s);
}

static atomic_bool stopping;

static void *exchange(void *opaque)
{
	char other[64];

	snprintf(other, sizeof(other), "%s/b", top);
	while (!stopping) {
		renameat2(AT_FDCWD, opaque, AT_FDCWD, other, RENAME_EXCHANGE);
		usleep((useconds_t)(random() % 500));
	}
	return NULL;
}

/* State and memory are of the same save, also when a save comes between. */
static void test_what_is_replaced_meanwhile_is_not_mixed(void **state)
{
	char place[64], other[64], command[128];
	struct saved_vm *s;
	struct error e = { .text = "" };
	pthread_t thread;
	uint8_t byte;

	(void)state;
	unpack("tests/golden/v1");
	snprintf(command, sizeof(command), "cd %s && mkdir save && mv config.json "
		 "state memory save", top);
	assert_int_equal(system(command), 0);
	snprintf(place, sizeof(place), "%s/a", top);
	snprintf(other, sizeof(other), "%s/b", top);
	copy_save(place, 'a');
	copy_save(other, 'b');
	assert_int_equal(pthread_create(&thread, NULL, exchange, place), 0);
	for (unsigned int i = 0; i < OPENS; i++) {
		if (saved_vm_open(&s, place, &e))
			fail_msg("%s", e.text);
		assert_int_equal(pread(s->memory_fd, &byte, 1, 0), 1);
		assert_int_equal(byte, s->identity.id[0]);
		saved_vm_close(s);
	}
	stopping = true;
	pthread_join(thread, NULL);
	snprintf(command, sizeof(command), "rm -r %s", top);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden_saves_are_read),
		cmocka_unit_test(
			test_what_is_replaced_meanwhile_is_not_mixed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
