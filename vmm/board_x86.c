/* SPDX-License-Identifier: MIT */
/* The x86_64 board. Main thread; registers run on vCPU threads. */
#include "board.h"

#include <errno.h>
#include <stdlib.h>

#include "boot/acpi.h"
#include "dimms.h"
#include "hot_memory.h"
#include "layout_x86.h"
#include "platform/ged.h"
#include "platform/generation.h"
#include "platform/pvpanic.h"
#include "platform/reset.h"
#include "platform/rtc.h"
#include "platform/serial.h"
#include "state.h"

struct board {
	struct board_params p;
	struct irq_line serial_line;
	struct serial *serial;
	struct rtc *rtc;
	struct reset_dev *reset;
	struct pvpanic *pvpanic;
	struct ged *ged;
	struct generation generation;
	struct pci_hotplug *pci_hotplug;
	struct hotplug *cpu_hotplug;		/* NULL: none can come */
	struct hotplug *mem_hotplug;		/* the same */
	struct pci *pci;
	gpa_t hot_memory_base, dimms_base;
	uint64_t dimms_bytes;
	gpa_t pmem_base;
	uint64_t pmem_bytes;
};

#define MMIO64_MIN_LEN 0x40000000ull

/* Of a processor's 256 vectors Linux has about 200 for devices, and the lines
 * of the I/O APIC need some of those. */
#define MSIX_VECTORS_PER_CPU 176

unsigned int board_ram_ranges(uint64_t size_bytes, struct ram_range *ranges)
{
	ranges[0] = (struct ram_range){ 0, size_bytes };
	if (size_bytes <= LAYOUT_LOW_RAM_END)
		return 1;
	ranges[0].len_bytes = LAYOUT_LOW_RAM_END;
	ranges[1] = (struct ram_range){
		LAYOUT_HIGH_RAM, size_bytes - LAYOUT_LOW_RAM_END,
	};
	return 2;
}

/* Of the addresses above RAM, those of the PCI window. */
static uint64_t mmio64_bytes(uint64_t available)
{
	uint64_t half = available / 2 & ~(LAYOUT_MMIO64_ALIGN - 1);

	if (half > LAYOUT_MMIO64_LEN)
		return LAYOUT_MMIO64_LEN;
	return half ? half : MMIO64_MIN_LEN;
}

/* Where addresses are few, at most half of them: virtio-mem has had its part. */
static void place_dimms(struct board *b, gpa_t base, gpa_t limit)
{
	uint64_t room = dimms_room_bytes(&b->p.config->memory);
	uint64_t half = base < limit ? (limit - base) / 2 : 0;

	b->dimms_base = base;
	b->dimms_bytes = room <= half ? room :
					half & ~(LAYOUT_MMIO64_ALIGN - 1);
}

/* Above all RAM, within the guest's physical address width: room for memory to
 * come, the PCI window, then persistent memory. */
static int place_windows(struct board *b, struct pci_windows *w,
			 struct error *e)
{
	const struct board_params *p = &b->p;
	struct ram_range ranges[RAM_MAX_RANGES];
	uint64_t size = p->config->memory.size_bytes;
	uint64_t most = size + hot_memory_room_bytes(&p->config->memory);
	unsigned int bits = vcpu_model_phys_bits(p->model);
	uint64_t limit = bits < 64 ? 1ull << bits : ~0ull;
	unsigned int n = board_ram_ranges(size, ranges);
	uint64_t end = ranges[n - 1].base + ranges[n - 1].len_bytes;

	if (end < LAYOUT_HIGH_RAM)
		end = LAYOUT_HIGH_RAM;
	end = (end + LAYOUT_MMIO64_ALIGN - 1) & ~(LAYOUT_MMIO64_ALIGN - 1);
	b->hot_memory_base = end;
	end += hot_memory_room_bytes(&p->config->memory);
	end = (end + LAYOUT_MMIO64_ALIGN - 1) & ~(LAYOUT_MMIO64_ALIGN - 1);
	place_dimms(b, end, limit);
	end = b->dimms_base + b->dimms_bytes;
	end = (end + LAYOUT_MMIO64_ALIGN - 1) & ~(LAYOUT_MMIO64_ALIGN - 1);
	if (end > limit || limit - end < MMIO64_MIN_LEN)
		return error_config(e, -EINVAL, "--memory: %llu MiB do not fit "
				    "the guest's %u physical address bits",
				    (unsigned long long)(most >> 20), bits);
	*w = (struct pci_windows){
		.ecam_base = LAYOUT_ECAM,
		.mmio32_base = LAYOUT_MMIO32,
		.mmio32_len = LAYOUT_MMIO32_LEN,
		.mmio64_base = end,
		.mmio64_len = mmio64_bytes(limit - end),
	};
	b->pmem_base = end + w->mmio64_len;
	b->pmem_bytes = limit - b->pmem_base;
	for (uint32_t pin = 0; pin < 4; pin++)
		w->intx_gsi[pin] = LAYOUT_GSI_INTX + pin;
	return 0;
}

