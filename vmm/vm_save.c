/* SPDX-License-Identifier: MIT */
/*
 * Saving a VM: what is in processors and devices at once, then RAM and the files
 * on a thread of the save's own, so that the monitor goes on. work() runs on that
 * thread, the rest on the main one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "job.h"
#include "save/files.h"
#include "snapshot_internal.h"
#include "vm_internal.h"

struct save_job {
	struct vm *vm;
	vm_save_fn done;
	void *opaque;
	enum save_type type;

	struct save_identity identity;
	struct state_file *file;
	struct save_files *files;
	char *config;
	char *live_path;		/* of a template's RAM */
	struct memory_part parts[RAM_MAX_PARTS];
	size_t part_count;
	uint64_t hot_bytes;		/* of the room for more memory */
	uint64_t *changed;		/* of a diff: pages */
	bool base_added;
	struct job *job;
};

/* All logs are asked, so that the next save knows what has changed since. */
static int collect(struct save_job *job, struct error *e)
{
	struct vm *vm = job->vm;
	struct ram_part ram[RAM_MAX_PARTS];
	size_t count = vm_ram_parts(vm, ram);
	int ret = vm_dirty_collect(vm, ram, count, e);

	if (ret)
		return ret;
	if (job->type != SAVE_DIFF)
		return 0;
	ret = dirty_since(vm->dirty, job->identity.base_id, &job->changed);
	if (ret == -ENOENT)
		return error_config(e, ret, "base: not one of the last %d saves "
				    "of this VM, nor what it was restored from",
				    DIRTY_BASES);
	for (size_t i = 0; !ret && i < count; i++)
		job->parts[i].changed = job->changed + ram[i].base / 64 /
						       MEMORY_PAGE_BYTES;
	return ret ? error_set(e, ret, "out of memory") : 0;
}

/* ---- on the job's thread -------------------------------------------------- */

static int write_memory(struct save_job *job, struct job *j,
			struct state_writer *w, struct error *e)
{
	struct memory_map map;
	int fd, ret = 0;

	/* Of a diff only what was there is looked at. */
	if (job->type == SAVE_FULL)
		ret = vm_fault_fill(job->vm, j, "save", e);
	if (ret)
		return ret;
	fd = save_files_memory(job->files, e);
	if (fd < 0)
		return fd;
	ret = memory_map_init(&map, job->type == SAVE_DIFF ? MEMORY_DIFF :
							     MEMORY_FULL,
			      memory_file_bytes(job->parts, job->part_count));
	if (ret)
		error_set(e, ret, "out of memory");
	else
		ret = memory_file_write(fd, job->parts, job->part_count, &map,
					j, e);
	if (!ret) {
		state_put_string(w, save_files_memory_name(job->files));
		state_put_u64(w, job->hot_bytes);
		memory_map_save(&map, w);
		if (fsync(fd))
			ret = error_errno(e, -errno, MEMORY_NAME);
	}
	close(fd);
	memory_map_deinit(&map);
	return ret;
}

/* The map of a file that is RAM itself. */
static int write_live_memory(struct save_job *job, struct state_writer *w,
			     struct error *e)
{
	struct memory_map map;

	if (memory_map_init(&map, MEMORY_LIVE,
			    memory_file_bytes(job->parts, job->part_count)))
		return error_set(e, -ENOMEM, "out of memory");
	state_put_string(w, job->live_path);
	state_put_u64(w, job->hot_bytes);
	memory_map_save(&map, w);
	memory_map_deinit(&map);
	return 0;
}

