/* SPDX-License-Identifier: MIT */
/*
 * Memory that is filled page by page as somebody touches it: vCPUs, the kernel on
 * behalf of devices, mote itself (userfaultfd, admin-guide/mm/userfaultfd.rst). A
 * thread of its own brings what is asked for and touches none of that memory;
 * another brings what the VM before it had asked for first. Main thread.
 */
#ifndef MOTE_SAVE_FAULT_H
#define MOTE_SAVE_FAULT_H

#include <stdint.h>

#include "error.h"
#include "save/page_source.h"

struct fault;

/* Private anonymous memory that nobody has touched. */
struct fault_range {
	uint8_t *host;
	uint64_t len_bytes;
	uint64_t first_page;	/* in the source */
};

struct fault_params {
	struct page_source *source;	/* taken over, also on failure */
	const struct fault_range *ranges;
	size_t count;
	/* Where the order of the first pages is, or will be (page_order.h), and
	 * of which save. */
	const char *order_path;
	const uint8_t *id;
	/* On any thread: a page could not be read; it is zeros. */
	void (*failed)(void *opaque, const char *reason);
	void *opaque;
};

/* The error says what userfaultfd needs. */
int fault_create(struct fault **out, const struct fault_params *p,
		 struct error *e);
/*
 * Brings what is in a file of these bytes, at most FAULT_FILL_BYTES, in one range:
 * what cannot be read is an error here, which names it, and no failure of the
 * memory. Any thread, while nobody gives any of it back.
 */
#define FAULT_FILL_BYTES (2u << 20)
int fault_fill(struct fault *f, uint8_t *host, uint64_t len_bytes,
	       struct error *e);
/* From here on failed() is not called. NULL is fine. */
void fault_quiet(struct fault *f);
/* Nobody touches the memory any more, or it was mapped anew. NULL is fine. */
void fault_destroy(struct fault *f);

#endif
