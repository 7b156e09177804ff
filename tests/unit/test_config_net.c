/* SPDX-License-Identifier: MIT */
/* LINK: config/cli config/help config/config config/config_validate config/config_json config/config_net config/config_chardev config/config_paths */
/* LINK: config/option% block/vhd config/suboptions nearest error */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/cli.h"

#define UUID "11111111-2222-3333-4444-555555555555"

static void parse(struct cli_run *r, const char *const *nets)
{
	char *argv[32] = { "-kx", "--uuid", UUID };
	int argc = 3;
	struct error e;

	for (; *nets; nets++) {
		argv[argc++] = "-n";
		argv[argc++] = (char *)*nets;
	}
	if (cli_parse_run(argc, argv, r, &e))
		fail_msg("%s", e.text);
}

static void test_net_options_fill_the_configuration(void **state)
{
	const char *const nets[] = {
		"user", "none", "tap=tap0,queues=4,vhost=on,id=front",
		"fd=5:7,mac=02:aa:BB:00:01:02", "unix=/tmp/x", NULL,
	};
	static const uint8_t mac[6] = { 2, 0xaa, 0xbb, 0, 1, 2 };
	const struct config_net *n;
	struct cli_run r;

	(void)state;
	parse(&r, nets);
	n = r.config.nets;
	assert_int_equal(r.config.net_count, 4);
	assert_true(n[0].user);
	assert_string_equal(n[0].id, "net0");
	assert_int_equal(n[0].queues, 1);
	assert_string_equal(n[1].tap, "tap0");
	assert_string_equal(n[1].id, "front");
	assert_int_equal(n[1].queues, 4);
	assert_true(n[1].vhost);
	assert_int_equal(n[2].fd_count, 2);
	assert_int_equal(n[2].queues, 2);
	assert_int_equal(n[2].fds[1], 7);
	assert_memory_equal(n[2].mac_bytes, mac, 6);
	assert_string_equal(n[3].unix_path, "/tmp/x");
	assert_string_equal(n[3].id, "net2");
	config_deinit(&r.config);
}

static void test_net_mac_is_stable_and_differs(void **state)
{
	const char *const nets[] = { "user,id=a", "user,id=b", NULL };
	struct cli_run r, again;

	(void)state;
	parse(&r, nets);
	parse(&again, nets);
	for (int i = 0; i < 2; i++) {
		const uint8_t *mac = r.config.nets[i].mac_bytes;

		assert_memory_equal(mac, again.config.nets[i].mac_bytes, 6);
		assert_int_equal(mac[0], 2);
	}
	assert_memory_not_equal(r.config.nets[0].mac_bytes,
				r.config.nets[1].mac_bytes, 6);
	config_deinit(&r.config);
	config_deinit(&again.config);
}

static const struct {
	const char *net, *named;
} bad[] = {
	{ "tap0", "'tap0' is not one of user" },
	{ "none,id=x", "none" },
	{ "id=x", "no back end: one of user" },
	{ "user,tap=tap0", "more than one" },
	{ "tap=", "empty" },
	{ "tap=sixteen-letters-", "sixteen-letters-" },
	{ "tap=tap%d", "tap%d" },
	{ "tap=a/b", "a/b" },
	{ "tap=t,queues=0", "queues" },
	{ "tap=t,queues=17", "queues=17" },
	{ "user,queues=2", "queues=2" },
	{ "unix=/x,queues=2", "queues=2" },
	{ "user,vhost=on", "vhost=on" },
	{ "unix=/x,vhost=on", "vhost=on" },
	{ "fd=", "empty" },
	{ "fd=x", "fd=x" },
	{ "fd=3:", "fd=3:" },
	{ "fd=3:3", "3 is there twice" },
	{ "fd=-1", "fd=-1" },
	{ "fd=99999999999", "fd=99999999999" },
	{ "fd=3:4,queues=3", "queues=3" },
	{ "user,mac=01:00:00:00:00:01", "multicast" },
	{ "user,mac=ff:ff:ff:ff:ff:ff", "multicast" },
	{ "user,mac=00:00:00:00:00:00", "00:00:00:00:00:00" },
	{ "user,mac=02:00:00:00:00", "02:00:00:00:00" },
	{ "user,mac=02:00:00:00:00:0g", "0g" },
	{ "user,mac=02-00-00-00-00-01", "02-00" },
	{ "user,id=a b", "a b" },
	{ "user,tapp=x", "did you mean 'tap'" },
	{ "mode=tap,tapif=t", "'mode'" },
	{ "user,ifname=t", "did you mean 'tap'" },
	{ "user,vhost", "did you mean 'vhost=on'" },
	{ "none,mac=02:00:00:00:00:01", "none takes no sub-options" },
};

static void test_net_bad_options_are_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *argv[] = { "-kx", "-n", (char *)bad[i].net };
		struct cli_run r;
		struct error e;

		if (!cli_parse_run(3, argv, &r, &e))
			fail_msg("'%s' is taken", bad[i].net);
		assert_int_equal(e.class, ERROR_INVALID_CONFIG);
		if (!strstr(e.text, "--net") || !strstr(e.text, bad[i].named))
			fail_msg("'%s': %s", bad[i].net, e.text);
	}
}

static void test_net_document_and_command_line_fold_by_id(void **state)
{
	static const char text[] =
		"{\"kernel\": \"x\", \"nets\": [\"user\", {\"tap\": \"tap0\", "
		"\"id\": \"a\"}, {\"fd\": [3, 4]}, {\"fd\": 9}, "
		"{\"user\": true, \"mac\": \"02:00:00:00:00:01\"}]}";
	char path[] = "/tmp/test_config_net.XXXXXX";
	char *argv[] = { "--config", path, "-n", "tap=tap1,id=a" };
	int fd = mkstemp(path);
	struct cli_run r;
	struct error e;
	char *printed;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	close(fd);
	if (cli_parse_run(4, argv, &r, &e))
		fail_msg("%s", e.text);
	assert_int_equal(r.config.net_count, 5);
	assert_string_equal(r.config.nets[1].tap, "tap1");
	assert_int_equal(r.config.nets[2].fds[1], 4);
	assert_int_equal(r.config.nets[3].fds[0], 9);
	assert_true(r.config.nets[4].user);

	/* What is printed means the same when it is read. */
	printed = config_json_print(&r.config);
	fd = open(path, O_WRONLY | O_TRUNC);
	assert_int_equal(write(fd, printed, strlen(printed)), strlen(printed));
	close(fd);
	free(printed);
	config_deinit(&r.config);
	if (cli_parse_run(2, argv, &r, &e))
		fail_msg("%s", e.text);
	assert_int_equal(r.config.net_count, 5);
	assert_string_equal(r.config.nets[1].tap, "tap1");
	assert_int_equal(r.config.nets[2].fd_count, 2);
	config_deinit(&r.config);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_net_options_fill_the_configuration),
		cmocka_unit_test(test_net_mac_is_stable_and_differs),
		cmocka_unit_test(test_net_bad_options_are_named),
		cmocka_unit_test(test_net_document_and_command_line_fold_by_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
