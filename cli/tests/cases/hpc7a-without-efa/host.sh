#!/bin/bash
. "$(dirname "$0")/../lib.sh"
instance hpc7a.96xlarge; kernel 6.1.102-111.182.amzn2023.x86_64; nodes 0; cpus 0-191; numa 0 0-191; ena pci0000:00/0000:00:05.0 0
