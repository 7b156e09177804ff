/* SPDX-License-Identifier: MIT */
/* LINK: config/config config/config_validate config/config_net config/config_chardev config/config_paths error */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit.h"

#include "config/config.h"

static void start(struct vm_config *c)
{
	config_init(c);
	c->kernel = strdup("vmlinuz");
}

static void add_disk(struct vm_config *c, const char *path, const char *id)
{
	c->disks = realloc(c->disks, (c->disk_count + 1) * sizeof(*c->disks));
	c->disks[c->disk_count++] = (struct config_disk){
		.path = strdup(path), .id = id ? strdup(id) : NULL, .queues = 1,
	};
}

static void add_pmem(struct vm_config *c, const char *path)
{
	c->pmems = realloc(c->pmems, (c->pmem_count + 1) * sizeof(*c->pmems));
	c->pmems[c->pmem_count++] = (struct config_pmem){
		.path = strdup(path),
	};
}

/* It is refused, and the text names what it should. */
static void refused(struct vm_config *c, const char *named)
{
	struct error e = { 0 };

	assert_true(config_validate(c, &e) < 0);
	assert_true(e.class == ERROR_INVALID_CONFIG ||
		    e.class == ERROR_NOT_SUPPORTED);
	if (!strstr(e.text, named))
		fail_msg("'%s' does not hold '%s'", e.text, named);
	assert_null(strchr(e.text, '\n'));
	config_deinit(c);
}

