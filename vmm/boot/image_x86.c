/* SPDX-License-Identifier: MIT */
/*
 * x86_64: telling a bzImage, an ELF and a compressed ELF from each other, and
 * loading them. Main thread.
 *
 * A kernel is loaded where it was linked to run, by p_paddr, so nothing needs
 * relocating. Everything is checked against the guest's memory before the first
 * byte of it is written.
 */
#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/bzimage_x86.h"
#include "boot/image.h"
#include "boot/linux_x86.h"
#include "boot/place.h"
#include "boot/pvh_x86.h"
#include "layout_x86.h"

#define LOWEST_KERNEL	0x100000ull	/* below are the loader's tables */
#define IDENTITY_END	(1ull << 32)	/* of the page tables; of 32 bits */
#define ENTRY64		0x200u		/* boot.rst, "64-bit Boot Protocol" */
#define LINUX_VIRTUAL	0xffffffff80000000ull	/* __START_KERNEL_map */

enum kind {
	KIND_LINUX,		/* an ELF, entered at e_entry */
	KIND_LINUX_PACKED,	/* a bzImage that decompresses itself */
	KIND_PVH,
};

struct image_arch {
	enum kind kind;
	struct bzimage bz;
};

/* ---- opening ------------------------------------------------------------- */

static int check_elf(const struct boot_image *b, struct error *e)
{
	const struct elf_image *elf = &b->elf;
	const char *name = b->kernel_path;

	if (elf->machine != EM_X86_64 && (elf->is64 || elf->machine != EM_386))
		return error_config(e, -EINVAL, "%s: ELF: e_machine %u is not "
				    "x86", name, elf->machine);
	if (elf->segments[0].paddr < LOWEST_KERNEL)
		return error_config(e, -EINVAL, "%s: ELF: p_paddr %#llx is "
				    "below %#llx", name,
				    (unsigned long long)elf->segments[0].paddr,
				    LOWEST_KERNEL);
	if (elf_end(elf) > IDENTITY_END)
		return error_config(e, -EINVAL, "%s: ELF: a segment ends at "
				    "%#llx, above 4 GiB", name,
				    (unsigned long long)elf_end(elf));
	return 0;
}

/*
 * Linux's e_entry is a physical address although the kernel is linked to run at
 * a virtual one. Others with a PVH note may have any kind of e_entry.
 */
static bool looks_like_linux(const struct elf_image *elf)
{
	const struct elf_segment *s = elf_find(elf, elf->entry);

	return s && elf->is64 && elf->machine == EM_X86_64 &&
	       (!elf->has_pvh || s->vaddr >= LINUX_VIRTUAL);
}

static int choose_entry(struct boot_image *b, struct error *e)
{
	const struct elf_image *elf = &b->elf;
	int ret = check_elf(b, e);

	if (ret)
		return ret;
	if (looks_like_linux(elf)) {
		b->arch->kind = KIND_LINUX;
		bzimage_make_up(&b->arch->bz);
		return 0;
	}
	if (!elf->has_pvh)
		return error_config(e, -EINVAL, "%s: ELF: e_entry %#llx is no "
				    "64-bit entry inside a segment, and there "
				    "is no PVH note", b->kernel_path,
				    (unsigned long long)elf->entry);
	if (!elf_find(elf, elf->pvh_entry))
		return error_config(e, -EINVAL, "%s: ELF: the PVH entry %#x is "
				    "outside all segments", b->kernel_path,
				    elf->pvh_entry);
	b->arch->kind = KIND_PVH;
	return 0;
}

/* An unknown payload: the kernel has to unpack itself. */
static int open_packed(struct boot_image *b, struct error *e)
{
	const struct bzimage *bz = &b->arch->bz;

	if (!bz->entry64)
		return error_config(e, -EINVAL, "%s: bzImage: payload of an "
				    "unknown format, and xloadflags %#x say "
				    "that there is no 64-bit entry",
				    b->kernel_path, bz->hdr.xloadflags);
	if (bz->kernel_len <= ENTRY64)
		return error_config(e, -EINVAL, "%s: bzImage: truncated before "
				    "its 64-bit entry", b->kernel_path);
	b->arch->kind = KIND_LINUX_PACKED;
	return 0;
}

