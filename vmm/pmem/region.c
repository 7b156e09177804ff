/* SPDX-License-Identifier: MIT */
/*
 * Regions of persistent memory and the space that they are in. Main thread; the
 * accesses of read-only regions run on vCPU threads, machine lock held.
 */
#include "pmem/pmem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "block/vhd.h"
#include "pmem/map.h"
#include "pmem/watch.h"

/* KVM's numbers of memory slots; the lower ones are RAM's. */
#define FIRST_MEMSLOT	256u
#define COMPLAIN_SECONDS 10

struct pmem_region {
	struct pmem_space *space;
	char *path;
	int fd;
	bool footer;
	struct pmem_map map;
	gpa_t base;
	uint64_t len_bytes;
	unsigned int slot;
	bool in_mem, in_kvm;		/* published */
	int watch;			/* pmem_watch_add()'s */

	struct bus_range writes;	/* read-only: what KVM refuses */
	uint64_t dropped;		/* since the last complaint */
	time_t complained;
};

struct pmem_space {
	struct pmem_space_params p;
	struct pmem_region *slots[CONFIG_MAX_PMEM];
	struct pmem_watch watch;
};

/* Two regions of one file have one watch. */
static void unwatch_file(struct pmem_space *s, const struct pmem_region *r)
{
	for (unsigned int i = 0; i < s->p.slots; i++)
		if (s->slots[i] && s->slots[i] != r &&
		    s->slots[i]->watch == r->watch)
			return;
	pmem_watch_remove(&s->watch, r->watch);
}

int pmem_space_create(struct pmem_space **out,
		      const struct pmem_space_params *p, struct error *e)
{
	struct pmem_space *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(e, -ENOMEM, "out of memory");
	s->p = *p;
	pmem_watch_init(&s->watch, p->loop);
	*out = s;
	return 0;
}

void pmem_space_destroy(struct pmem_space *s)
{
	if (!s)
		return;
	pmem_watch_deinit(&s->watch);
	free(s);
}

/* ---- placing ------------------------------------------------------------- */

static int take_slot(struct pmem_space *s, struct pmem_region *r,
		     const struct config_pmem *c, struct error *e)
{
	unsigned int n = c->has_slot ? c->slot : 0;

	while (!c->has_slot && n < s->p.slots && s->slots[n])
		n++;
	if (c->has_slot && n >= s->p.slots)
		return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOSPC,
				       "pmem slot %u: there are 0 to %u", n,
				       s->p.slots - 1);
	if (c->has_slot && s->slots[n])
		return error_class_set(e, ERROR_ALREADY_ATTACHED, -EEXIST,
				       "pmem slot %u is taken", n);
	if (n >= s->p.slots)
		return error_class_set(e, ERROR_NO_AVAILABLE_LOCATION, -ENOSPC,
				       "pmem %s: all %u slots are taken",
				       r->path, s->p.slots);
	if (FIRST_MEMSLOT + n >= s->p.kvm->max_memslots)
		return error_set(e, -ENOSPC, "pmem %s: this host's KVM has "
				 "only %u memory slots", r->path,
				 s->p.kvm->max_memslots);
	s->slots[n] = r;
	r->space = s;
	r->slot = n;
	return 0;
}

/* The end of a placed region that overlaps [base, base+len), or 0. */
static gpa_t conflict_end(const struct pmem_space *s, gpa_t base, uint64_t len)
{
	for (unsigned int i = 0; i < s->p.slots; i++) {
		const struct pmem_region *r = s->slots[i];

		if (r && r->base && base < r->base + r->len_bytes &&
		    r->base < base + len)
			return r->base + r->len_bytes;
	}
	return 0;
}

/* The address that c says, which a saved VM's guest knows. */
static int take_given(struct pmem_space *s, struct pmem_region *r, gpa_t base,
		      struct error *e)
{
	gpa_t limit = s->p.base + s->p.len_bytes;

	if (base % PMEM_ALIGN_BYTES || base < s->p.base || base > limit ||
	    r->len_bytes > limit - base || conflict_end(s, base, r->len_bytes))
		return error_config(e, -EINVAL, "pmem %s: its %llu MiB do not "
				    "fit at 0x%llx", r->path,
				    (unsigned long long)(r->len_bytes >> 20),
				    (unsigned long long)base);
	r->base = base;
	return 0;
}

