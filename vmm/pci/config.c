/* SPDX-License-Identifier: MIT */
/*
 * Configuration space by ECAM and by the ports 0xcf8 and 0xcfc: decoding an
 * access, the write masks, and what a write sets off. Run by vCPU threads with
 * the machine lock held.
 */
#include <linux/pci_regs.h>
#include <string.h>

#include "pci/internal.h"

#define PORT_CONFIG_ADDRESS	0xcf8u
#define PORT_RANGE_BYTES	8u
#define OFFSET_RESET		1u	/* 0xcf9 */
#define OFFSET_CONFIG_DATA	4u	/* 0xcfc */

#define ADDRESS_ENABLE		0x80000000u

static void config_read(struct pci_function *f, uint32_t offset, uint8_t *data,
			unsigned int len)
{
	if (offset >= PCI_CONFIG_BYTES) {
		memset(data, 0, len);
		return;
	}
	if (f->hook_len &&
	    pci_touches(offset, len, f->hook_offset, f->hook_len))
		f->ops->config_reading(f, offset, len);
	memcpy(data, f->config + offset, len);
	if (pci_touches(offset, len, PCI_STATUS, 1) && pci_intx_pending(f))
		data[PCI_STATUS - offset] |= PCI_STATUS_INTERRUPT;
}

static void config_write(struct pci_function *f, uint32_t offset,
			 const uint8_t *data, unsigned int len)
{
	if (offset >= PCI_CONFIG_BYTES)
		return;
	for (unsigned int i = 0; i < len; i++) {
		uint8_t mask = f->writable[offset + i];
		uint8_t *byte = &f->config[offset + i];

		*byte = (uint8_t)((*byte & ~mask) | (data[i] & mask));
	}
	if (pci_touches(offset, len, PCI_COMMAND, 2) ||
	    pci_touches(offset, len, PCI_BASE_ADDRESS_0, 4 * PCI_BARS))
		pci_bars_update(f);
	if (pci_touches(offset, len, PCI_COMMAND, 2))
		pci_intx_update(f);
	if (f->msix.count &&
	    pci_touches(offset, len, f->msix.cap + PCI_MSIX_FLAGS, 2))
		pci_msix_update(f);
	if (f->ops && f->ops->config_written)
		f->ops->config_written(f, offset, len);
}

/*
 * The function that an access means and where in it, NULL when none answers.
 * An access across a double word need not be supported (PCIe 3.0, 7.2.2), and
 * so nothing here takes one.
 */
static struct pci_function *decode(struct pci *p, uint32_t bus, uint32_t devfn,
				   uint32_t offset, unsigned int len)
{
	struct pci_function *f;

	if (bus >= PCI_ROOTS || (devfn & 7) || (offset & 3) + len > 4)
		return NULL;
	f = p->functions[bus][devfn >> 3];
	return f && !f->hidden ? f : NULL;
}

/* ECAM: bus 27:20, device 19:15, function 14:12, register 11:0. */
static void ecam_read(void *opaque, uint64_t offset, uint8_t *data,
		      unsigned int len)
{
	uint32_t at = (uint32_t)offset;
	struct pci_function *f = decode(opaque, at >> 20, at >> 12 & 0xff,
					at & 0xfff, len);

	if (f)
		config_read(f, at & 0xfff, data, len);
	else
		memset(data, 0xff, len);
}

static void ecam_write(void *opaque, uint64_t offset, const uint8_t *data,
		       unsigned int len)
{
	uint32_t at = (uint32_t)offset;
	struct pci_function *f = decode(opaque, at >> 20, at >> 12 & 0xff,
					at & 0xfff, len);

	if (f)
		config_write(f, at & 0xfff, data, len);
}

static const struct bus_ops ecam_ops = {
	.read = ecam_read,
	.write = ecam_write,
};

/* PCI 3.0, 3.2.2.3.2: bus 23:16, device 15:11, function 10:8, register 7:2. */
static struct pci_function *port_decode(struct pci *p, uint64_t offset,
					unsigned int len, uint32_t *reg)
{
	uint32_t address = p->config_address;

	if (!(address & ADDRESS_ENABLE))
		return NULL;
	*reg = (address & 0xfc) | ((uint32_t)offset & 3);
	return decode(p, address >> 16 & 0xff, address >> 8 & 0xff, *reg, len);
}

static void ports_read(void *opaque, uint64_t offset, uint8_t *data,
		       unsigned int len)
{
	struct pci *p = opaque;
	struct pci_function *f;
	uint32_t reg;

	memset(data, 0xff, len);
	if (offset == 0 && len == 4) {
		bus_put_le(data, len, p->config_address);
	} else if (offset == OFFSET_RESET && len == 1) {
		if (p->reset_read)
			data[0] = p->reset_read(p->reset_opaque);
	} else if (offset >= OFFSET_CONFIG_DATA) {
		f = port_decode(p, offset, len, &reg);
		if (f)
			config_read(f, reg, data, len);
	}
}

static void ports_write(void *opaque, uint64_t offset, const uint8_t *data,
			unsigned int len)
{
	struct pci *p = opaque;
	struct pci_function *f;
	uint32_t reg;

	/* Only a double word is for the address register; anything else goes
	 * to the port it names. */
	if (offset == 0 && len == 4) {
		p->config_address = (uint32_t)bus_get_le(data, len);
	} else if (offset == OFFSET_RESET && len == 1) {
		if (p->reset_write)
			p->reset_write(p->reset_opaque, data[0]);
	} else if (offset >= OFFSET_CONFIG_DATA) {
		f = port_decode(p, offset, len, &reg);
		if (f)
			config_write(f, reg, data, len);
	}
}

static const struct bus_ops ports_ops = {
	.read = ports_read,
	.write = ports_write,
};

int pci_config_attach(struct pci *p, struct error *e)
{
	int ret;

	p->ecam = (struct bus_range){
		.base = p->windows.ecam_base,
		.len_bytes = PCI_ROOTS * PCI_ECAM_BYTES_PER_BUS,
		.ops = &ecam_ops,
		.opaque = p,
	};
	ret = bus_add(p->mmio, &p->ecam);
	if (ret)
		return error_errno(e, ret, "PCI configuration space at 0x%llx",
				   (unsigned long long)p->ecam.base);
	if (!p->pio)
		return 0;
	p->ports = (struct bus_range){
		.base = PORT_CONFIG_ADDRESS,
		.len_bytes = PORT_RANGE_BYTES,
		.ops = &ports_ops,
		.opaque = p,
	};
	ret = bus_add(p->pio, &p->ports);
	if (ret) {
		bus_remove(p->mmio, &p->ecam);
		return error_errno(e, ret, "PCI configuration port 0x%x",
				   PORT_CONFIG_ADDRESS);
	}
	return 0;
}

void pci_config_detach(struct pci *p)
{
	bus_remove(p->mmio, &p->ecam);
	if (p->pio)
		bus_remove(p->pio, &p->ports);
}
