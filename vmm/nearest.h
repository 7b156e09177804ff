/* SPDX-License-Identifier: MIT */
/*
 * "Did you mean …?": of several names the one that a mistyped word most
 * resembles. Any thread; allocates nothing.
 */
#ifndef MOTE_NEAREST_H
#define MOTE_NEAREST_H

struct nearest {
	const char *word;
	const char *best;	/* NULL: nothing was offered */
	unsigned int distance;	/* of best */
};

/*
 * Letters to insert, remove, replace or swap with their neighbour to make one
 * of the other; 1 when word is the beginning of name, two letters at least.
 * Looks at the first 63 bytes.
 */
unsigned int nearest_distance(const char *word, const char *name);

/* Keeps the closer one, the first of equals. */
void nearest_offer(struct nearest *n, const char *name);

#endif
