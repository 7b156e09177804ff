/* SPDX-License-Identifier: MIT */
/* LINK: migrate migrate_out migrate_memory vm_hold job loop save/page save/stream save/channel save/output char/listener save/command save/state_file save/machine_x86 save/crc32c% state error */
/* Sending a VM of which there is nothing but its RAM. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "migrate_internal.h"
#include "snapshot_internal.h"

static struct {
	struct vm vm;
	struct vm_config config;
	uint8_t *ram;
	const char *shared_file;
	bool unsavable, unreadable;
	uint64_t added_bytes;		/* a DIMM's, behind the RAM */
	unsigned int released, events;
	enum vm_migrate_status last;
	char dir[32], path[48], uri[64];
} f;

/* ---- what is below --------------------------------------------------------- */

void log_write(enum log_level level, const char *fmt, ...)
{
	(void)level;
	(void)fmt;
}

int vm_stop(struct vm *vm, struct error *e)
{
	(void)e;
	if (vm->state == VM_RUNNING)
		vm->state = VM_PAUSED;
	return 0;
}

int vm_cont(struct vm *vm, struct error *e)
{
	(void)e;
	vm->state = VM_RUNNING;
	return 0;
}

const char *vm_state_name(enum vm_state state)
{
	return state == VM_PRELAUNCH ? "prelaunch" : "other";
}

void vm_emit(struct vm *vm, enum vm_event event, bool by_guest,
	     const char *reason)
{
	struct vm_migrate_info info;

	(void)by_guest;
	(void)reason;
	assert_int_equal(event, VM_EVENT_MIGRATION);
	vm_migrate_info(vm, &info);
	f.last = info.status;
	f.events++;
	if (f.last != VM_MIGRATE_SETUP && f.last != VM_MIGRATE_ACTIVE &&
	    f.last != VM_MIGRATE_CANCELLING)
		loop_stop(vm->loop);
}

int save_config_text(const struct vm *vm, char **out, struct error *e)
{
	(void)vm;
	if (f.unsavable)
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EOPNOTSUPP,
				       "no");
	*out = strdup("{}");
	return 0;
}

int snapshot_save(struct vm *vm, struct state_file *file, const char *config,
		  struct error *e)
{
	(void)vm;
	(void)e;
	state_put_string(state_file_add(file, TAG_CONFIG, 0), config);
	return 0;
}

unsigned int ram_parts(const struct ram *r, struct ram_part *parts)
{
	(void)r;
	parts[0] = (struct ram_part){ .host = f.ram, .len_bytes = 8 << 20,
				      .anonymous = true };
	return 1;
}

const char *ram_shared_file(const struct ram *r)
{
	(void)r;
	return f.shared_file;
}

unsigned int dimms_parts(const struct dimms *d, struct ram_part *parts)
{
	(void)d;
	parts[0] = (struct ram_part){ .host = f.ram + (8 << 20),
				      .len_bytes = f.added_bytes };
	return f.added_bytes != 0;
}

void vm_dimms_take_ejected(struct vm *vm)
{
	(void)vm;
}

/* ---- only where something comes in ------------------------------------------- */

unsigned int hot_memory_parts(const struct hot_memory *h,
			      struct ram_part *parts)
{
	(void)h;
	(void)parts;
	fail();
	return 0;
}

uint64_t hot_memory_open_bytes(const struct hot_memory *h)
{
	(void)h;
	fail();
	return 0;
}

void hot_memory_close(struct hot_memory *h)
{
	(void)h;
	fail();
}

struct dimm *dimms_at(const struct dimms *d, unsigned int slot)
{
	(void)d;
	(void)slot;
	fail();
	return NULL;
}

void dimms_remove(struct dimms *d, struct dimm *dimm)
{
	(void)d;
	(void)dimm;
	fail();
}

struct hotplug *board_mem_hotplug(struct board *b)
{
	(void)b;
	fail();
	return NULL;
}

void hotplug_gone(struct hotplug *h, unsigned int unit)
{
	(void)h;
	(void)unit;
	fail();
}

void devices_begin_memory(struct devices *d)
{
	(void)d;
	fail();
}

void devices_end_memory(struct devices *d)
{
	(void)d;
	fail();
}

int vm_mems_load(struct vm *vm, struct error *e)
{
	(void)vm;
	(void)e;
	fail();
	return 0;
}

int snapshot_load_dimms(struct vm *vm, struct error *e)
{
	(void)vm;
	(void)e;
	fail();
	return 0;
}

void vm_cpus_take_ejected(struct vm *vm)
{
	(void)vm;
}

