"""The length of the internet: takes packets from a tun device and gives them back after a while, each way by the address of the far host.

Call: delay.py DEVICE READY-FILE SEED LOSS-PER-MILLION ADDRESS=MS...
Keeps the order of packets of a host, and loses some as asked.
"""

import fcntl
import heapq
import os
import random
import select
import socket
import struct
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
HELD_MAX = 20_000

device, ready, seed, loss = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]) / 1e6
delays = {}
for word in sys.argv[5:]:
    address, _, ms = word.partition("=")
    delays[socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)] = int(ms) / 1000
rng = random.Random(seed)
tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", device.encode(), IFF_TUN | IFF_NO_PI))
poll = select.poll()
poll.register(tun, select.POLLIN)
with open(ready, "w", encoding="ascii"):
    pass

held, last, number = [], {}, 0
while True:
    now = time.monotonic()
    while held and held[0][0] <= now:
        try:
            os.write(tun, heapq.heappop(held)[2])
        except OSError:
            pass
    # To the tenth of a millisecond, by waiting once and looking again.
    poll.poll(max(0, (held[0][0] - now) * 1000) if held else None)
    now = time.monotonic()
    for _ in range(64):
        try:
            packet = os.read(tun, 65536)
        except BlockingIOError:
            break
        v4 = packet[0] >> 4 == 4
        source, target = (packet[12:16], packet[16:20]) if v4 else (packet[8:24], packet[24:40])
        wait = delays.get(source, 0) + delays.get(target, 0)
        if (loss and rng.random() < loss) or len(held) >= HELD_MAX:
            continue
        way = (source in delays, source if source in delays else target)
        due = max(now + wait * (1 + 0.04 * rng.random()), last.get(way, 0))
        last[way] = due
        number += 1
        heapq.heappush(held, (due, number, packet))
