#!/bin/bash
bash "$(dirname "$0")/../gdr-missing/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
instance g5.48xlarge
