/* SPDX-License-Identifier: MIT */
/*
 * Block nodes: what blockdev-add names and device_add's drive= refers to. A
 * node is a description; the disk made from it opens the file. Main thread.
 */
#ifndef MOTE_MONITOR_BLOCK_NODES_H
#define MOTE_MONITOR_BLOCK_NODES_H

#include <json-c/json.h>

#include "config/config.h"
#include "error.h"

struct monitor;

struct block_node {
	struct block_node *next;
	char *name;
	char *driver;		/* of the protocol: "file", "host_device" */
	char *child;		/* a raw node over another one by its name */
	struct config_disk disk; /* path and how it is opened; no id */
};

/* NULL when there is none. */
struct block_node *block_node_find(const struct monitor *m, const char *name);
/* The device made from it, or from a node over it; NULL: none. */
const struct device *block_node_user(const struct monitor *m,
				     const struct block_node *node);
void block_nodes_destroy(struct monitor *m);

#endif
