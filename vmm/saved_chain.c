/* SPDX-License-Identifier: MIT */
/* What a diff builds on. Main thread. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot_internal.h"

/* Nothing was found at a place; else what is wrong with it, or SAVED_ANOTHER. */
#define NOTHING 2

/* At one of the places where it may be. */
static int try_base(struct saved_vm *s, const char *path, unsigned int depth,
		    struct error *e)
{
	/* Paths that are each relative to the last would grow with the chain. */
	char *real = realpath(path, NULL);
	int ret;

	if (!real)
		return NOTHING;
	ret = saved_vm_open_at(&s->base, real, depth + 1, s->identity.base_id,
			       e);
	free(real);
	if (ret == SAVED_ANOTHER)
		error_config(e, -EINVAL, "%s: section '%s': its base %s is "
			     "another save than the one that it was made from",
			     s->path, TAG_SAVE, path);
	else if (ret && !depth)
		error_prefix(e, ret, "the base of %s", s->path);
	return ret;
}

/* Beside it, wherever both have gone together, or else where it was. */
int saved_vm_open_base(struct saved_vm *s, unsigned int depth, struct error *e)
{
	const char *absolute = s->identity.base_absolute;
	char *path;
	int ret;

	if (s->identity.is_diff != (s->map.kind == MEMORY_DIFF))
		return saved_vm_section_error(s, TAG_SAVE, 0,
					      error_errno(e, -EPROTO,
							  "malformed"), e);
	if (!s->identity.is_diff)
		return 0;
	if (depth + 1 >= SAVED_MAX_LAYERS)
		return error_config(e, -E2BIG, "%s: the chain that it is in has "
				    "more than %d saves: merge some", s->path,
				    SAVED_MAX_LAYERS);
	if (saved_vm_beside(s, s->identity.base_relative, &path))
		return error_set(e, -ENOMEM, "out of memory");
	ret = try_base(s, path, depth, e);
	if (ret > 0) {
		int other = try_base(s, absolute, depth, e);

		ret = other == NOTHING ? ret : other;
	}
	if (ret == NOTHING)
		error_config(e, -ENOENT, "%s: section '%s': its base is not "
			     "there: neither %s nor %s", s->path, TAG_SAVE,
			     path, absolute);
	if (ret > 0)
		ret = -EINVAL;
	free(path);
	return ret;
}

int saved_vm_layers(const struct saved_vm *s,
		    struct memory_layer layers[SAVED_MAX_LAYERS],
		    struct error *e)
{
	int count = 0;

	for (const struct saved_vm *i = s; i; i = i->base)
		count++;
	if (count > SAVED_MAX_LAYERS)
		return error_config(e, -E2BIG, "%s: too many bases", s->path);
	for (int n = count; s; s = s->base)
		layers[--n] = (struct memory_layer){
			.fd = s->memory_fd, .map = &s->map, .name = s->path,
		};
	return count;
}

int saved_vm_lowest_file(const struct saved_vm *s, uint64_t *len_bytes)
{
	while (s->base)
		s = s->base;
	*len_bytes = s->map.len_bytes;
	return s->memory_fd;
}
