/* SPDX-License-Identifier: MIT */
/* LINK: p9/codec p9/attr p9/export p9/fid p9/op_attr p9/op_dir p9/op_io */
/* LINK: p9/op_lock p9/op_name p9/op_open p9/op_session p9/op_xattr p9/path */
/* LINK: p9/lock_ranges p9/pool p9/qid p9/reclaim p9/save p9/server state error loop */
/* WITH: p9_session */
/* The 9P server against a guest that says anything. */
#include <stdbool.h>
#include <string.h>

#include "p9_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Tversion 65536 9P2000.L and Tattach 0, as p9_session.h has them. */
	static const uint8_t hello[] =
		"\x11\0\0\x10\x64\0\0\0\0\1\0\x08\0" "9P2000.L"
		"\x13\0\0\x10\x68\0\0\0\0\0\0\xff\xff\xff\xff\0\0\0\0"
		"\0\0\0";
	static uint8_t session[8192];
	static bool started;
	size_t hello_bytes = sizeof(hello);

	if (!started)
		p9_session_init();
	started = true;
	/* Nine in ten begin as a client does. */
	if (!size || data[0] % 10 == 9)
		hello_bytes = 0;
	if (size > sizeof(session) - hello_bytes)
		size = sizeof(session) - hello_bytes;
	memcpy(session, hello, hello_bytes);
	memcpy(session + hello_bytes, data, size);
	p9_session_run(session, hello_bytes + size);
	return 0;
}
