/* SPDX-License-Identifier: MIT */
/* The parts of the vCPUs: vcpu.c, the main thread's, and vcpu_run.c, their own. */
#ifndef MOTE_VCPU_RUN_H
#define MOTE_VCPU_RUN_H

#include <pthread.h>
#include <stdatomic.h>

#include "vcpu.h"

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

/* A vCPU's thread; opaque is the vCPU. */
void *vcpu_run(void *opaque);

#endif
