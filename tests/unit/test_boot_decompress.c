/* SPDX-License-Identifier: MIT */
/* LINK: error boot/codec boot/codec_stream boot/codec_block boot/confine boot/decompress boot/wait */
#include "boot_fixture.h"

#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "boot/confine.h"
#include "boot/crc64.h"
#include "boot/decompress.h"

static const enum codec formats[] = {
	CODEC_GZIP, CODEC_BZIP2, CODEC_LZMA, CODEC_XZ,
	CODEC_LZ4, CODEC_LZO, CODEC_ZSTD,
};
#define FORMATS (sizeof(formats) / sizeof(formats[0]))

#define OUT_OFFSET 4096u

/* More than one lz4 block, and no whole number of anything. */
#define SAMPLE_LEN ((9u << 20) + 4321u)

static struct bytes sample(size_t len)
{
	struct bytes b = bytes_new(len);

	fill_pattern(b.p, b.len, 7);
	return b;
}

/* The compressed bytes at an odd offset of a file, garbage around them. */
static int run(enum codec codec, const uint8_t *p, size_t len, int out,
	       uint64_t limit, struct decompress_result *r, struct error *e)
{
	struct decompress_job job = {
		.name = "vmlinuz", .codec = codec, .in_offset = 4099,
		.in_len = len, .out_fd = out, .out_offset = OUT_OFFSET,
		.limit = limit,
	};
	uint8_t around[4099];
	int ret;

	memset(around, 0xee, sizeof(around));
	job.in_fd = memfd_with(around, sizeof(around));
	assert_int_equal(write(job.in_fd, p, len), len);
	assert_int_equal(write(job.in_fd, around, 64), 64);
	ret = decompress_run(&job, r, e);
	close(job.in_fd);
	return ret;
}

static void test_codec_every_format_is_known_by_its_magic(void **state)
{
	struct bytes in = sample(1000);

	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		struct bytes c = pack(formats[i], in);

		assert_int_equal(codec_sniff(c.p, c.len), formats[i]);
		assert_int_equal(codec_sniff(c.p, 2), CODEC_UNKNOWN);
		c.p[0] ^= 0xff;
		assert_int_equal(codec_sniff(c.p, c.len), CODEC_UNKNOWN);
		bytes_free(&c);
	}
	assert_int_equal(codec_sniff(NULL, 0), CODEC_UNKNOWN);
	bytes_free(&in);
}

static void test_decompress_every_format_gives_the_original(void **state)
{
	struct bytes in = sample(SAMPLE_LEN);
	struct bytes back = bytes_new(SAMPLE_LEN);
	enum codec all[FORMATS + 1];

	(void)state;
	memcpy(all, formats, sizeof(formats));
	all[FORMATS] = CODEC_COPY;
	for (size_t i = 0; i <= FORMATS; i++) {
		struct bytes c = pack(all[i], in);
		struct decompress_result r;
		struct error e = { 0 };
		int out = memfd_create("out", MFD_CLOEXEC);

		if (run(all[i], c.p, c.len, out, SAMPLE_LEN, &r, &e))
			fail_msg("%s", e.text);
		assert_int_equal(r.len_bytes, SAMPLE_LEN);
		assert_int_equal(r.crc64, lzma_crc64(in.p, in.len, 0));
		assert_int_equal(pread(out, back.p, back.len, OUT_OFFSET),
				 in.len);
		assert_memory_equal(back.p, in.p, in.len);
		assert_int_equal(lseek(out, 0, SEEK_END),
				 OUT_OFFSET + SAMPLE_LEN);
		close(out);
		bytes_free(&c);
	}
	bytes_free(&in);
	bytes_free(&back);
}

