/* SPDX-License-Identifier: MIT */
/* WITH: qmp_fixture */
/* The monitor's commands about networks, over a VM that only keeps books. */
#include "qmp_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define UUID	"11111111-2222-3333-4444-555555555555"
#define OK	"{\"return\": {}}"

static void ok(struct client *c, const char *command, const char *args)
{
	client_run(c, command, args);
	client_expect(c, OK);
}

#define REFUSED(c, table) \
	client_refused(c, table, sizeof(table) / sizeof(table[0]))

/* Hands a descriptor over under a name; it is of a file of that length. */
static void hand_over(struct client *c, const char *name, off_t len)
{
	FILE *file = tmpfile();
	int fd = fileno(file);
	char text[128];

	assert_int_equal(ftruncate(fd, len), 0);
	snprintf(text, sizeof(text), "{\"execute\":\"getfd\",\"arguments\":"
		 "{\"fdname\":\"%s\"}}", name);
	client_send_fds(c, text, &fd, 1);
	client_expect(c, OK);
	fclose(file);
}

static off_t length(int fd)
{
	return lseek(fd, 0, SEEK_END);
}

/* How many descriptors there are of files of that length. */
static unsigned int open_of_length(off_t len)
{
	unsigned int n = 0;

	for (int fd = 3; fd < 256; fd++)
		n += length(fd) == len;
	return n;
}

static int setup(void **state)
{
	int ret = qmp_setup(state);

	((struct qmp *)*state)->vm.config.uuid = (char *)UUID;
	return ret;
}

