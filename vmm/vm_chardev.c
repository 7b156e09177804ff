/* SPDX-License-Identifier: MIT */
/* Character back ends of a running VM. Main thread. */
#include "vm_chardev.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "char/chardev.h"
#include "vm_internal.h"

struct vm_chardev {
	struct vm_chardev *next;
	struct config_chardev config;
	struct chardev *cd;
	bool used;
};

static bool id_taken(const struct vm *vm, const char *id)
{
	struct vm_chardev_info info;

	for (size_t i = 0; vm_chardev_info(vm, i, &info); i++)
		if (!strcmp(info.id, id))
			return true;
	return false;
}

static void vm_chardev_free(struct vm_chardev *v)
{
	if (!v)
		return;
	chardev_destroy(v->cd);
	config_chardev_deinit(&v->config);
	free(v);
}

int vm_chardev_add(struct vm *vm, const char *id, const struct config_char *c,
		   struct error *e)
{
	struct vm_chardev *v, **link = &vm->chardevs;
	int ret;

	if (strlen(id) > VM_CHARDEV_ID_MAX)
		return error_set(e, -EINVAL, "id: at most %d bytes",
				 VM_CHARDEV_ID_MAX);
	if (id_taken(vm, id))
		return error_set(e, -EEXIST, "Chardev with id '%s' already "
				 "exists", id);
	v = calloc(1, sizeof(*v));
	if (v)
		v->config = (struct config_chardev){
			.id = strdup(id), .back = *c,
		};
	if (v && c->path)
		v->config.back.path = strdup(c->path);
	if (!v || !v->config.id || !v->config.back.path != !c->path)
		ret = error_set(e, -ENOMEM, "out of memory");
	else
		ret = chardev_create(&v->cd, c, vm->loop, NULL, NULL, e);
	if (ret) {
		vm_chardev_free(v);
		return ret;
	}
	while (*link)
		link = &(*link)->next;
	*link = v;
	return 0;
}

int vm_chardev_remove(struct vm *vm, const char *id, struct error *e)
{
	struct vm_chardev **link = &vm->chardevs, *v;

	while (*link && strcmp((*link)->config.id, id))
		link = &(*link)->next;
	v = *link;
	if (!v && !id_taken(vm, id))
		return error_set(e, -ENOENT, "Chardev '%s' not found", id);
	if (!v || v->used)
		return error_set(e, -EBUSY, "Chardev '%s' is busy", id);
	*link = v->next;
	vm_chardev_free(v);
	return 0;
}

bool vm_chardev_info(const struct vm *vm, size_t index,
		     struct vm_chardev_info *out)
{
	struct chardev *const own[] = { vm->serial, vm->console };
	static const char *const ids[] = { CONFIG_SERIAL_ID, CONFIG_CONSOLE_ID };
	const struct vm_chardev *v = vm->chardevs;
	struct chardev *cd = NULL;

	*out = (struct vm_chardev_info){ .used = true };
	for (size_t i = 0; !cd && i < sizeof(own) / sizeof(own[0]); i++) {
		if (!own[i] || index--)
			continue;
		cd = own[i];
		out->id = ids[i];
	}
	for (; !cd && v; v = v->next) {
		if (index--)
			continue;
		cd = v->cd;
		out->id = v->config.id;
		out->config = &v->config;
		out->used = v->used;
	}
	if (!cd)
		return false;
	out->label = chardev_label(cd);
	out->open = chardev_is_open(cd);
	return true;
}

struct chardev *vm_chardev_claim(struct vm *vm, const char *id,
				 struct error *e)
{
	struct vm_chardev *v = vm->chardevs;

	while (v && strcmp(v->config.id, id))
		v = v->next;
	if (v && !v->used) {
		v->used = true;
		return v->cd;
	}
	if (v || id_taken(vm, id))
		error_set(e, -EBUSY, "Property 'chardev' can't take value "
			  "'%s', it's in use", id);
	else
		error_set(e, -ENOENT, "Property 'chardev' can't find value "
			  "'%s'", id);
	return NULL;
}

void vm_chardev_release(struct vm *vm, const struct chardev *cd)
{
	for (struct vm_chardev *v = vm->chardevs; v; v = v->next)
		if (v->cd == cd)
			v->used = false;
}

void vm_chardevs_destroy(struct vm *vm)
{
	struct vm_chardev *next;

	for (struct vm_chardev *v = vm->chardevs; v; v = next) {
		next = v->next;
		vm_chardev_free(v);
	}
	vm->chardevs = NULL;
}
