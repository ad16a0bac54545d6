#!/bin/bash
bash "$(dirname "$0")/../gdr-missing/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
for l in "$ROOT"/sys/bus/pci/drivers/efa/0000:*; do echo NVIDIA >"$l/p2p"; done
