#!/bin/bash
bash "$(dirname "$0")/../nccl-plugin-missing/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
put opt/amazon/ofi-nccl/lib/x86_64-linux-gnu/libnccl-net-ofi.so ELF
