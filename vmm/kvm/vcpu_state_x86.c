/* SPDX-License-Identifier: MIT */
/*
 * Saving x86 vCPUs: what KVM has of them, struct by struct (api.rst 4). Main
 * thread; the vCPUs do not run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/cpuid_x86.h"
#include "kvm/vcpu_model_x86.h"
#include "state.h"

#define MSR_IA32_TSC		0x10
#define MSR_IA32_TSC_DEADLINE	0x6e0
#define MAX_MSRS		4096
#define MAX_BLOB_BYTES		(1u << 20)

/* Everything of one vCPU that has a fixed size. */
struct vcpu_fixed {
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debug;
	struct kvm_lapic_state lapic;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp;
};

/* The order of loading: modes before what depends on them. XSAVE follows
 * XCRS, the MSRs follow the LAPIC, events and MP state end it. */
static const struct {
	unsigned long get, set;
	size_t offset, len;
	const char *name;
} fixed[] = {
#define FIXED(what, member)						\
	{ KVM_GET_##what, KVM_SET_##what, offsetof(struct vcpu_fixed, member), \
	  sizeof(((struct vcpu_fixed *)0)->member), #what }
	FIXED(SREGS, sregs),
	FIXED(REGS, regs),
	FIXED(XCRS, xcrs),
	FIXED(DEBUGREGS, debug),
	FIXED(LAPIC, lapic),
	FIXED(VCPU_EVENTS, events),
	FIXED(MP_STATE, mp),
};

#define FIXED_COUNT (sizeof(fixed) / sizeof(fixed[0]))
#define FIXED_EARLY 5	/* up to the LAPIC */

/* A block whose size depends on the host. */
struct blob {
	uint32_t len;
	uint8_t *data;
};

/* ---- the model ------------------------------------------------------------ */

int vcpu_model_save(struct vcpu_model *m, struct state_writer *w,
		    struct error *e)
{
	uint64_t ns;
	int ret = kvm_arch_get_clock(m->vm, &ns);

	if (ret)
		return error_errno(e, ret, "KVM_GET_CLOCK");
	state_put_u64(w, ns);
	cpuid_save(m->cpuid, w);
	return 0;
}

int vcpu_model_load(struct vcpu_model *m, struct state_reader *r,
		    struct error *e)
{
	uint64_t ns = state_get_u64(r);
	struct kvm_cpuid2 *saved = NULL;
	int ret = cpuid_load(&saved, r);

	if (!ret)
		ret = state_reader_finish(r);
	if (ret)
		error_errno(e, ret, "malformed");
	else
		ret = cpuid_check(saved, m->cpuid, e);
	if (ret) {
		free(saved);
		return ret;
	}
	m->times = calloc(m->cpus->max, sizeof(*m->times));
	if (!m->times) {
		free(saved);
		return error_set(e, -ENOMEM, "out of memory");
	}
	free(m->cpuid);
	m->cpuid = saved;
	m->clock_ns = ns;
	return 0;
}

/* ---- saving --------------------------------------------------------------- */

static void put_blob(struct state_writer *w, const struct blob *b)
{
	state_put_u32(w, b->len);
	state_put_bytes(w, b->data, b->len);
}

/* Bytes of the XSAVE area that this host's ioctls take. */
static uint32_t xsave_bytes(const struct kvm_vm *vm)
{
	int len = kvm_check(vm, KVM_CAP_XSAVE2);

	return len > (int)sizeof(struct kvm_xsave) ? (uint32_t)len :
						     sizeof(struct kvm_xsave);
}

static int save_xsave(struct vcpu_model *m, int fd, struct state_writer *w)
{
	struct blob b = { .len = xsave_bytes(m->vm) };
	bool large = b.len > sizeof(struct kvm_xsave);
	int ret = 0;

	b.data = calloc(1, b.len);
	if (!b.data)
		return -ENOMEM;
	if (ioctl(fd, large ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, b.data))
		ret = -errno;
	else
		put_blob(w, &b);
	free(b.data);
	return ret;
}

/* Empty where KVM has none, and outside of VMX and SVM operation. */
static int save_nested(struct vcpu_model *m, int fd, struct state_writer *w)
{
	int size = kvm_check(m->vm, KVM_CAP_NESTED_STATE);
	struct kvm_nested_state *n;
	struct blob b = { 0 };
	int ret = 0;

	if (size <= 0) {
		put_blob(w, &b);
		return 0;
	}
	n = calloc(1, (size_t)size);
	if (!n)
		return -ENOMEM;
	n->size = (uint32_t)size;
	if (ioctl(fd, KVM_GET_NESTED_STATE, n)) {
		ret = -errno;
	} else {
		bool vmx = n->format == KVM_STATE_NESTED_FORMAT_VMX &&
			   n->hdr.vmx.vmxon_pa != ~0ull;
		bool svm = n->flags & KVM_STATE_NESTED_GUEST_MODE;

		b.data = (uint8_t *)n;
		b.len = vmx || svm ? n->size : 0;
		put_blob(w, &b);
	}
	free(n);
	return ret;
}

/* The TSC and its deadline are apart: they are set when the vCPU runs. */
static int save_msrs(struct vcpu_model *m, int fd, struct state_writer *w)
{
	struct kvm_msrs *msrs;
	uint32_t count = 0;
	int ret = vcpu_read_msrs(m->vm, fd, &msrs);

	if (ret)
		return ret;
	for (uint32_t i = 0; i < msrs->nmsrs; i++)
		if (msrs->entries[i].index != MSR_IA32_TSC &&
		    msrs->entries[i].index != MSR_IA32_TSC_DEADLINE)
			msrs->entries[count++] = msrs->entries[i];
	state_put_u32(w, count);
	for (uint32_t i = 0; i < count; i++) {
		state_put_u32(w, msrs->entries[i].index);
		state_put_u64(w, msrs->entries[i].data);
	}
	free(msrs);
	return 0;
}

static int save_time(int fd, struct state_writer *w)
{
	int khz = ioctl(fd, KVM_GET_TSC_KHZ, 0);
	uint64_t tsc, deadline = 0;
	int ret = vcpu_get_msr(fd, MSR_IA32_TSC, &tsc);

	/* Absent where the guest was not given the timer: 0. */
	vcpu_get_msr(fd, MSR_IA32_TSC_DEADLINE, &deadline);
	state_put_u32(w, khz > 0 ? (uint32_t)khz : 0);
	state_put_u64(w, tsc);
	state_put_u64(w, deadline);
	return ret;
}

int vcpu_state_save(struct vcpu_model *m, int vcpu_fd, struct state_writer *w,
		    struct error *e)
{
	struct vcpu_fixed *f = calloc(1, sizeof(*f));
	int ret = 0;

	if (!f)
		return error_set(e, -ENOMEM, "out of memory");
	/* First: it makes KVM process what is pending (INIT, SIPI). */
	for (size_t i = FIXED_COUNT; !ret && i-- > 0;)
		if (ioctl(vcpu_fd, fixed[i].get, (char *)f + fixed[i].offset))
			ret = error_errno(e, -errno, "KVM_GET_%s",
					  fixed[i].name);
	for (size_t i = 0; !ret && i < FIXED_COUNT; i++)
		state_put_bytes(w, (char *)f + fixed[i].offset, fixed[i].len);
	free(f);
	if (ret)
		return ret;
	ret = save_time(vcpu_fd, w);
	if (!ret)
		ret = save_xsave(m, vcpu_fd, w);
	if (!ret)
		ret = save_msrs(m, vcpu_fd, w);
	if (!ret)
		ret = save_nested(m, vcpu_fd, w);
	return ret ? error_errno(e, ret, "registers") : 0;
}

/* ---- loading -------------------------------------------------------------- */

/* At least room bytes large, the rest zeros. */
static int get_blob(struct state_reader *r, struct blob *b, uint32_t room)
{
	b->len = state_get_u32(r);
	if (state_reader_error(r))
		return state_reader_error(r);
	if (b->len > MAX_BLOB_BYTES)
		return -EPROTO;
	b->data = calloc(1, b->len > room ? b->len : room);
	if (!b->data)
		return -ENOMEM;
	state_get_bytes(r, b->data, b->len);
	return state_reader_error(r);
}

struct loading {
	struct vcpu_fixed fixed;
	uint32_t tsc_khz;
	struct vcpu_time time;
	struct blob xsave, nested;
	uint32_t msr_count;
	struct kvm_msr_entry *msrs;
};

static void loading_free(struct loading *l)
{
	free(l->xsave.data);
	free(l->nested.data);
	free(l->msrs);
	free(l);
}

static int decode_msrs(struct loading *l, struct state_reader *r)
{
	l->msr_count = state_get_u32(r);
	if (state_reader_error(r))
		return state_reader_error(r);
	if (l->msr_count > MAX_MSRS)
		return -EPROTO;
	l->msrs = calloc(l->msr_count + 1, sizeof(*l->msrs));
	if (!l->msrs)
		return -ENOMEM;
	for (uint32_t i = 0; i < l->msr_count; i++) {
		l->msrs[i].index = state_get_u32(r);
		l->msrs[i].data = state_get_u64(r);
	}
	return state_reader_error(r);
}

static int decode(struct vcpu_model *m, struct loading *l,
		  struct state_reader *r)
{
	int ret;

	for (size_t i = 0; i < FIXED_COUNT; i++)
		state_get_bytes(r, (char *)&l->fixed + fixed[i].offset,
				fixed[i].len);
	l->tsc_khz = state_get_u32(r);
	l->time.tsc = state_get_u64(r);
	l->time.deadline = state_get_u64(r);
	ret = get_blob(r, &l->xsave, xsave_bytes(m->vm));
	if (!ret && l->xsave.len < sizeof(struct kvm_xsave))
		ret = -EPROTO;
	if (!ret)
		ret = decode_msrs(l, r);
	if (!ret)
		ret = get_blob(r, &l->nested, sizeof(struct kvm_nested_state));
	if (!ret && l->nested.len &&
	    (l->nested.len < sizeof(struct kvm_nested_state) ||
	     ((struct kvm_nested_state *)l->nested.data)->size !=
		     l->nested.len))
		ret = -EPROTO;
	return ret ? ret : state_reader_finish(r);
}

static int set_fixed(int fd, struct loading *l, size_t from, size_t to,
		     struct error *e)
{
	for (size_t i = from; i < to; i++)
		if (ioctl(fd, fixed[i].set,
			  (char *)&l->fixed + fixed[i].offset))
			return error_errno(e, -errno, "KVM_SET_%s",
					   fixed[i].name);
	return 0;
}

/* KVM bridges small differences without hardware's help, and refuses others. */
static int set_tsc_khz(int fd, uint32_t khz, struct error *e)
{
	int now = ioctl(fd, KVM_GET_TSC_KHZ, 0);

	if (!khz || now < 0 || (uint32_t)now == khz)
		return 0;
	if (ioctl(fd, KVM_SET_TSC_KHZ, khz))
		return error_config(e, -EOPNOTSUPP, "this host's CPU cannot "
				    "scale its TSC of %d kHz to the guest's %u",
				    now, khz);
	return 0;
}

static int set_xsave(struct vcpu_model *m, int fd, const struct loading *l,
		     struct error *e)
{
	uint32_t room = xsave_bytes(m->vm);

	if (l->xsave.len > room)
		return error_config(e, -EOPNOTSUPP, "the XSAVE area has %u "
				    "bytes, this host's %u", l->xsave.len,
				    room);
	if (ioctl(fd, KVM_SET_XSAVE, l->xsave.data))
		return error_errno(e, -errno, "KVM_SET_XSAVE");
	return 0;
}

/* Some can be read and not written; what they are is then a host's matter. */
static int set_msrs(int fd, const struct loading *l, struct error *e)
{
	uint32_t done = 0;

	while ((done += vcpu_set_msrs(fd, l->msrs + done,
				      l->msr_count - done)) < l->msr_count) {
		const struct kvm_msr_entry *msr = &l->msrs[done++];
		uint64_t now;

		if (vcpu_get_msr(fd, msr->index, &now) || now != msr->data)
			return error_config(e, -EOPNOTSUPP, "MSR 0x%x: this "
					    "host does not take 0x%llx",
					    msr->index,
					    (unsigned long long)msr->data);
	}
	return 0;
}

static int apply(struct vcpu_model *m, int fd, struct loading *l,
		 struct error *e)
{
	int ret = set_tsc_khz(fd, l->tsc_khz, e);

	if (!ret)
		ret = set_fixed(fd, l, 0, FIXED_EARLY, e);
	if (!ret)
		ret = set_xsave(m, fd, l, e);
	if (!ret)
		ret = set_msrs(fd, l, e);
	if (!ret && l->nested.len &&
	    ioctl(fd, KVM_SET_NESTED_STATE, l->nested.data))
		ret = error_errno(e, -errno, "KVM_SET_NESTED_STATE");
	return ret ? ret : set_fixed(fd, l, FIXED_EARLY, FIXED_COUNT, e);
}

int vcpu_state_load(struct vcpu_model *m, int vcpu_fd, unsigned int index,
		    struct state_reader *r, struct error *e)
{
	struct loading *l = calloc(1, sizeof(*l));
	int ret;

	if (!l)
		return error_set(e, -ENOMEM, "out of memory");
	ret = decode(m, l, r);
	if (ret)
		error_errno(e, ret, "malformed");
	else
		ret = apply(m, vcpu_fd, l, e);
	if (!ret)
		m->times[index] = l->time;
	loading_free(l);
	return ret;
}

int vcpu_model_start_clocks(struct vcpu_model *m, const int *vcpu_fds,
			    unsigned int count, struct error *e)
{
	int ret = 0;

	if (!m->times)
		return 0;
	/* Written within a second, KVM takes them for one and the same. */
	for (unsigned int i = 0; !ret && i < count; i++)
		if (vcpu_fds[i] >= 0)
			ret = vcpu_set_msr(vcpu_fds[i], MSR_IA32_TSC,
					   m->times[i].tsc);
	if (!ret)
		ret = kvm_arch_set_clock(m->vm, m->clock_ns);
	for (unsigned int i = 0; !ret && i < count; i++)
		if (vcpu_fds[i] >= 0 && m->times[i].deadline)
			ret = vcpu_set_msr(vcpu_fds[i], MSR_IA32_TSC_DEADLINE,
					   m->times[i].deadline);
	if (ret)
		return error_errno(e, ret, "the guest's clocks");
	free(m->times);
	m->times = NULL;
	return 0;
}
