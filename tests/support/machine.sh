#!/bin/sh
# Runs a command on an emulated machine. In a new mount namespace, /sys is TREE/sys, and /dev has the standard nodes and those of
# TREE/dev. Nothing changes outside of the namespace, which ends with the command.
#
#   machine.sh --check
#   machine.sh [--unprivileged] TREE COMMAND [ARGUMENT...]
#
# --check: only checks whether this system lets the caller create the namespace.
# --unprivileged: runs the command without privilege: as the user 65534 if root calls, else as the calling user.
set -eu

if [ "$1" != --inside ]; then
    case $(id -u) in
        0) become_root= drop='setpriv --reuid=65534 --regid=65534 --clear-groups' ;;
        *) become_root=--map-root-user drop='setpriv --bounding-set=-all --inh-caps=-all' ;;
    esac
    # shellcheck disable=SC2086 # options, to be split
    case $1 in
        --check) exec unshare --mount $become_root true ;;
        --unprivileged) shift ;;
        *) drop= ;;
    esac
    # shellcheck disable=SC2086 # options, to be split
    exec unshare --mount --propagation private $become_root sh "$0" --inside "$drop" "$@"
fi

drop=$2 tree=$3
shift 3

# TMPDIR may be in /dev/shm, which is mounted over below.
dev=$(mktemp -d /tmp/emulated-dev.XXXXXX)
mount -t tmpfs -o mode=755 emulated "$dev"
bind() {
    if [ -d "$1" ]; then mkdir "$2"; else : >"$2"; fi
    mount --bind "$1" "$2"
}
for node in null zero full random urandom tty shm; do
    bind /dev/$node "$dev/$node"
done
ln -s /proc/self/fd "$dev/fd"
for node in "$tree"/dev/*; do
    bind "$node" "$dev/${node##*/}"
done
mount --rbind "$dev" /dev
umount --lazy "$dev"
rmdir "$dev"
mount --rbind "$tree/sys" /sys

# shellcheck disable=SC2086 # a command, to be split
exec $drop "$@"
