#!/bin/sh
# Raises a tunnel by iodine and uses it for a while: pings, and a download at a rate. Call: iodine.sh SECS RATE iodine WORD...
secs=$1 rate=$2
shift 2
"$@" &
tunnel=$!
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do
    ping -c 1 -W 1 10.199.53.1 >/dev/null 2>&1 && break
    sleep 1
done
ping -i 0.5 -c 10 10.199.53.1
timeout "$secs" curl -sS --limit-rate "$rate" -o /dev/null http://10.199.53.1:8053/data.txt
status=$?
kill "$tunnel"
# Ended by time is as good as done.
[ "$status" -eq 0 ] || [ "$status" -eq 124 ]
