#!/bin/bash
# trn1.2xlarge (2 cores) and processes with settings for bigger hosts: pid 11 asks for 32 cores, 12 uses the removed group sizes, 13 names 24 of 32 cores in another order, 14 has both variables.
set -eu
p() { mkdir -p "$1/proc/$2"; echo python3 >"$1/proc/$2/comm"; : >"$1/proc/$2/maps"
  printf 'Max locked memory         unlimited            unlimited            bytes     \n' >"$1/proc/$2/limits"; printf "$3" >"$1/proc/$2/environ"; }
p "$1" 11 'PATH=/usr/bin\0NEURON_RT_NUM_CORES=32\0'
p "$1" 12 'PATH=/usr/bin\0NEURONCORE_GROUP_SIZES=1,1,1,1\0'
p "$1" 13 'PATH=/usr/bin\0NEURON_RT_VISIBLE_CORES=0-1\0NEURON_RT_NUM_CORES=2\0'
p "$1" 14 'PATH=/usr/bin\0NEURON_RT_VISIBLE_CORES=0-1\0NEURON_RT_NUM_CORES=1\0'
p "$1" 15 'PATH=/usr/bin\0NEURON_RT_VISIBLE_CORES=0,1,2,3\0'
p "$1" 16 'PATH=/usr/bin\0NEURON_RT_NUM_CORES=all\0'
# 17 asks for all cores of the host, 18 asks for more cores than it names.
p "$1" 17 'PATH=/usr/bin\0NEURON_RT_NUM_CORES=2\0'
p "$1" 18 'PATH=/usr/bin\0NEURON_RT_VISIBLE_CORES=0-1\0NEURON_RT_NUM_CORES=32\0'
