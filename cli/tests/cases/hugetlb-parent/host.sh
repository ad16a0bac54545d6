#!/bin/bash
bash "$(dirname "$0")/../hugetlb-limit-pod/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
put sys/fs/cgroup/hugetlb.2MB.max max; put sys/fs/cgroup/kubepods.slice/hugetlb.2MB.max 1048576; put sys/fs/cgroup/kubepods.slice/c1/hugetlb.2MB.max max
put proc/4242/cgroup "0::/kubepods.slice/c1"
