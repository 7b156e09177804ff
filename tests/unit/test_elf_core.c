/* SPDX-License-Identifier: MIT */
/* LINK: save/elf_core save/channel save/output char/listener save/command save/machine_x86 state job loop error */
/* ELF cores: what a reader of ELF finds in them. Jobs: they write them. */
#include "unit.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "job.h"
#include "save/elf_core.h"

static uint8_t ram[3][8192] __attribute__((aligned(4096)));

static void count(void *opaque, uint64_t bytes)
{
	*(uint64_t *)opaque += bytes;
}

static const uint8_t *written(const struct elf_core *core, int fd)
{
	uint64_t progress = 0;
	struct channel *c;
	struct error e;

	assert_int_equal(channel_from_fd(&c, dup(fd), &e), 0);
	assert_int_equal(elf_core_write(core, c, count, &progress), 0);
	assert_int_equal(progress, elf_core_ram_bytes(core));
	assert_int_equal(channel_finish(c, 0, &e), 0);
	channel_close(c);
	return mmap(NULL, 1 << 20, PROT_READ, MAP_SHARED, fd, 0);
}

static void test_elf_core_holds_notes_and_memory(void **state)
{
	const struct elf_core_part parts[] = {
		{ 0, ram[0], 8192 }, { 0x100000, ram[1], 4096 },
		{ 0x100000000, ram[2], 8192 },
	};
	struct state_writer notes = STATE_WRITER_INIT;
	int fd = memfd_create("core", 0);
	struct elf_core core = { parts, 3, NULL, 0 };
	const Elf64_Ehdr *ehdr;
	const Elf64_Phdr *p;
	const Elf64_Nhdr *n;
	const uint8_t *file;

	(void)state;
	memset(ram[0] + 4096, 1, 4096);
	memset(ram[1], 2, 4096);
	ram[2][8191] = 3;
	elf_core_put_note(&notes, "CORE", 1, "abcde", 5);
	elf_core_put_note(&notes, "QEMU", 0, "fg", 2);
	core.notes = notes.data;
	core.notes_bytes = notes.len_bytes;
	file = written(&core, fd);
	ehdr = (const Elf64_Ehdr *)file;
	assert_memory_equal(ehdr->e_ident, ELFMAG, SELFMAG);
	assert_int_equal(ehdr->e_type, ET_CORE);
	assert_int_equal(ehdr->e_machine, EM_X86_64);
	assert_int_equal(ehdr->e_phnum, 4);
	p = (const Elf64_Phdr *)(file + ehdr->e_phoff);
	assert_int_equal(p->p_type, PT_NOTE);
	assert_int_equal(p->p_filesz, 12 + 8 + 8 + 12 + 8 + 4);
	n = (const Elf64_Nhdr *)(file + p->p_offset);
	assert_int_equal(n->n_descsz, 5);
	assert_string_equal((const char *)(n + 1), "CORE");
	n = (const Elf64_Nhdr *)(file + p->p_offset + 28);
	assert_int_equal(n->n_descsz, 2);
	assert_string_equal((const char *)(n + 1), "QEMU");
	for (size_t i = 0; i < 3; i++) {
		p++;
		assert_int_equal(p->p_type, PT_LOAD);
		assert_int_equal(p->p_paddr, parts[i].base);
		assert_int_equal(p->p_vaddr, parts[i].base);
		assert_int_equal(p->p_filesz, parts[i].len_bytes);
		assert_memory_equal(file + p->p_offset, parts[i].host,
				    parts[i].len_bytes);
	}
	assert_int_equal(lseek(fd, 0, SEEK_END), p->p_offset + 8192);
	munmap((void *)file, 1 << 20);
	state_writer_deinit(&notes);
	close(fd);
}

/* ---- jobs ----------------------------------------------------------------- */

struct ended {
	struct job *job;
	int ticks;
	struct loop *loop;
	int ret;
	struct error e;
};

static int wait_cancelled(struct job *j, void *opaque, struct error *e)
{
	(void)opaque;
	job_add_progress(j, 5);
	while (!job_cancelled(j))
		usleep(1000);
	return error_set(e, -ECANCELED, "cancelled");
}

static void note_end(void *opaque, int ret, const struct error *e)
{
	struct ended *end = opaque;

	/* As those do that keep nothing of what is over. */
	job_destroy(end->job);
	end->ret = ret;
	end->e = *e;
	loop_stop(end->loop);
}

static void stop_waiting(void *opaque)
{
	struct ended *end = opaque;

	assert_true(job_passed_ms(end->job) >= 1000);
	job_cancel(end->job);
	end->ticks++;
}

static const struct job_ops waits = { wait_cancelled, note_end, stop_waiting };

static void test_job_tells_its_end_on_the_loop(void **state)
{
	struct ended end = { .ret = 1 };
	struct error e;
	struct job *j;

	(void)state;
	assert_int_equal(loop_create(&end.loop), 0);
	assert_int_equal(job_start(&j, end.loop, &waits, &end, &e), 0);
	while (!job_progress(j))
		usleep(1000);
	/* After a second it is cancelled. */
	end.job = j;
	loop_run(end.loop);
	assert_int_equal(end.ticks, 1);
	assert_int_equal(end.ret, -ECANCELED);
	assert_string_equal(end.e.text, "cancelled");
	loop_destroy(end.loop);
}

static void test_job_that_is_destroyed_tells_nothing(void **state)
{
	struct ended end = { .ret = 1 };
	struct error e;
	struct job *j;

	(void)state;
	assert_int_equal(loop_create(&end.loop), 0);
	assert_int_equal(job_start(&j, end.loop, &waits, &end, &e), 0);
	job_destroy(j);
	assert_int_equal(end.ret, 1);
	loop_destroy(end.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_elf_core_holds_notes_and_memory),
		cmocka_unit_test(test_job_tells_its_end_on_the_loop),
		cmocka_unit_test(test_job_that_is_destroyed_tells_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
