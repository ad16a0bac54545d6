#!/bin/bash
# c5n.metal-like p5en host whose second threads (96-191) were switched off by a script: they are present and not online, and have no topology folder.
bash "$(dirname "$0")/../p5en-fair-rails/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
put sys/devices/system/cpu/online 0-95; put sys/devices/system/cpu/offline 96-191
numa 0 0-47; numa 1 48-95
for f in "$ROOT"/sys/bus/pci/devices/*/; do n=$(cat "$f/numa_node"); cat "$ROOT/sys/devices/system/node/node$n/cpulist" >"$f/local_cpulist"; done
for c in $(seq 0 95); do put sys/devices/system/cpu/cpu$c/topology/thread_siblings_list $c; done
for c in $(seq 96 191); do put sys/devices/system/cpu/cpu$c/online 0; done
