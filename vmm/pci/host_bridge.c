/* SPDX-License-Identifier: MIT */
/*
 * The host bridge at 0:0.0. It has no registers of its own: systems look for
 * its class to be sure that configuration space is there. Before the vCPUs run.
 */
#include "pci/internal.h"

void pci_host_bridge_init(struct pci_function *f)
{
	/* The generic PCIe host bridge that other virtual machines have too:
	 * no driver and no quirk is bound to it. */
	static const struct pci_ids ids = {
		.vendor = 0x1b36,
		.device = 0x0008,
		.subsystem_vendor = 0x1af4,
		.subsystem = 0x1100,
		.class_code = 0x060000,
	};

	pci_function_init(f, NULL, &ids);
}
