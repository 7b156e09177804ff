/* SPDX-License-Identifier: MIT */
/* WITH: qmp_fixture */
/*
 * The commands that plug and unplug, over a VM that only keeps books: what they
 * take, what they refuse and how, and when the replies come.
 */
#include "qmp_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK "{\"return\": {}}"

struct refusal {
	const char *command, *class, *text;
};

static void assert_refused(struct client *c, const struct refusal *r,
			   size_t count)
{
	for (size_t i = 0; i < count; i++) {
		client_send(c, r[i].command);
		client_expect_error(c, r[i].class, r[i].text);
	}
}

#define REFUSED(c, table) \
	assert_refused(c, table, sizeof(table) / sizeof(table[0]))

static unsigned int open_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

/* ---- device_add ---------------------------------------------------------- */

static void test_device_add_takes_what_govmm_sends(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_exchange(&c, "{\"execute\": \"blockdev-add\", \"arguments\": {"
			"\"driver\": \"raw\", \"read-only\": true, "
			"\"node-name\": \"drive-1\", \"cache\": "
			"{\"direct\": false, \"no-flush\": true}, \"file\": "
			"{\"driver\": \"host_device\", "
			"\"filename\": \"/dev/x\"}}}\n", OK);
	client_exchange(&c, "{\"execute\": \"device_add\", \"arguments\": {"
			"\"id\": \"virtio-drive-1\", "
			"\"driver\": \"virtio-blk-pci\", "
			"\"drive\": \"drive-1\", \"addr\": \"1f\", "
			"\"bus\": \"pcie.3\", \"share-rw\": \"on\", "
			"\"num-queues\": \"4\", \"romfile\": \"\", "
			"\"logical_block_size\": 512, \"discard\": true, "
			"\"physical_block_size\": 4096, \"x-new\": {}, "
			"\"disable-modern\": true}}\n", OK);
	assert_int_equal(fake_spec.type, DEVICE_DISK);
	assert_int_equal(fake_spec.bus, 3);
	assert_int_equal(fake_spec.slot, 31);
	assert_string_equal(fake_disk.path, "/dev/x");
	assert_string_equal(fake_disk.node, "drive-1");
	assert_string_equal(fake_disk.id, "virtio-drive-1");
	assert_int_equal(fake_disk.queues, 4);
	assert_true(fake_disk.readonly);
	assert_true(fake_disk.no_flush);
	assert_false(fake_disk.direct);
	client_close(&c);
}

static void test_device_add_reads_addresses_as_qemu_does(void **state)
{
	static const struct {
		const char *args;
		int bus, slot;
	} cases[] = {
		{ "", -1, -1 },
		{ ", \"addr\": \"\"", -1, -1 },
		{ ", \"addr\": \"5\"", 0, 5 },
		{ ", \"addr\": \"0x1e\"", 0, 30 },
		{ ", \"addr\": \"10.0\"", 0, 16 },
		{ ", \"addr\": 40", 0, 5 },
		{ ", \"bus\": \"pcie.15\"", 15, -1 },
		{ ", \"bus\": \"pcie.2\", \"addr\": \"0\"", 2, 0 },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);
	char text[200];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		snprintf(text, sizeof(text), "{\"execute\": \"device_add\", "
			 "\"arguments\": {\"driver\": \"virtio-rng-pci\"%s}}\n",
			 cases[i].args);
		client_exchange(&c, text, OK);
		assert_int_equal(fake_spec.bus, cases[i].bus);
		assert_int_equal(fake_spec.slot, cases[i].slot);
		assert_null(fake_spec.id);
	}
	client_close(&c);
}

#define ADD(args) "{\"execute\": \"device_add\", \"arguments\": " \
	"{\"driver\": \"virtio-rng-pci\", " args "}}\n"
#define BLK(args) "{\"execute\": \"device_add\", \"arguments\": " \
	"{\"driver\": \"virtio-blk-pci\", " args "}}\n"

