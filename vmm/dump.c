/* SPDX-License-Identifier: MIT */
/* Dumps. work() runs on the job's thread, the rest on the main one. */
#include "dump.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "job.h"
#include "save/channel.h"
#include "save/elf_core.h"
#include "save/page.h"
#include "vm_internal.h"

struct vm_dump {
	struct vm *vm;
	struct vm_dump_status status;	/* completed: job_progress() */
	struct job *job;		/* NULL: it has ended */
	struct channel *to;
	struct elf_core core;
	struct elf_core_part parts[ELF_CORE_MAX_PARTS];
	struct state_writer notes;
};

/* What of it is inside [begin, begin + len), and the rest of those pages. */
static void add_part(struct vm_dump *d, const struct guest_mem_region *r,
		     uint64_t begin, uint64_t len)
{
	uint64_t start = begin > r->base ? begin - r->base : 0;
	uint64_t end = r->len_bytes;

	if (start >= end || begin + len <= r->base)
		return;
	start &= ~(uint64_t)(MEMORY_PAGE_BYTES - 1);
	if (begin + len - r->base < end)
		end = (begin + len - r->base + MEMORY_PAGE_BYTES - 1) &
		      ~(uint64_t)(MEMORY_PAGE_BYTES - 1);
	d->parts[d->core.part_count++] = (struct elf_core_part){
		.base = r->base + start,
		.host = r->host + start,
		.len_bytes = end - start,
	};
}

/* All RAM, and no persistent memory: that has files of its own. */
static int collect_memory(struct vm_dump *d, uint64_t begin, uint64_t len,
			  struct error *e)
{
	const struct guest_mem_region *r;
	uint64_t pmem_bytes;
	gpa_t pmem;

	if (len > UINT64_MAX - begin)
		len = UINT64_MAX - begin;
	board_pmem_area(d->vm->board, &pmem, &pmem_bytes);
	d->core.part_count = 0;
	for (size_t i = 0; (r = guest_mem_region(d->vm->mem, i)); i++) {
		if (r->base >= pmem)
			break;
		if (d->core.part_count == ELF_CORE_MAX_PARTS)
			return error_set(e, -E2BIG, "dump: the memory is in "
					 "more than %d parts",
					 ELF_CORE_MAX_PARTS);
		add_part(d, r, begin, len);
	}
	if (!d->core.part_count)
		return error_set(e, -EINVAL, "dump: no guest memory to dump");
	return 0;
}

static int collect_registers(struct vm_dump *d, struct error *e)
{
	struct vm *vm = d->vm;

	state_writer_deinit(&d->notes);
	for (unsigned int i = 0; i < vm->config->cpus.max; i++) {
		int ret;

		if (!vcpus_present(vm->vcpus, i))
			continue;
		ret = vcpus_notes(vm->vcpus, i, &d->notes);
		if (ret)
			return error_errno(e, ret, "dump: registers of vCPU %u",
					   i);
	}
	return 0;
}

static void progress(void *opaque, uint64_t bytes)
{
	job_add_progress(opaque, bytes);
}

static int work(struct job *j, void *opaque, struct error *e)
{
	struct vm_dump *d = opaque;
	int ret;

	channel_set_cancel(d->to, job_cancel_fd(j));
	ret = vm_fault_fill(d->vm, j, "dump", e);
	if (ret)
		return ret;
	ret = elf_core_write(&d->core, d->to, progress, j);
	if (!ret)
		ret = vm_check_memory(d->vm, "dump", NULL);
	ret = channel_finish(d->to, ret, e);
	if (!ret)
		return 0;
	error_prefix(e, ret, "dump");
	vm_check_memory(d->vm, "dump", e);
	return ret;
}

static void end(struct vm_dump *d)
{
	if (d->job)
		d->status.completed = job_progress(d->job);
	job_destroy(d->job);
	channel_close(d->to);
	state_writer_deinit(&d->notes);
	d->job = NULL;
	d->to = NULL;
}

static void done(void *opaque, int ret, const struct error *e)
{
	struct vm_dump *d = opaque;

	end(d);
	d->status.state = ret ? VM_DUMP_FAILED : VM_DUMP_COMPLETED;
	if (ret)
		d->status.error = *e;
	vm_release(d->vm);
	vm_emit(d->vm, VM_EVENT_DUMP_COMPLETED, false, NULL);
}

static int start(struct vm_dump *d, struct error *e)
{
	static const struct job_ops ops = { .work = work, .done = done };
	int ret = collect_registers(d, e);

	if (ret)
		return ret;
	d->core.parts = d->parts;
	d->core.notes = d->notes.data;
	d->core.notes_bytes = d->notes.len_bytes;
	d->status = (struct vm_dump_status){
		.state = VM_DUMP_ACTIVE,
		.total = elf_core_ram_bytes(&d->core),
	};
	return job_start(&d->job, d->vm->loop, &ops, d, e);
}

static int prepare(struct vm *vm, const struct vm_dump_params *p,
		   struct error *e)
{
	int ret;

	if (!vm->dump) {
		vm->dump = calloc(1, sizeof(*vm->dump));
		if (!vm->dump)
			return error_set(e, -ENOMEM, "out of memory");
		vm->dump->vm = vm;
	}
	ret = vm_check_hold(vm, "dump", e);
	return ret ? ret : collect_memory(vm->dump, p->begin, p->len_bytes, e);
}

/* Nothing has been touched, the file neither, when it fails before that is open. */
int vm_dump(struct vm *vm, const struct vm_dump_params *p, struct error *e)
{
	struct channel *to = NULL;
	struct vm_dump *d;
	int ret = prepare(vm, p, e);

	if (ret && !p->uri)
		close(p->fd);
	if (!ret)
		ret = p->uri ? channel_open(&to, p->uri, CHANNEL_OUT, e) :
			       channel_from_fd(&to, p->fd, e);
	if (ret)
		return ret;
	ret = vm_hold(vm, VM_SAVING, "dump", e);
	if (ret) {
		channel_close(to);
		return ret;
	}
	d = vm->dump;
	d->to = to;
	ret = start(d, e);
	if (ret) {
		end(d);
		d->status = (struct vm_dump_status){ .state = VM_DUMP_FAILED,
						     .error = *e };
		vm_release(vm);
	}
	return ret;
}

void vm_dump_status(const struct vm *vm, struct vm_dump_status *out)
{
	*out = (struct vm_dump_status){ .state = VM_DUMP_NONE };
	if (!vm->dump)
		return;
	*out = vm->dump->status;
	if (vm->dump->job)
		out->completed = job_progress(vm->dump->job);
}

void vm_dump_deinit(struct vm *vm)
{
	if (!vm->dump)
		return;
	end(vm->dump);
	free(vm->dump);
	vm->dump = NULL;
}
