/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the parts of peerdma_replay share: a machine as configuration space images, and the same as PCI domains.
 */
#ifndef PEERDMA_REPLAY_H
#define PEERDMA_REPLAY_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/pci.h>
#include <linux/types.h>

#define REPLAY_BUSES 256

/* One function's configuration space; what lies past its bytes reads as zero. */
struct replay_function {
	u16 bytes;
	const u8 *image;
};

/* The 256 functions that a bus may have. */
struct replay_bus {
	struct replay_function at[256];
};

struct replay_domain {
	struct list_head list;
	/* What x86 takes a bus's sysdata for; leads from a bus to its domain. */
	struct pci_sysdata sysdata;
	struct replay_bus *buses[REPLAY_BUSES];
	/* A root bus and the last bus below it. */
	struct resource roots[REPLAY_BUSES];
	struct pci_host_bridge *bridges[REPLAY_BUSES];
};

struct replay_machine {
	struct kref references;
	struct list_head domains;
	size_t functions;
	/* Holds all images. */
	u8 *text;
};

/* Takes `text` (from kvmalloc) over; it is freed where this fails. replay_image.c tells the format. */
struct replay_machine *replay_parse(u8 *text, size_t bytes);
/* How long a machine's text is, from its first REPLAY_HEADER_BYTES; 0 where it is none. */
size_t replay_text_bytes(const u8 *header);
#define REPLAY_HEADER_BYTES 16
#define REPLAY_MOST_BYTES (256U << 20)
void replay_free(struct replay_machine *machine);

/* Makes the kernel find the machine. Nothing is left where this fails, and the machine is freed in any case. */
int replay_start(struct replay_machine *machine);
/* Takes the machine away again; it is freed once nobody holds any function of it. */
void replay_stop(struct replay_machine *machine);
/* Functions that the kernel has found. */
size_t replay_found(struct replay_machine *machine);
/* Waits until every machine that was stopped is freed. */
void replay_wait_for_all(void);

#endif
