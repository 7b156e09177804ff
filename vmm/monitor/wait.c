/* SPDX-License-Identifier: MIT */
/*
 * Replies that come later: at the VM's end (`wait`), when the guest's memory has
 * the size it was asked to have (`memory-set`), when the guest has let a
 * device go (`disk-remove` and its like), when the VM is saved or a dump is
 * written, or at their timeout. Main thread. A client that leaves takes only its
 * own waiters along.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dump.h"
#include "exit_report.h"
#include "monitor/internal.h"
#include "snapshot.h"
#include "vm_devices.h"
#include "vm_memory.h"

#define NO_TIMEOUT	UINT64_MAX
/* Longer ones (292 years) are cut: loop_timer_set() takes nanoseconds. */
#define MAX_TIMEOUT_MS	((uint64_t)INT64_MAX / 1000000)

enum wait_for { FOR_END, FOR_DEVICE, FOR_MEMORY, FOR_SAVE, FOR_DUMP };

struct waiter {
	struct waiter *next;
	enum wait_for what;
	struct session *session;
	struct json_object *reply;
	struct json_object *result;	/* once the device is gone; NULL: {} */
	struct loop_timer timer;	/* watch.fd is -1 without a timeout */
	uint64_t timeout_ms;
	char *device;			/* FOR_DEVICE: its id */
	struct json_object *others;	/* those of more, or NULL */
	bool force;			/* at the timeout, without the guest */
};

const struct command_arg wait_args[] = {
	{ "timeout-ms", ARG_UINT, false },
	{ 0 },
};

static void destroy(struct waiter *w)
{
	struct waiter **link = &w->session->waiters;

	while (*link != w)
		link = &(*link)->next;
	*link = w->next;
	w->session->waiter_count--;
	loop_timer_deinit(&w->timer);
	json_object_put(w->reply);
	json_object_put(w->result);
	json_object_put(w->others);
	free(w->device);
	free(w);
}

void wait_keep_result(struct session *s, struct json_object *result)
{
	s->waiters->result = result;
}

static int timed_out(const char *device, uint64_t ms, struct error *e)
{
	if (device)
		return error_set(e, -ETIMEDOUT, "the guest has not let '%s' go "
				 "within %llu ms", device,
				 (unsigned long long)ms);
	return error_set(e, -ETIMEDOUT, "the VM has not ended within %llu ms",
			 (unsigned long long)ms);
}

static struct json_object *memory_sizes(struct vm *vm)
{
	struct json_object *o = json_object_new_object();
	uint64_t requested, plugged;

	vm_memory_sizes(vm, &requested, &plugged);
	json_object_object_add(o, "requested",
			       json_object_new_uint64(requested));
	json_object_object_add(o, "plugged", json_object_new_uint64(plugged));
	return o;
}

/* e NULL: it has succeeded. Consumes result. */
static void finish(struct waiter *w, struct json_object *result,
		   const struct error *e)
{
	if (e)
		reply_error(w->session, json_object_get(w->reply), e);
	else
		reply_return(w->session, json_object_get(w->reply), result);
	destroy(w);
}

/* fn may destroy the waiter it is called with. */
static void each(struct monitor *m, enum wait_for what,
		 void (*fn)(struct waiter *w, const void *arg), const void *arg)
{
	for (struct session *s = m->sessions; s; s = s->next) {
		struct waiter *next;

		for (struct waiter *w = s->waiters; w; w = next) {
			next = w->next;
			if (w->what == what)
				fn(w, arg);
		}
	}
}

static void ended(struct waiter *w, const void *error)
{
	finish(w, NULL, error);
}

static void memory_done(struct waiter *w, const void *arg)
{
	(void)arg;
	finish(w, memory_sizes(w->session->monitor->vm), NULL);
}

