/* SPDX-License-Identifier: MIT */
/* Every guest-physical and port address of the x86_64 machine. */
#ifndef MOTE_LAYOUT_X86_H
#define MOTE_LAYOUT_X86_H

/* RAM: [0, 3 GiB) and from 4 GiB on. */
#define LAYOUT_LOW_RAM_END	0xc0000000ull
#define LAYOUT_HIGH_RAM		0x100000000ull

/* Below 1 MiB: what the loader puts into RAM. */
#define LAYOUT_BOOT_PARAMS	0x7000ull	/* zero page, 4 KiB */
#define LAYOUT_PVH_INFO		0x6000ull	/* hvm_start_info and its tables */
#define LAYOUT_GDT		0x500ull
#define LAYOUT_BOOT_STACK	0x8ff0ull
#define LAYOUT_PAGE_TABLES	0x9000ull	/* PML4, PDPT, 4 page directories */
#define LAYOUT_CMDLINE		0x20000ull	/* 64 KiB */
#define LAYOUT_CMDLINE_MAX	0x10000ull
#define LAYOUT_EBDA		0x9fc00ull	/* end of conventional memory */
#define LAYOUT_RSDP		0xe0000ull	/* the BIOS area, for other systems */
#define LAYOUT_ACPI_INFO	0xe0100ull	/* what the DSDT reads: boot/acpi.h */
#define LAYOUT_GENERATION	0xe0200ull	/* VM generation ID, 16 bytes */
#define LAYOUT_ACPI_TABLES	0xe1000ull
#define LAYOUT_ACPI_END		0x100000ull
#define LAYOUT_REBOOT_FLAG	0x472ull	/* BIOS data area: warm boot word */

/* MMIO, 3 GiB … 4 GiB. */
#define LAYOUT_MMIO32		0xc0000000ull
#define LAYOUT_MMIO32_LEN	0x20000000ull
#define LAYOUT_ECAM		0xe0000000ull	/* 16 buses */
#define LAYOUT_ECAM_LEN		0x1000000ull
#define LAYOUT_IOAPIC		0xfec00000ull
#define LAYOUT_LAPIC		0xfee00000ull
#define LAYOUT_GED		0xfed00000ull	/* ACPI event device registers */
#define LAYOUT_PCI_HOTPLUG	0xfed00100ull	/* in the same page */
#define LAYOUT_CPU_HOTPLUG	0xfed00200ull	/* in the same page */
#define LAYOUT_MEM_HOTPLUG	0xfed00300ull	/* in the same page */
#define LAYOUT_KVM_IDENTITY	0xfffbc000ull	/* KVM_SET_IDENTITY_MAP_ADDR */
#define LAYOUT_KVM_TSS		0xfffbd000ull	/* KVM_SET_TSS_ADDR, 3 pages */

/* 64-bit MMIO window above RAM; its place depends on the RAM's size. */
#define LAYOUT_MMIO64_ALIGN	0x40000000ull
#define LAYOUT_MMIO64_LEN	0x1000000000ull	/* 64 GiB */

/* Persistent memory: above that window, as far as addresses go. Of what is above
 * RAM the window has at most half. */

/* Ports. */
#define LAYOUT_PORT_RTC		0x70
#define LAYOUT_PORT_I8042	0x60	/* data 0x60, command 0x64 */
#define LAYOUT_PORT_EXIT	0xf4	/* --exit-port */
#define LAYOUT_PORT_SERIAL	0x3f8
#define LAYOUT_PORT_PVPANIC	0x505
#define LAYOUT_PORT_SLEEP	0x600	/* ACPI sleep control, status */
#define LAYOUT_PORT_RESET	0xcf9	/* among PCI's, 0xcf8 … 0xcff: pci/config.c */

/* I/O APIC pins. */
#define LAYOUT_GSI_SERIAL	4
#define LAYOUT_GSI_GED		9
#define LAYOUT_GSI_INTX		16	/* 16 … 19 */
#define LAYOUT_GSI_MSI		24	/* first of the MSI routes */

#endif
