/* SPDX-License-Identifier: MIT */
/*
 * vCPU threads: KVM_RUN, exit dispatch, pause. run() and what it calls is on
 * the vCPU threads, the rest on the main thread.
 *
 * Pause: `stopped` is set, immediate_exit and an empty signal handler bring
 * every thread out of KVM_RUN. A thread goes idle only after KVM_RUN gave
 * -EINTR, so that an exit that was dispatched has been completed by KVM.
 */
#include "vcpu.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "thread.h"

#define KICK_SIGNAL SIGRTMIN

/* A file that shrank may have grown again before anybody looked. */
#define FAULT_TRIES	100
#define FAULT_WAIT_US	1000

struct vcpu {
	struct vcpus *set;
	unsigned int index;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
	bool started;
	pid_t tid;		/* under set->lock; set before the first idle */
	bool idle;		/* under set->lock */
	atomic_bool parked;	/* it is out of the guest until it is back */
	unsigned int faults;	/* in a row, for no reason that was found */
};

struct vcpus {
	struct kvm_vm *vm;
	struct vcpu_model *model;
	struct bus *pio, *mmio;
	struct vcpu_owner owner;

	pthread_mutex_t lock;
	pthread_cond_t changed;	/* idle, stopped or quit did */
	atomic_bool stopped;
	bool quit;

	unsigned int max;
	struct vcpu cpus[];	/* those that have been there have an fd */
};

static void on_kick(int sig)
{
	(void)sig;
}

static bool must_wait(const struct vcpu *c)
{
	return atomic_load(&c->set->stopped) || atomic_load(&c->parked);
}

/* Waits while stopped; false: the thread must end. */
static bool wait_until_run(struct vcpu *c)
{
	struct vcpus *v = c->set;
	bool go;

	pthread_mutex_lock(&v->lock);
	c->idle = true;
	pthread_cond_broadcast(&v->changed);
	while (must_wait(c) && !v->quit)
		pthread_cond_wait(&v->changed, &v->lock);
	c->idle = false;
	c->run->immediate_exit = 0;
	go = !v->quit;
	pthread_mutex_unlock(&v->lock);
	return go;
}

static void die(struct vcpu *c, enum vcpu_death why, const char *reason)
{
	char text[200];

	snprintf(text, sizeof(text), "vCPU %u: %s", c->index, reason);
	c->set->owner.died(c->set->owner.opaque, why, text);
	/* Until somebody decides, nothing of this guest runs. */
	vcpus_request_stop(c->set);
}

static void handle_io(struct vcpu *c)
{
	struct kvm_run *run = c->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_OUT)
			bus_write(c->set->pio, run->io.port, data,
				  run->io.size);
		else
			bus_read(c->set->pio, run->io.port, data, run->io.size);
	}
}

static void handle_mmio(struct vcpu *c)
{
	struct kvm_run *run = c->run;

	if (run->mmio.is_write)
		bus_write(c->set->mmio, run->mmio.phys_addr, run->mmio.data,
			  run->mmio.len);
	else
		bus_read(c->set->mmio, run->mmio.phys_addr, run->mmio.data,
			 run->mmio.len);
}

static void handle_internal_error(struct vcpu *c)
{
	struct kvm_run *run = c->run;
	struct kvm_regs regs = { 0 };
	char text[160];

	ioctl(c->fd, KVM_GET_REGS, &regs);
	snprintf(text, sizeof(text),
		 "KVM internal error, suberror %u%s, at rip 0x%llx",
		 run->internal.suberror,
		 run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION ?
			 " (an instruction KVM cannot emulate)" : "",
		 (unsigned long long)regs.rip);
	die(c, VCPU_KVM_ERROR, text);
}

static void handle_exit(struct vcpu *c)
{
	struct kvm_run *run = c->run;
	char text[160];

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(c);
		break;
	case KVM_EXIT_MMIO:
		handle_mmio(c);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_SHUTDOWN:
		die(c, VCPU_TRIPLE_FAULT, "triple fault");
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		handle_internal_error(c);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(text, sizeof(text),
			 "KVM could not enter the guest, hardware reason 0x%llx",
			 (unsigned long long)
				 run->fail_entry.hardware_entry_failure_reason);
		die(c, VCPU_KVM_ERROR, text);
		break;
	default:
		snprintf(text, sizeof(text), "KVM exit reason %u is not known",
			 run->exit_reason);
		die(c, VCPU_KVM_ERROR, text);
	}
}

/* KVM_RUN failed: may it be called again? */
static bool run_again(struct vcpu *c, int error)
{
	const struct vcpu_owner *owner = &c->set->owner;

	if (error == EINTR || error == EAGAIN)
		return true;
	if (error != EFAULT || !owner->repair_memory)
		return false;
	if (owner->repair_memory()) {
		c->faults = 0;
		return true;
	}
	if (++c->faults > FAULT_TRIES)
		return false;
	usleep(FAULT_WAIT_US);
	return true;
}

