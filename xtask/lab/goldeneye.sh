#!/bin/sh
# GoldenEye for some seconds, mended where the Python of today refuses a fraction as a number of things.
# Call: goldeneye.sh SECS WORD...
set -eu
secs=$1
shift
sed 's|len(acceptEncoding)/2|len(acceptEncoding)//2|; s|len(acceptEncoding) */ *2|len(acceptEncoding)//2|' "$(command -v goldeneye)" >mended.py
exec timeout -s INT "$secs" /usr/bin/python3 mended.py "$@"
