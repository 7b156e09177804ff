/* SPDX-License-Identifier: MIT */
/* LINK: monitor/% config/config config/config_% config/option_% config/options config/suboptions block/vhd cgroup nearest utf8 bus char/listener exit_report loop error */
/* A monitor over a fake VM. The test's thread. */
#include "qmp_fixture.h"
#include "snapshot.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "log.h"
#include "vm_chardev.h"
#include "vm_cpus.h"
#include "vm_serial.h"

#define PATIENCE_MS 20000

unsigned int qmp_log_lines;
char qmp_debug[128];

void log_write(enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (level == LOG_DEBUG)
		vsnprintf(qmp_debug, sizeof(qmp_debug), fmt, ap);
	else
		qmp_log_lines++;
	va_end(ap);
}

/* ---- the fake VM ---- */

void fake_vm_event(struct vm *vm, enum vm_event event, bool by_guest,
		   const char *reason)
{
	if (vm->event_fn)
		vm->event_fn(vm->event_opaque, event, by_guest, reason);
}

void vm_set_event_fn(struct vm *vm, vm_event_fn fn, void *opaque)
{
	vm->event_fn = fn;
	vm->event_opaque = opaque;
}

const struct vm_config *vm_config(const struct vm *vm)
{
	return &vm->config;
}

enum vm_state vm_state(const struct vm *vm)
{
	return vm->state;
}

const char *vm_state_name(enum vm_state state)
{
	static const char *const names[] = {
		"prelaunch", "running", "paused", "shutdown", "guest-panicked",
	};

	return names[state];
}

const struct vm_exit_report *vm_exit_report(const struct vm *vm)
{
	return &vm->report;
}

const char *vm_exit_kind_name(enum vm_exit_kind kind)
{
	return kind == VM_EXIT_QUIT ? "quit" :
	       kind == VM_EXIT_TERMINATED ? "terminated" : "poweroff";
}

static int refused(struct vm *vm, const char *command, struct error *e)
{
	if (!vm->fail || strcmp(vm->fail, command))
		return 0;
	return error_class_set(e, ERROR_INVALID_STATE, -EPERM, "%s: refused",
			       command);
}

/* ---- its devices ---- */

struct virtio_pci {
	struct pci_function f;
};

struct device_spec fake_spec;
struct config_disk fake_disk;
struct config_net fake_nic;
char fake_source[64];

static void destroy_device(struct vm *vm, struct device *d)
{
	struct device **link = &vm->devices;

	while (*link != d)
		link = &(*link)->next;
	*link = d->next;
	if (d->type == DEVICE_DISK)
		config_disk_deinit(d->config);
	if (d->type == DEVICE_PMEM)
		config_pmem_deinit(d->config);
	if (d->type == DEVICE_NET)
		config_net_deinit(d->config);
	if (d->type == DEVICE_9P)
		config_9p_deinit(d->config);
	free(d->config);
	free(d->pci);
	free(d->object);
	free(d->id);
	free(d);
}

static void note_spec(const struct device_spec *spec)
{
	fake_spec = *spec;
	config_disk_deinit(&fake_disk);
	memset(&fake_disk, 0, sizeof(fake_disk));
	config_net_deinit(&fake_nic);
	memset(&fake_nic, 0, sizeof(fake_nic));
	fake_source[0] = '\0';
	if (spec->type == DEVICE_NET)
		assert_int_equal(config_net_copy(&fake_nic, spec->config), 0);
	else if (spec->type == DEVICE_DISK)
		assert_int_equal(config_disk_copy(&fake_disk, spec->config), 0);
	else if (spec->type == DEVICE_RNG && spec->config)
		snprintf(fake_source, sizeof(fake_source), "%s",
			 (const char *)spec->config);
}

int vm_device_add(struct vm *vm, const struct device_spec *spec,
		  struct device **out, struct error *e)
{
	struct device *d;

