# SPDX-License-Identifier: MIT
# make [all] · demo · check · bench · install: see README.md and `make help`.

# ---- what is built --------------------------------------------------------
ARCH := $(shell uname -m)
BUILD := build
VERSION := 0.1

# The machine's architecture is chosen by file name: *_x86.c, *_arm64.c.
ARCH_TAG := $(if $(filter x86_64,$(ARCH)),x86,$(if $(filter aarch64,$(ARCH)),arm64))
SRC_ALL := $(wildcard vmm/*.c vmm/*/*.c)
SRC := $(filter-out $(filter %_x86.c %_arm64.c,$(filter-out %_$(ARCH_TAG).c,$(SRC_ALL))),$(SRC_ALL))
OBJ := $(SRC:%.c=$(BUILD)/%.o)

# ---- how ------------------------------------------------------------------
CC ?= gcc
PKGS := json-c liburing zlib liblzma libzstd liblz4
# Linked statically, position independent: exec to main() without a dynamic
# loader, and one file to copy. Sanitizers need STATIC= (nothing).
STATIC := 1
CFLAGS ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wvla -Wno-sign-conversion
MOTE_CFLAGS := -std=gnu11 $(WARNINGS) -D_GNU_SOURCE -Ivmm -I$(BUILD)/gen \
	-DMOTE_VERSION='"$(VERSION)"' -pthread -fstack-protector-strong \
	-fPIE $(SANITIZE) $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LDFLAGS_LINK := $(if $(STATIC),-static-pie,-pie) $(SANITIZE) -pthread -Wl,-z,relro,-z,now
LIBS = $(shell pkg-config $(if $(STATIC),--static) --libs $(PKGS)) -lbz2 -llzo2

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

.DEFAULT_GOAL := all
.PHONY: all clean
all: $(BUILD)/mote

$(BUILD)/mote: $(OBJ)
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS_LINK) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/vmm/%.o: vmm/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(MOTE_CFLAGS) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# ---- unit tests: tests/unit/test_NAME.c, linked with what its
# "LINK:" lines name (paths below vmm/ without .c, % for any name), and with the
# helpers next to it that a "WITH:" line names, and what theirs do -----------
UNIT := $(patsubst tests/unit/%.c,$(BUILD)/unit/%,$(wildcard tests/unit/test_*.c))
with_of = $(patsubst %,tests/unit/%.c,$(shell sed -n 's|^/\* WITH: \(.*\) \*/|\1|p' $(1)))
link_names = $(shell sed -n 's|^/\* LINK: \(.*\) \*/|\1|p' $(1) $(wildcard $(call with_of,$(1))))
link_of = $(sort $(patsubst %.c,$(BUILD)/%.o,$(wildcard $(subst %,*,$(patsubst %,vmm/%.c,$(link_names))))))
.PHONY: check-unit
check-unit: $(UNIT)
	$(Q)for t in $(UNIT); do echo "$$t"; "$$t" || exit 1; done

