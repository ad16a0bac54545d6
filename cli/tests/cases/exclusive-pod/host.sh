#!/bin/bash
. "$(dirname "$0")/../lib.sh"
kernel 6.1.102-111.182.amzn2023.x86_64; nodes 0; cpus 0-7; numa 0 0-7; module efa 3.1.0g; module ib_uverbs
put sys/module/ib_core/parameters/netns_mode N
pci pci0000:00/0000:00:06.0 1d0f efa1 020000 0 efa; node_file dev/infiniband/uverbs0