	if (refused(vm, "device_add", e))
		return -EPERM;
	if (vm->fail && !strcmp(vm->fail, "lock"))
		return error_set(e, -EBUSY, "in use");
	note_spec(spec);
	d = calloc(1, sizeof(*d));
	d->pci = calloc(1, sizeof(*d->pci));
	d->type = spec->type;
	d->id = spec->id ? strdup(spec->id) : NULL;
	d->object = spec->object ? strdup(spec->object) : NULL;
	if (spec->type == DEVICE_DISK) {
		d->config = malloc(sizeof(struct config_disk));
		assert_int_equal(config_disk_copy(d->config, spec->config), 0);
	} else if (spec->type == DEVICE_PMEM) {
		d->config = malloc(sizeof(struct config_pmem));
		assert_int_equal(config_pmem_copy(d->config, spec->config), 0);
	} else if (spec->type == DEVICE_NET) {
		d->config = malloc(sizeof(struct config_net));
		assert_int_equal(config_net_copy(d->config, spec->config), 0);
	} else if (spec->type == DEVICE_9P) {
		d->config = malloc(sizeof(struct config_9p));
		assert_int_equal(config_9p_copy(d->config, spec->config), 0);
	}
	d->uses = 1;
	d->pci->f.bus = spec->bus < 0 ? 0 : (uint8_t)spec->bus;
	d->pci->f.slot = spec->slot < 0 ? (uint8_t)++vm->next_slot :
					  (uint8_t)spec->slot;
	d->next = vm->devices;
	vm->devices = d;
	if (out)
		*out = d;
	return 0;
}

void vm_device_force_remove(struct vm *vm, struct device *device)
{
	char *id = device->id ? strdup(device->id) : NULL;

	destroy_device(vm, device);
	fake_vm_event(vm, VM_EVENT_DEVICE_DELETED, false, id);
	free(id);
}

int vm_device_remove(struct vm *vm, struct device *device, struct error *e)
{
	if (refused(vm, "device_del", e))
		return -EPERM;
	device->removing = true;
	if (vm->state == VM_PRELAUNCH)
		vm_device_force_remove(vm, device);
	return 0;
}

void fake_vm_let_go(struct vm *vm, const char *id)
{
	struct device *d = vm_device_find(vm, id);

	assert_non_null(d);
	assert_true(d->removing);
	vm_device_force_remove(vm, d);
}

struct device *vm_device_first(const struct vm *vm)
{
	return vm->devices;
}

struct device *vm_device_find(const struct vm *vm, const char *id)
{
	for (struct device *d = vm->devices; d; d = d->next)
		if (d->id && !strcmp(d->id, id))
			return d;
	return NULL;
}

const struct pci_function *device_function(const struct device *device)
{
	return &device->pci->f;
}

int vm_disk_check(const struct config_disk *disk, struct error *e)
{
	if (!strncmp(disk->path, "/nowhere", 8))
		return error_set(e, -ENOENT, "disk %s: not there", disk->path);
	return 0;
}

void device_use(struct device *device, int change)
{
	device->uses += (unsigned int)change;
}

bool vm_pci_slot(struct vm *vm, unsigned int bus, unsigned int slot,
		 struct vm_pci_slot *out)
{
	*out = (struct vm_pci_slot){ .config = { 0xf4, 0x1a, 0x42, 0x10 } };
	out->config[0x0b] = 1;
	out->bars[1].len_bytes = 0x4000;
	out->bars[1].address = 0xc0000000;
	for (struct device *d = vm->devices; d; d = d->next) {
		if (d->pci->f.bus != bus || d->pci->f.slot != slot)
			continue;
		out->id = d->id;
		return true;
	}
	return false;
}

int vm_disk_replace(struct vm *vm, struct device *device,
		    const struct config_disk *c, struct error *e)
{
	struct config_disk *disk = device->config;

	if (refused(vm, "disk-update", e))
		return -EPERM;
	free(disk->path);
	disk->path = strdup(c->path);
	disk->format = c->format;
	disk->readonly = c->readonly;
	return 0;
}

int vm_nic_replace(struct vm *vm, struct device *device,
		   const struct config_net *c, struct error *e)
{
	(void)device;
	if (refused(vm, "nic-update", e))
		return -EPERM;
	config_net_deinit(&vm->nic);
	return config_net_copy(&vm->nic, c);
}

void vm_nic_state(struct vm *vm, const struct device *device,
		  struct vm_nic_state *out)
{
	(void)device;
	*out = (struct vm_nic_state){
		.link_up = !vm->link_down,
		.received = { 1, 2, 3, 4 }, .sent = { 5, 6, 7, 8 },
	};
}

