/* SPDX-License-Identifier: MIT */
/* The footer of a fixed VHD. Any thread; no state. */
#include "block/vhd.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define SECTOR_BYTES	512
#define COOKIE		"conectix"
#define VHDX_COOKIE	"vhdxfile"	/* at offset 0 of another format */
#define VERSION		0x00010000
#define NO_DATA_OFFSET	UINT64_MAX

enum { TYPE_FIXED = 2, TYPE_DYNAMIC = 3, TYPE_DIFFERENCING = 4 };

/* Hard Disk Footer Format; big-endian. */
struct footer {
	char cookie[8];
	uint32_t features;
	uint32_t version;
	uint64_t data_offset;
	uint32_t time_stamp;
	uint32_t creator[3];
	uint64_t original_bytes;
	uint64_t current_bytes;
	uint32_t geometry;
	uint32_t type;
	uint32_t checksum;
	uint8_t unique_id[16];
	uint8_t saved_state;
	uint8_t reserved[427];
} __attribute__((packed));

_Static_assert(sizeof(struct footer) == VHD_FOOTER_BYTES, "footer");

/* The complement of the sum of all bytes but its own. */
static uint32_t checksum(const struct footer *f)
{
	const uint8_t *p = (const uint8_t *)f;
	uint32_t sum = 0;

	for (size_t i = 0; i < sizeof(*f); i++)
		if (i < offsetof(struct footer, checksum) ||
		    i >= offsetof(struct footer, unique_id))
			sum += p[i];
	return ~sum;
}

static int read_at(int fd, void *buf, size_t len, uint64_t offset,
		   struct error *e)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done,
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return error_errno(e, n ? -errno : -EIO,
					   "cannot read its VHD footer");
		done += (size_t)n;
	}
	return 0;
}

static int no_footer(int fd, struct error *e)
{
	char start[8] = "";

	if (pread(fd, start, sizeof(start), 0) == sizeof(start) &&
	    !memcmp(start, VHDX_COOKIE, sizeof(start)))
		return error_set(e, -EINVAL, "a VHDX image, not a fixed VHD");
	return error_set(e, -EINVAL, "not a VHD: it has no footer");
}

static int check_type(const struct footer *f, struct error *e)
{
	uint32_t type = be32toh(f->type);

	if (type == TYPE_DYNAMIC)
		return error_set(e, -EINVAL, "a dynamic VHD, not a fixed one");
	if (type == TYPE_DIFFERENCING)
		return error_set(e, -EINVAL, "a differencing VHD, not a fixed "
				 "one");
	if (type != TYPE_FIXED)
		return error_set(e, -EINVAL, "a VHD of the unknown type %u",
				 type);
	if (be64toh(f->data_offset) != NO_DATA_OFFSET)
		return error_set(e, -EINVAL, "a damaged VHD: fixed, but with "
				 "a data offset");
	return 0;
}

int vhd_fixed_payload(int fd, uint64_t file_bytes, uint64_t *payload_bytes,
		      struct error *e)
{
	uint64_t rest = file_bytes - VHD_FOOTER_BYTES;
	struct footer f;
	int ret;

	if (file_bytes < VHD_FOOTER_BYTES)
		return error_set(e, -EINVAL, "not a VHD: smaller than a "
				 "footer");
	ret = read_at(fd, &f, sizeof(f), rest, e);
	if (ret)
		return ret;
	if (memcmp(f.cookie, COOKIE, sizeof(f.cookie)))
		return no_footer(fd, e);
	if (be32toh(f.checksum) != checksum(&f))
		return error_set(e, -EINVAL, "a damaged VHD: its footer's "
				 "checksum is wrong");
	if (be32toh(f.version) != VERSION)
		return error_set(e, -EINVAL, "a VHD of the unknown version "
				 "0x%08x", be32toh(f.version));
	ret = check_type(&f, e);
	if (ret)
		return ret;
	if (be64toh(f.current_bytes) != rest)
		return error_set(e, -EINVAL, "a damaged VHD: %llu bytes by its "
				 "footer, but %llu are there",
				 (unsigned long long)be64toh(f.current_bytes),
				 (unsigned long long)rest);
	if (!rest || rest % SECTOR_BYTES)
		return error_set(e, -EINVAL, "a VHD of %llu bytes: not whole "
				 "sectors of %u", (unsigned long long)rest,
				 SECTOR_BYTES);
	*payload_bytes = rest;
	return 0;
}
