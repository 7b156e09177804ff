/* SPDX-License-Identifier: MIT */
/* Whose image it is that is in use. Main thread. */
#include <errno.h>
#include <sys/stat.h>

#include "monitor/internal.h"
#include "vm_devices.h"

static const char *path_of(const struct device *d)
{
	switch (d->type) {
	case DEVICE_DISK:
		return ((const struct config_disk *)d->config)->path;
	case DEVICE_PMEM:
		return ((const struct config_pmem *)d->config)->path;
	default:
		return NULL;
	}
}

int attached_error(struct vm *vm, const char *path, int ret, struct error *e)
{
	struct stat a, b;

	if (ret != -EBUSY || e->class != ERROR_GENERIC || stat(path, &a))
		return ret;
	for (const struct device *d = vm_device_first(vm); d; d = d->next) {
		const char *theirs = path_of(d);

		if (theirs && !stat(theirs, &b) && a.st_dev == b.st_dev &&
		    a.st_ino == b.st_ino)
			return error_class_set(e, ERROR_ALREADY_ATTACHED, ret,
					       "%s is device '%s' already, as "
					       "%s", path, d->id ? d->id : "",
					       theirs);
	}
	return ret;
}