const char *vm_image_format(const char *path)
{
	return strstr(path, ".vhd") ? "vhd" : "raw";
}

unsigned int vm_pmem_slot(const struct device *device)
{
	return ((const struct config_pmem *)device->config)->slot;
}

uint64_t vm_pmem_size_bytes(const struct device *device)
{
	(void)device;
	return 4 << 20;
}

uint64_t vm_disk_size_bytes(struct vm *vm, const struct device *device)
{
	(void)vm;
	(void)device;
	return 1 << 20;
}

void vm_disk_count(const struct device *device,
		   struct virtio_blk_counters *out)
{
	(void)device;
	*out = (struct virtio_blk_counters){
		.reads = { 1, 2, 3, 4, 5 }, .writes = { 6, 7, 8, 9, 10 },
		.flushes = { 11, 0, 12, 13, 14 },
		.discards = { 15, 16, 17, 18, 19 }, .write_end_bytes = 20,
	};
}

/* ---- its character back ends and ports ---- */

static struct fake_chardev *find_chardev(struct vm *vm, const char *id)
{
	for (unsigned int i = 0; i < vm->chardev_count; i++)
		if (!strcmp(vm->chardevs[i].id, id))
			return &vm->chardevs[i];
	return NULL;
}

int vm_chardev_add(struct vm *vm, const char *id, const struct config_char *c,
		   struct error *e)
{
	struct fake_chardev *f = &vm->chardevs[vm->chardev_count];

	if (find_chardev(vm, id) || vm->chardev_count == FAKE_CHARDEVS)
		return error_set(e, -EEXIST, "Chardev '%s' exists", id);
	snprintf(f->id, sizeof(f->id), "%s", id);
	f->config = *c;
	snprintf(f->path, sizeof(f->path), "%s%s",
		 c->kind == CHAR_UNIX ? "unix:" :
		 c->kind == CHAR_FILE ? "file:" :
		 c->kind == CHAR_PTY ? "pty:/dev/pts/7" : "null",
		 c->path ? c->path : "");
	vm->chardev_count++;
	return 0;
}

int vm_chardev_remove(struct vm *vm, const char *id, struct error *e)
{
	struct fake_chardev *f = find_chardev(vm, id);

	if (!f)
		return error_set(e, -ENOENT, "Chardev '%s' not found", id);
	*f = vm->chardevs[--vm->chardev_count];
	return 0;
}

bool vm_chardev_info(const struct vm *vm, size_t index,
		     struct vm_chardev_info *out)
{
	const struct fake_chardev *f = &vm->chardevs[index];

	if (index >= vm->chardev_count)
		return false;
	*out = (struct vm_chardev_info){ .id = f->id, .label = f->path,
					 .used = f->used };
	return true;
}

int vm_port_add(struct vm *vm, const struct vm_port_spec *spec,
		struct error *e)
{
	if (refused(vm, "port", e))
		return -EPERM;
	snprintf(vm->port.id, sizeof(vm->port.id), "%s",
		 spec->id ? spec->id : "");
	snprintf(vm->port.bus, sizeof(vm->port.bus), "%s",
		 spec->bus ? spec->bus : "");
	snprintf(vm->port.name, sizeof(vm->port.name), "%s",
		 spec->name ? spec->name : "");
	snprintf(vm->port.chardev, sizeof(vm->port.chardev), "%s",
		 spec->chardev);
	vm->port.nr = spec->nr;
	vm->port.console = spec->console;
	return 0;
}

bool vm_port_exists(const struct vm *vm, const char *id)
{
	return *id && !strcmp(vm->port.id, id);
}

bool vm_port_is_open(const struct vm *vm, const char *id)
{
	assert_true(vm_port_exists(vm, id));
	return vm->port.open;
}

void vm_port_remove(struct vm *vm, const char *id)
{
	vm->port.id[0] = '\0';
	fake_vm_event(vm, VM_EVENT_DEVICE_DELETED, false, id);
}

