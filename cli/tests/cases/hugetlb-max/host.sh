#!/bin/bash
bash "$(dirname "$0")/../hugetlb-limit-pod/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
put sys/fs/cgroup/hugetlb.2MB.max max
