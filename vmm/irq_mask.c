/* SPDX-License-Identifier: MIT */
/*
 * Masking many vectors. To take an irqfd away KVM waits for a grace period of
 * the host, 10 ms and more (KVM_IRQFD, KVM_IRQFD_FLAG_DEASSIGN): threads wait for
 * the same one. mask_some() runs on them and on the caller's.
 */
#include "irq.h"

#include <stdatomic.h>

#include "thread.h"

#define MAX_THREADS	32

struct masking {
	struct msix_vector *const *vectors;
	size_t count;
	_Atomic size_t next;
};

static void *mask_some(void *opaque)
{
	struct masking *m = opaque;
	size_t i;

	while ((i = atomic_fetch_add(&m->next, 1)) < m->count)
		msix_vector_mask(m->vectors[i]);
	return NULL;
}

/* Where no thread can be had this one does it all. */
void msix_vectors_mask(struct msix_vector *const *vectors, size_t count)
{
	struct masking m = { .vectors = vectors, .count = count };
	pthread_t threads[MAX_THREADS];
	size_t started = 0;

	while (started < MAX_THREADS && started + 1 < count &&
	       !thread_start(&threads[started], 0, mask_some, &m))
		pthread_setname_np(threads[started++], "mote-mask");
	mask_some(&m);
	while (started > 0)
		pthread_join(threads[--started], NULL);
}
