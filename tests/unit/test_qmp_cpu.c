/* SPDX-License-Identifier: MIT */
/* WITH: qmp_fixture */
/* The monitor's commands about vCPUs, over a fake VM with two of at most three. */
#include "qmp_fixture.h"

#include <stdio.h>

static void run(struct client *c, const char *command, const char *args,
		const char *reply)
{
	client_run(c, command, args);
	if (reply)
		client_expect(c, reply);
}

static void test_device_add_of_a_cpu(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	run(&c, "device_add", "{\"driver\":\"host-x86_64-cpu\",\"id\":\"x\","
	    "\"socket-id\":\"0\",\"core-id\":\"0\",\"thread-id\":\"1\"}", NULL);
	client_expect_error(&c, "AlreadyAttached", "a vCPU already");
	run(&c, "device_add", "{\"driver\":\"host-x86_64-cpu\",\"id\":\"x\","
	    "\"thread-id\":3}", NULL);
	client_expect_error(&c, "NoAvailableLocation", "no such place");
	run(&c, "device_add", "{\"driver\":\"host-x86_64-cpu\",\"id\":\"x\","
	    "\"socket-id\":\"0\",\"core-id\":\"0\",\"thread-id\":\"2\","
	    "\"die-id\":\"0\"}", "{\"return\":{}}");
	assert_string_equal(q->vm.cpu_id, "x");
	/* Its name is taken for devices, too. */
	run(&c, "device_add", "{\"driver\":\"virtio-rng-pci\",\"id\":\"cpu2\"}",
	    NULL);
	client_expect_error(&c, "GenericError", "'cpu2'");
	run(&c, "device_del", "{\"id\":\"cpu2\"}", "{\"return\":{}}");
	assert_int_equal(q->vm.cpu_removing, 2);
	client_close(&c);
}

static void test_cpu_add_by_count(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	run(&c, "cpu-add", "{\"count\":2}", NULL);
	client_expect_error(&c, "NoAvailableLocation", "2 vCPUs of at most 3");
	run(&c, "cpu-add", "{\"count\":18446744073709551615}", NULL);
	client_expect_error(&c, "NoAvailableLocation", "at most 3");
	q->vm.fail = "cpu-add";
	run(&c, "cpu-add", "{}", NULL);
	client_expect_error(&c, "InvalidState", "refused");
	q->vm.fail = NULL;
	run(&c, "cpu-add", "{\"count\":\"1\"}", "{\"return\":{\"count\":3}}");
	client_close(&c);
}

/* The reply comes when the guest has let it go, or at the timeout. */
static void test_cpu_remove_by_count(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	run(&c, "cpu-remove", "{\"count\":2}", NULL);
	client_expect_error(&c, "InvalidConfig", "one stays");
	run(&c, "cpu-remove", "{\"timeout-ms\":1}", NULL);
	client_expect_error(&c, "GenericError", "'cpu1'");
	assert_int_equal(q->vm.cpu_removing, 1);
	run(&c, "cpu-remove", "{}", NULL);
	qmp_settle(q);
	assert_true(client_is_quiet(&c));
	q->vm.config.cpus.count = 1;
	fake_vm_event(&q->vm, VM_EVENT_DEVICE_DELETED, false, "cpu1");
	client_expect(&c, "{\"event\":\"DEVICE_DELETED\",\"data\":{\"device\":"
		      "\"cpu1\",\"path\":\"/machine/peripheral/cpu1\"}}");
	client_expect(&c, "{\"return\":{}}");
	client_close(&c);
}

/* In whatever order they go; one that is refused is an answer for all. */
static void test_cpu_remove_waits_for_all(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	q->vm.config.cpus.count = 3;
	run(&c, "cpu-remove", "{\"count\":2}", NULL);
	qmp_settle(q);
	fake_vm_event(&q->vm, VM_EVENT_DEVICE_DELETED, false, "cpu1");
	client_expect(&c, "{\"event\":\"DEVICE_DELETED\",\"data\":{\"device\":"
		      "\"cpu1\",\"path\":\"/machine/peripheral/cpu1\"}}");
	fake_vm_event(&q->vm, VM_EVENT_DEVICE_DELETED, false, "other");
	client_expect(&c, "{\"event\":\"DEVICE_DELETED\",\"data\":{\"device\":"
		      "\"other\",\"path\":\"/machine/peripheral/other\"}}");
	qmp_settle(q);
	assert_true(client_is_quiet(&c));
	fake_vm_event(&q->vm, VM_EVENT_DEVICE_DELETED, false, "cpu2");
	client_expect(&c, "{\"event\":\"DEVICE_DELETED\",\"data\":{\"device\":"
		      "\"cpu2\",\"path\":\"/machine/peripheral/cpu2\"}}");
	client_expect(&c, "{\"return\":{}}");
	run(&c, "cpu-remove", "{\"count\":2}", NULL);
	qmp_settle(q);
	fake_vm_event(&q->vm, VM_EVENT_UNPLUG_REFUSED, true, "cpu1");
	client_expect(&c, "{\"event\":\"DEVICE_UNPLUG_GUEST_ERROR\",\"data\":"
		      "{\"device\":\"cpu1\",\"path\":"
		      "\"/machine/peripheral/cpu1\"}}");
	client_expect_error(&c, "GenericError", "'cpu1'");
	client_close(&c);
}

static void test_cpu_remove_before_the_start(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	q->vm.state = VM_PRELAUNCH;
	run(&c, "cpu-remove", "{\"count\":1}", "{\"return\":{}}");
	client_close(&c);
}

static void test_cpu_limits_refusals(void **state)
{
	static const struct {
		const char *args, *class, *text;
	} bad[] = {
		{ "{}", "MissingParameter", "neither" },
		{ "{\"cgroup\":\"/tmp\"}", "MissingParameter", "neither" },
		{ "{\"limit\":50,\"cgroup\":\"/tmp\"}", "InvalidConfig",
		  "/tmp" },
		{ "{\"limit\":50,\"cgroup\":\"/nowhere\"}", "InvalidConfig",
		  "/nowhere" },
		{ "{\"limit\":1000001}", "InvalidConfig", "1000001" },
		{ "{\"weight\":0}", "InvalidConfig", "weight: 0" },
		{ "{\"weight\":10001}", "InvalidConfig", "10001" },
		{ "{\"limit\":50,\"reservation\":5}", "NotSupported",
		  "reservation" },
		{ "{\"mhz\":5}", "NotSupported", "frequency" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		run(&c, "cpu-limits", bad[i].args, NULL);
		client_expect_error(&c, bad[i].class, bad[i].text);
	}
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, qmp_setup, qmp_teardown)
		T(test_device_add_of_a_cpu),
		T(test_cpu_add_by_count),
		T(test_cpu_remove_by_count),
		T(test_cpu_remove_waits_for_all),
		T(test_cpu_remove_before_the_start),
		T(test_cpu_limits_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
