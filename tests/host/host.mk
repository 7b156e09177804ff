# SPDX-License-Identifier: MIT
#
# The test host's kernel and initramfs (see tests/host/run, which makes `test-host` by itself). Included by the top Makefile behind
# guest/guest.mk, which has the kernels; paths are from the top.

HOST_MODULES := virtio_pci virtio_console virtio-rng 9p 9pnet_virtio overlay kvm kvm_amd

.PHONY: test-host
test-host: build/host/vmlinux build/host/host.cpio

# Unpacked once here rather than at every start by an emulated CPU.
build/host/vmlinux: build/kernels/generic/vmlinuz tests/host/unpack-kernel
	@mkdir -p $(@D)
	tests/host/unpack-kernel $< $@

build/host/agent: tests/host/agent.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -O1 -Wall -Wextra -static -o $@ $<

build/host/host.cpio: build/host/agent tests/host/init guest/mkinitramfs build/kernels/generic/vmlinuz tests/host/host.mk
	guest/mkinitramfs -k build/kernels/generic --modules "$(HOST_MODULES)" --init tests/host/init --file $<:/agent -o $@
