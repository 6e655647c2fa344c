// SPDX-License-Identifier: GPL-2.0
/*
 * `acs`: gives functions an ACS capability that their hardware lacks, as QEMU's switch ports do.
 *
 * Written: `DDDD:BB:DD.F CAPABILITY` (hexadecimal, the ACS Capability register; no Egress Control). Read: what was given.
 *
 * Configuration accesses of all buses that share the function's pci_ops pass through here from then on: the capability
 * is appended to the function's extended capabilities, its control register works, and lspci, setpci and every driver see
 * it. The kernel looks for the capability when it finds a function; it is told of it at once, with nothing switched on.
 * After `remove` and `rescan` it finds it by itself and sets it up as it would at boot.
 */
#include <linux/debugfs.h>
#include <linux/pci.h>
#include <linux/rculist.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/uaccess.h>

#include "judge.h"

#define EXTENDED_START 0x100
/* The last 16 bytes of configuration space; a function whose own capabilities reach there is refused. */
#define OUR_PLACE 0xff0
#define NEXT_SHIFT 20
#define ALL_CAPABLE (PCI_ACS_SV | PCI_ACS_TB | PCI_ACS_RR | PCI_ACS_CR | PCI_ACS_UF | PCI_ACS_DT)

struct given {
	struct list_head list;
	int domain;
	u16 id;
	/* Where the capability lies, and the header of the one that leads to it, 0 where none does. */
	u16 at;
	u16 leads_here;
	u16 capability;
	u16 control;
};

/* Written under the mutex, read under RCU; the registers of an entry change under the spinlock. */
static LIST_HEAD(all_given);
static DEFINE_MUTEX(giving);
static DEFINE_RAW_SPINLOCK(registers);
static struct pci_ops *real_ops;

static struct given *find_given(struct pci_bus *bus, unsigned int devfn)
{
	int domain = pci_domain_nr(bus);
	u16 id = PCI_DEVID(bus->number, devfn);
	struct given *given;

	list_for_each_entry_rcu(given, &all_given, list, lockdep_is_held(&giving))
		if (given->domain == domain && given->id == id)
			return given;
	return NULL;
}

static u32 with_ours(const struct given *given, int dword, u32 value)
{
	if (dword == given->at)
		return PCI_EXT_CAP_ID_ACS | 1 << 16;
	if (dword == given->at + PCI_ACS_CAP)
		return given->capability | (u32)given->control << 16;
	if (given->leads_here && dword == given->leads_here)
		return (value & ((1U << NEXT_SHIFT) - 1)) | (u32)given->at << NEXT_SHIFT;
	return value;
}

static u32 mask_of(int size)
{
	return size == 4 ? ~0U : (1U << (size * 8)) - 1;
}

static int acs_read(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *value)
{
	int error = real_ops->read(bus, devfn, where, size, value);
	struct given *given;
	unsigned long flags;
	u32 whole;

	if (error || where < EXTENDED_START)
		return error;
	rcu_read_lock();
	given = find_given(bus, devfn);
	if (given && !real_ops->read(bus, devfn, where & ~3, 4, &whole)) {
		raw_spin_lock_irqsave(&registers, flags);
		whole = with_ours(given, where & ~3, whole);
		raw_spin_unlock_irqrestore(&registers, flags);
		*value = whole >> ((where & 3) * 8) & mask_of(size);
	}
	rcu_read_unlock();
	return error;
}

static int acs_write(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 value)
{
	unsigned int shift = (where & 3) * 8;
	struct given *given;
	unsigned long flags;
	u32 dword;
	bool is_ours;

	rcu_read_lock();
	given = find_given(bus, devfn);
	is_ours = given && (where & ~3) == given->at + PCI_ACS_CAP;
	if (is_ours) {
		raw_spin_lock_irqsave(&registers, flags);
		dword = given->capability | (u32)given->control << 16;
		dword = (dword & ~(mask_of(size) << shift)) | (value & mask_of(size)) << shift;
		given->control = dword >> 16 & given->capability;
		raw_spin_unlock_irqrestore(&registers, flags);
	}
	rcu_read_unlock();
	return is_ours ? PCIBIOS_SUCCESSFUL : real_ops->write(bus, devfn, where, size, value);
}

static struct pci_ops acs_ops = { .read = acs_read, .write = acs_write };

/* Buses that are made later take the ops of the bus above. */
static void exchange_ops(struct pci_ops *from, struct pci_ops *to)
{
	struct pci_dev *function = NULL;

	pci_lock_rescan_remove();
	for_each_pci_dev(function) {
		if (function->bus->ops == from)
			pci_bus_set_ops(function->bus, to);
		if (function->subordinate && function->subordinate->ops == from)
			pci_bus_set_ops(function->subordinate, to);
	}
	pci_unlock_rescan_remove();
}

