/* SPDX-License-Identifier: MIT */
/* LINK: vm_serial vm_chardev error */
/* Ports, their numbers and their back ends; devices and chardevs keep books. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "virtio/serial.h"
#include "virtio/virtio_pci.h"
#include "vm_chardev.h"
#include "vm_internal.h"
#include "vm_serial.h"

struct chardev {
	char label[32];
};

static unsigned int chardevs;	/* there are */
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
	chardevs--;
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

void vm_emit(struct vm *vm, enum vm_event event, bool by_guest,
	     const char *reason)
{
	(void)vm;
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
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	vm_ports_free(&f->vm);
	vm_chardevs_destroy(&f->vm);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_port_numbers_are_found_and_kept_apart),
		T(test_port_names_and_back_ends_are_used_once),
		T(test_chardevs_have_one_name_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
