#!/bin/bash
bash "$(dirname "$0")/../efa-refused/host.sh" "$1"
echo DRIVER=vfio-pci >>"$1/sys/bus/pci/devices/0000:50:00.0/uevent"
