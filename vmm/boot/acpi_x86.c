/* SPDX-License-Identifier: MIT */
/* ACPI tables of the x86_64 machine. Main thread. */
#include "boot/acpi.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "boot/acpi_cpus_x86.h"
#include "boot/acpi_dimms.h"
#include "dsdt.hex"
#include "layout_x86.h"
#include "pci_bus.hex"

#define PACKED __attribute__((packed))

/* The INFO region of dsdt.asl. */
struct PACKED acpi_info {
	uint32_t root_buses;
	uint32_t mmio32_base, mmio32_per_bus;
	uint32_t devices;
	uint64_t mmio64_base, mmio64_per_bus;
	uint32_t bus_tables, bus_table_bytes;
};

struct PACKED header {			/* 5.2.6 */
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem_id[6], oem_table_id[8];
	uint32_t oem_revision;
	char creator_id[4];
	uint32_t creator_revision;
};

struct PACKED address {			/* 5.2.3.2 */
	uint8_t space, bits, offset, access;
	uint64_t address;
};

#define SPACE_IO 1

struct PACKED rsdp {			/* 5.2.5.3 */
	char signature[8];
	uint8_t checksum;
	char oem_id[6];
	uint8_t revision;
	uint32_t rsdt;
	uint32_t length;
	uint64_t xsdt;
	uint8_t extended_checksum, reserved[3];
};

struct PACKED fadt {			/* 5.2.9 */
	struct header h;
	uint32_t facs, dsdt;
	uint8_t reserved0, profile;
	uint16_t sci;
	uint8_t legacy[109 - 48];
	uint16_t boot_arch;
	uint8_t reserved1;
	uint32_t flags;
	struct address reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct address fixed[8];
	struct address sleep_control, sleep_status;
	uint64_t hypervisor;
};

_Static_assert(offsetof(struct fadt, boot_arch) == 109, "FADT layout");
_Static_assert(sizeof(struct fadt) == 276, "FADT size");

#define FADT_WBINVD		(1u << 0)
#define FADT_PROC_C1		(1u << 2)
#define FADT_PWR_BUTTON		(1u << 4)	/* control method, not fixed */
#define FADT_SLP_BUTTON		(1u << 5)
#define FADT_RESET_REG_SUP	(1u << 10)
#define FADT_HW_REDUCED		(1u << 20)
#define BOOT_ARCH_NO_VGA	(1u << 2)
#define BOOT_ARCH_NO_ASPM	(1u << 4)

struct PACKED madt {			/* 5.2.12 */
	struct header h;
	uint32_t lapic;
	uint32_t flags;
};

struct PACKED madt_lapic {		/* 5.2.12.2 */
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
};

struct PACKED madt_ioapic {		/* 5.2.12.3 */
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
};

struct PACKED madt_nmi {		/* 5.2.12.7 */
	uint8_t type, length, uid;
	uint16_t flags;
	uint8_t lint;
};

struct PACKED mcfg {			/* PCI Firmware 3.2, 4.1.2 */
	struct header h;
	uint64_t reserved0;
	uint64_t base;
	uint16_t segment;
	uint8_t first_bus, last_bus;
	uint32_t reserved1;
};

#define MAX_BUSES	16

struct PACKED xsdt {
	struct header h;
	uint64_t tables[3 + MAX_BUSES + 2];
};

