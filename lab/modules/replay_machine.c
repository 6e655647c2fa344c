// SPDX-License-Identifier: GPL-2.0
/*
 * A machine of images as PCI domains that the kernel finds by its own enumeration, like any other.
 *
 * Configuration space cannot be written: what the image says is what the kernel's judge sees. Base addresses read as
 * absent and windows as closed, so that no device takes an address of the machine that the kernel really runs on. No
 * function is added to a driver's reach: found, judged, and taken away is all that happens to it.
 */
#include <linux/pci.h>
#include <linux/wait.h>

#include "replay.h"

static atomic_t living = ATOMIC_INIT(0);
static DECLARE_WAIT_QUEUE_HEAD(machine_freed);

static void last_reference(struct kref *references)
{
	replay_free(container_of(references, struct replay_machine, references));
	atomic_dec(&living);
	wake_up_all(&machine_freed);
}

void replay_wait_for_all(void)
{
	wait_event(machine_freed, !atomic_read(&living));
}

static const struct replay_function *function_at(struct pci_bus *bus, unsigned int devfn)
{
	struct replay_domain *domain = container_of(bus->sysdata, struct replay_domain, sysdata);
	struct replay_bus *found = domain->buses[bus->number];

	return found && found->at[devfn].image ? &found->at[devfn] : NULL;
}

/* The address registers, as where no address was ever given. */
static bool is_about_addresses(bool is_bridge, unsigned int at, u8 *byte)
{
	if (!is_bridge) {
		*byte = 0;
		return (at >= PCI_BASE_ADDRESS_0 && at < PCI_BASE_ADDRESS_5 + 4) ||
		       (at >= PCI_ROM_ADDRESS && at < PCI_ROM_ADDRESS + 4);
	}
	/* A memory window with its base above its limit is closed; no other is implemented. */
	*byte = at == PCI_MEMORY_BASE ? 0xf0 : at == PCI_MEMORY_BASE + 1 ? 0xff : 0;
	return (at >= PCI_BASE_ADDRESS_0 && at < PCI_BASE_ADDRESS_1 + 4) ||
	       (at >= PCI_IO_BASE && at <= PCI_IO_LIMIT) ||
	       (at >= PCI_MEMORY_BASE && at < PCI_CAPABILITY_LIST) ||
	       (at >= PCI_ROM_ADDRESS1 && at < PCI_ROM_ADDRESS1 + 4);
}

static u8 byte_at(const struct replay_function *function, unsigned int at)
{
	u8 type = function->image[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MASK;
	u8 byte;

	if (at < PCI_STD_HEADER_SIZEOF && is_about_addresses(type == PCI_HEADER_TYPE_BRIDGE, at, &byte))
		return byte;
	return at < function->bytes ? function->image[at] : 0;
}

static int replay_read(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 *value)
{
	const struct replay_function *function = function_at(bus, devfn);
	int index;

	if (!function) {
		PCI_SET_ERROR_RESPONSE(value);
		return PCIBIOS_DEVICE_NOT_FOUND;
	}
	*value = 0;
	for (index = 0; index < size; index++)
		*value |= (u32)byte_at(function, where + index) << (index * 8);
	return PCIBIOS_SUCCESSFUL;
}

static int replay_write(struct pci_bus *bus, unsigned int devfn, int where, int size, u32 value)
{
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops replay_ops = { .read = replay_read, .write = replay_write };

/* The last user of a root bus is gone. */
static void release_bridge(struct pci_host_bridge *bridge)
{
	struct replay_machine *machine = bridge->release_data;

	kref_put(&machine->references, last_reference);
}

static int start_root(struct replay_machine *machine, struct replay_domain *domain, unsigned int bus)
{
	struct pci_host_bridge *bridge = pci_alloc_host_bridge(0);
	int error;

	if (!bridge)
		return -ENOMEM;
	kref_get(&machine->references);
	pci_set_host_bridge_release(bridge, release_bridge, machine);
	bridge->sysdata = &domain->sysdata;
	bridge->busnr = bus;
	bridge->ops = &replay_ops;
	pci_add_resource(&bridge->windows, &domain->roots[bus]);
	error = pci_scan_root_bus_bridge(bridge);
	if (error) {
		pci_free_host_bridge(bridge);
		return error;
	}
	domain->bridges[bus] = bridge;
	return 0;
}

int replay_start(struct replay_machine *machine)
{
	struct replay_domain *domain;
	unsigned int bus;
	int error = 0;

	atomic_inc(&living);
	pci_lock_rescan_remove();
	list_for_each_entry(domain, &machine->domains, list)
		for (bus = 0; bus < REPLAY_BUSES; bus++)
			if (pci_find_bus(domain->sysdata.domain, bus))
				error = -EBUSY;
	list_for_each_entry(domain, &machine->domains, list)
		for (bus = 0; !error && bus < REPLAY_BUSES; bus++)
			if (domain->roots[bus].flags)
				error = start_root(machine, domain, bus);
	pci_unlock_rescan_remove();
	if (error)
		replay_stop(machine);
	return error;
}

void replay_stop(struct replay_machine *machine)
{
	struct replay_domain *domain;
	unsigned int bus;

	pci_lock_rescan_remove();
	list_for_each_entry(domain, &machine->domains, list) {
		for (bus = 0; bus < REPLAY_BUSES; bus++) {
			struct pci_host_bridge *bridge = domain->bridges[bus];

			if (!bridge)
				continue;
			domain->bridges[bus] = NULL;
			pci_stop_root_bus(bridge->bus);
			pci_remove_root_bus(bridge->bus);
			pci_free_host_bridge(bridge);
		}
	}
	pci_unlock_rescan_remove();
	kref_put(&machine->references, last_reference);
}

static int count_function(struct pci_dev *function, void *count)
{
	++*(size_t *)count;
	return 0;
}

size_t replay_found(struct replay_machine *machine)
{
	struct replay_domain *domain;
	size_t count = 0;
	unsigned int bus;

	list_for_each_entry(domain, &machine->domains, list)
		for (bus = 0; bus < REPLAY_BUSES; bus++)
			if (domain->bridges[bus])
				pci_walk_bus(domain->bridges[bus]->bus, count_function, &count);
	return count;
}
