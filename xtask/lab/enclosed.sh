#!/bin/sh
# Runs a program on a machine of the lab, with files of its own where the system keeps one for all: its own /run, /var/run and
# /var/log, and in /etc what lies in DIR/etc. Call: enclosed.sh DIR HOME HOSTNAME PROGRAM [WORD...], in mount and
# UTS namespaces that nobody else sees, so that nothing of it outlives the program.
set -eu
dir=$1 home=$2 name=$3
shift 3
echo "$name" >/proc/sys/kernel/hostname
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/sshd /run/lock /run/vsftpd/empty /run/user
[ ! -d /var/log ] || mount -t tmpfs -o mode=755 tmpfs /var/log
for file in "$dir"/etc/*; do
    [ -e "/etc/${file##*/}" ] || [ -L "/etc/${file##*/}" ] || continue
    place=$(readlink -m "/etc/${file##*/}")
    # A link into /run leads nowhere now.
    [ -e "$place" ] || { mkdir -p "${place%/*}" && : >"$place"; }
    mount --bind "$file" "$place"
done
cd "$home"
PATH=$PATH:/usr/sbin:/sbin HOME=$home PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 no_proxy='*' NO_PROXY='*'
export PATH HOME PYTHONDONTWRITEBYTECODE PYTHONUNBUFFERED no_proxy NO_PROXY
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy 2>/dev/null || true
exec "$@"
