# SPDX-License-Identifier: MIT
#
# The benchmarks. Included by the top Makefile behind guest/guest.mk and tests/host/host.mk; paths are from the top.
# What is compared is on PATH: qemu-system-x86_64, lkvm. BENCH_ARGS go to tests/bench/boot.py; the figures stay in
# build/bench/boot.json and blk.json too.

BENCH_KERNELS := generic cloud
BENCH_NEEDS = $(BUILD)/mote build/bench/measure $(foreach kernel,$(BENCH_KERNELS), \
	build/kernels/$(kernel)/vmlinuz build/guest/bench-$(kernel).cpio build/guest/test-$(kernel).cpio) \
	build/guest/disk-io.cpio

build/bench/measure build/bench/netload: build/bench/%: tests/bench/%.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -O1 $(WARNINGS) -static -o $@ $<

.PHONY: bench bench-run bench-blk bench-p9
bench:
	@guest/install-deps bench
	@$(AGAIN) bench-run
	@$(AGAIN) bench-net
	@$(AGAIN) bench-vsock
	@$(AGAIN) bench-monitor
	@$(AGAIN) bench-save

bench-run: $(BENCH_NEEDS) test-host
	tests/bench/bench build/bench boot $(BENCH_ARGS)
	tests/host/auto --icount --timeout 300 -- /usr/bin/python3 tests/bench/pmem.py
	tests/bench/bench build/bench blk
	tests/bench/bench build/bench p9

# The disks alone: what is missing is built, nothing is installed.
bench-blk: $(BUILD)/mote build/kernels/cloud/vmlinuz build/guest/test-cloud.cpio build/guest/disk-io.cpio test-host
	tests/bench/bench build/bench blk $(BENCH_ARGS)

# TCP over a tap; BENCH_NET_ARGS go to tests/bench/net.py.
.PHONY: bench-net
bench-net: $(BENCH_NEEDS) build/bench/netload test-host
	tests/bench/bench build/bench net $(BENCH_NET_ARGS)

# vsock by Unix sockets and by vhost; BENCH_VSOCK_ARGS go to tests/bench/vsock.py.
.PHONY: bench-vsock
bench-vsock: $(BENCH_NEEDS) build/guest/vsock-tool test-host
	tests/bench/bench build/bench vsock $(BENCH_VSOCK_ARGS)

# Shares alone, against QEMU's and kvmtool's 9P servers.
bench-p9: $(BUILD)/mote build/kernels/generic/vmlinuz build/guest/test-generic.cpio test-host
	tests/bench/bench build/bench p9

# Saving and restoring, against QEMU's migration; BENCH_SAVE_ARGS go to tests/bench/save.py.
.PHONY: bench-save
bench-save: $(BUILD)/mote build/bench/measure build/kernels/cloud/vmlinuz build/guest/test-cloud.cpio test-host
	tests/bench/bench build/bench save $(BENCH_SAVE_ARGS)

# How quick the monitor is, and hot-plug, against QEMU.
.PHONY: bench-monitor
bench-monitor: $(BUILD)/mote build/kernels/cloud/vmlinuz build/guest/test-cloud.cpio test-host
	tests/host/auto --icount --mem 4096 --timeout 900 -- /usr/bin/python3 tests/bench/monitor.py $(BENCH_ARGS)
