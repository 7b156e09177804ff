/* SPDX-License-Identifier: MIT */
/* LINK: save/files save/directory save/unfinished save/state_file save/machine_x86 save/crc32c% state error */
/* State and memory in places of their own: a state that is there has its memory. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "save/files.h"
#include "save/state_file.h"

#define MAGIC "MOTESAVE"

static char top[] = "/tmp/test-places-XXXXXX";

static int enter(void **state)
{
	(void)state;
	strcpy(top + strlen(top) - 6, "XXXXXX");
	return mkdtemp(top) && !chdir(top) && !mkdir("m", 0700) &&
	       !mkdir("s", 0700) ? 0 : -1;
}

static int leave(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", top);
	return chdir("/") || system(command);
}

static unsigned int entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

/* name: of the memory file. */
static int save(const struct save_places *p, uint8_t id, bool commit,
		char *name)
{
	const uint8_t ids[SAVE_FILES_ID_BYTES] = { id };
	struct save_files *f;
	struct error e;
	char text[4200];
	int fd, ret = save_files_create(&f, p, ids, &e);

	if (ret)
		return ret;
	fd = p->no_memory ? -1 : save_files_memory(f, &e);
	assert_true(fd >= 0 || p->no_memory);
	if (fd >= 0) {
		assert_int_equal(pwrite(fd, &id, 1, 0), 1);
		close(fd);
	}
	strcpy(name, save_files_memory_name(f));
	snprintf(text, sizeof(text), MAGIC "%s", name);
	assert_int_equal(save_files_write(f, "state", text, strlen(text), &e),
			 0);
	assert_int_equal(save_files_write(f, "config.json", "{}", 2, &e), 0);
	if (commit)
		ret = save_files_commit(f, &e);
	save_files_destroy(f);
	return ret;
}

/* The state at path names a memory file that is there and is of this save. */
static void assert_holds(const char *path, uint8_t id)
{
	char name[4096] = "";
	uint8_t byte = 0;
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_true(pread(fd, name, sizeof(name) - 1, strlen(MAGIC)) > 0);
	close(fd);
	fd = open(name, O_RDONLY);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, &byte, 1), 1);
	assert_int_equal(byte, id);
	close(fd);
}