static void on_timeout(void *opaque)
{
	struct waiter *w = opaque;
	struct vm *vm = w->session->monitor->vm;
	struct device *device = w->device ? vm_device_find(vm, w->device) :
					    NULL;
	struct error e;

	if (w->what == FOR_MEMORY) {
		memory_done(w, NULL);
		return;
	}
	/* Then the reply comes by the event, and the waiter goes. */
	if (device && w->force) {
		vm_device_force_remove(vm, device);
		return;
	}
	timed_out(w->device, w->timeout_ms, &e);
	finish(w, NULL, &e);
}

static int add(struct session *s, enum wait_for what, const char *device,
	       uint64_t timeout_ms, bool force, struct error *e)
{
	struct waiter *w = calloc(1, sizeof(*w));
	int ret;

	if (!w)
		return error_set(e, -ENOMEM, "out of memory");
	w->what = what;
	w->session = s;
	w->timer.watch.fd = -1;
	w->timeout_ms = timeout_ms;
	w->force = force;
	w->device = device ? strdup(device) : NULL;
	if (device && !w->device) {
		ret = error_set(e, -ENOMEM, "out of memory");
		goto err_free;
	}
	if (timeout_ms != NO_TIMEOUT) {
		ret = loop_timer_init(s->monitor->loop, &w->timer, on_timeout,
				      w);
		if (ret) {
			error_errno(e, ret, "timer");
			goto err_free;
		}
		if (timeout_ms > MAX_TIMEOUT_MS)
			timeout_ms = MAX_TIMEOUT_MS;
		loop_timer_set(&w->timer, timeout_ms * 1000000, 0);
	}
	w->reply = s->reply;
	s->reply = NULL;
	w->next = s->waiters;
	s->waiters = w;
	s->waiter_count++;
	return COMMAND_DEFERRED;

err_free:
	free(w->device);
	free(w);
	return ret;
}

int wait_check(const struct session *s, struct error *e)
{
	if (s->waiter_count < SESSION_MAX_WAITERS)
		return 0;
	return error_set(e, -EBUSY, "a client waits at most %d times",
			 SESSION_MAX_WAITERS);
}

int wait_run(struct session *s, struct json_object *args,
	     struct json_object **result, struct error *e)
{
	uint64_t ms = arg_uint(args, "timeout-ms", NO_TIMEOUT);
	struct vm *vm = s->monitor->vm;
	int ret;

	if (vm_state(vm) == VM_SHUTDOWN) {
		*result = exit_report_json(vm_exit_report(vm));
		return 0;
	}
	if (!ms)
		return timed_out(NULL, ms, e);
	ret = wait_check(s, e);
	return ret ? ret : add(s, FOR_END, NULL, ms, false, e);
}

int wait_remove_device(struct session *s, struct device *device,
		       uint64_t timeout_ms, bool force, struct error *e)
{
	struct vm *vm = s->monitor->vm;
	char *id = strdup(device->id);
	int ret;

	if (!id)
		return error_set(e, -ENOMEM, "out of memory");
	ret = wait_check(s, e);
	if (!ret)
		ret = vm_device_remove(vm, device, e);
	/* Before the guest runs there is nobody to wait for. */
	device = ret ? NULL : vm_device_find(vm, id);
	if (device && !timeout_ms && force)
		vm_device_force_remove(vm, device);
	else if (device && !timeout_ms)
		ret = timed_out(id, 0, e);
	else if (device)
		ret = add(s, FOR_DEVICE, id, timeout_ms, force, e);
	free(id);
	return ret;
}

int wait_deleted(struct session *s, struct json_object *ids,
		 uint64_t timeout_ms, struct error *e)
{
	const char *first = json_object_get_string(
				    json_object_array_get_idx(ids, 0));
	int ret = wait_check(s, e);

	if (!ret && !timeout_ms)
		ret = timed_out(first, 0, e);
	if (!ret)
		ret = add(s, FOR_DEVICE, first, timeout_ms, false, e);
	if (ret == COMMAND_DEFERRED)
		s->waiters->others = json_object_get(ids);
	return ret;
}