static int open_bzimage(struct boot_image *b, const uint8_t *head,
			size_t head_len, struct error *e)
{
	struct bzimage *bz = &b->arch->bz;
	struct image_part part = { 0 };
	uint8_t magic[16], size[4];
	int ret;

	ret = bzimage_parse(bz, head, head_len, b->kernel.len_bytes,
			    b->kernel_path, e);
	if (ret)
		return ret;
	if (bz->payload_len < sizeof(magic))
		return open_packed(b, e);
	ret = source_pread(b->kernel.fd, bz->payload_offset, magic,
			   sizeof(magic));
	if (!ret)
		ret = source_pread(b->kernel.fd, bz->payload_offset +
				   bz->payload_len - sizeof(size), size,
				   sizeof(size));
	if (ret)
		return error_config(e, ret, "%s: bzImage: payload: %s",
				    b->kernel_path, strerror(-ret));
	part.codec = codec_sniff(magic, sizeof(magic));
	if (part.codec == CODEC_UNKNOWN)
		return open_packed(b, e);
	part.offset = bz->payload_offset;
	part.len_bytes = bz->payload_len;
	/* The last word is the unpacked size; gzip has it by itself. */
	if (part.codec != CODEC_GZIP)
		part.len_bytes -= sizeof(size);
	part.unpacked_bytes = (uint32_t)size[3] << 24 |
			      (uint32_t)size[2] << 16 |
			      (uint32_t)size[1] << 8 | size[0];
	ret = image_unpack(b, &part, e);
	if (!ret)
		ret = check_elf(b, e);
	if (ret)
		return ret;
	if (!b->elf.is64 || b->elf.machine != EM_X86_64)
		return error_config(e, -EINVAL, "%s: bzImage: the kernel "
				    "inside is not a 64-bit one",
				    b->kernel_path);
	if (!elf_find(&b->elf, b->elf.entry))
		return error_config(e, -EINVAL, "%s: bzImage: e_entry %#llx "
				    "is outside all segments", b->kernel_path,
				    (unsigned long long)b->elf.entry);
	b->arch->kind = KIND_LINUX;
	return 0;
}

int image_arch_open(struct boot_image *b, struct error *e)
{
	uint64_t len = b->kernel.len_bytes;
	struct image_part part = { .len_bytes = len };
	uint8_t head[BZIMAGE_HEAD_BYTES];
	int ret;

	b->arch = calloc(1, sizeof(*b->arch));
	if (!b->arch)
		return error_set(e, -ENOMEM, "out of memory");
	if (len > sizeof(head))
		len = sizeof(head);
	ret = source_pread(b->kernel.fd, 0, head, (size_t)len);
	if (ret)
		return error_config(e, ret, "%s: %s", b->kernel_path,
				    strerror(-ret));
	if (bzimage_sniff(head, (size_t)len))
		return open_bzimage(b, head, (size_t)len, e);
	part.codec = codec_sniff(head, (size_t)len);
	if (elf_sniff(head, (size_t)len))
		ret = image_use_elf(b, e);
	else if (part.codec != CODEC_UNKNOWN)
		ret = image_unpack(b, &part, e);
	else
		ret = error_config(e, -EINVAL, "%s: not a kernel: no bzImage "
				   "header, no ELF, and not compressed in a "
				   "known format", b->kernel_path);
	return ret ? ret : choose_entry(b, e);
}

void image_arch_close(struct boot_image *b)
{
	free(b->arch);
	b->arch = NULL;
}

size_t boot_cmdline_limit(const struct boot_image *b)
{
	size_t limit = LAYOUT_CMDLINE_MAX - 1;

	if (b->arch->kind != KIND_PVH && b->arch->bz.cmdline_limit < limit)
		limit = b->arch->bz.cmdline_limit;
	return limit;
}

/* ---- loading ------------------------------------------------------------- */

/* Where a kernel and its initial ramdisk go. */
struct plan {
	gpa_t kernel;
	uint64_t kernel_len;	/* in memory, init_size included */
	gpa_t initrd;
};

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static int no_room(const struct boot_image *b,
		   const struct boot_load_params *p, const struct plan *plan,
		   struct error *e)
{
	return error_config(e, -ENOSPC, "%s: the kernel needs RAM at "
			    "[%#llx, %#llx), the guest's ends at %#llx",
			    b->kernel_path, (unsigned long long)plan->kernel,
			    (unsigned long long)(plan->kernel +
						 plan->kernel_len),
			    (unsigned long long)place_ram_end(p, IDENTITY_END));
}

/* A bzImage that unpacks itself may be put elsewhere if it is relocatable. */
static int plan_packed(const struct boot_image *b,
		       const struct boot_load_params *p, struct plan *plan,
		       struct error *e)
{
	const struct bzimage *bz = &b->arch->bz;
	uint64_t align = bz->hdr.kernel_alignment;

	plan->kernel = bz->pref_address;
	plan->kernel_len = larger(bz->kernel_len, bz->init_size);
	if (plan->kernel < LOWEST_KERNEL)
		return error_config(e, -EINVAL, "%s: bzImage: load address "
				    "%#llx is below %#llx", b->kernel_path,
				    (unsigned long long)plan->kernel,
				    LOWEST_KERNEL);
	if (place_is_ram(p, plan->kernel, plan->kernel_len) ||
	    !bz->hdr.relocatable_kernel)
		return 0;
	if (!align || (align & (align - 1)))
		return error_config(e, -EINVAL, "%s: bzImage: kernel_alignment "
				    "%#llx is not a power of 2",
				    b->kernel_path, (unsigned long long)align);
	plan->kernel = (LOWEST_KERNEL + align - 1) & ~(align - 1);
	return 0;
}

