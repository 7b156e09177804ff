/* SPDX-License-Identifier: MIT */
/* LINK: saved_device state error */
/* The beginning of a device's section: which it is, and where it goes. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "pci/pci.h"
#include "snapshot_internal.h"
#include "vm_devices.h"

#define BASE	(UINT64_C(65) << 30)

static struct {
	struct device device;
	struct pci_function function;
	unsigned int slot;
} f;

/* ---- what is below --------------------------------------------------------- */

const char *device_key(const struct device *device)
{
	return device->id;
}

const char *device_type_name(enum device_type type)
{
	static const char *const names[DEVICE_TYPES] = {
		[DEVICE_DISK] = "disk", [DEVICE_PMEM] = "pmem",
		[DEVICE_9P] = "9p",
	};

	return names[type] ? names[type] : "other";
}

const struct pci_function *device_function(const struct device *device)
{
	(void)device;
	return &f.function;
}

unsigned int vm_pmem_slot(const struct device *device)
{
	(void)device;
	return f.slot;
}

/* ---- sections ------------------------------------------------------------- */

/* A section as a pmem device has it; without place, only its beginning. */
static void put_pmem(struct state_writer *w, const char *id, unsigned int slot,
		     uint64_t base)
{
	f.device = (struct device){ .type = DEVICE_PMEM, .id = (char *)id };
	f.slot = slot;
	saved_device_put(w, &f.device);
	if (!base)
		return;
	state_put_u32(w, 0xdeadbeef);
	state_put_u64(w, base);
	state_put_u64(w, 2 << 20);
}

static int get(const struct state_writer *w, struct saved_device *d)
{
	struct state_reader r;

	state_reader_init(&r, w->data, w->len_bytes);
	return saved_device_get(d, &r);
}

static void test_pmem_is_saved_with_slot_and_address(void **state)
{
	struct state_writer w = STATE_WRITER_INIT;
	struct saved_device d;

	(void)state;
	put_pmem(&w, "p", 17, BASE);
	assert_int_equal(get(&w, &d), 0);
	assert_int_equal(d.type, DEVICE_PMEM);
	assert_string_equal(d.id, "p");
	assert_int_equal(d.address, 18);
	assert_true(d.base == BASE);
	state_writer_deinit(&w);

	/* Nothing behind it that could be an address. */
	w = (struct state_writer)STATE_WRITER_INIT;
	put_pmem(&w, "p", 0, 0);
	assert_int_equal(get(&w, &d), 0);
	assert_true(d.base == 0);
	state_writer_deinit(&w);

	w = (struct state_writer)STATE_WRITER_INIT;
	put_pmem(&w, "p", CONFIG_MAX_PMEM, BASE);
	assert_int_equal(get(&w, &d), -EPROTO);
	state_writer_deinit(&w);
}

static void test_share_is_saved_with_its_uses(void **state)
{
	struct state_writer w = STATE_WRITER_INIT;
	struct saved_device d;

	(void)state;
	f.device = (struct device){ .type = DEVICE_9P, .id = (char *)"tag",
				    .uses = 300 };
	saved_device_put(&w, &f.device);
	assert_int_equal(get(&w, &d), 0);
	assert_int_equal(d.uses, 300);
	assert_int_equal(d.address, 0);
	state_writer_deinit(&w);

	/* More than device_use() can count. */
	f.device.uses = UINT32_C(1) << 31;
	w = (struct state_writer)STATE_WRITER_INIT;
	saved_device_put(&w, &f.device);
	assert_int_equal(get(&w, &d), -EPROTO);
	state_writer_deinit(&w);
}

static void test_pmem_goes_where_it_was(void **state)
{
	struct config_pmem pmems[] = {
		{ .id = (char *)"a" }, { .id = (char *)"b" },
		{ .id = (char *)"c" },
	};
	struct vm_config c = { .pmems = pmems, .pmem_count = 3 };
	struct saved_device saved[] = {
		{ .type = DEVICE_PMEM, .id = "b", .address = 4, .base = BASE },
		{ .type = DEVICE_DISK, .id = "c", .address = 7 },
		/* Of an earlier mote. */
		{ .type = DEVICE_PMEM, .id = "a", .base = 2 * BASE },
	};

	(void)state;
	saved_device_place_pmems(saved, 3, &c);
	assert_false(pmems[0].has_slot);
	assert_true(pmems[0].base == 2 * BASE);
	assert_true(pmems[1].has_slot);
	assert_int_equal(pmems[1].slot, 3);
	assert_true(pmems[1].base == BASE);
	assert_false(pmems[2].has_slot);
	assert_true(pmems[2].base == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pmem_is_saved_with_slot_and_address),
		cmocka_unit_test(test_share_is_saved_with_its_uses),
		cmocka_unit_test(test_pmem_goes_where_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