static bool memory_settled(struct vm *vm)
{
	uint64_t requested, plugged;

	vm_memory_sizes(vm, &requested, &plugged);
	return requested == plugged;
}

int wait_memory(struct session *s, uint64_t timeout_ms,
		struct json_object **result, struct error *e)
{
	struct vm *vm = s->monitor->vm;
	int ret;

	if (!timeout_ms || vm_state(vm) != VM_RUNNING || memory_settled(vm)) {
		*result = memory_sizes(vm);
		return 0;
	}
	ret = wait_check(s, e);
	return ret ? ret : add(s, FOR_MEMORY, NULL, timeout_ms, false, e);
}

static void on_saved(void *opaque, int ret, const struct error *e)
{
	each(opaque, FOR_SAVE, ended, ret ? e : NULL);
}

int wait_save(struct session *s, const struct save_params *p, struct error *e)
{
	struct monitor *m = s->monitor;
	int ret = wait_check(s, e);

	if (!ret)
		ret = vm_save(m->vm, p, on_saved, m, e);
	return ret ? ret : add(s, FOR_SAVE, NULL, NO_TIMEOUT, false, e);
}

void wait_memory_changed(struct monitor *m)
{
	if (memory_settled(m->vm))
		each(m, FOR_MEMORY, memory_done, NULL);
}

int wait_dump(struct session *s, struct error *e)
{
	return add(s, FOR_DUMP, NULL, NO_TIMEOUT, false, e);
}

void wait_dump_ended(struct monitor *m)
{
	struct vm_dump_status status;

	vm_dump_status(m->vm, &status);
	each(m, FOR_DUMP, ended,
	     status.state == VM_DUMP_FAILED ? &status.error : NULL);
}

/* What has become of a device. */
struct device_end {
	const char *id;
	const struct error *error;	/* NULL: it is gone */
};

/* Takes one out of those that are waited for; false: it is not among them. */
static bool strike_out(struct waiter *w, const char *id)
{
	size_t count = w->others ? json_object_array_length(w->others) : 0;

	for (size_t i = 0; i < count; i++) {
		if (strcmp(json_object_get_string(json_object_array_get_idx(
				   w->others, i)), id))
			continue;
		json_object_array_del_idx(w->others, i, 1);
		return true;
	}
	return !strcmp(w->device, id);
}

/* The one that is named at a timeout is one that is still there. */
static bool has_more(struct waiter *w)
{
	char *next;

	if (!w->others || !json_object_array_length(w->others))
		return false;
	next = strdup(json_object_get_string(
		json_object_array_get_idx(w->others, 0)));
	if (next) {
		free(w->device);
		w->device = next;
	}
	return true;
}

static void device_end(struct waiter *w, const void *arg)
{
	const struct device_end *end = arg;

	if (strike_out(w, end->id) && (end->error || !has_more(w)))
		finish(w, end->error ? NULL : json_object_get(w->result),
		       end->error);
}

void wait_device_deleted(struct monitor *m, const char *id)
{
	struct device_end end = { .id = id };

	if (id)
		each(m, FOR_DEVICE, device_end, &end);
}

void wait_device_refused(struct monitor *m, const char *id)
{
	struct error e;
	struct device_end end = { .id = id, .error = &e };

	if (!id)
		return;
	error_set(&e, -EBUSY, "the guest refuses to let '%s' go", id);
	each(m, FOR_DEVICE, device_end, &end);
}

void wait_vm_ended(struct monitor *m)
{
	struct error e;

	error_class_set(&e, ERROR_INVALID_STATE, -EPERM, "the VM has ended");
	for (struct session *s = m->sessions; s; s = s->next) {
		while (s->waiters) {
			struct waiter *w = s->waiters;

			if (w->what == FOR_END)
				finish(w, exit_report_json(
						  vm_exit_report(m->vm)), NULL);
			else
				finish(w, NULL, &e);
		}
	}
}

void wait_forget(struct session *s)
{
	while (s->waiters)
		destroy(s->waiters);
}
