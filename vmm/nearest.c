/* SPDX-License-Identifier: MIT */
/* Edit distance. Any thread; no shared state. */
#include "nearest.h"

#include <string.h>

#define NAME_MAX_BYTES 63

static unsigned int min(unsigned int a, unsigned int b)
{
	return a < b ? a : b;
}

/* Optimal string alignment: three rows of the matrix are enough. */
unsigned int nearest_distance(const char *word, const char *name)
{
	unsigned int rows[3][NAME_MAX_BYTES + 1];
	unsigned int *before = rows[0], *last = rows[1], *row = rows[2];
	size_t n = strnlen(word, NAME_MAX_BYTES);
	size_t m = strnlen(name, NAME_MAX_BYTES);

	if (n >= 2 && n < m && !strncmp(word, name, n))
		return 1;
	for (unsigned int j = 0; j <= m; j++)
		last[j] = j;
	for (unsigned int i = 1; i <= n; i++) {
		unsigned int *oldest = before;

		row[0] = i;
		for (unsigned int j = 1; j <= m; j++) {
			unsigned int change = word[i - 1] != name[j - 1];

			row[j] = min(last[j - 1] + change,
				     min(last[j], row[j - 1]) + 1);
			if (i > 1 && j > 1 && word[i - 1] == name[j - 2] &&
			    word[i - 2] == name[j - 1])
				row[j] = min(row[j], before[j - 2] + 1);
		}
		before = last;
		last = row;
		row = oldest;
	}
	return last[m];
}

void nearest_offer(struct nearest *n, const char *name)
{
	unsigned int distance = nearest_distance(n->word, name);

	if (n->best && distance >= n->distance)
		return;
	n->best = name;
	n->distance = distance;
}