static void test_decompress_one_byte_over_the_limit_is_refused(void **state)
{
	struct bytes in = sample(600000);

	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		struct bytes c = pack(formats[i], in);
		struct decompress_result r;
		struct error e;
		int out = memfd_create("out", MFD_CLOEXEC);

		assert_int_equal(run(formats[i], c.p, c.len, out, in.len - 1,
				     &r, &e), -EFBIG);
		assert_int_equal(e.class, ERROR_INVALID_CONFIG);
		assert_non_null(strstr(e.text, "more than 599999 bytes"));
		assert_true(lseek(out, 0, SEEK_END) <
			    (off_t)in.len + (off_t)OUT_OFFSET);
		close(out);
		bytes_free(&c);
	}
	bytes_free(&in);
}

static void test_decompress_truncated_input_is_refused(void **state)
{
	struct bytes in = sample(600000);

	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		struct bytes c = pack(formats[i], in);
		size_t cuts[] = { 3, 12, 30, c.len / 2, c.len - 1 };

		for (size_t k = 0; k < sizeof(cuts) / sizeof(cuts[0]); k++) {
			struct decompress_result r;
			struct error e;
			int out = memfd_create("out", MFD_CLOEXEC);

			if (run(formats[i], c.p, cuts[k], out, in.len, &r,
				&e) != -EINVAL)
				fail_msg("%s cut at %zu",
					 codec_name(formats[i]), cuts[k]);
			assert_int_equal(e.class, ERROR_INVALID_CONFIG);
			assert_non_null(strstr(e.text, "vmlinuz: payload ("));
			assert_non_null(strstr(e.text, "truncated"));
			close(out);
		}
		bytes_free(&c);
	}
	bytes_free(&in);
}

/* Formats with checks must notice; none may do harm. */
static void test_decompress_flipped_bits_do_no_harm(void **state)
{
	struct bytes in = sample(300000);

	(void)state;
	for (size_t i = 0; i < FORMATS; i++) {
		struct bytes c = pack(formats[i], in);
		size_t noticed = 0;

		for (size_t at = 9; at < c.len; at += c.len / 16 + 1) {
			struct decompress_result r = { 0 };
			struct error e;
			int out = memfd_create("out", MFD_CLOEXEC);
			int ret;

			c.p[at] ^= 0x55;
			ret = run(formats[i], c.p, c.len, out, in.len, &r, &e);
			c.p[at] ^= 0x55;
			if (ret) {
				assert_int_equal(e.class,
						 ERROR_INVALID_CONFIG);
				noticed++;
			} else {
				assert_true(r.len_bytes <= in.len);
			}
			close(out);
		}
		assert_true(noticed > 0);
		bytes_free(&c);
	}
	bytes_free(&in);
}

static void test_decompress_hostile_block_lengths_are_refused(void **state)
{
	static const struct {
		enum codec codec;
		size_t at;
		uint32_t value;		/* little-endian */
	} bad[] = {
		{ CODEC_LZ4, 4, 0 },
		{ CODEC_LZ4, 4, 0xffffffff },
		{ CODEC_LZ4, 4, 0x7fffffff },
		{ CODEC_LZ4, 4, 0x00800000 },
		{ CODEC_LZO, 41, 0x00000400 },	/* 256 KiB + … */
		{ CODEC_LZO, 41, 0xffffffff },
		{ CODEC_LZO, 45, 0 },
		{ CODEC_LZO, 45, 0xffffffff },
		{ CODEC_LZO, 49, 0 },		/* Adler-32 */
	};
	struct bytes in = sample(5000);

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bytes c = pack(bad[i].codec, in);
		struct decompress_result r;
		struct error e;
		int out = memfd_create("out", MFD_CLOEXEC);

		put_le(c.p + bad[i].at, bad[i].value, 4);
		if (run(bad[i].codec, c.p, c.len, out, 1 << 20, &r, &e) !=
		    -EINVAL)
			fail_msg("case %zu", i);
		close(out);
		bytes_free(&c);
	}
	bytes_free(&in);
}