static void test_size_is_parsed(void **state)
{
	static const struct {
		const char *text;
		int ret;
		uint64_t bytes;
	} sizes[] = {
		{ "1", 0, 1ull << 20 },		{ "512", 0, 512ull << 20 },
		{ "0", 0, 0 },			{ "4K", 0, 4096 },
		{ "4k", 0, 4096 },		{ "512M", 0, 512ull << 20 },
		{ "8G", 0, 8ull << 30 },	{ "2t", 0, 2ull << 40 },
		{ "16777215T", 0, 16777215ull << 40 },
		{ "16777216T", -ERANGE, 0 },
		{ "17592186044416", -ERANGE, 0 },
		{ "99999999999999999999", -ERANGE, 0 },
		{ "", -EINVAL, 0 },		{ "M", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },		{ "+1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },		{ "1 M", -EINVAL, 0 },
		{ "12Q", -EINVAL, 0 },		{ "1MB", -EINVAL, 0 },
		{ "1.5G", -EINVAL, 0 },		{ "0x10", -EINVAL, 0 },
		{ "1,", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t bytes = 0;
		int ret = config_parse_size(sizes[i].text, &bytes);

		if (ret != sizes[i].ret || bytes != sizes[i].bytes)
			fail_msg("'%s': %d, %llu", sizes[i].text, ret,
				 (unsigned long long)bytes);
	}
}

static void test_validate_defaults_are_filled_in(void **state)
{
	struct vm_config c;
	struct error e;

	(void)state;
	start(&c);
	assert_int_equal(config_validate(&c, &e), 0);
	assert_true(c.memory.size_bytes == 512ull << 20);
	assert_int_equal(c.cpus.count, 1);
	assert_int_equal(c.cpus.max, 1);
	assert_int_equal(c.serial.kind, CHAR_STDIO);
	assert_int_equal(c.console.kind, CHAR_NONE);
	assert_true(c.rng);
	assert_int_equal(c.monitor.fd, -1);
	assert_false(c.kernel_defaulted);
	config_deinit(&c);
}

static void test_validate_memory_out_of_bounds_is_refused(void **state)
{
	static const uint64_t sizes[] = {
		0, 4096, (16ull << 20) - 4096, (512ull << 20) + 1024,
		(8ull << 40) + 4096, UINT64_MAX & ~4095ull,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct vm_config c;

		start(&c);
		c.memory.size_bytes = sizes[i];
		refused(&c, "--memory");
	}
}

static void test_validate_memory_that_grows(void **state)
{
	struct vm_config c;

	(void)state;
	start(&c);
	c.memory.max_bytes = c.memory.size_bytes;
	assert_int_equal(config_validate(&c, NULL), 0);
	config_deinit(&c);
	start(&c);
	c.memory.max_bytes = c.memory.size_bytes + (2 << 20);
	assert_int_equal(config_validate(&c, NULL), 0);
	config_deinit(&c);
	start(&c);
	c.memory.max_bytes = c.memory.size_bytes + (1 << 20);
	refused(&c, "max");
	start(&c);
	c.memory.max_bytes = (8ull << 40) + (2 << 20);
	refused(&c, "max");
	start(&c);
	c.memory.max_bytes = 2 * c.memory.size_bytes;
	c.memory.hugepages = true;
	refused(&c, "hugepages");
	start(&c);
	c.memory.max_bytes = 2 * c.memory.size_bytes;
	c.memory.slots = 257;
	refused(&c, "slots");
	start(&c);
	c.memory.max_bytes = 2 * c.memory.size_bytes;
	c.memory.slots = 256;
	assert_int_equal(config_validate(&c, NULL), 0);
	config_deinit(&c);
	start(&c);
	c.memory.slots = 2;
	refused(&c, "slots");
	start(&c);
	c.memory.max_bytes = c.memory.size_bytes;
	c.memory.slots = 2;
	refused(&c, "slots");
	start(&c);
	c.memory.max_bytes = c.memory.size_bytes - (1 << 20);
	refused(&c, "max");
}

static void test_validate_hugepages_of_odd_size_are_refused(void **state)
{
	struct vm_config c;

	(void)state;
	start(&c);
	c.memory.hugepages = true;
	c.memory.size_bytes += 1 << 20;
	refused(&c, "2M");
}

static void test_validate_topology_fills_up(void **state)
{
	static const struct {
		unsigned int count, threads, cores, sockets;
		unsigned int expected[3];
	} cases[] = {
		{ 1, 0, 0, 0, { 1, 1, 1 } },	{ 255, 0, 0, 0, { 1, 255, 1 } },
		{ 8, 2, 0, 0, { 2, 4, 1 } },	{ 8, 0, 0, 2, { 1, 4, 2 } },
		{ 8, 0, 2, 0, { 1, 2, 4 } },	{ 8, 2, 2, 2, { 2, 2, 2 } },
		{ 8, 2, 0, 2, { 2, 2, 2 } },	{ 6, 1, 3, 2, { 1, 3, 2 } },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vm_config c;

		start(&c);
		c.cpus.count = cases[i].count;
		c.cpus.threads = cases[i].threads;
		c.cpus.cores = cases[i].cores;
		c.cpus.sockets = cases[i].sockets;
		assert_int_equal(config_validate(&c, NULL), 0);
		assert_int_equal(c.cpus.threads, cases[i].expected[0]);
		assert_int_equal(c.cpus.cores, cases[i].expected[1]);
		assert_int_equal(c.cpus.sockets, cases[i].expected[2]);
		assert_int_equal(c.cpus.max, cases[i].count);
		config_deinit(&c);
	}
}

static void test_validate_bad_cpus_are_refused(void **state)
{
	static const struct config_cpus cases[] = {
		{ .count = 0 }, { .count = 256 }, { .count = ~0u },
		{ .count = 2, .max = 1 },
		{ .count = 2, .max = 4, .threads = 3 },
		{ .count = 2, .max = 256 }, { .count = 4, .threads = 3 },
		{ .count = 8, .threads = 2, .cores = 2, .sockets = 1 },
		{ .count = 8, .threads = 2, .cores = 2, .sockets = 4 },
		{ .count = 1, .threads = 256 },
		/* 2^32 and 2^33 make 0 in 32 bits. */
		{ .count = 1, .threads = 65536, .cores = 65536, .sockets = 1 },
		{ .count = 1, .threads = ~0u, .cores = ~0u, .sockets = ~0u },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vm_config c;

		start(&c);
		c.cpus = cases[i];
		refused(&c, "--cpus");
	}
}

static void test_validate_disk_ids_avoid_those_that_are_taken(void **state)
{
	struct vm_config c;

	(void)state;
	start(&c);
	add_disk(&c, "a", NULL);
	add_disk(&c, "b", "disk0");
	add_disk(&c, "c", NULL);
	assert_int_equal(config_validate(&c, NULL), 0);
	assert_string_equal(c.disks[0].id, "disk1");
	assert_string_equal(c.disks[1].id, "disk0");
	assert_string_equal(c.disks[2].id, "disk2");
	config_deinit(&c);
}

static void test_validate_bad_disks_are_refused(void **state)
{
	struct vm_config c;

	(void)state;
	start(&c);
	add_disk(&c, "a", "x");
	add_disk(&c, "b", "x");
	refused(&c, "'x'");
	start(&c);
	add_disk(&c, "a", "rootfs");
	c.rootfs.path = strdup("root.img");
	refused(&c, "rootfs");
	start(&c);
	add_disk(&c, "a", "no blanks");
	refused(&c, "no blanks");
	start(&c);
	add_disk(&c, "a", NULL);
	c.disks[0].serial = strdup("123456789012345678901");
	refused(&c, "serial");
	start(&c);
	add_disk(&c, "a", NULL);
	c.disks[0].queues = 0;
	refused(&c, "queues");
	start(&c);
	add_disk(&c, "a", NULL);
	c.disks[0].queues = 1000;
	refused(&c, "queues");
}

static void test_validate_disk_format_defaults_by_name(void **state)
{
	static const char *const names[] = { "a.img", "b.vhd", "B.VHD",
					     "a.vhd/x", "c.vhd", "d" };
	struct vm_config c;
	struct error e;

	(void)state;
	start(&c);
	for (size_t i = 0; i < 6; i++) {
		add_disk(&c, names[i], NULL);
		c.disks[i].format = DISK_BY_NAME;
	}
	c.disks[4].format = DISK_RAW;
	c.disks[5].format = DISK_VHD;
	assert_int_equal(config_validate(&c, &e), 0);
	assert_int_equal(c.disks[0].format, DISK_RAW);
	assert_int_equal(c.disks[1].format, DISK_VHD);
	assert_int_equal(c.disks[2].format, DISK_VHD);
	assert_int_equal(c.disks[3].format, DISK_RAW);
	assert_int_equal(c.disks[4].format, DISK_RAW);
	assert_int_equal(c.disks[5].format, DISK_VHD);
	config_deinit(&c);
}

static void test_validate_contradictions_are_refused(void **state)
{
	struct vm_config c;

	(void)state;
	start(&c);
	c.rootfs = (struct config_rootfs){ strdup("r"), ROOTFS_INITRD, false };
	c.initrds = calloc(1, sizeof(char *));
	c.initrds[c.initrd_count++] = strdup("i");
	refused(&c, "initrd");
	start(&c);
	c.console.kind = CHAR_STDIO;
	refused(&c, "stdio");
	start(&c);
	c.serial = (struct config_char){ .kind = CHAR_UNIX,
					  .path = strdup("/x") };
	c.console = (struct config_char){ .kind = CHAR_UNIX,
					  .path = strdup("/x") };
	refused(&c, "/x");
	start(&c);
	c.serial = (struct config_char){ .kind = CHAR_UNIX,
					  .path = strdup("/x") };
	c.monitor.path = strdup("/x");
	refused(&c, "/x");
	start(&c);
	c.rng = false;
	c.rng_source = strdup("/dev/urandom");
	refused(&c, "--rng");
	start(&c);
	c.id = strdup("two\nlines");
	refused(&c, "--id");
	start(&c);
	c.params = calloc(1, sizeof(char *));
	c.params[c.param_count++] = strdup("quiet\nroot=/dev/sdb");
	refused(&c, "--params");
}

/* What --serial was, is a chardev's. */
static void make_chardev(struct vm_config *c)
{
	c->chardevs = calloc(1, sizeof(*c->chardevs));
	assert_non_null(c->chardevs);
	c->chardevs[c->chardev_count++] = (struct config_chardev){
		.id = strdup("x"), .back = c->serial,
	};
	c->serial = (struct config_char){ .kind = CHAR_NULL };
}

/* Files of this directory: both there, none there, through links, a disk. */
static void test_validate_same_file_twice_is_refused(void **state)
{
	static const struct {
		const char *serial, *other;
		bool refused;
	} pairs[] = {
		{ "there", "there", true },	{ "there", "./there", true },
		{ "there", "link", true },	{ "there", "hard", true },
		{ "new", "./new", true },	{ "new", "sub/../new", true },
		{ "new", "sub/new", false },	{ "there", "new", false },
		{ "there", "sub/there", false }, { "/dev/null", "/dev/null", false },
		{ "/dev/stdout", "/dev/stdout", false },
	};
	char dir[] = "/tmp/mote-config-XXXXXX";
	struct vm_config c;

	(void)state;
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(mkdir("sub", 0700), 0);
	assert_int_equal(close(creat("there", 0600)), 0);
	assert_int_equal(symlink("there", "link"), 0);
	assert_int_equal(link("there", "hard"), 0);
	for (size_t i = 0; i < 6 * sizeof(pairs) / sizeof(pairs[0]); i++) {
		const char *other = pairs[i / 6].other;

		start(&c);
		c.serial = (struct config_char){ .kind = CHAR_FILE,
						 .path = strdup(pairs[i / 6].serial) };
		if (i % 6 > 3)
			make_chardev(&c);
		if (i % 6 == 0)
			c.console = (struct config_char){ .kind = CHAR_FILE,
							  .path = strdup(other) };
		else if (i % 6 == 1)
			c.exit_report = strdup(other);
		else if (i % 6 == 2 || i % 6 == 4)
			add_disk(&c, other, NULL);
		else
			add_pmem(&c, other);
		if (pairs[i / 6].refused) {
			refused(&c, other);
		} else {
			assert_int_equal(config_validate(&c, NULL), 0);
			config_deinit(&c);
		}
	}
	unlink("hard");
	unlink("link");
	unlink("there");
	rmdir("sub");
	assert_int_equal(chdir("/"), 0);
	rmdir(dir);
}

static void test_validate_uuid_is_checked_and_generated(void **state)
{
	static const char *const bad[] = {
		"", "123", "12345678-1234-4321-8765-123456789ab",
		"12345678-1234-4321-8765-123456789abcd",
		"12345678-1234-4321-8765-123456789abg",
		"12345678x1234-4321-8765-123456789abc",
		"{2345678-1234-4321-8765-123456789abc}",
	};
	struct vm_config c, d;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		start(&c);
		c.uuid = strdup(bad[i]);
		refused(&c, "--uuid");
	}
	start(&c);
	c.uuid = strdup("12345678-1234-4321-8765-123456789ABC");
	assert_int_equal(config_validate(&c, NULL), 0);
	assert_string_equal(c.uuid, "12345678-1234-4321-8765-123456789abc");
	config_deinit(&c);
	start(&c);
	start(&d);
	assert_int_equal(config_validate(&c, NULL), 0);
	assert_int_equal(config_validate(&d, NULL), 0);
	assert_int_equal(strlen(c.uuid), 36);
	assert_int_equal(c.uuid[14], '4');
	assert_non_null(strchr("89ab", c.uuid[19]));
	assert_string_not_equal(c.uuid, d.uuid);
	/* What was generated is what was given, the next time. */
	free(d.uuid);
	d.uuid = strdup(c.uuid);
	assert_int_equal(config_validate(&d, NULL), 0);
	assert_string_equal(c.uuid, d.uuid);
	config_deinit(&c);
	config_deinit(&d);
}

static void touch(const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fclose(f);
}

static void test_validate_kernel_is_looked_for(void **state)
{
	char dir[] = "/tmp/mote-unit-XXXXXX", old[4096];
	struct vm_config c;

	(void)state;
	assert_non_null(getcwd(old, sizeof(old)));
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	/* A directory is no kernel. */
	assert_int_equal(mkdir("bzImage", 0700), 0);
	touch("vmlinux");
	config_init(&c);
	assert_int_equal(config_validate(&c, NULL), 0);
	assert_non_null(strstr(c.kernel, "vmlinux"));
	assert_true(c.kernel_defaulted);
	config_deinit(&c);
	assert_int_equal(rmdir("bzImage"), 0);
	touch("bzImage");
	config_init(&c);
	assert_int_equal(config_validate(&c, NULL), 0);
	assert_non_null(strstr(c.kernel, "bzImage"));
	config_deinit(&c);
	unlink("bzImage");
	unlink("vmlinux");
	assert_int_equal(chdir(old), 0);
	rmdir(dir);
}

static void test_deinit_twice_is_harmless(void **state)
{
	struct vm_config c;

	(void)state;
	start(&c);
	add_disk(&c, "a", "b");
	config_deinit(&c);
	config_deinit(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_size_is_parsed),
		cmocka_unit_test(test_validate_defaults_are_filled_in),
		cmocka_unit_test(test_validate_memory_out_of_bounds_is_refused),
		cmocka_unit_test(test_validate_memory_that_grows),
		cmocka_unit_test(
			test_validate_hugepages_of_odd_size_are_refused),
		cmocka_unit_test(test_validate_topology_fills_up),
		cmocka_unit_test(test_validate_bad_cpus_are_refused),
		cmocka_unit_test(
			test_validate_disk_ids_avoid_those_that_are_taken),
		cmocka_unit_test(test_validate_bad_disks_are_refused),
		cmocka_unit_test(test_validate_disk_format_defaults_by_name),
		cmocka_unit_test(test_validate_contradictions_are_refused),
		cmocka_unit_test(test_validate_same_file_twice_is_refused),
		cmocka_unit_test(test_validate_uuid_is_checked_and_generated),
		cmocka_unit_test(test_validate_kernel_is_looked_for),
		cmocka_unit_test(test_deinit_twice_is_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
