/* SPDX-License-Identifier: MIT */
/* WITH: qmp_fixture */
/* The monitor's protocol, commands and events, over a fake VM. */
#include "qmp_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NEGOTIATE "{\"execute\":\"qmp_capabilities\"}"

/* ---- the session ---- */

static void test_monitor_greeting_is_qemus(void **state)
{
	struct client c = client_open(*state);

	client_expect(&c, "{\"QMP\":{\"version\":{\"qemu\":{\"micro\":0,"
		      "\"minor\":2,\"major\":8},\"package\":\"mote "
		      MOTE_VERSION "\"},\"capabilities\":[]}}");
	assert_true(client_is_quiet(&c));
	client_close(&c);
}

static void test_monitor_before_negotiation_refuses_commands(void **state)
{
	struct client c = client_open(*state);

	free(client_line(&c));
	client_send(&c, "{\"execute\":\"query-status\",\"id\":7}\n");
	client_expect(&c, "{\"id\":7,\"error\":{\"class\":\"CommandNotFound\","
		      "\"desc\":\"Expecting capabilities negotiation with "
		      "'qmp_capabilities'\"}}");
	client_send(&c, "{\"execute\":\"stop\"}\n");
	client_expect_error(&c, "CommandNotFound", "negotiation");
	assert_int_equal(((struct qmp *)*state)->vm.state, VM_RUNNING);
	client_exchange(&c, NEGOTIATE, "{\"return\":{}}");
	client_exchange(&c, "{\"execute\":\"query-status\"}",
			"{\"return\":{\"status\":\"running\","
			"\"running\":true}}");
	client_send(&c, NEGOTIATE);
	client_expect_error(&c, "CommandNotFound", "already complete");
	client_close(&c);
}

static void test_monitor_unknown_capability_is_refused(void **state)
{
	struct client c = client_open(*state);

	free(client_line(&c));
	client_send(&c, "{\"execute\":\"qmp_capabilities\",\"arguments\":"
		    "{\"enable\":[\"oob\"]}}");
	client_expect_error(&c, "GenericError", "oob");
	client_send(&c, "{\"execute\":\"qmp_capabilities\",\"arguments\":"
		    "{\"enable\":[{}]}}");
	client_expect_error(&c, "GenericError", "enable");
	client_send(&c, "{\"execute\":\"stop\"}");
	client_expect_error(&c, "CommandNotFound", "Expecting");
	client_exchange(&c, "{\"execute\":\"qmp_capabilities\",\"arguments\":"
			"{\"enable\":[]}}", "{\"return\":{}}");
	client_close(&c);
}

