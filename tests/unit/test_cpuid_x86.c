/* SPDX-License-Identifier: MIT */
/* LINK: kvm/cpuid_x86 kvm/cpuid_state_x86 kvm/cpu_features_x86 kvm/kvm state error */
/* The guest's CPUID: APIC IDs, topology leaves, feature names. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "kvm/cpuid_x86.h"
#include "state.h"

static void test_apic_ids_are_bit_fields(void **state)
{
	static const struct {
		unsigned int threads, cores, sockets, index;
		uint32_t id;
	} table[] = {
		{ 1, 1, 1, 0, 0 },   { 1, 4, 1, 3, 3 },	   { 1, 255, 1, 254, 254 },
		{ 2, 2, 2, 7, 7 },   { 1, 3, 2, 3, 4 },	   { 2, 3, 2, 5, 5 },
		{ 2, 3, 2, 6, 8 },   { 2, 3, 2, 11, 13 },  { 3, 1, 2, 3, 4 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		struct config_cpus c = {
			.threads = table[i].threads, .cores = table[i].cores,
			.sockets = table[i].sockets,
		};

		assert_int_equal(cpuid_apic_id(&c, table[i].index),
				 table[i].id);
	}
}

struct leaves {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[8];
};

static struct kvm_cpuid_entry2 *leaf(struct leaves *l, uint32_t function,
				     uint32_t index)
{
	for (uint32_t i = 0; i < l->head.nent; i++)
		if (l->head.entries[i].function == function &&
		    l->head.entries[i].index == index)
			return &l->head.entries[i];
	fail_msg("no leaf %x", function);
	return NULL;
}

static struct leaves sample(bool amd)
{
	struct leaves l = { .head.nent = 7 };
	const struct kvm_cpuid_entry2 entries[] = {
		{ .function = 0, .eax = 0xd,
		  .ebx = amd ? 0x68747541 : 0x756e6547 },
		{ .function = 1, .ebx = 0x12345678 },
		{ .function = 0xb, .index = 0, .flags = 1 },
		{ .function = 0xb, .index = 1, .flags = 1 },
		{ .function = 0xb, .index = 2, .flags = 1 },
		{ .function = 4, .index = 0, .flags = 1, .eax = 1 | 1 << 5 },
		{ .function = 0x80000008, .eax = 0x3028 },
	};

	memcpy(l.head.entries, entries, sizeof(entries));
	return l;
}

static void test_topology_leaf_has_levels_and_the_apic_id(void **state)
{
	struct config_cpus c = { .threads = 2, .cores = 3, .sockets = 2 };
	struct leaves l = sample(false);

	(void)state;
	cpuid_set_vcpu(&l.head, &c, 7);
	assert_int_equal(leaf(&l, 1, 0)->ebx >> 24, 9);
	assert_int_equal(leaf(&l, 1, 0)->ebx >> 16 & 0xff, 8);
	assert_int_equal(leaf(&l, 1, 0)->ebx & 0xffff, 0x5678);
	assert_true(leaf(&l, 1, 0)->edx >> 28 & 1);
	assert_int_equal(leaf(&l, 0xb, 0)->eax, 1);	/* bits of a thread */
	assert_int_equal(leaf(&l, 0xb, 0)->ebx, 2);
	assert_int_equal(leaf(&l, 0xb, 0)->ecx, 0x100);
	assert_int_equal(leaf(&l, 0xb, 1)->eax, 3);	/* … of a socket */
	assert_int_equal(leaf(&l, 0xb, 1)->ebx, 6);
	assert_int_equal(leaf(&l, 0xb, 1)->ecx, 0x201);
	assert_int_equal(leaf(&l, 0xb, 2)->ebx, 0);
	for (uint32_t level = 0; level < 3; level++)
		assert_int_equal(leaf(&l, 0xb, level)->edx, 9);
	/* A first-level cache belongs to a core: two threads. */
	assert_int_equal(leaf(&l, 4, 0)->eax >> 14 & 0xfff, 1);
}

static void test_single_cpu_has_no_htt(void **state)
{
	struct config_cpus c = { .threads = 1, .cores = 1, .sockets = 1 };
	struct leaves l = sample(false);

	(void)state;
	leaf(&l, 1, 0)->edx = 1u << 28;
	cpuid_set_vcpu(&l.head, &c, 0);
	assert_false(leaf(&l, 1, 0)->edx >> 28 & 1);
	assert_int_equal(cpuid_phys_bits(&l.head), 0x28);
}