static int take_address(struct pmem_space *s, struct pmem_region *r,
			struct error *e)
{
	gpa_t base = (s->p.base + PMEM_ALIGN_BYTES - 1) &
		     ~(PMEM_ALIGN_BYTES - 1);
	gpa_t limit = s->p.base + s->p.len_bytes, end;

	do {
		if (base > limit || r->len_bytes > limit - base)
			return error_config(e, -ERANGE, "pmem %s: its %llu MiB "
					    "do not fit the guest's physical "
					    "address width", r->path,
					    (unsigned long long)
					    (r->len_bytes >> 20));
		end = conflict_end(s, base, r->len_bytes);
		if (end)
			base = end;
	} while (end);
	r->base = base;
	return 0;
}

/* ---- what the guest does to a read-only region ---------------------------- */

/* KVM reads by itself; but its instruction emulation may end up here. */
static void read_region(void *opaque, uint64_t offset, uint8_t *data,
			unsigned int len)
{
	struct pmem_region *r = opaque;

	memcpy(data, r->map.host + offset, len);
}

static void write_region(void *opaque, uint64_t offset, const uint8_t *data,
			 unsigned int len)
{
	struct pmem_region *r = opaque;
	struct timespec now;

	(void)offset;
	(void)data;
	(void)len;
	r->dropped++;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (!r->space->p.on_dropped_write ||
	    (r->complained && now.tv_sec - r->complained < COMPLAIN_SECONDS))
		return;
	r->space->p.on_dropped_write(r->path, r->dropped);
	r->complained = now.tv_sec ? now.tv_sec : 1;
	r->dropped = 0;
}

static const struct bus_ops readonly_ops = {
	.read = read_region,
	.write = write_region,
};

/* ---- the file ------------------------------------------------------------ */

/* As for disks: one writer or many readers, until the descriptor is closed. */
static int lock(const struct pmem_region *r, struct error *e)
{
	bool readonly = r->map.readonly;
	struct flock l = {
		.l_type = readonly ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET,
	};

	if (!fcntl(r->fd, F_OFD_SETLK, &l))
		return 0;
	if (errno == EAGAIN || errno == EACCES)
		return error_set(e, -EBUSY, "pmem %s: in use%s", r->path,
				 readonly ? " for writing" : "");
	return error_errno(e, -errno, "pmem %s: cannot lock it", r->path);
}

static int probe(struct pmem_region *r, struct error *e)
{
	uint64_t *bytes = &r->map.data_bytes;
	struct stat st;
	int ret;

	if (fstat(r->fd, &st))
		return error_errno(e, -errno, "pmem %s", r->path);
	if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set(e, -EINVAL, "pmem %s: neither a file nor a "
				 "block device", r->path);
	ret = pmem_file_bytes(r->fd, bytes);
	if (ret)
		return error_errno(e, ret, "pmem %s: cannot tell its size",
				   r->path);
	if (r->footer) {
		ret = vhd_fixed_payload(r->fd, *bytes, bytes, e);
		if (ret)
			return error_prefix(e, ret, "pmem %s", r->path);
	}
	if (!*bytes)
		return error_config(e, -EINVAL, "pmem %s: empty", r->path);
	return 0;
}

static int open_file(struct pmem_region *r, const struct config_pmem *c,
		     struct error *e)
{
	int ret;