int vm_stop(struct vm *vm, struct error *e)
{
	if (refused(vm, "stop", e))
		return -EPERM;
	vm->state = VM_PAUSED;
	fake_vm_event(vm, VM_EVENT_STOP, false, NULL);
	return 0;
}

int vm_cont(struct vm *vm, struct error *e)
{
	if (refused(vm, "cont", e))
		return -EPERM;
	vm->state = VM_RUNNING;
	fake_vm_event(vm, VM_EVENT_RESUME, false, NULL);
	return 0;
}

int vm_powerdown(struct vm *vm, struct error *e)
{
	if (refused(vm, "system_powerdown", e))
		return -EPERM;
	vm->powerdowns++;
	fake_vm_event(vm, VM_EVENT_POWERDOWN, false, NULL);
	return 0;
}

int vm_reset(struct vm *vm, struct error *e)
{
	if (refused(vm, "system_reset", e))
		return -EPERM;
	vm->resets++;
	fake_vm_event(vm, VM_EVENT_RESET, false, "host-qmp-system-reset");
	return 0;
}

int vm_inject_nmi(struct vm *vm, struct error *e)
{
	if (refused(vm, "inject-nmi", e))
		return -EPERM;
	vm->nmis++;
	return 0;
}

int vm_set_link(struct vm *vm, const char *id, bool up, struct error *e)
{
	if (strcmp(id, "net0"))
		return error_class_set(e, ERROR_DEVICE_NOT_FOUND, -ENOENT,
				       "Device '%s' not found", id);
	vm->link_down = !up;
	return 0;
}

void vm_end(struct vm *vm, enum vm_exit_kind kind, int code,
	    const char *reason)
{
	if (vm->state == VM_SHUTDOWN)
		return;
	vm->state = VM_SHUTDOWN;
	vm->report.kind = kind;
	vm->report.code = code;
	snprintf(vm->report.reason, sizeof(vm->report.reason), "%s", reason);
	fake_vm_event(vm, VM_EVENT_SHUTDOWN, false, reason);
}

/* One disk, "disk0", whose size is kept. */
int vm_disk_resize(struct vm *vm, const char *id, uint64_t size_bytes,
		   struct error *e)
{
	if (strcmp(id, "disk0"))
		return error_set(e, -ENODEV, "Cannot find disk '%s'", id);
	vm->disk_bytes = size_bytes;
	return 0;
}

int vm_balloon_get(struct vm *vm, uint64_t *bytes, struct error *e)
{
	if (!vm->balloon_bytes)
		return error_class_set(e, ERROR_DEVICE_NOT_ACTIVE, -ENODEV,
				       "No balloon device has been activated");
	*bytes = vm->balloon_bytes;
	return 0;
}

int vm_balloon_set(struct vm *vm, uint64_t bytes, struct error *e)
{
	uint64_t old;
	int ret = vm_balloon_get(vm, &old, e);

	if (!ret)
		vm->balloon_bytes = bytes;
	return ret;
}

int vm_dimm_add(struct vm *vm, const struct dimm_spec *spec, struct error *e)
{
	if (refused(vm, "pc-dimm", e))
		return -EPERM;
	snprintf(vm->dimm_id, sizeof(vm->dimm_id), "%s",
		 spec->id ? spec->id : "dimm0");
	snprintf(vm->dimm_memdev, sizeof(vm->dimm_memdev), "%s",
		 spec->memdev);
	vm->dimm = (struct dimm){
		.id = vm->dimm_id, .memdev = vm->dimm_memdev,
		.base = spec->base, .slot = (unsigned int)spec->slot,
		.len_bytes = spec->backing.size_bytes,
	};
	vm->dimm_backing = spec->backing;
	return 0;
}

int vm_dimm_remove(struct vm *vm, struct dimm *dimm, struct error *e)
{
	(void)e;
	assert_ptr_equal(dimm, &vm->dimm);
	vm->dimm_removing = true;
	return 0;
}

struct dimm *vm_dimm_at(const struct vm *vm, unsigned int slot)
{
	return vm->dimm.len_bytes && slot == vm->dimm.slot ?
		       (struct dimm *)&vm->dimm : NULL;
}

struct dimm *vm_dimm_find(const struct vm *vm, const char *id)
{
	struct dimm *dimm = vm_dimm_at(vm, vm->dimm.slot);

