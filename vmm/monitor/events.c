/* SPDX-License-Identifier: MIT */
/*
 * What happens in the VM, told to every client that has negotiated. Main
 * thread.
 */
#include <stdio.h>
#include <time.h>

#include "dump.h"
#include "monitor/internal.h"
#include "snapshot.h"
#include "vm_memory.h"
#include "vm_mems.h"
#include "vm_serial.h"

const char *const event_names[] = {
	"ACPI_DEVICE_OST", "BALLOON_CHANGE", "DEVICE_DELETED",
	"DEVICE_UNPLUG_GUEST_ERROR", "DUMP_COMPLETED", "GUEST_PANICKED",
	"MEMORY_DEVICE_SIZE_CHANGE", "MIGRATION", "POWERDOWN", "RESET",
	"RESUME", "SAVE_PROGRESS", "SHUTDOWN", "STOP", "VSERPORT_CHANGE",
	NULL,
};

/* How the VM ended, in the words of QEMU's ShutdownCause. */
struct cause {
	bool guest;
	const char *reason;
};

static struct cause shutdown_cause(const struct monitor *m)
{
	static const struct cause causes[] = {
		[VM_EXIT_NONE] = { false, "none" },
		[VM_EXIT_POWEROFF] = { true, "guest-shutdown" },
		[VM_EXIT_RESET] = { true, "guest-reset" },
		[VM_EXIT_PANIC] = { true, "guest-panic" },
		/* QEMU says guest-reset: here it is never taken for one. */
		[VM_EXIT_TRIPLE_FAULT] = { true, "guest-panic" },
		[VM_EXIT_KVM_ERROR] = { false, "host-error" },
		[VM_EXIT_QUIT] = { false, "host-signal" },
		[VM_EXIT_QUIT_KEY] = { false, "host-ui" },
		[VM_EXIT_TERMINATED] = { false, "host-qmp-quit" },
		[VM_EXIT_HOST_ERROR] = { false, "host-error" },
		[VM_EXIT_PORT] = { true, "guest-shutdown" },
	};

	if (m->quit)
		return causes[VM_EXIT_TERMINATED];
	return causes[vm_exit_report(m->vm)->kind];
}

static struct json_object *guest_and_reason(bool guest, const char *reason)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "guest", json_object_new_boolean(guest));
	json_object_object_add(o, "reason", json_object_new_string(reason));
	return o;
}

static struct json_object *action(const char *what)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "action", json_object_new_string(what));
	return o;
}

static struct json_object *timestamp(void)
{
	struct json_object *o = json_object_new_object();
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	json_object_object_add(o, "seconds", json_object_new_int64(t.tv_sec));
	json_object_object_add(o, "microseconds",
			       json_object_new_int64(t.tv_nsec / 1000));
	return o;
}

static void broadcast(struct monitor *m, const char *name,
		      struct json_object *data)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "timestamp", timestamp());
	json_object_object_add(o, "event", json_object_new_string(name));
	if (data)
		json_object_object_add(o, "data", data);
	for (struct session *s = m->sessions; s; s = s->next)
		if (s->negotiated)
			session_send(s, json_object_get(o));
	json_object_put(o);
}

/* The paths are QEMU's; its clients look at the id. */
static struct json_object *deleted(const char *id)
{
	struct json_object *o = json_object_new_object();
	char path[320];

	snprintf(path, sizeof(path), "/machine/peripheral%s%s",
		 id ? "/" : "-anon", id ? id : "");
	if (id)
		json_object_object_add(o, "device",
				       json_object_new_string(id));
	json_object_object_add(o, "path", json_object_new_string(path));
	return o;
}

/* NULL: it has gone meanwhile. */
static struct json_object *balloon_actual(struct vm *vm)
{
	struct json_object *o;
	uint64_t bytes;

	if (vm_balloon_get(vm, &bytes, NULL))
		return NULL;
	o = json_object_new_object();
	json_object_object_add(o, "actual", json_object_new_uint64(bytes));
	return o;
}

static struct json_object *memory_change(struct vm *vm, const char *id)
{
	struct json_object *o;
	struct vm_mem_info mem;
	char path[320];

	int n = id ? vm_mem_find(vm, id) : -1;

