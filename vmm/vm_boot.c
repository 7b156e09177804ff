/* SPDX-License-Identifier: MIT */
/* A VM's kernel, and how it gets into its memory. Main thread, but preload(). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/dax.h"
#include "log.h"
#include "thread.h"
#include "vm_internal.h"

static int build_cmdline(struct vm *vm, struct error *e)
{
	const struct vm_config *c = vm->config;
	bool root = c->rootfs.path && c->rootfs.type != ROOTFS_INITRD;
	bool pmem = root && c->rootfs.type == ROOTFS_PMEM;
	int ret = board_cmdline(c, &vm->cmdline);

	if (!ret && root)
		ret = cmdline_append(&vm->cmdline, pmem ? "root=/dev/pmem0" :
							  "root=/dev/vda");
	if (!ret && root)
		ret = cmdline_append(&vm->cmdline,
				     c->rootfs.readonly ? "ro" : "rw");
	if (!ret && pmem && dax_possible(c->rootfs.path))
		ret = cmdline_append(&vm->cmdline, "rootflags=dax");
	/* Debian's kernels leave to user space what they are given. */
	if (!ret && hot_memory_room_bytes(&c->memory))
		ret = cmdline_append(&vm->cmdline, "memhp_default_state=online");
	for (size_t i = 0; !ret && i < c->param_count; i++)
		ret = cmdline_append(&vm->cmdline, c->params[i]);
	if (ret)
		return error_config(e, ret, "--params: %s",
				    ret == -EINVAL ? "a newline inside" :
						     "out of memory");
	return cmdline_check(&vm->cmdline, boot_cmdline_limit(vm->image), e);
}

int vm_open_image(struct vm *vm, struct error *e)
{
	const struct vm_config *c = vm->config;
	bool rootfs_initrd = c->rootfs.path && c->rootfs.type == ROOTFS_INITRD;
	const char *rootfs[] = { c->rootfs.path };
	struct boot_open_params p = {
		.kernel = c->kernel,
		.initrds = rootfs_initrd ? rootfs :
					   (const char *const *)c->initrds,
		.initrd_count = rootfs_initrd ? 1 : c->initrd_count,
		.cache = c->kernel_cache,
		.cancelled = vm->start_cancelled,
	};
	int ret = boot_open(&vm->image, &p, e);

	if (ret)
		return ret;
	if (!c->kernel_cache || strcmp(c->kernel_cache, "off"))
		log_info("kernel cache: %s",
			 boot_was_cached(vm->image) ? "hit" : "miss");
	return build_cmdline(vm, e);
}

/*
 * KVM_CREATE_VM waits for an RCU grace period of the host, for longer than all
 * else takes until the guest runs. A thread loads the kernel meanwhile. It has
 * the image and RAM for itself until vm_end_preload().
 */
struct vm_preloader {
	pthread_t thread;
	struct boot_image *image;
	struct guest_mem *mem;
	bool map_private;
	struct error error;
	int ret;
};

static void *preload(void *opaque)
{
	struct vm_preloader *p = opaque;

	p->ret = boot_preload(p->image, p->mem, p->map_private, &p->error);
	return NULL;
}

int vm_begin_preload(struct vm *vm, struct error *e)
{
	struct vm_preloader *p = calloc(1, sizeof(*p));
	int ret;

	if (!p)
		return error_set(e, -ENOMEM, "out of memory");
	p->image = vm->image;
	p->mem = vm->mem;
	p->map_private = ram_is_private(vm->ram);
	ret = thread_start(&p->thread, 0, preload, p);
	if (ret) {
		free(p);
		return error_errno(e, ret, "thread");
	}
	vm->preloader = p;
	return 0;
}

int vm_end_preload(struct vm *vm, struct error *e)
{
	struct vm_preloader *p = vm->preloader;
	int ret;

	if (!p)
		return 0;
	vm->preloader = NULL;
	pthread_join(p->thread, NULL);
	ret = p->ret;
	if (ret)
		*e = p->error;
	free(p);
	return ret;
}

int vm_load(struct vm *vm, struct error *e)
{
	struct boot_entry entry;
	int ret = 0;

	/* A restored VM needs no kernel until it is reset. */
	if (!vm->image)
		ret = vm_open_image(vm, e);
	if (ret)
		return ret;
	ret = board_load(vm->board, vm->image, &vm->cmdline,
			 ram_is_private(vm->ram), &entry, e);
	return ret ? ret : vcpus_boot(vm->vcpus, &entry, e);
}
