/* SPDX-License-Identifier: MIT */
/* LINK: save/state_file save/machine_x86 save/memory_map save/page save/memory_work save/crc32c% */
/* LINK: save_identity saved_vm saved_chain saved_device saved_mems state error job loop kvm/cpuid_x86 kvm/cpuid_state_x86 kvm/cpu_features_x86 kvm/kvm progress */
/* What a saved VM's state file says, from somebody who gets the checksums right. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hot_memory.h"
#include "kvm/cpuid_x86.h"
#include "log.h"
#include "save/crc32c.h"
#include "snapshot_internal.h"
#include "vm_devices.h"

#define HEADER	40u
#define ENTRY	48u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What saved_vm.c needs of devices: their names. */
const char *device_type_name(enum device_type type)
{
	static const char *const names[] = {
		"disk", "net", "console", "rng", "pmem", "vsock", "9p",
		"balloon", "mem",
	};

	return (size_t)type < sizeof(names) / sizeof(names[0]) ? names[type] :
								 "other";
}

const char *device_key(const struct device *device)
{
	(void)device;
	return NULL;
}

unsigned int vm_pmem_slot(const struct device *device)
{
	(void)device;
	return 0;
}

const struct pci_function *device_function(const struct device *device)
{
	(void)device;
	return NULL;
}

uint64_t hot_memory_room_bytes(const struct config_memory *c)
{
	return c->max_bytes > c->size_bytes ? c->max_bytes - c->size_bytes : 0;
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static void put32(uint8_t *p, uint32_t v)
{
	memcpy(p, &v, sizeof(v));
}

/* Every checksum, of whatever there is. */
static void seal(uint8_t *p, size_t size)
{
	uint64_t file = size, offset, len;
	uint32_t count;

	if (size < HEADER)
		return;
	count = get32(p + 16);
	memcpy(p + 24, &file, sizeof(file));
	if (count > (size - HEADER) / ENTRY)
		return;
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *entry = p + HEADER + i * ENTRY;

		memcpy(&offset, entry + 24, sizeof(offset));
		memcpy(&len, entry + 32, sizeof(len));
		if (offset <= size && len <= size - offset)
			put32(entry + 20, crc32c(0, p + offset, len));
	}
	put32(p + 32, crc32c(0, p + HEADER, count * (size_t)ENTRY));
	put32(p + 36, crc32c(0, p, 36));
}

static void look_into(const uint8_t *data, size_t size)
{
	struct state_view v;
	struct error e;

	if (state_view_init(&v, data, size, &e))
		return;
	for (size_t i = 0; i < v.count; i++) {
		const struct state_section *s = &v.sections[i];
		struct kvm_cpuid2 *cpuid = NULL;
		struct save_identity identity;
		struct saved_device device;
		struct memory_map map;
		struct state_reader r;
		char name[64];

		state_reader_init(&r, s->data, s->len_bytes);
		save_identity_get(&identity, &r);
		state_reader_init(&r, s->data, s->len_bytes);
		saved_device_get(&device, &r);
		state_reader_init(&r, s->data, s->len_bytes);
		state_get_u64(&r);
		if (!cpuid_load(&cpuid, &r))
			cpuid_check(cpuid, cpuid, &e);
		free(cpuid);
		state_reader_init(&r, s->data, s->len_bytes);
		state_get_string(&r, name, sizeof(name));
		state_get_u64(&r);
		if (!memory_map_load(&map, &r))
			memory_map_deinit(&map);
	}
	state_view_deinit(&v);
}

/* By way of a file, as `mote restore` comes to it. */
static void open_it(const uint8_t *data, size_t size)
{
	struct vm_config c = { .cpus = { .count = 1, .max = 4 } };
	int fd = memfd_create("state", MFD_CLOEXEC);
	struct saved_vm *s;
	struct error e;
	char path[64];

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (!saved_vm_open(&s, path, &e)) {
		c.memory.size_bytes = 16u << 20;
		saved_vm_use(s, RESTORE_COPY, &c, &e);
		saved_vm_close(s);
	}
	close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	memcpy(copy, data, size);
	look_into(copy, size);
	seal(copy, size);
	look_into(copy, size);
	open_it(copy, size);
	free(copy);
	return 0;
}