	if (n < 0 || !vm_mem_info(vm, (unsigned int)n, &mem))
		return NULL;
	snprintf(path, sizeof(path), "/machine/peripheral/%s", mem.id);
	o = json_object_new_object();
	json_object_object_add(o, "id", json_object_new_string(mem.id));
	json_object_object_add(o, "size", json_object_new_uint64(mem.plugged));
	json_object_object_add(o, "qom-path", json_object_new_string(path));
	return o;
}

static struct json_object *port_change(const struct vm *vm, const char *id)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "id", json_object_new_string(id));
	json_object_object_add(o, "open", json_object_new_boolean(
				       vm_port_is_open(vm, id)));
	return o;
}

/* NULL: it is over. */
static struct json_object *save_progress(struct vm *vm)
{
	struct vm_save_progress p;
	struct json_object *o;

	if (!vm_save_progress(vm, &p))
		return NULL;
	o = json_object_new_object();
	progress_put(o, p.done, p.total, p.passed_ms);
	return o;
}

static struct json_object *dump_completed(struct vm *vm)
{
	struct json_object *o = json_object_new_object();
	struct vm_dump_status status;

	vm_dump_status(vm, &status);
	json_object_object_add(o, "result", dump_status_json(&status));
	if (status.state == VM_DUMP_FAILED)
		json_object_object_add(o, "error", json_object_new_string(
					       status.error.text));
	return o;
}

static struct json_object *report(struct vm *vm, const char *id)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "info", report_json(vm_report(vm), id));
	return o;
}

void events_from_vm(void *opaque, enum vm_event event, bool by_guest,
		    const char *reason)
{
	struct monitor *m = opaque;
	struct json_object *data;
	struct cause cause;

	switch (event) {
	case VM_EVENT_STOP:
		broadcast(m, "STOP", NULL);
		break;
	case VM_EVENT_RESUME:
		broadcast(m, "RESUME", NULL);
		break;
	case VM_EVENT_RESET:
		broadcast(m, "RESET", guest_and_reason(by_guest, reason));
		break;
	case VM_EVENT_POWERDOWN:
		broadcast(m, "POWERDOWN", NULL);
		break;
	case VM_EVENT_PANICKED:
		broadcast(m, "GUEST_PANICKED", action(reason));
		break;
	case VM_EVENT_DEVICE_DELETED:
		broadcast(m, "DEVICE_DELETED", deleted(reason));
		wait_device_deleted(m, reason);
		wait_memory_changed(m);
		break;
	case VM_EVENT_BALLOON_CHANGE:
		data = balloon_actual(m->vm);
		if (data)
			broadcast(m, "BALLOON_CHANGE", data);
		wait_memory_changed(m);
		break;
	case VM_EVENT_MEMORY_CHANGE:
		data = memory_change(m->vm, reason);
		if (data)
			broadcast(m, "MEMORY_DEVICE_SIZE_CHANGE", data);
		wait_memory_changed(m);
		break;
	case VM_EVENT_PORT_CHANGE:
		broadcast(m, "VSERPORT_CHANGE", port_change(m->vm, reason));
		break;
	case VM_EVENT_MIGRATION:
		broadcast(m, "MIGRATION", migrate_event_json(m->vm));
		break;
	case VM_EVENT_SAVE_PROGRESS:
		data = save_progress(m->vm);
		if (data)
			broadcast(m, "SAVE_PROGRESS", data);
		break;
	case VM_EVENT_DUMP_COMPLETED:
		broadcast(m, "DUMP_COMPLETED", dump_completed(m->vm));
		wait_dump_ended(m);
		break;
	case VM_EVENT_REPORT:
		broadcast(m, "ACPI_DEVICE_OST", report(m->vm, reason));
		wait_memory_changed(m);
		break;
	case VM_EVENT_UNPLUG_REFUSED:
		broadcast(m, "DEVICE_UNPLUG_GUEST_ERROR", deleted(reason));
		wait_device_refused(m, reason);
		break;
	case VM_EVENT_SHUTDOWN:
		cause = shutdown_cause(m);
		broadcast(m, "SHUTDOWN",
			  guest_and_reason(cause.guest, cause.reason));
		wait_vm_ended(m);
		break;
	}
}