static void test_crc64_of_zeros_is_that_of_reading_them(void **state)
{
	static const size_t lengths[] = { 0, 1, 2, 7, 8, 4096, 65536, 100003 };
	struct bytes zeros = bytes_new(100003);
	uint64_t crc = lzma_crc64((const uint8_t *)"mote", 4, 0);

	(void)state;
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		assert_int_equal(crc64_zeros(crc, lengths[i]),
				 lzma_crc64(zeros.p, lengths[i], crc));
		assert_int_equal(crc64_zeros(0, lengths[i]),
				 lzma_crc64(zeros.p, lengths[i], 0));
	}
	bytes_free(&zeros);
}

/* Zeros become holes, at the end and in between, and read as zeros. */
static void test_decompress_zeros_take_no_space(void **state)
{
	struct bytes in = sample(4u << 20), back = bytes_new(in.len);

	(void)state;
	memset(in.p + 0x12345, 0, 0x180000);
	memset(in.p + 0x280001, 0, in.len - 0x280001);
	for (size_t i = 0; i < FORMATS; i++) {
		struct bytes c = pack(formats[i], in);
		int out = memfd_create("out", MFD_CLOEXEC);
		struct decompress_result r;
		struct error e;
		struct stat st;

		assert_int_equal(run(formats[i], c.p, c.len, out, in.len, &r,
				     &e), 0);
		assert_int_equal(r.crc64, lzma_crc64(in.p, in.len, 0));
		assert_int_equal(pread(out, back.p, back.len, OUT_OFFSET),
				 in.len);
		assert_memory_equal(back.p, in.p, in.len);
		assert_int_equal(fstat(out, &st), 0);
		assert_int_equal(st.st_size, OUT_OFFSET + in.len);
		/* At most a block of 64 KiB lost at each of three edges. */
		assert_true(st.st_blocks * 512 <
			    0x280001 - 0x180000 + 4 * 0x10000);
		close(out);
		bytes_free(&c);
	}
	bytes_free(&in);
	bytes_free(&back);
}

/* A window of 2 GiB in a header of a few bytes. */
static void test_decompress_huge_window_needs_too_much_memory(void **state)
{
	static const uint8_t zstd[] = { 0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8,
					0x01, 0x00, 0x00 };
	static const uint8_t lzma[] = { 0x5d, 0, 0, 0, 0xc0, 0xff, 0xff, 0xff,
					0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0,
					0, 0, 0 };
	struct decompress_result r;
	struct error e;
	int out = memfd_create("out", MFD_CLOEXEC);

	(void)state;
	assert_true(run(CODEC_ZSTD, zstd, sizeof(zstd), out, 1 << 20, &r,
			&e) < 0);
	assert_non_null(strstr(e.text, "memory"));
	assert_true(run(CODEC_LZMA, lzma, sizeof(lzma), out, 1 << 20, &r,
			&e) < 0);
	assert_non_null(strstr(e.text, "memory"));
	close(out);
}

static void test_decompress_unwritable_output_is_an_io_error(void **state)
{
	struct bytes in = sample(1000), c = pack(CODEC_GZIP, in);
	int out = open("/dev/full", O_RDWR | O_CLOEXEC);
	struct decompress_result r;
	struct error e;

	(void)state;
	assert_true(out >= 0);
	assert_int_equal(run(CODEC_GZIP, c.p, c.len, out, 1 << 20, &r, &e),
			 -EIO);
	assert_non_null(strstr(e.text, "No space left"));
	close(out);
	bytes_free(&in);
	bytes_free(&c);
}

/* The file shrinks under the child's mapping: it dies alone. */
static void test_decompress_input_that_shrinks_kills_only_the_child(
	void **state)
{
	struct decompress_job job = {
		.name = "vmlinuz", .codec = CODEC_COPY, .in_len = 1 << 20,
		.limit = 1 << 20,
	};
	struct decompress_result r;
	struct error e;

	(void)state;
	job.in_fd = memfd_with("x", 1);
	job.out_fd = memfd_create("out", MFD_CLOEXEC);
	assert_true(decompress_run(&job, &r, &e) < 0);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	close(job.in_fd);
	close(job.out_fd);
}