static void test_amd_counts_threads_in_the_package(void **state)
{
	struct config_cpus c = { .threads = 2, .cores = 4, .sockets = 1 };
	struct leaves l = sample(true);

	(void)state;
	cpuid_set_vcpu(&l.head, &c, 3);
	assert_int_equal(leaf(&l, 0x80000008, 0)->ecx & 0xff, 7);
	assert_int_equal(leaf(&l, 0x80000008, 0)->ecx >> 12 & 0xf, 3);
}

static void test_feature_names_are_found(void **state)
{
	static const struct {
		const char *name;
		uint32_t leaf;
		enum cpuid_register reg;
		unsigned int bit;
	} table[] = {
		{ "aes", 1, CPUID_ECX, 25 },	{ "avx2", 7, CPUID_EBX, 5 },
		{ "fpu", 1, CPUID_EDX, 0 },	{ "nx", 0x80000001, CPUID_EDX, 20 },
		{ "svm", 0x80000001, CPUID_ECX, 2 },
		{ "xsaveopt", 0xd, CPUID_EAX, 0 },
		{ "3dnow", 0x80000001, CPUID_EDX, 31 },
		{ "x2apic", 1, CPUID_ECX, 21 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct cpuid_feature *f =
			cpuid_feature_find(table[i].name);

		assert_non_null(f);
		assert_int_equal(f->leaf, table[i].leaf);
		assert_int_equal(f->reg, table[i].reg);
		assert_int_equal(f->bit, table[i].bit);
	}
	assert_null(cpuid_feature_find("nosuchthing"));
	assert_null(cpuid_feature_find(""));
}

static void test_saved_cpuid_comes_back(void **state)
{
	struct state_writer w = STATE_WRITER_INIT;
	struct leaves l = sample(false);
	struct kvm_cpuid2 *back;
	struct state_reader r;

	(void)state;
	cpuid_save(&l.head, &w);
	state_reader_init(&r, w.data, w.len_bytes);
	assert_int_equal(cpuid_load(&back, &r), 0);
	assert_int_equal(state_reader_finish(&r), 0);
	assert_int_equal(back->nent, l.head.nent);
	assert_memory_equal(back->entries, l.entries,
			    back->nent * sizeof(back->entries[0]));
	free(back);
	state_reader_init(&r, w.data, w.len_bytes - 1);
	assert_true(cpuid_load(&back, &r) < 0);
	state_reader_init(&r, "\xff\xff\xff\xff", 4);
	assert_true(cpuid_load(&back, &r) < 0);
	state_writer_deinit(&w);
}

static void test_saved_cpuid_missing_features_are_named(void **state)
{
	struct leaves saved = sample(false), host = sample(false);
	struct leaves other = sample(true);
	struct error e;

	(void)state;
	leaf(&host, 1, 0)->ecx = 1u << 28;
	assert_int_equal(cpuid_check(&saved.head, &host.head, &e), 0);
	/* OSXSAVE is the operating system's doing, and no feature. */
	leaf(&saved, 1, 0)->ecx = 1u << 28 | 1u << 27;
	assert_int_equal(cpuid_check(&saved.head, &host.head, &e), 0);
	leaf(&saved, 1, 0)->ecx = 1u << 28 | 1u << 26 | 1u << 25;
	assert_true(cpuid_check(&saved.head, &host.head, &e) < 0);
	assert_int_equal(e.class, ERROR_INVALID_CONFIG);
	assert_non_null(strstr(e.text, "lacks: aes xsave"));
	leaf(&saved, 1, 0)->ecx = 0;
	assert_true(cpuid_check(&saved.head, &other.head, &e) < 0);
	assert_non_null(strstr(e.text, "vendor"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_apic_ids_are_bit_fields),
		cmocka_unit_test(test_topology_leaf_has_levels_and_the_apic_id),
		cmocka_unit_test(test_single_cpu_has_no_htt),
		cmocka_unit_test(test_amd_counts_threads_in_the_package),
		cmocka_unit_test(test_feature_names_are_found),
		cmocka_unit_test(test_saved_cpuid_comes_back),
		cmocka_unit_test(test_saved_cpuid_missing_features_are_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
