/* SPDX-License-Identifier: MIT */
/* LINK: migrate migrate_in migrate_memory job loop save/page save/stream save/channel save/output char/listener save/command save/machine_x86 save/crc32c% state error */
/* Receiving a VM: what it is made from is not; what is looked at first is. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "log.h"
#include "migrate_internal.h"
#include "snapshot_internal.h"

#define RAM_BYTES (4u << 20)

static struct {
	struct vm vm;
	struct vm_config config, theirs;
	struct device device;
	struct pci_function function;
	const char *key;		/* of the device that is here */
	struct saved_device saved[2];	/* over there */
	size_t saved_count;
	uint8_t *ram, *sent;
	unsigned int bits;		/* that loading the CPU gives */
	int load_error;
	unsigned int loaded;
	uint64_t open_bytes;		/* of a room that the VM has over there */
	uint64_t open;			/* and here; after the RAM */
	unsigned int quiet;		/* devices are */
	bool no_dimms;
	char dir[32], path[48], uri[64];
} f;

/* ---- what is below --------------------------------------------------------- */

void log_write(enum log_level level, const char *fmt, ...)
{
	(void)level;
	(void)fmt;
}

void vm_emit(struct vm *vm, enum vm_event event, bool by_guest,
	     const char *reason)
{
	struct vm_migrate_info i;

	(void)event;
	(void)by_guest;
	(void)reason;
	vm_migrate_info(vm, &i);
	if (i.status == VM_MIGRATE_COMPLETED || i.status == VM_MIGRATE_FAILED)
		loop_stop(vm->loop);
}

int vm_cont(struct vm *vm, struct error *e)
{
	(void)e;
	vm->state = VM_RUNNING;
	return 0;
}

void config_init(struct vm_config *c)
{
	*c = (struct vm_config){ 0 };
}

void config_deinit(struct vm_config *c)
{
	(void)c;
}

int config_json_load_text(struct vm_config *c, const char *label,
			  const char *text, size_t len, struct error *e)
{
	(void)label;
	(void)e;
	assert_int_equal(len, 2);
	assert_string_equal(text, "{}");
	*c = f.theirs;
	return 0;
}

int saved_vm_from_state(struct saved_vm **out, const uint8_t *data,
			size_t len_bytes, struct error *e)
{
	struct saved_vm *s = calloc(1, sizeof(*s));

	(void)e;
	assert_int_equal(len_bytes, 5);
	assert_memory_equal(data, "state", 5);
	s->config = strdup("{}");
	s->devices = f.saved;
	s->device_count = f.saved_count;
	*out = s;
	return 0;
}

void saved_vm_close(struct saved_vm *s)
{
	if (s)
		free(s->config);
	free(s);
}

struct device *devices_first(const struct devices *d)
{
	(void)d;
	return f.key ? &f.device : NULL;
}

struct device *devices_at(const struct devices *d, unsigned int bus,
			  unsigned int slot)
{
	(void)d;
	return f.key && bus == 0 && slot == 3 ? &f.device : NULL;
}

const char *device_key(const struct device *device)
{
	(void)device;
	return f.key;
}

const char *device_type_name(enum device_type type)
{
	return type == DEVICE_DISK ? "disk" : "net";
}

const struct pci_function *device_function(const struct device *device)
{
	(void)device;
	return &f.function;
}

unsigned int vcpu_model_phys_bits(const struct vcpu_model *m)
{
	(void)m;
	return f.bits;
}

int snapshot_load_cpu(struct vm *vm, struct error *e)
{
	(void)e;
	assert_non_null(vm->saved);
	f.loaded++;
	return 0;
}

int vcpus_identify(struct vcpus *v, struct error *e)
{
	(void)v;
	(void)e;
	return 0;
}

int snapshot_load_state(struct vm *vm, struct error *e)
{
	(void)vm;
	return f.load_error ? error_config(e, f.load_error, "a device") : 0;
}

unsigned int ram_parts(const struct ram *r, struct ram_part *parts)
{
	(void)r;
	parts[0] = (struct ram_part){ .host = f.ram, .len_bytes = RAM_BYTES,
				      .anonymous = true };
	return 1;
}

/* ---- memory that was added ----------------------------------------------------- */

unsigned int dimms_parts(const struct dimms *d, struct ram_part *parts)
{
	(void)d;
	(void)parts;
	return 0;
}

struct dimm *dimms_at(const struct dimms *d, unsigned int slot)
{
	(void)d;
	(void)slot;
	return NULL;
}

void dimms_remove(struct dimms *d, struct dimm *dimm)
{
	(void)d;
	(void)dimm;
}

struct hotplug *board_mem_hotplug(struct board *b)
{
	(void)b;
	return NULL;
}

void hotplug_gone(struct hotplug *h, unsigned int unit)
{
	(void)h;
	(void)unit;
}

unsigned int hot_memory_parts(const struct hot_memory *h,
			      struct ram_part *parts)
{
	(void)h;
	parts[0] = (struct ram_part){ .host = f.ram + 2 * RAM_BYTES,
				      .anonymous = true };
	return f.open != 0;
}

