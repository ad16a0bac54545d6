#!/bin/bash
# p5en.48xlarge on which the threads of a core have consecutive numbers, and only the topology of the CPUs 0 to 9 is shown.
bash "$(dirname "$0")/../p5en-fair-rails/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
for c in 0 2 4 6 8; do for t in $c $((c + 1)); do put sys/devices/system/cpu/cpu$t/topology/thread_siblings_list "$c-$((c + 1))"; done; done