void vm_dimms_released(struct vm *vm)
{
	(void)vm;
	f.released++;
}

void saved_vm_close(struct saved_vm *s)
{
	assert_null(s);
}

int vm_fault_fill(struct vm *vm, struct job *j, const char *what,
		  struct error *e)
{
	(void)vm;
	(void)j;
	if (!f.unreadable)
		return 0;
	return error_set(e, -ENODATA, "%s: a page", what);
}

/* ---- the tests --------------------------------------------------------------- */

static int setup(void **state)
{
	(void)state;
	memset(&f, 0, sizeof(f));
	f.vm.config = &f.config;
	f.vm.state = VM_RUNNING;
	f.vm.request.watch.fd = -1;
	assert_int_equal(loop_create(&f.vm.loop), 0);
	f.ram = mmap(NULL, 12 << 20, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f.ram[5 << 20] = 1;
	strcpy(f.dir, "/tmp/mote-migrate-XXXXXX");
	assert_non_null(mkdtemp(f.dir));
	snprintf(f.path, sizeof(f.path), "%s/stream", f.dir);
	snprintf(f.uri, sizeof(f.uri), "file:%s", f.path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	vm_migration_deinit(&f.vm);
	loop_destroy(f.vm.loop);
	munmap(f.ram, 12 << 20);
	unlink(f.path);
	return rmdir(f.dir);
}

static struct vm_migrate_info sent(const char *uri)
{
	struct vm_migrate_info info;
	struct error e;

	assert_int_equal(vm_migrate(&f.vm, uri, &e), 0);
	assert_int_equal(f.vm.state, VM_FINISH_MIGRATE);
	assert_int_equal(f.last, VM_MIGRATE_ACTIVE);
	assert_int_equal(vm_migrate(&f.vm, uri, &e), -EBUSY);
	loop_run(f.vm.loop);
	vm_migrate_info(&f.vm, &info);
	return info;
}

static void test_migrate_sent_vm_is_paused(void **state)
{
	struct vm_migrate_info info = sent(f.uri);
	struct stat st;

	(void)state;
	assert_int_equal(info.status, VM_MIGRATE_COMPLETED);
	assert_int_equal(info.total, 8 << 20);
	assert_int_equal(info.done, info.total);
	assert_true(info.sent > 4096 && info.sent < 8192);
	assert_int_equal(f.vm.state, VM_POSTMIGRATE);
	assert_false(f.vm.is_template);
	/* What the guest had asked for meanwhile is looked at. */
	assert_int_equal(f.released, 1);
	assert_int_equal(stat(f.path, &st), 0);
	assert_true(st.st_size > 4096 && st.st_size < 8192);
}

static void test_migrate_without_shared_ram_makes_a_template(void **state)
{
	const struct vm_migrate_capabilities c = { .ignore_shared = true,
						   .events = true };
	struct vm_migrate_info info;
	struct error e;

	(void)state;
	assert_int_equal(vm_migrate_set_capabilities(&f.vm, &c, &e), 0);
	f.shared_file = "ram";
	info = sent(f.uri);
	assert_int_equal(info.status, VM_MIGRATE_COMPLETED);
	assert_int_equal(info.total, 0);
	assert_true(f.vm.is_template);
}

/* What was added is nobody's file. */
static void test_migrate_sends_memory_that_was_added(void **state)
{
	const struct vm_migrate_capabilities c = { .ignore_shared = true,
						   .events = true };
	struct vm_migrate_info info;
	struct error e;

	(void)state;
	f.added_bytes = 4 << 20;
	memset(f.ram + (9 << 20), 5, 8192);
	info = sent(f.uri);
	assert_int_equal(info.status, VM_MIGRATE_COMPLETED);
	assert_int_equal(info.total, 12 << 20);
	assert_true(info.sent > 3 * 4096 && info.sent < 4 * 4096);
	f.vm.state = VM_RUNNING;
	assert_int_equal(vm_migrate_set_capabilities(&f.vm, &c, &e), 0);
	f.shared_file = "ram";
	info = sent(f.uri);
	assert_int_equal(info.total, 4 << 20);
	assert_int_equal(info.done, 4 << 20);
	assert_true(info.sent > 2 * 4096 && info.sent < 3 * 4096);
}

static void test_migrate_that_fails_changes_nothing(void **state)
{
	struct vm_migrate_info info = sent("exec:exit 3");

	(void)state;
	assert_int_equal(info.status, VM_MIGRATE_FAILED);
	assert_non_null(strstr(info.error.text, "status 3"));
	assert_int_equal(f.vm.state, VM_RUNNING);
	f.vm.state = VM_PAUSED;
	sent("exec:exit 3");
	assert_int_equal(f.vm.state, VM_PAUSED);
}

/* Nothing of it has gone out. */
static void test_migrate_that_cannot_read_memory_leaves_all(void **state)
{
	struct vm_migrate_info info;

	(void)state;
	f.unreadable = true;
	info = sent(f.uri);
	assert_int_equal(info.status, VM_MIGRATE_FAILED);
	assert_non_null(strstr(info.error.text, "a page"));
	assert_int_equal(access(f.path, F_OK), -1);
	assert_int_equal(f.vm.state, VM_RUNNING);
}

static void test_migrate_cancelled_changes_nothing(void **state)
{
	struct vm_migrate_info info;
	struct error e;

	(void)state;
	memset(f.ram, 7, 8 << 20);
	assert_int_equal(vm_migrate(&f.vm, "exec:sleep 1000", &e), 0);
	vm_migrate_cancel(&f.vm);
	assert_int_equal(f.last, VM_MIGRATE_CANCELLING);
	loop_run(f.vm.loop);
	vm_migrate_info(&f.vm, &info);
	assert_int_equal(info.status, VM_MIGRATE_CANCELLED);
	assert_int_equal(f.vm.state, VM_RUNNING);
}

/* Else a guest that says so all the time would never move. */
static void test_migrate_of_a_guest_with_a_crash_kernel(void **state)
{
	(void)state;
	atomic_store(&f.vm.requests, VM_REQUEST_CRASH_LOADED);
	assert_int_equal(sent(f.uri).status, VM_MIGRATE_COMPLETED);
}

/* A page of --memory fault that could not be read is zeros by then. */
static void test_migrate_without_all_memory_has_no_end(void **state)
{
	struct vm_migrate_info info;
	char command[96];
	uint8_t last[88];
	struct error e;
	int fd;

	(void)state;
	memset(f.ram, 7, 8 << 20);
	snprintf(command, sizeof(command), "exec:sleep 1; cat >%s", f.path);
	assert_int_equal(vm_migrate(&f.vm, command, &e), 0);
	atomic_store(&f.vm.requests, VM_REQUEST_KVM_ERROR);
	loop_run(f.vm.loop);
	vm_migrate_info(&f.vm, &info);
	assert_int_equal(info.status, VM_MIGRATE_FAILED);
	assert_non_null(strstr(info.error.text, "memory could be read"));
	fd = open(f.path, O_RDONLY);
	assert_true(lseek(fd, -(off_t)sizeof(last), SEEK_END) > 8 << 20);
	assert_int_equal(read(fd, last, sizeof(last)), sizeof(last));
	assert_true(last[0] == 7 && last[87] == 7);
	close(fd);
}

static void test_migrate_refused_makes_no_file(void **state)
{
	struct vm_migrate_info info;
	struct error e;

	(void)state;
	f.unsavable = true;
	assert_int_equal(vm_migrate(&f.vm, f.uri, &e), -EOPNOTSUPP);
	f.unsavable = false;
	f.vm.state = VM_PRELAUNCH;
	assert_int_equal(vm_migrate(&f.vm, f.uri, &e), -EPERM);
	assert_int_equal(e.class, ERROR_INVALID_STATE);
	f.vm.state = VM_RUNNING;
	assert_int_equal(vm_migrate(&f.vm, "tcp:x", &e), -EINVAL);
	assert_int_equal(access(f.path, F_OK), -1);
	assert_int_equal(f.vm.state, VM_RUNNING);
	assert_int_equal(f.events, 0);
	vm_migrate_info(&f.vm, &info);
	assert_int_equal(info.status, VM_MIGRATE_NONE);
	/* The guest has just asked to be reset. */
	atomic_store(&f.vm.requests, VM_REQUEST_RESET);
	assert_int_equal(vm_migrate(&f.vm, f.uri, &e), -EPERM);
	assert_int_equal(f.vm.state, VM_RUNNING);
	assert_int_equal(f.events, 0);
	assert_int_equal(f.released, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(test_migrate_sent_vm_is_paused),
		TEST(test_migrate_without_shared_ram_makes_a_template),
		TEST(test_migrate_sends_memory_that_was_added),
		TEST(test_migrate_that_fails_changes_nothing),
		TEST(test_migrate_that_cannot_read_memory_leaves_all),
		TEST(test_migrate_cancelled_changes_nothing),
		TEST(test_migrate_of_a_guest_with_a_crash_kernel),
		TEST(test_migrate_without_all_memory_has_no_end),
		TEST(test_migrate_refused_makes_no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
