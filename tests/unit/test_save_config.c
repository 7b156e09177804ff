/* SPDX-License-Identifier: MIT */
/* LINK: save_config error config/config% config/option% block/vhd config/suboptions nearest */
/* The configuration that a save has makes the same devices again. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "snapshot_internal.h"
#include "vm_chardev.h"
#include "vm_internal.h"

static struct device device;

/* ---- what is below --------------------------------------------------------- */

struct device *devices_first(const struct devices *d)
{
	(void)d;
	return &device;
}

const char *device_key(const struct device *d)
{
	return d->id;
}

const char *device_type_name(enum device_type type)
{
	(void)type;
	return "device";
}

static struct config_chardev chardev;

/* The serial port's, and one of a client's. */
bool vm_chardev_info(const struct vm *vm, size_t index,
		     struct vm_chardev_info *out)
{
	(void)vm;
	*out = (struct vm_chardev_info){
		.id = index ? chardev.id : "serial0",
		.config = index ? &chardev : NULL,
	};
	return index < 1 + (size_t)(chardev.id != NULL);
}

/* ---- disks ----------------------------------------------------------------- */

/* The configuration of a VM with that disk, read as `mote restore` does. */
static void save(struct config_disk *disk, struct vm_config *out)
{
	static struct vm vm;
	struct vm_config c;
	struct error e = { .text = "" };
	char *text;

	device = (struct device){ .type = DEVICE_DISK, .id = disk->id,
				  .config = disk };
	config_init(&c);
	config_init(out);
	vm.config = &c;
	if (save_config_text(&vm, &text, &e) ||
	    config_json_load_text(out, "saved", text, strlen(text), &e))
		fail_msg("%s", e.text);
	free(out->kernel);
	out->kernel = strdup("k");
	if (config_validate(out, &e))
		fail_msg("%s", e.text);
	free(text);
	config_deinit(&c);
	assert_int_equal(out->disk_count, 1);
}

static void test_disk_with_a_long_id_is_configured_again(void **state)
{
	static char id[] = "virtio-drive-0123456789abcdef";
	struct config_disk disk = { .path = (char *)"x.img", .id = id,
				    .queues = 1 };
	struct vm_config c;

	(void)state;
	save(&disk, &c);
	assert_string_equal(c.disks[0].id, id);
	assert_null(c.disks[0].serial);
	config_deinit(&c);

	disk.serial = (char *)"s, t";
	save(&disk, &c);
	assert_string_equal(c.disks[0].serial, "s, t");
	config_deinit(&c);
}

static void test_disk_with_all_queues_is_configured_again(void **state)
{
	struct config_disk disk = { .path = (char *)"x.img", .id = (char *)"a",
				    .queues = CONFIG_MAX_DISK_QUEUES };
	struct vm_config c;

	(void)state;
	save(&disk, &c);
	assert_int_equal(c.disks[0].queues, CONFIG_MAX_DISK_QUEUES);
	config_deinit(&c);
}

/* ---- NICs ------------------------------------------------------------------- */

/* The clone is given another one; until then it has none, and that is said. */
static void test_nic_of_a_lent_descriptor_asks_for_a_back_end(void **state)
{
	struct config_net net = { .id = (char *)"nic0", .fd = (char *)"tap-fd",
				  .mac = (char *)"02:00:00:00:00:09",
				  .queues = 1, .fds_lent = true };
	static struct vm vm;
	struct vm_config c, out;
	struct error e = { .text = "" };
	char *text;

	(void)state;
	device = (struct device){ .type = DEVICE_NET, .id = net.id,
				  .config = &net };
	config_init(&c);
	config_init(&out);
	vm.config = &c;
	assert_int_equal(save_config_text(&vm, &text, &e), 0);
	if (config_json_load_text(&out, "saved", text, strlen(text), &e))
		fail_msg("%s", e.text);
	free(out.kernel);
	out.kernel = strdup("k");
	assert_int_equal(config_validate(&out, &e), -EINVAL);
	assert_non_null(strstr(e.text, "id=nic0: no back end"));
	free(text);
	config_deinit(&c);
	config_deinit(&out);
}

/* ---- chardevs -------------------------------------------------------------- */

static void test_chardev_is_configured_again(void **state)
{
	struct config_disk disk = { .path = (char *)"x.img", .id = (char *)"a",
				    .queues = 1 };
	char path[] = "/tmp/mote-unit-XXXXXX", link[64];
	int fd = mkstemp(path);
	struct vm_config c;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	snprintf(link, sizeof(link), "/tmp/../%s", path);
	chardev = (struct config_chardev){
		(char *)"log", { CHAR_FILE, link, true, 0 },
	};
	save(&disk, &c);
	unlink(path);
	chardev = (struct config_chardev){ 0 };
	assert_int_equal(c.chardev_count, 1);
	assert_string_equal(c.chardevs[0].id, "log");
	assert_int_equal(c.chardevs[0].back.kind, CHAR_FILE);
	assert_string_equal(c.chardevs[0].back.path, path);
	assert_true(c.chardevs[0].back.append);
	config_deinit(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			test_nic_of_a_lent_descriptor_asks_for_a_back_end),
		cmocka_unit_test(test_chardev_is_configured_again),
		cmocka_unit_test(test_disk_with_a_long_id_is_configured_again),
		cmocka_unit_test(test_disk_with_all_queues_is_configured_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
