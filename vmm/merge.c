/* SPDX-License-Identifier: MIT */
/* Folding a chain of saves. Main thread. */
#include "merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "save/directory.h"
#include "snapshot_internal.h"

/* The saves that were named must be those that the last one builds on. */
static int open_chain(struct saved_vm **out, char *const *dirs, size_t count,
		      struct error *e)
{
	struct saved_vm *last, *named;
	const struct saved_vm *i;
	int ret = saved_vm_open(&last, dirs[count - 1], e);

	if (ret)
		return ret;
	i = last;
	for (size_t n = count - 1; !ret && n-- > 0;) {
		i = i->base;
		ret = saved_vm_open(&named, dirs[n], e);
		if (ret)
			break;
		if (!i || memcmp(i->identity.id, named->identity.id,
				 DIRTY_ID_BYTES))
			ret = error_config(e, -EINVAL, "%s is not what %s was "
					   "made from", dirs[n], dirs[n + 1]);
		saved_vm_close(named);
	}
	if (ret)
		saved_vm_close(last);
	else
		*out = last;
	return ret;
}

/* Somebody who has forgotten the last argument names a save as the result. */
static int check_out(const struct saved_vm *s, const char *out, struct error *e)
{
	struct saved_vm *old;
	struct error none;
	bool taken;

	if (saved_vm_open(&old, out, &none))
		return 0;
	taken = old->identity.is_diff;
	for (; s; s = s->base)
		taken = taken || !memcmp(s->identity.id, old->identity.id,
					 DIRTY_ID_BYTES);
	saved_vm_close(old);
	return taken ? error_config(e, -EEXIST, "%s is a diff, or one of those "
				    "to be merged: it is not replaced", out) :
		       0;
}

static int copy_section(const struct state_section *s, struct state_file *f,
			struct error *e)
{
	struct state_writer *w = state_file_add(f, s->tag, s->instance);

	if (!w)
		return error_set(e, -ENOMEM, "out of memory");
	state_put_bytes(w, s->data, s->len_bytes);
	return 0;
}

static int write_identity(struct state_file *f, struct error *e)
{
	struct state_writer *w = state_file_add(f, TAG_SAVE, 0);
	struct save_identity identity = { 0 };

	if (!w)
		return error_set(e, -ENOMEM, "out of memory");
	if (getrandom(identity.id, DIRTY_ID_BYTES, 0) != DIRTY_ID_BYTES)
		return error_errno(e, -errno, "getrandom");
	save_identity_put(&identity, w);
	return 0;
}

static int write_memory(const struct saved_vm *s, struct state_file *f,
			struct save_directory *d, bool (*cancelled)(void),
			struct error *e)
{
	struct state_writer *w = state_file_add(f, TAG_MEMORY, 0);
	struct memory_layer layers[SAVED_MAX_LAYERS];
	int count = saved_vm_layers(s, layers, e), fd, ret;
	struct progress progress;
	struct memory_map map;

	if (!w || memory_map_init(&map, MEMORY_FULL, s->map.len_bytes))
		return error_set(e, -ENOMEM, "out of memory");
	fd = save_directory_file(d, MEMORY_NAME, e);
	progress_begin(&progress, "merging memory", s->map.len_bytes);
	progress.cancelled = cancelled;
	ret = fd < 0 ? fd : memory_layers_merge(layers, (size_t)count, fd, &map,
						&progress, e);
	progress_end(&progress);
	if (!ret && fsync(fd))
		ret = error_errno(e, -errno, MEMORY_NAME);
	if (fd >= 0)
		close(fd);
	state_put_string(w, MEMORY_NAME);
	state_put_u64(w, s->hot_bytes);
	memory_map_save(&map, w);
	memory_map_deinit(&map);
	return ret;
}

static int write_file(struct save_directory *d, const char *name,
		      const void *data, size_t len, struct error *e)
{
	int fd = save_directory_file(d, name, e);

	return fd < 0 ? fd : save_file(fd, data, len, name, e);
}

static int write_files(const struct saved_vm *s, struct state_file *f,
		       struct save_directory *d, bool (*cancelled)(void),
		       struct error *e)
{
	uint8_t *data;
	size_t len;
	int ret = write_identity(f, e);

	for (size_t i = 0; !ret && i < s->view.count; i++) {
		const struct state_section *section = &s->view.sections[i];

		if (strcmp(section->tag, TAG_SAVE) &&
		    strcmp(section->tag, TAG_MEMORY))
			ret = copy_section(section, f, e);
	}
	if (!ret)
		ret = write_memory(s, f, d, cancelled, e);
	if (ret)
		return ret;
	ret = state_file_encode(f, &data, &len);
	if (ret)
		return error_errno(e, ret, STATE_NAME);
	ret = write_file(d, STATE_NAME, data, len, e);
	free(data);
	if (!ret)
		ret = write_file(d, CONFIG_NAME, s->config, strlen(s->config),
				 e);
	return ret;
}

int merge_saves(char *const *dirs, size_t count, const char *out,
		bool (*cancelled)(void), struct error *e)
{
	struct save_directory *d = NULL;
	struct state_file *f = NULL;
	struct saved_vm *s = NULL;
	int ret = open_chain(&s, dirs, count, e);

	if (!ret)
		ret = check_out(s, out, e);
	if (!ret && state_file_create(&f))
		ret = error_set(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = save_directory_create(&d, out, e);
	if (!ret)
		ret = write_files(s, f, d, cancelled, e);
	if (!ret)
		ret = save_directory_commit(d, e);
	save_directory_destroy(d);
	state_file_destroy(f);
	saved_vm_close(s);
	return ret;
}
