/* SPDX-License-Identifier: MIT */
/* WITH: qmp_fixture */
/* The monitor's commands about shares, over a VM that only keeps books. */
#include "qmp_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define OK	"{\"return\": {}}"

/* Directories: a, b, and link, which leads to a. */
static char top[96];

static int setup(void **state)
{
	int ret = qmp_setup(state);
	const struct qmp *q = *state;

	snprintf(top, sizeof(top), "%s/share", q->dir);
	assert_int_equal(mkdir(top, 0700), 0);
	assert_int_equal(chdir(top), 0);
	assert_int_equal(mkdir("a", 0700), 0);
	assert_int_equal(mkdir("b", 0700), 0);
	assert_int_equal(symlink("a", "link"), 0);
	return ret;
}

static int teardown(void **state)
{
	unlink("link");
	rmdir("a");
	rmdir("b");
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(rmdir(top), 0);
	return qmp_teardown(state);
}

static void counted(struct client *c, const char *command, const char *args,
		    const char *tag, int refs)
{
	char text[128];

	client_run(c, command, args);
	snprintf(text, sizeof(text),
		 "{\"return\": {\"tag\": \"%s\", \"refs\": %d}}", tag, refs);
	client_expect(c, text);
}

#define REFUSED(c, table) \
	client_refused(c, table, sizeof(table) / sizeof(table[0]))

static const struct config_9p *config_of(struct qmp *q, const char *id)
{
	const struct device *d = vm_device_find(&q->vm, id);

	assert_non_null(d);
	assert_int_equal(d->type, DEVICE_9P);
	return d->config;
}

/* A number, or true, of that share in the reply to stats. */
static int share_in(struct json_object *r, const char *tag, const char *key)
{
	struct json_object *list = json_object_object_get(r, "share"), *o;

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		o = json_object_array_get_idx(list, i);
		if (!strcmp(json_object_get_string(
				    json_object_object_get(o, "tag")), tag))
			return json_object_get_int(
				json_object_object_get(o, key));
	}
	return -1;
}

static void test_share_is_counted_until_the_guest_lets_it_go(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);
	struct json_object *r;

	counted(&c, "share-add", "{\"path\":\"a\"}", "share0", 1);
	counted(&c, "share-add", "{\"path\":\"./link\"}", "share0", 2);
	counted(&c, "share-add", "{\"path\":\"b\",\"tag\":\"b\",\"readonly\":"
		"\"on\",\"allowed\":[\"x\",\"y\"],\"msize\":\"64K\"}", "b", 1);
	assert_string_equal(config_of(q, "share-b")->allowed, "x:y");
	assert_true(config_of(q, "share-b")->readonly);
	assert_int_equal(config_of(q, "share-b")->msize_bytes, 65536);
	/* The path is kept as it was found. */
	assert_int_equal(*config_of(q, "share-share0")->path, '/');
	client_run(&c, "stats", "{\"types\":[\"share\"]}");
	r = client_result(&c);
	assert_int_equal(share_in(r, "share0", "refs"), 2);
	assert_int_equal(share_in(r, "share0", "readonly"), 0);
	assert_int_equal(share_in(r, "b", "refs"), 1);
	assert_int_equal(share_in(r, "b", "readonly"), 1);
	json_object_put(r);
	counted(&c, "share-remove", "{\"path\":\"a\"}", "share0", 1);
	assert_non_null(vm_device_find(&q->vm, "share-share0"));
	client_run(&c, "share-remove", "{\"path\":\"link\",\"timeout-ms\":60000}");
	qmp_settle(q);
	assert_true(client_is_quiet(&c));
	fake_vm_let_go(&q->vm, "share-share0");
	client_expect(&c, "{\"event\": \"DEVICE_DELETED\", \"data\": "
		      "{\"device\": \"share-share0\", \"path\": "
		      "\"/machine/peripheral/share-share0\"}}");
	client_expect(&c, "{\"return\": {\"tag\": \"share0\", \"refs\": 0}}");
	client_run(&c, "share-remove", "{\"path\":\"a\"}");
	client_expect_error(&c, "NotAttached", "a is not shared");
	client_close(&c);
}

