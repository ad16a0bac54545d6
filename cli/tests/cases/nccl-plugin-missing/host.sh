#!/bin/bash
# p5en.48xlarge, EFA healthy, libfabric of the EFA installer there; NCCL's plugin (aws-ofi-nccl) is not, and pid 31 runs NCCL with NCCL_NET unset.
bash "$(dirname "$0")/../p5en-fair-rails/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
put opt/amazon/efa/lib/libfabric.so.1.29.0 ELF; ln -s libfabric.so.1.29.0 "$ROOT/opt/amazon/efa/lib/libfabric.so.1"
put etc/ld.so.conf "include ld.so.conf.d/*.conf"; put etc/ld.so.conf.d/000_efa.conf /opt/amazon/efa/lib
put proc/31/comm python3; put proc/31/limits "Max locked memory         unlimited            unlimited            bytes     "
put proc/31/status "Name:	python3
CapEff:	0000000000000000"
put proc/31/maps "7f0000000000-7f0000100000 r-xp 00000000 08:01 99 /usr/lib/x86_64-linux-gnu/libnccl.so.2.27.3"
printf 'PATH=/usr/bin\0NCCL_DEBUG=INFO\0FI_PROVIDER=efa\0' >"$ROOT/proc/31/environ"
