#!/bin/bash
bash "$(dirname "$0")/../device-rdma-abort/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
instance g4dn.8xlarge; efa pci0000:00/0000:00:1d.0 0 rdmap0s29 0 efa1
printf 'PATH=/usr/bin\0FI_PROVIDER=efa\0FI_EFA_USE_DEVICE_RDMA=1\0' >"$ROOT/proc/4242/environ"
