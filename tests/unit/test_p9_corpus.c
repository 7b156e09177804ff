/* SPDX-License-Identifier: MIT */
/* LINK: p9/codec p9/attr p9/export p9/fid p9/op_attr p9/op_dir p9/op_io */
/* LINK: p9/op_lock p9/op_name p9/op_open p9/op_session p9/op_xattr p9/path */
/* LINK: p9/lock_ranges p9/pool p9/qid p9/reclaim p9/save p9/server state error loop */
/* WITH: ../fuzz/p9_session */
/* The fuzz target's session over generated ones: mostly well-formed messages
 * with wild fields, then the same with bytes changed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "../fuzz/p9_session.h"
#include "p9/codec.h"
#include "p9/proto.h"

#define SESSIONS 400

static unsigned int seed;

static unsigned int some(unsigned int n)
{
	return (unsigned int)rand_r(&seed) % n;
}

static void name(struct p9_writer *w)
{
	static const char *const names[] = { "file", "dir", "link", "inner",
					     "new", "..", ".", "", "a/b",
					     "user.a", "system.posix_acl_access",
					     "user.mote.attr" };

	p9_put_string(w, names[some(sizeof(names) / sizeof(names[0]))]);
}

static void fid(struct p9_writer *w)
{
	p9_put_u32(w, some(20) ? some(6) : (uint32_t)rand_r(&seed));
}

/* f: fid, s: name, 1 2 4 8: integers, W: names to walk, D: data. */
static const struct {
	uint8_t type;
	const char *fields;
} shapes[] = {
	{ P9_TATTACH, "f0ss4" }, { P9_TWALK, "ffW" }, { P9_TWALK, "ffW" },
	{ P9_TWALK, "ffW" }, { P9_TLOPEN, "fo" }, { P9_TLOPEN, "fo" },
	{ P9_TLCREATE, "fsom4" }, { P9_TSYMLINK, "fss4" },
	{ P9_TMKNOD, "fsm444" }, { P9_TRENAME, "ffs" }, { P9_TREADLINK, "f" },
	{ P9_TGETATTR, "f8" }, { P9_TSETATTR, "f4m448888" "8" },
	{ P9_TXATTRWALK, "ffs" }, { P9_TXATTRCREATE, "fsz4" },
	{ P9_TREADDIR, "fzo" }, { P9_TFSYNC, "f4" }, { P9_TLOCK, "f14884s" },
	{ P9_TGETLOCK, "f1884s" }, { P9_TLINK, "ffs" }, { P9_TMKDIR, "fsm4" },
	{ P9_TRENAMEAT, "fsfs" }, { P9_TUNLINKAT, "fs4" }, { P9_TFLUSH, "2" },
	{ P9_TREAD, "fzo" }, { P9_TWRITE, "fzD" }, { P9_TCLUNK, "f" },
	{ P9_TREMOVE, "f" }, { P9_TSTATFS, "f" },
};

static void field(struct p9_writer *w, char kind)
{
	unsigned int n = some(5);

	switch (kind) {
	case 'f': fid(w); break;
	case 's': name(w); break;
	case '0': p9_put_u32(w, P9_NOFID); break;
	case '1': p9_put_u8(w, (uint8_t)some(4)); break;
	case '2': p9_put_u16(w, (uint16_t)some(60)); break;
	case '4': p9_put_u32(w, some(3) ? some(0x400) :
					  (uint32_t)rand_r(&seed)); break;
	case 'o': p9_put_u32(w, some(2) ? some(4) : some(0x10000)); break;
	case 'm': p9_put_u32(w, some(020) << 12 | some(010000)); break;
	case 'z': p9_put_u64(w, some(4) ? some(64) : (uint64_t)-1 >> some(64));
		break;
	case '8': p9_put_u64(w, some(2) ? some(5000) : (uint64_t)-1 >>
				some(64)); break;
	case 'W':
		p9_put_u16(w, (uint16_t)n);
		while (n--)
			name(w);
		break;
	case 'D':
		p9_put_u32(w, n);
		p9_put_bytes(w, "12345", n);
		break;
	}
}

static void add(struct p9_writer *w, uint8_t type, const char *fields)
{
	uint8_t message[1024];
	struct p9_writer m = { .data = message, .size_bytes = sizeof(message) };

	p9_put_u8(&m, type);
	p9_put_u16(&m, (uint16_t)some(60));
	for (; *fields; fields++)
		field(&m, *fields);
	p9_put_u16(w, (uint16_t)m.len_bytes);
	p9_put_u16(w, (uint16_t)(some(10) ? 8192 : some(300)));
	p9_put_bytes(w, message, m.len_bytes);
}

static size_t make_session(uint8_t *data, size_t size)
{
	struct p9_writer w = { .data = data, .size_bytes = size };

	/* Tversion 65536 9P2000.L, Tattach 0. */
	p9_put_bytes(&w, "\x11\0\0\x10\x64\0\0\0\0\1\0\x08\0" "9P2000.L", 21);
	p9_put_bytes(&w, "\x13\0\0\x10\x68\0\0\0\0\0\0\xff\xff\xff\xff"
		     "\0\0\0\0\0\0\0\0", 23);
	for (int i = 0; i < 60; i++) {
		unsigned int which = some(sizeof(shapes) / sizeof(shapes[0]));

		add(&w, shapes[which].type, shapes[which].fields);
	}
	return w.len_bytes;
}

static void test_corpus_sessions_end_well(void **state)
{
	static uint8_t data[65536];

	(void)state;
	for (seed = 0; seed < SESSIONS; seed++) {
		unsigned int before = seed;
		size_t size = make_session(data, sizeof(data));

		p9_session_run(data, size);
		for (int i = 0; i < 20; i++)
			data[42 + some((unsigned int)size - 42)] =
				(uint8_t)rand_r(&seed);
		p9_session_run(data, size);
		p9_session_run(data, some((unsigned int)size));
		seed = before;
	}
}

static int set_up(void **state)
{
	(void)state;
	p9_session_init();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	p9_session_deinit();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_corpus_sessions_end_well,
						set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