	return dimm && !strcmp(dimm->id, id) ? dimm : NULL;
}

struct dimm *vm_dimm_of(const struct vm *vm, const char *memdev)
{
	struct dimm *dimm = vm_dimm_at(vm, vm->dimm.slot);

	return dimm && !strcmp(dimm->memdev, memdev) ? dimm : NULL;
}

const struct vm_report *vm_report(const struct vm *vm)
{
	return &vm->ost;
}

bool vm_report_last(struct vm *vm, size_t index, struct vm_report *out)
{
	(void)vm;
	*out = (struct vm_report){ .dimm = !index, .source = 3 };
	return index < 2;
}

bool vm_mem_info(const struct vm *vm, unsigned int n, struct vm_mem_info *out)
{
	if (vm->mem.id && !n)
		*out = vm->mem;
	return vm->mem.id && !n;
}

int vm_mem_find(const struct vm *vm, const char *id)
{
	return vm->mem.id && !strcmp(vm->mem.id, id) ? 0 : -1;
}

int vm_mem_of(const struct vm *vm, const char *memdev)
{
	return vm->mem.memdev && !strcmp(vm->mem.memdev, memdev) ? 0 : -1;
}

uint64_t vm_mems_plugged(const struct vm *vm)
{
	return vm->mem.plugged;
}

int vm_mem_add(struct vm *vm, struct device_spec spec, const char *memdev,
	       const struct config_memory *backing, uint64_t requested,
	       struct error *e)
{
	if (refused(vm, "virtio-mem", e))
		return -EPERM;
	snprintf(vm->dimm_id, sizeof(vm->dimm_id), "%s", spec.id);
	snprintf(vm->dimm_memdev, sizeof(vm->dimm_memdev), "%s", memdev);
	vm->mem = (struct vm_mem_info){
		.id = vm->dimm_id, .memdev = vm->dimm_memdev,
		.max = backing->size_bytes, .requested = requested,
	};
	return 0;
}

int vm_mem_request(struct vm *vm, unsigned int n, uint64_t bytes,
		   struct error *e)
{
	assert_int_equal(n, 0);
	if (bytes > vm->mem.max)
		return error_config(e, -EINVAL, "too much");
	vm->mem.requested = bytes;
	return 0;
}

int vm_memory_set(struct vm *vm, uint64_t bytes, struct error *e)
{
	if (refused(vm, "memory-set", e))
		return -EPERM;
	vm->set_bytes = bytes;
	return 0;
}

void vm_memory_sizes(struct vm *vm, uint64_t *requested, uint64_t *plugged)
{
	*requested = vm->set_bytes;
	/* Until it is set, it is what the VM started with. */
	*plugged = vm->set_bytes ? vm->mem.plugged :
				   vm->config.memory.size_bytes;
}

uint64_t vm_balloon_stat(const struct vm *vm, enum balloon_stat which)
{
	return which == BALLOON_STAT_AVAILABLE && vm->available_bytes ?
		       vm->available_bytes : BALLOON_STAT_UNKNOWN;
}

int64_t vm_balloon_stats_time(const struct vm *vm)
{
	return vm->available_bytes ? 1234567890 : 0;
}

void vm_balloon_set_stats_interval(struct vm *vm, uint32_t seconds)
{
	vm->stats_interval = seconds;
}

uint32_t vm_balloon_stats_interval(const struct vm *vm)
{
	return vm->stats_interval;
}

static int take_service(struct vm *vm, const struct vsock_service *s,
			bool is_listen)
{
	vm->service = *s;
	vm->service_listen = is_listen;
	snprintf(vm->service_path, sizeof(vm->service_path), "%s",
		 s->path ? s->path : "");
	for (size_t i = 0; i < s->uid_count && i < 4; i++)
		vm->service_uids[i] = s->uids[i];
	return 0;
}

int vm_vsock_listen(struct vm *vm, const struct vsock_service *s,
		    struct error *e)
{
	return refused(vm, "vsock-listen", e) ? -EPERM :
						take_service(vm, s, true);
}

int vm_vsock_service_set(struct vm *vm, const struct vsock_service *s,
			 struct error *e)
{
	return refused(vm, "vsock-service-set", e) ? -EPERM :
						     take_service(vm, s, false);
}

