/* SPDX-License-Identifier: MIT */
/* LINK: config/cli config/help config/config% config/option% block/vhd config/suboptions nearest error */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "unit.h"

#include "config/cli.h"
#include "config/options.h"

#define MAX_ARGS 32

static int parse(struct cli_run *r, struct error *e, const char *const *args)
{
	char *argv[MAX_ARGS + 1] = { NULL };
	int argc = 0;

	for (; args[argc]; argc++)
		argv[argc] = (char *)args[argc];
	return cli_parse_run(argc, argv, r, e);
}

#define ARGS(...) (const char *const[]){ __VA_ARGS__, NULL }

static void accepted(struct cli_run *r, const char *const *args)
{
	struct error e = { 0 };

	if (parse(r, &e, args))
		fail_msg("%s: %s", args[0], e.text);
}

/* Every word of named, NULL-terminated, is in the text. */
static void refused(const char *const *args, const char *const *named)
{
	struct cli_run r;
	struct error e = { 0 };

	if (!parse(&r, &e, args))
		fail_msg("%s %s is accepted", args[0], args[1]);
	assert_true(e.class == ERROR_INVALID_CONFIG ||
		    e.class == ERROR_NOT_SUPPORTED);
	assert_null(strchr(e.text, '\n'));
	for (; *named; named++)
		if (!strstr(e.text, *named))
			fail_msg("'%s' does not hold '%s'", e.text, *named);
}

