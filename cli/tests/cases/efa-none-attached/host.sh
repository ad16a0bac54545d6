#!/bin/bash
set -eu
for d in "$1"/sys/bus/pci/devices/*; do if grep -qi "PCI_ID=1D0F:EFA" "$d/uevent"; then rm -r "$d"; fi; done
rm -r "$1/sys/class/infiniband" "$1/sys/class/infiniband_verbs" "$1/dev/infiniband"
