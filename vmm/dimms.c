/* SPDX-License-Identifier: MIT */
/* The memory of DIMMs. Main thread; discarding on devices' threads. */
#include "dimms.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "hot_memory.h"

/* Memory slots from here on; those of hot_memory.c come before. */
#define FIRST_MEMSLOT	640u
#define DEFAULT_SLOTS	16u
#define RESERVED_MAX	4u

struct dimms {
	struct guest_mem *mem;
	struct kvm_vm *kvm;
	gpa_t base;
	uint64_t len_bytes;
	unsigned int slots;
	struct {
		gpa_t base;
		uint64_t len_bytes;	/* 0: none */
	} reserved[RESERVED_MAX];
	/* What is in it is complete. Taken out while nobody looks. */
	_Atomic(struct dimm *) dimms[DIMMS_MAX];
};

unsigned int dimms_slots(const struct config_memory *c)
{
	if (c->max_bytes <= c->size_bytes)
		return 0;
	return c->slots ? c->slots : DEFAULT_SLOTS;
}

/* Beside that of virtio-mem: the guest's driver takes all of its own. */
uint64_t dimms_room_bytes(const struct config_memory *c)
{
	return dimms_slots(c) ? hot_memory_room_bytes(c) : 0;
}

int dimms_create(struct dimms **out, unsigned int slots, gpa_t base,
		 uint64_t len_bytes, struct guest_mem *mem,
		 struct kvm_vm *kvm, struct error *e)
{
	struct dimms *d = calloc(1, sizeof(*d));

	if (!d)
		return error_set(e, -ENOMEM, "out of memory");
	d->mem = mem;
	d->kvm = kvm;
	d->base = base;
	d->len_bytes = len_bytes;
	d->slots = slots;
	*out = d;
	return 0;
}

static void dimm_free(struct dimm *dimm)
{
	ram_destroy(dimm->ram);
	free(dimm->memdev);
	free(dimm->id);
	free(dimm);
}

void dimms_remove(struct dimms *d, struct dimm *dimm)
{
	atomic_store(&d->dimms[dimm->slot], NULL);
	guest_mem_remove(d->mem, dimm->base);
	kvm_set_memory(d->kvm, FIRST_MEMSLOT + dimm->slot, 0, dimm->base, 0,
		       ram_host(dimm->ram, 0));
	dimm_free(dimm);
}

void dimms_destroy(struct dimms *d)
{
	if (!d)
		return;
	for (unsigned int i = 0; i < d->slots; i++)
		if (dimms_at(d, i))
			dimms_remove(d, dimms_at(d, i));
	free(d);
}

/* ---- a place ------------------------------------------------------------- */

static int take_slot(const struct dimms *d, struct dimm *dimm,
		     const struct dimm_spec *spec, struct error *e)
{
	unsigned int i = 0;

	if (spec->has_slot && spec->slot >= d->slots)
		return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOSPC,
				       "slot: %llu: there are 0 to %u",
				       (unsigned long long)spec->slot,
				       d->slots - 1);
	if (spec->has_slot)
		i = (unsigned int)spec->slot;
	if (spec->has_slot && dimms_at(d, i))
		return error_class_set(e, ERROR_ALREADY_ATTACHED, -EBUSY,
				       "slot: %u is taken", i);
	while (i < d->slots && dimms_at(d, i))
		i++;
	if (i == d->slots)
		return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOSPC,
				       "all %u DIMM slots are taken (--memory "
				       "slots=)", d->slots);
	if (FIRST_MEMSLOT + i >= d->kvm->max_memslots)
		return error_set(e, -ENOSPC, "this host's KVM has only %u "
				 "memory slots", d->kvm->max_memslots);
	dimm->slot = i;
	return 0;
}

