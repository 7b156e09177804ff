/* SPDX-License-Identifier: MIT */
/* The initial ramdisk. Main thread. */
#include "boot/initrd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What a 32-bit ramdisk_size can say, with room for the padding. */
#define MAX_BYTES	(UINT32_MAX & ~4095ull)

static uint64_t padding(uint64_t len_bytes)
{
	return -len_bytes & 3;
}

int initrd_open(struct initrd *r, char *const *paths, size_t count,
		cancel_fn cancelled, struct error *e)
{
	int ret;

	*r = (struct initrd)INITRD_INIT;
	if (!count)
		return 0;
	r->files = calloc(count, sizeof(r->files[0]));
	if (!r->files)
		return error_set(e, -ENOMEM, "out of memory");
	for (; r->count < count; r->count++) {
		struct source *s = &r->files[r->count];

		r->len_bytes += padding(r->len_bytes);
		ret = source_open(s, paths[r->count],
				  MAX_BYTES - r->len_bytes, cancelled, e);
		if (ret)
			goto err_close;
		r->len_bytes += s->len_bytes;
	}
	return 0;

err_close:
	initrd_close(r);
	return error_prefix(e, ret, "initrd");
}

void initrd_close(struct initrd *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++)
		source_close(&r->files[i]);
	free(r->files);
	*r = (struct initrd)INITRD_INIT;
}

int initrd_load(const struct initrd *r, struct guest_mem *m, gpa_t gpa,
		struct error *e)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct source *s = &r->files[i];
		size_t pad = i + 1 < r->count ?
			     (size_t)padding(s->len_bytes) : 0;
		int ret;

		ret = source_pread_guest(s->fd, 0, m, gpa, s->len_bytes);
		if (ret == -ENODATA)
			return error_config(e, ret, "initrd: %s: became "
					    "shorter while it was used",
					    s->path);
		gpa += s->len_bytes;
		/* Not zero at a reset. */
		if (!ret)
			ret = guest_mem_zero(m, gpa, pad);
		if (ret)
			return error_config(e, ret, "initrd: %s: %s", s->path,
					    strerror(-ret));
		gpa += pad;
	}
	return 0;
}