static uint8_t read_cf9(void *opaque)
{
	return reset_cf9_read(opaque);
}

static void write_cf9(void *opaque, uint8_t value)
{
	reset_cf9_write(opaque, value);
}

static int create_serial(struct board *b, struct error *e)
{
	struct serial_params s = {
		.pio = b->p.pio,
		.port = LAYOUT_PORT_SERIAL,
		.irq = &b->serial_line,
		.chr = b->p.serial,
		.machine_lock = b->p.machine_lock,
	};
	int ret;

	if (!b->p.serial)
		return 0;
	ret = irq_line_init(&b->serial_line, b->p.irq, LAYOUT_GSI_SERIAL,
			    false, e);
	return ret ? ret : serial_create(&b->serial, &s, e);
}

static int create_platform(struct board *b, struct error *e)
{
	const struct board_params *p = &b->p;
	int ret = create_serial(b, e);

	if (!ret)
		ret = generation_init(&b->generation, e);
	if (!ret)
		ret = rtc_create(&b->rtc, p->pio, LAYOUT_PORT_RTC, NULL, NULL,
				 e);
	if (!ret)
		ret = reset_create(&b->reset, p->pio, &p->owner,
				   p->config->exit_port, e);
	if (!ret)
		ret = pvpanic_create(&b->pvpanic, p->pio, LAYOUT_PORT_PVPANIC,
				     &p->owner, e);
	if (!ret)
		ret = ged_create(&b->ged, p->mmio, LAYOUT_GED, p->irq,
				 LAYOUT_GSI_GED, p->loop, e);
	if (!ret)
		ret = pci_hotplug_create(&b->pci_hotplug, p->mmio,
					 LAYOUT_PCI_HOTPLUG, b->ged, &p->eject,
					 e);
	if (!ret && p->config->cpus.max > p->config->cpus.count)
		ret = hotplug_create(&b->cpu_hotplug, HOTPLUG_CPUS, p->mmio,
				     LAYOUT_CPU_HOTPLUG, b->ged,
				     p->config->cpus.count, &p->cpu_owner, e);
	/* Even when nobody can plug any: a saved VM's guest may know them. */
	if (!ret && dimms_slots(&p->config->memory))
		ret = hotplug_create(&b->mem_hotplug, HOTPLUG_DIMMS, p->mmio,
				     LAYOUT_MEM_HOTPLUG, b->ged, 0,
				     &p->dimm_owner, e);
	return ret;
}

int board_create(struct board **out, const struct board_params *p,
		 struct error *e)
{
	struct board *b = calloc(1, sizeof(*b));
	struct pci_windows windows;
	int ret;

	if (!b)
		return error_set(e, -ENOMEM, "out of memory");
	b->p = *p;
	b->serial_line = (struct irq_line)IRQ_LINE_INIT;
	ret = place_windows(b, &windows, e);
	if (!ret)
		ret = create_platform(b, e);
	if (!ret)
		ret = pci_create(&b->pci, p->mmio, p->pio, p->irq, p->loop,
				 &windows, e);
	if (ret) {
		board_destroy(b);
		return ret;
	}
	pci_set_reset_port(b->pci, read_cf9, write_cf9, b->reset);
	pci_set_vector_room(b->pci, MSIX_VECTORS_PER_CPU,
			    p->config->cpus.count);
	*out = b;
	return 0;
}

void board_destroy(struct board *b)
{
	if (!b)
		return;
	pci_destroy(b->pci);
	hotplug_destroy(b->mem_hotplug);
	hotplug_destroy(b->cpu_hotplug);
	pci_hotplug_destroy(b->pci_hotplug);
	ged_destroy(b->ged);
	pvpanic_destroy(b->pvpanic);
	reset_destroy(b->reset);
	rtc_destroy(b->rtc);
	serial_destroy(b->serial);
	irq_line_deinit(&b->serial_line);
	free(b);
}

