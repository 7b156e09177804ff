/* SPDX-License-Identifier: MIT */
/* Room for memory to come. Main thread; discarding on any. */
#include "hot_memory.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Memory slots from here on; those of pmem come before. */
#define FIRST_SLOT	512u
/* And, for all but the first room, after those of DIMMs. */
#define OTHERS_SLOT	896u
#define MAX_SLOTS	HOT_MEMORY_MAX_SLOTS

struct hot_memory {
	struct guest_mem *mem;
	struct kvm_vm *kvm;
	struct ram *ram;
	gpa_t base;
	uint64_t bytes, open_bytes;
	uint64_t step_bytes;		/* by which it opens */
	unsigned int first_slot, slots;
	gpa_t slot_base[MAX_SLOTS];
	uint64_t slot_bytes[MAX_SLOTS];
};

uint64_t hot_memory_room_bytes(const struct config_memory *c)
{
	if (c->max_bytes <= c->size_bytes)
		return 0;
	return (c->max_bytes - c->size_bytes + HOT_MEMORY_ALIGN - 1) &
	       ~(HOT_MEMORY_ALIGN - 1);
}

static uint64_t step_of(uint64_t bytes)
{
	uint64_t step = HOT_MEMORY_ALIGN;

	while (bytes / step > MAX_SLOTS)
		step *= 2;
	return step;
}

void hot_memory_backing(struct config_memory *c)
{
	struct stat st;

	c->prealloc = false;
	c->saved = false;
	/* A file has the content of the RAM at the start, no more. */
	if (c->path && (stat(c->path, &st) || !S_ISDIR(st.st_mode)))
		c->path = NULL;
}

int hot_memory_create_at(struct hot_memory **out,
			 const struct config_memory *backing, gpa_t base,
			 unsigned int n, struct guest_mem *mem,
			 struct kvm_vm *kvm, struct error *e)
{
	struct hot_memory *h = calloc(1, sizeof(*h));
	int ret;

	if (!h)
		return error_set(e, -ENOMEM, "out of memory");
	*h = (struct hot_memory){
		.mem = mem, .kvm = kvm, .base = base,
		.bytes = backing->size_bytes,
		.first_slot = n ? OTHERS_SLOT + (n - 1) * MAX_SLOTS :
				  FIRST_SLOT,
	};
	h->step_bytes = step_of(h->bytes);
	ret = ram_create(&h->ram, backing,
			 &(struct ram_range){ base, h->bytes }, 1, NULL, e);
	if (ret) {
		free(h);
		return ret;
	}
	*out = h;
	return 0;
}

int hot_memory_create(struct hot_memory **out, const struct config_memory *c,
		      gpa_t base, struct guest_mem *mem, struct kvm_vm *kvm,
		      struct error *e)
{
	struct config_memory backing = *c;

	hot_memory_backing(&backing);
	backing.size_bytes = hot_memory_room_bytes(c);
	return hot_memory_create_at(out, &backing, base, 0, mem, kvm, e);
}

void hot_memory_destroy(struct hot_memory *h)
{
	if (!h)
		return;
	for (unsigned int i = 0; i < h->slots; i++)
		guest_mem_remove(h->mem, h->slot_base[i]);
	ram_destroy(h->ram);
	free(h);
}

gpa_t hot_memory_base(const struct hot_memory *h)
{
	return h->base;
}

uint64_t hot_memory_bytes(const struct hot_memory *h)
{
	return h->bytes;
}

uint64_t hot_memory_open_bytes(const struct hot_memory *h)
{
	return h->open_bytes;
}

int hot_memory_open(struct hot_memory *h, uint64_t bytes, struct error *e)
{
	uint8_t *host = ram_host(h->ram, 0);
	uint64_t len;
	int ret;

	if (bytes > h->bytes)
		return error_config(e, -EINVAL, "%llu MiB are more than there "
				    "is room for",
				    (unsigned long long)(bytes >> 20));
	if (bytes <= h->open_bytes)
		return 0;
	len = (bytes - h->open_bytes + h->step_bytes - 1) / h->step_bytes *
	      h->step_bytes;
	if (len > h->bytes - h->open_bytes)
		len = h->bytes - h->open_bytes;
	host += h->open_bytes;
	ret = kvm_set_memory(h->kvm, h->first_slot + h->slots, 0,
			     h->base + h->open_bytes, len, host);
	if (ret)
		return error_errno(e, ret, "KVM_SET_USER_MEMORY_REGION of %llu "
				   "MiB", (unsigned long long)(len >> 20));
	ret = guest_mem_add(h->mem, h->base + h->open_bytes, len, host);
	if (ret) {
		kvm_set_memory(h->kvm, h->first_slot + h->slots, 0,
			       h->base + h->open_bytes, 0, host);
		return error_errno(e, ret, "guest memory");
	}
	h->slot_bytes[h->slots] = len;
	h->slot_base[h->slots++] = h->base + h->open_bytes;
	h->open_bytes += len;
	return 0;
}

void hot_memory_close(struct hot_memory *h)
{
	for (unsigned int i = 0; i < h->slots; i++) {
		guest_mem_remove(h->mem, h->slot_base[i]);
		kvm_set_memory(h->kvm, h->first_slot + i, 0, h->slot_base[i], 0,
			       ram_host(h->ram, 0));
	}
	h->slots = 0;
	h->open_bytes = 0;
}

int hot_memory_map(struct hot_memory *h, int fd, uint64_t offset,
		   uint64_t len_bytes, struct error *e)
{
	return ram_map_saved(h->ram, fd, offset, len_bytes < h->open_bytes ?
			     len_bytes : h->open_bytes, e);
}

void hot_memory_note_filled(struct hot_memory *h)
{
	ram_set_filled(h->ram);
}

void hot_memory_reset(struct hot_memory *h)
{
	ram_reset(h->ram);
}

void hot_memory_clear(const struct hot_memory *h, uint64_t offset,
		      uint64_t len_bytes)
{
	ram_discard(h->ram, ram_host(h->ram, 0) + offset, len_bytes);
}

unsigned int hot_memory_parts(const struct hot_memory *h,
			      struct ram_part *parts)
{
	struct ram_part whole[RAM_MAX_RANGES];
	uint8_t *host = ram_host(h->ram, 0);

	ram_parts(h->ram, whole);
	for (unsigned int i = 0; i < h->slots; i++)
		parts[i] = (struct ram_part){
			.host = host + (h->slot_base[i] - h->base),
			.len_bytes = h->slot_bytes[i],
			.anonymous = whole[0].anonymous,
			.base = h->slot_base[i],
			.slot = h->first_slot + i,
			.private = whole[0].private,
		};
	return h->slots;
}

bool hot_memory_discard(const struct hot_memory *h, void *host,
			uint64_t len_bytes)
{
	return ram_discard(h->ram, host, len_bytes);
}
