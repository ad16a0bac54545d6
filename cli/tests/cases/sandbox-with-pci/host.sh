#!/bin/bash
. "$(dirname "$0")/../lib.sh"
kernel 6.1.102-111.182.amzn2023.x86_64; nodes 0; cpus 0-7; numa 0 0-7; module efa 3.1.0g; module ib_uverbs; module ib_core
efa pci0000:00/0000:00:06.0 0 rdmap0s6 0; node_file dev/neuron10; node_file dev/neurons
