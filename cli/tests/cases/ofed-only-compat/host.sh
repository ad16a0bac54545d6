#!/bin/bash
bash "$(dirname "$0")/../ofed-efa-unloaded/host.sh" "$1"
rm "$1"/sys/module/ib_core/version "$1"/sys/module/ib_uverbs/version "$1"/sys/module/mlx_compat/version