/* The end of what overlaps [base, base + len), or 0. */
static gpa_t conflict_end(const struct dimms *d, gpa_t base, uint64_t len)
{
	for (unsigned int i = 0; i < d->slots; i++) {
		const struct dimm *other = dimms_at(d, i);

		if (other && base < other->base + other->len_bytes &&
		    other->base < base + len)
			return other->base + other->len_bytes;
	}
	for (unsigned int i = 0; i < RESERVED_MAX; i++) {
		gpa_t end = d->reserved[i].base + d->reserved[i].len_bytes;

		if (base < end && d->reserved[i].base < base + len)
			return end;
	}
	return 0;
}

/* Both are multiples of DIMM_ALIGN. */
static bool in_room(const struct dimms *d, gpa_t base, uint64_t len)
{
	return base >= d->base && base - d->base <= d->len_bytes &&
	       len <= d->len_bytes - (base - d->base);
}

static int check_given(const struct dimms *d, gpa_t base, uint64_t len,
		       struct error *e)
{
	if (base % DIMM_ALIGN || !in_room(d, base, len))
		return error_config(e, -EINVAL, "addr: %#llx: DIMMs go to a "
				    "multiple of 128 MiB from %#llx to %#llx",
				    (unsigned long long)base,
				    (unsigned long long)d->base,
				    (unsigned long long)(d->base +
							 d->len_bytes));
	if (conflict_end(d, base, len))
		return error_class_set(e, ERROR_ALREADY_ATTACHED, -EEXIST,
				       "addr: %#llx: there is a DIMM already",
				       (unsigned long long)base);
	return 0;
}

static int find_room(const struct dimms *d, uint64_t len, gpa_t *out,
		     struct error *e)
{
	gpa_t base = d->base, end;

	while (in_room(d, base, len)) {
		end = conflict_end(d, base, len);
		if (!end) {
			*out = base;
			return 0;
		}
		base = end;
	}
	return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOSPC,
			       "there is no room for %llu MiB more (--memory "
			       "max=)", (unsigned long long)(len >> 20));
}

/* *base is given, or 0. */
static int take_address(const struct dimms *d, gpa_t *base, uint64_t len,
			struct error *e)
{
	return *base ? check_given(d, *base, len, e) :
		       find_room(d, len, base, e);
}

int dimms_reserve(struct dimms *d, uint64_t len_bytes, gpa_t *base,
		  struct error *e)
{
	unsigned int i = 0;
	int ret;

	while (i < RESERVED_MAX && d->reserved[i].len_bytes)
		i++;
	if (i == RESERVED_MAX)
		return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOSPC,
				       "no more than %u such", RESERVED_MAX);
	len_bytes = (len_bytes + DIMM_ALIGN - 1) & ~(DIMM_ALIGN - 1);
	ret = take_address(d, base, len_bytes, e);
	if (ret)
		return ret;
	d->reserved[i].base = *base;
	d->reserved[i].len_bytes = len_bytes;
	return 0;
}

void dimms_unreserve(struct dimms *d, gpa_t base)
{
	for (unsigned int i = 0; i < RESERVED_MAX; i++)
		if (d->reserved[i].base == base)
			d->reserved[i].base = d->reserved[i].len_bytes = 0;
}

/* ---- adding --------------------------------------------------------------- */

static struct dimm *dimm_new(const struct dimm_spec *spec)
{
	struct dimm *dimm = calloc(1, sizeof(*dimm));

	if (!dimm)
		return NULL;
	dimm->len_bytes = spec->backing.size_bytes;
	dimm->automatic = spec->automatic;
	dimm->id = strdup(spec->id);
	dimm->memdev = spec->memdev ? strdup(spec->memdev) : NULL;
	if (!dimm->id || (spec->memdev && !dimm->memdev)) {
		dimm_free(dimm);
		return NULL;
	}
	return dimm;
}

