#!/bin/bash
bash "$(dirname "$0")/../nccl-plugin-missing/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
for d in "$ROOT"/sys/bus/pci/devices/*; do if grep -qi "PCI_ID=1D0F:EFA" "$d/uevent"; then rm "$d"; fi; done; rm "$ROOT"/sys/class/infiniband/* "$ROOT"/sys/class/infiniband_verbs/uverbs*
