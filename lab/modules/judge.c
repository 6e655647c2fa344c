// SPDX-License-Identifier: GPL-2.0
/*
 * peerdma_judge: what this kernel thinks of peer-to-peer DMA, for the lab to compare with.
 *
 * Everything is in /sys/kernel/debug/peerdma_judge; README.md says what its files take and give.
 */
#include <linux/debugfs.h>
#include <linux/module.h>

#include "judge.h"

static struct dentry *folder;

struct pci_dev *judge_function(const char *address)
{
	unsigned int domain, bus, device, function;
	char rest;

	if (sscanf(address, "%x:%x:%x.%x%c", &domain, &bus, &device, &function, &rest) != 4)
		return NULL;
	if (bus > 255 || device > 31 || function > 7)
		return NULL;
	return pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(device, function));
}

static int __init judge_init(void)
{
	int error;

	folder = debugfs_create_dir("peerdma_judge", NULL);
	if (IS_ERR(folder))
		return PTR_ERR(folder);
	error = judge_matrix_create(folder);
	if (error) {
		debugfs_remove(folder);
		return error;
	}
	judge_acs_create(folder);
	judge_import_create(folder);
	return 0;
}

static void __exit judge_exit(void)
{
	debugfs_remove(folder);
	judge_acs_undo();
}

module_init(judge_init);
module_exit(judge_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("What this kernel thinks of peer-to-peer DMA between PCI functions");
MODULE_IMPORT_NS("DMA_BUF");