static void test_cli_forms_of_an_option_are_equal(void **state)
{
	static const char *const forms[][3] = {
		{ "-k", "a=b", NULL }, { "-ka=b", NULL },
		{ "--kernel", "a=b", NULL }, { "--kernel=a=b", NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		struct cli_run r;

		accepted(&r, forms[i]);
		assert_string_equal(r.config.kernel, "a=b");
		config_deinit(&r.config);
	}
}

static void test_cli_every_option_fills_its_member(void **state)
{
	struct cli_run r;

	(void)state;
	accepted(&r, ARGS("-k", "k,1", "-i", "a,b", "-ic", "-p", "x  y", "-p",
			  "", "-m", "1G,path=/r,share=on,prealloc=on"));
	assert_string_equal(r.config.kernel, "k,1");
	assert_int_equal(r.config.initrd_count, 2);
	assert_string_equal(r.config.initrds[0], "a,b");
	assert_string_equal(r.config.initrds[1], "c");
	assert_int_equal(r.config.param_count, 1);
	assert_string_equal(r.config.params[0], "x  y");
	assert_true(r.config.memory.size_bytes == 1ull << 30);
	assert_string_equal(r.config.memory.path, "/r");
	assert_true(r.config.memory.share && r.config.memory.prealloc);
	assert_false(r.config.memory.hugepages);
	config_deinit(&r.config);

	accepted(&r, ARGS("-k", "k", "-c", "8,max=8,threads=2,cores=4",
			  "--cpu", "host,+avx2,-aes", "--exit-port",
			  "--kernel-cache", "off", "--id", "sandbox-1"));
	assert_int_equal(r.config.cpus.count, 8);
	assert_int_equal(r.config.cpus.threads, 2);
	assert_int_equal(r.config.cpus.cores, 4);
	assert_int_equal(r.config.cpus.sockets, 1);
	assert_int_equal(r.config.cpus.feature_count, 2);
	assert_string_equal(r.config.cpus.features[0], "+avx2");
	assert_string_equal(r.config.cpus.features[1], "-aes");
	assert_true(r.config.exit_port);
	assert_string_equal(r.config.kernel_cache, "off");
	assert_string_equal(r.config.id, "sandbox-1");
	config_deinit(&r.config);

	accepted(&r, ARGS("-k", "k", "--paused", "--on-reboot", "exit",
			  "--on-panic", "pause", "--exit-report", "rep",
			  "--log", "debug,file=/l", "-n"
			  "none"));
	assert_true(r.config.paused);
	assert_int_equal(r.config.on_reboot, ON_REBOOT_EXIT);
	assert_int_equal(r.config.on_panic, ON_PANIC_PAUSE);
	assert_string_equal(r.config.exit_report, "rep");
	assert_int_equal(r.config.log_level, LOG_DEBUG);
	assert_string_equal(r.config.log_file, "/l");
	config_deinit(&r.config);
}

static void test_cli_disk_suboptions_are_parsed(void **state)
{
	struct cli_run r;
	struct config_disk *d;

	(void)state;
	accepted(&r, ARGS("-kk", "-d", "a,,b.img,ro", "--disk",
			  "path=c,id=data,format=raw,readonly=off,direct=on,"
			  "flush=off,queues=4,serial=S1", "-dd"));
	d = r.config.disks;
	assert_int_equal(r.config.disk_count, 3);
	assert_string_equal(d[0].path, "a,b.img");
	assert_string_equal(d[0].id, "disk0");
	assert_true(d[0].readonly);
	assert_int_equal(d[0].queues, 1);
	assert_false(d[0].no_flush);
	assert_string_equal(d[1].path, "c");
	assert_string_equal(d[1].id, "data");
	assert_false(d[1].readonly);
	assert_true(d[1].direct);
	assert_false(d[0].direct);
	assert_true(d[1].no_flush);
	assert_int_equal(d[1].queues, 4);
	assert_string_equal(d[1].serial, "S1");
	assert_string_equal(d[2].id, "disk1");
	config_deinit(&r.config);
}

static void test_cli_share_suboptions_are_parsed(void **state)
{
	struct config_9p *s;
	struct cli_run r;

	(void)state;
	accepted(&r, ARGS("-kk", "--9p", "/srv,tag=srv,ro,allowed=a:..b",
			  "--9p", "tag=x,path=/x,msize=512000,id=i", "--9p",
			  "/y,tag=y,msize=64K"));
	s = r.config.shares;
	assert_int_equal(r.config.share_count, 3);
	assert_string_equal(s[0].path, "/srv");
	assert_string_equal(s[0].tag, "srv");
	assert_string_equal(s[0].allowed, "a:..b");
	assert_true(s[0].readonly);
	assert_int_equal(s[0].msize_bytes, 0);
	assert_null(s[0].id);
	assert_string_equal(s[1].id, "i");
	assert_string_equal(s[1].path, "/x");
	assert_false(s[1].readonly);
	assert_int_equal(s[1].msize_bytes, 512000);
	assert_int_equal(s[2].msize_bytes, 65536);
	config_deinit(&r.config);
}

static void test_cli_chardev_suboptions_are_parsed(void **state)
{
	struct config_chardev *d;
	struct cli_run r;

	(void)state;
	accepted(&r, ARGS("-kk", "--chardev", "unix,id=agent.0,path=a,,b",
			  "--chardev", "type=connect,path=c,id=c,reconnect=5",
			  "--chardev", "file,id=f,path=l,append=on",
			  "--chardev", "pty,id=p"));
	d = r.config.chardevs;
	assert_int_equal(r.config.chardev_count, 4);
	assert_int_equal(d[0].back.kind, CHAR_UNIX);
	assert_string_equal(d[0].id, "agent.0");
	assert_string_equal(d[0].back.path, "a,b");
	assert_int_equal(d[1].back.kind, CHAR_CONNECT);
	assert_int_equal(d[1].back.reconnect_s, 5);
	assert_int_equal(d[2].back.kind, CHAR_FILE);
	assert_true(d[2].back.append);
	assert_int_equal(d[3].back.kind, CHAR_PTY);
	assert_null(d[3].back.path);
	config_deinit(&r.config);
	/* Who has no console may call another so. */
	accepted(&r, ARGS("-kk", "--chardev", "null,id=console0"));
	config_deinit(&r.config);
}

static void test_cli_character_back_ends_are_parsed(void **state)
{
	static const struct {
		const char *text;
		enum config_char_kind kind;
		const char *path;
	} cases[] = {
		{ "stdio", CHAR_STDIO, NULL }, { "null", CHAR_NULL, NULL },
		{ "pty", CHAR_PTY, NULL }, { "file=/a,,b", CHAR_FILE, "/a,b" },
		{ "unix=x=y", CHAR_UNIX, "x=y" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct cli_run r;

		accepted(&r, ARGS("-kk", "--serial", cases[i].text));
		assert_int_equal(r.config.serial.kind, cases[i].kind);
		if (cases[i].path)
			assert_string_equal(r.config.serial.path,
					    cases[i].path);
		else
			assert_null(r.config.serial.path);
		config_deinit(&r.config);
		accepted(&r, ARGS("-kk", "--serial=null", "--console",
				  cases[i].text));
		assert_int_equal(r.config.console.kind, cases[i].kind);
		config_deinit(&r.config);
	}
}

static void test_cli_monitor_takes_a_path_or_a_descriptor(void **state)
{
	struct cli_run r;

	(void)state;
	accepted(&r, ARGS("-kk", "--monitor", "a,,b.sock"));
	assert_string_equal(r.config.monitor.path, "a,b.sock");
	assert_int_equal(r.config.monitor.fd, -1);
	config_deinit(&r.config);
	accepted(&r, ARGS("-kk", "--monitor=fd=7"));
	assert_null(r.config.monitor.path);
	assert_int_equal(r.config.monitor.fd, 7);
	config_deinit(&r.config);
}

static void test_cli_rng_value_is_optional(void **state)
{
	struct cli_run r;

	(void)state;
	accepted(&r, ARGS("--rng", "-kk"));
	assert_true(r.config.rng);
	config_deinit(&r.config);
	accepted(&r, ARGS("-kk", "--rng"));
	assert_true(r.config.rng);
	config_deinit(&r.config);
	accepted(&r, ARGS("--rng", "off", "-kk"));
	assert_false(r.config.rng);
	config_deinit(&r.config);
	accepted(&r, ARGS("--rng", "source=/dev/hwrng", "-kk"));
	assert_true(r.config.rng);
	assert_string_equal(r.config.rng_source, "/dev/hwrng");
	config_deinit(&r.config);
}

static void test_cli_flag_can_be_taken_back(void **state)
{
	struct cli_run r;

	(void)state;
	accepted(&r, ARGS("-kk", "--paused=off", "--exit-port=on"));
	assert_false(r.config.paused);
	assert_true(r.config.exit_port);
	config_deinit(&r.config);
}

static const struct {
	const char *args[4];
	const char *named[4];
} bad[] = {
	{ { "--dsik", "x" }, { "unknown option '--dsik'", "'--disk'" } },
	{ { "--dsik=x" }, { "--dsik", "'--disk'" } },
	{ { "--mem", "1G" }, { "'--mem'", "'--memory'" } },
	{ { "--print-confg" }, { "'--print-config'" } },
	{ { "--confg", "x" }, { "'--config'" } },
	{ { "-kernel", "x" }, { "'-kernel'", "'--kernel'" } },
	{ { "-serial", "stdio" }, { "'-serial'", "'--serial'" } },
	{ { "-append", "x" }, { "'-append'", "'--params'" } },
	{ { "-drive", "file=x" }, { "'-drive'", "'--disk'" } },
	/* Not -d with a file "evice". */
	{ { "-device", "virtio-blk-pci" }, { "'-device'", "'--disk'" } },
	{ { "-cdrom", "x.iso" }, { "'-cdrom'", "'--disk'" } },
	{ { "-machine", "q35" }, { "'-machine'", "'--config'" } },
	{ { "-M", "q35" }, { "'-M'", "'--config'" } },
	{ { "--network", "user" }, { "'--network'", "'--net'" } },
	{ { "-virtfs", "x" }, { "'-virtfs'", "'--9p'" } },
	{ { "-Z" }, { "'-Z'" } },
	{ { "stray" }, { "'stray'" } },
	{ { "" }, { "''" } },
	{ { "-" }, { "'-'" } },
	{ { "--", "x" }, { "'x'" } },
	{ { "--=x" }, { "--" } },
	{ { "-k" }, { "--kernel" } },
	{ { "--kernel" }, { "--kernel" } },
	{ { "--kernel=" }, { "--kernel" } },
	{ { "-d" }, { "--disk" } },
	{ { "--disk" }, { "--disk" } },
	{ { "-d", "" }, { "--disk: empty" } },
	{ { "-d", "id=x" }, { "--disk", "path" } },
	{ { "-d", "path=" }, { "--disk", "path" } },
	{ { "-d", "x,redonly=on" },
	  { "--disk: unknown sub-option 'redonly'; "
	    "did you mean 'readonly'?" } },
	{ { "-d", "x,y" }, { "--disk", "'y'" } },
	{ { "-d", "x,rdonly" }, { "'rdonly'", "did you mean 'readonly=on'?" } },
	{ { "-d", "x,queue" }, { "'queue'", "did you mean 'queues=N'?" } },
	{ { "-d", "file=x" }, { "'file'", "did you mean 'path'?" } },
	{ { "-d", "x,cache=none" }, { "'cache'", "did you mean 'direct'?" } },
	{ { "-d", "x,path=y" }, { "--disk", "path" } },
	{ { "-d", "x,id=a,id=b" }, { "--disk", "id" } },
	{ { "-d", "x,readonly=maybe" }, { "--disk", "readonly", "maybe" } },
	{ { "-d", "x,queues=-1" }, { "--disk", "queues", "-1" } },
	{ { "-d", "x,queues=4294967297" }, { "--disk", "4294967297", "too large" } },
	{ { "-d", "x,format=qcow2" }, { "--disk", "qcow2", "raw" } },
	{ { "-d", "x," }, { "--disk", "empty" } },
	{ { "--chardev", "unix,path=x" }, { "--chardev", "no id" } },
	{ { "--chardev", "id=a" }, { "--chardev", "'a'", "type" } },
	{ { "--chardev", "stdio,id=a" }, { "--chardev", "'a'", "type" } },
	{ { "--chardev", "unix,id=a" }, { "--chardev", "'a'", "path" } },
	{ { "--chardev", "null,id=a,path=x" }, { "--chardev", "path" } },
	{ { "--chardev", "null,id=serial0" }, { "--chardev", "serial0" } },
	{ { "--console=null", "--chardev", "null,id=console0" },
	  { "--chardev", "console0" } },
	{ { "--chardev", "unix,id=a,path=x,reconnect=1" }, { "reconnect" } },
	{ { "--chardev", "pty,id=a,append=on" }, { "append" } },
	{ { "--chardev", "null,id=a", "--chardev", "null,id=a" }, { "twice" } },
	{ { "-m", "12Q" }, { "--memory", "12Q" } },
	{ { "-m", "0" }, { "--memory" } },
	{ { "-m", "18K" }, { "--memory: 18 KiB" } },
	{ { "-m=512" }, { "--memory: '=512'" } },
	{ { "-m", "99999999999999999999" }, { "--memory" } },
	{ { "-m", "1G", "-m", "2G" }, { "--memory", "twice" } },
	{ { "-m", "1G", "--memory=2G" }, { "--memory", "twice" } },
	{ { "-m", "1G,hugepages=perhaps" }, { "hugepages", "perhaps" } },
	{ { "-m", "1G,max=512M" }, { "--memory", "max" } },
	{ { "-c", "0" }, { "--cpus" } },
	{ { "-c", "256" }, { "--cpus", "256" } },
	{ { "-c", "two" }, { "--cpus", "two" } },
	{ { "-c", "4,threads=3" }, { "--cpus", "threads" } },
	{ { "-c", "4,threads=0" }, { "--cpus: threads: 0" } },
	{ { "-c", "4,max=0" }, { "--cpus: max: 0" } },
	{ { "-c", "2,max=1" }, { "--cpus", "max" } },
	{ { "--cpu", "qemu64" }, { "--cpu", "qemu64" } },
	{ { "--cpu", "host,avx" }, { "--cpu", "avx" } },
	{ { "--cpu", "host,+" }, { "--cpu" } },
	{ { "--cpu", "+avx" }, { "--cpu" } },
	{ { "--serial", "telnet" }, { "--serial: 'telnet' is", "unix" } },
	{ { "--serial", "tty=x" }, { "--serial: 'tty' is" } },
	{ { "--serial", "file" }, { "--serial", "file" } },
	{ { "--serial", "file=" }, { "--serial", "file" } },
	{ { "--serial", "stdio=" }, { "--serial" } },
	{ { "--serial", "null,stdio" }, { "--serial" } },
	{ { "--serial", "unix=x,file=y" }, { "--serial" } },
	{ { "--console", "stdio" }, { "stdio" } },
	{ { "--monitor", "x,fd=3" }, { "--monitor" } },
	{ { "--monitor", "fd=-1" }, { "--monitor", "-1" } },
	{ { "--monitor", "fd=3x" }, { "--monitor", "3x" } },
	{ { "--rng", "perhaps" }, { "--rng: 'perhaps'", "'source=PATH'" } },
	{ { "--balloon", "deflate-on-oom" }, { "'deflate-on-oom=on'" } },
	{ { "--rng=enable=perhaps" }, { "--rng: enable: 'perhaps'" } },
	{ { "--rng", "off,source=/x" }, { "--rng" } },
	{ { "--paused=x" }, { "--paused", "'x'" } },
	{ { "--paused", "--paused" }, { "--paused", "twice" } },
	{ { "--on-panic", "dance" }, { "--on-panic", "dance", "pause" } },
	{ { "--log", "loud" }, { "--log", "loud", "debug" } },
	{ { "--uuid", "123" }, { "--uuid", "123" } },
	{ { "--rootfs", "x,type=initrd", "-iy" }, { "--rootfs" } },
	{ { "--rootfs", "x,type=initrd,ro" }, { "--rootfs", "readonly" } },
	{ { "-d", "x,id=a", "-d", "y,id=a" }, { "--disk", "'a'", "twice" } },
	{ { "--pmem", "id=x" }, { "--pmem", "path" } },
	{ { "--pmem", "x,readonly=perhaps" }, { "--pmem", "readonly" } },
	{ { "--pmem", "x,format=qcow2" }, { "--pmem", "qcow2", "vhd" } },
	{ { "--pmem", "x,id=a", "--pmem", "y,id=a" },
	  { "--pmem", "'a'", "twice" } },
	{ { "--pmem", "x,id=a", "-d", "y,id=a" }, { "--pmem", "'a'" } },
	{ { "--pmem=x", "--pmem=y", "--pmem-max=1" },
	  { "--pmem-max", "2 devices" } },
	{ { "--pmem=x", "--rootfs=y,type=pmem", "--pmem-max=1" },
	  { "--pmem-max", "--rootfs" } },
	{ { "--pmem-max", "0" }, { "--pmem-max", "0", "128" } },
	{ { "--pmem-max", "129" }, { "--pmem-max", "129", "128" } },
	{ { "--pmem-max", "4G" }, { "--pmem-max", "4G" } },
	{ { "--pmem-max-size", "much" }, { "--pmem-max-size", "much" } },
	{ { "--vsock", "path=/x" }, { "--vsock", "cid" } },
	{ { "--vsock", "cid=0,path=/x" }, { "--vsock", "cid" } },
	{ { "--vsock", "cid=2,path=/x" }, { "--vsock", "cid=2" } },
	{ { "--vsock", "cid=4294967295" }, { "--vsock", "4294967295" } },
	{ { "--vsock", "cid=4294967296" }, { "--vsock", "4294967296" } },
	{ { "--vsock", "cid=x" }, { "--vsock", "'x'" } },
	{ { "--vsock", "3" }, { "--vsock", "'3'", "'cid=N'" } },
	{ { "--vsock", "cid=3,pth=x" }, { "--vsock", "'pth'", "'path'" } },
	{ { "--vsock", "cid=3,path=/x,vhost=on" }, { "--vsock", "vhost" } },
	{ { "--vsock", "cid=3", "--vsock", "cid=4" }, { "--vsock", "twice" } },
	{ { "--vsock", "cid=3,path=/m", "--monitor", "/m" },
	  { "--vsock", "/m", "monitor" } },
	{ { "--9p", "/srv" }, { "--9p", "/srv", "no tag" } },
	{ { "--9p", "tag=x" }, { "--9p", "path" } },
	{ { "--9p", "/srv,tag=x", "--9p", "/b,tag=x" }, { "'x'", "twice" } },
	{ { "--9p", "/srv,tag=x,id=a/b" }, { "--9p", "'a/b'" } },
	{ { "--9p", "/srv,tag=x,msize=100" }, { "msize=100" } },
	{ { "--9p", "/srv,tag=x,msize=2M" }, { "msize=2097152" } },
	{ { "--9p", "/srv,tag=x,msize=much" }, { "msize", "much" } },
	{ { "--9p", "/srv,tag=x,allowed=a::b" }, { "allowed=a::b" } },
	{ { "--9p", "/srv,tag=x,allowed=a/b" }, { "allowed=a/b" } },
	{ { "--9p", "/srv,tag=x,allowed=.." }, { "allowed=.." } },
	{ { "--9p", "/srv,tag=x,writable=on" }, { "writable" } },
	{ { "--balloon", "deflate-on-om=on" },
	  { "--balloon", "'deflate-on-om'", "'deflate-on-oom'" } },
	{ { "--balloon=maybe" }, { "--balloon", "'maybe'" } },
	{ { "--incoming", "now" }, { "--incoming", "'now'" } },
	{ { "--incoming", "defer" }, { "--incoming", "--monitor" } },
	{ { "--disk-controllers=5" }, { "--disk-controllers", "'5'" } },
	{ { "--disk-controllers=x" }, { "--disk-controllers", "'x'" } },
	{ { "--disk-controllers=" }, { "--disk-controllers", "''" } },
	{ { "--config" }, { "--config" } },
	{ { "--config=" }, { "--config: empty" } },
	{ { "--config", "/nowhere/x" }, { "--config", "/nowhere/x" } },
	{ { "--config=a", "--config=b" }, { "--config", "twice" } },
	{ { "--print-config=x" }, { "--print-config" } },
	{ { "--help" }, { "mote help run" } },
};

static void test_cli_bad_input_is_named(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		const char *args[8] = { "-kk", "-pquiet" };

		memcpy(args + 2, bad[i].args, sizeof(bad[i].args));
		/* Its own is the only kernel: "twice" is not what is tested. */
		if (strstr(bad[i].args[0], "-k"))
			args[0] = "-p0";
		refused(args, bad[i].named);
	}
}

static void test_cli_endless_names_are_refused(void **state)
{
	static char name[100000];

	(void)state;
	memset(name, '-', sizeof(name) - 1);
	refused(ARGS(name), ARGS("unknown option"));
	memset(name, 'x', sizeof(name) - 1);
	memcpy(name, "--disk=y,", 9);
	refused(ARGS("-kk", name), ARGS("--disk"));
}

static void write_file(char *path, const char *text)
{
	int fd;

	strcpy(path, "/tmp/mote-unit-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void test_cli_options_apply_on_top_of_the_document(void **state)
{
	char path[32];
	struct cli_run r;

	(void)state;
	write_file(path, "{\"kernel\": \"k1\", \"params\": \"one\","
		   "\"memory\": {\"size\": \"1G\", \"share\": true},"
		   "\"log\": \"info,file=/l\", \"paused\": true,"
		   "\"disks\": [{\"path\": \"a\", \"id\": \"x\"},"
		   "{\"path\": \"b\", \"id\": \"y\", \"readonly\": true}],"
		   "\"9p\": [\"/a,tag=s,allowed=x\", {\"path\": \"/b\","
		   "\"tag\": \"t\", \"allowed\": [\"x\", \"y\"]}]}");
	/* Wherever --config stands. */
	accepted(&r, ARGS("-m", "2G", "-p", "two", "-d", "c,id=x", "-dd",
			  "--log", "debug", "--9p=/e,tag=s", "--config",
			  path, "--paused=off"));
	assert_string_equal(r.config.kernel, "k1");
	assert_int_equal(r.config.param_count, 2);
	assert_string_equal(r.config.params[0], "one");
	assert_string_equal(r.config.params[1], "two");
	/* All of a single value is replaced, sub-options too. */
	assert_true(r.config.memory.size_bytes == 2ull << 30);
	assert_false(r.config.memory.share);
	assert_int_equal(r.config.log_level, LOG_DEBUG);
	assert_null(r.config.log_file);
	assert_false(r.config.paused);
	assert_int_equal(r.config.disk_count, 3);
	assert_string_equal(r.config.disks[0].path, "c");
	assert_string_equal(r.config.disks[0].id, "x");
	assert_string_equal(r.config.disks[1].path, "b");
	assert_true(r.config.disks[1].readonly);
	assert_string_equal(r.config.disks[2].path, "d");
	assert_int_equal(r.config.share_count, 2);
	assert_string_equal(r.config.shares[0].path, "/e");
	assert_string_equal(r.config.shares[0].tag, "s");
	assert_null(r.config.shares[0].allowed);
	assert_string_equal(r.config.shares[1].allowed, "x:y");
	config_deinit(&r.config);
	/* Twice on the command line is a mistake, in the document or not. */
	refused(ARGS("--config", path, "-d", "c,id=x", "-d", "d,id=x"),
		ARGS("--disk", "'x'", "twice"));
	unlink(path);
}

static void test_cli_pmem_options(void **state)
{
	char path[] = "/tmp/test-cli-pmem-XXXXXX";
	FILE *file = fdopen(mkstemp(path), "w");
	struct cli_run r;

	(void)state;
	fputs("{\"kernel\": \"k\", \"pmem-max\": 3, \"pmem-max-size\": \"4G\","
	      " \"pmem\": [{\"path\": \"a\", \"id\": \"x\"}, \"b.vhd,ro\"]}", file);
	fclose(file);
	accepted(&r, ARGS("--config", path, "--pmem", "c,id=x", "--pmem=d.vhd,format=raw",
			  "--pmem-max=128"));
	assert_int_equal(r.config.pmem_count, 3);
	assert_string_equal(r.config.pmems[0].path, "c");
	assert_string_equal(r.config.pmems[0].id, "x");
	assert_string_equal(r.config.pmems[1].path, "b.vhd");
	assert_int_equal(r.config.pmems[1].format, DISK_VHD);
	assert_string_equal(r.config.pmems[1].id, "pmem0");
	assert_true(r.config.pmems[1].readonly);
	assert_string_equal(r.config.pmems[2].id, "pmem1");
	assert_int_equal(r.config.pmems[2].format, DISK_RAW);
	assert_int_equal(r.config.pmem_max, 128);
	assert_true(r.config.pmem_max_bytes == 4ull << 30);
	config_deinit(&r.config);
	unlink(path);
	accepted(&r, ARGS("-kk", "--rootfs", "r,type=pmem"));
	assert_int_equal(r.config.pmem_max, 64);
	assert_int_equal(r.config.rootfs.type, ROOTFS_PMEM);
	config_deinit(&r.config);
}

static void test_cli_print_config_is_noticed(void **state)
{
	struct cli_run r;

	(void)state;
	accepted(&r, ARGS("--print-config", "-kk"));
	assert_true(r.print_config);
	config_deinit(&r.config);
	accepted(&r, ARGS("-kk"));
	assert_false(r.print_config);
	config_deinit(&r.config);
}

static void test_cli_help_names_every_option(void **state)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	assert_true(cli_help(f, "run"));
	fclose(f);
	for (const struct option *o = options; o->name; o++) {
		char name[40];

		snprintf(name, sizeof(name), "--%s", o->name);
		if (!strstr(text, name))
			fail_msg("%s is not in the help", name);
		for (const struct field *s = o->fields; s && s->name; s++) {
			bool found;

			snprintf(name, sizeof(name), "%s=", s->name);
			found = strstr(text, name) != NULL;
			if (s->help && !found)
				fail_msg("%s of %s is not in the help", name,
					 o->name);
		}
	}
	assert_non_null(strstr(text, "--print-config"));
	assert_non_null(strstr(text, "Exit status"));
	free(text);
}

static void test_cli_help_fits_80_columns(void **state)
{
	static const char *const topics[] = { NULL, "run", "restore", "merge",
					      "ctl" };

	(void)state;
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
		char *text = NULL;
		size_t len = 0;
		FILE *f = open_memstream(&text, &len);

		assert_true(cli_help(f, topics[i]));
		fclose(f);
		for (char *line = strtok(text, "\n"); line;
		     line = strtok(NULL, "\n"))
			if (strlen(line) > 80)
				fail_msg("longer than 80: %s", line);
		free(text);
	}
}

/* What main.c does with the state file, from a text. */
static int load_text(struct cli_restore *r, struct vm_config *c,
		     struct error *e)
{
	const char *text = r->opaque;

	return config_json_load_text(c, "saved", text, strlen(text), e);
}

static int parse_restore(struct cli_restore *r, struct error *e,
			 const char *const *args)
{
	char *argv[MAX_ARGS + 1] = { NULL };
	int argc = 0;

	for (; args[argc]; argc++)
		argv[argc] = (char *)args[argc];
	*r = (struct cli_restore){
		.load = load_text,
		.opaque = "{\"kernel\": \"/k\", \"rootfs\": \"/root\", "
			  "\"memory\": \"64M\", \"serial\": \"null\", "
			  "\"disks\": [{\"path\": \"/a\", \"id\": \"a\", "
			  "\"readonly\": true, \"serial\": \"S\"}], "
			  "\"pmem\": [{\"path\": \"/p\", \"id\": \"p\"}], "
			  "\"nets\": [{\"tap\": \"t0\", \"id\": \"n\", "
			  "\"mac\": \"02:00:00:00:00:01\"}], "
			  "\"9p\": [{\"path\": \"/srv\", \"tag\": \"s\"}], "
			  "\"chardevs\": [{\"id\": \"x\", \"type\": \"unix\", "
			  "\"path\": \"/x\"}, \"unix,id=y,path=/y\", "
			  "\"connect,id=z,path=/z,reconnect=1\"], "
			  "\"vsock\": {\"cid\": 3, \"path\": \"a.sock\"}}",
	};
	return cli_parse_restore(argc, argv, r, e);
}

static void test_cli_restore_overrides(void **state)
{
	struct cli_restore r;
	struct vm_config *c = &r.run.config;
	struct error e = { 0 };

	(void)state;
	if (parse_restore(&r, &e, ARGS("--paused", "dir", "--id", "clone",
				       "--memory", "copy", "--monitor", "m",
				       "-d", "path=/b,id=a", "--disk",
				       "id=rootfs,path=/r2", "--pmem",
				       "id=p,path=/q", "--net",
				       "tap=t1,id=n", "--9p", "/new,tag=s",
				       "--chardev", "id=x,path=/x2",
				       "--chardev", "null,id=y",
				       "--chardev", "id=z,path=/z,reconnect=9",
				       "--vsock", "cid=4,path=b.sock")))
		fail_msg("%s", e.text);
	assert_string_equal(r.saved, "dir");
	assert_true(r.copy && c->paused);
	assert_string_equal(c->id, "clone");
	assert_int_equal(c->disk_count, 1);
	assert_string_equal(c->disks[0].path, "/b");
	assert_string_equal(c->disks[0].serial, "S");
	assert_true(c->disks[0].readonly);
	assert_string_equal(c->rootfs.path, "/r2");
	assert_string_equal(c->pmems[0].path, "/q");
	assert_int_equal(c->memory.size_bytes, 64 << 20);
	assert_int_equal(c->net_count, 1);
	assert_string_equal(c->nets[0].tap, "t1");
	assert_string_equal(c->nets[0].mac, "02:00:00:00:00:01");
	assert_int_equal(c->share_count, 1);
	assert_string_equal(c->shares[0].path, "/new");
	assert_int_equal(c->vsock.cid, 4);
	assert_int_equal(c->chardev_count, 3);
	assert_int_equal(c->chardevs[0].back.kind, CHAR_UNIX);
	assert_string_equal(c->chardevs[0].back.path, "/x2");
	assert_int_equal(c->chardevs[1].back.kind, CHAR_NULL);
	assert_null(c->chardevs[1].back.path);
	assert_int_equal(c->chardevs[2].back.kind, CHAR_CONNECT);
	assert_int_equal(c->chardevs[2].back.reconnect_s, 9);
	config_deinit(c);
	assert_int_equal(parse_restore(&r, &e, ARGS("dir")), 0);
	assert_false(r.copy);
	config_deinit(c);
}

static void test_cli_restore_mistakes_are_named(void **state)
{
	static const struct {
		const char *args[5], *named;
	} cases[] = {
		{ { NULL }, "no directory" },
		{ { "a", "b" }, "'b'" },
		{ { "a", "--kernel", "k" }, "--kernel" },
		{ { "a", "-c", "2" }, "--cpus" },
		{ { "a", "--config", "x" }, "--config" },
		{ { "a", "-m", "512M" }, "'512M'" },
		{ { "a", "--memory" }, "no value" },
		{ { "a", "-mmap", "-mmap" }, "twice" },
		{ { "a", "-d", "path=/x" }, "no id" },
		{ { "a", "-d", "path=/x,id=b" }, "'b'" },
		{ { "a", "-d", "path=/x,id=a", "-d", "path=/y,id=a" },
		  "twice" },
		{ { "a", "--pmem", "path=/x,id=a" }, "'a'" },
		{ { "a", "--net", "tap=x,id=m" }, "'m'" },
		{ { "a", "--9p", "/x,tag=t" }, "'t'" },
		{ { "a", "--pmem", "path=/x,id=p,ro" }, "readonly" },
		{ { "a", "-d", "path=/x,id=a,serial=T" }, "serial" },
		{ { "a", "-d", "path=/x,id=rootfs,ro" }, "readonly" },
		{ { "a", "-d", "path=/x,id=rootfs,direct=on" }, "direct" },
		{ { "a", "-d", "path=/x,id=rootfs,format=vhd" }, "format" },
		{ { "a", "-d", "path=/x,id=a,queues=2" }, "queues" },
		{ { "a", "-d", "path=/x,id=a,format=vhd" }, "format" },
		{ { "a", "--net", "tap=x,id=n,queues=2" }, "queues" },
		{ { "a", "--9p", "/x,tag=s,readonly=on" }, "readonly" },
		{ { "a", "--9p", "/x,tag=s,allowed=b" }, "allowed" },
		{ { "a", "--9p", "/x,tag=s,msize=8K" }, "msize" },
		{ { "a", "--chardev", "id=w,path=/w" }, "'w'" },
		{ { "a", "--chardev", "id=x" }, "path" },
		{ { "a", "--monitr", "x" }, "--monitor" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *args[6] = { NULL };
		struct cli_restore r;
		struct error e = { 0 };

		memcpy(args, cases[i].args, sizeof(cases[i].args));
		assert_true(parse_restore(&r, &e, args) < 0);
		assert_int_equal(e.class, ERROR_INVALID_CONFIG);
		if (!strstr(e.text, cases[i].named))
			fail_msg("'%s' does not hold '%s'", e.text,
				 cases[i].named);
	}
}

static void test_cli_help_topics(void **state)
{
	static const char *const topics[] = { NULL, "run", "restore", "ctl", "help",
					      "version" };
	FILE *f = fopen("/dev/null", "w");

	(void)state;
	for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++)
		assert_true(cli_help(f, topics[i]));
	assert_false(cli_help(f, "margin"));
	assert_false(cli_help(f, ""));
	fclose(f);
	assert_string_equal(cli_nearest_command("rnu"), "run");
	assert_string_equal(cli_nearest_command("versoin"), "version");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cli_forms_of_an_option_are_equal),
		cmocka_unit_test(test_cli_every_option_fills_its_member),
		cmocka_unit_test(test_cli_disk_suboptions_are_parsed),
		cmocka_unit_test(test_cli_share_suboptions_are_parsed),
		cmocka_unit_test(test_cli_chardev_suboptions_are_parsed),
		cmocka_unit_test(test_cli_character_back_ends_are_parsed),
		cmocka_unit_test(
			test_cli_monitor_takes_a_path_or_a_descriptor),
		cmocka_unit_test(test_cli_rng_value_is_optional),
		cmocka_unit_test(test_cli_flag_can_be_taken_back),
		cmocka_unit_test(test_cli_bad_input_is_named),
		cmocka_unit_test(test_cli_endless_names_are_refused),
		cmocka_unit_test(
			test_cli_options_apply_on_top_of_the_document),
		cmocka_unit_test(test_cli_pmem_options),
		cmocka_unit_test(test_cli_print_config_is_noticed),
		cmocka_unit_test(test_cli_help_names_every_option),
		cmocka_unit_test(test_cli_help_fits_80_columns),
		cmocka_unit_test(test_cli_restore_overrides),
		cmocka_unit_test(test_cli_restore_mistakes_are_named),
		cmocka_unit_test(test_cli_help_topics),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
