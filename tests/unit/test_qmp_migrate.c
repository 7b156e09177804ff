/* SPDX-License-Identifier: MIT */
/* WITH: qmp_fixture */
/* migrate and what belongs to it, over a fake VM. */
#include "qmp_fixture.h"

#include <errno.h>
#include <stdio.h>

static void set(struct client *c, const char *list, const char *answer)
{
	char line[300];

	snprintf(line, sizeof(line), "{\"execute\":\"migrate-set-capabilities\","
		 "\"arguments\":{\"capabilities\":%s}}", list);
	client_exchange(c, line, answer);
}

/* As Kata's driver does it. */
static void test_migrate_capabilities_are_set_by_name(void **state)
{
	struct client c = client_ready(*state);
	struct qmp *q = *state;

	set(&c, "[{\"capability\":\"x-ignore-shared\",\"state\":true}]",
	    "{\"return\":{}}");
	assert_true(q->vm.capabilities.ignore_shared);
	set(&c, "[{\"capability\":\"events\",\"state\":true},"
	    "{\"capability\":\"multifd\",\"state\":true}]",
	    "{\"error\":{\"class\":\"GenericError\",\"desc\":\"Parameter "
	    "'capability' does not accept value 'multifd'\"}}");
	assert_false(q->vm.capabilities.events);
	client_exchange(&c, "{\"execute\":\"query-migrate-capabilities\"}",
			"{\"return\":[{\"capability\":\"x-ignore-shared\","
			"\"state\":true},{\"capability\":\"events\","
			"\"state\":false}]}");
	client_send(&c, "{\"execute\":\"migrate-set-capabilities\","
		    "\"arguments\":{\"capabilities\":[3]}}");
	client_expect_error(&c, "GenericError", "capabilities");
	client_send(&c, "{\"execute\":\"migrate-set-capabilities\","
		    "\"arguments\":{\"capabilities\":[{\"state\":true}]}}");
	client_expect_error(&c, "GenericError", "capability");
	q->vm.fail = "migrate-set-capabilities";
	client_send(&c, "{\"execute\":\"migrate-set-capabilities\","
		    "\"arguments\":{\"capabilities\":[]}}");
	client_expect_error(&c, "InvalidState", "refused");
	client_close(&c);
}

static uint64_t number(struct json_object *o, const char *name)
{
	return json_object_get_uint64(json_object_object_get(o, name));
}

static void test_migrate_tells_how_far_it_is(void **state)
{
	struct client c = client_ready(*state);
	struct json_object *o, *ram;
	struct qmp *q = *state;

	client_exchange(&c, "{\"execute\":\"query-migrate\"}",
			"{\"return\":{}}");
	client_exchange(&c, "{\"execute\":\"migrate\",\"arguments\":{\"uri\":"
			"\"exec:cat>state\"}}", "{\"return\":{}}");
	assert_string_equal(q->vm.migrate_uri, "exec:cat>state");
	client_send(&c, "{\"execute\":\"query-migrate\"}");
	o = client_result(&c);
	assert_string_equal(json_object_get_string(json_object_object_get(
				    o, "status")), "active");
	assert_int_equal(number(o, "total-time"), 3000);
	ram = json_object_object_get(o, "ram");
	assert_int_equal(number(ram, "total"), 8 << 20);
	assert_int_equal(number(ram, "remaining"), 2 << 20);
	assert_int_equal(number(ram, "transferred"), 1 << 20);
	json_object_put(o);
	fake_vm_event(&q->vm, VM_EVENT_MIGRATION, false, NULL);
	client_expect(&c, "{\"event\":\"MIGRATION\",\"data\":{\"status\":"
		      "\"active\",\"total\":8388608,\"remaining\":2097152,"
		      "\"bytes-per-second\":2097152,\"seconds-left\":2}}");
	client_exchange(&c, "{\"execute\":\"migrate_cancel\"}",
			"{\"return\":{}}");
	fake_vm_event(&q->vm, VM_EVENT_MIGRATION, false, NULL);
	client_expect(&c, "{\"event\":\"MIGRATION\",\"data\":{\"status\":"
		      "\"cancelled\"}}");
	q->vm.migrate.status = VM_MIGRATE_FAILED;
	error_set(&q->vm.migrate.error, -EIO, "writing: no");
	client_exchange(&c, "{\"execute\":\"query-migrate\"}",
			"{\"return\":{\"status\":\"failed\",\"error-desc\":"
			"\"writing: no\"}}");
	client_close(&c);
}

/* In its first millisecond, of RAM that has no zeros: what is sent is more. */
static void test_migrate_figures_are_none_that_cannot_be(void **state)
{
	struct client c = client_ready(*state);
	struct json_object *o, *ram;
	struct qmp *q = *state;

	q->vm.migrate = (struct vm_migrate_info){
		.status = VM_MIGRATE_ACTIVE, .total = 4 << 20, .done = 2 << 20,
		.sent = (2 << 20) + 8192,
	};
	client_send(&c, "{\"execute\":\"query-migrate\"}");
	o = client_result(&c);
	ram = json_object_object_get(o, "ram");
	assert_int_equal(number(ram, "normal"), 512);
	assert_int_equal(number(ram, "duplicate"), 0);
	json_object_put(o);
	fake_vm_event(&q->vm, VM_EVENT_MIGRATION, false, NULL);
	client_expect(&c, "{\"event\":\"MIGRATION\",\"data\":{\"status\":"
		      "\"active\",\"total\":4194304,\"remaining\":2097152,"
		      "\"bytes-per-second\":0}}");
	client_close(&c);
}

static void test_migrate_what_is_not_supported_is_named(void **state)
{
	struct client c = client_ready(*state);
	struct qmp *q = *state;

	client_send(&c, "{\"execute\":\"migrate\",\"arguments\":{\"uri\":"
		    "\"file:x\",\"blk\":true}}");
	client_expect_error(&c, "NotSupported", "blk");
	client_send(&c, "{\"execute\":\"migrate\"}");
	client_expect_error(&c, "GenericError", "uri");
	client_exchange(&c, "{\"execute\":\"migrate\",\"arguments\":{\"uri\":"
			"\"file:x\",\"blk\":false,\"inc\":false,"
			"\"detach\":true}}", "{\"return\":{}}");
	q->vm.fail = "migrate";
	client_send(&c, "{\"execute\":\"migrate-incoming\",\"arguments\":"
		    "{\"uri\":\"file:x\"}}");
	client_expect_error(&c, "InvalidState", "refused");
	client_close(&c);
}

static void test_save_tells_how_far_it_is(void **state)
{
	struct client c = client_ready(*state);
	struct qmp *q = *state;

	fake_vm_event(&q->vm, VM_EVENT_SAVE_PROGRESS, false, NULL);
	assert_true(client_is_quiet(&c));
	q->vm.saving = true;
	fake_vm_event(&q->vm, VM_EVENT_SAVE_PROGRESS, false, NULL);
	client_expect(&c, "{\"event\":\"SAVE_PROGRESS\",\"data\":{\"total\":"
		      "4194304,\"remaining\":3145728,\"bytes-per-second\":"
		      "1048576,\"seconds-left\":4}}");
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, qmp_setup, qmp_teardown)
		TEST(test_migrate_capabilities_are_set_by_name),
		TEST(test_migrate_tells_how_far_it_is),
		TEST(test_migrate_figures_are_none_that_cannot_be),
		TEST(test_save_tells_how_far_it_is),
		TEST(test_migrate_what_is_not_supported_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
