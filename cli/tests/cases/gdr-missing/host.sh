#!/bin/bash
# p5en.48xlarge (first switch) with NVIDIA's closed driver and without efa_nv_peermem: the efa driver can reach no GPU memory (p2p is empty).
bash "$(dirname "$0")/../p5en-fair-rails/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
kernel 5.4.0-1103-aws
for l in "$ROOT"/sys/bus/pci/drivers/efa/0000:*; do printf '\n' >"$l/p2p"; done
put sys/module/nvidia/version 470.256.02
put proc/driver/nvidia/version "NVRM version: NVIDIA UNIX x86_64 Kernel Module  470.256.02  Thu May  2 14:37:44 UTC 2024"
