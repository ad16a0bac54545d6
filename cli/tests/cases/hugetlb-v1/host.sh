#!/bin/bash
bash "$(dirname "$0")/../hugetlb-limit-pod/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
rm -r "$ROOT/sys/fs/cgroup"; put sys/fs/cgroup/hugetlb/kubepods/pod1/hugetlb.2MB.limit_in_bytes 0; put sys/fs/cgroup/hugetlb/kubepods/pod1/hugetlb.2MB.failcnt 3; put sys/fs/cgroup/hugetlb/hugetlb.2MB.limit_in_bytes 9223372036854771712
put proc/4242/cgroup "11:memory:/kubepods/pod1
4:hugetlb:/kubepods/pod1/c1"; put sys/fs/cgroup/hugetlb/kubepods/pod1/c1/hugetlb.2MB.limit_in_bytes 9223372036852678656