int vm_vsock_service_remove(struct vm *vm, uint32_t port, struct error *e)
{
	(void)e;
	vm->removed_port = port;
	return 0;
}

size_t vm_cpu_count(const struct vm *vm)
{
	return vm->config.cpus.count;
}

/* The first ones are there. */
void vm_cpu_info(const struct vm *vm, size_t index, struct vm_cpu_info *out)
{
	*out = (struct vm_cpu_info){
		.index = (unsigned int)index,
		.present = index < vm->config.cpus.count,
		.thread_id = 1000 + (pid_t)index,
		.thread = (unsigned int)index,
	};
	snprintf(out->id, sizeof(out->id), "cpu%zu", index);
}

int vm_cpu_find(const struct vm *vm, const char *id)
{
	unsigned int n;

	return sscanf(id, "cpu%u", &n) == 1 && n < vm->config.cpus.count ?
	       (int)n : -1;
}

int vm_cpu_add(struct vm *vm, unsigned int index, const char *id,
	       struct error *e)
{
	if (refused(vm, "cpu-add", e))
		return -EPERM;
	assert_int_equal(index, vm->config.cpus.count);
	snprintf(vm->cpu_id, sizeof(vm->cpu_id), "%s", id ? id : "");
	vm->config.cpus.count++;
	return 0;
}

int vm_cpu_remove(struct vm *vm, unsigned int index, struct error *e)
{
	if (refused(vm, "cpu-remove", e))
		return -EPERM;
	vm->cpu_removing = index;
	if (vm->state == VM_PRELAUNCH)
		vm->config.cpus.count = index;
	return 0;
}

/* ---- the monitor ---- */

void qmp_start_monitor(struct qmp *q)
{
	struct error e;

	assert_int_equal(monitor_create(&q->monitor, &q->config, &q->vm,
					q->loop, &e), 0);
}

int qmp_setup(void **state)
{
	struct qmp *q = calloc(1, sizeof(*q));

	assert_non_null(q);
	strcpy(q->dir, "/tmp/mote-qmp-XXXXXX");
	assert_non_null(mkdtemp(q->dir));
	snprintf(q->path, sizeof(q->path), "%s/m", q->dir);
	q->config = (struct config_monitor){ .path = q->path, .fd = -1 };
	q->vm.state = VM_RUNNING;
	q->vm.config.cpus.count = 2;
	q->vm.config.cpus.max = 3;
	q->vm.config.disk_controllers = 4;
	q->vm.config.pmem_max = 3;
	qmp_log_lines = 0;
	assert_int_equal(loop_create(&q->loop), 0);
	qmp_start_monitor(q);
	*state = q;
	return 0;
}

int qmp_teardown(void **state)
{
	struct qmp *q = *state;

	monitor_destroy(q->monitor);
	while (q->vm.devices)
		destroy_device(&q->vm, q->vm.devices);
	config_disk_deinit(&fake_disk);
	memset(&fake_disk, 0, sizeof(fake_disk));
	config_net_deinit(&fake_nic);
	memset(&fake_nic, 0, sizeof(fake_nic));
	config_net_deinit(&q->vm.nic);
	loop_destroy(q->loop);
	unlink(q->path);
	assert_int_equal(rmdir(q->dir), 0);
	free(q);
	return 0;
}

static void on_time(void *opaque)
{
	loop_stop(opaque);
}

void qmp_run_ms(struct qmp *q, uint64_t ms)
{
	struct loop_timer t;

	assert_int_equal(loop_timer_init(q->loop, &t, on_time, q->loop), 0);
	loop_timer_set(&t, ms * 1000000, 0);
	loop_run(q->loop);
	loop_timer_deinit(&t);
}

void qmp_settle(struct qmp *q)
{
	qmp_run_ms(q, 30);
}

/* ---- clients ---- */

struct client client_open(struct qmp *q)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct client c = { .q = q };

	strcpy(addr.sun_path, q->path);
	c.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(c.fd >= 0);
	assert_int_equal(connect(c.fd, (struct sockaddr *)&addr, sizeof(addr)),
			 0);
	return c;
}

