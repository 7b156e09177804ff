/* SPDX-License-Identifier: MIT */
/* LINK: vm_serial vm_chardev vm_ports_save config/config_chardev state save/state_file save/machine_x86 save/crc32c% error vm_notice loop */
/* Ports, their numbers and their back ends; devices and chardevs keep books. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snapshot_internal.h"
#include "virtio/serial.h"
#include "virtio/virtio_pci.h"
#include "vm_chardev.h"
#include "vm_internal.h"
#include "vm_serial.h"

struct chardev {
	char label[32];
};

static unsigned int chardevs;	/* there are */
static unsigned int opened;	/* ports, by the guest */
static char happened[512];		/* what happened, in order */

static void note(const char *what, unsigned int nr, const char *name)
{
	size_t used = strlen(happened);

	snprintf(happened + used, sizeof(happened) - used, "%s %u %s;", what, nr,
		 name ? name : "-");
}

int chardev_create(struct chardev **out, const struct config_char *c,
		   struct loop *loop,
		   void (*key_fn)(void *opaque, enum chardev_key key),
		   void *key_opaque, struct error *e)
{
	(void)loop;
	assert_null(key_fn);
	assert_null(key_opaque);
	if (!strcmp(c->path, "/bad"))
		return error_set(e, -EACCES, "no");
	*out = calloc(1, sizeof(**out));
	snprintf((*out)->label, sizeof((*out)->label), "unix:%s", c->path);
	chardevs++;
	return 0;
}

void chardev_destroy(struct chardev *c)
{
	chardevs -= c != NULL;
	free(c);
}

const char *chardev_label(const struct chardev *c)
{
	return c->label;
}

bool chardev_is_open(struct chardev *c)
{
	return strstr(c->label, "open");
}

struct device *devices_first(const struct devices *d)
{
	return (struct device *)d;
}

struct device *devices_find(const struct devices *d, const char *id)
{
	struct device *i = (struct device *)d;

	while (i && strcmp(i->id, id))
		i = i->next;
	return i;
}

int saved_vm_section_error(const struct saved_vm *s, const char *tag,
			   uint32_t instance, int ret, struct error *e)
{
	(void)s;
	(void)instance;
	return error_prefix(e, ret, "section '%s'", tag);
}

struct virtio_device *virtio_pci_device(struct virtio_pci *v)
{
	return (struct virtio_device *)v;
}

int virtio_serial_add(struct virtio_device *d, unsigned int nr,
		      const char *name, bool console, struct chardev *cd)
{
	(void)d;
	if (name && !strcmp(name, "no memory"))
		return -ENOMEM;
	note(console ? "console" : "port", nr, cd->label);
	return 0;
}

void virtio_serial_remove(struct virtio_device *d, unsigned int nr)
{
	(void)d;
	note("remove", nr, NULL);
}

bool virtio_serial_guest_open(struct virtio_device *d, unsigned int nr)
{
	(void)d;
	return opened >> nr & 1;
}

void vm_emit(struct vm *vm, enum vm_event event, bool by_guest,
	     const char *reason)
{
	if (event == VM_EVENT_PORT_CHANGE) {
		assert_true(by_guest);
		note("open", vm_port_is_open(vm, reason), reason);
		return;
	}
	assert_int_equal(event, VM_EVENT_DEVICE_DELETED);
	assert_false(by_guest);
	note("deleted", 0, reason);
}

struct fixture {
	struct vm vm;
	struct config_serial small, large;
	struct device disk, one, two;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error e;