static void test_monitor_bad_message_is_named_and_session_goes_on(void **state)
{
	static const struct {
		const char *message, *class, *text;
	} cases[] = {
		{ "[]", "GenericError", "must be a JSON object" },
		{ "{}", "GenericError", "lacks member 'execute'" },
		{ "{\"id\":1}", "GenericError", "lacks member 'execute'" },
		{ "{\"execute\":1}", "GenericError",
		  "'execute' must be a string" },
		{ "{\"execute\":null}", "GenericError",
		  "'execute' must be a string" },
		{ "{\"execute\":\"stop\",\"arguments\":[]}", "GenericError",
		  "'arguments' must be an object" },
		{ "{\"execute\":\"stop\",\"arguments\":null}", "GenericError",
		  "'arguments' must be an object" },
		{ "{\"execute\":\"stop\",\"extra\":1}", "GenericError",
		  "'extra' is unexpected" },
		{ "{\"exec-oob\":\"stop\"}", "GenericError",
		  "'exec-oob' is unexpected" },
		{ "{\"execute\":\"\"}", "CommandNotFound", "not been found" },
		{ "{\"execute\":\"sto\"}", "CommandNotFound",
		  "The command sto has not been found" },
		{ "{\"execute\":\"stop\\u0000x\"}", "CommandNotFound", "stop" },
		{ "{\"execute\":\"STOP\"}", "CommandNotFound", "STOP" },
		{ "{\"execute\":\"stop\",\"arguments\":{\"a\":1}}",
		  "GenericError", "Parameter 'a' is unexpected" },
		{ "{\"execute\":\"query-status\",\"arguments\":{\"b\":null}}",
		  "GenericError", "Parameter 'b' is unexpected" },
		{ "{\"execute\":\"wait\",\"arguments\":{\"timeout-ms\":\"x\"}}",
		  "InvalidConfig", "'timeout-ms' expects a number" },
		{ "{\"execute\":\"wait\",\"arguments\":{\"timeout-ms\":1.5}}",
		  "InvalidConfig", "'timeout-ms' expects" },
		{ "{\"execute\":\"wait\",\"arguments\":{\"timeout-ms\":null}}",
		  "InvalidConfig", "'timeout-ms' expects" },
		{ "{\"execute\":\"wait\",\"arguments\":{\"timeout-ms\":-1}}",
		  "InvalidConfig", "'timeout-ms' expects" },
		{ "{\"execute\":\"wait\",\"arguments\":{\"timeout_ms\":1}}",
		  "InvalidConfig", "'timeout_ms' is unexpected" },
		{ "nonsense", "GenericError", "JSON parse error" },
		{ "{\"execute\":}", "GenericError", "JSON parse error" },
		{ "{\"execute\":\"\xff\"}", "GenericError", "UTF-8" },
	};
	struct client c = client_ready(*state);

	for (size_t i = 0; i < COUNT(cases); i++) {
		client_send(&c, cases[i].message);
		client_send(&c, "\r\n");
		client_expect_error(&c, cases[i].class, cases[i].text);
		client_exchange(&c, "{\"execute\":\"query-kvm\"}",
				"{\"return\":{\"enabled\":true,"
				"\"present\":true}}");
		assert_string_equal(qmp_debug, "monitor: query-kvm");
	}
	assert_int_equal(((struct qmp *)*state)->vm.state, VM_RUNNING);
	client_close(&c);
}

static void test_monitor_id_of_any_type_is_echoed(void **state)
{
	static const char *const ids[] = {
		"1", "-7", "1.5", "\"x\"", "\"\"", "true", "null", "[]", "{}",
		"[1,{\"a\":[null]}]", "{\"execute\":\"stop\"}",
	};
	struct client c = client_ready(*state);
	char command[128], reply[128];

	for (size_t i = 0; i < COUNT(ids); i++) {
		snprintf(command, sizeof(command),
			 "{\"execute\":\"query-name\",\"id\":%s}", ids[i]);
		snprintf(reply, sizeof(reply), "{\"id\":%s,\"return\":{}}",
			 ids[i]);
		client_exchange(&c, command, reply);
		snprintf(command, sizeof(command), "{\"id\":%s,\"execute\":1}",
			 ids[i]);
		snprintf(reply, sizeof(reply),
			 "{\"id\":%s,\"error\":{\"class\":\"GenericError\","
			 "\"desc\":\"QMP input member 'execute' must be a "
			 "string\"}}", ids[i]);
		client_exchange(&c, command, reply);
	}
	client_close(&c);
}

static void test_monitor_long_command_name_gives_valid_utf8(void **state)
{
	struct client c = client_ready(*state);
	char command[2048] = "{\"execute\":\"x";
	struct json_object *o;
	char *line;

	/* Two bytes each: wherever the text is cut, once it is inside one. */
	for (int shift = 0; shift < 2; shift++) {
		for (int i = 0; i < 400; i++)
			strcat(command, "\xc3\xa9");
		strcat(command, "\"}");
		client_send(&c, command);
		line = client_line(&c);
		o = json_tokener_parse(line);
		assert_non_null(o);
		for (char *p = line; (p = strchr(p, '\xc3')); p++)
			assert_int_equal(p[1], '\xa9');
		json_object_put(o);
		free(line);
		strcpy(command, "{\"execute\":\"xy");
	}
	client_close(&c);
}

/* ---- commands ---- */

