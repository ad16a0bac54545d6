#!/bin/bash
bash "$(dirname "$0")/../hugetlb-limit-pod/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
rm -r "$ROOT/sys/fs/cgroup"; put sys/fs/cgroup/hugetlb/hugetlb.2MB.limit_in_bytes 9223372036852678656; put proc/4242/cgroup "4:hugetlb:/"
