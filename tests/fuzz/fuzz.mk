# SPDX-License-Identifier: MIT
#
# Fuzz targets: tests/fuzz/fuzz_NAME.c, linked with what its LINK and WITH lines name, as unit tests are. With clang's libFuzzer.
# FUZZ_SECONDS for each; what it finds stays in build/fuzz/NAME-*. Included by the top Makefile; paths are from the top.

FUZZ_SECONDS ?= 60
FUZZ_TARGETS := $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_FLAGS := -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined

# ... but for what it has one of its own of, which a "/* WITHOUT: */" line names.
without_of = $(patsubst %,vmm/%.c,$(shell sed -n 's|^/\* WITHOUT: \(.*\) \*/|\1|p' $(1)))

build/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(wildcard vmm/*.[ch] vmm/*/*.[ch] tests/fuzz/*.[ch] tests/unit/*fixture.[ch])
	$(call say,FUZZ,$<)
	@mkdir -p $(@D)
	$(Q)clang $(filter-out -fstack-protector-strong,$(MOTE_CFLAGS)) -O1 -g $(FUZZ_FLAGS) -Itests/fuzz -Itests/unit -o $@ $< \
		$(filter-out $(call without_of,$<),$(patsubst $(BUILD)/%.o,%.c,$(call link_of,$<))) \
		$(foreach f,$(notdir $(call with_of,$<)),$(firstword $(wildcard tests/fuzz/$f tests/unit/$f))) -lcmocka $(LIBS_UNIT)

.PHONY: fuzz
fuzz: $(FUZZ_TARGETS:%=build/fuzz/fuzz_%)
	$(Q)for t in $(FUZZ_TARGETS); do mkdir -p build/fuzz/corpus-$$t && \
		build/fuzz/fuzz_$$t -max_total_time=$(FUZZ_SECONDS) -max_len=4096 -artifact_prefix=build/fuzz/$$t- \
		$$(ls -d tests/fuzz/$$t.dict 2>/dev/null | sed 's/^/-dict=/') \
		build/fuzz/corpus-$$t $$(ls -d tests/fuzz/corpus-$$t 2>/dev/null) || exit 1; done