	r->footer = c->format == DISK_VHD;
	r->map.path = r->path;
	r->map.readonly = c->readonly;
	/* O_NONBLOCK: a FIFO by mistake must not hang. */
	r->fd = open(r->path, (c->readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC |
			      O_NOCTTY | O_NONBLOCK);
	if (r->fd < 0)
		return error_errno(e, -errno, "pmem %s", r->path);
	r->map.fd = r->fd;
	ret = lock(r, e);
	return ret ? ret : probe(r, e);
}

/* ---- regions ------------------------------------------------------------- */

static int check_size(struct pmem_region *r, uint64_t max, struct error *e)
{
	uint64_t bytes = r->map.data_bytes;

	if (max && bytes > max)
		return error_config(e, -EFBIG, "pmem %s: %llu bytes, more than "
				    "--pmem-max-size allows", r->path,
				    (unsigned long long)bytes);
	if (bytes > UINT64_MAX - PMEM_ALIGN_BYTES)
		return error_config(e, -EFBIG, "pmem %s: too large", r->path);
	r->len_bytes = (bytes + PMEM_ALIGN_BYTES - 1) & ~(PMEM_ALIGN_BYTES - 1);
	return 0;
}

static int publish(struct pmem_region *r, struct error *e)
{
	const struct pmem_space_params *p = &r->space->p;
	bool readonly = r->map.readonly;
	int ret;

	ret = (readonly ? guest_mem_add_readonly : guest_mem_add)
		(p->mem, r->base, r->len_bytes, r->map.host);
	if (ret)
		return error_errno(e, ret, "pmem %s", r->path);
	r->in_mem = true;
	ret = kvm_set_memory(p->kvm, FIRST_MEMSLOT + r->slot,
			     readonly ? KVM_MEM_READONLY : 0, r->base,
			     r->len_bytes, r->map.host);
	if (ret)
		return error_errno(e, ret, "pmem %s: "
				   "KVM_SET_USER_MEMORY_REGION", r->path);
	r->in_kvm = true;
	if (!readonly)
		return 0;
	r->writes = (struct bus_range){
		.base = r->base, .len_bytes = r->len_bytes,
		.ops = &readonly_ops, .opaque = r,
	};
	/* The last step: what is attached is taken away under the lock only. */
	pthread_mutex_lock(p->machine_lock);
	ret = bus_add(p->mmio, &r->writes);
	pthread_mutex_unlock(p->machine_lock);
	return ret ? error_errno(e, ret, "pmem %s", r->path) : 0;
}

int pmem_region_create(struct pmem_region **out, struct pmem_space *s,
		       const struct config_pmem *c, struct error *e)
{
	struct pmem_region *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return error_set(e, -ENOMEM, "out of memory");
	r->fd = r->watch = -1;
	r->map.on_lost = s->p.on_lost;
	r->path = strdup(c->path);
	ret = r->path ? take_slot(s, r, c, e) :
			error_set(e, -ENOMEM, "out of memory");
	if (!ret)
		ret = open_file(r, c, e);
	if (!ret)
		ret = check_size(r, s->p.max_bytes, e);
	if (!ret)
		ret = c->base ? take_given(s, r, c->base, e) :
				take_address(s, r, e);
	if (!ret)
		ret = pmem_map_create(&r->map, r->footer, e);
	if (!ret)
		ret = publish(r, e);
	if (ret) {
		pmem_region_destroy(r);
		return ret;
	}
	r->watch = pmem_watch_add(&s->watch, r->fd, r->path);
	/* What happened before. */
	pmem_maps_check();
	*out = r;
	return 0;
}

void pmem_region_destroy(struct pmem_region *r)
{
	struct pmem_space *s;

	if (!r)
		return;
	s = r->space;
	if (r->in_kvm)
		kvm_set_memory(s->p.kvm, FIRST_MEMSLOT + r->slot, 0, r->base, 0,
			       r->map.host);
	if (r->writes.attached)
		bus_remove(s->p.mmio, &r->writes);
	if (r->in_mem)
		guest_mem_remove(s->p.mem, r->base);
	pmem_map_destroy(&r->map);
	if (r->watch >= 0)
		unwatch_file(s, r);
	if (s)
		s->slots[r->slot] = NULL;
	if (r->fd >= 0)
		close(r->fd);
	free(r->path);
	free(r);
}

gpa_t pmem_region_base(const struct pmem_region *r)
{
	return r->base;
}

uint64_t pmem_region_bytes(const struct pmem_region *r)
{
	return r->len_bytes;
}

unsigned int pmem_region_slot(const struct pmem_region *r)
{
	return r->slot;
}

int pmem_region_flush(struct pmem_region *r)
{
	return pmem_map_flush(&r->map);
}
