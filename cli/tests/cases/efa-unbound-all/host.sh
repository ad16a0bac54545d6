#!/bin/bash
# p5.48xlarge: the efa module is loaded and drives no interface.
bash "$(dirname "$0")/../kernel-stack-efa-unloaded/host.sh" "$1"
mkdir -p "$1/sys/module/efa"; echo 2.13.0g >"$1/sys/module/efa/version"
