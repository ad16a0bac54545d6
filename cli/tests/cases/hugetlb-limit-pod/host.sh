#!/bin/bash
# A pod on g4dn.8xlarge: the node has free huge pages, the pod's cgroup may use none (no hugepages-2Mi in its limits).
bash "$(dirname "$0")/../device-rdma-abort/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
put sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages 5128; put sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages 5128
mkdir -p "$ROOT/var/run/secrets/kubernetes.io/serviceaccount"
put sys/fs/cgroup/cgroup.controllers "cpuset cpu io memory hugetlb pids rdma misc"
put sys/fs/cgroup/hugetlb.2MB.max 0; put sys/fs/cgroup/hugetlb.2MB.current 0; put sys/fs/cgroup/hugetlb.2MB.events "max 12"
put proc/4242/cgroup "0::/"
put proc/mounts "sysfs /sys sysfs ro,nosuid,nodev,noexec,relatime 0 0
cgroup /sys/fs/cgroup cgroup2 ro,nosuid,nodev,noexec,relatime 0 0"
printf 'PATH=/usr/bin\0FI_PROVIDER=efa\0' >"$ROOT/proc/4242/environ"
