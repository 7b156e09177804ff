/* SPDX-License-Identifier: MIT */
/* UTF-8. Any thread. */
#include "utf8.h"

struct range {
	unsigned char low, high;
};

/*
 * What the first byte says: how long the sequence is and which second bytes
 * are allowed, which excludes overlong forms, surrogates and what is beyond
 * U+10FFFF (The Unicode Standard, table 3-7).
 */
static const struct {
	struct range first;
	size_t bytes;
	struct range second;
} forms[] = {
	{ { 0x00, 0x7f }, 1, { 0, 0 } },
	{ { 0xc2, 0xdf }, 2, { 0x80, 0xbf } },
	{ { 0xe0, 0xe0 }, 3, { 0xa0, 0xbf } },
	{ { 0xe1, 0xec }, 3, { 0x80, 0xbf } },
	{ { 0xed, 0xed }, 3, { 0x80, 0x9f } },
	{ { 0xee, 0xef }, 3, { 0x80, 0xbf } },
	{ { 0xf0, 0xf0 }, 4, { 0x90, 0xbf } },
	{ { 0xf1, 0xf3 }, 4, { 0x80, 0xbf } },
	{ { 0xf4, 0xf4 }, 4, { 0x80, 0x8f } },
};

static bool within(char c, struct range r)
{
	unsigned char u = (unsigned char)c;

	return u >= r.low && u <= r.high;
}

/* The bytes of the well-formed sequence that s starts with, 1..4; 0: none. */
static size_t sequence(const char *s, size_t len)
{
	static const struct range tail = { 0x80, 0xbf };
	size_t form = 0;

	if (!len)
		return 0;
	while (form < sizeof(forms) / sizeof(forms[0]) &&
	       !within(s[0], forms[form].first))
		form++;
	if (form == sizeof(forms) / sizeof(forms[0]) ||
	    forms[form].bytes > len)
		return 0;
	for (size_t i = 1; i < forms[form].bytes; i++)
		if (!within(s[i], i == 1 ? forms[form].second : tail))
			return 0;
	return forms[form].bytes;
}

bool utf8_valid(const char *s, size_t len)
{
	while (len) {
		size_t n = sequence(s, len);

		if (!n)
			return false;
		s += n;
		len -= n;
	}
	return true;
}

void utf8_repair(char *s, size_t len)
{
	while (len) {
		size_t n = sequence(s, len);

		if (!n) {
			*s = '?';
			n = 1;
		}
		s += n;
		len -= n;
	}
}
