#!/bin/bash
# Two nodes, of which rdma_cm belongs to no device.
set -eu
mkdir -p "$1/dev/infiniband"
: >"$1/dev/infiniband/uverbs3"; : >"$1/dev/infiniband/rdma_cm"
