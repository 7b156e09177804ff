/* SPDX-License-Identifier: MIT */
/* The drivers that device_add knows: a table. Main thread. */
#ifndef MOTE_MONITOR_DRIVERS_H
#define MOTE_MONITOR_DRIVERS_H

#include "monitor/internal.h"
#include "monitor/props.h"
#include "vm_devices.h"

struct driver {
	const char *name;
	const struct prop *props;	/* its own, checked before add() */
	bool no_slot;			/* its bus is not PCI: spec has no place */
	/*
	 * Adds the device. spec has id and place; type and config are to be
	 * filled in, then vm_device_add().
	 */
	int (*add)(struct session *s, struct json_object *args,
		   struct device_spec spec, struct error *e);
};

/* Ends with a NULL name. */
extern const struct driver drivers[];

/* commands_pmem.c */
extern const struct prop driver_pmem_props[];
int driver_pmem_add(struct session *s, struct json_object *args,
		    struct device_spec spec, struct error *e);

/* commands_share.c */
extern const struct prop driver_9p_props[];
int driver_9p_add(struct session *s, struct json_object *args,
		  struct device_spec spec, struct error *e);

/* commands_cpu.c */
extern const struct prop driver_cpu_props[];
int driver_cpu_add(struct session *s, struct json_object *args,
		   struct device_spec spec, struct error *e);

/* drivers_block.c */
extern const struct prop driver_blk_props[];
int driver_blk_add(struct session *s, struct json_object *args,
		   struct device_spec spec, struct error *e);

/* drivers_memory.c */
extern const struct prop driver_balloon_props[];
int driver_balloon_add(struct session *s, struct json_object *args,
		       struct device_spec spec, struct error *e);
extern const struct prop driver_mem_props[];
int driver_mem_add(struct session *s, struct json_object *args,
		   struct device_spec spec, struct error *e);

/* drivers_dimm.c */
extern const struct prop driver_dimm_props[];
int driver_dimm_add(struct session *s, struct json_object *args,
		    struct device_spec spec, struct error *e);

/* netdevs.c */
extern const struct prop driver_net_props[];
int driver_net_add(struct session *s, struct json_object *args,
		   struct device_spec spec, struct error *e);

/* drivers_vsock.c */
extern const struct prop driver_vsock_props[];
int driver_vsock_add(struct session *s, struct json_object *args,
		     struct device_spec spec, struct error *e);

/* drivers_serial.c */
extern const struct prop driver_serial_props[], driver_port_props[];
int driver_serial_add(struct session *s, struct json_object *args,
		      struct device_spec spec, struct error *e);
int driver_port_add(struct session *s, struct json_object *args,
		    struct device_spec spec, struct error *e);
int driver_virtconsole_add(struct session *s, struct json_object *args,
			   struct device_spec spec, struct error *e);

#endif