static int make_plan(const struct boot_image *b,
		     const struct boot_load_params *p, struct plan *plan,
		     struct error *e)
{
	const struct image_arch *a = b->arch;
	gpa_t limit = IDENTITY_END, end;
	int ret;

	*plan = (struct plan){ 0 };
	if (a->kind == KIND_LINUX_PACKED) {
		ret = plan_packed(b, p, plan, e);
		if (ret)
			return ret;
	} else {
		plan->kernel = b->elf.segments[0].paddr;
		plan->kernel_len = larger(elf_end(&b->elf) - plan->kernel,
					  a->bz.init_size);
	}
	/* All of init_size: the kernel uses it before it reads the map. */
	if (!place_is_ram(p, plan->kernel, plan->kernel_len) ||
	    plan->kernel + plan->kernel_len > IDENTITY_END)
		return no_room(b, p, plan, e);
	if (!place_is_ram(p, 0, LAYOUT_EBDA))
		return error_set(e, -EFAULT, "no RAM below %#llx",
				 LAYOUT_EBDA);
	if (!b->initrd.len_bytes)
		return 0;
	if (a->kind != KIND_PVH)
		limit = a->bz.initrd_limit;
	end = plan->kernel + plan->kernel_len;
	if (!place_high(p, b->initrd.len_bytes, end, limit, &plan->initrd))
		return 0;
	return error_config(e, -ENOSPC, "initrd: %llu bytes do not fit between "
			    "the kernel's end at %#llx and %#llx",
			    (unsigned long long)b->initrd.len_bytes,
			    (unsigned long long)end,
			    (unsigned long long)place_ram_end(p, limit));
}

static int load_elf(struct boot_image *b, struct guest_mem *mem,
		    bool map_private, struct error *e)
{
	struct place_elf_params elf = {
		.elf = &b->elf,
		.fd = b->payload.fd,
		.offset = b->payload.offset,
		.data = b->payload.has_map ? &b->payload.data : NULL,
		.name = b->kernel_path,
		.map = map_private && b->payload.mappable,
		.zeroed = map_private && !b->loaded,
	};

	return place_elf(&elf, mem, &b->unwritten, e);
}

int boot_preload(struct boot_image *b, struct guest_mem *mem, bool map_private,
		 struct error *e)
{
	int ret;

	if (b->arch->kind == KIND_LINUX_PACKED)
		return 0;
	for (size_t i = 0; i < b->elf.count; i++)
		if (!guest_mem_valid(mem, b->elf.segments[i].paddr,
				     b->elf.segments[i].mem_bytes))
			return 0;
	ret = load_elf(b, mem, map_private, e);
	b->preloaded = !ret;
	return ret;
}

static int load_kernel(struct boot_image *b, const struct boot_load_params *p,
		       const struct plan *plan, struct error *e)
{
	const struct bzimage *bz = &b->arch->bz;
	bool preloaded = b->preloaded;
	int ret;

	b->preloaded = false;
	if (preloaded)
		return 0;
	if (b->arch->kind != KIND_LINUX_PACKED)
		return load_elf(b, p->mem, p->map_private, e);
	ret = source_pread_guest(b->kernel.fd, bz->kernel_offset, p->mem,
				 plan->kernel, bz->kernel_len);
	if (ret)
		return error_config(e, ret, "%s: %s", b->kernel_path,
				    strerror(-ret));
	return 0;
}

static int write_info(const struct boot_image *b,
		      const struct boot_load_params *p,
		      const struct plan *plan, struct boot_entry *out,
		      struct error *e)
{
	struct linux_params l = {
		.bz = &b->arch->bz,
		.kernel = plan->kernel,
		.entry = b->arch->kind == KIND_LINUX ? b->elf.entry :
						       plan->kernel + ENTRY64,
		.initrd = plan->initrd,
		.initrd_len = b->initrd.len_bytes,
	};
	struct pvh_params v = {
		.entry = b->elf.pvh_entry,
		.module = plan->initrd,
		.module_len = b->initrd.len_bytes,
	};

	if (b->arch->kind == KIND_PVH)
		return pvh_write(&v, p, out, e);
	return linux_write(&l, p, out, e);
}

int boot_load(struct boot_image *b, const struct boot_load_params *p,
	      struct boot_entry *entry, struct error *e)
{
	size_t cmdline_len = p->cmdline ? strlen(p->cmdline) : 0;
	struct plan plan;
	int ret;

	if (cmdline_len > boot_cmdline_limit(b))
		return error_config(e, -E2BIG, "kernel command line: %zu "
				    "bytes, the kernel takes at most %zu",
				    cmdline_len, boot_cmdline_limit(b));
	ret = make_plan(b, p, &plan, e);
	if (!ret)
		ret = load_kernel(b, p, &plan, e);
	if (!ret)
		ret = initrd_load(&b->initrd, p->mem, plan.initrd, e);
	if (!ret)
		ret = write_info(b, p, &plan, entry, e);
	if (!ret)
		b->loaded = true;
	return ret;
}
