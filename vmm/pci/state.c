/* SPDX-License-Identifier: MIT */
/* Saving functions. Main thread, machine lock held, vCPUs stopped. */
#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "pci/internal.h"
#include "state.h"

void pci_function_save(const struct pci_function *f, struct state_writer *w)
{
	state_put_bytes(w, f->config, sizeof(f->config));
	state_put_bool(w, f->hidden);
	for (unsigned int i = 0; i < PCI_BARS; i++)
		state_put_u64(w, f->bars[i].home);
	pci_msix_save(f, w);
}

/* What the guest cannot write tells whether it is the same kind of function. */
static bool same_function(const struct pci_function *f, const uint8_t *config)
{
	for (size_t i = 0; i < PCI_CONFIG_BYTES; i++)
		if ((f->config[i] ^ config[i]) & ~f->writable[i])
			return false;
	return true;
}

int pci_function_load(struct pci_function *f, struct state_reader *r)
{
	uint8_t config[PCI_CONFIG_BYTES];
	int ret;

	state_get_bytes(r, config, sizeof(config));
	f->hidden = state_get_bool(r);
	ret = state_reader_error(r);
	if (!ret && (!same_function(f, config) || (f->hidden && f->stays)))
		ret = -EPROTO;
	for (unsigned int i = 0; !ret && i < PCI_BARS; i++) {
		uint64_t home = state_get_u64(r);

		ret = state_reader_error(r);
		if (!ret)
			ret = pci_bar_set_home(f, i, home);
	}
	if (ret)
		return ret;
	memcpy(f->config, config, sizeof(config));
	pci_bars_update(f);
	ret = pci_msix_load(f, r);
	if (!ret)
		pci_intx_update(f);
	return ret;
}

void pci_save(const struct pci *p, struct state_writer *w)
{
	state_put_u32(w, p->config_address);
}

int pci_load(struct pci *p, struct state_reader *r)
{
	p->config_address = state_get_u32(r);
	return state_reader_error(r);
}
