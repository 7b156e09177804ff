/* SPDX-License-Identifier: MIT */
/* WITH: qmp_fixture */
/* chardev-add and its like, virtio-serial and its ports. */
#include "qmp_fixture.h"

#include <string.h>

#define OK "{\"return\": {}}"
#define CHARDEV(id, backend) \
	"{\"execute\": \"chardev-add\", \"arguments\": {\"id\": \"" id \
	"\", \"backend\": {" backend "}}}\n"
#define SOCKET(more) \
	"\"type\": \"socket\", \"data\": {\"addr\": {\"type\": \"unix\", " \
	"\"data\": {\"path\": \"/run/s\"}}" more "}"
#define ADD(args) "{\"execute\": \"device_add\", \"arguments\": {" args "}}\n"
#define DEL(id) \
	"{\"execute\": \"device_del\", \"arguments\": {\"id\": \"" id "\"}}\n"

struct refusal {
	const char *command, *class, *text;
};

static void expect_refusals(struct client *c, const struct refusal *r,
			    size_t count)
{
	for (; count--; r++) {
		client_send(c, r->command);
		client_expect_error(c, r->class, r->text);
	}
}

static void test_chardevs_are_made_listed_and_removed(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_exchange(&c, CHARDEV("s", SOCKET(", \"server\": true, "
						"\"wait\": false")), OK);
	assert_int_equal(q->vm.chardevs[0].config.kind, CHAR_UNIX);
	client_exchange(&c, CHARDEV("o", SOCKET(", \"server\": false, "
						"\"reconnect\": 3")), OK);
	assert_int_equal(q->vm.chardevs[1].config.kind, CHAR_CONNECT);
	assert_int_equal(q->vm.chardevs[1].config.reconnect_s, 3);
	client_exchange(&c, "{\"execute\": \"chardev-remove\", \"arguments\": "
			"{\"id\": \"o\"}}\n", OK);
	client_exchange(&c, CHARDEV("f", "\"type\": \"file\", \"data\": "
				    "{\"out\": \"/log\", \"append\": true}"),
			OK);
	assert_true(q->vm.chardevs[1].config.append);
	client_exchange(&c, CHARDEV("p", "\"type\": \"pty\", \"data\": {}"),
			"{\"return\": {\"pty\": \"/dev/pts/7\"}}");
	client_exchange(&c, CHARDEV("n", "\"type\": \"null\""), OK);
	client_exchange(&c, "{\"execute\": \"query-chardev\"}\n",
			"{\"return\": [{\"label\": \"s\", \"filename\": "
			"\"disconnected:unix:/run/s,server=on\", "
			"\"frontend-open\": false}, {\"label\": \"f\", "
			"\"filename\": \"file:/log\", \"frontend-open\": "
			"false}, {\"label\": \"p\", \"filename\": "
			"\"pty:/dev/pts/7\", \"frontend-open\": false}, "
			"{\"label\": \"n\", \"filename\": \"null\", "
			"\"frontend-open\": false}]}");
	client_exchange(&c, "{\"execute\": \"chardev-remove\", \"arguments\": "
			"{\"id\": \"n\"}}\n", OK);
	assert_int_equal(q->vm.chardev_count, 3);
	client_close(&c);
}