struct client client_ready(struct qmp *q)
{
	struct client c = client_open(q);
	char *greeting = client_line(&c);

	assert_non_null(greeting);
	free(greeting);
	client_exchange(&c, "{\"execute\":\"qmp_capabilities\"}",
			"{\"return\":{}}");
	return c;
}

void client_close(struct client *c)
{
	close(c->fd);
	free(c->buf);
	c->buf = NULL;
	c->fd = -1;
}

void client_send_fds(struct client *c, const char *text, const int *fds,
		     size_t count)
{
	union {
		struct cmsghdr align;
		char room[CMSG_SPACE(64 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (char *)text, strlen(text) };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
		.msg_controllen = CMSG_SPACE(count * sizeof(int)),
	};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	assert_true(count <= 64);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(count * sizeof(int));
	memcpy(CMSG_DATA(h), fds, count * sizeof(int));
	assert_int_equal(sendmsg(c->fd, &m, MSG_NOSIGNAL),
			 (ssize_t)strlen(text));
}

void client_send(struct client *c, const char *text)
{
	size_t len = strlen(text);

	assert_int_equal(send(c->fd, text, len, MSG_NOSIGNAL), len);
}

static void on_readable(struct loop_watch *w, uint32_t events)
{
	(void)events;
	loop_stop(w->loop);
}

/* Lets the loop run until the client has something to read, or its end. */
static void wait_readable(struct client *c)
{
	struct pollfd pfd = { .fd = c->fd, .events = POLLIN };
	struct loop_watch w;
	struct loop_timer t;

	assert_int_equal(loop_add(c->q->loop, &w, c->fd, EPOLLIN, on_readable,
				  NULL), 0);
	assert_int_equal(loop_timer_init(c->q->loop, &t, on_time, c->q->loop),
			 0);
	loop_timer_set(&t, PATIENCE_MS * 1000000ull, 0);
	loop_run(c->q->loop);
	loop_timer_deinit(&t);
	loop_remove(&w);
	assert_int_equal(poll(&pfd, 1, 0), 1);
}

/* False at the end of the stream. */
static bool receive(struct client *c)
{
	ssize_t n;

	if (c->size - c->len < 4096) {
		c->size = c->size * 2 + 8192;
		c->buf = realloc(c->buf, c->size);
		assert_non_null(c->buf);
	}
	wait_readable(c);
	n = recv(c->fd, c->buf + c->len, c->size - c->len, MSG_DONTWAIT);
	if (n > 0)
		c->len += (size_t)n;
	return n > 0;
}

char *client_line(struct client *c)
{
	char *end, *line;
	size_t len;

	while (!c->len || !(end = memchr(c->buf, '\n', c->len)))
		if (!receive(c)) {
			assert_int_equal(c->len, 0);
			return NULL;
		}
	len = (size_t)(end - c->buf);
	assert_true(len > 0);
	assert_int_equal(c->buf[len - 1], '\r');
	line = strndup(c->buf, len - 1);
	assert_non_null(line);
	memmove(c->buf, end + 1, c->len - len - 1);
	c->len -= len + 1;
	return line;
}

bool client_is_quiet(struct client *c)
{
	char byte;

	return !c->len && recv(c->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
	       errno == EAGAIN;
}

static struct json_object *client_json(struct client *c)
{
	char *line = client_line(c);
	struct json_object *o;

	assert_non_null(line);
	o = json_tokener_parse(line);
	assert_non_null(o);
	free(line);
	return o;
}

static void strip_timestamp(struct json_object *o)
{
	struct json_object *t, *part;

	if (!json_object_object_get_ex(o, "timestamp", &t))
		return;
	assert_true(json_object_object_get_ex(t, "seconds", &part));
	assert_true(json_object_get_int64(part) > 1500000000);
	assert_true(json_object_object_get_ex(t, "microseconds", &part));
	assert_in_range(json_object_get_int64(part), 0, 999999);
	json_object_object_del(o, "timestamp");
}

void client_expect(struct client *c, const char *json)
{
	struct json_object *got = client_json(c);
	struct json_object *expected = json_tokener_parse(json);

	assert_true(expected || !strcmp(json, "null"));
	strip_timestamp(got);
	if (!json_object_equal(got, expected))
		assert_string_equal(json_object_to_json_string(got), json);
	json_object_put(got);
	json_object_put(expected);
}

void client_expect_eof(struct client *c)
{
	char byte;

	assert_int_equal(c->len, 0);
	wait_readable(c);
	assert_int_equal(recv(c->fd, &byte, 1, MSG_DONTWAIT), 0);
}

void client_run(struct client *c, const char *command, const char *args)
{
	char text[512];
	int n = snprintf(text, sizeof(text),
			 "{\"execute\":\"%s\",\"arguments\":%s}\n", command,
			 args);

	assert_in_range(n, 1, sizeof(text) - 1);
	client_send(c, text);
}

void client_exchange(struct client *c, const char *command, const char *json)
{
	client_send(c, command);
	client_send(c, "\n");
	client_expect(c, json);
}

void client_expect_error(struct client *c, const char *class,
			 const char *text)
{
	struct json_object *o = client_json(c), *error, *member;
	const char *desc;

	assert_true(json_object_object_get_ex(o, "error", &error));
	assert_true(json_object_object_get_ex(error, "class", &member));
	assert_string_equal(json_object_get_string(member), class);
	assert_true(json_object_object_get_ex(error, "desc", &member));
	desc = json_object_get_string(member);
	if (!strstr(desc, text))
		assert_string_equal(desc, text);
	json_object_put(o);
}

void client_refused(struct client *c, const struct refused_command *r,
		    size_t count)
{
	for (size_t i = 0; i < count; i++) {
		client_run(c, r[i].command, r[i].args);
		client_expect_error(c, r[i].class, r[i].text);
	}
}

struct json_object *client_result(struct client *c)
{
	struct json_object *o = client_json(c), *result;

	assert_true(json_object_object_get_ex(o, "return", &result));
	json_object_get(result);
	json_object_put(o);
	return result;
}

int vm_migrate(struct vm *vm, const char *uri, struct error *e)
{
	if (refused(vm, "migrate", e))
		return -EPERM;
	snprintf(vm->migrate_uri, sizeof(vm->migrate_uri), "%s", uri);
	vm->migrate = (struct vm_migrate_info){
		.status = VM_MIGRATE_ACTIVE, .total = 8 << 20, .done = 6 << 20,
		.sent = 1 << 20, .setup_ms = 1, .total_ms = 3000,
	};
	return 0;
}

int vm_migrate_incoming(struct vm *vm, const char *uri, struct error *e)
{
	return vm_migrate(vm, uri, e);
}

void vm_migrate_cancel(struct vm *vm)
{
	vm->migrate.status = VM_MIGRATE_CANCELLED;
}

void vm_migrate_info(const struct vm *vm, struct vm_migrate_info *out)
{
	*out = vm->migrate;
}

void vm_migrate_capabilities(const struct vm *vm,
			     struct vm_migrate_capabilities *out)
{
	*out = vm->capabilities;
}

int vm_migrate_set_capabilities(struct vm *vm,
				const struct vm_migrate_capabilities *c,
				struct error *e)
{
	if (refused(vm, "migrate-set-capabilities", e))
		return -EPERM;
	vm->capabilities = *c;
	return 0;
}

bool vm_save_progress(const struct vm *vm, struct vm_save_progress *out)
{
	*out = (struct vm_save_progress){ 1 << 20, 4 << 20, 1000 };
	return vm->saving;
}

int vm_dump(struct vm *vm, const struct vm_dump_params *p, struct error *e)
{
	if (!p->uri)
		close(p->fd);
	if (refused(vm, "dump-guest-memory", e))
		return -EPERM;
	vm->dump = (struct vm_dump_status){ .state = VM_DUMP_ACTIVE,
					    .completed = 4096, .total = 8192 };
	vm->dump_begin = p->begin;
	vm->dump_bytes = p->len_bytes;
	return 0;
}

void vm_dump_status(const struct vm *vm, struct vm_dump_status *out)
{
	*out = vm->dump;
}

int vm_save(struct vm *vm, const struct save_params *p, vm_save_fn done,
	    void *opaque, struct error *e)
{
	(void)p;
	(void)vm;
	(void)done;
	(void)opaque;
	return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
			       "save: the VM is running, not paused");
}
