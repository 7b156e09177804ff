/* SPDX-License-Identifier: MIT */
/*
 * What the guest says about vCPUs and DIMMs that come and go (_OST; ACPI 6.4,
 * 6.3.5). Main thread; vm_*_reported() run on vCPU threads with the machine lock
 * held, and leave the rest to on_reports().
 */
#include <errno.h>
#include <string.h>

#include "vm_cpus.h"
#include "vm_internal.h"

/* A guest may say that it has begun, and how it went, perhaps of both halves of
 * a replacement. More of that is noise, which clients would have to read. */
#define REPORTS_ALLOWED 4

/* Table 6.17 and the status codes of ejection after it. */
#define EJECT_REQUEST	3u
#define EJECT_BY_OSPM	0x103u
#define STATUS_DONE	0u
#define STATUS_PENDING	0x84u

bool vm_report_is_refusal(const struct vm_report *r)
{
	return (r->source == EJECT_REQUEST || r->source == EJECT_BY_OSPM) &&
	       r->status != STATUS_DONE && r->status != STATUS_PENDING;
}

void vm_report_allow(struct vm *vm, bool dimm, unsigned int slot)
{
	vm->reports.allowed[dimm][slot] = REPORTS_ALLOWED;
	vm->reports.last[dimm][slot].source = 0;
	vm->reports.last[dimm][slot].status = 0;
}

static void note(struct vm *vm, const struct vm_report *report)
{
	struct vm_reports *r = &vm->reports;

	r->last[report->dimm][report->slot].source = report->source;
	r->last[report->dimm][report->slot].status = report->status;
	if (r->count == VM_REPORTS_MAX || !r->allowed[report->dimm][report->slot])
		return;
	r->allowed[report->dimm][report->slot]--;
	r->queue[r->count++] = *report;
	loop_event_set(&r->event);
}

void vm_cpu_reported(void *opaque, unsigned int cpu, uint32_t source,
		     uint32_t status)
{
	const struct vm_report r = {
		.slot = cpu, .source = source, .status = status,
	};
	struct vm *vm = opaque;

	if (cpu < vm->config->cpus.max)
		note(vm, &r);
}

void vm_dimm_reported(void *opaque, unsigned int slot, uint32_t source,
		      uint32_t status)
{
	const struct vm_report r = {
		.dimm = true, .slot = slot, .source = source, .status = status,
	};

	note(opaque, &r);
}

const struct vm_report *vm_report(const struct vm *vm)
{
	return vm->reports.now;
}

bool vm_report_last(struct vm *vm, size_t index, struct vm_report *out)
{
	const struct config_cpus *cpus = &vm->config->cpus;
	unsigned int slots = dimms_slots(&vm->config->memory);
	bool dimm = index < slots;

	if (!dimm)
		index -= slots;
	if (!dimm && (cpus->max <= cpus->count || index >= cpus->max))
		return false;
	*out = (struct vm_report){ .dimm = dimm, .slot = (unsigned int)index };
	pthread_mutex_lock(&vm->machine_lock);
	out->source = vm->reports.last[dimm][index].source;
	out->status = vm->reports.last[dimm][index].status;
	pthread_mutex_unlock(&vm->machine_lock);
	return true;
}

static void tell(struct vm *vm, const struct vm_report *r)
{
	struct dimm *dimm = r->dimm ? dimms_at(vm->dimms, r->slot) : NULL;
	struct vm_cpu_info cpu = { .present = false };
	const char *id = NULL;

	if (r->dimm)
		vm_dimm_note_report(vm, r);
	else
		vm_cpu_note_report(vm, r);
	if (!r->dimm)
		vm_cpu_info(vm, r->slot, &cpu);
	if (dimm)
		id = dimm->id;
	else if (cpu.present)
		id = cpu.id;
	vm->reports.now = r;
	vm_emit(vm, VM_EVENT_REPORT, true, id);
	vm->reports.now = NULL;
	if (id && vm_report_is_refusal(r))
		vm_emit(vm, VM_EVENT_UNPLUG_REFUSED, true, id);
}

static void on_reports(void *opaque)
{
	struct vm *vm = opaque;
	struct vm_report queue[VM_REPORTS_MAX];
	unsigned int n;

	pthread_mutex_lock(&vm->machine_lock);
	n = vm->reports.count;
	memcpy(queue, vm->reports.queue, n * sizeof(*queue));
	vm->reports.count = 0;
	pthread_mutex_unlock(&vm->machine_lock);
	for (unsigned int i = 0; i < n; i++)
		tell(vm, &queue[i]);
}

int vm_reports_init(struct vm *vm, struct error *e)
{
	int ret = loop_event_init(vm->loop, &vm->reports.event, on_reports, vm);

	return ret ? error_errno(e, ret, "event loop") : 0;
}

void vm_reports_deinit(struct vm *vm)
{
	loop_event_deinit(&vm->reports.event);
}
