/* SPDX-License-Identifier: MIT */
/*
 * Opening a kernel: its file, the cache or the decompressor, the initial
 * ramdisk. Main thread.
 */
#include "boot/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "boot/decompress.h"

#define MAX_KERNEL_FILE		(4ull << 30)	/* a vmlinux with debug data */
#define MAX_COMPRESSED		(1ull << 30)
#define MAX_UNPACKED		(512ull << 20)
/* A smaller ELF is not worth one of the cache's few places. */
#define MIN_CACHED_ELF		(4ull << 20)

/* ---- the payload --------------------------------------------------------- */

static void set_payload(struct boot_image *b, int fd, uint64_t offset,
			bool mappable)
{
	b->payload.fd = fd;
	b->payload.offset = offset;
	b->payload.mappable = mappable;
	b->payload.has_map = false;
}

static int read_payload(struct boot_image *b, uint64_t len_bytes,
			struct error *e)
{
	return elf_read(&b->elf, b->payload.fd, b->payload.offset, len_bytes,
			b->kernel_path, e);
}

/* id NULL: the file has no identity to be found by. */
static bool use_cached(struct boot_image *b, const struct source_id *id)
{
	struct cache_entry entry;

	if (!id || cache_lookup(&b->cache, id, &entry))
		return false;
	set_payload(b, entry.fd, CACHE_CONTENT_OFFSET, true);
	b->payload.data = entry.data;
	b->payload.has_map = true;
	if (!read_payload(b, entry.len_bytes, NULL))
		return true;
	close(entry.fd);
	set_payload(b, -1, 0, false);
	return false;
}

static int begin_anonymous(struct cache_temp *t, struct error *e)
{
	*t = (struct cache_temp)CACHE_TEMP_INIT;
	t->fd = memfd_create("mote-kernel", MFD_CLOEXEC);
	if (t->fd < 0)
		return error_errno(e, -errno, "memfd_create");
	return 0;
}

static int decompress(struct boot_image *b, const struct image_part *part,
		      int fd, struct decompress_result *result,
		      struct error *e)
{
	struct decompress_job job = {
		.name = b->kernel_path,
		.codec = part->codec,
		.in_fd = b->kernel.fd,
		.in_offset = part->offset,
		.in_len = part->len_bytes,
		.out_fd = fd,
		.out_offset = CACHE_CONTENT_OFFSET,
		.limit = MAX_UNPACKED,
		.cancelled = b->cancelled,
	};
	int ret;

	ret = decompress_run(&job, result, e);
	if (ret || !part->unpacked_bytes ||
	    part->unpacked_bytes == result->len_bytes)
		return ret;
	return error_config(e, -EINVAL, "%s: payload (%s): %llu bytes where "
			    "its last word announces %llu", b->kernel_path,
			    codec_name(part->codec),
			    (unsigned long long)result->len_bytes,
			    (unsigned long long)part->unpacked_bytes);
}

/* Fills t, which is a file of the cache or, if that fails, an anonymous one. */
static int unpack(struct boot_image *b, const struct image_part *part,
		  struct cache_temp *t, bool *publishable,
		  struct decompress_result *result, struct error *e)
{
	int ret;

	if (*publishable && !cache_begin(&b->cache, t)) {
		ret = decompress(b, part, t->fd, result, e);
		if (ret != -EIO)
			return ret;
		/* Most likely no space there: boot without the cache. */
		cache_abandon(&b->cache, t);
	}
	*publishable = false;
	/* Nothing is gained by one more copy that nobody shares. */
	if (part->codec == CODEC_COPY)
		return -ENOENT;
	ret = begin_anonymous(t, e);
	if (!ret)
		ret = decompress(b, part, t->fd, result, e);
	return ret;
}

int image_unpack(struct boot_image *b, const struct image_part *part,
		 struct error *e)
{
	struct cache_temp t = CACHE_TEMP_INIT;
	struct decompress_result result;
	struct source_id id;
	bool publishable;
	int ret;

	publishable = b->cache.dir_fd >= 0 && !source_identify(&b->kernel, &id);
	if (use_cached(b, publishable ? &id : NULL)) {
		b->cached = true;
		return 0;
	}
	if (part->len_bytes > MAX_COMPRESSED)
		return error_config(e, -EFBIG, "%s: payload (%s): %llu bytes, "
				    "the limit is %llu", b->kernel_path,
				    codec_name(part->codec),
				    (unsigned long long)part->len_bytes,
				    (unsigned long long)MAX_COMPRESSED);
	ret = unpack(b, part, &t, &publishable, &result, e);
	if (ret)
		goto out;
	set_payload(b, t.fd, CACHE_CONTENT_OFFSET, true);
	ret = read_payload(b, result.len_bytes, e);
	if (ret) {
		set_payload(b, -1, 0, false);
		goto out;
	}
	if (publishable) {
		ret = cache_publish(&b->cache, &t, &b->kernel, &id,
				    result.len_bytes, result.crc64);
		/* The entry's own descriptor cannot be written to. */
		if ((!ret || ret == -EEXIST) && use_cached(b, &id))
			goto out_published;
	}
	/* Not published: the nameless file lives on as the payload. */
	source_map_read(&b->payload.data, t.fd, CACHE_CONTENT_OFFSET,
			result.len_bytes);
	b->payload.has_map = true;
	t.fd = -1;
out_published:
	ret = 0;
out:
	cache_abandon(&b->cache, &t);
	return ret;
}

