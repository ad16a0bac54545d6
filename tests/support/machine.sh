#!/bin/sh
# Runs a command on an emulated machine: TREE/sys as /sys, and as /dev the standard nodes and what is in TREE/dev, in a
# mount namespace of its own. Nothing outside changes, and it ends with the command.
#
#   machine.sh --check
#   machine.sh [--unprivileged] TREE COMMAND [ARGUMENT...]
#
# --check: only whether this system lets the caller make such a namespace.
# --unprivileged: the command runs without any privilege: as nobody, or for a caller who is not root, as that user.
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

# Not in TMPDIR, which may be in /dev/shm.
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