uint64_t hot_memory_open_bytes(const struct hot_memory *h)
{
	(void)h;
	return f.open;
}

void hot_memory_close(struct hot_memory *h)
{
	(void)h;
	assert_int_equal(f.quiet, 1);
	f.open = 0;
}

void devices_begin_memory(struct devices *d)
{
	(void)d;
	f.quiet++;
}

void devices_end_memory(struct devices *d)
{
	(void)d;
	f.quiet--;
}

int vm_mems_load(struct vm *vm, struct error *e)
{
	(void)e;
	assert_int_equal(f.quiet, 1);
	assert_non_null(vm->saved);
	f.open = f.open_bytes;
	return 0;
}

int snapshot_load_dimms(struct vm *vm, struct error *e)
{
	(void)vm;
	return f.no_dimms ? error_config(e, -EPROTO, "section 'dimms'") : 0;
}

int vm_ports_check(struct vm *vm, const struct saved_vm *s, struct error *e)
{
	(void)vm;
	(void)s;
	(void)e;
	return 0;
}

int saved_vm_check_cpus(const struct saved_vm *s, const struct config_cpus *c,
			struct error *e)
{
	(void)s;
	(void)c;
	(void)e;
	return 0;
}

/* ---- the tests --------------------------------------------------------------- */

static void ignore(void *opaque, uint64_t ram_bytes, uint64_t sent_bytes)
{
	(void)opaque;
	(void)ram_bytes;
	(void)sent_bytes;
}

static int content(void *opaque)
{
	(void)opaque;
	return 0;
}

static void make_stream(bool running, bool shared)
{
	struct stream_header h = { running, shared, 5 };
	struct stream_part parts[] = {
		{ f.sent, RAM_BYTES, true, shared },
		{ f.ram + 3 * RAM_BYTES, f.open_bytes, true, false },
	};
	struct channel *c;
	struct error e;

	assert_int_equal(channel_open(&c, f.uri, CHANNEL_OUT, &e), 0);
	assert_int_equal(stream_write_header(c, &h, (const uint8_t *)"state"),
			 0);
	assert_int_equal(stream_write_memory(c, parts, 2, ignore,
					     content, NULL), 0);
	assert_int_equal(channel_finish(c, 0, &e), 0);
	channel_close(c);
}

