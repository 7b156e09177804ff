# SPDX-License-Identifier: MIT
#
# Stock kernels, and initramfs images to boot them with. Included by the top Makefile; paths are from the top.
#   build/kernels/NAME/vmlinuz     NAME: generic, cloud, 6.12
#   build/guest/demo-NAME.cpio     a shell              (guest/demo-init)
#   build/guest/test-NAME.cpio     functional tests     (guest/test-init)
#   build/guest/disk-io.cpio       /bin/disk-io to add to one of them   (guest/disk-io.c)
#   build/guest/bench-NAME.cpio    one line, power off  (guest/bench-init_x86_64.S)

GUEST_KERNELS := generic cloud 6.12

# What every guest loads, and what it has at hand. Debian's cloud kernel lacks some.
GUEST_MODULES := virtio_pci virtio_blk virtio_console virtio_net virtio-rng button evdev ?pvpanic-pci ?pvpanic-mmio
GUEST_EXTRA := ext4 squashfs overlay ?erofs ?9p ?9pnet_virtio loop virtio_balloon ?virtio_mem ?virtio_pmem ?nd_pmem ?dax_pmem
TEST_EXTRA := ?brd ?vmw_vsock_virtio_transport ?vmgenid ?virtio_scsi af_packet

build/kernels/%/vmlinuz:
	@guest/fetch-kernel $*

GUEST_KERNEL_FILES := $(GUEST_KERNELS:%=build/kernels/%/vmlinuz)
.PRECIOUS: $(GUEST_KERNEL_FILES)

build/guest/demo-%.cpio: build/kernels/%/vmlinuz guest/demo-init guest/init-functions guest/mkinitramfs guest/guest.mk
	guest/mkinitramfs -k build/kernels/$* --modules "$(GUEST_MODULES)" --extra "$(GUEST_EXTRA)" \
		--init guest/demo-init --file guest/init-functions:/lib/init-functions -o $@

# For the guest's side of the vsock tests, and the host's.
build/guest/vsock-tool: guest/vsock-tool.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -static -o $@ $<

build/guest/test-%.cpio: build/kernels/%/vmlinuz build/guest/vsock-tool guest/test-init guest/init-functions guest/exit-port guest/mkinitramfs guest/guest.mk
	guest/mkinitramfs -k build/kernels/$* --modules "$(GUEST_MODULES)" --extra "$(GUEST_EXTRA) $(TEST_EXTRA)" \
		--init guest/test-init --file guest/init-functions:/lib/init-functions --file guest/exit-port:/bin/exit-port \
		--file build/guest/vsock-tool:/bin/vsock-tool -o $@

# On top of a test image, for tests and benchmarks of disks.
build/guest/disk-io: guest/disk-io.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 $(WARNINGS) -O2 -static -s -o $@ $<

build/guest/disk-io.cpio: build/guest/disk-io guest/mkinitramfs
	guest/mkinitramfs --no-busybox --file build/guest/disk-io:/bin/disk-io -o $@

build/guest/bench-init: guest/bench-init_x86_64.S
	@mkdir -p $(@D)
	$(CC) -nostdlib -static -Wl,-z,noseparate-code,-s,--build-id=none -o $@ $<

# The same for every kernel: it holds no modules.
build/guest/bench-%.cpio: build/guest/bench-init guest/mkinitramfs | build/kernels/%/vmlinuz
	guest/mkinitramfs --no-busybox --init $< -o $@
