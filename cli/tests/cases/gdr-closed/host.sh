#!/bin/bash
bash "$(dirname "$0")/../gdr-missing/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
kernel 6.1.102-111.182.amzn2023.x86_64
