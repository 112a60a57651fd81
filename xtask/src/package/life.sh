#!/bin/sh
# The life of a package in a clean Debian with systemd: install, run, detect, upgrade, remove, purge. Says a line a check:
# `package NAME ok|fail DETAIL`. Runs as root, as a service of the system that it tries. Arguments: folder of packages, the
# architecture, how many seconds anything may take, where to say it.
packages=$1 arch=$2 patience=$3 said=$4
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive
alerts=/var/log/ids-agent/alerts.ndjson

check() {
    name=$1
    shift
    if out=$("$@" 2>&1); then verdict=ok; else verdict=fail; fi
    printf 'package %s %s %s\n' "$name" "$verdict" "$(printf %s "$out" | tr '\n' ' ' | tail -c 400)" >>"$said"
}

# Waits until the command succeeds.
await() {
    left=$patience
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || { echo "never so: $*"; "$@"; return 1; }
        sleep 1
    done
}

network() {
    set -e
    ip link set lo up
    ip netns add outside
    ip link add lan0 type veth peer name out0 netns outside
    ip address add 10.79.0.1/24 dev lan0
    ip link set lan0 up
    ip -n outside address add 10.79.0.2/24 dev out0
    ip -n outside link set out0 up
}

installed() { dpkg -i "$packages"/*_"$arch".deb && [ "$(dpkg-query -W -f '${db:Status-Abbrev}' ids-agent)" = "ii " ]; }
is() { [ "$(systemctl "$1" ids-agent)" = "$2" ] || { systemctl "$1" ids-agent; return 1; }; }
files_whole() { [ -z "$(dpkg -V ids-agent | grep -v ' c ')" ] && [ -s /usr/share/bash-completion/completions/ids-agent ] && zcat /usr/share/man/man1/ids-agent.1.gz | grep -q '^\.TH'; }
# Names what is there and what is missing, and finds the models.
doctor() { ids-agent doctor --interface lan0 >/tmp/doctor; grep -q 'golden vectors reproduce' /tmp/doctor || { cat /tmp/doctor; return 1; }; grep -i -c works /tmp/doctor; }
configured() { sed -i 's/^interfaces = \[\]/interfaces = ["lan0"]/' /etc/ids-agent/config.toml && ids-agent check-config /etc/ids-agent/config.toml | grep -q lan0; }
started() { systemctl start ids-agent && is is-active active || { journalctl -u ids-agent --no-pager -n 8 -o cat; return 1; }; }
own_user() { [ "$(ps -o user:20= -p "$(process)" | tr -d " ")" = ids-agent ]; }
# By the driver itself: `xdpgeneric` is another word.
attached() { ip link show lan0 | grep -q ' xdp '; }
detached() { ! ip link show lan0 | grep xdp && [ -z "$(tc filter show dev lan0 egress)" ] && ! pidof ids-agent; }
# The lab's scan, from outside.
scanned() { ip netns exec outside nmap -sS -n -Pn -T4 --max-rate 300 -p 1-1000 10.79.0.1 >/tmp/nmap 2>&1; }
alerted() { [ "$(grep -c '"class":"port_scan"' $alerts)" -gt "$1" ]; }
detects() { before=$(grep -c '"class":"port_scan"' $alerts 2>/dev/null); scanned && await alerted "${before:-0}" && grep -m1 -o '"src_ip":"10.79.0.2"' $alerts; }
process() { systemctl show -p MainPID --value ids-agent; }
# Another process with the same settings, which goes on with what counted in the meantime.
upgraded() {
    before=$(process)
    dpkg -i "$packages"/next/*_"$arch".deb && await is is-active active && [ "$(process)" != "$before" ] || return 1
    journalctl -u ids-agent --no-pager -o cat _PID="$(process)" IDS_ADOPTED=true | grep attached || return 1
    grep -q lan0 /etc/ids-agent/config.toml && dpkg-query -W -f '${Version}' ids-agent | grep next
}
removed() { dpkg -r ids-agent && [ -f /etc/ids-agent/config.toml ] && [ ! -e /usr/bin/ids-agent ] && detached; }
installed_again() { installed && await is is-active active; }
purged() { dpkg -P ids-agent && detached; }
# Whatever bears our name, but for the user and what tries the package.
nothing_left() { left=$(find / /run -xdev \( -path /proc -o -path /sys -o -path "$packages" \) -prune -o -name '*ids-agent*' -print; find /sys/fs/bpf -name 'ids-agent*'; systemctl list-unit-files --no-legend 'ids-agent*'); [ -z "$left" ] || { echo "$left"; return 1; }; }

# systemd does this by itself, but in a container.
mkdir -p /sys/fs/bpf && mountpoint -q /sys/fs/bpf || mount -t bpf -o mode=700 bpf /sys/fs/bpf
check network network
check install installed
check files files_whole
check enabled is is-enabled enabled
check waits-for-an-interface is is-active inactive
check doctor doctor
check configure configured
check start started
check own-user own_user
check attached attached
check detects detects
check upgrade upgraded
check detects-after-upgrade detects
check remove removed
check install-again installed_again
check purge purged
check nothing-left nothing_left
echo "package end" >>"$said"
systemctl poweroff --force --force
