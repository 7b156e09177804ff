/* SPDX-License-Identifier: MIT */
/*
 * What the user asked for: one struct, filled from the command line (cli.c) and
 * from a JSON document (config_json.c) alike, validated before any resource is
 * made. Main thread only. All strings and arrays are owned by the struct.
 */
#ifndef MOTE_CONFIG_H
#define MOTE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

#define CONFIG_MAX_CPUS		255
#define CONFIG_MAX_DIMMS	256
#define CONFIG_MAX_PMEM		128
#define CONFIG_DEFAULT_PMEM_MAX	64
#define CONFIG_MAX_DISK_QUEUES	64
#define CONFIG_MAX_NET_QUEUES	16
#define CONFIG_DEFAULT_MEMORY	(512ull << 20)

enum config_char_kind {
	CHAR_NONE,	/* no such device */
	CHAR_STDIO,
	CHAR_NULL,
	CHAR_FILE,
	CHAR_UNIX,
	CHAR_PTY,
	CHAR_CONNECT,	/* of the monitor */
};

struct config_char {
	enum config_char_kind kind;
	char *path;		/* file, unix, connect */
	bool append;		/* file: what is there stays */
	unsigned int reconnect_s;	/* connect: 0: once */
};

/* What ports of a virtio-serial name by its id. */
struct config_chardev {
	char *id;		/* never NULL */
	struct config_char back;
};

/* What the monitor calls the back ends of --serial and --console. */
#define CONFIG_SERIAL_ID	"serial0"
#define CONFIG_CONSOLE_ID	"console0"

/* A virtio-serial, of the monitor: its ports come later. */
struct config_serial {
	unsigned int max_ports;
};

struct config_memory {
	uint64_t size_bytes;
	uint64_t max_bytes;	/* 0: no growth */
	unsigned int slots;	/* for DIMMs; 0: as many as usual, with max */
	char *path;		/* a file or a directory; NULL: anonymous */
	bool share, prealloc, hugepages;
	bool saved;		/* path is a saved VM's RAM, not the user's */
};

struct config_cpus {
	unsigned int count;	/* booted, 1..255 */
	unsigned int max;	/* ≥ count */
	unsigned int threads, cores, sockets; /* per core, per socket, total;
					       * product ≥ max */
	char **features;	/* "+feat" / "-feat", from --cpu host,… */
	size_t feature_count;
};

/* By name: until validation, which makes it one of the others. */
enum config_disk_format { DISK_RAW, DISK_VHD, DISK_BY_NAME };

struct config_disk {
	char *path;
	char *id;		/* never NULL after validation: disk0, disk1 … */
	enum config_disk_format format;
	bool readonly, direct, no_flush;
	unsigned int queues;	/* 1.. */
	char *serial;		/* NULL: the id */
	char *node;		/* the block node it was made from, or NULL */
	unsigned int address;	/* 0: none; CONFIG_DISK_ADDRESS() */
};

/* Where disk-add puts a disk. */
#define CONFIG_DISK_CONTROLLERS	4
#define CONFIG_DISK_LUNS	64
#define CONFIG_DISK_ADDRESS(controller, lun) \
	(1 + (controller) * CONFIG_DISK_LUNS + (lun))

struct config_pmem {
	char *path;
	char *id;		/* never NULL after validation: pmem0, pmem1 … */
	enum config_disk_format format;
	bool readonly;
	bool has_slot;		/* else the lowest free one */
	unsigned int slot;
	uint64_t base;		/* guest-physical; 0: the lowest that is free */
};

/* Exactly one of user, tap, fd and unix_path after validation. */
struct config_net {
	char *id;		/* never NULL after validation: net0, net1 … */
	bool user;		/* a passt of our own */
	char *tap;		/* the interface's name */
	char *fd;		/* N[:N…], then in: */
	int fds[CONFIG_MAX_NET_QUEUES];
	unsigned int fd_count;
	char *unix_path;	/* a stream socket to connect to */
	char *mac;		/* never NULL after validation, then in: */
	uint8_t mac_bytes[6];
	unsigned int queues;	/* pairs, 1.. after validation */
	bool vhost;
	/* Of the monitor: */
	char *netdev;		/* the description it is made from, or NULL */
	bool fds_lent;		/* fds stay the caller's: duplicates are used */
	/* Open vhost-net handles, borrowed by its device's creation. */
	int vhost_fds[CONFIG_MAX_NET_QUEUES];
	unsigned int vhost_fd_count;	/* 0: none, or one a queue */
};

enum config_rootfs_type { ROOTFS_DISK, ROOTFS_PMEM, ROOTFS_INITRD };

struct config_rootfs {
	char *path;		/* NULL: none */
	enum config_rootfs_type type;
	bool readonly;		/* not with ROOTFS_INITRD */
};

