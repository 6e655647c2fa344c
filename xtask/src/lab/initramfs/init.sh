#!/bin/sh
# The first process of a guest: makes it a system, runs the boot's script, switches it off.
export PATH=/bin:/sbin:/usr/bin LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t debugfs debug /sys/kernel/debug
mount -t configfs config /sys/kernel/config 2>/dev/null
mount -t tmpfs tmp /tmp
echo 1 >/proc/sys/kernel/printk
stty -F /dev/ttyS1 raw -echo

# Loads modules by name, those of the kernel and those of lab/modules; one that is built in is none to load.
mod() {
    for name; do
        [ ! -e "/lib/modules/$name.ko" ] || insmod "/lib/modules/$name.ko" || return 1
    done
}
# say ok|FAIL|MISSING NAME TEXT: one line of the report.
say() { echo "LAB|$1|$2|$3"; }

cd /root
echo "LAB|up|$(cut -d' ' -f1 /proc/uptime)|"
. /payload/script
echo "LAB|end|$?|$(cut -d' ' -f1 /proc/uptime)"
poweroff -f
