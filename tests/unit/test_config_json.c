/* SPDX-License-Identifier: MIT */
/* LINK: config/config% config/option% block/vhd config/suboptions nearest error */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#include "config/config.h"

static int load_bytes(struct vm_config *c, const char *text, size_t len,
		      struct error *e)
{
	char path[] = "/tmp/mote-unit-XXXXXX";
	int fd = mkstemp(path), ret;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, len), len);
	close(fd);
	config_init(c);
	ret = config_json_load(c, path, e);
	if (ret && !strstr(e->text, path))
		fail_msg("'%s' does not name the file", e->text);
	unlink(path);
	return ret;
}

static void accepted(struct vm_config *c, const char *text)
{
	struct error e = { 0 };

	if (load_bytes(c, text, strlen(text), &e))
		fail_msg("%s: %s", text, e.text);
}

static void test_json_document_of_every_key_is_loaded(void **state)
{
	struct vm_config c;

	(void)state;
	accepted(&c, "{\"kernel\": \"vmlinuz\", \"initrd\": \"initrd.img\","
		 "\"params\": [\"quiet\", \"a,b\"],"
		 "\"memory\": {\"size\": \"1G\", \"share\": true},"
		 "\"cpus\": {\"count\": 2, \"max\": 2}, \"cpu\": \"host,-aes\","
		 "\"disks\": [{\"path\": \"a,b\", \"id\": \"root\","
		 "\"readonly\": true, \"flush\": false, \"queues\": 2},"
		 "\"c,ro\"],"
		 "\"rootfs\": \"root.img\", \"nets\": [],"
		 "\"serial\": {\"unix\": \"s,t\"}, \"console\": \"file=x\","
		 "\"rng\": {\"source\": \"/dev/hwrng\"},"
		 "\"monitor\": \"mote.sock\", \"id\": \"sandbox-1\","
		 "\"uuid\": \"12345678-1234-4321-8765-123456789abc\","
		 "\"kernel-cache\": \"off\", \"exit-report\": \"report\","
		 "\"vsock\": {\"cid\": 4294967294, \"path\": \"v\"},"
		 "\"exit-port\": true, \"paused\": true,"
		 "\"on-reboot\": \"exit\", \"on-panic\": \"pause\","
		 "\"log\": {\"level\": \"info\", \"file\": \"l\"}}\n");
	assert_string_equal(c.kernel, "vmlinuz");
	assert_int_equal(c.initrd_count, 1);
	assert_string_equal(c.initrds[0], "initrd.img");
	assert_int_equal(c.param_count, 2);
	assert_string_equal(c.params[1], "a,b");
	assert_true(c.memory.size_bytes == 1ull << 30 && c.memory.share);
	assert_int_equal(c.cpus.count, 2);
	assert_string_equal(c.cpus.features[0], "-aes");
	assert_int_equal(c.disk_count, 2);
	assert_string_equal(c.disks[0].path, "a,b");
	assert_string_equal(c.disks[0].id, "root");
	assert_true(c.disks[0].readonly && c.disks[0].no_flush);
	assert_int_equal(c.disks[0].queues, 2);
	assert_string_equal(c.disks[1].path, "c");
	assert_true(c.disks[1].readonly);
	assert_string_equal(c.rootfs.path, "root.img");
	assert_int_equal(c.serial.kind, CHAR_UNIX);
	assert_string_equal(c.serial.path, "s,t");
	assert_int_equal(c.console.kind, CHAR_FILE);
	assert_string_equal(c.rng_source, "/dev/hwrng");
	assert_string_equal(c.monitor.path, "mote.sock");
	assert_int_equal(c.vsock.cid, 4294967294u);
	assert_string_equal(c.vsock.path, "v");
	assert_string_equal(c.id, "sandbox-1");
	assert_true(c.exit_port && c.paused);
	assert_int_equal(c.on_reboot, ON_REBOOT_EXIT);
	assert_int_equal(c.on_panic, ON_PANIC_PAUSE);
	assert_int_equal(c.log_level, LOG_INFO);
	assert_string_equal(c.log_file, "l");
	assert_int_equal(config_validate(&c, NULL), 0);
	config_deinit(&c);
}

static void test_json_numbers_and_booleans_stand_for_text(void **state)
{
	struct vm_config c;

	(void)state;
	accepted(&c, "{\"memory\": 1024, \"cpus\": 4, \"rng\": false,"
		 "\"disks\": [{\"path\": \"x\", \"queues\": \"3\","
		 "\"readonly\": \"on\"}]}");
	assert_true(c.memory.size_bytes == 1ull << 30);
	assert_int_equal(c.cpus.count, 4);
	assert_false(c.rng);
	assert_int_equal(c.disks[0].queues, 3);
	assert_true(c.disks[0].readonly);
	config_deinit(&c);
	accepted(&c, "{\"memory\": {\"size\": 64}}");
	assert_true(c.memory.size_bytes == 64ull << 20);
	config_deinit(&c);
}