static void test_device_add_refusals_name_what_is_wrong(void **state)
{
	static const struct refusal refusals[] = {
		{ "{\"execute\": \"device_add\"}\n", "GenericError",
		  "'driver' is missing" },
		{ "{\"execute\": \"device_add\", \"arguments\": "
		  "{\"driver\": \"e1000\"}}\n", "GenericError",
		  "'e1000' is not a valid device model name" },
		{ "{\"execute\": \"device_add\", \"arguments\": "
		  "{\"driver\": \"nvdimm\", \"id\": \"n\"}}\n",
		  "NotSupported", "'nvdimm'" },
		{ BLK("\"drive\": \"n\", \"logical_block_size\": 4096"),
		  "NotSupported", "'logical_block_size'" },
		{ ADD("\"mac\": 1"), "GenericError",
		  "Property 'virtio-rng-pci.mac' not found" },
		{ ADD("\"id\": \"9a\""), "GenericError", "'id'" },
		{ ADD("\"id\": \"a b\""), "GenericError", "'id'" },
		{ ADD("\"id\": \"\""), "GenericError", "'id'" },
		{ ADD("\"id\": 7"), "GenericError", "'id'" },
		{ ADD("\"id\": \"r\""), "GenericError",
		  "Duplicate device ID 'r'" },
		{ ADD("\"bus\": \"pci.0\""), "GenericError", "'pci.0'" },
		{ ADD("\"bus\": \"pcie.16\""), "GenericError", "'pcie.16'" },
		{ ADD("\"bus\": \"pcie.\""), "GenericError", "'pcie.'" },
		{ ADD("\"bus\": \"pcie.1x\""), "GenericError", "'pcie.1x'" },
		{ ADD("\"addr\": \"20\""), "GenericError", "'20'" },
		{ ADD("\"addr\": \"-1\""), "GenericError", "'-1'" },
		{ ADD("\"addr\": \"5.1\""), "GenericError", "function" },
		{ ADD("\"addr\": \"5.\""), "GenericError", "'5.'" },
		{ ADD("\"addr\": 5"), "GenericError", "function" },
		{ ADD("\"addr\": 256"), "GenericError", "'256'" },
		{ ADD("\"addr\": true"), "GenericError", "'true'" },
		{ ADD("\"addr\": null"), "GenericError", "'null'" },
		{ ADD("\"rng\": \"none\""), "DeviceNotFound", "'none'" },
		{ BLK("\"id\": \"d\""), "GenericError", "'drive' is missing" },
		{ BLK("\"drive\": \"none\""), "GenericError", "'none'" },
		{ BLK("\"drive\": \"n\", \"num-queues\": 0"), "GenericError",
		  "num-queues" },
		{ BLK("\"drive\": \"n\", \"num-queues\": \"x\""),
		  "GenericError", "num-queues" },
		{ BLK("\"drive\": \"n\", \"num-queues\": -1"), "GenericError",
		  "num-queues" },
		{ "{\"execute\": \"device_del\", \"arguments\": "
		  "{\"id\": \"none\"}}\n", "DeviceNotFound",
		  "Device 'none' not found" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_exchange(&c, ADD("\"id\": \"r\""), OK);
	client_exchange(&c, "{\"execute\": \"blockdev-add\", \"arguments\": {"
			"\"driver\": \"file\", \"node-name\": \"n\", "
			"\"filename\": \"/x\"}}\n", OK);
	REFUSED(&c, refusals);
	assert_null(q->vm.devices->next);
	client_close(&c);
}

static void test_device_del_is_answered_before_the_event(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q), other = client_ready(q);

	client_exchange(&c, ADD("\"id\": \"r\""), OK);
	client_exchange(&c, "{\"execute\": \"device_del\", \"arguments\": "
			"{\"id\": \"r\"}}\n", OK);
	qmp_settle(q);
	assert_true(client_is_quiet(&c));
	fake_vm_let_go(&q->vm, "r");
	client_expect(&c, "{\"event\": \"DEVICE_DELETED\", \"data\": "
		      "{\"device\": \"r\", "
		      "\"path\": \"/machine/peripheral/r\"}}");
	client_expect(&other, "{\"event\": \"DEVICE_DELETED\", \"data\": "
		      "{\"device\": \"r\", "
		      "\"path\": \"/machine/peripheral/r\"}}");
	client_close(&c);
	client_close(&other);
}

#define OBJECT_DEL(id) \
	"{\"execute\": \"object-del\", \"arguments\": {\"id\": \"" id "\"}}\n"

static void test_rng_reads_from_its_object(void **state)
{
	static const struct refusal refusals[] = {
		{ "{\"execute\": \"object-add\", \"arguments\": {\"qom-type\": "
		  "\"rng-random\", \"id\": \"o\"}}\n", "GenericError",
		  "duplicate property 'o'" },
		{ "{\"execute\": \"object-add\", \"arguments\": {\"qom-type\": "
		  "\"iothread\", \"id\": \"i\"}}\n", "GenericError",
		  "'iothread'" },
		{ "{\"execute\": \"object-add\", \"arguments\": {\"qom-type\": "
		  "\"rng-random\", \"id\": \"x\", \"file\": \"y\"}}\n",
		  "GenericError", "'rng-random.file'" },
		{ "{\"execute\": \"object-add\", \"arguments\": {\"qom-type\": "
		  "\"rng-random\"}}\n", "GenericError", "'id'" },
		{ OBJECT_DEL("none"), "GenericError", "'none'" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_exchange(&c, "{\"execute\": \"object-add\", \"arguments\": "
			"{\"qom-type\": \"rng-random\", \"id\": \"o\", "
			"\"filename\": \"/dev/hwrng\"}}\n", OK);
	/* As before QEMU 6.0. */
	client_exchange(&c, "{\"execute\": \"object-add\", \"arguments\": "
			"{\"qom-type\": \"rng-random\", \"id\": \"p\", "
			"\"props\": {\"filename\": \"/dev/random\"}}}\n", OK);
	REFUSED(&c, refusals);
	client_exchange(&c, ADD("\"rng\": \"o\", \"max-bytes\": 1024"), OK);
	assert_string_equal(fake_source, "/dev/hwrng");
	client_exchange(&c, ADD("\"rng\": \"p\", \"id\": \"p\""), OK);
	assert_string_equal(fake_source, "/dev/random");
	/* While a device has it, it stays. */
	client_send(&c, OBJECT_DEL("p"));
	client_expect_error(&c, "GenericError",
			    "object 'p' is in use, can not be deleted");
	vm_device_force_remove(&q->vm, vm_device_find(&q->vm, "p"));
	client_expect(&c, "{\"event\": \"DEVICE_DELETED\", \"data\": "
		      "{\"device\": \"p\", "
		      "\"path\": \"/machine/peripheral/p\"}}");
	client_exchange(&c, OBJECT_DEL("p"), OK);
	client_send(&c, OBJECT_DEL("o"));
	client_expect_error(&c, "GenericError", "'o' is in use");
	client_exchange(&c, ADD("\"id\": \"r\""), OK);
	assert_string_equal(fake_source, "");
	client_close(&c);
}

/* ---- block nodes --------------------------------------------------------- */

#define NODE(args) "{\"execute\": \"blockdev-add\", \"arguments\": {" args "}}\n"
#define FILE_ "\"file\": {\"driver\": \"file\", \"filename\": \"/x\"}"

static void test_block_nodes_refusals(void **state)
{
	static const struct refusal refusals[] = {
		{ NODE("\"driver\": \"raw\", " FILE_), "GenericError",
		  "'node-name' must be specified" },
		{ NODE("\"driver\": \"raw\", \"node-name\": \"a\", " FILE_),
		  "GenericError", "Duplicate nodes with node-name='a'" },
		{ NODE("\"driver\": \"raw\", \"node-name\": \"9\", " FILE_),
		  "GenericError", "Invalid node-name: '9'" },
		{ NODE("\"driver\": \"raw\", \"node-name\": "
		       "\"a2345678901234567890123456789012\", " FILE_),
		  "GenericError", "Invalid node-name" },
		{ NODE("\"driver\": \"qcow2\", \"node-name\": \"b\", " FILE_),
		  "GenericError", "Unknown driver 'qcow2'" },
		{ NODE("\"driver\": \"raw\", \"node-name\": \"b\""),
		  "GenericError", "'file' is missing" },
		{ NODE("\"driver\": \"raw\", \"node-name\": \"b\", "
		       "\"size\": 1, " FILE_),
		  "GenericError", "'raw.size'" },
		{ NODE("\"driver\": \"raw\", \"node-name\": \"b\", "
		       "\"file\": \"none\""), "GenericError", "'none'" },
		{ NODE("\"driver\": \"raw\", \"node-name\": \"b\", "
		       "\"file\": {\"driver\": \"file\"}"),
		  "GenericError", "'filename' is missing" },
		{ NODE("\"driver\": \"raw\", \"node-name\": \"b\", "
		       "\"cache\": 1, " FILE_), "GenericError", "'cache'" },
		{ NODE("\"driver\": \"raw\", \"node-name\": \"b\", "
		       "\"cache\": {\"x\": 1}, " FILE_),
		  "GenericError", "'cache.x'" },
		{ NODE("\"driver\": \"file\", \"node-name\": \"b\", "
		       "\"filename\": \"/nowhere/x\""),
		  "GenericError", "/nowhere/x" },
		{ NODE("\"driver\": \"file\", \"node-name\": \"b\", "
		       "\"filename\": \"/dev/fdset/7\""),
		  "GenericError", "/dev/fdset/7" },
		{ "{\"execute\": \"blockdev-del\", \"arguments\": "
		  "{\"node-name\": \"none\"}}\n", "GenericError", "'none'" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	client_exchange(&c, NODE("\"driver\": \"raw\", \"node-name\": \"a\", "
				 FILE_), OK);
	REFUSED(&c, refusals);
	client_close(&c);
}

/* libvirt names the protocol's node and the format's over it. */
static void test_block_nodes_in_use_stay(void **state)
{
	static const struct refusal refusals[] = {
		{ "{\"execute\": \"blockdev-del\", \"arguments\": "
		  "{\"node-name\": \"low\"}}\n", "GenericError",
		  "Node low is in use" },
		{ "{\"execute\": \"blockdev-del\", \"arguments\": "
		  "{\"node-name\": \"top\"}}\n", "GenericError",
		  "Node top is in use" },
		{ BLK("\"drive\": \"top\", \"id\": \"e\""), "GenericError",
		  "it's in use" },
		{ BLK("\"drive\": \"low\", \"id\": \"e\""), "GenericError",
		  "it's in use" },
		{ NODE("\"driver\": \"raw\", \"node-name\": \"b\", "
		       "\"file\": \"low\""), "GenericError", "in use" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);
	char *line;

	client_exchange(&c, NODE("\"driver\": \"file\", "
				 "\"node-name\": \"low\", "
				 "\"filename\": \"/x\", \"read-only\": true"),
			OK);
	client_exchange(&c, NODE("\"driver\": \"raw\", \"node-name\": \"top\", "
				 "\"read-only\": true, \"file\": \"low\""), OK);
	client_exchange(&c, BLK("\"drive\": \"top\", \"id\": \"d\", "
				"\"serial\": \"S\""), OK);
	assert_string_equal(fake_disk.path, "/x");
	assert_string_equal(fake_disk.serial, "S");
	assert_true(fake_disk.readonly);
	REFUSED(&c, refusals);
	client_exchange(&c, "{\"execute\": \"device_del\", \"arguments\": "
			"{\"id\": \"d\"}}\n", OK);
	fake_vm_let_go(&q->vm, "d");
	line = client_line(&c);
	assert_non_null(strstr(line, "DEVICE_DELETED"));
	free(line);
	client_exchange(&c, "{\"execute\": \"blockdev-del\", \"arguments\": "
			"{\"node-name\": \"top\"}}\n", OK);
	client_exchange(&c, "{\"execute\": \"blockdev-del\", \"arguments\": "
			"{\"node-name\": \"low\"}}\n", OK);
	client_close(&c);
}

/* ---- descriptors --------------------------------------------------------- */

#define GETFD "{\"execute\": \"getfd\", \"arguments\": {\"fdname\": \"n\"}}\n"

static void test_descriptors_are_kept_and_closed(void **state)
{
	static const struct refusal refusals[] = {
		{ GETFD, "GenericError", "No file descriptor supplied" },
		{ "{\"execute\": \"closefd\", \"arguments\": "
		  "{\"fdname\": \"none\"}}\n", "GenericError", "'none'" },
		{ "{\"execute\": \"getfd\", \"arguments\": "
		  "{\"fdname\": \"9\"}}\n", "GenericError", "digit" },
		{ "{\"execute\": \"add-fd\"}\n", "GenericError",
		  "No file descriptor supplied" },
		{ "{\"execute\": \"remove-fd\", \"arguments\": "
		  "{\"fdset-id\": 1}}\n", "GenericError", "fdset-id:1" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);
	unsigned int before = open_fds();
	int fds[40];

	for (size_t i = 0; i < 40; i++)
		fds[i] = 0;
	client_send_fds(&c, GETFD, fds, 1);
	client_expect(&c, OK);
	assert_int_equal(open_fds(), before + 1);
	client_send_fds(&c, GETFD, fds, 1);	/* the same name again */
	client_expect(&c, OK);
	assert_int_equal(open_fds(), before + 1);
	client_exchange(&c, "{\"execute\": \"closefd\", \"arguments\": "
			"{\"fdname\": \"n\"}}\n", OK);
	assert_int_equal(open_fds(), before);
	REFUSED(&c, refusals);
	/* More than there is room for, and then others. */
	client_send_fds(&c, " ", fds, 40);
	qmp_settle(q);
	assert_int_equal(open_fds(), before + 16);
	client_send_fds(&c, GETFD, fds, 2);
	client_expect(&c, OK);
	assert_int_equal(open_fds(), before + 1);
	/* In two pieces, the descriptor with the first. */
	client_send_fds(&c, "{\"execute\": \"getfd\", ", fds, 1);
	qmp_settle(q);
	client_exchange(&c, "\"arguments\": {\"fdname\": \"m\"}}\n", OK);
	assert_int_equal(open_fds(), before + 2);
	client_close(&c);
	qmp_settle(q);
	assert_int_equal(open_fds(), before - 2);
}

static void test_descriptor_sets_name_files(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);
	struct json_object *result;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), theirs;
	char path[64];

	client_send_fds(&c, "{\"execute\": \"add-fd\", \"arguments\": "
			"{\"opaque\": \"x\"}}\n", &fd, 1);
	close(fd);
	result = client_result(&c);
	assert_int_equal(json_object_get_int(json_object_object_get(
				 result, "fdset-id")), 0);
	theirs = json_object_get_int(json_object_object_get(result, "fd"));
	json_object_put(result);
	/* A writer needs another descriptor. */
	client_send(&c, NODE("\"driver\": \"file\", \"node-name\": \"n\", "
			     "\"filename\": \"/dev/fdset/0\""));
	client_expect_error(&c, "GenericError", "/dev/fdset/0");
	client_exchange(&c, NODE("\"driver\": \"file\", \"node-name\": \"n\", "
				 "\"read-only\": true, "
				 "\"filename\": \"/dev/fdset/0\""), OK);
	client_exchange(&c, BLK("\"drive\": \"n\""), OK);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", theirs);
	assert_string_equal(fake_disk.path, path);
	client_exchange(&c, "{\"execute\": \"remove-fd\", \"arguments\": "
			"{\"fdset-id\": 0}}\n", OK);
	assert_int_equal(fcntl(theirs, F_GETFD), -1);
	client_close(&c);
}

/* ---- disk-add and its like ----------------------------------------------- */

#define DISK(args) "{\"execute\": \"disk-add\", \"arguments\": {" args "}}\n"
#define REMOVE(args) "{\"execute\": \"disk-remove\", \"arguments\": {" args "}}\n"

static void test_disk_add_finds_addresses_and_names(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);
	char text[100];

	client_exchange(&c, DISK("\"path\": \"/a\""), "{\"return\": {\"id\": "
			"\"disk-0-0\", \"controller\": 0, \"lun\": 0, "
			"\"pci\": \"0000:00:01.0\", \"guest-name\": null}}");
	client_exchange(&c, DISK("\"path\": \"/b\", \"lun\": 1, "
				 "\"readonly\": \"on\", \"flush\": false, "
				 "\"queues\": \"2\", \"serial\": \"S\""),
			"{\"return\": {\"id\": "
			"\"disk-0-1\", \"controller\": 0, \"lun\": 1, "
			"\"pci\": \"0000:00:02.0\", \"guest-name\": null}}");
	assert_true(fake_disk.readonly);
	assert_true(fake_disk.no_flush);
	assert_int_equal(fake_disk.queues, 2);
	assert_string_equal(fake_disk.serial, "S");
	client_exchange(&c, DISK("\"path\": \"/c\", \"controller\": 3, "
				 "\"id\": \"mine\""), "{\"return\": {\"id\": "
			"\"mine\", \"controller\": 3, \"lun\": 0, "
			"\"pci\": \"0000:00:03.0\", \"guest-name\": null}}");
	/* Two readers of one image. */
	client_send(&c, DISK("\"path\": \"/b\", \"readonly\": true"));
	json_object_put(client_result(&c));
	/* Every address is found. */
	for (unsigned int i = 4; i < 256; i++) {
		snprintf(text, sizeof(text), DISK("\"path\": \"/%u\""), i);
		client_send(&c, text);
		json_object_put(client_result(&c));
	}
	client_send(&c, DISK("\"path\": \"/last\""));
	client_expect_error(&c, "TooManyAttachments", "256");
	client_send(&c, DISK("\"path\": \"/last\", \"controller\": 1"));
	client_expect_error(&c, "NoAvailableLocation", "address");
	client_close(&c);
}

static void test_disk_add_refusals_have_their_classes(void **state)
{
	static const struct refusal refusals[] = {
		{ "{\"execute\": \"disk-add\"}\n", "MissingParameter",
		  "'path'" },
		{ DISK("\"path\": \"/b\", \"controller\": 2"), "NoController",
		  "2" },
		{ DISK("\"path\": \"/b\", \"lun\": 64"), "InvalidConfig",
		  "64" },
		/* More than there are, and not as if nothing was said. */
		{ DISK("\"path\": \"/b\", \"lun\": 18446744073709551615"),
		  "InvalidConfig", "18446744073709551615" },
		{ DISK("\"path\": \"/b\", "
		       "\"controller\": 99999999999999999999999"),
		  "NoController", "18446744073709551615" },
		{ DISK("\"path\": \"/b\", \"controller\": 0, \"lun\": 0"),
		  "AlreadyAttached", "controller 0, lun 0" },
		{ DISK("\"path\": \"/a\""), "AlreadyAttached", "/a" },
		{ DISK("\"path\": \"/a\", \"readonly\": true"),
		  "AlreadyAttached", "/a" },
		{ DISK("\"path\": \"/b\", \"id\": \"disk-0-0\""),
		  "AlreadyAttached", "'disk-0-0'" },
		{ DISK("\"path\": \"/b\", \"id\": \"0\""), "InvalidConfig",
		  "'id'" },
		{ DISK("\"path\": \"/b\", \"format\": \"qcow2\""),
		  "InvalidConfig", "qcow2" },
		{ DISK("\"path\": \"/b\", \"queues\": 0"), "InvalidConfig",
		  "queues" },
		{ DISK("\"path\": \"/b\", \"readonly\": \"perhaps\""),
		  "InvalidConfig", "'readonly'" },
		{ DISK("\"path\": \"/b\", \"slot\": 1"), "InvalidConfig",
		  "'slot' is unexpected" },
		{ REMOVE("\"id\": \"none\""), "NotAttached", "none" },
		{ REMOVE("\"path\": \"/b\""), "NotAttached", "/b" },
		{ REMOVE("\"controller\": 1, \"lun\": 5"), "NotAttached",
		  "1:5" },
		{ REMOVE("\"controller\": 1"), "MissingParameter", "lun" },
		{ REMOVE("\"controller\": 4, \"lun\": 0"), "NoController",
		  "4" },
		{ REMOVE("\"id\": \"r\""), "NotAttached", "r" },
		/* Something of that is not so. */
		{ REMOVE("\"id\": \"disk-0-0\", \"path\": \"/b\""),
		  "NotAttached", "'disk-0-0' is /a, not /b" },
		{ REMOVE("\"controller\": 0, \"lun\": 0, "
			 "\"path\": \"/b\""), "NotAttached", "/a, not /b" },
		{ REMOVE("\"controller\": 0, \"lun\": 1, "
			 "\"path\": \"/a\""), "NotAttached", "0:1" },
		{ REMOVE("\"id\": \"none\", \"controller\": 0, "
			 "\"lun\": 0"), "NotAttached", "none" },
		{ REMOVE("\"path\": \"/a\", \"lun\": 0"),
		  "MissingParameter", "lun" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	q->vm.config.disk_controllers = 2;
	client_send(&c, DISK("\"path\": \"/a\""));
	json_object_put(client_result(&c));
	client_exchange(&c, ADD("\"id\": \"r\""), OK);
	REFUSED(&c, refusals);
	assert_null(q->vm.devices->next->next);
	q->vm.config.disk_controllers = 0;
	client_send(&c, DISK("\"path\": \"/b\""));
	client_expect_error(&c, "NoController", "0");
	client_close(&c);
}

/* What the locks find is named, when it is the VM's own. */
static void test_disk_add_of_an_image_by_another_name_is_refused(void **state)
{
	static const struct refusal ours[] = {
		{ DISK("\"path\": \"/proc/self/../version\""),
		  "AlreadyAttached", "'a' already, as /proc/version" },
		{ "{\"execute\": \"pmem-add\", \"arguments\": {\"path\": "
		  "\"/proc/self/../version\"}}\n", "AlreadyAttached",
		  "'a' already, as /proc/version" },
		/* Somebody else's, or gone. */
		{ DISK("\"path\": \"/proc/cpuinfo\""), "GenericError",
		  "in use" },
		{ DISK("\"path\": \"/nowhere/at/all\""), "GenericError",
		  "in use" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	q->vm.config.pmem_max = 1;
	client_send(&c, DISK("\"path\": \"/proc/version\", \"id\": \"a\""));
	json_object_put(client_result(&c));
	q->vm.fail = "lock";
	REFUSED(&c, ours);
	q->vm.fail = NULL;
	client_close(&c);
}

static void test_disk_remove_answers_when_the_guest_has_let_go(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q), other = client_ready(q);
	char *line;

	client_send(&c, DISK("\"path\": \"/a\", \"id\": \"a\""));
	json_object_put(client_result(&c));
	client_send(&c, REMOVE("\"path\": \"/a\""));
	client_send(&other, REMOVE("\"controller\": 0, \"lun\": 0"));
	qmp_settle(q);
	assert_true(client_is_quiet(&c));
	fake_vm_let_go(&q->vm, "a");
	line = client_line(&c);
	assert_non_null(strstr(line, "DEVICE_DELETED"));
	free(line);
	client_expect(&c, OK);
	line = client_line(&other);
	free(line);
	client_expect(&other, OK);
	client_close(&c);
	client_close(&other);
}

static void test_disk_remove_takes_the_reader_at_an_address(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);
	char *line;

	q->vm.state = VM_PRELAUNCH;
	for (int i = 0; i < 2; i++) {
		client_send(&c, DISK("\"path\": \"/a\", \"readonly\": true"));
		json_object_put(client_result(&c));
	}
	client_send(&c, REMOVE("\"path\": \"/a\""));
	client_expect_error(&c, "InvalidConfig", "2 disks");
	client_send(&c, REMOVE("\"path\": \"/a\", \"controller\": 0, "
			       "\"lun\": 1, \"id\": \"disk-0-1\""));
	line = client_line(&c);
	assert_non_null(strstr(line, "disk-0-1"));
	free(line);
	client_expect(&c, OK);
	client_close(&c);
}

static void test_disk_remove_gives_up_or_forces_at_its_timeout(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q), gone = client_ready(q);
	char *line;

	client_send(&c, DISK("\"path\": \"/a\", \"id\": \"a\""));
	json_object_put(client_result(&c));
	/* A client that leaves forces nothing. */
	client_send(&gone, REMOVE("\"id\": \"a\", \"timeout-ms\": 10, "
				  "\"force\": true"));
	client_close(&gone);
	qmp_run_ms(q, 50);
	client_send(&c, REMOVE("\"id\": \"a\", \"timeout-ms\": 20"));
	client_expect_error(&c, "GenericError", "'a'");
	client_send(&c, REMOVE("\"id\": \"a\", \"timeout-ms\": 0"));
	client_expect_error(&c, "GenericError", "'a'");
	assert_non_null(vm_device_find(&q->vm, "a"));
	client_send(&c, REMOVE("\"id\": \"a\", \"timeout-ms\": 20, "
			       "\"force\": true"));
	line = client_line(&c);
	assert_non_null(strstr(line, "DEVICE_DELETED"));
	free(line);
	client_expect(&c, OK);
	assert_null(vm_device_find(&q->vm, "a"));
	/* Before the start nobody needs to be asked. */
	q->vm.state = VM_PRELAUNCH;
	client_send(&c, DISK("\"path\": \"/a\", \"id\": \"a\""));
	json_object_put(client_result(&c));
	client_send(&c, REMOVE("\"id\": \"a\""));
	line = client_line(&c);
	free(line);
	client_expect(&c, OK);
	client_close(&c);
}

static void test_removals_end_with_the_vm(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);
	char *line;

	client_send(&c, DISK("\"path\": \"/a\", \"id\": \"a\""));
	json_object_put(client_result(&c));
	client_send(&c, REMOVE("\"id\": \"a\""));
	qmp_settle(q);
	q->vm.state = VM_SHUTDOWN;
	fake_vm_event(&q->vm, VM_EVENT_SHUTDOWN, true, "");
	line = client_line(&c);
	assert_non_null(strstr(line, "SHUTDOWN"));
	free(line);
	client_expect_error(&c, "InvalidState", "ended");
	client_close(&c);
}

static void test_disk_update_changes_image_or_size(void **state)
{
#define UPDATE(args) "{\"execute\": \"disk-update\", \"arguments\": {" args "}}\n"
	static const struct refusal refusals[] = {
		{ UPDATE("\"id\": \"none\", \"size\": 1"), "NotAttached",
		  "none" },
		{ UPDATE("\"path\": \"/c\""), "MissingParameter",
		  "which disk: id, or controller" },
		{ UPDATE("\"id\": \"a\""), "MissingParameter", "size" },
		{ UPDATE("\"id\": \"a\", \"path\": \"/c\", \"size\": 1"),
		  "MissingParameter", "either" },
		{ UPDATE("\"id\": \"a\", \"path\": \"/b\""),
		  "AlreadyAttached", "/b" },
		{ UPDATE("\"id\": \"a\", \"path\": \"/c\", "
			 "\"format\": \"x\""), "InvalidConfig", "'x'" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);
	struct config_disk *disk;

	client_send(&c, DISK("\"path\": \"/b\""));
	json_object_put(client_result(&c));
	client_send(&c, DISK("\"path\": \"/a\", \"id\": \"a\", "
			     "\"readonly\": true"));
	json_object_put(client_result(&c));
	REFUSED(&c, refusals);
	disk = q->vm.devices->config;
	assert_string_equal(disk->path, "/a");
	client_exchange(&c, UPDATE("\"id\": \"a\", \"path\": \"/c.vhd\""),
			"{\"return\": {\"id\": \"a\", \"controller\": 0, "
			"\"lun\": 1, \"pci\": \"0000:00:02.0\", "
			"\"guest-name\": null}}");
	assert_string_equal(disk->path, "/c.vhd");
	assert_int_equal(disk->format, DISK_VHD);
	assert_true(disk->readonly);
	client_exchange(&c, UPDATE("\"controller\": 0, \"lun\": 0, "
				   "\"path\": \"/d\", \"readonly\": true"),
			"{\"return\": {\"id\": \"disk-0-0\", \"controller\": "
			"0, \"lun\": 0, \"pci\": \"0000:00:01.0\", "
			"\"guest-name\": null}}");
	client_close(&c);
}

/* ---- pmem ---------------------------------------------------------------- */

#define PMEM(args) "{\"execute\": \"pmem-add\", \"arguments\": {" args "}}\n"
#define UNPMEM(args) \
	"{\"execute\": \"pmem-remove\", \"arguments\": {" args "}}\n"
#define MEMDEV(args) "{\"execute\": \"object-add\", \"arguments\": " \
	"{\"qom-type\": \"memory-backend-file\", " args "}}\n"

static void test_pmem_takes_the_lowest_free_slot(void **state)
{
	static const struct refusal refusals[] = {
		{ "{\"execute\": \"pmem-add\"}\n", "MissingParameter",
		  "'path'" },
		{ PMEM("\"path\": \"/d\""), "TooManyAttachments", "3" },
		{ PMEM("\"path\": \"/d\", \"slot\": 3"), "InvalidConfig", "3" },
		{ PMEM("\"path\": \"/d\", \"slot\": 1"), "AlreadyAttached",
		  "1" },
		{ PMEM("\"path\": \"/a\""), "AlreadyAttached", "/a" },
		{ PMEM("\"path\": \"/d\", \"format\": \"vhd\""),
		  "NotSupported", "raw" },
		{ PMEM("\"path\": \"/d\", \"format\": \"x\""),
		  "InvalidConfig", "'x'" },
		{ UNPMEM("\"id\": \"none\""), "NotAttached", "none" },
		{ PMEM("\"path\": \"/d\", \"slot\": 18446744073709551615"),
		  "InvalidConfig", "18446744073709551615" },
		{ UNPMEM("\"slot\": 9"), "NotAttached", "free" },
		{ UNPMEM("\"slot\": 1, \"path\": \"/c\""), "NotAttached",
		  "'pmem-1' is /a, in slot 1" },
		{ UNPMEM("\"id\": \"p\", \"slot\": 0"), "NotAttached",
		  "'p' is /c, in slot 2" },
		{ UNPMEM(""), "MissingParameter", "slot" },
		{ OBJECT_DEL("m"), "GenericError", "in use" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);
	char *line;

	client_exchange(&c, PMEM("\"path\": \"/a\", \"slot\": 1"),
			"{\"return\": {\"id\": \"pmem-1\", \"slot\": 1, "
			"\"pci\": \"0000:00:01.0\", \"guest-name\": null}}");
	client_exchange(&c, PMEM("\"path\": \"/b.vhd\", \"readonly\": true, "
				 "\"format\": \"vhd\""),
			"{\"return\": {\"id\": \"pmem-0\", \"slot\": 0, "
			"\"pci\": \"0000:00:02.0\", \"guest-name\": null}}");
	client_exchange(&c, MEMDEV("\"id\": \"m\", \"mem-path\": \"/c\", "
				   "\"size\": 2097152, \"share\": true"), OK);
	client_exchange(&c, "{\"execute\": \"device_add\", \"arguments\": {"
			"\"driver\": \"virtio-pmem-pci\", \"id\": \"p\", "
			"\"memdev\": \"m\"}}\n", OK);
	assert_int_equal(fake_spec.type, DEVICE_PMEM);
	REFUSED(&c, refusals);
	client_send(&c, UNPMEM("\"slot\": 2"));
	qmp_settle(q);
	fake_vm_let_go(&q->vm, "p");
	line = client_line(&c);
	free(line);
	client_expect(&c, OK);
	client_exchange(&c, MEMDEV("\"id\": \"n\", \"mem-path\": \"/c\", "
				   "\"size\": 2097152, \"share\": false"), OK);
	client_send(&c, "{\"execute\": \"device_add\", \"arguments\": {"
		    "\"driver\": \"virtio-pmem-pci\", \"id\": \"pn\", "
		    "\"memdev\": \"n\"}}\n");
	client_expect_error(&c, "NotSupported", "'n': share off");
	client_close(&c);
}

/* ---- queries ------------------------------------------------------------- */

static void test_queries_tell_of_devices(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);
	struct json_object *r, *o;

	client_send(&c, DISK("\"path\": \"/a\", \"id\": \"a\""));
	json_object_put(client_result(&c));
	client_exchange(&c, ADD("\"bus\": \"pcie.2\", \"addr\": \"3\""), OK);
	client_exchange(&c, "{\"execute\": \"query-pci\"}\n",
		"{\"return\": [{\"bus\": 0, \"devices\": [{\"bus\": 0, "
		"\"slot\": 1, \"function\": 0, \"class_info\": {\"class\": 256, "
		"\"desc\": \"Mass storage controller\"}, \"id\": {\"device\": "
		"4162, \"vendor\": 6900, \"subsystem\": 0, "
		"\"subsystem-vendor\": 0}, \"irq\": 0, \"irq_pin\": 0, "
		"\"qdev_id\": \"a\", \"regions\": [{\"bar\": 1, \"type\": "
		"\"memory\", \"address\": 3221225472, \"size\": 16384, "
		"\"prefetch\": false, \"mem_type_64\": false}]}]}, {\"bus\": 2, "
		"\"devices\": [{\"bus\": 2, "
		"\"slot\": 3, \"function\": 0, \"class_info\": {\"class\": 256, "
		"\"desc\": \"Mass storage controller\"}, \"id\": {\"device\": "
		"4162, \"vendor\": 6900, \"subsystem\": 0, "
		"\"subsystem-vendor\": 0}, \"irq\": 0, \"irq_pin\": 0, "
		"\"qdev_id\": \"\", \"regions\": [{\"bar\": 1, \"type\": "
		"\"memory\", \"address\": 3221225472, \"size\": 16384, "
		"\"prefetch\": false, \"mem_type_64\": false}]}]}]}");
	client_send(&c, "{\"execute\": \"query-block\"}\n");
	r = client_result(&c);
	assert_int_equal(json_object_array_length(r), 1);
	o = json_object_array_get_idx(r, 0);
	assert_string_equal(json_object_get_string(
		json_object_object_get(o, "qdev")),
		"/machine/peripheral/a/virtio-backend");
	o = json_object_object_get(o, "inserted");
	assert_string_equal(json_object_get_string(
		json_object_object_get(o, "file")), "/a");
	o = json_object_object_get(o, "image");
	assert_int_equal(json_object_get_int(
		json_object_object_get(o, "virtual-size")), 1 << 20);
	json_object_put(r);
	client_close(&c);
}

static void test_queries_tell_of_places_for_cpus(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);
	struct json_object *r;

	client_send(&c, "{\"execute\": \"query-hotpluggable-cpus\"}\n");
	r = client_result(&c);
	assert_int_equal(json_object_array_length(r), 3);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(json_object_object_get_ex(
			json_object_array_get_idx(r, i), "qom-path", NULL),
			i < 2);
	json_object_put(r);
	client_send(&c, "{\"execute\": \"query-cpus\"}\n");
	r = client_result(&c);
	assert_int_equal(json_object_array_length(r), 2);
	assert_int_equal(json_object_get_int(json_object_object_get(
		json_object_array_get_idx(r, 1), "thread_id")), 1001);
	json_object_put(r);
	client_close(&c);
}

/* Every type that is referred to is there, once. */
static void test_schema_is_complete(void **state)
{
	struct qmp *q = *state;
	struct client c = client_ready(q);
	struct json_object *r, *o, *type, *members;
	bool found = false;

	client_send(&c, "{\"execute\": \"query-qmp-schema\"}\n");
	r = client_result(&c);
	for (size_t i = 0; i < json_object_array_length(r); i++) {
		unsigned int count = 0;

		o = json_object_array_get_idx(r, i);
		if (!strcmp(json_object_get_string(json_object_object_get(
				    o, "name")), "disk-add-arg")) {
			found = true;
			members = json_object_object_get(o, "members");
			assert_int_equal(json_object_array_length(members), 10);
		}
		if (!json_object_object_get_ex(o, "arg-type", &type))
			continue;
		for (size_t j = 0; j < json_object_array_length(r); j++)
			count += !strcmp(json_object_get_string(
				json_object_object_get(
					json_object_array_get_idx(r, j),
					"name")), json_object_get_string(type));
		assert_int_equal(count, 1);
	}
	assert_true(found);
	json_object_put(r);
	client_close(&c);
}

static void test_supported_stats_properties(void **state)
{
	static const struct refusal refusals[] = {
		{ "{\"execute\": \"supported\", \"arguments\": {\"resource\": "
		  "\"dimm\", \"operation\": \"add\"}}\n", "InvalidConfig",
		  "'dimm'" },
		{ "{\"execute\": \"supported\", \"arguments\": {\"resource\": "
		  "\"disk\", \"operation\": \"eat\"}}\n", "InvalidConfig",
		  "'eat'" },
		{ "{\"execute\": \"supported\", \"arguments\": "
		  "{\"resource\": \"disk\"}}\n", "MissingParameter",
		  "'operation'" },
		{ "{\"execute\": \"stats\", \"arguments\": "
		  "{\"types\": [\"memory\", \"x\"]}}\n", "InvalidConfig",
		  "\"x\"" },
		{ "{\"execute\": \"stats\", \"arguments\": "
		  "{\"types\": [7]}}\n", "InvalidConfig", "7" },
	};
	struct qmp *q = *state;
	struct client c = client_ready(q);

	q->vm.config.memory.size_bytes = 512 << 20;
	/* As device_add says of vfio-pci. */
	client_exchange(&c, "{\"execute\": \"supported\", \"arguments\": "
			"{\"resource\": \"pci\", \"operation\": \"add\"}}\n",
			"{\"return\": false}");
	client_exchange(&c, "{\"execute\": \"supported\", \"arguments\": "
			"{\"resource\": \"disk\", \"operation\": \"add\"}}\n",
			"{\"return\": true}");
	client_exchange(&c, "{\"execute\": \"supported\", \"arguments\": "
			"{\"resource\": \"pci\", \"operation\": \"update\"}}\n",
			"{\"return\": false}");
	REFUSED(&c, refusals);
	client_exchange(&c, "{\"execute\": \"stats\", \"arguments\": "
			"{\"types\": [\"memory\", \"life\"]}}\n",
			"{\"return\": {\"memory\": {\"assigned\": 536870912, "
			"\"available\": null}, \"life\": {\"status\": "
			"\"running\", \"started\": null, \"stopped\": null, "
			"\"exit-report\": null}}}");
	client_exchange(&c, "{\"execute\": \"properties\", \"arguments\": "
			"{\"types\": [\"cpu\"]}}\n",
			"{\"return\": {\"cpu\": {\"count\": 2, \"max\": 3}}}");
	q->vm.config.pmem_max = 4;
	client_send(&c, PMEM("\"path\": \"/a\", \"slot\": 2, "
			     "\"readonly\": true"));
	json_object_put(client_result(&c));
	client_exchange(&c, "{\"execute\": \"properties\", \"arguments\": "
			"{\"types\": [\"pmem\", \"share\"]}}\n",
			"{\"return\": {\"pmem\": [{\"id\": \"pmem-2\", "
			"\"slot\": 2, \"path\": \"/a\", \"readonly\": true, "
			"\"size\": 4194304}], \"share\": []}}");
	client_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, qmp_setup, qmp_teardown)
		T(test_device_add_takes_what_govmm_sends),
		T(test_device_add_reads_addresses_as_qemu_does),
		T(test_device_add_refusals_name_what_is_wrong),
		T(test_device_del_is_answered_before_the_event),
		T(test_rng_reads_from_its_object),
		T(test_block_nodes_refusals),
		T(test_block_nodes_in_use_stay),
		T(test_descriptors_are_kept_and_closed),
		T(test_descriptor_sets_name_files),
		T(test_disk_add_finds_addresses_and_names),
		T(test_disk_add_refusals_have_their_classes),
		T(test_disk_remove_answers_when_the_guest_has_let_go),
		T(test_disk_add_of_an_image_by_another_name_is_refused),
		T(test_disk_remove_takes_the_reader_at_an_address),
		T(test_disk_remove_gives_up_or_forces_at_its_timeout),
		T(test_removals_end_with_the_vm),
		T(test_disk_update_changes_image_or_size),
		T(test_pmem_takes_the_lowest_free_slot),
		T(test_queries_tell_of_devices),
		T(test_queries_tell_of_places_for_cpus),
		T(test_schema_is_complete),
		T(test_supported_stats_properties),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
