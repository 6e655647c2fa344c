// SPDX-License-Identifier: GPL-2.0
/*
 * `import`: maps a dma-buf for a device, as a driver would, and says what addresses the device would use.
 *
 * Written: `FD DDDD:BB:DD.F`, by the process that owns the descriptor; the write fails with what attaching or mapping
 * fails with. Read, through the same open file: one line about the buffer, one per piece, and `revoked` once the exporter
 * took it back. Closing the file unmaps and detaches. A file holds one import.
 *
 * The device need not be bound; one that is not is taken to reach 64 bits of addresses.
 */
#include <linux/debugfs.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/pci.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "judge.h"

struct import {
	struct mutex lock;
	struct pci_dev *device;
	struct dma_buf *buffer;
	struct dma_buf_attachment *attachment;
	/* NULL where nothing is mapped; under the reservation lock of the buffer. */
	struct sg_table *table;
	bool is_revoked;
};

/* The exporter takes the buffer back and waits for the mapping to be gone; it holds the reservation lock. */
static void invalidate(struct dma_buf_attachment *attachment)
{
	struct import *import = attachment->importer_priv;

	if (import->table)
		dma_buf_unmap_attachment(attachment, import->table, DMA_BIDIRECTIONAL);
	import->table = NULL;
	import->is_revoked = true;
}

static const struct dma_buf_attach_ops importer = {
	.allow_peer2peer = true,
	.invalidate_mappings = invalidate,
};

static int attach(struct import *import, int fd)
{
	struct dma_buf_attachment *attachment;
	struct sg_table *table;

	import->buffer = dma_buf_get(fd);
	if (IS_ERR(import->buffer))
		return PTR_ERR(import->buffer);
	attachment = dma_buf_dynamic_attach(import->buffer, &import->device->dev, &importer, import);
	if (IS_ERR(attachment)) {
		dma_buf_put(import->buffer);
		return PTR_ERR(attachment);
	}
	dma_resv_lock(import->buffer->resv, NULL);
	table = dma_buf_map_attachment(attachment, DMA_BIDIRECTIONAL);
	if (!IS_ERR(table))
		import->table = table;
	dma_resv_unlock(import->buffer->resv);
	if (IS_ERR(table)) {
		dma_buf_detach(import->buffer, attachment);
		dma_buf_put(import->buffer);
		return PTR_ERR(table);
	}
	import->attachment = attachment;
	return 0;
}

static int start(struct import *import, struct pci_dev *device, int fd)
{
	int error;

	if (import->attachment)
		return -EBUSY;
	if (!device->dev.driver) {
		error = dma_set_mask_and_coherent(&device->dev, DMA_BIT_MASK(64));
		if (error)
			return error;
	}
	import->device = device;
	return attach(import, fd);
}

static ssize_t import_write(struct file *file, const char __user *from, size_t bytes, loff_t *offset)
{
	struct import *import = ((struct seq_file *)file->private_data)->private;
	char text[64], address[32];
	struct pci_dev *device;
	int fd, error;

	if (bytes >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, bytes))
		return -EFAULT;
	text[bytes] = '\0';
	if (sscanf(text, "%d %31s", &fd, address) != 2)
		return -EINVAL;
	device = judge_function(address);
	if (!device)
		return -ENODEV;
	mutex_lock(&import->lock);
	error = start(import, device, fd);
	mutex_unlock(&import->lock);
	if (error)
		pci_dev_put(device);
	return error ?: bytes;
}

static int import_show(struct seq_file *file, void *unused)
{
	struct import *import = file->private;
	struct scatterlist *piece;
	int index;

	mutex_lock(&import->lock);
	if (import->attachment) {
		seq_printf(file, "device %s bytes %zu exporter %s\n", pci_name(import->device),
			   import->buffer->size, import->buffer->exp_name);
		dma_resv_lock(import->buffer->resv, NULL);
		if (import->table)
			for_each_sgtable_dma_sg(import->table, piece, index)
				seq_printf(file, "piece %pad bytes %u%s\n", &sg_dma_address(piece), sg_dma_len(piece),
					   sg_dma_is_bus_address(piece) ? " bus_address" : "");
		if (import->is_revoked)
			seq_puts(file, "revoked\n");
		dma_resv_unlock(import->buffer->resv);
	}
	mutex_unlock(&import->lock);
	return 0;
}

static int import_open(struct inode *inode, struct file *file)
{
	struct import *import = kzalloc(sizeof(*import), GFP_KERNEL);
	int error;

	if (!import)
		return -ENOMEM;
	mutex_init(&import->lock);
	error = single_open(file, import_show, import);
	if (error)
		kfree(import);
	return error;
}

static int import_release(struct inode *inode, struct file *file)
{
	struct import *import = ((struct seq_file *)file->private_data)->private;

	if (import->attachment) {
		dma_resv_lock(import->buffer->resv, NULL);
		if (import->table)
			dma_buf_unmap_attachment(import->attachment, import->table, DMA_BIDIRECTIONAL);
		dma_resv_unlock(import->buffer->resv);
		dma_buf_detach(import->buffer, import->attachment);
		dma_buf_put(import->buffer);
		pci_dev_put(import->device);
	}
	kfree(import);
	return single_release(inode, file);
}

static const struct file_operations import_file = {
	.owner = THIS_MODULE,
	.open = import_open,
	.read = seq_read,
	.write = import_write,
	.llseek = seq_lseek,
	.release = import_release,
};

void judge_import_create(struct dentry *folder)
{
	debugfs_create_file("import", 0600, folder, NULL, &import_file);
}
