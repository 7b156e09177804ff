/* SPDX-License-Identifier: MIT */
/* WITH: qmp_fixture */
/* The monitor's commands about vsock ports, over a fake VM. */
#include "qmp_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "devices.h"

static void test_vsock_listen_takes_all_arguments(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);
	struct vsock_service *s = &q->vm.service;

	client_run(&c, "vsock-listen", "{\"port\":4294967295}");
	client_expect(&c, "{\"return\":{}}");
	assert_true(q->vm.service_listen);
	assert_true(s->port == 4294967295u && !s->path && !s->once);
	assert_true(!s->disabled && !s->uid_count);
	client_run(&c, "vsock-service-set", "{\"port\":0,\"path\":\"/p\",\"once\":true,"
		   "\"disabled\":true,\"allow-uid\":[7,4294967294]}");
	client_expect(&c, "{\"return\":{}}");
	assert_false(q->vm.service_listen);
	assert_string_equal(q->vm.service_path, "/p");
	assert_true(s->once && s->disabled);
	assert_int_equal(s->uid_count, 2);
	assert_int_equal(q->vm.service_uids[1], 4294967294u);
	client_run(&c, "vsock-service-set", "{\"port\":1,\"allow-uid\":0}");
	client_expect(&c, "{\"return\":{}}");
	assert_int_equal(s->uid_count, 1);
	client_run(&c, "vsock-service-remove", "{\"port\":77}");
	client_expect(&c, "{\"return\":{}}");
	assert_int_equal(q->vm.removed_port, 77);
	q->vm.fail = "vsock-listen";
	client_run(&c, "vsock-listen", "{\"port\":1}");
	client_expect_error(&c, "InvalidState", "refused");
	client_close(&c);
}

static void test_vsock_bad_arguments_are_named(void **state)
{
	static const struct {
		const char *args, *named;
	} bad[] = {
		{ "{}", "'port'" },
		{ "{\"port\":\"x\"}", "'port'" },
		{ "{\"port\":-1}", "'port'" },
		{ "{\"port\":4294967296}", "4294967296" },
		{ "{\"port\":1,\"path\":3}", "'path'" },
		{ "{\"port\":1,\"path\":\"a\\u0000b\"}", "'path'" },
		{ "{\"port\":1,\"once\":1}", "'once'" },
		{ "{\"port\":1,\"allow-uid\":\"root\"}", "root" },
		{ "{\"port\":1,\"allow-uid\":[]}", "allow-uid" },
		{ "{\"port\":1,\"allow-uid\":[-1]}", "-1" },
		{ "{\"port\":1,\"allow-uid\":[1,null]}", "null" },
		{ "{\"port\":1,\"allow-uid\":4294967295}", "4294967295" },
		{ "{\"port\":1,\"uid\":1}", "'uid'" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);
	struct json_object *o;
	char error[512];

	q->vm.service.port = 99;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char *line;

		client_run(&c, "vsock-service-set", bad[i].args);
		line = client_line(&c);
		snprintf(error, sizeof(error), "%s", line);
		free(line);
		o = json_tokener_parse(error);
		assert_true(json_object_object_get_ex(o, "error", NULL));
		json_object_put(o);
		if (!strstr(error, bad[i].named))
			assert_string_equal(error, bad[i].named);
	}
	client_run(&c, "vsock-service-remove", "{\"port\":1,\"path\":\"x\"}");
	client_expect_error(&c, "InvalidConfig", "'path'");
	assert_int_equal(q->vm.service.port, 99);
	client_close(&c);
}

static void test_vsock_device_is_added_by_its_cid(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_run(&c, "device_add", "{\"driver\":\"vhost-vsock-pci\"}");
	client_expect_error(&c, "GenericError", "guest-cid");
	client_run(&c, "device_add", "{\"driver\":\"vhost-vsock-pci\","
		   "\"guest-cid\":2}");
	client_expect_error(&c, "GenericError", "guest-cid");
	client_run(&c, "device_add", "{\"driver\":\"vhost-vsock-pci\","
		   "\"guest-cid\":4294967296}");
	client_expect_error(&c, "GenericError", "4294967296");
	client_run(&c, "device_add", "{\"driver\":\"vhost-vsock-pci\","
		   "\"guest-cid\":3,\"vhostfd\":\"nothing\"}");
	client_expect_error(&c, "GenericError", "nothing");
	assert_null(q->vm.devices);
	client_run(&c, "device_add", "{\"driver\":\"vhost-vsock-pci\",\"id\":\"v\","
		   "\"guest-cid\":\"4294967294\",\"disable-modern\":\"false\"}");
	client_expect(&c, "{\"return\":{}}");
	assert_int_equal(q->vm.devices->type, DEVICE_VSOCK);
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_vsock_listen_takes_all_arguments, qmp_setup,
			qmp_teardown),
		cmocka_unit_test_setup_teardown(
			test_vsock_bad_arguments_are_named, qmp_setup,
			qmp_teardown),
		cmocka_unit_test_setup_teardown(
			test_vsock_device_is_added_by_its_cid, qmp_setup,
			qmp_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
