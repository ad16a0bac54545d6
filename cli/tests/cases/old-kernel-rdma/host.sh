#!/bin/bash
# Amazon Linux 2, kernel 4.14: the efa driver works; ib_core has no parameter netns_mode (it came with 5.3).
bash "$(dirname "$0")/../c5n-18xlarge/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
kernel 4.14.355-275.570.amzn2.x86_64
