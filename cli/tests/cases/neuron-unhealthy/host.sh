#!/bin/bash
# trn2.48xlarge, driver 2.30: device 6 has a failed HBM and uncorrectable errors, device 9 a DMA abort and lost EFA link.
set -eu
d=$1/sys/devices/virtual/neuron_device
w() { mkdir -p "$(dirname "$1")"; chmod u+w "$1" 2>/dev/null || :; printf '%s\n' "$2" >"$1"; }
w $d/neuron6/stats/hardware/health_status/unhealthy_components hbm
w $d/neuron6/stats/hardware/health_status/hw_error_event 1
w $d/neuron6/stats/hardware/mem_ecc_uncorrected 3
w $d/neuron6/stats/hardware/sram_ecc_uncorrected 1
w $d/neuron9/stats/hardware/health_status/unhealthy_components "link_efa,firmware_service_processor"
w $d/neuron9/neuron_core2/stats/status/hw_dma_abort_error/total 17
w $d/neuron9/neuron_core2/stats/status/hw_dma_abort_error/present 17
