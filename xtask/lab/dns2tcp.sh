#!/bin/sh
# Raises a tunnel by dns2tcp and downloads through it at a rate. Call: dns2tcp.sh SECS RATE dns2tcpc WORD...
secs=$1 rate=$2
shift 2
"$@" &
tunnel=$!
sleep 2
timeout "$secs" curl -sS --limit-rate "$rate" -o /dev/null http://127.0.0.1:8054/data.txt
status=$?
kill "$tunnel"
[ "$status" -eq 0 ] || [ "$status" -eq 124 ]
