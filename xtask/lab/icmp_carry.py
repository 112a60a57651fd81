"""Carries data out in echo requests. Call: icmp_carry.py --host H --size BYTES --count N --pause-ms MS --seed N"""

import argparse
import random
import socket
import struct
import time

parser = argparse.ArgumentParser()
parser.add_argument("--host", required=True)
parser.add_argument("--size", type=int, required=True)
parser.add_argument("--count", type=int, required=True)
parser.add_argument("--pause-ms", type=float, required=True)
parser.add_argument("--seed", type=int, required=True)
args = parser.parse_args()
rng = random.Random(args.seed)
end = time.monotonic() + 55
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
for number in range(args.count):
    if time.monotonic() > end:
        break
    body = struct.pack("!BBHHH", 8, 0, 0, args.seed & 0xFFFF, number & 0xFFFF) + rng.randbytes(args.size)
    total = sum(struct.unpack(f"!{len(body) // 2}H", body[: len(body) // 2 * 2]))
    total = (total & 0xFFFF) + (total >> 16)
    total = ~(total + (total >> 16)) & 0xFFFF
    out.sendto(body[:2] + struct.pack("!H", total) + body[4:], (args.host, 0))
    time.sleep(rng.expovariate(1000 / args.pause_ms))
