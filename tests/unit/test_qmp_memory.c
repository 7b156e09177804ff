/* SPDX-License-Identifier: MIT */
/* LINK: monitor/% option_net option_fields suboptions nearest utf8 config config_net config_paths bus char/listener exit_report loop error */
/* WITH: qmp_fixture */
/* The monitor's commands about memory, over a fake VM. */
#include "qmp_fixture.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, qmp_setup, qmp_teardown)
		T(test_balloon_commands),
		T(test_stats_has_what_the_guest_can_use),
		T(test_balloon_can_be_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
