/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of peerdma_judge share: the files of its folder in debugfs, each in a source file of its own.
 */
#ifndef PEERDMA_JUDGE_H
#define PEERDMA_JUDGE_H

#include <linux/dcache.h>
#include <linux/pci.h>

/* `matrix`: the kernel's answer for every ordered pair. Fails where the kernel's judge cannot be found. */
int judge_matrix_create(struct dentry *folder);

/* `acs`: ACS capabilities for functions that have none. */
void judge_acs_create(struct dentry *folder);
/* Gives configuration space back to the kernel as it was. */
void judge_acs_undo(void);

/* `import`: a dma-buf mapped for a device. */
void judge_import_create(struct dentry *folder);

/* Reads `DDDD:BB:DD.F` and takes a reference to that function; NULL where there is none or the text is no address. */
struct pci_dev *judge_function(const char *address);

#endif
