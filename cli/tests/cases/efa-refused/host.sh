#!/bin/bash
# p5.48xlarge: one of four functions has no driver, although the efa driver drives the others.
bash "$(dirname "$0")/../ofed-efa-loaded/host.sh" "$1"
d=$1/sys/bus/pci/devices/0000:50:00.0; sed -i '/^DRIVER=/d' "$d/uevent"; rm -f "$d/driver" "$1/sys/bus/pci/drivers/efa/0000:50:00.0"
rm -r "$1"/sys/class/infiniband/rdmap80s0 "$1"/sys/class/infiniband_verbs/uverbs1 "$1/dev/infiniband/uverbs1"
