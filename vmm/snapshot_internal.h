/* SPDX-License-Identifier: MIT */
/* What the files of saving share: snapshot.c, saved_vm.c, save_config.c. */
#ifndef MOTE_SNAPSHOT_INTERNAL_H
#define MOTE_SNAPSHOT_INTERNAL_H

#include "devices.h"
#include "save/memory_file.h"
#include "save/state_file.h"
#include "snapshot.h"

/* Sections, in the order of the file. All but the devices and vCPUs are there
 * once. */
#define TAG_CONFIG	"config"
#define TAG_CPU		"cpu"
#define TAG_MACHINE	"machine"
#define TAG_VCPU	"vcpu"
#define TAG_BOARD	"board"
#define TAG_DEVICE	"device"
#define TAG_MEMORY	"memory"

/* The files of a directory. */
#define STATE_NAME	"state"
#define MEMORY_NAME	"memory"
#define CONFIG_NAME	"config.json"

#define DEVICE_ID_BYTES	256

/* The beginning of a device's section: which it is. */
struct saved_device {
	enum device_type type;
	char id[DEVICE_ID_BYTES];
	uint8_t bus, slot;
	bool removing;		/* the guest was asked to let it go */
};

void saved_device_put(struct state_writer *w, const struct device *device);
/* -EPROTO, or what the reader says. */
int saved_device_get(struct saved_device *d, struct state_reader *r);

struct saved_vm {
	char *path;			/* of the state file, for messages */
	uint8_t *data;
	size_t len_bytes;
	struct state_view view;
	char *config;
	int memory_fd;			/* -1: none */
	struct memory_map map;
	enum restore_memory mode;
	struct saved_device *devices;
	size_t device_count;
};

/* What went wrong with a section; ret is negative, returned. */
int saved_vm_section_error(const struct saved_vm *s, const char *tag,
			   uint32_t instance, int ret, struct error *e);

/* devices_params.place: opaque is a struct saved_vm. */
int saved_vm_place(const void *opaque, enum device_type type, const char *id,
		   int *bus, int *slot, struct error *e);

/*
 * The configuration that makes the VM as it is now, with paths that hold from
 * any directory and without what belongs to the process. malloc()ed JSON.
 */
int save_config_text(const struct vm_config *c, const struct devices *devices,
		     char **out, struct error *e);

#endif
