/* SPDX-License-Identifier: MIT */
/*
 * Numbers of 9P2000.L on the wire. The messages common to all of 9P are in
 * Plan 9's intro(5); those of .L in diod's protocol.md; the values are those of
 * Linux (include/net/9p/9p.h). All integers are little-endian.
 */
#ifndef MOTE_P9_PROTO_H
#define MOTE_P9_PROTO_H

#include <stdint.h>

/* T-messages; each reply is its request's number plus one. */
enum p9_type {
	P9_RLERROR = 7,
	P9_TSTATFS = 8,
	P9_TLOPEN = 12,
	P9_TLCREATE = 14,
	P9_TSYMLINK = 16,
	P9_TMKNOD = 18,
	P9_TRENAME = 20,
	P9_TREADLINK = 22,
	P9_TGETATTR = 24,
	P9_TSETATTR = 26,
	P9_TXATTRWALK = 30,
	P9_TXATTRCREATE = 32,
	P9_TREADDIR = 40,
	P9_TFSYNC = 50,
	P9_TLOCK = 52,
	P9_TGETLOCK = 54,
	P9_TLINK = 70,
	P9_TMKDIR = 72,
	P9_TRENAMEAT = 74,
	P9_TUNLINKAT = 76,
	P9_TVERSION = 100,
	P9_TAUTH = 102,
	P9_TATTACH = 104,
	P9_TFLUSH = 108,
	P9_TWALK = 110,
	P9_TREAD = 116,
	P9_TWRITE = 118,
	P9_TCLUNK = 120,
	P9_TREMOVE = 122,
};

#define P9_TYPES		124
#define P9_NOFID		UINT32_MAX
#define P9_NOUID		UINT32_MAX
#define P9_MAX_WALK		16
#define P9_HEADER_BYTES		7	/* size[4] type[1] tag[2] */
#define P9_ERROR_BYTES		(P9_HEADER_BYTES + 4)
#define P9_QID_BYTES		13
#define P9_READ_HEADER_BYTES	(P9_HEADER_BYTES + 4)
#define P9_WRITE_HEADER_BYTES	(P9_HEADER_BYTES + 4 + 8 + 4)
#define P9_MIN_MSIZE		4096
#define P9_MAX_MSIZE		(1u << 20)

#define P9_QID_DIR		0x80
#define P9_QID_SYMLINK		0x02

/* Tlopen, Tlcreate: the generic Linux values, whatever the host's are. */
#define P9_O_ACCMODE		00000003
#define P9_O_WRONLY		00000001
#define P9_O_RDWR		00000002
#define P9_O_EXCL		00000200
#define P9_O_TRUNC		00001000
#define P9_O_APPEND		00002000
#define P9_O_DSYNC		00010000
#define P9_O_DIRECTORY		00200000
#define P9_O_SYNC		04000000

/* Tgetattr, Rgetattr */
#define P9_ATTR_BASIC		0x000007ff
#define P9_ATTR_BTIME		0x00000800

/* Tsetattr */
#define P9_SET_MODE		0x001
#define P9_SET_UID		0x002
#define P9_SET_GID		0x004
#define P9_SET_SIZE		0x008
#define P9_SET_ATIME		0x010
#define P9_SET_MTIME		0x020
#define P9_SET_CTIME		0x040
#define P9_SET_ATIME_VALUE	0x080	/* else now */
#define P9_SET_MTIME_VALUE	0x100

#define P9_UNLINK_DIR		0x200	/* Tunlinkat: AT_REMOVEDIR */

#define P9_LOCK_READ		0
#define P9_LOCK_WRITE		1
#define P9_LOCK_UNLOCK		2
#define P9_LOCK_SUCCESS		0
#define P9_LOCK_BLOCKED		1
#define P9_LOCK_ERROR		2

#endif
