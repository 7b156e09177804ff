/* SPDX-License-Identifier: MIT */
/*
 * The set of vCPUs: made, paused, reset, saved. Main thread; vcpus_request_stop()
 * on any.
 *
 * Pause: `stopped` is set, immediate_exit and an empty signal handler bring
 * every thread out of KVM_RUN (vcpu_run.c).
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "thread.h"
#include "vcpu_run.h"

#define KICK_SIGNAL SIGRTMIN

static void on_kick(int sig)
{
	(void)sig;
}

static int start_thread(struct vcpu *c, struct error *e)
{
	int ret = thread_start(&c->thread, KICK_SIGNAL, vcpu_run, c);

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
