/* SPDX-License-Identifier: MIT */
/* LINK: save_config error config/config% config/option% block/vhd config/suboptions nearest */
/* The configuration that a save has makes the same devices again. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "snapshot_internal.h"

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

/* ---- disks ----------------------------------------------------------------- */

/* The configuration of a VM with that disk, read as `mote restore` does. */
static void save(struct config_disk *disk, struct vm_config *out)
{
	struct vm_config c;
	struct error e = { .text = "" };
	char *text;

	device = (struct device){ .type = DEVICE_DISK, .id = disk->id,
				  .config = disk };
	config_init(&c);
	config_init(out);
	if (save_config_text(&c, NULL, &text, &e) ||
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_disk_with_a_long_id_is_configured_again),
		cmocka_unit_test(test_disk_with_all_queues_is_configured_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