	happened[0] = '\0';
	f->small.max_ports = 3;
	f->large.max_ports = 31;
	f->disk = (struct device){ .type = DEVICE_DISK, .next = &f->one,
				   .id = (char *)"d" };
	f->one = (struct device){ .type = DEVICE_SERIAL, .next = &f->two,
				  .id = (char *)"s1", .config = &f->small };
	f->two = (struct device){ .type = DEVICE_SERIAL, .id = (char *)"s2",
				  .config = &f->large };
	f->vm.devices = (struct devices *)&f->disk;
	opened = 0;
	assert_int_equal(loop_create(&f->vm.loop), 0);
	assert_int_equal(vm_ports_init(&f->vm, &e), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	vm_ports_deinit(&f->vm);
	vm_chardevs_destroy(&f->vm);
	loop_destroy(f->vm.loop);
	assert_int_equal(chardevs, 0);
	free(f);
	return 0;
}

static void make(struct fixture *f, const char *id)
{
	struct config_char c = { .kind = CHAR_UNIX, .path = (char *)id };
	struct error e;

	assert_int_equal(vm_chardev_add(&f->vm, id, &c, &e), 0);
}

/* A port that is refused: why. */
static void refused(struct fixture *f, struct vm_port_spec spec, int ret,
		    const char *text)
{
	char before[sizeof(happened)];
	struct error e;

	strcpy(before, happened);
	assert_int_equal(vm_port_add(&f->vm, &spec, &e), ret);
	assert_non_null(strstr(e.text, text));
	assert_string_equal(happened, before);
}

static void add(struct fixture *f, struct vm_port_spec spec)
{
	struct error e;

	assert_int_equal(vm_port_add(&f->vm, &spec, &e), 0);
}

static void test_port_numbers_are_found_and_kept_apart(void **state)
{
	struct fixture *f = *state;

	make(f, "a");
	make(f, "b");
	make(f, "c");
	make(f, "d");
	add(f, (struct vm_port_spec){ .id = "A", .nr = -1, .chardev = "a",
				      .name = "n" });
	add(f, (struct vm_port_spec){ .id = "B", .nr = -1, .chardev = "b",
				      .console = true });
	add(f, (struct vm_port_spec){ .nr = 2, .chardev = "c", .bus = "s1.0" });
	assert_string_equal(happened, "port 1 unix:a;console 0 unix:b;"
			    "port 2 unix:c;");
	refused(f, (struct vm_port_spec){ .nr = -1, .chardev = "d" }, -ENOSPC,
		"'s1'");
	refused(f, (struct vm_port_spec){ .nr = 2, .chardev = "d" }, -EEXIST,
		"2");
	refused(f, (struct vm_port_spec){ .nr = 3, .chardev = "d" }, -ERANGE,
		"2");
	refused(f, (struct vm_port_spec){ .nr = 0, .chardev = "d",
					  .bus = "s2.0" }, -EINVAL, "reserved");
	refused(f, (struct vm_port_spec){ .nr = -1, .chardev = "d",
					  .bus = "s1" }, -ENOENT, "s1");
	refused(f, (struct vm_port_spec){ .nr = -1, .chardev = "d",
					  .bus = "d.0" }, -ENOENT, "d.0");
	/* The name is another bus's; the number is free again. */
	add(f, (struct vm_port_spec){ .nr = 30, .chardev = "d", .bus = "s2.0",
				      .name = "n" });
	assert_true(vm_port_exists(&f->vm, "A"));
	vm_port_remove(&f->vm, "A");
	assert_false(vm_port_exists(&f->vm, "A"));
	add(f, (struct vm_port_spec){ .nr = -1, .chardev = "a" });
	assert_non_null(strstr(happened, "remove 1 -;deleted 0 A;port 1 unix:a;"));
}

static void test_port_names_and_back_ends_are_used_once(void **state)
{
	struct fixture *f = *state;
	struct error e;

	make(f, "a");
	make(f, "b");
	add(f, (struct vm_port_spec){ .id = "A", .nr = -1, .chardev = "a",
				      .name = "n" });
	refused(f, (struct vm_port_spec){ .nr = -1, .chardev = "b",
					  .name = "n" }, -EEXIST, "name n");
	refused(f, (struct vm_port_spec){ .nr = -1, .chardev = "a" }, -ENOENT,
		"in use");
	refused(f, (struct vm_port_spec){ .nr = -1, .chardev = "x" }, -ENOENT,
		"'x'");
	refused(f, (struct vm_port_spec){ .nr = -1, .chardev = "b",
					  .name = "no memory" }, -ENOMEM,
		"memory");
	assert_int_equal(vm_chardev_remove(&f->vm, "a", &e), -EBUSY);
	assert_int_equal(vm_chardev_remove(&f->vm, "b", &e), 0);
	/* The device goes with its ports, not with others'. */
	make(f, "c");
	add(f, (struct vm_port_spec){ .id = "C", .nr = -1, .chardev = "c",
				      .bus = "s2.0" });
	vm_ports_drop(&f->vm, &f->one);
	assert_false(vm_port_exists(&f->vm, "A"));
	assert_true(vm_port_exists(&f->vm, "C"));
	assert_int_equal(vm_chardev_remove(&f->vm, "a", &e), 0);
	f->vm.devices = (struct devices *)&f->two;
	f->two.type = DEVICE_RNG;
	refused(f, (struct vm_port_spec){ .nr = -1, .chardev = "b" }, -ENOENT,
		"virtio-serial");
}

static void stop(void *opaque)
{
	loop_stop(opaque);
}

static void run_ms(struct fixture *f, unsigned int ms)
{
	struct loop_timer t;

	assert_int_equal(loop_timer_init(f->vm.loop, &t, stop, f->vm.loop), 0);
	loop_timer_set(&t, ms * UINT64_C(1000000), 0);
	loop_run(f->vm.loop);
	loop_timer_deinit(&t);
}

static void test_port_changes_are_told_now_and_then(void **state)
{
	struct fixture *f = *state;

	make(f, "a");
	make(f, "b");
	add(f, (struct vm_port_spec){ .id = "A", .nr = 1, .chardev = "a" });
	add(f, (struct vm_port_spec){ .nr = 2, .chardev = "b" });
	happened[0] = '\0';
	/* The second one has no name that could be told. */
	opened = 6;
	vm_port_changed(&f->vm);
	run_ms(f, 20);
	assert_string_equal(happened, "open 1 A;");
	for (unsigned int i = 0; i < 1001; i++) {
		opened ^= 2;
		vm_port_changed(&f->vm);
	}
	run_ms(f, 20);
	assert_string_equal(happened, "open 1 A;");
	run_ms(f, 1100);
	assert_string_equal(happened, "open 1 A;open 0 A;");
	vm_port_changed(&f->vm);
	run_ms(f, 1100);
	assert_string_equal(happened, "open 1 A;open 0 A;");
}

static void test_chardevs_have_one_name_each(void **state)
{
	struct config_char c = { .kind = CHAR_UNIX, .path = (char *)"/bad" };
	struct chardev serial = { .label = "stdio open" };
	struct fixture *f = *state;
	struct vm_chardev_info info;
	struct error e;

	f->vm.serial = &serial;
	assert_int_equal(vm_chardev_add(&f->vm, "serial0", &c, &e), -EEXIST);
	assert_int_equal(vm_chardev_add(&f->vm, "x", &c, &e), -EACCES);
	assert_int_equal(vm_chardev_remove(&f->vm, "x", &e), -ENOENT);
	assert_int_equal(vm_chardev_remove(&f->vm, "serial0", &e), -EBUSY);
	make(f, "x");
	c.path = (char *)"/y";
	assert_int_equal(vm_chardev_add(&f->vm, "x", &c, &e), -EEXIST);
	assert_true(vm_chardev_info(&f->vm, 0, &info));
	assert_string_equal(info.id, "serial0");
	assert_true(info.open && info.used);
	assert_true(vm_chardev_info(&f->vm, 1, &info));
	assert_string_equal(info.label, "unix:x");
	assert_false(info.open || info.used);
	assert_false(vm_chardev_info(&f->vm, 2, &info));
}

#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

/* ---- saved and loaded ------------------------------------------------------ */

static struct saved_vm saved;
static struct state_file *file;
static uint8_t *bytes;

/* The section of f's VM, with another value at a byte of it. */
static void save(const struct fixture *f, int at, uint8_t value)
{
	struct state_writer *w;
	struct error e;
	size_t len;

	assert_int_equal(state_file_create(&file), 0);
	w = state_file_add(file, TAG_PORTS, 0);
	vm_ports_save(&f->vm, w);
	if (at >= 0)
		w->data[at] = value;
	assert_int_equal(state_file_encode(file, &bytes, &len), 0);
	assert_int_equal(state_view_init(&saved.view, bytes, len, &e), 0);
}

static void forget(void)
{
	state_view_deinit(&saved.view);
	state_file_destroy(file);
	free(bytes);
}

/* Two ports, whose chardevs are 1 byte each. */
static void two_ports(struct fixture *f)
{
	make(f, "a");
	make(f, "b");
	add(f, (struct vm_port_spec){ .id = "A", .nr = 2, .chardev = "a",
				      .name = "n", .bus = "s2.0" });
	add(f, (struct vm_port_spec){ .nr = 0, .chardev = "b",
				      .console = true });
}

static void forget_ports(struct fixture *f)
{
	struct error e;

	vm_ports_deinit(&f->vm);
	assert_int_equal(vm_ports_init(&f->vm, &e), 0);
}

static void test_ports_saved_are_there_again(void **state)
{
	struct fixture *f = *state;
	struct config_serial c;
	const struct device *d;
	struct vm_port_spec p;
	struct error e;

	assert_true(vm_ports_any(&f->vm));
	two_ports(f);
	save(f, -1, 0);
	assert_int_equal(vm_ports_check(&f->vm, &saved, &e), 0);
	forget_ports(f);
	vm_chardevs_destroy(&f->vm);
	happened[0] = '\0';
	make(f, "a");
	make(f, "b");
	f->vm.saved = &saved;
	assert_int_equal(vm_ports_device(&saved, 0, &c, &e), 0);
	assert_int_equal(c.max_ports, 3);
	assert_int_equal(vm_ports_device(&saved, 1, &c, &e), 0);
	assert_int_equal(c.max_ports, 31);
	assert_int_equal(vm_ports_device(&saved, 2, &c, &e), -EPROTO);
	assert_int_equal(vm_ports_load(&f->vm, &e), 0);
	assert_non_null(strstr(happened, "port 2 unix:a;"));
	assert_non_null(strstr(happened, "console 0 unix:b;"));
	for (size_t i = 0; vm_port_info(&f->vm, i, &d, &p); i++) {
		assert_ptr_equal(d, p.nr ? &f->two : &f->one);
		assert_int_equal(p.id != NULL, p.nr == 2);
		assert_int_equal(p.name != NULL, p.nr == 2);
	}
	assert_true(vm_port_exists(&f->vm, "A"));
	forget();
}

/* Another VM's: what differs is named. */
static void test_ports_of_another_vm_differ(void **state)
{
	struct fixture *f = *state;
	struct error e;

	two_ports(f);
	save(f, -1, 0);
	vm_port_remove(&f->vm, "A");
	assert_int_equal(vm_ports_check(&f->vm, &saved, &e), -ENOENT);
	assert_non_null(strstr(e.text, "port 2 'n'"));
	add(f, (struct vm_port_spec){ .id = "A", .nr = 2, .chardev = "a",
				      .name = "n", .bus = "s2.0" });
	assert_int_equal(vm_ports_check(&f->vm, &saved, &e), 0);
	make(f, "c");
	add(f, (struct vm_port_spec){ .nr = 1, .chardev = "c", .name = "x" });
	assert_int_equal(vm_ports_check(&f->vm, &saved, &e), -ENOENT);
	assert_non_null(strstr(e.text, "more ports"));
	f->large.max_ports = 30;
	assert_int_equal(vm_ports_check(&f->vm, &saved, &e), -EINVAL);
	assert_non_null(strstr(e.text, "max_ports=31"));
	forget();
}

/* Devices, two max_ports, ports; of the first: device at 16, number at 20, id from
 * 24, named, name, console, chardev; of the second: device at 42 … */
static void test_ports_that_cannot_be_are_refused(void **state)
{
	static const struct {
		int at;
		uint8_t value;
	} wrong[] = {
		{ 0, 1 }, { 0, 200 }, { 3, 1 }, { 4, 0 }, { 8, 32 }, { 12, 1 },
		{ 12, 3 }, { 15, 1 }, { 16, 9 }, { 20, 9 }, { 23, 255 },
		{ 24, 200 }, { 28, 2 }, { 33, 2 }, { 38, 'x' },
	};
	struct fixture *f = *state;
	struct error e;

	f->vm.saved = &saved;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		two_ports(f);
		save(f, wrong[i].at, wrong[i].value);
		forget_ports(f);
		vm_chardevs_destroy(&f->vm);
		make(f, "a");
		make(f, "b");
		happened[0] = '\0';
		if (!vm_ports_load(&f->vm, &e))
			fail_msg("byte %d: %u", wrong[i].at, wrong[i].value);
		assert_non_null(strstr(e.text, "section 'ports'"));
		forget_ports(f);
		vm_chardevs_destroy(&f->vm);
		forget();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_port_numbers_are_found_and_kept_apart),
		T(test_port_names_and_back_ends_are_used_once),
		T(test_port_changes_are_told_now_and_then),
		T(test_chardevs_have_one_name_each),
		T(test_ports_saved_are_there_again),
		T(test_ports_of_another_vm_differ),
		T(test_ports_that_cannot_be_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
