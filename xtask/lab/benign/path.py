"""The way between the LAN and the WAN: holds packets back as distance does, at a link's rate, with a little loss and hops.

Runs in the gateway's namespace behind the capture point, on a TUN interface that policy routing leads every forwarded packet
through. This kernel has no netem; at the rates of a home a small program does as well.
"""

import fcntl
import heapq
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import time

from world import World

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
HELD_MAX = 20_000
TABLE = 100
# Where it can be seen that the way is open.
READY_PORT = 4
# A queue of this long at the slow link, as home routers have; beyond it packets are dropped.
QUEUE_SECS_MAX = 0.25


def open_tun(name):
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return tun


def take_hops(packet, hops):
    """Lowers the TTL as routers on the way would, and mends the IPv4 header's checksum."""
    if packet[0] >> 4 == 6:
        packet[7] = max(2, packet[7] - hops)
        return
    old = packet[8]
    new = max(2, old - hops)
    packet[8] = new
    total = (packet[10] << 8 | packet[11]) + ((old - new) << 8)
    total = (total & 0xFFFF) + (total >> 16)
    packet[10], packet[11] = total >> 8 & 0xFF, total & 0xFF


class Way:
    """One remote address: its own distance, and in-order delivery each way."""

    def __init__(self, rng, rtt_ms, hops, loss):
        self.half = rtt_ms / 2000.0
        self.jitter = self.half * rng.uniform(0.01, 0.12)
        self.hops = hops
        self.loss = loss
        self.last = [0.0, 0.0]


def lead_through(addresses, name):
    """Only what goes to or comes from these addresses takes this way; an attack beside it goes at the kernel's speed."""
    lines = {4: [f"link set {name} up", f"route add default dev {name} table {TABLE}"], 6: [f"route add default dev {name} table {TABLE}"]}
    for address in addresses:
        lines[6 if ":" in address else 4] += [f"rule add iif lan0 to {address} lookup {TABLE}", f"rule add iif wan0 from {address} lookup {TABLE}"]
    for family, batch in lines.items():
        subprocess.run(["ip", f"-{family}", "-batch", "-"], input="\n".join(batch) + "\n", text=True, check=True)


def time_exceeded(packet, router):
    """What the router says at which a packet's hops ran out (RFC 792)."""
    said = packet[:28]
    body = bytearray(b"\x0b\0\0\0\0\0\0\0" + said)
    body[2:4] = struct.pack("!H", checksum(body))
    head = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), random.randrange(65536), 0, 250, 1, 0, router, bytes(packet[12:16])))
    head[10:12] = struct.pack("!H", checksum(head))
    return head + body


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) // 2 * 2])) + (data[-1] << 8 if len(data) % 2 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def main(settings):
    with open(settings) as text:
        plan = json.load(text)
    rng = random.Random(f"{plan['seed']}/path")
    tun = open_tun("path0")
    down, up = (rate * 1e6 / 8 for rate in plan["link_mbit"])
    ways = {}
    for site in World(plan).sites:
        # A cable loses nothing, a far mobile network one in two hundred.
        loss = rng.choice([0, 0, 0, 0, 0.0005, 0.002, 0.005])
        for address in filter(None, (site.v4, site.v6)):
            packed = socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)
            if packed not in ways:
                ways[packed] = (address, Way(rng, site.rtt_ms, site.hops, loss))
    lead_through([address for address, _ in ways.values()], "path0")
    ways = {packed: way for packed, (_, way) in ways.items()}
    routers = [bytes([10, rng.randrange(255), rng.randrange(255), rng.randrange(1, 255)]) for _ in range(24)]
    ready = socket.create_server(("127.0.0.1", READY_PORT))
    carry(tun, rng, ways, routers, down, up)
    del ready


def carry(tun, rng, ways, routers, down, up):
    """The loop: reads what the kernel leads here, and gives each packet back when its time has come."""
    free_at = [0.0, 0.0]
    held = []
    number = 0
    while True:
        now = time.monotonic()
        wait = 1.0
        while held and held[0][0] <= now:
            try:
                os.write(tun, held[0][2])
            except OSError:
                pass  # the interface's queue is full: lost, as on any way
            heapq.heappop(held)
        if held:
            wait = min(wait, held[0][0] - now)
        if not select.select([tun], [], [], max(0.0, wait))[0]:
            continue
        for _ in range(64):
            try:
                packet = bytearray(os.read(tun, 65535))
            except BlockingIOError:
                break
            if len(packet) < 20:
                continue
            six = packet[0] >> 4 == 6
            source = bytes(packet[8:24] if six else packet[12:16])
            target = bytes(packet[24:40] if six else packet[16:20])
            way, outward = ways.get(target), 1
            if way is None:
                way, outward = ways.get(source), 0
            if way is None or len(held) >= HELD_MAX or (way.loss and rng.random() < way.loss):
                continue
            now = time.monotonic()
            rate = up if outward else down
            starts = max(now, free_at[outward])
            if starts - now > QUEUE_SECS_MAX:
                continue
            free_at[outward] = starts + len(packet) / rate
            due = free_at[outward] + way.half + abs(rng.gauss(0, way.jitter))
            # One way, one order: paths rarely swap packets.
            due = max(due, way.last[outward])
            way.last[outward] = due
            ttl = packet[7 if six else 8]
            if outward and ttl <= way.hops:
                if six or ttl == 0:
                    continue
                due = now + way.half * 2 * ttl / max(1, way.hops)
                packet = time_exceeded(packet, routers[min(ttl, len(routers) - 1)])
            else:
                take_hops(packet, way.hops)
            number += 1
            heapq.heappush(held, (due, number, packet))


if __name__ == "__main__":
    main(sys.argv[1])
