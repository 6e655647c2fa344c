// SPDX-License-Identifier: GPL-2.0
/*
 * Reads a machine. All numbers are little-endian:
 *
 *	"PEERDMA1"  u32 bytes of the whole text  u32 functions
 *	per function: u32 domain  u8 bus  u8 device << 3 | function  u16 bytes  then that many bytes of configuration space
 *
 * What a function's space holds past its bytes is zero.
 */
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/unaligned.h>

#include "replay.h"

#define FUNCTION_HEADER_BYTES 8

static struct replay_domain *domain_of(struct replay_machine *machine, u32 number)
{
	struct replay_domain *domain;

	list_for_each_entry(domain, &machine->domains, list)
		if (domain->sysdata.domain == number)
			return domain;
	domain = kvzalloc(sizeof(*domain), GFP_KERNEL);
	if (!domain)
		return NULL;
	domain->sysdata.domain = number;
	domain->sysdata.node = NUMA_NO_NODE;
	list_add_tail(&domain->list, &machine->domains);
	return domain;
}

static int add_function(struct replay_machine *machine, const u8 *header)
{
	u32 number = get_unaligned_le32(header);
	u8 bus = header[4], devfn = header[5];
	struct replay_domain *domain;
	struct replay_function *function;

	if (number > INT_MAX)
		return -ERANGE;
	domain = domain_of(machine, number);
	if (!domain)
		return -ENOMEM;
	if (!domain->buses[bus])
		domain->buses[bus] = kvzalloc(sizeof(*domain->buses[bus]), GFP_KERNEL);
	if (!domain->buses[bus])
		return -ENOMEM;
	function = &domain->buses[bus]->at[devfn];
	if (function->image)
		return -EEXIST;
	function->bytes = get_unaligned_le16(header + 6);
	function->image = header + FUNCTION_HEADER_BYTES;
	if (function->bytes < PCI_STD_HEADER_SIZEOF || function->bytes > PCI_CFG_SPACE_EXP_SIZE)
		return -EINVAL;
	return 0;
}

/*
 * A root bus is one that is in no bridge's range; its own range ends before the next.
 */
static void find_roots(struct replay_domain *domain)
{
	DECLARE_BITMAP(below_a_bridge, REPLAY_BUSES) = { 0 };
	unsigned int bus, devfn, last = REPLAY_BUSES - 1;

	for (bus = 0; bus < REPLAY_BUSES; bus++) {
		for (devfn = 0; domain->buses[bus] && devfn < 256; devfn++) {
			const u8 *image = domain->buses[bus]->at[devfn].image;
			u8 first, end;

			if (!image || (image[PCI_HEADER_TYPE] & PCI_HEADER_TYPE_MASK) != PCI_HEADER_TYPE_BRIDGE)
				continue;
			first = image[PCI_SECONDARY_BUS];
			end = image[PCI_SUBORDINATE_BUS];
			if (first > bus && end >= first)
				bitmap_set(below_a_bridge, first, end - first + 1);
		}
	}
	for (bus = REPLAY_BUSES; bus-- > 0;) {
		if (!domain->buses[bus] || test_bit(bus, below_a_bridge))
			continue;
		domain->roots[bus] = (struct resource) {
			.name = "peerdma_replay", .start = bus, .end = last, .flags = IORESOURCE_BUS,
		};
		last = bus - 1;
	}
}

size_t replay_text_bytes(const u8 *header)
{
	if (memcmp(header, "PEERDMA1", 8))
		return 0;
	return get_unaligned_le32(header + 8);
}

struct replay_machine *replay_parse(u8 *text, size_t bytes)
{
	struct replay_machine *machine = kzalloc(sizeof(*machine), GFP_KERNEL);
	struct replay_domain *domain;
	u32 functions, index;
	size_t at = REPLAY_HEADER_BYTES;
	int error = 0;

	if (!machine) {
		kvfree(text);
		return ERR_PTR(-ENOMEM);
	}
	kref_init(&machine->references);
	INIT_LIST_HEAD(&machine->domains);
	machine->text = text;
	if (bytes < REPLAY_HEADER_BYTES || replay_text_bytes(text) != bytes) {
		error = -EINVAL;
		goto fail;
	}
	functions = get_unaligned_le32(text + 12);
	for (index = 0; index < functions; index++) {
		if (bytes - at < FUNCTION_HEADER_BYTES ||
		    bytes - at - FUNCTION_HEADER_BYTES < get_unaligned_le16(text + at + 6)) {
			error = -EINVAL;
			goto fail;
		}
		error = add_function(machine, text + at);
		if (error)
			goto fail;
		at += FUNCTION_HEADER_BYTES + get_unaligned_le16(text + at + 6);
	}
	if (at != bytes) {
		error = -EINVAL;
		goto fail;
	}
	machine->functions = functions;
	list_for_each_entry(domain, &machine->domains, list)
		find_roots(domain);
	return machine;
fail:
	replay_free(machine);
	return ERR_PTR(error);
}

void replay_free(struct replay_machine *machine)
{
	struct replay_domain *domain, *next;
	unsigned int bus;

	list_for_each_entry_safe(domain, next, &machine->domains, list) {
		for (bus = 0; bus < REPLAY_BUSES; bus++)
			kvfree(domain->buses[bus]);
		kvfree(domain);
	}
	kvfree(machine->text);
	kfree(machine);
}