static void test_monitor_lifecycle_commands_reach_the_vm(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_exchange(&c, "{\"execute\":\"stop\"}", "{\"event\":\"STOP\"}");
	client_expect(&c, "{\"return\":{}}");
	client_exchange(&c, "{\"execute\":\"query-status\"}",
			"{\"return\":{\"status\":\"paused\","
			"\"running\":false}}");
	client_exchange(&c, "{\"execute\":\"cont\"}", "{\"event\":\"RESUME\"}");
	client_expect(&c, "{\"return\":{}}");
	client_exchange(&c, "{\"execute\":\"system_powerdown\"}",
			"{\"event\":\"POWERDOWN\"}");
	client_expect(&c, "{\"return\":{}}");
	client_exchange(&c, "{\"execute\":\"system_reset\"}",
			"{\"event\":\"RESET\",\"data\":{\"guest\":false,"
			"\"reason\":\"host-qmp-system-reset\"}}");
	client_expect(&c, "{\"return\":{}}");
	client_exchange(&c, "{\"execute\":\"inject-nmi\"}", "{\"return\":{}}");
	assert_int_equal(q->vm.state, VM_RUNNING);
	assert_int_equal(q->vm.powerdowns, 1);
	assert_int_equal(q->vm.resets, 1);
	assert_int_equal(q->vm.nmis, 1);
	client_close(&c);
}

static void test_monitor_set_link_names_a_device(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_exchange(&c, "{\"execute\":\"set_link\",\"arguments\":"
			"{\"name\":\"net0\",\"up\":false}}",
			"{\"return\":{}}");
	assert_true(q->vm.link_down);
	client_exchange(&c, "{\"execute\":\"set_link\",\"arguments\":"
			"{\"name\":\"net0\",\"up\":true}}",
			"{\"return\":{}}");
	assert_false(q->vm.link_down);
	client_exchange(&c, "{\"execute\":\"set_link\",\"arguments\":"
			"{\"name\":\"x\",\"up\":true}}",
			"{\"error\":{\"class\":\"DeviceNotFound\","
			"\"desc\":\"Device 'x' not found\"}}");
	client_exchange(&c, "{\"execute\":\"set_link\",\"arguments\":"
			"{\"name\":\"net0\",\"up\":\"on\"}}",
			"{\"error\":{\"class\":\"GenericError\",\"desc\":"
			"\"Invalid parameter type for 'up', expected: "
			"boolean\"}}");
	client_close(&c);
}

static void test_monitor_vm_error_is_the_reply(void **state)
{
	static const char *const names[] = {
		"stop", "cont", "system_powerdown", "system_reset",
		"inject-nmi",
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);
	char command[64];

	for (size_t i = 0; i < COUNT(names); i++) {
		q->vm.fail = names[i];
		snprintf(command, sizeof(command), "{\"execute\":\"%s\"}",
			 names[i]);
		client_send(&c, command);
		client_expect_error(&c, "InvalidState", names[i]);
	}
	client_close(&c);
}

