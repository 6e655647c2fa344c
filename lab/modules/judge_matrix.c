// SPDX-License-Identifier: GPL-2.0
/*
 * `matrix`: for every ordered pair of PCI functions, sorted by address, one line
 *
 *	provider client distance map_type raw_distance
 *
 * `distance` is what pci_p2pdma_distance_many() returns, -1 where it refuses. Map type and `raw_distance` come from
 * calc_map_type_and_dist(), the function that decides, which is not exported: a kprobe finds it. Neither of the two
 * reads the cache of map types, so that each line is what holds at the moment it is read.
 *
 * `first_domain`: functions of lower domains are left out; 0 unless written.
 */
#include <linux/debugfs.h>
#include <linux/kprobes.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/seq_file.h>
#include <linux/sort.h>
#include <linux/vmalloc.h>

#include "judge.h"

typedef enum pci_p2pdma_map_type (*decide_t)(struct pci_dev *provider, struct pci_dev *client, int *distance,
					     bool verbose);

static decide_t decide;
static u32 first_domain;

/* The functions that an open file is about, with a reference to each. */
struct functions {
	size_t count;
	struct pci_dev *at[];
};

static const char *map_type_name(enum pci_p2pdma_map_type type)
{
	switch (type) {
	case PCI_P2PDMA_MAP_NONE:
		return "NONE";
	case PCI_P2PDMA_MAP_NOT_SUPPORTED:
		return "NOT_SUPPORTED";
	case PCI_P2PDMA_MAP_BUS_ADDR:
		return "BUS_ADDR";
	case PCI_P2PDMA_MAP_THRU_HOST_BRIDGE:
		return "THRU_HOST_BRIDGE";
	default:
		return "UNKNOWN";
	}
}

/* A line is found by its number alone, so that the file needs no memory of its own however long it is. */
static void *line(struct functions *functions, loff_t number)
{
	u64 lines = (u64)functions->count * functions->count;

	return number < lines ? (void *)(uintptr_t)(number + 1) : NULL;
}

/* No function comes or goes while lines are made, a buffer of them at a time. */
static void *matrix_start(struct seq_file *file, loff_t *number)
{
	pci_lock_rescan_remove();
	return line(file->private, *number);
}

static void *matrix_next(struct seq_file *file, void *unused, loff_t *number)
{
	return line(file->private, ++*number);
}

static void matrix_stop(struct seq_file *file, void *unused)
{
	pci_unlock_rescan_remove();
}

static int matrix_show(struct seq_file *file, void *line)
{
	struct functions *functions = file->private;
	size_t number = (uintptr_t)line - 1;
	struct pci_dev *provider = functions->at[number / functions->count];
	struct pci_dev *client = functions->at[number % functions->count];
	struct device *clients[] = { &client->dev };
	enum pci_p2pdma_map_type type;
	int distance, raw_distance;

	/* Removed since the file was opened. */
	if (!device_is_registered(&provider->dev) || !device_is_registered(&client->dev))
		return SEQ_SKIP;
	type = decide(provider, client, &raw_distance, false);
	distance = pci_p2pdma_distance_many(provider, clients, 1, false);
	seq_printf(file, "%s %s %d %s %d\n", pci_name(provider), pci_name(client), distance, map_type_name(type),
		   raw_distance);
	return 0;
}

static const struct seq_operations matrix_lines = {
	.start = matrix_start,
	.next = matrix_next,
	.stop = matrix_stop,
	.show = matrix_show,
};

static void put_functions(struct functions *functions)
{
	size_t index;

	for (index = 0; index < functions->count; index++)
		pci_dev_put(functions->at[index]);
	kvfree(functions);
}

static int by_address(const void *left, const void *right)
{
	const struct pci_dev *a = *(struct pci_dev *const *)left, *b = *(struct pci_dev *const *)right;
	u64 at_a = (u64)pci_domain_nr(a->bus) << 16 | PCI_DEVID(a->bus->number, a->devfn);
	u64 at_b = (u64)pci_domain_nr(b->bus) << 16 | PCI_DEVID(b->bus->number, b->devfn);

	return at_a < at_b ? -1 : at_a > at_b;
}

static bool is_asked_for(struct pci_dev *function)
{
	return pci_domain_nr(function->bus) >= READ_ONCE(first_domain);
}

static struct functions *get_functions(void)
{
	struct pci_dev *function = NULL;
	struct functions *functions;
	size_t room = 0;

	pci_lock_rescan_remove();
	for_each_pci_dev(function)
		room++;
	functions = kvzalloc(struct_size(functions, at, room), GFP_KERNEL);
	if (functions)
		for_each_pci_dev(function)
			if (functions->count < room && is_asked_for(function))
				functions->at[functions->count++] = pci_dev_get(function);
	pci_unlock_rescan_remove();
	if (functions)
		sort(functions->at, functions->count, sizeof(functions->at[0]), by_address, NULL);
	return functions;
}

static int matrix_open(struct inode *inode, struct file *file)
{
	struct functions *functions = get_functions();
	int error;

	if (!functions)
		return -ENOMEM;
	error = seq_open(file, &matrix_lines);
	if (error)
		put_functions(functions);
	else
		((struct seq_file *)file->private_data)->private = functions;
	return error;
}

static int matrix_release(struct inode *inode, struct file *file)
{
	put_functions(((struct seq_file *)file->private_data)->private);
	return seq_release(inode, file);
}

static const struct file_operations matrix_file = {
	.owner = THIS_MODULE,
	.open = matrix_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = matrix_release,
};

/* The address of a function of the kernel that is not exported. */
static void *find(const char *name)
{
	struct kprobe probe = { .symbol_name = name };
	int error = register_kprobe(&probe);
	void *found;

	if (error) {
		pr_err("peerdma_judge: this kernel has no function %s that can be called (%d)\n", name, error);
		return ERR_PTR(error);
	}
	found = probe.addr;
	unregister_kprobe(&probe);
	return found;
}

int judge_matrix_create(struct dentry *folder)
{
	void *found = find("calc_map_type_and_dist");

	if (IS_ERR(found))
		return PTR_ERR(found);
	decide = found;
	debugfs_create_file("matrix", 0400, folder, NULL, &matrix_file);
	debugfs_create_x32("first_domain", 0600, folder, &first_domain);
	return 0;
}