static unsigned int asked;

static bool is_cancelled_at_last(void)
{
	return ++asked > 2;
}

static bool is_cancelled(void)
{
	return true;
}

static void test_wait_gives_up_when_asked_to(void **state)
{
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(wait_readable(fds[0], WAIT_FOR_EVER,
				       is_cancelled_at_last), -ECANCELED);
	assert_int_equal(asked, 3);
	assert_int_equal(wait_readable(fds[0], 10, NULL), -ETIMEDOUT);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(wait_readable(fds[0], 0, NULL), 0);
	close(fds[0]);
	close(fds[1]);
}

static void test_decompress_given_up_leaves_no_child(void **state)
{
	struct bytes in = sample(SAMPLE_LEN), c = pack(CODEC_XZ, in);
	struct decompress_job job = {
		.name = "vmlinuz", .codec = CODEC_XZ, .limit = in.len,
		.cancelled = is_cancelled,
	};
	struct decompress_result r;
	struct error e;

	(void)state;
	job.in_fd = memfd_with(c.p, c.len);
	job.in_len = c.len;
	job.out_fd = memfd_create("out", MFD_CLOEXEC);
	assert_int_equal(decompress_run(&job, &r, &e), -ECANCELED);
	assert_int_equal(e.class, ERROR_GENERIC);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	close(job.in_fd);
	close(job.out_fd);
	bytes_free(&in);
	bytes_free(&c);
}

CONFINE_LEAVES
static int confined(void (*fn)(void))
{
	int status, fd = memfd_create("out", MFD_CLOEXEC);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		if (confine_descriptors(fd, fd) || confine_self(100, 10))
			_exit(99);
		fn();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(fd);
	return status;
}

static void do_nothing(void)
{
}

CONFINE_LEAVES
static void do_write(void)
{
	/* 2 and everything above is closed. */
	if (pwrite(0, "x", 1, 0) != 1 || write(1, "x", 1) != 1 ||
	    write(2, "x", 1) != -1)
		_exit(1);
}

static void do_open(void)
{
	syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY);
}

static void do_read(void)
{
	char c;

	syscall(SYS_read, 0, &c, 1);
}

static void do_fork(void)
{
	syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
}

static void do_map(void)
{
	syscall(SYS_mmap, 0, 4096, PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		0);
}

static void test_confine_write_and_exit_work_all_else_kills(void **state)
{
	static void (*const forbidden[])(void) = { do_open, do_read, do_fork,
						   do_map };

	(void)state;
	assert_int_equal(confined(do_nothing), 0);
	assert_int_equal(confined(do_write), 0);
	for (size_t i = 0; i < sizeof(forbidden) / sizeof(forbidden[0]); i++) {
		int status = confined(forbidden[i]);

		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), SIGSYS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codec_every_format_is_known_by_its_magic),
		cmocka_unit_test(
			test_decompress_every_format_gives_the_original),
		cmocka_unit_test(
			test_decompress_one_byte_over_the_limit_is_refused),
		cmocka_unit_test(test_decompress_truncated_input_is_refused),
		cmocka_unit_test(test_decompress_flipped_bits_do_no_harm),
		cmocka_unit_test(
			test_decompress_hostile_block_lengths_are_refused),
		cmocka_unit_test(test_decompress_zeros_take_no_space),
		cmocka_unit_test(test_crc64_of_zeros_is_that_of_reading_them),
		cmocka_unit_test(
			test_decompress_huge_window_needs_too_much_memory),
		cmocka_unit_test(
			test_decompress_unwritable_output_is_an_io_error),
		cmocka_unit_test(
			test_decompress_input_that_shrinks_kills_only_the_child),
		cmocka_unit_test(test_wait_gives_up_when_asked_to),
		cmocka_unit_test(test_decompress_given_up_leaves_no_child),
		cmocka_unit_test(
			test_confine_write_and_exit_work_all_else_kills),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
