// SPDX-License-Identifier: GPL-2.0
/*
 * peerdma_replay: machines that exist as configuration space only, found by the kernel's own enumeration.
 *
 * /sys/kernel/debug/peerdma_replay/machine: `cat IMAGE > machine` takes the present machine away and starts that one,
 * `: > machine` only takes it away. Read: `functions N found M`. replay_image.c tells the format.
 */
#include <linux/debugfs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/uaccess.h>

#include "replay.h"

static struct dentry *folder;
/* What is below is under this mutex. */
static DEFINE_MUTEX(changing);
static struct replay_machine *machine;
/* A text that has begun to arrive. */
static u8 header[REPLAY_HEADER_BYTES];
static u8 *text;
static size_t text_bytes, arrived;

static void forget_text(void)
{
	kvfree(text);
	text = NULL;
	text_bytes = 0;
	arrived = 0;
}

static void stop(void)
{
	forget_text();
	if (machine)
		replay_stop(machine);
	machine = NULL;
}

static int start(void)
{
	struct replay_machine *parsed = replay_parse(text, text_bytes);
	int error;

	text = NULL;
	forget_text();
	if (IS_ERR(parsed))
		return PTR_ERR(parsed);
	error = replay_start(parsed);
	if (!error)
		machine = parsed;
	return error;
}

/* Takes the next bytes of a text; how many, or an error. */
static ssize_t take(const char __user *from, size_t bytes)
{
	if (arrived < REPLAY_HEADER_BYTES) {
		bytes = min(bytes, REPLAY_HEADER_BYTES - arrived);
		if (copy_from_user(header + arrived, from, bytes))
			return -EFAULT;
		arrived += bytes;
		if (arrived < REPLAY_HEADER_BYTES)
			return bytes;
		text_bytes = replay_text_bytes(header);
		if (text_bytes < REPLAY_HEADER_BYTES || text_bytes > REPLAY_MOST_BYTES)
			return -EINVAL;
		text = kvmalloc(text_bytes, GFP_KERNEL);
		if (!text)
			return -ENOMEM;
		memcpy(text, header, REPLAY_HEADER_BYTES);
	} else {
		/* One file, one machine. */
		if (!text)
			return -EFBIG;
		bytes = min(bytes, text_bytes - arrived);
		if (copy_from_user(text + arrived, from, bytes))
			return -EFAULT;
		arrived += bytes;
	}
	if (arrived == text_bytes) {
		int error = start();

		/* More of the same file is refused. */
		arrived = REPLAY_HEADER_BYTES;
		if (error)
			return error;
	}
	return bytes;
}

static ssize_t machine_write(struct file *file, const char __user *from, size_t bytes, loff_t *offset)
{
	ssize_t taken;

	mutex_lock(&changing);
	taken = take(from, bytes);
	if (taken < 0)
		forget_text();
	mutex_unlock(&changing);
	return taken;
}

static ssize_t machine_read(struct file *file, char __user *to, size_t bytes, loff_t *offset)
{
	char line[64];
	int length;

	mutex_lock(&changing);
	length = scnprintf(line, sizeof(line), "functions %zu found %zu\n", machine ? machine->functions : 0,
			   machine ? replay_found(machine) : 0);
	mutex_unlock(&changing);
	return simple_read_from_buffer(to, bytes, offset, line, length);
}

static int machine_open(struct inode *inode, struct file *file)
{
	if (file->f_mode & FMODE_WRITE) {
		mutex_lock(&changing);
		stop();
		mutex_unlock(&changing);
	}
	return 0;
}

static const struct file_operations machine_file = {
	.owner = THIS_MODULE,
	.open = machine_open,
	.read = machine_read,
	.write = machine_write,
};

static int __init replay_init(void)
{
	folder = debugfs_create_dir("peerdma_replay", NULL);
	if (IS_ERR(folder))
		return PTR_ERR(folder);
	debugfs_create_file("machine", 0600, folder, NULL, &machine_file);
	return 0;
}

static void __exit replay_exit(void)
{
	debugfs_remove(folder);
	stop();
	replay_wait_for_all();
}

module_init(replay_init);
module_exit(replay_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("PCI domains from recorded configuration space");
