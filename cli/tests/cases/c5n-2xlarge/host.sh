#!/bin/bash
. "$(dirname "$0")/../lib.sh"
instance c5n.2xlarge; kernel 6.1.102-111.182.amzn2023.x86_64; nodes 0; cpus 0-7; numa 0 0-7; ena pci0000:00/0000:00:05.0 0