static int setup(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	f.vm.config = &f.config;
	f.vm.state = VM_INMIGRATE;
	f.vm.run_incoming = true;
	f.config.incoming = INCOMING_DEFER;
	f.config.memory.size_bytes = f.theirs.memory.size_bytes = RAM_BYTES;
	f.config.cpus.count = f.theirs.cpus.count = 1;
	f.config.cpus.max = f.theirs.cpus.max = 1;
	f.key = "disk0";
	f.device.type = DEVICE_DISK;
	f.function.slot = 3;
	f.saved[0] = (struct saved_device){ .type = DEVICE_DISK,
					    .key = "disk0", .slot = 3 };
	f.saved_count = 1;
	f.bits = 40;
	assert_int_equal(loop_create(&f.vm.loop), 0);
	f.ram = mmap(NULL, 4 * RAM_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f.sent = f.ram + RAM_BYTES;
	memset(f.sent + 4096, 7, 10000);
	strcpy(f.dir, "/tmp/mote-incoming-XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	snprintf(f.path, sizeof(f.path), "%s/stream", f.dir);
	snprintf(f.uri, sizeof(f.uri), "file:%s", f.path);
	make_stream(true, false);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vm_migration_deinit(&f.vm);
	loop_destroy(f.vm.loop);
	munmap(f.ram, 4 * RAM_BYTES);
	unlink(f.path);
	return rmdir(f.dir);
}

static struct vm_migrate_info received(void)
{
	struct vm_migrate_info info;
	struct error e;

	assert_int_equal(vm_migrate_incoming(&f.vm, f.uri, &e), 0);
	loop_run(f.vm.loop);
	vm_migrate_info(&f.vm, &info);
	return info;
}

static void expect_refused(const char *text)
{
	struct vm_migrate_info info = received();

	assert_int_equal(info.status, VM_MIGRATE_FAILED);
	if (!strstr(info.error.text, text))
		fail_msg("'%s' is not in: %s", text, info.error.text);
	assert_int_equal(f.vm.state, VM_INMIGRATE);
	assert_int_equal(f.loaded, 0);
	/* None of the other's memory is here. */
	for (size_t i = 0; i < RAM_BYTES; i += 512)
		assert_int_equal(f.ram[i], 0);
}

static void test_incoming_vm_goes_on_as_it_was(void **state)
{
	struct error e;

	(void)state;
	assert_int_equal(received().status, VM_MIGRATE_COMPLETED);
	assert_memory_equal(f.ram, f.sent, RAM_BYTES);
	assert_int_equal(f.vm.state, VM_RUNNING);
	assert_int_equal(vm_migrate_incoming(&f.vm, f.uri, &e), -EPERM);
}

static void test_incoming_vm_that_was_paused_stays_so(void **state)
{
	(void)state;
	make_stream(false, false);
	assert_int_equal(received().status, VM_MIGRATE_COMPLETED);
	assert_int_equal(f.vm.state, VM_PAUSED);
}

static void test_incoming_vm_is_paused_where_it_is_to_be(void **state)
{
	(void)state;
	f.vm.run_incoming = false;
	assert_int_equal(received().status, VM_MIGRATE_COMPLETED);
	assert_int_equal(f.vm.state, VM_PAUSED);
}

static void test_incoming_other_vm_is_refused_by_what_differs(void **state)
{
	(void)state;
	f.theirs.memory.size_bytes *= 2;
	expect_refused("--memory");
	f.theirs.memory.size_bytes = RAM_BYTES;
	f.theirs.memory.max_bytes = 1 << 30;
	expect_refused("max=");
	f.theirs.memory.max_bytes = 0;
	f.theirs.cpus.max = 4;
	expect_refused("--cpus");
	f.theirs.cpus.max = 1;
	f.theirs.cpus.threads = 2;
	expect_refused("topology");
	f.theirs.cpus.threads = 0;
	f.theirs.serial.kind = CHAR_NULL;
	expect_refused("--serial");
	f.theirs.serial.kind = CHAR_NONE;
	strcpy(f.saved[0].key, "disk1");
	expect_refused("'disk1' at 00:03");
	f.saved_count = 0;
	expect_refused("this VM has a disk 'disk0'");
	f.saved_count = 2;
	strcpy(f.saved[0].key, "disk0");
	f.saved[1] = (struct saved_device){ .type = DEVICE_NET, .key = "net0",
					    .slot = 4 };
	expect_refused("'net0' at 00:04");
	f.saved_count = 1;
	assert_int_equal(received().status, VM_MIGRATE_COMPLETED);
}

static void test_incoming_without_ram_needs_a_file_of_it(void **state)
{
	const struct vm_migrate_capabilities c = { .ignore_shared = true,
						   .events = true };
	struct error e;

	(void)state;
	make_stream(true, true);
	expect_refused("x-ignore-shared");
	assert_int_equal(vm_migrate_set_capabilities(&f.vm, &c, &e), 0);
	expect_refused("path=FILE");
	f.config.memory.path = (char *)"ram";
	f.ram[77] = 5;
	assert_int_equal(received().status, VM_MIGRATE_COMPLETED);
	assert_int_equal(f.ram[77], 5);
}

/* It is made before it comes, and goes again when it does not. */
static void test_incoming_memory_that_was_added_is_made(void **state)
{
	struct error e;

	(void)state;
	f.vm.hot_memory = f.vm.mems[0].memory = (struct hot_memory *)&f;
	f.open = 1 << 20;
	f.open_bytes = 2 << 20;
	memset(f.ram + 3 * RAM_BYTES, 9, 4096);
	make_stream(true, false);
	f.no_dimms = true;
	expect_refused("section 'dimms'");
	assert_int_equal(f.open, 0);
	f.no_dimms = false;
	/* Without its end. */
	assert_int_equal(truncate(f.path, 4 * 4096), 0);
	assert_int_equal(received().status, VM_MIGRATE_FAILED);
	assert_int_equal(f.open, 0);
	assert_null(f.vm.saved);

	make_stream(true, true);
	f.config.memory.path = (char *)"ram";
	assert_int_equal(vm_migrate_set_capabilities(&f.vm,
			 &(struct vm_migrate_capabilities){ true, true }, &e),
			 0);
	f.ram[77] = 5;
	assert_int_equal(received().status, VM_MIGRATE_COMPLETED);
	assert_int_equal(f.ram[77], 5);
	assert_int_equal(f.open, 2 << 20);
	assert_memory_equal(f.ram + 2 * RAM_BYTES, f.ram + 3 * RAM_BYTES,
			    2 << 20);
}

static void test_incoming_half_loaded_is_no_vm(void **state)
{
	struct error e;

	(void)state;
	f.load_error = -EPROTO;
	assert_int_equal(received().status, VM_MIGRATE_FAILED);
	assert_int_equal(f.vm.state, VM_INMIGRATE);
	assert_null(f.vm.saved);
	assert_int_equal(vm_migrate_incoming(&f.vm, f.uri, &e), -EPERM);
	assert_non_null(strstr(e.text, "only quit"));
}

static void test_incoming_was_not_asked_for(void **state)
{
	struct error e;

	(void)state;
	f.config.incoming = INCOMING_OFF;
	assert_int_equal(vm_migrate_incoming(&f.vm, f.uri, &e), -EPERM);
	assert_non_null(strstr(e.text, "--incoming"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_incoming_vm_goes_on_as_it_was),
		TEST(test_incoming_vm_that_was_paused_stays_so),
		TEST(test_incoming_vm_is_paused_where_it_is_to_be),
		TEST(test_incoming_other_vm_is_refused_by_what_differs),
		TEST(test_incoming_without_ram_needs_a_file_of_it),
		TEST(test_incoming_memory_that_was_added_is_made),
		TEST(test_incoming_half_loaded_is_no_vm),
		TEST(test_incoming_was_not_asked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
