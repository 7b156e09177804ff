/* SPDX-License-Identifier: MIT */
/*
 * KVM_RUN and what comes of it, on the vCPU threads. A thread goes idle only
 * after KVM_RUN gave -EINTR, so that an exit that was dispatched has been
 * completed by KVM.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vcpu_run.h"

/* A file that shrank may have grown again before anybody looked. */
#define FAULT_TRIES	100
#define FAULT_WAIT_US	1000

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

void *vcpu_run(void *opaque)
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
