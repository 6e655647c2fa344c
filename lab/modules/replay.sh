#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# In the guest, with both modules loaded: replay.sh MACHINES.tar OUT
# lets the kernel judge every machine of the archive and writes its answers to OUT, a file or a whole disk.
set -e
folder=$(mktemp -d)
tar -x -f "$1" -C "$folder"
replay=/sys/kernel/debug/peerdma_replay/machine
judge=/sys/kernel/debug/peerdma_judge
echo 0x1000 > $judge/first_domain
{
    for image in "$folder"/*.image; do
        name=${image##*/}
        cat "$image" > $replay
        echo "machine ${name%.image} $(cat $replay)"
        cat $judge/matrix
    done
    echo end
} > "$2"
: > $replay
echo 0x0 > $judge/first_domain
rm -r "$folder"
sync
