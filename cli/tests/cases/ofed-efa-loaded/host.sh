#!/bin/bash
bash "$(dirname "$0")/../ofed-efa-unloaded/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
module efa 2.13.0g; r=pci0000:44/0000:44:00.0/0000:45:00.0
for i in 0 1 2 3; do b=$(printf %02x $((0x4f + i))); efa $r/0000:46:01.$i/0000:$b:00.0 0 rdmap$((0x$b))s0 $i; done
