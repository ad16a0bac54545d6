#!/bin/bash
# p5en.48xlarge whose second threads (96-191) are offline, in a container that hides the topology of the CPUs.
bash "$(dirname "$0")/../p5en-fair-rails/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
put sys/devices/system/cpu/online 0-95; put sys/devices/system/cpu/offline 96-191
numa 0 0-47; numa 1 48-95