static void test_net_tap_of_passed_descriptors(void **state)
{
	static const struct refused_command refusals[] = {
		{ "closefd", "{\"fdname\":\"f0\"}", "GenericError", "f0" },
		{ "netdev_add", "{\"type\":\"tap\",\"id\":\"n0\"}",
		  "GenericError", "'n0'" },
		{ "netdev_del", "{\"id\":\"n0\"}", "GenericError",
		  "in use by 'nic'" },
		{ "device_add", "{\"driver\":\"virtio-net-pci\","
		  "\"netdev\":\"n0\"}", "GenericError", "'n0'" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	hand_over(&c, "f0", 10);
	hand_over(&c, "f1", 11);
	hand_over(&c, "v0", 20);
	hand_over(&c, "v1", 21);
	/* As govmm does. */
	ok(&c, "netdev_add", "{\"type\":\"tap\",\"id\":\"n0\","
	   "\"fds\":\"f0:f1\",\"vhost\":true,\"vhostfds\":\"v0:v1\"}");
	ok(&c, "device_add", "{\"driver\":\"virtio-net-pci\",\"id\":\"nic\","
	   "\"netdev\":\"n0\",\"mac\":\"02:00:00:00:00:09\",\"mq\":\"on\","
	   "\"vectors\":\"6\",\"num-queues\":\"2\",\"romfile\":\"\","
	   "\"disable-modern\":\"false\",\"bus\":\"pcie.1\","
	   "\"addr\":\"3\"}");
	assert_int_equal(fake_spec.type, DEVICE_NET);
	assert_string_equal(fake_nic.id, "nic");
	assert_string_equal(fake_nic.mac, "02:00:00:00:00:09");
	assert_int_equal(fake_nic.mac_bytes[5], 9);
	assert_true(fake_nic.vhost && fake_nic.fds_lent);
	assert_int_equal(fake_nic.queues, 2);
	assert_int_equal(fake_nic.fd_count, 2);
	assert_int_equal(fake_nic.vhost_fd_count, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(length(fake_nic.fds[i]), 10 + i);
		assert_int_equal(length(fake_nic.vhost_fds[i]), 20 + i);
	}
	REFUSED(&c, refusals);
	ok(&c, "device_del", "{\"id\":\"nic\"}");
	fake_vm_let_go(&q->vm, "nic");
	client_expect(&c, "{\"event\": \"DEVICE_DELETED\", \"data\": "
		      "{\"device\": \"nic\", "
		      "\"path\": \"/machine/peripheral/nic\"}}");
	/* Again, of the same; without an id it is known by the netdev's. */
	ok(&c, "device_add", "{\"driver\":\"virtio-net-pci\","
	   "\"netdev\":\"n0\"}");
	assert_int_equal(length(fake_nic.fds[1]), 11);
	assert_null(fake_spec.id);
	assert_string_equal(fake_nic.id, "n0");
	assert_true(fake_nic.mac_bytes[0] == 2);
	client_close(&c);
}

static void test_net_other_netdevs(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	ok(&c, "netdev_add", "{\"type\":\"tap\",\"id\":\"a\",\"ifname\":"
	   "\"tap7\",\"script\":\"no\",\"downscript\":\"no\","
	   "\"queues\":\"3\",\"vhost\":\"off\"}");
	ok(&c, "netdev_add", "{\"type\":\"stream\",\"id\":\"b\",\"server\":"
	   "false,\"addr\":{\"type\":\"unix\",\"path\":\"/s\"}}");
	ok(&c, "netdev_add", "{\"type\":\"user\",\"id\":\"c\"}");
	ok(&c, "device_add", "{\"driver\":\"virtio-net-pci\",\"netdev\":\"a\"}");
	assert_string_equal(fake_nic.tap, "tap7");
	assert_int_equal(fake_nic.queues, 3);
	assert_false(fake_nic.vhost);
	ok(&c, "device_add", "{\"driver\":\"virtio-net-pci\",\"netdev\":\"b\"}");
	assert_string_equal(fake_nic.unix_path, "/s");
	ok(&c, "device_add", "{\"driver\":\"virtio-net-pci\",\"netdev\":\"c\"}");
	assert_true(fake_nic.user);
	ok(&c, "netdev_add", "{\"type\":\"user\",\"id\":\"d\"}");
	ok(&c, "netdev_del", "{\"id\":\"d\"}");
	client_run(&c, "netdev_del", "{\"id\":\"d\"}");
	client_expect_error(&c, "DeviceNotFound", "'d'");
	/* What a client leaves is closed with the monitor. */
	hand_over(&c, "f", 12345);
	ok(&c, "netdev_add", "{\"type\":\"tap\",\"id\":\"e\",\"fd\":\"f\"}");
	assert_int_equal(open_of_length(12345), 1);
	monitor_destroy(q->monitor);
	assert_int_equal(open_of_length(12345), 0);
	client_close(&c);
	qmp_start_monitor(q);
}

#define TAP(args) "{\"type\":\"tap\",\"id\":\"x\"" args "}"
#define DEV(args) "{\"driver\":\"virtio-net-pci\"" args "}"

static void test_net_refusals_change_nothing(void **state)
{
	static const struct refused_command refusals[] = {
		{ "netdev_add", "{\"type\":\"bridge\",\"id\":\"x\"}",
		  "GenericError", "'bridge'" },
		{ "netdev_add", "{\"type\":\"user\",\"id\":\"9\"}",
		  "GenericError", "'id'" },
		{ "netdev_add", "{\"type\":\"user\",\"id\":\"x\",\"net\":1}",
		  "GenericError", "net" },
		{ "netdev_add", TAP(""), "GenericError", "'ifname'" },
		{ "netdev_add", TAP(",\"ifname\":\"t\",\"fds\":\"f\""),
		  "GenericError", "'ifname'" },
		{ "netdev_add", TAP(",\"ifname\":\"a/b\""), "InvalidConfig",
		  "a/b" },
		{ "netdev_add", TAP(",\"ifname\":\"t\",\"script\":\"/s\""),
		  "NotSupported", "'script'" },
		{ "netdev_add", TAP(",\"ifname\":\"t\",\"queues\":17"),
		  "GenericError", "17" },
		{ "netdev_add", TAP(",\"ifname\":\"t\",\"queues\":\"x\""),
		  "GenericError", "queues" },
		{ "netdev_add", TAP(",\"fds\":\"f:none\""), "GenericError",
		  "'none'" },
		{ "netdev_add", TAP(",\"fds\":\"f:f\""), "GenericError",
		  "twice" },
		{ "netdev_add", TAP(",\"fds\":\"\""), "GenericError", "''" },
		{ "netdev_add", TAP(",\"fds\":\"f\",\"queues\":2"),
		  "InvalidConfig", "queues=2" },
		{ "netdev_add", TAP(",\"fds\":\"f\",\"vhostfds\":\"g\","
				    "\"vhost\":\"off\""), "GenericError",
		  "vhostfds" },
		{ "netdev_add", TAP(",\"fds\":\"f\",\"vhost\":\"on\","
				    "\"vhostfds\":\"g:h\""), "GenericError",
		  "vhostfds" },
		{ "netdev_add", "{\"type\":\"stream\",\"id\":\"x\"}",
		  "GenericError", "'addr'" },
		{ "netdev_add", "{\"type\":\"stream\",\"id\":\"x\",\"addr\":"
		  "{\"type\":\"inet\",\"host\":\"h\"}}", "NotSupported",
		  "unix" },
		{ "netdev_add", "{\"type\":\"stream\",\"id\":\"x\",\"addr\":"
		  "{\"type\":\"unix\"}}", "GenericError", "'path'" },
		{ "device_add", DEV(""), "GenericError", "'netdev'" },
		{ "device_add", DEV(",\"netdev\":\"none\""), "GenericError",
		  "'none'" },
		{ "device_add", DEV(",\"netdev\":\"n\",\"mac\":\"x\""),
		  "InvalidConfig", "'x'" },
		{ "device_add", DEV(",\"netdev\":\"n\","
				    "\"mac\":\"01:00:00:00:00:00\""),
		  "InvalidConfig", "multicast" },
		{ "device_add", DEV(",\"netdev\":\"n\",\"num-queues\":2"),
		  "GenericError", "num-queues" },
		{ "device_add", DEV(",\"netdev\":\"n\",\"mq\":\"maybe\""),
		  "GenericError", "'mq'" },
		{ "nic-add", "{\"backend\":\"bridge\"}", "InvalidConfig",
		  "'bridge'" },
		{ "nic-add", "{\"backend\":\"none\"}", "InvalidConfig",
		  "none" },
		{ "nic-add", "{\"backend\":[\"user\"]}", "InvalidConfig",
		  "list" },
		{ "nic-add", "{\"backend\":\"user,id=x\"}", "InvalidConfig",
		  "id" },
		{ "nic-add", "{\"backend\":\"fd=none\"}", "GenericError",
		  "'none'" },
		{ "nic-add", "{\"backend\":\"user\",\"mac\":\"0\"}",
		  "InvalidConfig", "'0'" },
		{ "nic-add", "{\"backend\":\"user,vhost=on\"}",
		  "InvalidConfig", "vhost" },
		{ "nic-add", "{\"id\":\"x\"}", "MissingParameter",
		  "'backend'" },
		{ "nic-remove", "{\"id\":\"x\"}", "NotAttached", "x" },
		{ "nic-update", "{\"id\":\"x\",\"link\":\"up\"}",
		  "NotAttached", "x" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	hand_over(&c, "f", 1);
	hand_over(&c, "g", 2);
	hand_over(&c, "h", 3);
	ok(&c, "netdev_add", "{\"type\":\"user\",\"id\":\"n\"}");
	REFUSED(&c, refusals);
	assert_null(q->vm.devices);
	ok(&c, "closefd", "{\"fdname\":\"f\"}");
	ok(&c, "closefd", "{\"fdname\":\"g\"}");
	ok(&c, "netdev_add", TAP(",\"fds\":\"h\""));
	client_close(&c);
}

static void test_net_nics_come_change_and_go(void **state)
{
	static const struct refused_command refusals[] = {
		{ "nic-add", "{\"backend\":\"user\",\"id\":\"net0\"}",
		  "AlreadyAttached", "'net0'" },
		{ "nic-update", "{\"id\":\"net0\"}", "MissingParameter",
		  "link" },
		{ "nic-update", "{\"id\":\"net0\",\"link\":\"sideways\"}",
		  "InvalidConfig", "'sideways'" },
		{ "nic-update", "{\"id\":\"net0\",\"backend\":"
		  "\"tap=t,vhost=on\"}", "NotSupported", "vhost" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	hand_over(&c, "f", 5);
	client_run(&c, "nic-add", "{\"backend\":\"fd=f\","
		   "\"mac\":\"02:00:00:00:00:01\"}");
	client_expect(&c, "{\"return\":{\"id\":\"net0\","
		      "\"mac\":\"02:00:00:00:00:01\","
		      "\"pci\":\"0000:00:01.0\"}}");
	assert_true(fake_nic.fds_lent && fake_nic.fd_count == 1);
	client_run(&c, "closefd", "{\"fdname\":\"f\"}");
	client_expect_error(&c, "GenericError", "'f'");
	REFUSED(&c, refusals);
	client_run(&c, "nic-update", "{\"id\":\"net0\",\"link\":\"down\",\"backend\":"
		   "{\"tap\":\"t1\"}}");
	json_object_put(client_result(&c));
	assert_true(q->vm.link_down);
	assert_string_equal(q->vm.nic.tap, "t1");
	client_run(&c, "stats", "{\"types\":[\"nic\"]}");
	client_expect(&c, "{\"return\":{\"nic\":[{\"id\":\"net0\","
		      "\"mac\":\"02:00:00:00:00:01\",\"link\":\"down\","
		      "\"vhost\":false,\"received-bytes\":1,"
		      "\"received-packets\":2,\"received-errors\":3,"
		      "\"received-drops\":4,\"sent-bytes\":5,"
		      "\"sent-packets\":6,\"sent-errors\":7,"
		      "\"sent-drops\":8}]}}");
	client_run(&c, "nic-add", "{\"backend\":\"unix=/s\"}");
	json_object_put(client_result(&c));
	assert_string_equal(fake_nic.id, "net1");
	assert_string_equal(fake_nic.unix_path, "/s");
	client_run(&c, "nic-remove", "{\"id\":\"net1\"}");
	qmp_settle(q);
	assert_true(client_is_quiet(&c));
	fake_vm_let_go(&q->vm, "net1");
	client_expect(&c, "{\"event\": \"DEVICE_DELETED\", \"data\": "
		      "{\"device\": \"net1\", "
		      "\"path\": \"/machine/peripheral/net1\"}}");
	client_expect(&c, OK);
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, qmp_teardown)
		T(test_net_tap_of_passed_descriptors),
		T(test_net_other_netdevs),
		T(test_net_refusals_change_nothing),
		T(test_net_nics_come_change_and_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
