/* SPDX-License-Identifier: MIT */
/* query-blockstats, and the disks' part of stats. Main thread. */
#include "monitor/internal.h"
#include "vm_devices.h"

static void put(struct json_object *o, const char *key, uint64_t n)
{
	json_object_object_add(o, key, json_object_new_uint64(n));
}

/* QEMU's BlockDeviceStats, in which each kind of request has its own names. */
static const struct {
	const char *bytes, *operations, *time_ns, *failed, *invalid, *merged;
} names[] = {
	{ "rd_bytes", "rd_operations", "rd_total_time_ns",
	  "failed_rd_operations", "invalid_rd_operations", "rd_merged" },
	{ "wr_bytes", "wr_operations", "wr_total_time_ns",
	  "failed_wr_operations", "invalid_wr_operations", "wr_merged" },
	{ NULL, "flush_operations", "flush_total_time_ns",
	  "failed_flush_operations", "invalid_flush_operations", NULL },
	{ "unmap_bytes", "unmap_operations", "unmap_total_time_ns",
	  "failed_unmap_operations", "invalid_unmap_operations",
	  "unmap_merged" },
	/* There are no zoned disks. */
	{ "zone_append_bytes", "zone_append_operations",
	  "zone_append_total_time_ns", "failed_zone_append_operations",
	  "invalid_zone_append_operations", "zone_append_merged" },
};

static struct json_object *stats_json(const struct device *d)
{
	static const struct virtio_blk_count none;
	struct json_object *o = json_object_new_object();
	struct virtio_blk_counters sum;
	const struct virtio_blk_count *counts[] = {
		&sum.reads, &sum.writes, &sum.flushes, &sum.discards, &none,
	};

	vm_disk_count(d, &sum);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].bytes)
			put(o, names[i].bytes, counts[i]->bytes);
		put(o, names[i].operations, counts[i]->operations);
		put(o, names[i].time_ns, counts[i]->time_ns);
		put(o, names[i].failed, counts[i]->failed);
		put(o, names[i].invalid, counts[i]->invalid);
		/* Nothing is merged on the way. */
		if (names[i].merged)
			put(o, names[i].merged, 0);
	}
	put(o, "wr_highest_offset", sum.write_end_bytes);
	json_object_object_add(o, "account_invalid",
			       json_object_new_boolean(true));
	json_object_object_add(o, "account_failed",
			       json_object_new_boolean(true));
	json_object_object_add(o, "timed_stats", json_object_new_array());
	return o;
}

static int query_blockstats(struct session *s, struct json_object *args,
			    struct json_object **result, struct error *e)
{
	bool nodes = arg_bool(args, "query-nodes", false);
	struct vm *vm = s->monitor->vm;

	(void)e;
	*result = json_object_new_array();
	for (const struct device *d = vm_device_first(vm); d; d = d->next) {
		struct json_object *o;

		if (d->type != DEVICE_DISK)
			continue;
		o = json_object_new_object();
		if (!nodes)
			query_block_put_device(o, d);
		query_block_put_node(o, d);
		json_object_object_add(o, "stats", stats_json(d));
		json_object_array_add(*result, o);
	}
	return 0;
}

void disk_put_counters(struct json_object *o, const struct device *d)
{
	struct virtio_blk_counters sum;

	vm_disk_count(d, &sum);
	put(o, "reads", sum.reads.operations);
	put(o, "read-bytes", sum.reads.bytes);
	put(o, "read-errors", sum.reads.failed + sum.reads.invalid);
	put(o, "read-time-ns", sum.reads.time_ns);
	put(o, "writes", sum.writes.operations);
	put(o, "write-bytes", sum.writes.bytes);
	put(o, "write-errors", sum.writes.failed + sum.writes.invalid);
	put(o, "write-time-ns", sum.writes.time_ns);
	put(o, "flushes", sum.flushes.operations);
	put(o, "flush-errors", sum.flushes.failed + sum.flushes.invalid);
	put(o, "flush-time-ns", sum.flushes.time_ns);
	put(o, "discards", sum.discards.operations);
	put(o, "discard-bytes", sum.discards.bytes);
	put(o, "discard-errors", sum.discards.failed + sum.discards.invalid);
	put(o, "discard-time-ns", sum.discards.time_ns);
}

static const struct command_arg blockstats_args[] = {
	{ "query-nodes", ARG_BOOL, false },
	{ 0 },
};

static const struct command commands[] = {
	{
		.name = "query-blockstats",
		.help = "What the disks have read, written, flushed and "
			"discarded, [query-nodes]",
		.args = blockstats_args,
		.run = query_blockstats,
	},
};

const struct command_group block_stats_commands = {
	commands, sizeof(commands) / sizeof(commands[0]),
};
