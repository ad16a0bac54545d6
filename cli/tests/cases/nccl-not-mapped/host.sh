#!/bin/bash
bash "$(dirname "$0")/../nccl-plugin-missing/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
put proc/31/maps "7f0000000000-7f0000100000 r-xp 00000000 08:01 99 /usr/lib/x86_64-linux-gnu/libnccom.so.2"
