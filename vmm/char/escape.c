/* SPDX-License-Identifier: MIT */
/* The escape keys. Loop's thread (main). */
#include "char/escape.h"

#define PREFIX	0x01	/* Ctrl-a */

const char escape_help[] =
	"\r\n"
	"Ctrl-a x       quit: end the virtual machine\r\n"
	"Ctrl-a Ctrl-a  send Ctrl-a\r\n"
	"Ctrl-a b       send a break\r\n"
	"Ctrl-a s       show the virtual machine's status\r\n"
	"Ctrl-a h       this list\r\n";

static enum escape_key key_of(uint8_t byte)
{
	switch (byte) {
	case 'x':
		return ESCAPE_QUIT;
	case 'b':
		return ESCAPE_BREAK;
	case 's':
		return ESCAPE_STATUS;
	case 'h':
		return ESCAPE_HELP;
	default:
		return ESCAPE_NONE;
	}
}

size_t escape_scan(struct escape *s, const uint8_t *in, size_t len,
		   uint8_t *out, size_t *out_len, enum escape_key *key)
{
	size_t n = 0;

	*key = ESCAPE_NONE;
	*out_len = 0;
	while (n < len) {
		uint8_t byte = in[n++];

		if (!s->after_prefix) {
			s->after_prefix = byte == PREFIX;
			if (!s->after_prefix)
				out[(*out_len)++] = byte;
			continue;
		}
		s->after_prefix = false;
		*key = key_of(byte);
		if (*key != ESCAPE_NONE)
			break;
		/* Who types Ctrl-a and another letter means the guest. */
		out[(*out_len)++] = PREFIX;
		if (byte != PREFIX)
			out[(*out_len)++] = byte;
	}
	return n;
}