struct pci *board_pci(struct board *b)
{
	return b->pci;
}

gpa_t board_hot_memory_base(const struct board *b)
{
	return b->hot_memory_base;
}

void board_dimms_area(const struct board *b, gpa_t *base, uint64_t *len_bytes)
{
	*base = b->dimms_base;
	*len_bytes = b->dimms_bytes;
}

void board_pmem_area(const struct board *b, gpa_t *base, uint64_t *len_bytes)
{
	*base = b->pmem_base;
	*len_bytes = b->pmem_bytes;
}

struct pci_hotplug *board_pci_hotplug(struct board *b)
{
	return b->pci_hotplug;
}

struct hotplug *board_cpu_hotplug(struct board *b)
{
	return b->cpu_hotplug;
}

struct hotplug *board_mem_hotplug(struct board *b)
{
	return b->mem_hotplug;
}

/*
 * Every console that goes somewhere; the last is the guest's /dev/console: the
 * user's terminal, or else the virtio one.
 */
int board_cmdline(const struct vm_config *c, struct cmdline *line)
{
	bool serial = c->serial.kind != CHAR_NONE && c->serial.kind != CHAR_NULL;
	bool hvc = c->console.kind != CHAR_NONE && c->console.kind != CHAR_NULL;
	bool serial_last = c->serial.kind == CHAR_STDIO;
	int ret = 0;

	if (serial && !serial_last)
		ret = cmdline_append(line, "console=ttyS0");
	if (!ret && hvc)
		ret = cmdline_append(line, "console=hvc0");
	if (!ret && serial && serial_last)
		ret = cmdline_append(line, "console=ttyS0");
	/*
	 * The word at 0x472 tells a reset after a panic from another one:
	 * Linux writes 0x1234 for a warm reboot (arch/x86/kernel/reboot.c).
	 */
	if (!ret)
		ret = cmdline_append(line, "panic=1 reboot=panic_warm");
	return ret;
}

static int build_acpi(struct board *b, gpa_t *rsdp, struct error *e)
{
	const struct config_cpus *cpus = &b->p.config->cpus;
	uint32_t apic_ids[CONFIG_MAX_CPUS];
	bool present[CONFIG_MAX_CPUS];
	struct acpi_params a = {
		.apic_ids = apic_ids,
		.present = present,
		.cpu_hotplug = b->cpu_hotplug,
		.max_cpus = cpus->max,
		.root_buses = pci_roots_in_use(b->pci),
		.last_bus = PCI_ROOTS - 1,
		.serial = b->serial,
		.pvpanic = true,
		.hotplug = b->p.hotplug,
		.dimm_slots = b->p.hotplug ?
				      dimms_slots(&b->p.config->memory) : 0,
	};

	for (unsigned int i = 0; i < cpus->max; i++) {
		apic_ids[i] = (uint32_t)vcpu_model_id(b->p.model, i);
		present[i] = b->cpu_hotplug ?
				     hotplug_present(b->cpu_hotplug, i) :
				     true;
	}
	pci_root_window32(b->pci, 0, &a.mmio32_base, &a.mmio32_per_bus);
	pci_root_window64(b->pci, 0, &a.mmio64_base, &a.mmio64_per_bus);
	return acpi_build(&a, b->p.mem, rsdp, e);
}

int board_update_tables(struct board *b, struct error *e)
{
	gpa_t rsdp;

	pci_hotplug_reset(b->pci_hotplug);
	if (b->cpu_hotplug)
		hotplug_reset(b->cpu_hotplug);
	if (b->mem_hotplug)
		hotplug_reset(b->mem_hotplug);
	return build_acpi(b, &rsdp, e);
}

/* The whole map, in address order; returns the number of entries. */
static size_t memory_map(struct board *b, struct boot_memory *map)
{
	struct ram_range ranges[RAM_MAX_RANGES];
	unsigned int count = board_ram_ranges(b->p.config->memory.size_bytes,
					      ranges);
	size_t n = 0;

	map[n++] = (struct boot_memory){ 0, LAYOUT_EBDA, BOOT_RAM };
	map[n++] = (struct boot_memory){
		LAYOUT_EBDA, 0x100000 - LAYOUT_EBDA, BOOT_RESERVED,
	};
	map[n++] = (struct boot_memory){
		0x100000, ranges[0].len_bytes - 0x100000, BOOT_RAM,
	};
	map[n++] = (struct boot_memory){
		LAYOUT_ECAM, LAYOUT_ECAM_LEN, BOOT_RESERVED,
	};
	map[n++] = (struct boot_memory){
		LAYOUT_KVM_IDENTITY, LAYOUT_HIGH_RAM - LAYOUT_KVM_IDENTITY,
		BOOT_RESERVED,
	};
	for (unsigned int i = 1; i < count; i++)
		map[n++] = (struct boot_memory){
			ranges[i].base, ranges[i].len_bytes, BOOT_RAM,
		};
	return n;
}

