/* SPDX-License-Identifier: MIT */
/* The monitor's way to the vsock. Main thread. */
#include <errno.h>

#include "vm_internal.h"

static int find(struct vm *vm, struct vsock **out, struct error *e)
{
	*out = devices_vsock(vm->devices);
	if (*out)
		return 0;
	return error_class_set(e, ERROR_NOT_SUPPORTED, -ENOTSUP,
			       vm->config->vsock.vhost ?
			       "vhost=on: ports are the host kernel's" :
			       "the VM has no vsock (--vsock)");
}

int vm_vsock_listen(struct vm *vm, const struct vsock_service *s,
		    struct error *e)
{
	struct vsock *v;
	int ret = find(vm, &v, e);

	return ret ? ret : vsock_listen(v, s, e);
}

int vm_vsock_service_set(struct vm *vm, const struct vsock_service *s,
			 struct error *e)
{
	struct vsock *v;
	int ret = find(vm, &v, e);

	return ret ? ret : vsock_service_set(v, s, e);
}

int vm_vsock_service_remove(struct vm *vm, uint32_t port, struct error *e)
{
	struct vsock *v;
	int ret = find(vm, &v, e);

	if (!ret)
		vsock_service_remove(v, port);
	return ret;
}
