/* SPDX-License-Identifier: MIT */
/* What the files of saving share: snapshot.c, saved_vm.c, save_config.c. */
#ifndef MOTE_SNAPSHOT_INTERNAL_H
#define MOTE_SNAPSHOT_INTERNAL_H

#include <limits.h>

#include "devices.h"
#include "dirty.h"
#include "save/memory_file.h"
#include "save/state_file.h"
#include "snapshot.h"
#include "vm_mems.h"

/* Sections. All but the devices and vCPUs are there once. */
#define TAG_SAVE	"save"
#define TAG_CONFIG	"config"
#define TAG_CPU		"cpu"
#define TAG_MACHINE	"machine"
#define TAG_VCPU	"vcpu"
#define TAG_BOARD	"board"
#define TAG_DEVICE	"device"
#define TAG_DIMMS	"dimms"
#define TAG_MEMORY	"memory"
/* Only where there are any. */
#define TAG_MEMS	"mems"
#define TAG_PORTS	"ports"

/* The files of a directory. */
#define STATE_NAME	"state"
#define MEMORY_NAME	"memory"
#define CONFIG_NAME	"config.json"

#define DEVICE_ID_BYTES	256

/* Longer chains take longer to open than to merge. */
#define SAVED_MAX_LAYERS 64

/* The beginning of a device's section: which it is. */
struct saved_device {
	enum device_type type;
	char key[DEVICE_ID_BYTES];	/* device_key() */
	char id[DEVICE_ID_BYTES];	/* empty: none */
	uint8_t bus, slot;
	bool removing;		/* the guest was asked to let it go */
	/* Of a disk CONFIG_DISK_ADDRESS(), of pmem 1 + its slot; or 0. */
	uint32_t address;
	uint32_t uses;		/* of a share: device_use(); 0: unknown */
	uint64_t base;		/* of pmem: where the guest has it; 0: unknown */
};

/* The room of a virtio-mem; bytes. */
struct saved_mem {
	char memdev[DEVICE_ID_BYTES];	/* empty: --memory's */
	uint64_t base, bytes, open;
};

void saved_device_put(struct state_writer *w, const struct device *device);
/* -EPROTO, or what the reader says. */
int saved_device_get(struct saved_device *d, struct state_reader *r);
/* Persistent memory goes where it was; c's devices have ids. */
void saved_device_place_pmems(const struct saved_device *devices, size_t count,
			      struct vm_config *c);

/* The section of that name: which save it is, and of what. */
struct save_identity {
	uint8_t id[DIRTY_ID_BYTES];
	bool is_diff;			/* then: */
	uint8_t base_id[DIRTY_ID_BYTES];
	/* The base's state file, from the directory of this one, and from the
	 * root. */
	char base_relative[PATH_MAX], base_absolute[PATH_MAX];
};

void save_identity_put(const struct save_identity *s, struct state_writer *w);
/* -EPROTO, or what the reader says. */
int save_identity_get(struct save_identity *s, struct state_reader *r);

/* base: a state file. The diff will be in a directory, or else in a state file. */
int save_identity_place_base(struct save_identity *s, const char *base,
			     const char *directory, const char *state,
			     struct error *e);

struct saved_vm {
	char *path;			/* of the state file, for messages */
	struct save_identity identity;
	struct saved_vm *base;		/* of a diff */
	uint8_t *data;
	size_t len_bytes;
	struct state_view view;
	char *config;
	char *memory_path;
	int memory_fd;			/* -1: none */
	struct memory_map map;
	enum restore_memory mode;
	uint64_t hot_bytes;		/* of the memory, in the room for more */
	struct saved_device *devices;
	size_t device_count;
	struct saved_mem mems[VM_MEMS_MAX];
	uint32_t mem_count;		/* 0: of an older save, see hot_bytes */
};

/*
 * As saved_vm_open(), of the state in a stream: data, malloc()ed, is the caller's
 * and must stay as long. Without the sections `save` and `memory`. Any thread.
 */
int saved_vm_from_state(struct saved_vm **out, const uint8_t *data,
			size_t len_bytes, struct error *e);

/* saved_mems.c: s->mems. stream: there is no section `memory`. */
int saved_mems_read(struct saved_vm *s, bool stream, struct error *e);

/* Are there as many vCPUs as such a VM can have? */
int saved_vm_check_cpus(const struct saved_vm *s, const struct config_cpus *c,
			struct error *e);

/* What went wrong with a section; ret is negative, returned. */
int saved_vm_section_error(const struct saved_vm *s, const char *tag,
			   uint32_t instance, int ret, struct error *e);

/*
 * saved_vm_open(), of one that lies under depth others. id: which one it must be,
 * or NULL; SAVED_ANOTHER: it is not, and nothing below it was looked at.
 */
#define SAVED_ANOTHER 1
int saved_vm_open_at(struct saved_vm **out, const char *path,
		     unsigned int depth, const uint8_t *id, struct error *e);
/* saved_chain.c: opens what s builds on, if anything. */
int saved_vm_open_base(struct saved_vm *s, unsigned int depth, struct error *e);
/* dir/name, malloc()ed; of a state file, what is beside it. -ENOMEM */
int saved_vm_beside(const struct saved_vm *s, const char *name, char **out);
/* A save and its bases, the full one first. -E2BIG */
int saved_vm_layers(const struct saved_vm *s,
		    struct memory_layer layers[SAVED_MAX_LAYERS],
		    struct error *e);

/* The file of the full save, with which RAM begins. */
int saved_vm_lowest_file(const struct saved_vm *s, uint64_t *len_bytes);

/* devices_params.place: opaque is a struct saved_vm. */
int saved_vm_place(const void *opaque, enum device_type type, const char **id,
		   int *bus, int *slot, struct error *e);

/*
 * The configuration that makes the VM as it is now, with paths that hold from
 * any directory and without what belongs to the process. malloc()ed JSON.
 */
int save_config_text(const struct vm *vm, char **out, struct error *e);

/* All sections but `save` and `memory`. snapshot.c */
int snapshot_save(struct vm *vm, struct state_file *f, const char *config,
		  struct error *e);

#endif
