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
	client_run(c, command, args);
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
	fake_vm_event(&q->vm, VM_EVENT_MEMORY_CHANGE, true, "memory0");
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

/* As Kata's client does it. */
static void test_virtio_mem_can_be_added(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	run(&c, "object-add", "{\"qom-type\":\"memory-backend-ram\",\"id\":"
	    "\"virtiomem\",\"size\":1073741824}", "{\"return\":{}}");
	run(&c, "device_add", "{\"driver\":\"virtio-mem-pci\",\"id\":\"v\","
	    "\"memdev\":\"virtiomem\",\"block-size\":4096}", NULL);
	client_expect_error(&c, "NotSupported", "2 MiB");
	run(&c, "device_add", "{\"driver\":\"virtio-mem-pci\",\"id\":"
	    "\"virtiomem0\",\"memdev\":\"virtiomem\",\"bus\":\"pcie.0\","
	    "\"addr\":\"1e\",\"requested-size\":\"2097152\"}",
	    "{\"return\":{}}");
	assert_int_equal(q->vm.mem.requested, 2 << 20);
	run(&c, "qom-set", "{\"path\":\"virtiomem0\",\"property\":"
	    "\"requested-size\",\"value\":4194304}", "{\"return\":{}}");
	assert_int_equal(q->vm.mem.requested, 4 << 20);
	run(&c, "object-del", "{\"id\":\"virtiomem\"}", NULL);
	client_expect_error(&c, "GenericError", "in use");
	client_close(&c);
}

static void test_balloon_statistics(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);
	struct json_object *r, *stats, *value;
#define INTERVAL(value) "{\"path\":\"b\",\"property\":" \
	"\"guest-stats-polling-interval\",\"value\":" value "}"
	static const char *const bad[][2] = {
		{ INTERVAL("-1"), "greater than zero" },
		{ INTERVAL("4294967296"), "too big" },
		{ INTERVAL("\"1\""), "expected: integer" },
	};

	run(&c, "device_add", "{\"driver\":\"virtio-balloon-pci\",\"id\":"
	    "\"b\"}", "{\"return\":{}}");
	q->vm.available_bytes = 12345678;
	run(&c, "qom-get", "{\"path\":\"/machine/peripheral/b\",\"property\":"
	    "\"guest-stats\"}", NULL);
	r = client_result(&c);
	assert_true(json_object_object_get_ex(r, "stats", &stats));
	assert_true(json_object_object_get_ex(stats, "stat-available-memory",
					      &value));
	assert_int_equal(json_object_get_int64(value), 12345678);
	assert_true(json_object_object_get_ex(r, "last-update", &value));
	assert_int_equal(json_object_get_int64(value), 1234567890);
	json_object_put(r);
	run(&c, "qom-get", "{\"path\":\"b\",\"property\":"
	    "\"guest-stats-polling-interval\"}", "{\"return\":2}");
	run(&c, "qom-set", INTERVAL("1"), "{\"return\":{}}");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		run(&c, "qom-set", bad[i][0], NULL);
		client_expect_error(&c, "GenericError", bad[i][1]);
	}
	run(&c, "qom-get", "{\"path\":\"b\",\"property\":"
	    "\"guest-stats-polling-interval\"}", "{\"return\":1}");
	run(&c, "qom-get", "{\"path\":\"b\",\"property\":\"x\"}", NULL);
	client_expect_error(&c, "GenericError", "'virtio-balloon-pci.x'");
	client_close(&c);
}

static void test_dimm_as_govmm_adds_it(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	q->vm.config.memory.size_bytes = 1 << 29;
	run(&c, "object-add", "{\"qom-type\":\"memory-backend-ram\",\"id\":"
	    "\"mem0\",\"size\":268435456}", "{\"return\":{}}");
	run(&c, "device_add", "{\"driver\":\"pc-dimm\",\"id\":\"dimmmem0\","
	    "\"memdev\":\"mem0\"}", "{\"return\":{}}");
	assert_string_equal(q->vm.dimm_memdev, "mem0");
	assert_int_equal(q->vm.dimm.len_bytes, 1 << 28);
	assert_false(q->vm.dimm_backing.share);
	q->vm.dimm.hotplugged = true;
	run(&c, "query-memory-size-summary", "{}", "{\"return\":"
	    "{\"base-memory\":536870912,\"plugged-memory\":268435456}}");
	run(&c, "query-memory-devices", "{}", "{\"return\":[{\"type\":"
	    "\"dimm\",\"data\":{\"id\":\"dimmmem0\",\"addr\":0,\"size\":"
	    "268435456,\"slot\":0,\"node\":0,\"memdev\":\"/objects/mem0\","
	    "\"hotplugged\":true,\"hotpluggable\":true}}]}");
	run(&c, "object-del", "{\"id\":\"mem0\"}", NULL);
	client_expect_error(&c, "GenericError", "in use");
	/* Its name is taken. */
	run(&c, "device_add", "{\"driver\":\"virtio-rng-pci\",\"id\":"
	    "\"dimmmem0\"}", NULL);
	client_expect_error(&c, "GenericError", "'dimmmem0'");
	run(&c, "device_del", "{\"id\":\"dimmmem0\"}", "{\"return\":{}}");
	assert_true(q->vm.dimm_removing);
	client_close(&c);
}

