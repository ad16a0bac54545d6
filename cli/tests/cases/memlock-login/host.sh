#!/bin/bash
bash "$(dirname "$0")/../slurm-memlock/host.sh" "$1"
. "$(dirname "$0")/../lib.sh"
printf 'PATH=/usr/bin\0' >"$ROOT/proc/951/environ"
put proc/951/status "Name:	osu_bw
PPid:	1
CapEff:	0000000000000000"
put proc/951/cgroup "0::/user.slice/user-1000.slice/session-3.scope"
