#!/bin/bash
# p5en.48xlarge whose GPU driver shows the order and ids of its GPUs, for names as other tools print them.
bash "$(dirname "$0")/../p5en-fair-rails/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
m=0; for b in 59 5a 72 73 8b 8c a4 a5; do put proc/driver/nvidia/gpus/0000:$b:00.0/information "Model:           NVIDIA H200
GPU UUID:        GPU-00000000-0000-4000-8000-00000000000$m
Bus Location:    0000:$b:00.0
Device Minor:    $m"; m=$((m + 1)); done