static int work(struct job *j, void *opaque, struct error *e)
{
	struct save_job *job = opaque;
	struct state_writer *w = state_file_add(job->file, TAG_MEMORY, 0);
	uint8_t *data;
	size_t len;
	int ret;

	if (!w)
		return error_set(e, -ENOMEM, "out of memory");
	ret = job->type == SAVE_TEMPLATE ? write_live_memory(job, w, e) :
					   write_memory(job, j, w, e);
	if (ret)
		return ret;
	ret = state_file_encode(job->file, &data, &len);
	if (ret)
		return error_errno(e, ret, STATE_NAME);
	ret = save_files_write(job->files, STATE_NAME, data, len, e);
	free(data);
	if (!ret)
		ret = save_files_write(job->files, CONFIG_NAME, job->config,
				       strlen(job->config), e);
	if (!ret && job_cancelled(j))
		ret = error_errno(e, -ECANCELED, "save");
	if (!ret)
		ret = vm_check_memory(job->vm, "save", e);
	return ret ? ret : save_files_commit(job->files, e);
}

/* ---- before and after ----------------------------------------------------- */

static int check_savable(const struct vm *vm, const struct save_params *p,
			 struct error *e)
{
	enum save_type type = p->type;

	if (vm->state != VM_PAUSED)
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "save: the VM is %s, not paused",
				       vm_state_name(vm->state));
	if (vm_is_asked(vm))
		return error_class_set(e, ERROR_INVALID_STATE, -EPERM,
				       "save: the guest has just asked to be "
				       "reset or to end");
	if (type == SAVE_TEMPLATE && !ram_shared_file(vm->ram))
		return error_class_set(e, ERROR_INVALID_STATE, -EINVAL,
				       "save: a template's RAM is a file: "
				       "--memory SIZE,path=FILE,share=on");
	if (type == SAVE_TEMPLATE && p->memory_path)
		return error_config(e, -EINVAL, "memory-path: a template's "
				    "memory stays where it is, %s",
				    ram_shared_file(vm->ram));
	if (type == SAVE_TEMPLATE && vm_memory_added(vm))
		return error_class_set(e, ERROR_NOT_SUPPORTED, -EOPNOTSUPP,
				       "save: memory that was added is not in a "
				       "template's file");
	return 0;
}

static void save_destroy(struct save_job *job)
{
	job_destroy(job->job);
	save_files_destroy(job->files);
	state_file_destroy(job->file);
	free(job->changed);
	free(job->live_path);
	free(job->config);
	free(job);
}

static void done(void *opaque, int ret, const struct error *e)
{
	struct save_job *job = opaque;
	struct vm *vm = job->vm;
	struct save_job was = *job;
	struct error error = *e;

	if (ret && job->base_added)
		dirty_drop_base(vm->dirty);
	if (!ret && job->type == SAVE_TEMPLATE)
		vm->is_template = true;
	vm->save_job = NULL;
	save_destroy(job);
	vm_release(vm);
	was.done(was.opaque, ret, &error);
}

static void tick(void *opaque)
{
	struct save_job *job = opaque;

	if (job->vm->save_job)
		vm_emit(job->vm, VM_EVENT_SAVE_PROGRESS, false, NULL);
}

bool vm_save_progress(const struct vm *vm, struct vm_save_progress *out)
{
	const struct save_job *job = vm->save_job;

	if (!job)
		return false;
	out->total = memory_file_bytes(job->parts, job->part_count);
	out->done = job_progress(job->job);
	if (out->done > out->total)
		out->done = out->total;
	out->passed_ms = job_passed_ms(job->job);
	return true;
}

void vm_save_deinit(struct vm *vm)
{
	if (vm->save_job)
		save_destroy(vm->save_job);
	vm->save_job = NULL;
}

static int find_base(struct save_job *job, const struct save_params *p,
		     struct error *e)
{
	struct saved_vm *base;
	int ret;

