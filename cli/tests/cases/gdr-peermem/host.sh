#!/bin/bash
bash "$(dirname "$0")/../gdr-missing/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
module efa_nv_peermem 1.2.2