static void *run(void *opaque)
{
	struct vcpu *c = opaque;
	char name[16], text[96];
	int error;

	snprintf(name, sizeof(name), "vcpu %u", c->index);
	pthread_setname_np(pthread_self(), name);
	pthread_mutex_lock(&c->set->lock);
	c->tid = (pid_t)syscall(SYS_gettid);
	pthread_mutex_unlock(&c->set->lock);
	if (!wait_until_run(c))
		return NULL;
	for (;;) {
		if (!ioctl(c->fd, KVM_RUN, 0)) {
			c->faults = 0;
			handle_exit(c);
			continue;
		}
		error = errno;
		if (!run_again(c, error)) {
			snprintf(text, sizeof(text), "KVM_RUN: errno %d", error);
			die(c, VCPU_KVM_ERROR, text);
		}
		if (must_wait(c) && !wait_until_run(c))
			return NULL;
	}
}

static int start_thread(struct vcpu *c, struct error *e)
{
	int ret = thread_start(&c->thread, KICK_SIGNAL, run, c);

	if (ret)
		return error_errno(e, ret, "vCPU %u: thread", c->index);
	c->started = true;
	return 0;
}

static int vcpu_init(struct vcpus *v, struct vcpu *c, struct error *e)
{
	int ret;

	c->fd = kvm_create_vcpu(v->vm, vcpu_model_id(v->model, c->index));
	if (c->fd < 0)
		return error_errno(e, c->fd, "vCPU %u: KVM_CREATE_VCPU",
				   c->index);
	c->run = mmap(NULL, v->vm->run_bytes, PROT_READ | PROT_WRITE,
		      MAP_SHARED, c->fd, 0);
	if (c->run == MAP_FAILED) {
		c->run = NULL;
		return error_errno(e, -errno, "vCPU %u: mmap", c->index);
	}
	ret = vcpu_model_init(v->model, c->fd, c->index, e);
	return ret ? ret : start_thread(c, e);
}

int vcpus_create(struct vcpus **out, struct kvm_vm *vm,
		 struct vcpu_model *model, unsigned int count,
		 unsigned int max, struct bus *pio, struct bus *mmio,
		 const struct vcpu_owner *owner, struct error *e)
{
	struct sigaction sa = { .sa_handler = on_kick };
	struct vcpus *v;
	int ret;

	if (max > vm->max_vcpus)
		return error_config(e, -EINVAL, "--cpus: %u vCPUs, but this "
				    "host's KVM allows %u", max,
				    vm->max_vcpus);
	v = calloc(1, sizeof(*v) + max * sizeof(v->cpus[0]));
	if (!v)
		return error_set(e, -ENOMEM, "out of memory");
	v->vm = vm;
	v->model = model;
	v->pio = pio;
	v->mmio = mmio;
	v->owner = *owner;
	v->max = max;
	atomic_init(&v->stopped, true);
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->changed, NULL);
	sigaction(KICK_SIGNAL, &sa, NULL);
	for (unsigned int i = 0; i < max; i++)
		v->cpus[i] = (struct vcpu){ .set = v, .index = i, .fd = -1 };
	for (unsigned int i = 0; i < count; i++) {
		ret = vcpu_init(v, &v->cpus[i], e);
		if (ret) {
			vcpus_destroy(v);
			return ret;
		}
	}
	*out = v;
	return 0;
}

static void vcpu_deinit(struct vcpu *c)
{
	if (c->started)
		pthread_join(c->thread, NULL);
	if (c->run)
		munmap(c->run, c->set->vm->run_bytes);
	if (c->fd >= 0)
		close(c->fd);
}