int dimms_plug(struct dimms *d, struct dimm *dimm, struct error *e)
{
	unsigned long long mib = dimm->len_bytes >> 20;
	uint8_t *host = ram_host(dimm->ram, 0);
	int ret = kvm_set_memory(d->kvm, FIRST_MEMSLOT + dimm->slot, 0,
				 dimm->base, dimm->len_bytes, host);

	if (ret) {
		dimm_free(dimm);
		return error_errno(e, ret, "KVM_SET_USER_MEMORY_REGION of %llu "
				   "MiB", mib);
	}
	ret = guest_mem_add(d->mem, dimm->base, dimm->len_bytes, host);
	if (ret) {
		kvm_set_memory(d->kvm, FIRST_MEMSLOT + dimm->slot, 0,
			       dimm->base, 0, host);
		dimm_free(dimm);
		return error_errno(e, ret, "guest memory");
	}
	atomic_store(&d->dimms[dimm->slot], dimm);
	return 0;
}

static int make_memory(struct dimm *dimm, const struct dimm_spec *spec,
		       struct error *e)
{
	const struct ram_range range = { dimm->base, dimm->len_bytes };
	int ret = ram_create(&dimm->ram, &spec->backing, &range, 1, NULL, e);

	if (!ret && spec->backing.prealloc)
		ret = ram_prealloc(dimm->ram, spec->cancelled, e);
	return ret && spec->memdev ?
		       error_prefix(e, ret, "memdev '%s'", spec->memdev) : ret;
}

int dimms_prepare(const struct dimms *d, const struct dimm_spec *spec,
		  struct dimm **out, struct error *e)
{
	uint64_t len = spec->backing.size_bytes;
	struct dimm *dimm;
	int ret;

	if (!len || len % DIMM_ALIGN)
		return error_config(e, -EINVAL, "size: %llu bytes: a DIMM has a "
				    "multiple of 128 MiB, by which Linux adds "
				    "memory", (unsigned long long)len);
	dimm = dimm_new(spec);
	if (!dimm)
		return error_set(e, -ENOMEM, "out of memory");
	dimm->base = spec->base;
	ret = take_slot(d, dimm, spec, e);
	if (!ret)
		ret = take_address(d, &dimm->base, dimm->len_bytes, e);
	if (!ret)
		ret = make_memory(dimm, spec, e);
	if (ret) {
		dimm_free(dimm);
		return ret;
	}
	*out = dimm;
	return 0;
}

/* ---- what there is -------------------------------------------------------- */

struct dimm *dimms_at(const struct dimms *d, unsigned int slot)
{
	return d && slot < d->slots ? atomic_load(&d->dimms[slot]) : NULL;
}

struct dimm *dimms_find(const struct dimms *d, const char *id)
{
	for (unsigned int i = 0; d && i < d->slots; i++) {
		struct dimm *dimm = dimms_at(d, i);

		if (dimm && !strcmp(dimm->id, id))
			return dimm;
	}
	return NULL;
}

uint64_t dimms_bytes(const struct dimms *d)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; d && i < d->slots; i++)
		if (dimms_at(d, i))
			sum += dimms_at(d, i)->len_bytes;
	return sum;
}

void dimms_reset(struct dimms *d)
{
	for (unsigned int i = 0; d && i < d->slots; i++)
		if (dimms_at(d, i))
			ram_reset(dimms_at(d, i)->ram);
}

unsigned int dimms_parts(const struct dimms *d, struct ram_part *parts)
{
	unsigned int count = 0;

	for (unsigned int i = 0; d && i < d->slots; i++) {
		const struct dimm *dimm = dimms_at(d, i);

		if (!dimm)
			continue;
		ram_parts(dimm->ram, &parts[count]);
		parts[count].base = dimm->base;
		parts[count++].slot = FIRST_MEMSLOT + i;
	}
	return count;
}

gpa_t dimms_end(const struct dimms *d)
{
	return d->base + d->len_bytes;
}

bool dimms_discard(const struct dimms *d, void *host, uint64_t len_bytes)
{
	for (unsigned int i = 0; d && i < d->slots; i++) {
		const struct dimm *dimm = dimms_at(d, i);

		if (dimm && ram_discard(dimm->ram, host, len_bytes))
			return true;
	}
	return false;
}