static void test_monitor_block_resize_names_a_disk(void **state)
{
	static const struct {
		const char *args, *says;
	} bad[] = {
		{ "\"size\":512", "device" },
		{ "\"device\":\"disk0\",\"node-name\":\"disk0\","
		  "\"size\":512", "device" },
		{ "\"device\":\"disk0\"", "size" },
		{ "\"device\":\"disk0\",\"size\":-512", "size" },
		{ "\"device\":0,\"size\":512", "device" },
		{ "\"device\":\"disk7\",\"size\":512", "disk7" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);
	char command[160];

	client_exchange(&c, "{\"execute\":\"block_resize\",\"arguments\":"
			    "{\"device\":\"disk0\",\"size\":1048576}}",
			"{\"return\":{}}");
	assert_int_equal(q->vm.disk_bytes, 1048576);
	client_exchange(&c, "{\"execute\":\"block_resize\",\"arguments\":"
			    "{\"node-name\":\"disk0\",\"size\":512}}",
			"{\"return\":{}}");
	for (size_t i = 0; i < COUNT(bad); i++) {
		snprintf(command, sizeof(command),
			 "{\"execute\":\"block_resize\",\"arguments\":{%s}}",
			 bad[i].args);
		client_send(&c, command);
		client_expect_error(&c, "GenericError", bad[i].says);
	}
	assert_int_equal(q->vm.disk_bytes, 512);
	client_close(&c);
}

static void test_monitor_queries_tell_the_configuration(void **state)
{
	static char id[] = "box\xff";
	static char uuid[] = "12345678-1234-1234-1234-1234567890ab";
	struct qmp *q = *state;
	struct client c = client_ready(q);
	struct utsname host;
	char expected[512];

	uname(&host);
	client_exchange(&c, "{\"execute\":\"query-name\"}", "{\"return\":{}}");
	q->vm.config.id = id;
	q->vm.config.uuid = uuid;
	client_exchange(&c, "{\"execute\":\"query-name\"}",
			"{\"return\":{\"name\":\"box?\"}}");
	client_exchange(&c, "{\"execute\":\"query-uuid\"}",
			"{\"return\":{\"UUID\":"
			"\"12345678-1234-1234-1234-1234567890ab\"}}");
	client_exchange(&c, "{\"execute\":\"query-version\"}",
			"{\"return\":{\"qemu\":{\"micro\":0,\"minor\":2,"
			"\"major\":8},\"package\":\"mote " MOTE_VERSION
			"\"}}");
	snprintf(expected, sizeof(expected),
		 "{\"return\":[{\"thread-id\":1000,\"props\":{\"core-id\":0,"
		 "\"thread-id\":0,\"socket-id\":0},\"qom-path\":"
		 "\"/machine/unattached/device[0]\",\"cpu-index\":0,"
		 "\"target\":\"%s\"},{\"thread-id\":1001,\"props\":"
		 "{\"core-id\":0,\"thread-id\":1,\"socket-id\":0},"
		 "\"qom-path\":\"/machine/unattached/device[1]\","
		 "\"cpu-index\":1,\"target\":\"%s\"}]}", host.machine,
		 host.machine);
	client_exchange(&c, "{\"execute\":\"query-cpus-fast\"}", expected);
	client_close(&c);
}

static void test_monitor_query_commands_lists_all_with_help(void **state)
{
	static const char *const names[] = {
		"qmp_capabilities", "query-version", "query-commands",
		"query-name", "query-uuid", "query-kvm", "query-status",
		"query-cpus-fast", "stop", "cont", "system_powerdown",
		"system_reset", "inject-nmi", "quit", "terminate", "wait",
	};
	struct client c = client_ready(*state);
	struct json_object *list;

	client_send(&c, "{\"execute\":\"query-commands\"}");
	list = client_result(&c);
	for (size_t n = 0; n < COUNT(names); n++) {
		int found = 0;

		for (size_t i = 0; i < json_object_array_length(list); i++) {
			struct json_object *o =
				json_object_array_get_idx(list, i), *help;
			const char *name = json_object_get_string(
				json_object_object_get(o, "name"));

			assert_true(json_object_object_get_ex(o, "help",
							      &help));
			assert_true(json_object_get_string_len(help) > 5);
			found += !strcmp(name, names[n]);
		}
		assert_int_equal(found, 1);
	}
	json_object_put(list);
	client_close(&c);
}

/* ---- events ---- */

static void test_monitor_events_reach_negotiated_clients_only(void **state)
{
	struct qmp *q = *state;
	struct client a = client_ready(q), b = client_ready(q);
	struct client raw = client_open(q);

	free(client_line(&raw));
	fake_vm_event(&q->vm, VM_EVENT_RESET, true, "guest-reset");
	fake_vm_event(&q->vm, VM_EVENT_PANICKED, true, "pause");
	for (int i = 0; i < 2; i++) {
		struct client *c = i ? &b : &a;

		client_expect(c, "{\"event\":\"RESET\",\"data\":{\"guest\":"
			      "true,\"reason\":\"guest-reset\"}}");
		client_expect(c, "{\"event\":\"GUEST_PANICKED\",\"data\":"
			      "{\"action\":\"pause\"}}");
	}
	qmp_settle(q);
	assert_true(client_is_quiet(&raw));
	client_exchange(&raw, NEGOTIATE, "{\"return\":{}}");
	client_close(&a);
	client_close(&b);
	client_close(&raw);
}

static void test_monitor_shutdown_reason_follows_the_exit_kind(void **state)
{
	static const struct {
		enum vm_exit_kind kind;
		const char *data;
	} cases[] = {
		{ VM_EXIT_POWEROFF, "true,\"reason\":\"guest-shutdown\"" },
		{ VM_EXIT_RESET, "true,\"reason\":\"guest-reset\"" },
		{ VM_EXIT_PANIC, "true,\"reason\":\"guest-panic\"" },
		{ VM_EXIT_TRIPLE_FAULT, "true,\"reason\":\"guest-panic\"" },
		{ VM_EXIT_KVM_ERROR, "false,\"reason\":\"host-error\"" },
		{ VM_EXIT_QUIT, "false,\"reason\":\"host-signal\"" },
		{ VM_EXIT_TERMINATED, "false,\"reason\":\"host-qmp-quit\"" },
		{ VM_EXIT_HOST_ERROR, "false,\"reason\":\"host-error\"" },
		{ VM_EXIT_PORT, "true,\"reason\":\"guest-shutdown\"" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);
	char expected[128];

	for (size_t i = 0; i < COUNT(cases); i++) {
		q->vm.state = VM_RUNNING;
		vm_end(&q->vm, cases[i].kind, 0, "why");
		snprintf(expected, sizeof(expected), "{\"event\":\"SHUTDOWN\","
			 "\"data\":{\"guest\":%s}}", cases[i].data);
		client_expect(&c, expected);
	}
	client_close(&c);
}

static void test_monitor_quit_replies_then_tells_shutdown(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_exchange(&c, "{\"execute\":\"quit\",\"id\":1}",
			"{\"id\":1,\"return\":{}}");
	client_expect(&c, "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,"
		      "\"reason\":\"host-qmp-quit\"}}");
	assert_int_equal(q->vm.report.kind, VM_EXIT_QUIT);
	assert_int_equal(q->vm.report.code, 0);
	client_close(&c);
}

static void test_monitor_terminate_ends_with_status_1(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_exchange(&c, "{\"execute\":\"terminate\"}", "{\"return\":{}}");
	client_expect(&c, "{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":false,"
		      "\"reason\":\"host-qmp-quit\"}}");
	assert_int_equal(q->vm.report.kind, VM_EXIT_TERMINATED);
	assert_int_equal(q->vm.report.code, 1);
	client_close(&c);
}

#define TEST(name) \
	cmocka_unit_test_setup_teardown(name, qmp_setup, qmp_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_monitor_greeting_is_qemus),
		TEST(test_monitor_before_negotiation_refuses_commands),
		TEST(test_monitor_unknown_capability_is_refused),
		TEST(test_monitor_bad_message_is_named_and_session_goes_on),
		TEST(test_monitor_id_of_any_type_is_echoed),
		TEST(test_monitor_long_command_name_gives_valid_utf8),
		TEST(test_monitor_lifecycle_commands_reach_the_vm),
		TEST(test_monitor_set_link_names_a_device),
		TEST(test_monitor_vm_error_is_the_reply),
		TEST(test_monitor_block_resize_names_a_disk),
		TEST(test_monitor_queries_tell_the_configuration),
		TEST(test_monitor_query_commands_lists_all_with_help),
		TEST(test_monitor_events_reach_negotiated_clients_only),
		TEST(test_monitor_shutdown_reason_follows_the_exit_kind),
		TEST(test_monitor_quit_replies_then_tells_shutdown),
		TEST(test_monitor_terminate_ends_with_status_1),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