void vcpus_destroy(struct vcpus *v)
{
	if (!v)
		return;
	vcpus_stop(v);
	pthread_mutex_lock(&v->lock);
	v->quit = true;
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
	for (unsigned int i = 0; i < v->max; i++)
		vcpu_deinit(&v->cpus[i]);
	pthread_cond_destroy(&v->changed);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

int vcpus_boot(struct vcpus *v, const struct boot_entry *entry,
	       struct error *e)
{
	return vcpu_model_boot(v->model, v->cpus[0].fd, entry, e);
}

static int call_with_all(struct vcpus *v,
			 int (*fn)(struct vcpu_model *m, const int *fds,
				   unsigned int count, struct error *e),
			 struct error *e)
{
	int *fds = calloc(v->max, sizeof(*fds));
	int ret;

	if (!fds)
		return error_set(e, -ENOMEM, "out of memory");
	for (unsigned int i = 0; i < v->max; i++)
		fds[i] = v->cpus[i].fd;
	ret = fn(v->model, fds, v->max, e);
	free(fds);
	return ret;
}

int vcpus_reset(struct vcpus *v, struct error *e)
{
	return call_with_all(v, vcpu_model_reset, e);
}

int vcpus_start_clocks(struct vcpus *v, struct error *e)
{
	return call_with_all(v, vcpu_model_start_clocks, e);
}

int vcpus_save(struct vcpus *v, unsigned int index, struct state_writer *w,
	       struct error *e)
{
	return vcpu_state_save(v->model, v->cpus[index].fd, w, e);
}

int vcpus_notes(struct vcpus *v, unsigned int index, struct state_writer *w)
{
	return vcpu_model_notes(v->cpus[index].fd, index, w);
}

int vcpus_identify(struct vcpus *v, struct error *e)
{
	int ret = 0;

	for (unsigned int i = 0; !ret && i < v->max; i++)
		if (v->cpus[i].fd >= 0)
			ret = vcpu_model_init(v->model, v->cpus[i].fd, i, e);
	return ret;
}

int vcpus_load(struct vcpus *v, unsigned int index, struct state_reader *r,
	       struct error *e)
{
	return vcpu_state_load(v->model, v->cpus[index].fd, index, r, e);
}

void vcpus_run(struct vcpus *v)
{
	pthread_mutex_lock(&v->lock);
	atomic_store(&v->stopped, false);
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
}

void vcpus_request_stop(struct vcpus *v)
{
	pthread_mutex_lock(&v->lock);
	atomic_store(&v->stopped, true);
	for (unsigned int i = 0; i < v->max; i++) {
		struct vcpu *c = &v->cpus[i];

		if (!c->started)
			continue;
		if (!c->idle) {
			c->run->immediate_exit = 1;
			pthread_kill(c->thread, KICK_SIGNAL);
		}
	}
	pthread_mutex_unlock(&v->lock);
}

void vcpus_stop(struct vcpus *v)
{
	vcpus_request_stop(v);
	pthread_mutex_lock(&v->lock);
	for (unsigned int i = 0; i < v->max; i++)
		while (v->cpus[i].started && !v->cpus[i].idle)
			pthread_cond_wait(&v->changed, &v->lock);
	pthread_mutex_unlock(&v->lock);
}

void vcpus_note_pause(struct vcpus *v)
{
	/* -EINVAL where the guest does not use kvmclock (api.rst 4.70). */
	for (unsigned int i = 0; i < v->max; i++)
		if (v->cpus[i].fd >= 0)
			ioctl(v->cpus[i].fd, KVM_KVMCLOCK_CTRL, 0);
}

int vcpus_inject_nmi(struct vcpus *v, struct error *e)
{
	for (unsigned int i = 0; i < v->max; i++)
		if (vcpus_present(v, i) && ioctl(v->cpus[i].fd, KVM_NMI, 0))
			return error_errno(e, -errno, "vCPU %u: KVM_NMI", i);
	return 0;
}

bool vcpus_present(const struct vcpus *v, unsigned int index)
{
	return v->cpus[index].started && !atomic_load(&v->cpus[index].parked);
}

unsigned int vcpus_count(const struct vcpus *v)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < v->max; i++)
		n += vcpus_present(v, i);
	return n;
}

/*
 * KVM has no way to take a vCPU back: one that was there before goes on from
 * where it was, which for a guest that has let it go is waiting for INIT.
 */
int vcpus_add(struct vcpus *v, unsigned int index, struct error *e)
{
	struct vcpu *c = &v->cpus[index];
	int ret;

	if (!c->started) {
		ret = vcpu_init(v, c, e);
		if (ret) {
			vcpu_deinit(c);
			*c = (struct vcpu){ .set = v, .index = index, .fd = -1 };
		}
		return ret;
	}
	pthread_mutex_lock(&v->lock);
	atomic_store(&c->parked, false);
	pthread_cond_broadcast(&v->changed);
	pthread_mutex_unlock(&v->lock);
	return 0;
}

void vcpus_remove(struct vcpus *v, unsigned int index)
{
	struct vcpu *c = &v->cpus[index];

	pthread_mutex_lock(&v->lock);
	atomic_store(&c->parked, true);
	if (!c->idle) {
		c->run->immediate_exit = 1;
		pthread_kill(c->thread, KICK_SIGNAL);
	}
	while (!c->idle)
		pthread_cond_wait(&v->changed, &v->lock);
	pthread_mutex_unlock(&v->lock);
}

pid_t vcpus_thread_id(struct vcpus *v, unsigned int index)
{
	struct vcpu *c = &v->cpus[index];
	pid_t tid;

	pthread_mutex_lock(&v->lock);
	while (!c->tid)
		pthread_cond_wait(&v->changed, &v->lock);
	tid = c->tid;
	pthread_mutex_unlock(&v->lock);
	return tid;
}