int board_load(struct board *b, struct boot_image *image,
	       const struct cmdline *line, bool map_private,
	       struct boot_entry *entry, struct error *e)
{
	struct boot_memory map[8];
	struct boot_load_params p = {
		.mem = b->p.mem,
		.map = map,
		.map_count = memory_map(b, map),
		.cmdline = line->text ? line->text : "",
		.map_private = map_private,
	};
	int ret = build_acpi(b, &p.rsdp, e);

	if (!ret)
		ret = generation_write(&b->generation, b->p.mem,
				       LAYOUT_GENERATION, e);
	return ret ? ret : boot_load(image, &p, entry, e);
}

void board_reset(struct board *b)
{
	if (b->serial)
		serial_reset(b->serial);
	rtc_reset(b->rtc);
	reset_reset(b->reset);
	ged_reset(b->ged);
	pci_reset(b->pci);
	pci_hotplug_reset(b->pci_hotplug);
	if (b->cpu_hotplug)
		hotplug_reset(b->cpu_hotplug);
	if (b->mem_hotplug)
		hotplug_reset(b->mem_hotplug);
}

void board_power_button(struct board *b)
{
	ged_raise(b->ged, GED_POWER_BUTTON);
}

bool board_reset_after_panic(struct board *b)
{
	uint16_t word = 0, zero = 0;

	guest_mem_read(b->p.mem, LAYOUT_REBOOT_FLAG, &word, sizeof(word));
	guest_mem_write(b->p.mem, LAYOUT_REBOOT_FLAG, &zero, sizeof(zero));
	return word == 0x1234;
}

void board_save(const struct board *b, struct state_writer *w)
{
	state_put_bool(w, b->serial != NULL);
	if (b->serial)
		serial_save(b->serial, w);
	rtc_save(b->rtc, w);
	reset_save(b->reset, w);
	pci_save(b->pci, w);
	pci_hotplug_save(b->pci_hotplug, w);
	ged_save(b->ged, w);
	state_put_bool(w, b->cpu_hotplug != NULL);
	if (b->cpu_hotplug)
		hotplug_save(b->cpu_hotplug, w);
	state_put_bool(w, b->mem_hotplug != NULL);
	if (b->mem_hotplug)
		hotplug_save(b->mem_hotplug, w);
}

int board_load_state(struct board *b, struct state_reader *r, struct error *e)
{
	bool serial = state_get_bool(r);
	int ret = state_reader_error(r);

	if (!ret && serial != (b->serial != NULL))
		return error_config(e, -EINVAL, "--serial: the saved VM has %s "
				    "serial port", serial ? "a" : "no");
	if (!ret && serial)
		ret = serial_load(b->serial, r);
	if (!ret)
		ret = rtc_load(b->rtc, r);
	if (!ret)
		ret = reset_load(b->reset, r);
	if (!ret)
		ret = pci_load(b->pci, r);
	if (!ret)
		ret = pci_hotplug_load(b->pci_hotplug, r);
	if (!ret)
		ret = ged_load(b->ged, r);
	if (!ret && state_get_bool(r) != (b->cpu_hotplug != NULL))
		ret = -EPROTO;
	if (!ret && b->cpu_hotplug)
		ret = hotplug_load(b->cpu_hotplug, r);
	if (!ret && state_get_bool(r) != (b->mem_hotplug != NULL))
		ret = -EPROTO;
	if (!ret && b->mem_hotplug)
		ret = hotplug_load(b->mem_hotplug, r);
	if (!ret)
		ret = state_reader_finish(r);
	if (ret)
		return error_errno(e, ret, "malformed");
	/* Another VM from here on. */
	ret = generation_write(&b->generation, b->p.mem, LAYOUT_GENERATION, e);
	if (!ret)
		ged_raise(b->ged, GED_GENERATION);
	return ret;
}