static const struct {
	const char *text, *named;
} bad[] = {
	{ "", "" },
	{ " \n", "" },
	{ "[]", "object" },
	{ "3 ", "object" },
	{ "null", "" },
	{ "{", "" },
	{ "{\"kernel\": \"x\"", "" },
	{ "{\"kernel\": \"x\"}}", "" },
	{ "{\"kernel\": \"x\"} {\"id\": \"y\"}", "" },
	{ "{\"kernel\": \"x\",}", "" },
	{ "{'kernel': 'x'}", "" },
	{ "{kernel: \"x\"}", "" },
	{ "// c\n{}", "" },
	{ "\n\n{\"kernel\" \"x\"}", "line 3" },
	{ "{\"kernal\": \"x\"}", "'kernal'; did you mean 'kernel'" },
	{ "{\"disk\": []}", "'disk'; did you mean 'disks'" },
	{ "{\"net\": []}", "'net'; did you mean 'nets'" },
	{ "{\"config\": \"x\"}", "'config'" },
	{ "{\"\": 1}", "''" },
	{ "{\"disks\": [{\"path\": \"x\", \"redonly\": 1}]}",
	  "'redonly'; did you mean 'readonly'" },
	{ "{\"disks\": [{\"path\": \"x\"}, {\"path\": \"x\", \"y\": 1}]}",
	  "disks[1]" },
	{ "{\"disks\": [{\"id\": \"x\"}]}", "path" },
	{ "{\"disks\": [3]}", "disks" },
	{ "{\"disks\": [null]}", "disks" },
	{ "{\"disks\": [[]]}", "disks" },
	{ "{\"disks\": [{\"path\": [\"x\"]}]}", "path" },
	{ "{\"disks\": [{\"path\": \"x\", \"queues\": 1.5}]}", "queues" },
	{ "{\"disks\": [{\"path\": \"x\", \"queues\": -1}]}", "queues" },
	{ "{\"disks\": [{\"path\": \"x\", \"queues\": 1e3}]}", "queues" },
	{ "{\"disks\": [{\"path\": \"x\", \"id\": \"a\"},"
	  "{\"path\": \"y\", \"id\": \"a\"}]}", "'a'" },
	{ "{\"kernel\": null}", "kernel" },
	{ "{\"kernel\": 3}", "kernel" },
	{ "{\"kernel\": {}}", "kernel" },
	{ "{\"kernel\": \"\"}", "kernel" },
	{ "{\"kernel\": \"a\\u0000b\"}", "kernel" },
	{ "{\"params\": \"a\\u0000b\"}", "params" },
	{ "{\"serial\": \"null\\u0000b\"}", "serial" },
	{ "{\"serial\": {\"file\": \"a\\u0000b\"}}", "serial" },
	{ "{\"serial\": {\"file\": 3}}", "serial" },
	{ "{\"serial\": {\"file\": null}}", "serial" },
	{ "{\"serial\": {\"stdio\": \"\"}}", "serial" },
	{ "{\"serial\": {}}", "serial" },
	{ "{\"serial\": null}", "serial" },
	{ "{\"serial\": 1}", "serial" },
	{ "{\"memory\": \"1G\\u0000,x\"}", "memory" },
	{ "{\"memory\": null}", "memory" },
	{ "{\"memory\": {\"size\": null}}", "size" },
	{ "{\"memory\": {\"size\": {}}}", "size" },
	{ "{\"memory\": {\"size\": -1}}", "size" },
	{ "{\"memory\": {\"size\": 1e30}}", "size" },
	{ "{\"memory\": {\"size\": \"1G\\u0000\"}}", "size" },
	{ "{\"cpus\": null}", "cpus" },
	{ "{\"cpus\": []}", "cpus" },
	{ "{\"cpus\": {\"count\": 99999999999999999999}}", "count" },
	{ "{\"cpu\": [\"host\"]}", "cpu" },
	{ "{\"pmem\": [{\"path\": \"x\", \"format\": 1}]}", "format" },
	{ "{\"pmem\": [{\"path\": \"x\"}, {\"id\": \"y\"}]}", "pmem[1]" },
	{ "{\"pmem-max\": \"many\"}", "pmem-max" },
	{ "{\"pmem-max-size\": -1}", "pmem-max-size" },
	{ "{\"nets\": [{\"tapp\": \"t\"}]}", "tapp" },
	{ "{\"nets\": [{\"fd\": [1, \"x\"]}]}", "fd" },
	{ "{\"nets\": [\"wifi\"]}", "wifi" },
	{ "{\"vsock\": {}}", "vsock" },
	{ "{\"vsock\": 3}", "vsock" },
	{ "{\"vsock\": {\"cid\": -3}}", "cid" },
	{ "{\"paused\": null}", "paused" },
	{ "{\"paused\": 3}", "paused" },
	{ "{\"rng\": null}", "rng" },
	{ "{\"monitor\": {}}", "monitor" },
	{ "{\"monitor\": {\"fd\": -1}}", "fd" },
	{ "{\"monitor\": {\"fd\": 2147483648}}", "fd" },
	{ "{\"rootfs\": {\"type\": \"disk\"}}", "path" },
	{ "{\"on-panic\": \"dance\"}", "dance" },
	{ "{\"9p\": [{\"path\": \"a\", \"tag\": \"t\", \"allowed\": [1]}]}",
	  "9p[0]: allowed: not the name" },
	{ "{\"9p\": [{\"path\": \"a\", \"tag\": \"t\","
	  "\"allowed\": [\"a:b\"]}]}", "a:b" },
	{ "{\"9p\": [{\"path\": \"a\", \"tag\": \"t\","
	  "\"allowed\": [\"a\\u0000\"]}]}", "allowed" },
	{ "{\"9p\": [{\"path\": \"a\", \"tag\": \"t\", \"allowed\": []}]}",
	  "allowed: empty" },
	{ "{\"log\": {}, \"log\": {}}", "twice" },
	{ "{\"kernel\": \"a\", \"id\": \"x\", \"kernel\": \"b\"}", "twice" },
	{ "{\"disks\": [{\"path\": \"a:\", \"path\": \"b\"}]}", "twice" },
};