.SECONDEXPANSION:
define LINK_TEST
	$(call say,TEST,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(MOTE_CFLAGS) $(CPPFLAGS) $(CFLAGS) -Itests/unit -MMD -MP -o $@ \
		$(filter %.c %.o,$^) -pie $(SANITIZE) -pthread $(LDFLAGS) -lcmocka $(LIBS_UNIT)
endef
$(BUILD)/unit/%: tests/unit/%.c $$(call link_of,tests/unit/%.c) $$(call with_of,tests/unit/%.c)
	$(LINK_TEST)

# The same on a real KVM: run by check-functional.
KVM_TESTS := $(patsubst tests/functional/%.c,$(BUILD)/functional/%,$(wildcard tests/functional/kvm_*.c))
$(BUILD)/functional/%: tests/functional/%.c $$(call link_of,tests/functional/%.c)
	$(LINK_TEST)
LIBS_UNIT = $(shell pkg-config --libs $(PKGS)) -lbz2 -llzo2

# ---- ACPI: tables from ASL (after the C preprocessor) -------------------------
$(BUILD)/gen/%.hex: vmm/boot/%.asl
	$(call say,IASL,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) -E -P -undef -nostdinc -x c -o $(@D)/$*.asl $<
	$(Q)iasl -vs -ve -vr -tc -p $(@D)/$* $(@D)/$*.asl >$(@D)/$*.log || { cat $(@D)/$*.log; rm -f $@; exit 1; }

$(BUILD)/vmm/boot/acpi_x86.o: $(BUILD)/gen/dsdt.hex $(BUILD)/gen/pci_bus.hex

include guest/guest.mk
include tests/host/host.mk
include tests/bench/bench.mk
include tests/fuzz/fuzz.mk

# ---- the two commands of the README -------------------------------------------
# Both install what is missing and start over, so that what was found out above
# (pkg-config) is true. -j: as many jobs as processors, unless the user says.
AGAIN = $(MAKE) $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc)) --no-print-directory

.PHONY: demo check
demo:
	@guest/install-deps build guest
	@$(AGAIN) all build/guest/demo-generic.cpio
	@guest/demo

check:
	@guest/install-deps check
	@$(AGAIN) check-unit check-asan
	@$(AGAIN) check-functional

# ---- tests -------------------------------------------------------------------
FUNCTIONAL_NEEDS := $(BUILD)/mote $(KVM_TESTS) $(GUEST_KERNELS:%=build/guest/test-%.cpio) \
	build/guest/disk-io.cpio $(GUEST_KERNEL_FILES)

.PHONY: check-functional check-asan check-tsan check-long
check-functional: $(FUNCTIONAL_NEEDS) test-host
	tests/functional/run $(PYTEST_ARGS)

ASAN := -fsanitize=address,undefined -fno-sanitize-recover=undefined
check-asan:
	@$(MAKE) --no-print-directory BUILD=build/asan STATIC= SANITIZE="$(ASAN)" check-unit

check-tsan:
	@$(MAKE) --no-print-directory BUILD=build/tsan STATIC= SANITIZE=-fsanitize=thread check-unit

# Soaks, and the functional tests once more with the sanitizers in mote.
check-long:
	@guest/install-deps long
	@$(AGAIN) BUILD=build/asan STATIC= SANITIZE="$(ASAN)" build/asan/mote
	@MOTE=build/asan/mote $(AGAIN) check-functional PYTEST_ARGS=--long

# ---- the rest ------------------------------------------------------------------
PREFIX ?= /usr/local
.PHONY: install lint format help
install: $(BUILD)/mote
	install -D -m 755 $< $(DESTDIR)$(PREFIX)/bin/mote

lint:
	tests/rooms
	cppcheck --quiet --error-exitcode=1 --inline-suppr -j2 \
		--enable=warning,performance,portability \
		--suppress=missingIncludeSystem -Ivmm -I$(BUILD)/gen vmm

format:
	clang-format -i vmm/*.[ch] vmm/*/*.[ch] tests/unit/*.[ch]

help:
	@echo 'make                  build/mote'
	@echo 'make demo             a shell in a VM with a stock Debian kernel'
	@echo 'make check            unit tests (plain, ASan+UBSan) and functional tests'
	@echo 'make check-unit check-functional check-asan check-tsan check-long'
	@echo 'make bench            boot times, memory, I/O, the monitor and saving, against peers'
	@echo 'make fuzz             fuzz targets, with clang; FUZZ_SECONDS=60 for each'
	@echo 'make install          PREFIX=$(PREFIX) DESTDIR='
	@echo 'make lint format clean'
	@echo 'V=1 shows the commands; CFLAGS, LDFLAGS, CC are honoured; STATIC= links dynamically'

clean:
	rm -rf $(BUILD)

-include $(OBJ:.o=.d) $(UNIT:=.d) $(KVM_TESTS:=.d)