static void test_share_that_the_guest_keeps_stays(void **state)
{
	static const struct refused_command kept[] = {
		{ "share-remove", "{\"tag\":\"t\",\"timeout-ms\":0}",
		  "GenericError", "share-t" },
		{ "share-add", "{\"path\":\"a\"}", "InvalidState", "'t'" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	counted(&c, "share-add", "{\"path\":\"a\",\"tag\":\"t\"}", "t", 1);
	REFUSED(&c, kept);
	client_run(&c, "share-remove",
		   "{\"path\":\"a\",\"timeout-ms\":0,\"force\":true}");
	client_expect(&c, "{\"event\": \"DEVICE_DELETED\", \"data\": "
		      "{\"device\": \"share-t\", \"path\": "
		      "\"/machine/peripheral/share-t\"}}");
	client_expect(&c, "{\"return\": {\"tag\": \"t\", \"refs\": 0}}");
	/* The directory's own end changes nothing about its name. */
	counted(&c, "share-add", "{\"path\":\"a\",\"tag\":\"t\"}", "t", 1);
	assert_int_equal(rmdir("a"), 0);
	client_run(&c, "share-remove", "{\"path\":\"/nowhere\",\"tag\":\"t\"}");
	client_expect_error(&c, "NotAttached", "/nowhere is not shared as t");
	client_run(&c, "share-remove", "{\"tag\":\"t\",\"timeout-ms\":10}");
	client_expect_error(&c, "GenericError", "share-t");
	client_close(&c);
}

static void test_share_before_the_guest_runs(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	q->vm.state = VM_PRELAUNCH;
	counted(&c, "share-add", "{\"path\":\"a\",\"id\":\"mine\"}", "share0",
		1);
	client_run(&c, "share-remove", "{\"path\":\"a\"}");
	client_expect(&c, "{\"event\": \"DEVICE_DELETED\", \"data\": "
		      "{\"device\": \"mine\", \"path\": "
		      "\"/machine/peripheral/mine\"}}");
	client_expect(&c, "{\"return\": {\"tag\": \"share0\", \"refs\": 0}}");
	client_close(&c);
}

static void test_share_refusals_change_nothing(void **state)
{
	static const struct refused_command refusals[] = {
		{ "share-add", "{}", "MissingParameter", "'path'" },
		{ "share-add", "{\"path\":\"nowhere\"}", "InvalidConfig",
		  "nowhere" },
		{ "share-add", "{\"path\":\"a\",\"readonly\":true}",
		  "AlreadyAttached", "readonly" },
		{ "share-add", "{\"path\":\"a\",\"allowed\":\"x\"}",
		  "AlreadyAttached", "allowed" },
		{ "share-add", "{\"path\":\"a\",\"tag\":\"u\"}",
		  "AlreadyAttached", "tag" },
		{ "share-add", "{\"path\":\"a\",\"msize\":8192}",
		  "AlreadyAttached", "msize" },
		{ "share-add", "{\"path\":\"b\",\"tag\":\"t\"}",
		  "AlreadyAttached", "'t'" },
		{ "share-add", "{\"path\":\"b\",\"id\":\"share-t\"}",
		  "AlreadyAttached", "'share-t'" },
		{ "share-add", "{\"path\":\"b\",\"id\":\"-\"}",
		  "InvalidConfig", "id" },
		{ "share-add", "{\"path\":\"b\",\"allowed\":\"x/y\"}",
		  "InvalidConfig", "x/y" },
		{ "share-add", "{\"path\":\"b\",\"allowed\":[1]}",
		  "InvalidConfig", "1" },
		{ "share-add", "{\"path\":\"b\",\"msize\":\"2M\"}",
		  "InvalidConfig", "msize" },
		{ "share-add", "{\"path\":\"b\",\"tag\":\"a\\nb\"}",
		  "InvalidConfig", "tag" },
		{ "share-add", "{\"path\":\"b\",\"writable\":true}",
		  "InvalidConfig", "'writable'" },
		{ "share-remove", "{}", "MissingParameter", "path or tag" },
		{ "share-remove", "{\"tag\":\"u\"}", "NotAttached", "u" },
		{ "share-remove", "{\"path\":\"b\"}", "NotAttached", "b" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	counted(&c, "share-add", "{\"path\":\"a\",\"tag\":\"t\"}", "t", 1);
	REFUSED(&c, refusals);
	q->vm.fail = "device_add";
	client_run(&c, "share-add", "{\"path\":\"b\"}");
	client_expect_error(&c, "InvalidState", "refused");
	q->vm.fail = NULL;
	counted(&c, "share-add", "{\"path\":\"a\"}", "t", 2);
	assert_null(q->vm.devices->next);
	client_close(&c);
}

static void test_share_by_device_add(void **state)
{
	static const struct refused_command refusals[] = {
		{ "device_add", "{\"driver\":\"virtio-9p-pci\",\"path\":\"a\"}",
		  "GenericError", "mount_tag" },
		{ "device_add", "{\"driver\":\"virtio-9p-pci\","
		  "\"mount_tag\":\"u\"}", "GenericError", "fsdev and path" },
		{ "device_add", "{\"driver\":\"virtio-9p-pci\",\"fsdev\":"
		  "\"none\",\"mount_tag\":\"u\"}", "DeviceNotFound", "'none'" },
		{ "device_add", "{\"driver\":\"virtio-9p-pci\",\"path\":\"b\","
		  "\"mount_tag\":\"t\"}", "AlreadyAttached", "'t'" },
		{ "object-del", "{\"id\":\"f\"}", "GenericError", "in use" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_run(&c, "object-add", "{\"qom-type\":\"fsdev-local\",\"id\":\"f\","
		   "\"path\":\"a\",\"readonly\":\"on\","
		   "\"security_model\":\"none\"}");
	client_expect(&c, OK);
	client_run(&c, "device_add", "{\"driver\":\"virtio-9p-pci\",\"id\":\"d\","
		   "\"fsdev\":\"f\",\"mount_tag\":\"t\",\"bus\":\"pcie.1\"}");
	client_expect(&c, OK);
	assert_true(config_of(q, "d")->readonly);
	assert_string_equal(config_of(q, "d")->tag, "t");
	assert_string_equal(config_of(q, "d")->id, "d");
	REFUSED(&c, refusals);
	/* It is counted like any other, which of several with the same rights. */
	client_run(&c, "device_add", "{\"driver\":\"virtio-9p-pci\",\"id\":\"w\","
		   "\"path\":\"a\",\"mount_tag\":\"w\"}");
	client_expect(&c, OK);
	counted(&c, "share-add", "{\"path\":\"a\"}", "w", 2);
	counted(&c, "share-add", "{\"path\":\"a\",\"readonly\":true}", "t", 2);
	counted(&c, "share-remove", "{\"path\":\"a\",\"tag\":\"t\"}", "t", 1);
	client_exchange(&c, "{\"execute\": \"supported\", \"arguments\": "
			"{\"resource\": \"share\", \"operation\": \"add\"}}\n",
			"{\"return\": true}");
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(test_share_is_counted_until_the_guest_lets_it_go),
		T(test_share_that_the_guest_keeps_stays),
		T(test_share_before_the_guest_runs),
		T(test_share_refusals_change_nothing),
		T(test_share_by_device_add),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