	if (job->type != SAVE_DIFF)
		return p->base ? error_config(e, -EINVAL, "base: only a diff "
					      "has one") : 0;
	if (!p->base)
		return error_class_set(e, ERROR_MISSING_PARAMETER, -EINVAL,
				       "Parameter 'base' is missing");
	/* The diff lies over it: a chain that is too long could not be restored. */
	ret = saved_vm_open_at(&base, p->base, 1, NULL, e);
	if (ret)
		return error_prefix(e, ret, "base");
	job->identity.is_diff = true;
	memcpy(job->identity.base_id, base->identity.id, DIRTY_ID_BYTES);
	ret = save_identity_place_base(&job->identity, base->path,
				       p->state_path ? NULL : p->directory,
				       p->state_path, e);
	saved_vm_close(base);
	return ret;
}

static int open_files(struct save_job *job, const struct save_params *p,
		      struct error *e)
{
	const char *where = p->state_path ? p->state_path : p->directory;
	struct save_places places = {
		.directory = p->directory, .state_path = p->state_path,
		.memory_path = p->memory_path,
		.no_memory = p->type == SAVE_TEMPLATE,
	};
	struct saved_vm *old = NULL;
	struct error none;
	int ret;

	if (where && !saved_vm_open(&old, where, &none))
		places.old_memory = old->memory_path;
	ret = save_files_create(&job->files, &places, job->identity.id, e);
	saved_vm_close(old);
	return ret;
}

static int prepare(struct save_job *job, const struct save_params *p,
		   struct error *e)
{
	struct vm *vm = job->vm;
	struct state_writer *w;
	int ret = p->directory || p->state_path ? find_base(job, p, e) :
		  error_class_set(e, ERROR_MISSING_PARAMETER, -EINVAL,
				  "Parameter 'directory' is missing");

	if (!ret)
		ret = save_config_text(vm, &job->config, e);
	if (ret)
		return ret;
	if (getrandom(job->identity.id, DIRTY_ID_BYTES, 0) != DIRTY_ID_BYTES)
		return error_errno(e, -errno, "getrandom");
	ret = state_file_create(&job->file);
	w = ret ? NULL : state_file_add(job->file, TAG_SAVE, 0);
	if (!w)
		return error_set(e, -ENOMEM, "out of memory");
	save_identity_put(&job->identity, w);
	if (job->type == SAVE_TEMPLATE) {
		job->live_path = realpath(ram_shared_file(vm->ram), NULL);
		if (!job->live_path)
			return error_errno(e, -errno, "--memory: %s",
					   ram_shared_file(vm->ram));
	}
	ret = open_files(job, p, e);
	if (!ret)
		ret = snapshot_save(vm, job->file, job->config, e);
	job->part_count = vm_memory_parts(vm, job->parts);
	job->hot_bytes = vm->hot_memory ?
			 hot_memory_open_bytes(vm->hot_memory) : 0;
	/* A template never runs again. */
	if (ret || job->type == SAVE_TEMPLATE)
		return ret;
	ret = collect(job, e);
	if (!ret)
		ret = vm_dirty_note_base(vm, job->identity.id, e);
	job->base_added = !ret;
	return ret;
}

int vm_save(struct vm *vm, const struct save_params *p, vm_save_fn on_done,
	    void *opaque, struct error *e)
{
	static const struct job_ops ops = { work, done, tick };
	int ret = check_savable(vm, p, e);
	struct save_job *job;

	if (ret)
		return ret;
	vm_cpus_take_ejected(vm);
	vm_dimms_take_ejected(vm);
	job = calloc(1, sizeof(*job));
	if (!job)
		return error_set(e, -ENOMEM, "out of memory");
	*job = (struct save_job){
		.vm = vm, .done = on_done, .opaque = opaque, .type = p->type,
	};
	ret = prepare(job, p, e);
	if (!ret)
		ret = job_start(&job->job, vm->loop, &ops, job, e);
	if (!ret)
		ret = vm_hold(vm, VM_SAVING, "save", e);
	if (ret) {
		if (job->base_added)
			dirty_drop_base(vm->dirty);
		save_destroy(job);
		return ret;
	}
	vm->save_job = job;
	return 0;
}