int image_use_elf(struct boot_image *b, struct error *e)
{
	struct image_part part = { .codec = CODEC_COPY };
	struct source_map constant;
	int ret;

	/* A pipe's copy is ours alone; a file's owner may change it. */
	set_payload(b, b->kernel.fd, 0, !b->kernel.regular);
	ret = read_payload(b, b->kernel.len_bytes, e);
	if (ret)
		return ret;
	part.len_bytes = b->elf.extent;
	if (b->cache.dir_fd < 0 || !b->kernel.regular ||
	    part.len_bytes < MIN_CACHED_ELF || part.len_bytes > MAX_UNPACKED)
		return 0;
	/* Pages of the cache's copy can be shared; without it, it works too. */
	constant = b->elf.constant;
	ret = image_unpack(b, &part, NULL);
	if (ret == -ECANCELED)
		return error_set(e, ret, "%s: given up", b->kernel_path);
	if (ret) {
		set_payload(b, b->kernel.fd, 0, false);
		return read_payload(b, b->kernel.len_bytes, e);
	}
	/* The copy has no section headers. */
	b->elf.constant = constant;
	return 0;
}

/* ---- opening ------------------------------------------------------------- */

static int copy_paths(struct boot_image *b, const struct boot_open_params *p)
{
	b->kernel_path = strdup(p->kernel);
	if (!b->kernel_path)
		return -ENOMEM;
	if (!p->initrd_count)
		return 0;
	b->initrd_paths = calloc(p->initrd_count, sizeof(char *));
	if (!b->initrd_paths)
		return -ENOMEM;
	for (; b->initrd_count < p->initrd_count; b->initrd_count++) {
		char *path = strdup(p->initrds[b->initrd_count]);

		if (!path)
			return -ENOMEM;
		b->initrd_paths[b->initrd_count] = path;
	}
	return 0;
}

int boot_open(struct boot_image **out, const struct boot_open_params *p,
	      struct error *e)
{
	struct boot_image *b = calloc(1, sizeof(*b));
	int ret;

	if (!b)
		return error_set(e, -ENOMEM, "out of memory");
	b->kernel = (struct source)SOURCE_INIT;
	b->cache = (struct cache)CACHE_INIT;
	b->payload.fd = -1;
	if (copy_paths(b, p)) {
		ret = error_set(e, -ENOMEM, "out of memory");
		goto err_close;
	}
	b->cancelled = p->cancelled;
	ret = source_open(&b->kernel, b->kernel_path, MAX_KERNEL_FILE,
			  b->cancelled, e);
	if (ret)
		goto err_kernel;
	ret = cache_open(&b->cache, p->cache, e);
	if (ret)
		goto err_close;
	ret = image_arch_open(b, e);
	if (ret)
		goto err_kernel;
	if (b->payload.fd >= 0 && b->payload.fd != b->kernel.fd)
		source_close(&b->kernel);
	ret = initrd_open(&b->initrd, b->initrd_paths, b->initrd_count,
			  b->cancelled, e);
	if (ret)
		goto err_close;
	cache_close(&b->cache);
	*out = b;
	return 0;

err_kernel:
	error_prefix(e, ret, "kernel");
err_close:
	cache_undo(&b->cache);
	boot_close(b);
	return ret;
}

void boot_close(struct boot_image *b)
{
	if (!b)
		return;
	image_arch_close(b);
	initrd_close(&b->initrd);
	if (b->payload.fd >= 0 && b->payload.fd != b->kernel.fd)
		close(b->payload.fd);
	source_close(&b->kernel);
	cache_close(&b->cache);
	for (size_t i = 0; i < b->initrd_count; i++)
		free(b->initrd_paths[i]);
	free(b->initrd_paths);
	free(b->kernel_path);
	free(b);
}

bool boot_populate(struct boot_image *b, struct guest_mem *mem,
		   uint64_t max_bytes)
{
	struct place_range *r = &b->unwritten;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t n = r->len_bytes < max_bytes ? r->len_bytes : max_bytes;
	uint64_t head = r->gpa & (page - 1);
	void *host = NULL;

	if (n)
		host = guest_mem_ring(mem, r->gpa - head, (size_t)(head + n));
	/* EINVAL: before Linux 5.14. The guest's faults do the same. */
	if (!host || madvise(host, (size_t)(head + n), MADV_POPULATE_WRITE))
		n = r->len_bytes;
	r->gpa += n;
	r->len_bytes -= n;
	return r->len_bytes;
}

bool boot_was_cached(const struct boot_image *b)
{
	return b->cached;
}