static void test_dimm_of_all_kinds_of_memory(void **state)
{
	static const struct {
		const char *object;
		bool share, hugepages, prealloc, path;
	} kinds[] = {
		{ "memory-backend-ram\",\"share\":\"on", true, false, false,
		  false },
		{ "memory-backend-memfd\",\"hugetlb\":\"on", true, true, false,
		  false },
		{ "memory-backend-file\",\"mem-path\":\"/dev/shm\","
		  "\"prealloc\":\"on", false, false, true, true },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);
	char text[256];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		snprintf(text, sizeof(text), "{\"id\":\"m%zu\",\"size\":\"134217"
			 "728\",\"qom-type\":\"%s\"}", i, kinds[i].object);
		run(&c, "object-add", text, "{\"return\":{}}");
		snprintf(text, sizeof(text), "{\"driver\":\"pc-dimm\",\"memdev\":"
			 "\"m%zu\",\"id\":\"d%zu\",\"addr\":4294967296,"
			 "\"slot\":\"3\",\"node\":\"0\"}", i, i);
		run(&c, "device_add", text, "{\"return\":{}}");
		assert_int_equal(q->vm.dimm_backing.share, kinds[i].share);
		assert_int_equal(q->vm.dimm_backing.hugepages,
				 kinds[i].hugepages);
		assert_int_equal(q->vm.dimm_backing.prealloc,
				 kinds[i].prealloc);
		assert_int_equal(!!q->vm.dimm_backing.path, kinds[i].path);
		assert_true(q->vm.dimm.base == 1ull << 32);
		assert_int_equal(q->vm.dimm.slot, 3);
	}
	client_close(&c);
}

static void test_dimm_refusals(void **state)
{
	static const struct {
		const char *command, *args, *class, *text;
	} bad[] = {
		{ "object-add", "{\"qom-type\":\"memory-backend-ram\",\"id\":"
		  "\"m\",\"size\":0}", "GenericError", "'size'" },
		{ "object-add", "{\"qom-type\":\"memory-backend-ram\",\"id\":"
		  "\"m\"}", "GenericError", "'size'" },
		{ "device_add", "{\"driver\":\"pc-dimm\",\"id\":\"d\"}",
		  "GenericError", "'memdev'" },
		{ "device_add", "{\"driver\":\"pc-dimm\",\"id\":\"d\","
		  "\"memdev\":\"none\"}", "DeviceNotFound", "'none'" },
		{ "device_add", "{\"driver\":\"pc-dimm\",\"id\":\"d\","
		  "\"memdev\":\"r\"}", "GenericError", "rng-random" },
		{ "device_add", "{\"driver\":\"pc-dimm\",\"id\":\"d\","
		  "\"memdev\":\"f\"}", "GenericError", "size" },
		{ "device_add", "{\"driver\":\"pc-dimm\",\"id\":\"d\","
		  "\"memdev\":\"f\",\"addr\":\"here\"}", "GenericError",
		  "'addr'" },
		{ "device_add", "{\"driver\":\"virtio-pmem-pci\",\"id\":\"d\","
		  "\"memdev\":\"f\"}", "NotSupported", "share" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	run(&c, "object-add", "{\"qom-type\":\"rng-random\",\"id\":\"r\"}",
	    "{\"return\":{}}");
	run(&c, "object-add", "{\"qom-type\":\"memory-backend-file\",\"id\":"
	    "\"f\",\"mem-path\":\"/tmp/f\",\"share\":\"off\"}",
	    "{\"return\":{}}");
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		run(&c, bad[i].command, bad[i].args, NULL);
		client_expect_error(&c, bad[i].class, bad[i].text);
	}
	assert_int_equal(q->vm.dimm.len_bytes, 0);
	client_close(&c);
}

/* In QEMU's words; who waits is told as well. */
static void test_what_the_guest_reports(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	q->vm.ost = (struct vm_report){
		.dimm = true, .slot = 2, .source = 1,
	};
	fake_vm_event(&q->vm, VM_EVENT_REPORT, true, "d");
	client_expect(&c, "{\"event\":\"ACPI_DEVICE_OST\",\"data\":{\"info\":"
		      "{\"device\":\"d\",\"slot\":\"2\",\"slot-type\":\"DIMM\","
		      "\"source\":1,\"status\":0}}}");
	run(&c, "cpu-remove", "{}", NULL);
	qmp_settle(q);
	q->vm.ost = (struct vm_report){
		.slot = 1, .source = 3, .status = 0x82,
	};
	fake_vm_event(&q->vm, VM_EVENT_REPORT, true, NULL);
	client_expect(&c, "{\"event\":\"ACPI_DEVICE_OST\",\"data\":{\"info\":"
		      "{\"slot\":\"1\",\"slot-type\":\"CPU\",\"source\":3,"
		      "\"status\":130}}}");
	fake_vm_event(&q->vm, VM_EVENT_UNPLUG_REFUSED, true, "cpu1");
	client_expect(&c, "{\"event\":\"DEVICE_UNPLUG_GUEST_ERROR\",\"data\":"
		      "{\"device\":\"cpu1\",\"path\":"
		      "\"/machine/peripheral/cpu1\"}}");
	client_expect_error(&c, "GenericError", "refuses");
	run(&c, "query-acpi-ospm-status", "{}",
	    "{\"return\":[{\"slot\":\"0\",\"slot-type\":\"DIMM\","
	    "\"source\":3,\"status\":0},{\"device\":\"cpu0\",\"slot\":\"0\","
	    "\"slot-type\":\"CPU\",\"source\":3,\"status\":0}]}");
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
		T(test_virtio_mem_can_be_added),
		T(test_balloon_statistics),
		T(test_dimm_as_govmm_adds_it),
		T(test_dimm_of_all_kinds_of_memory),
		T(test_dimm_refusals),
		T(test_what_the_guest_reports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