static void test_json_bad_documents_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct error e = { 0 };
		struct vm_config c;
		int ret = load_bytes(&c, bad[i].text, strlen(bad[i].text), &e);

		/* Ids are looked at by the validation. */
		if (!ret && !c.kernel)
			c.kernel = strdup("k");
		if (!ret)
			ret = config_validate(&c, &e);
		if (!ret)
			fail_msg("%s is accepted", bad[i].text);
		assert_int_equal(e.class, ERROR_INVALID_CONFIG);
		assert_null(strchr(e.text, '\n'));
		if (!strstr(e.text, bad[i].named))
			fail_msg("%s: '%s' does not hold '%s'", bad[i].text,
				 e.text, bad[i].named);
		config_deinit(&c);
	}
}

static void test_json_colon_in_a_string_is_no_key(void **state)
{
	struct vm_config c;

	(void)state;
	accepted(&c, "{\"kernel\": \"a:b\\\":c\\\\\", \"id\": \"::\"}");
	assert_string_equal(c.kernel, "a:b\":c\\");
	config_deinit(&c);
}

static void test_json_nul_byte_in_the_file_is_refused(void **state)
{
	static const char text[] = "{\"kernel\": \"x\"}\0{}";
	struct vm_config c;
	struct error e;

	(void)state;
	assert_true(load_bytes(&c, text, sizeof(text) - 1, &e) < 0);
	config_deinit(&c);
}

static void test_json_large_and_deep_documents_are_refused(void **state)
{
	size_t len = (1u << 20) + 1;
	char *text = malloc(len);
	struct vm_config c;
	struct error e;

	(void)state;
	memset(text, ' ', len);
	memcpy(text, "{}", 2);
	assert_int_equal(load_bytes(&c, text, len, &e), -EFBIG);
	config_deinit(&c);
	assert_int_equal(load_bytes(&c, text, len - 1, &e), 0);
	config_deinit(&c);
	memset(text, '[', len - 1);
	memcpy(text, "{\"disks\":", 9);
	assert_true(load_bytes(&c, text, len - 1, &e) < 0);
	config_deinit(&c);
	free(text);
}

static void test_json_truncation_at_every_byte_is_refused(void **state)
{
	static const char text[] = "{\"disks\": [{\"path\": \"a\\u00e9\", "
		"\"queues\": 2, \"readonly\": true}], \"cpus\": {\"max\": 1}}";

	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		struct vm_config c;
		struct error e;

		assert_true(load_bytes(&c, text, len, &e) < 0);
		config_deinit(&c);
	}
}

static void test_json_file_that_is_not_there_is_named(void **state)
{
	struct vm_config c;
	struct error e;

	(void)state;
	config_init(&c);
	assert_int_equal(config_json_load(&c, "/nowhere/x", &e), -ENOENT);
	assert_non_null(strstr(e.text, "/nowhere/x"));
	assert_true(config_json_load(&c, "/", &e) < 0);
	config_deinit(&c);
}