static uint8_t checksum(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint8_t sum = 0;

	while (len--)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

static void finish(struct header *h, const char *signature, uint8_t revision,
		   size_t len)
{
	memcpy(h->signature, signature, 4);
	h->length = (uint32_t)len;
	h->revision = revision;
	memcpy(h->oem_id, "MOTE  ", 6);
	memcpy(h->oem_table_id, "MOTE    ", 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "MOTE", 4);
	h->creator_revision = 1;
	h->checksum = 0;
	h->checksum = checksum(h, len);
}

/* Where the next table goes. */
struct area {
	struct guest_mem *mem;
	gpa_t next;
};

/* Copies a table in; its address, or 0 when there is no room. */
static gpa_t place(struct area *a, const void *table, size_t len)
{
	gpa_t at = a->next;

	if (len > LAYOUT_ACPI_END - at || guest_mem_write(a->mem, at, table, len))
		return 0;
	a->next = (at + len + 15) & ~15ull;
	return at;
}

static gpa_t place_fadt(struct area *a, gpa_t dsdt)
{
	struct fadt t = {
		.boot_arch = BOOT_ARCH_NO_VGA | BOOT_ARCH_NO_ASPM,
		.flags = FADT_WBINVD | FADT_PROC_C1 | FADT_PWR_BUTTON |
			 FADT_SLP_BUTTON | FADT_RESET_REG_SUP | FADT_HW_REDUCED,
		.reset = { SPACE_IO, 8, 0, 1, LAYOUT_PORT_RESET },
		.reset_value = 6,
		.minor = 4,
		.x_dsdt = dsdt,
		.sleep_control = { SPACE_IO, 8, 0, 1, LAYOUT_PORT_SLEEP },
		.sleep_status = { SPACE_IO, 8, 0, 1, LAYOUT_PORT_SLEEP + 1 },
	};

	memcpy(&t.hypervisor, "MOTE", 4);
	finish(&t.h, "FACP", 6, sizeof(t));
	return place(a, &t, sizeof(t));
}

static gpa_t place_madt(struct area *a, const struct acpi_params *p)
{
	size_t len = sizeof(struct madt) +
		     p->max_cpus * sizeof(struct madt_lapic) +
		     sizeof(struct madt_ioapic) + sizeof(struct madt_nmi);
	struct madt *t = calloc(1, len);
	struct madt_lapic *lapic;
	struct madt_ioapic *ioapic;
	gpa_t at;

	if (!t)
		return 0;
	t->lapic = LAYOUT_LAPIC;
	lapic = (struct madt_lapic *)(t + 1);
	for (unsigned int i = 0; i < p->max_cpus; i++)
		*lapic++ = (struct madt_lapic){
			.type = 0, .length = sizeof(*lapic),
			.uid = (uint8_t)i, .apic_id = (uint8_t)p->apic_ids[i],
			.flags = p->present[i] ? 1 : 2, /* online capable */
		};
	ioapic = (struct madt_ioapic *)lapic;
	*ioapic++ = (struct madt_ioapic){
		.type = 1, .length = sizeof(*ioapic), .address = LAYOUT_IOAPIC,
	};
	*(struct madt_nmi *)ioapic = (struct madt_nmi){
		.type = 4, .length = sizeof(struct madt_nmi), .uid = 0xff,
		.lint = 1,
	};
	finish(&t->h, "APIC", 5, len);
	at = place(a, t, len);
	free(t);
	return at;
}

static gpa_t place_mcfg(struct area *a, const struct acpi_params *p)
{
	struct mcfg t = {
		.base = LAYOUT_ECAM, .last_bus = (uint8_t)p->last_bus,
	};

	finish(&t.h, "MCFG", 1, sizeof(t));
	return place(a, &t, sizeof(t));
}

static void put_word(uint8_t *at, unsigned int value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
}

/* As far as the next multiple of 16, as place() does. */
#define BUS_TABLE_BYTES ((sizeof(pci_bus_aml_code) + 15) & ~15ul)

/*
 * pci_bus.asl as the table of one bus: every PCIX and SLTX gets its digit, BUSN
 * its number, and each slot, whose _SUN is a word, one of its own.
 */
static gpa_t place_bus(struct area *a, unsigned int bus)
{
	uint8_t t[BUS_TABLE_BYTES] = { 0 };
	struct header *h = (struct header *)t;

	memcpy(t, pci_bus_aml_code, sizeof(pci_bus_aml_code));
	for (size_t i = sizeof(*h); i + 7 <= sizeof(pci_bus_aml_code); i++) {
		if (!memcmp(t + i, "PCIX", 4) || !memcmp(t + i, "SLTX", 4))
			t[i + 3] = (uint8_t)"0123456789ABCDEF"[bus];
		else if (!memcmp(t + i, "BUSN\x0a\xee", 6))
			t[i + 5] = (uint8_t)bus;
		else if (!memcmp(t + i, "_SUN\x0b", 5))
			put_word(t + i + 5, bus * 32 + t[i + 5]);
	}
	h->checksum = 0;
	h->checksum = checksum(t, h->length);
	return place(a, t, sizeof(t));
}

/*
 * The slots of all buses, one after the other: those in use belong to the
 * system from the start, the others wait for its Load(). *buses is where they
 * are, 0 without hot-plug. Returns how many tables it added to list, -ENOSPC.
 */
static int place_buses(struct area *a, const struct acpi_params *p,
		       struct xsdt *list, gpa_t *buses)
{
	int n = 0;

	*buses = 0;
	for (unsigned int bus = 0; p->hotplug && bus < MAX_BUSES; bus++) {
		gpa_t at = place_bus(a, bus);

		if (!at)
			return -ENOSPC;
		if (!bus)
			*buses = at;
		if (p->root_buses >> bus & 1)
			list->tables[3 + n++] = at;
	}
	return n;
}

/* An SSDT with room for its body, which is written after its header. */
static struct header *new_ssdt(size_t room)
{
	return calloc(1, sizeof(struct header) + room);
}

/* The next of the list; frees it. As place_buses(). */
static int place_ssdt(struct area *a, struct header *t, size_t body_len,
		      const char *name, struct xsdt *list, int n)
{
	size_t len = sizeof(*t) + body_len;

	finish(t, "SSDT", 2, len);
	memcpy(t->oem_table_id, name, sizeof(t->oem_table_id));
	t->checksum = 0;
	t->checksum = checksum(t, len);
	list->tables[3 + n] = place(a, t, len);
	free(t);
	return list->tables[3 + n] ? n + 1 : -ENOSPC;
}

/* The processors' own table, when they can come and go. */
static int place_cpus(struct area *a, const struct acpi_params *p,
		      struct xsdt *list, int n)
{
	struct header *t;
	size_t len;

	if (!p->cpu_hotplug || n < 0)
		return n;
	t = new_ssdt(ACPI_CPUS_AML_MAX(p->max_cpus));
	if (!t)
		return -ENOMEM;
	len = acpi_cpus_aml((uint8_t *)(t + 1), p->apic_ids, p->max_cpus);
	return place_ssdt(a, t, len, "MOTECPUS", list, n);
}

static int place_dimms(struct area *a, const struct acpi_params *p,
		       struct xsdt *list, int n)
{
	struct header *t;
	size_t len;

	if (!p->dimm_slots || n < 0)
		return n;
	t = new_ssdt(ACPI_DIMMS_AML_MAX(p->dimm_slots));
	if (!t)
		return -ENOMEM;
	len = acpi_dimms_aml((uint8_t *)(t + 1), p->dimm_slots);
	return place_ssdt(a, t, len, "MOTEDIMM", list, n);
}

static int write_info(const struct acpi_params *p, struct guest_mem *mem,
		      gpa_t buses)
{
	struct acpi_info info = {
		.root_buses = p->root_buses,
		.mmio32_base = (uint32_t)p->mmio32_base,
		.mmio32_per_bus = (uint32_t)p->mmio32_per_bus,
		.devices = (p->serial ? 1u : 0u) | (p->pvpanic ? 2u : 0u),
		.mmio64_base = p->mmio64_base,
		.mmio64_per_bus = p->mmio64_per_bus,
		.bus_tables = (uint32_t)buses,
		.bus_table_bytes = BUS_TABLE_BYTES,
	};

	return guest_mem_write(mem, LAYOUT_ACPI_INFO, &info, sizeof(info));
}

static int write_rsdp(struct guest_mem *mem, gpa_t xsdt)
{
	struct rsdp r = { .revision = 2, .length = sizeof(r), .xsdt = xsdt };

	memcpy(r.signature, "RSD PTR ", 8);
	memcpy(r.oem_id, "MOTE  ", 6);
	r.checksum = checksum(&r, 20);
	r.extended_checksum = checksum(&r, sizeof(r));
	return guest_mem_write(mem, LAYOUT_RSDP, &r, sizeof(r));
}

int acpi_build(const struct acpi_params *p, struct guest_mem *mem,
	       gpa_t *rsdp, struct error *e)
{
	struct area a = { .mem = mem, .next = LAYOUT_ACPI_TABLES };
	struct xsdt t = { 0 };
	gpa_t dsdt, xsdt, buses;
	int extra;

	dsdt = place(&a, dsdt_aml_code, sizeof(dsdt_aml_code));
	t.tables[0] = place_fadt(&a, dsdt);
	t.tables[1] = place_madt(&a, p);
	t.tables[2] = place_mcfg(&a, p);
	extra = place_cpus(&a, p, &t, place_buses(&a, p, &t, &buses));
	extra = place_dimms(&a, p, &t, extra);
	if (extra < 0)
		goto no_room;
	finish(&t.h, "XSDT", 1, offsetof(struct xsdt, tables) +
				(3 + (size_t)extra) * sizeof(t.tables[0]));
	xsdt = place(&a, &t, t.h.length);
	if (!dsdt || !t.tables[0] || !t.tables[1] || !t.tables[2] || !xsdt ||
	    write_info(p, mem, buses) || write_rsdp(mem, xsdt))
		goto no_room;
	*rsdp = LAYOUT_RSDP;
	return 0;

no_room:
	return error_set(e, -ENOSPC, "no room for the ACPI tables");
}