static void test_chardevs_that_are_refused(void **state)
{
	static const struct refusal refusals[] = {
		{ CHARDEV("1", SOCKET("")), "GenericError", "'id'" },
		{ CHARDEV("s", SOCKET(", \"reconnect\": 3")), "GenericError",
		  "server=off" },
		{ CHARDEV("s", SOCKET(", \"reconnect\": 86401, "
				      "\"server\": false")), "GenericError",
		  "86400" },
		{ CHARDEV("s", SOCKET(", \"wait\": true")), "NotSupported",
		  "wait" },
		{ CHARDEV("s", SOCKET(", \"frob\": 1")), "GenericError",
		  "frob" },
		{ CHARDEV("s", "\"type\": \"socket\", \"data\": {\"addr\": "
			  "{\"type\": \"inet\", \"data\": {}}}"),
		  "NotSupported", "'inet' is not supported, only unix" },
		{ CHARDEV("s", "\"type\": \"socket\", \"data\": {\"addr\": "
			  "{\"type\": \"fd\", \"data\": {\"str\": \"s\"}}}"),
		  "NotSupported", "'fd' is not supported, only unix" },
		{ CHARDEV("s", "\"type\": \"socket\", \"data\": {\"addr\": "
			  "{\"type\": \"ipx\", \"data\": {}}}"),
		  "GenericError", "'ipx' is not one of unix" },
		{ CHARDEV("s", "\"type\": \"socket\", \"data\": {\"addr\": "
			  "{\"type\": \"unix\", \"data\": {}}}"),
		  "GenericError", "'path'" },
		{ CHARDEV("s", "\"type\": \"socket\", \"data\": {}"),
		  "GenericError", "'addr'" },
		{ CHARDEV("s", "\"type\": \"socket\""), "GenericError",
		  "'data'" },
		{ CHARDEV("s", "\"type\": \"socket\", \"data\": 3"),
		  "GenericError", "'socket'" },
		{ CHARDEV("s", "\"type\": \"file\", \"data\": {}"),
		  "GenericError", "'out'" },
		{ CHARDEV("s", "\"type\": \"file\", \"data\": {\"out\": "
			  "\"/a\", \"in\": \"/b\"}"), "GenericError", "in" },
		{ CHARDEV("s", "\"type\": \"spicevmc\", \"data\": {}"),
		  "NotSupported", "'spicevmc' is not supported, only socket" },
		{ CHARDEV("s", "\"type\": \"frob\", \"data\": {}"),
		  "GenericError", "'frob' is not one of socket" },
		{ CHARDEV("s", "\"kind\": \"null\""), "GenericError", "kind" },
		{ CHARDEV("s", ""), "GenericError", "'type'" },
		{ "{\"execute\": \"chardev-remove\", \"arguments\": {\"id\": "
		  "\"x\"}}\n", "GenericError", "'x' not found" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	expect_refusals(&c, refusals, sizeof(refusals) / sizeof(refusals[0]));
	assert_int_equal(q->vm.chardev_count, 0);
	client_close(&c);
}

static void test_ports_are_added_and_deleted(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_exchange(&c, ADD("\"driver\": \"virtio-serial-pci\", \"id\": "
				"\"serial0\", \"max_ports\": \"2\", "
				"\"romfile\": \"\""), OK);
	assert_int_equal(fake_spec.type, DEVICE_SERIAL);
	client_exchange(&c, ADD("\"driver\": \"virtserialport\", \"id\": "
				"\"p\", \"chardev\": \"s\", \"name\": "
				"\"agent.0\""), OK);
	assert_string_equal(q->vm.port.chardev, "s");
	assert_string_equal(q->vm.port.name, "agent.0");
	assert_int_equal(q->vm.port.nr, -1);
	assert_false(q->vm.port.console);
	q->vm.port.open = true;
	fake_vm_event(&q->vm, VM_EVENT_PORT_CHANGE, true, "p");
	client_expect(&c, "{\"event\": \"VSERPORT_CHANGE\", \"data\": "
		      "{\"id\": \"p\", \"open\": true}}");
	client_send(&c, ADD("\"driver\": \"virtio-rng-pci\", \"id\": \"p\""));
	client_expect_error(&c, "GenericError", "'p'");
	client_send(&c, DEL("p"));
	client_expect(&c, "{\"event\": \"DEVICE_DELETED\", \"data\": "
		      "{\"device\": \"p\", \"path\": "
		      "\"/machine/peripheral/p\"}}");
	client_expect(&c, OK);
	client_send(&c, DEL("p"));
	client_expect_error(&c, "DeviceNotFound", "'p'");
	client_exchange(&c, ADD("\"driver\": \"virtconsole\", \"id\": \"c\", "
				"\"chardev\": \"s\", \"bus\": \"serial0.0\", "
				"\"nr\": \"0\""), OK);
	assert_string_equal(q->vm.port.bus, "serial0.0");
	assert_int_equal(q->vm.port.nr, 0);
	assert_true(q->vm.port.console);
	client_close(&c);
}

static void test_ports_that_are_refused(void **state)
{
	static const struct refusal refusals[] = {
		{ ADD("\"driver\": \"virtio-serial-pci\", \"max_ports\": 32"),
		  "GenericError", "'max_ports'" },
		{ ADD("\"driver\": \"virtio-serial-pci\", \"max_ports\": 0"),
		  "GenericError", "'max_ports'" },
		{ ADD("\"driver\": \"virtserialport\", \"id\": \"p\""),
		  "GenericError", "'chardev'" },
		{ ADD("\"driver\": \"virtserialport\", \"chardev\": \"s\", "
		      "\"nr\": \"x\""), "GenericError", "'nr'" },
		{ ADD("\"driver\": \"virtserialport\", \"chardev\": \"s\", "
		      "\"mac\": \"x\""), "GenericError",
		  "virtserialport.mac" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	expect_refusals(&c, refusals, sizeof(refusals) / sizeof(refusals[0]));
	assert_string_equal(q->vm.port.id, "");
	client_close(&c);
}

#define T(name) cmocka_unit_test_setup_teardown(name, qmp_setup, qmp_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_chardevs_are_made_listed_and_removed),
		T(test_chardevs_that_are_refused),
		T(test_ports_are_added_and_deleted),
		T(test_ports_that_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