/* Finds where the capability goes. */
static int find_place(struct pci_dev *function, struct given *given)
{
	int at = EXTENDED_START, left = (PCI_CFG_SPACE_EXP_SIZE - EXTENDED_START) / 8;
	u32 header;

	if (function->cfg_size < PCI_CFG_SPACE_EXP_SIZE)
		return -EOPNOTSUPP;
	if (pci_find_ext_capability(function, PCI_EXT_CAP_ID_ACS))
		return -EEXIST;
	if (pci_read_config_dword(function, at, &header) || PCI_POSSIBLE_ERROR(header))
		return -EIO;
	given->at = header ? OUR_PLACE : EXTENDED_START;
	while (header && left--) {
		given->leads_here = at;
		at = PCI_EXT_CAP_NEXT(header);
		if (!at)
			break;
		if (at < EXTENDED_START || at >= OUR_PLACE)
			return -ENOSPC;
		if (pci_read_config_dword(function, at, &header) || PCI_POSSIBLE_ERROR(header))
			return -EIO;
	}
	return left < 0 ? -EIO : 0;
}

static int give(struct pci_dev *function, u16 capability)
{
	struct given *given = find_given(function->bus, function->devfn);
	unsigned long flags;
	int error;

	if (given) {
		raw_spin_lock_irqsave(&registers, flags);
		given->capability = capability;
		given->control &= capability;
		raw_spin_unlock_irqrestore(&registers, flags);
		function->acs_capabilities = capability;
		return 0;
	}
	if (real_ops && function->bus->ops != &acs_ops)
		return -EXDEV;
	given = kzalloc(sizeof(*given), GFP_KERNEL);
	if (!given)
		return -ENOMEM;
	error = find_place(function, given);
	if (error) {
		kfree(given);
		return error;
	}
	given->domain = pci_domain_nr(function->bus);
	given->id = pci_dev_id(function);
	given->capability = capability;
	list_add_tail_rcu(&given->list, &all_given);
	if (!real_ops) {
		real_ops = function->bus->ops;
		exchange_ops(real_ops, &acs_ops);
	}
	function->acs_cap = given->at;
	function->acs_capabilities = capability;
	return 0;
}

static ssize_t acs_file_write(struct file *file, const char __user *from, size_t bytes, loff_t *offset)
{
	char text[64], address[32];
	struct pci_dev *function;
	unsigned int capability;
	int error;

	if (bytes >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, from, bytes))
		return -EFAULT;
	text[bytes] = '\0';
	if (sscanf(text, "%31s %x", address, &capability) != 2 || capability & ~ALL_CAPABLE)
		return -EINVAL;
	function = judge_function(address);
	if (!function)
		return -ENODEV;
	mutex_lock(&giving);
	error = give(function, capability);
	mutex_unlock(&giving);
	pci_dev_put(function);
	return error ?: bytes;
}

static int acs_show(struct seq_file *file, void *unused)
{
	struct given *given;

	mutex_lock(&giving);
	list_for_each_entry(given, &all_given, list)
		seq_printf(file, "%04x:%02x:%02x.%d capability %04x control %04x at %03x\n", given->domain,
			   PCI_BUS_NUM(given->id), PCI_SLOT(given->id), PCI_FUNC(given->id), given->capability,
			   given->control, given->at);
	mutex_unlock(&giving);
	return 0;
}

static int acs_open(struct inode *inode, struct file *file)
{
	return single_open(file, acs_show, NULL);
}

static const struct file_operations acs_file = {
	.owner = THIS_MODULE,
	.open = acs_open,
	.read = seq_read,
	.write = acs_file_write,
	.llseek = seq_lseek,
	.release = single_release,
};

void judge_acs_create(struct dentry *folder)
{
	debugfs_create_file("acs", 0600, folder, NULL, &acs_file);
}

void judge_acs_undo(void)
{
	struct given *given, *next;
	struct pci_dev *function;

	if (!real_ops)
		return;
	exchange_ops(&acs_ops, real_ops);
	/* Accesses that began with our ops have ended. */
	synchronize_rcu();
	list_for_each_entry_safe(given, next, &all_given, list) {
		function = pci_get_domain_bus_and_slot(given->domain, PCI_BUS_NUM(given->id), given->id & 0xff);
		if (function && function->acs_cap == given->at) {
			function->acs_cap = 0;
			function->acs_capabilities = 0;
		}
		pci_dev_put(function);
		list_del(&given->list);
		kfree(given);
	}
}
