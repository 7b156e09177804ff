/* SPDX-License-Identifier: MIT */
/* WITH: qmp_fixture */
/* The monitor's commands about memory, over a fake VM. */
#include "qmp_fixture.h"

#include <stdio.h>

static void test_balloon_commands(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_send(&c, "{\"execute\":\"query-balloon\"}\n");
	client_expect_error(&c, "DeviceNotActive", "No balloon device");
	q->vm.balloon_bytes = 512 << 20;
	client_exchange(&c, "{\"execute\":\"balloon\",\"arguments\":"
			"{\"value\":268435456}}", "{\"return\":{}}");
	client_exchange(&c, "{\"execute\":\"query-balloon\"}",
			"{\"return\":{\"actual\":268435456}}");
	client_send(&c, "{\"execute\":\"balloon\"}\n");
	client_expect_error(&c, "GenericError", "'value'");
	fake_vm_event(&q->vm, VM_EVENT_BALLOON_CHANGE, true, NULL);
	client_expect(&c, "{\"event\":\"BALLOON_CHANGE\",\"data\":"
		      "{\"actual\":268435456}}");
	/* The balloon may have gone when its event is sent. */
	q->vm.balloon_bytes = 0;
	fake_vm_event(&q->vm, VM_EVENT_BALLOON_CHANGE, true, NULL);
	qmp_settle(q);
	assert_true(client_is_quiet(&c));
	client_close(&c);
}

static void test_stats_has_what_the_guest_can_use(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	q->vm.config.memory.size_bytes = 1 << 29;
	client_exchange(&c, "{\"execute\":\"stats\",\"arguments\":"
			"{\"types\":[\"memory\"]}}", "{\"return\":{\"memory\":"
			"{\"assigned\":536870912,\"available\":null}}}");
	q->vm.available_bytes = 12345678;
	client_exchange(&c, "{\"execute\":\"stats\",\"arguments\":"
			"{\"types\":[\"memory\"]}}", "{\"return\":{\"memory\":"
			"{\"assigned\":536870912,\"available\":12345678}}}");
	client_close(&c);
}

static void test_balloon_can_be_added(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_exchange(&c, "{\"execute\":\"device_add\",\"arguments\":{"
			"\"driver\":\"virtio-balloon-pci\",\"id\":\"b\","
			"\"deflate-on-oom\":\"on\"}}", "{\"return\":{}}");
	assert_int_equal(fake_spec.type, DEVICE_BALLOON);
	client_close(&c);
}

static void run(struct client *c, const char *command, const char *args,
		const char *reply)
{
	char text[256];

	snprintf(text, sizeof(text), "{\"execute\":\"%s\",\"arguments\":%s}\n",
		 command, args);
	client_send(c, text);
	if (reply)
		client_expect(c, reply);
}

/* The reply says what was reached: at once, when it is, or at the timeout. */
static void test_memory_set_waits_for_the_guest(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	q->vm.mem = (struct vm_mem_info){ .id = "memory0", .max = 1 << 30 };
	run(&c, "memory-set", "{\"size\":\"1G\"}", NULL);
	qmp_settle(q);
	assert_true(client_is_quiet(&c));
	q->vm.mem.plugged = 1 << 29;
	fake_vm_event(&q->vm, VM_EVENT_MEMORY_CHANGE, true, NULL);
	client_expect(&c, "{\"event\":\"MEMORY_DEVICE_SIZE_CHANGE\",\"data\":"
		      "{\"id\":\"memory0\",\"size\":536870912,\"qom-path\":"
		      "\"/machine/peripheral/memory0\"}}");
	qmp_settle(q);
	assert_true(client_is_quiet(&c));
	q->vm.mem.plugged = 1 << 30;
	fake_vm_event(&q->vm, VM_EVENT_BALLOON_CHANGE, true, NULL);
	client_expect(&c, "{\"return\":{\"requested\":1073741824,"
		      "\"plugged\":1073741824}}");
	run(&c, "memory-set", "{\"size\":2048,\"timeout-ms\":1}",
	    "{\"return\":{\"requested\":2147483648,\"plugged\":1073741824}}");
	run(&c, "memory-set", "{\"size\":\"3G\"}", NULL);
	qmp_settle(q);
	vm_end(&q->vm, VM_EXIT_QUIT, 0, "quit");
	client_expect(&c, "{\"event\":\"SHUTDOWN\",\"data\":"
		      "{\"guest\":false,\"reason\":\"host-signal\"}}");
	client_expect_error(&c, "InvalidState", "ended");
	client_close(&c);
}

static void test_memory_set_refusals(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	run(&c, "memory-set", "{\"size\":\"much\"}", NULL);
	client_expect_error(&c, "InvalidConfig", "much");
	run(&c, "memory-set", "{\"size\":null}", NULL);
	client_expect_error(&c, "InvalidConfig", "null");
	run(&c, "memory-set", "{}", NULL);
	client_expect_error(&c, "MissingParameter", "'size'");
	q->vm.fail = "memory-set";
	run(&c, "memory-set", "{\"size\":\"1G\"}", NULL);
	client_expect_error(&c, "InvalidState", "refused");
	client_close(&c);
}

static void test_virtio_mem_by_qom(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	q->vm.config.memory.size_bytes = 1 << 29;
	run(&c, "query-memory-devices", "{}", "{\"return\":[]}");
	run(&c, "qom-get", "{\"path\":\"memory0\",\"property\":\"size\"}",
	    NULL);
	client_expect_error(&c, "DeviceNotFound", "memory0");
	q->vm.mem = (struct vm_mem_info){
		.id = "memory0", .base = 1ull << 32, .max = 1 << 30,
		.plugged = 4 << 20,
	};
	run(&c, "qom-set", "{\"path\":\"/machine/peripheral/memory0\","
	    "\"property\":\"requested-size\",\"value\":8388608}",
	    "{\"return\":{}}");
	run(&c, "qom-get", "{\"path\":\"memory0\","
	    "\"property\":\"requested-size\"}", "{\"return\":8388608}");
	run(&c, "qom-set", "{\"path\":\"memory0\",\"property\":\"size\","
	    "\"value\":1}", NULL);
	client_expect_error(&c, "GenericError", "'virtio-mem-pci.size'");
	run(&c, "qom-set", "{\"path\":\"memory0\",\"property\":"
	    "\"requested-size\",\"value\":-1}", NULL);
	client_expect_error(&c, "GenericError", "'value'");
	run(&c, "query-memory-size-summary", "{}", "{\"return\":"
	    "{\"base-memory\":536870912,\"plugged-memory\":4194304}}");
	run(&c, "query-memory-devices", "{}", "{\"return\":[{\"type\":"
	    "\"virtio-mem\",\"data\":{\"id\":\"memory0\",\"memaddr\":"
	    "4294967296,\"node\":0,\"memdev\":\"/objects/ram\",\"size\":"
	    "4194304,\"requested-size\":8388608,\"max-size\":1073741824,"
	    "\"block-size\":2097152}}]}");
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, qmp_setup, qmp_teardown)
		T(test_balloon_commands),
		T(test_stats_has_what_the_guest_can_use),
		T(test_balloon_can_be_added),
		T(test_memory_set_waits_for_the_guest),
		T(test_memory_set_refusals),
		T(test_virtio_mem_by_qom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
