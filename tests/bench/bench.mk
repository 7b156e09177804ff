# SPDX-License-Identifier: MIT
#
# The benchmarks: booting, pmem. Included by the top Makefile behind guest/guest.mk and tests/host/host.mk; paths are from the top.
# What is compared is on PATH: qemu-system-x86_64, lkvm. BENCH_ARGS go to tests/bench/boot.py; the figures stay in
# build/bench/boot.json too.

BENCH_KERNELS := generic cloud
BENCH_NEEDS = $(BUILD)/mote build/bench/measure $(foreach kernel,$(BENCH_KERNELS), \
	build/kernels/$(kernel)/vmlinuz build/guest/bench-$(kernel).cpio build/guest/test-$(kernel).cpio)

build/bench/measure: tests/bench/measure.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -D_GNU_SOURCE -O1 $(WARNINGS) -static -o $@ $<

.PHONY: bench bench-run
bench:
	@guest/install-deps bench
	@$(AGAIN) bench-run

bench-run: $(BENCH_NEEDS) test-host
	tests/bench/bench build/bench $(BENCH_ARGS)
	tests/host/auto --timeout 300 -- /usr/bin/python3 tests/bench/pmem.py