struct config_vsock {
	uint32_t cid;		/* the guest's, 3 … 2^32 - 2; 0: no vsock */
	char *path;		/* the host's Unix socket; NULL: none */
	bool vhost;		/* the kernel's AF_VSOCK instead */
	int vhost_fd;		/* an open one, borrowed by its device's
				 * creation; 0: none */
};

#define CONFIG_TAG_MAX	127	/* bytes of a mount tag */

struct config_9p {
	char *id;		/* NULL: share-TAG */
	char *path;
	char *tag;
	bool readonly;
	char *allowed;		/* NAME[:NAME…]; NULL: all */
	uint64_t msize_bytes;	/* 0: the largest */
};

struct config_balloon {
	bool enable;
	bool deflate_on_oom;
	bool free_page_reporting;
};

struct config_monitor {
	char *path;		/* NULL: none, or by descriptor */
	int fd;			/* -1: none; an inherited listening socket */
};

enum config_incoming { INCOMING_OFF, INCOMING_DEFER };
enum config_on_reboot { ON_REBOOT_REBOOT, ON_REBOOT_EXIT };
enum config_on_panic { ON_PANIC_EXIT, ON_PANIC_PAUSE };
enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct vm_config {
	char *kernel;
	bool kernel_defaulted;	/* found by config_validate(), not named */
	char **initrds;
	size_t initrd_count;
	char **params;		/* each -p, in order */
	size_t param_count;
	struct config_memory memory;
	struct config_cpus cpus;
	struct config_disk *disks;
	size_t disk_count;
	unsigned int disk_controllers;	/* numbers that disk-add may use */
	struct config_net *nets;
	size_t net_count;
	struct config_rootfs rootfs;
	struct config_pmem *pmems;
	size_t pmem_count;
	unsigned int pmem_max;		/* the root image's included */
	uint64_t pmem_max_bytes;	/* of each; 0: any */
	struct config_9p *shares;
	size_t share_count;
	struct config_char serial;	/* default stdio */
	struct config_char console;	/* default none */
	struct config_chardev *chardevs;
	size_t chardev_count;
	bool rng;			/* default true */
	char *rng_source;		/* NULL: getrandom() */
	struct config_vsock vsock;
	struct config_balloon balloon;
	struct config_monitor monitor;
	char *id;			/* NULL: none given */
	char *uuid;			/* generated when absent */
	char *kernel_cache;		/* NULL: default; "off" */
	char *exit_report;
	bool exit_port;
	bool paused;
	enum config_incoming incoming;	/* made by migrate-incoming */
	enum config_on_reboot on_reboot;
	enum config_on_panic on_panic;
	enum log_level log_level;
	char *log_file;
};

void config_init(struct vm_config *c);	/* defaults */
void config_deinit(struct vm_config *c);

/*
 * Checks everything that can be checked without making a resource and fills
 * what is derived (ids, UUID, topology, the kernel's default path). Class
 * InvalidConfig on failure.
 */
int config_validate(struct vm_config *c, struct error *e);
/* A file that mote would write, and that another option names too, by whatever
 * path. Part of config_validate(). config_paths.c */
int config_check_paths(const struct vm_config *c, struct error *e);

/* The part for nets (config_net.c); the UUID is there. */
int config_check_nets(struct vm_config *c, struct error *e);
/* The same for one of the monitor's, which has an id. */
int config_check_net(const char *uuid, struct config_net *n, struct error *e);
/* A share by itself; not its id. config.c */
int config_check_share(const struct config_9p *s, struct error *e);

/* The part for chardevs. config_chardev.c */
int config_check_chardevs(const struct vm_config *c, struct error *e);
void config_chardev_deinit(struct config_chardev *d);

/* A JSON document into c (defaults already there); unknown keys are errors. */
int config_json_load(struct vm_config *c, const char *path, struct error *e);
/* The same from memory; label is what errors begin with. */
int config_json_load_text(struct vm_config *c, const char *label,
			  const char *text, size_t len, struct error *e);
/* The effective configuration as JSON; malloc()ed, NULL when out of memory. */
char *config_json_print(const struct vm_config *c);

/* dst is uninitialized; -ENOMEM leaves nothing in it. */
int config_disk_copy(struct config_disk *dst, const struct config_disk *src);
void config_disk_deinit(struct config_disk *d);
/* The same. */
int config_pmem_copy(struct config_pmem *dst, const struct config_pmem *src);
void config_pmem_deinit(struct config_pmem *p);
int config_net_copy(struct config_net *dst, const struct config_net *src);
void config_net_deinit(struct config_net *n);
int config_9p_copy(struct config_9p *dst, const struct config_9p *src);
void config_9p_deinit(struct config_9p *s);

/* "512M", "4G", "1024" (MiB) → bytes. -EINVAL, -ERANGE. */
int config_parse_size(const char *text, uint64_t *bytes);

#endif
