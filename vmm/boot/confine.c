/* SPDX-License-Identifier: MIT */
/*
 * The confinement of the decompressing child, run by its only thread: resource
 * limits, no descriptors but two, and a seccomp filter (seccomp(2)). A filter
 * rather than seccomp's strict mode, since that is refused where mote itself
 * runs under a filter, as in most containers.
 */
#include "boot/confine.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * This program's own ELF header, from the linker: AUDIT_ARCH_* is made of its
 * e_machine. Without that check the numbers below could be meant for another
 * system call table, as int $0x80 does on x86.
 */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

#define LOAD(field) \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define SKIP_UNLESS(k, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, k, 0, n)
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, action)

static int filter_system_calls(void)
{
	uint32_t arch = __ehdr_start.e_machine | __AUDIT_ARCH_64BIT |
			__AUDIT_ARCH_LE;
	struct sock_filter code[] = {
		LOAD(arch),
		SKIP_UNLESS(arch, 7),
		LOAD(nr),
		SKIP_UNLESS(SYS_write, 1),
		RETURN(SECCOMP_RET_ALLOW),
		SKIP_UNLESS(SYS_pwrite64, 1),
		RETURN(SECCOMP_RET_ALLOW),
		SKIP_UNLESS(SYS_exit_group, 1),
		RETURN(SECCOMP_RET_ALLOW),
		RETURN(SECCOMP_RET_KILL_PROCESS),
	};
	struct sock_fprog program = {
		.len = sizeof(code) / sizeof(code[0]),
		.filter = code,
	};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
		return -errno;
	return 0;
}

static int limit(int resource, uint64_t value)
{
	struct rlimit now, l = { value, value };

	if (getrlimit(resource, &now) < 0)
		return -errno;
	/* Never above what there is: that would need a privilege. */
	if (l.rlim_max > now.rlim_max)
		l.rlim_cur = l.rlim_max = now.rlim_max;
	return setrlimit(resource, &l) < 0 ? -errno : 0;
}

int confine_descriptors(int a, int b)
{
	/* By way of numbers that are neither 0 nor 1. */
	int x = fcntl(a, F_DUPFD, 2), y = fcntl(b, F_DUPFD, 2);

	if (x < 0 || y < 0 || dup2(x, 0) < 0 || dup2(y, 1) < 0)
		return -errno;
	closefrom(2);
	return 0;
}

int confine_self(uint64_t file_bytes, unsigned int cpu_seconds)
{
	int ret;

	ret = limit(RLIMIT_FSIZE, file_bytes);
	if (!ret)
		ret = limit(RLIMIT_CPU, cpu_seconds);
	if (!ret)
		ret = limit(RLIMIT_CORE, 0);
	if (!ret)
		ret = limit(RLIMIT_NOFILE, 0);
	if (!ret)
		ret = filter_system_calls();
	return ret;
}