static const char *const documents[] = {
	"{\"kernel\": \"k\"}",
	"{\"kernel\": \"a,b=c\\n\\u00e9\", \"rng\": false}",
	"{\"kernel\": \"k\377\", \"disks\": [\"\xc3(\"]}",
	"{\"kernel\": \"k\", \"serial\": {\"unix\": \"a,b\"},"
	"\"console\": \"stdio\", \"monitor\": {\"path\": \"a,b=c.sock\"}}",
	"{\"kernel\": \"k\", \"serial\": \"pty\", \"console\": \"pty\","
	"\"monitor\": {\"fd\": 0}, \"rng\": {\"source\": \"a,b\"}}",
	"{\"kernel\": \"k\", \"memory\": {\"size\": \"16388K\","
	"\"path\": \"x,y\","
	"\"share\": true, \"prealloc\": true}, \"params\": [\"a\", \"b,c\"],"
	"\"initrd\": [\"a\", \"b,c\"]}",
	"{\"kernel\": \"k\", \"cpus\": {\"count\": 8, \"threads\": 2},"
	"\"cpu\": \"host,+avx2,-aes\", \"rootfs\": {\"path\": \"r,s\","
	"\"readonly\": true},"
	"\"disks\": [{\"path\": \"a\"}, {\"path\": \"b,c\", \"flush\": false,"
	"\"readonly\": true, \"queues\": 3, \"serial\": \"S,1\"}]}",
	"{\"kernel\": \"k\", \"9p\": [{\"path\": \"/a,b\", \"tag\": \"t\","
	"\"readonly\": true, \"allowed\": \"x:y\", \"msize\": 512000},"
	"\"/srv,tag=srv\"]}",
	"{\"kernel\": \"k\","
	"\"rootfs\": {\"path\": \"r\", \"type\": \"initrd\"},"
	"\"balloon\": {\"deflate-on-oom\": true},"
	"\"vsock\": {\"cid\": 3, \"vhost\": true},"
	"\"paused\": true, \"exit-port\": true, \"on-reboot\": \"exit\","
	"\"on-panic\": \"pause\","
	"\"log\": {\"level\": \"error\", \"file\": \"l\"},"
	"\"kernel-cache\": \"a,b\", \"exit-report\": \"report\", \"id\": \"i\"}",
};

static void test_json_print_is_loaded_again(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
		struct vm_config c, again;
		struct error e;
		char *first, *second;

		accepted(&c, documents[i]);
		if (config_validate(&c, &e))
			fail_msg("%s", e.text);
		first = config_json_print(&c);
		accepted(&again, first);
		if (config_validate(&again, &e))
			fail_msg("%s", e.text);
		second = config_json_print(&again);
		assert_string_equal(first, second);
		/* What the text cannot show: it means the same. */
		assert_string_equal(c.kernel, again.kernel);
		assert_true(c.memory.size_bytes == again.memory.size_bytes);
		assert_int_equal(c.serial.kind, again.serial.kind);
		assert_int_equal(c.disk_count, again.disk_count);
		assert_int_equal(c.rng, again.rng);
		assert_int_equal(c.monitor.fd, again.monitor.fd);
		assert_int_equal(c.cpus.feature_count,
				 again.cpus.feature_count);
		free(first);
		free(second);
		config_deinit(&c);
		config_deinit(&again);
	}
}

static void test_json_print_of_many_features_is_whole(void **state)
{
	struct vm_config c, again;
	char *text;

	(void)state;
	config_init(&c);
	c.cpus.features = calloc(600, sizeof(char *));
	for (; c.cpus.feature_count < 600; c.cpus.feature_count++)
		c.cpus.features[c.cpus.feature_count] = strdup("+avx512_xyz");
	text = config_json_print(&c);
	accepted(&again, text);
	assert_int_equal(again.cpus.feature_count, 600);
	free(text);
	config_deinit(&c);
	config_deinit(&again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_json_document_of_every_key_is_loaded),
		cmocka_unit_test(
			test_json_numbers_and_booleans_stand_for_text),
		cmocka_unit_test(test_json_bad_documents_are_refused),
		cmocka_unit_test(test_json_colon_in_a_string_is_no_key),
		cmocka_unit_test(test_json_nul_byte_in_the_file_is_refused),
		cmocka_unit_test(
			test_json_large_and_deep_documents_are_refused),
		cmocka_unit_test(
			test_json_truncation_at_every_byte_is_refused),
		cmocka_unit_test(test_json_file_that_is_not_there_is_named),
		cmocka_unit_test(test_json_print_is_loaded_again),
		cmocka_unit_test(test_json_print_of_many_features_is_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