static void test_old_generation_goes_when_the_new_one_is_there(void **state)
{
	struct save_places p = { .memory_path = "m/mem",
				 .state_path = "s/state" };
	char first[4096], second[4096];

	(void)state;
	assert_int_equal(save(&p, 1, true, first), 0);
	assert_holds("s/state", 1);
	p.old_memory = first;
	assert_int_equal(save(&p, 2, false, second), 0);
	assert_holds("s/state", 1);
	assert_int_equal(entries("m"), 1);
	assert_int_equal(entries("s"), 1);
	assert_int_equal(save(&p, 3, true, second), 0);
	assert_holds("s/state", 3);
	assert_int_equal(entries("m"), 1);
	/* Not one that is somebody else's. */
	p.old_memory = "m/mem.precious";
	close(open("m/mem.precious", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(save(&p, 4, true, first), 0);
	assert_holds("s/state", 4);
	assert_int_equal(access("m/mem.precious", F_OK), 0);
}

static void test_places_that_are_not_named(void **state)
{
	struct save_places p = { .state_path = "s/vm", .directory = "d" };
	char name[4096];

	(void)state;
	assert_int_equal(save(&p, 1, true, name), 0);
	assert_holds("s/vm", 1);
	assert_non_null(strstr(name, "/s/vm.memory.01"));
	assert_int_equal(access("d/config.json", F_OK), 0);
	assert_int_equal(entries("d"), 1);
	p = (struct save_places){ .directory = "e", .memory_path = "m/x" };
	assert_int_equal(save(&p, 2, true, name), 0);
	assert_holds("e/state", 2);
	assert_int_equal(entries("e"), 2);
	p = (struct save_places){ .directory = "f" };
	assert_int_equal(save(&p, 3, true, name), 0);
	assert_string_equal(name, "memory");
	assert_int_equal(entries("f"), 3);
}

/* A template's is where it is, and that of what it replaces goes. */
static void test_memory_that_is_elsewhere_has_no_place(void **state)
{
	struct save_places p = { .state_path = "s/vm" };
	char first[4096], second[4096];

	(void)state;
	assert_int_equal(save(&p, 1, true, first), 0);
	assert_int_equal(entries("s"), 2);
	p.old_memory = first;
	p.no_memory = true;
	assert_int_equal(save(&p, 2, true, second), 0);
	assert_int_equal(entries("s"), 1);
	assert_int_equal(access("s/vm", F_OK), 0);
}

static void test_places_that_cannot_be(void **state)
{
	static const struct save_places cases[] = {
		{ 0 },
		{ .memory_path = "m/x" },
		{ .state_path = "none/there" },
		{ .state_path = "s/" },
		{ .state_path = "s/.." },
		{ .state_path = "s/x", .memory_path = "none/there" },
		{ .state_path = "s/x", .directory = "none/there" },
		{ .directory = "m", .memory_path = "m/x" },
	};
	char name[4096];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_true(save(&cases[i], 1, true, name) < 0);
	assert_int_equal(entries("."), 2);
	assert_int_equal(entries("m") + entries("s"), 0);
}

/* The memory that no state names is nobody's. */
static void test_memory_goes_when_its_state_finds_no_place(void **state)
{
	const struct save_places places[] = {
		{ .memory_path = "m/mem", .state_path = "s/state" },
		{ .memory_path = "m/mem", .directory = "d" },
	};
	const uint8_t id[SAVE_FILES_ID_BYTES] = { 1 };
	struct save_files *f;
	struct error e;

	(void)state;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		assert_int_equal(save_files_create(&f, &places[i], id, &e), 0);
		close(save_files_memory(f, &e));
		assert_int_equal(save_files_write(f, "state", "x", 1, &e), 0);
		assert_int_equal(system("rm -r s/.state.saving .d.saving "
					"2>/dev/null; true"), 0);
		assert_int_equal(save_files_commit(f, &e), -ENOENT);
		save_files_destroy(f);
		assert_int_equal(entries("m"), 0);
	}
}

static void test_what_is_no_state_is_left_alone(void **state)
{
	const struct save_places p = { .state_path = "s/state" };
	char name[4096];

	(void)state;
	assert_int_equal(mkfifo("s/state", 0600), 0);
	assert_int_equal(save(&p, 1, true, name), -EEXIST);
	assert_int_equal(unlink("s/state"), 0);
	assert_int_equal(symlink("/dev/null", "s/state"), 0);
	assert_int_equal(save(&p, 1, true, name), -EEXIST);
	assert_int_equal(unlink("s/state"), 0);
	assert_int_equal(system("echo precious >s/state"), 0);
	assert_int_equal(save(&p, 1, true, name), -EEXIST);
	assert_int_equal(entries("s"), 1);
	assert_int_equal(system("grep -q precious s/state && : >s/state"), 0);
	assert_int_equal(save(&p, 1, true, name), 0);
	assert_holds("s/state", 1);
}

static void test_one_save_at_a_time(void **state)
{
	const struct save_places p = { .memory_path = "m/mem",
				       .state_path = "s/state" };
	const uint8_t id[SAVE_FILES_ID_BYTES] = { 1 };
	struct save_files *f;
	struct error e;
	char name[4096];

	(void)state;
	/* What the dead have left does not matter. */
	close(open("s/.state.saving", O_CREAT | O_WRONLY, 0600));
	assert_int_equal(save_files_create(&f, &p, id, &e), 0);
	assert_int_equal(save(&p, 2, true, name), -EBUSY);
	save_files_destroy(f);
	assert_int_equal(entries("m") + entries("s"), 0);
}

/* A state as it would be of the save with that id; but for all else. */
static void write_state(struct save_files *f, uint8_t id, const char *memory)
{
	const uint8_t ids[SAVE_FILES_ID_BYTES] = { id };
	struct state_file *file;
	struct error e;
	uint8_t *data;
	size_t len;

	assert_int_equal(state_file_create(&file), 0);
	state_put_bytes(state_file_add(file, "save", 0), ids, sizeof(ids));
	state_put_string(state_file_add(file, "memory", 0), memory);
	assert_int_equal(state_file_encode(file, &data, &len), 0);
	assert_int_equal(save_files_write(f, "state", data, len, &e), 0);
	free(data);
	state_file_destroy(file);
}

/* A process that dies when the memory has its name, and the state not yet. */
static void die_between(const struct save_places *p, uint8_t id,
			uint8_t named_id)
{
	const uint8_t ids[SAVE_FILES_ID_BYTES] = { id };
	struct save_files *f;
	struct error e;
	pid_t pid = fork();

	if (!pid) {
		if (save_files_create(&f, p, ids, &e))
			_exit(1);
		close(save_files_memory(f, &e));
		write_state(f, named_id, save_files_memory_name(f));
		_exit(rename("m/.mem.saving", save_files_memory_name(f)) != 0);
	}
	assert_int_equal(waitpid(pid, &(int){ 0 }, 0), pid);
}

static void test_memory_that_only_the_dead_named_goes(void **state)
{
	static const struct save_places cases[] = {
		{ .memory_path = "m/mem", .state_path = "s/state" },
		{ .memory_path = "m/mem", .directory = "d" },
	};
	char name[4096];

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct save_places p = cases[i];
		const char *at = i ? "d/state" : "s/state";

		assert_int_equal(save(&p, 1, true, name), 0);
		p.old_memory = name;
		die_between(&p, 2, 2);
		assert_holds(at, 1);
		assert_int_equal(entries("m"), 2);
		assert_int_equal(save(&p, 3, true, name), 0);
		assert_holds(at, 3);
		assert_int_equal(entries("m"), 1);
		/* A name that is not of the save that says so. */
		die_between(&p, 4, 5);
		assert_int_equal(save(&p, 6, false, name), 0);
		assert_int_equal(entries("m"), 2);
		assert_int_equal(system("rm m/*"), 0);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, enter, leave)
	const struct CMUnitTest tests[] = {
		T(test_old_generation_goes_when_the_new_one_is_there),
		T(test_places_that_are_not_named),
		T(test_memory_that_is_elsewhere_has_no_place),
		T(test_places_that_cannot_be),
		T(test_memory_goes_when_its_state_finds_no_place),
		T(test_what_is_no_state_is_left_alone),
		T(test_one_save_at_a_time),
		T(test_memory_that_only_the_dead_named_goes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
