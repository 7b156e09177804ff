/* SPDX-License-Identifier: MIT */
/* WITH: qmp_fixture */
/* query-blockstats and the disks in stats, over disks that have counted. */
#include "qmp_fixture.h"

static struct client with_disk(struct qmp *q)
{
	struct client c = client_ready(q);

	client_send(&c, "{\"execute\": \"disk-add\", \"arguments\": "
		    "{\"path\": \"/a\", \"id\": \"a\"}}\n");
	json_object_put(client_result(&c));
	return c;
}

static void test_blockstats_are_of_qemus_shape(void **state)
{
	struct client c = with_disk(*state);

	client_exchange(&c, "{\"execute\": \"query-blockstats\"}\n",
		"{\"return\": [{\"device\": \"\", "
		"\"qdev\": \"/machine/peripheral/a/virtio-backend\", "
		"\"node-name\": \"#a\", \"stats\": {"
		"\"rd_bytes\": 2, \"rd_operations\": 1, "
		"\"rd_total_time_ns\": 3, \"failed_rd_operations\": 4, "
		"\"invalid_rd_operations\": 5, \"rd_merged\": 0, "
		"\"wr_bytes\": 7, \"wr_operations\": 6, "
		"\"wr_total_time_ns\": 8, \"failed_wr_operations\": 9, "
		"\"invalid_wr_operations\": 10, \"wr_merged\": 0, "
		"\"flush_operations\": 11, \"flush_total_time_ns\": 12, "
		"\"failed_flush_operations\": 13, "
		"\"invalid_flush_operations\": 14, "
		"\"unmap_bytes\": 16, \"unmap_operations\": 15, "
		"\"unmap_total_time_ns\": 17, \"failed_unmap_operations\": 18, "
		"\"invalid_unmap_operations\": 19, \"unmap_merged\": 0, "
		"\"zone_append_bytes\": 0, \"zone_append_operations\": 0, "
		"\"zone_append_total_time_ns\": 0, "
		"\"failed_zone_append_operations\": 0, "
		"\"invalid_zone_append_operations\": 0, "
		"\"zone_append_merged\": 0, \"wr_highest_offset\": 20, "
		"\"account_invalid\": true, \"account_failed\": true, "
		"\"timed_stats\": []}}]}");
	client_close(&c);
}

static void test_blockstats_of_nodes_name_no_devices(void **state)
{
	struct client c = with_disk(*state);
	struct json_object *r, *o;

	client_send(&c, "{\"execute\": \"query-blockstats\", \"arguments\": "
		    "{\"query-nodes\": true}}\n");
	r = client_result(&c);
	assert_int_equal(json_object_array_length(r), 1);
	o = json_object_array_get_idx(r, 0);
	assert_false(json_object_object_get_ex(o, "device", NULL));
	assert_string_equal(json_object_get_string(
		json_object_object_get(o, "node-name")), "#a");
	assert_true(json_object_object_get_ex(o, "stats", NULL));
	json_object_put(r);
	client_close(&c);
}

static void test_stats_count_for_each_disk(void **state)
{
	static const struct {
		const char *name;
		int value;
	} members[] = {
		{ "reads", 1 }, { "read-bytes", 2 }, { "read-time-ns", 3 },
		{ "read-errors", 9 }, { "writes", 6 }, { "write-bytes", 7 },
		{ "write-time-ns", 8 }, { "write-errors", 19 },
		{ "flushes", 11 }, { "flush-time-ns", 12 },
		{ "flush-errors", 27 }, { "discards", 15 },
		{ "discard-bytes", 16 }, { "discard-time-ns", 17 },
		{ "discard-errors", 37 },
	};
	struct client c = with_disk(*state);
	struct json_object *r, *o;

	client_send(&c, "{\"execute\": \"stats\", \"arguments\": "
		    "{\"types\": [\"disk\"]}}\n");
	r = client_result(&c);
	o = json_object_array_get_idx(json_object_object_get(r, "disk"), 0);
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		assert_int_equal(json_object_get_int(json_object_object_get(
			o, members[i].name)), members[i].value);
	json_object_put(r);
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, qmp_setup, qmp_teardown)
		T(test_blockstats_are_of_qemus_shape),
		T(test_blockstats_of_nodes_name_no_devices),
		T(test_stats_count_for_each_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
