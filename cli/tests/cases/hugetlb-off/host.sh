#!/bin/bash
bash "$(dirname "$0")/../hugetlb-limit-pod/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
printf 'PATH=/usr/bin\0FI_EFA_USE_HUGE_PAGE=0\0' >"$ROOT/proc/4242/environ"
