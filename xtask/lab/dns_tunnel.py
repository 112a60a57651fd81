"""Carries data in DNS names and answers, as home-made tunnels do.

Call: dns_tunnel.py end --domain D --seed N
      dns_tunnel.py start --ask H --domain D --kind TXT --code base32 --label N --count N --pause-ms MS --poll PERCENT --seed N
"""

import argparse
import base64
import random
import socket
import struct
import time

KINDS = {"A": 1, "CNAME": 5, "NULL": 10, "TXT": 16, "AAAA": 28}


def coded(name):
    return b"".join(bytes([len(label)]) + label for label in name.encode().split(b".") if label) + b"\x00"


def answer_of(rng, kind, domain):
    size = rng.choice((4, 4, 30, 120))
    data = base64.b32encode(rng.randbytes(size)).decode().rstrip("=").lower()
    if kind == 16:
        parts = [data[at:at + 200].encode() for at in range(0, len(data), 200)]
        return b"".join(bytes([len(part)]) + part for part in parts)
    if kind == 5:
        return coded(".".join(data[at:at + 60] for at in range(0, min(len(data), 150), 60)) + "." + domain)
    if kind == 10:
        return rng.randbytes(size)
    return rng.randbytes(16 if kind == 28 else 4)


def end(args, rng):
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("0.0.0.0", 53))
    while True:
        question, peer = server.recvfrom(2048)
        at = 12
        while at < len(question) and question[at]:
            at += question[at] + 1
        if at + 5 > len(question):
            continue
        asked = question[12:at + 5]
        kind = struct.unpack("!H", asked[-4:-2])[0]
        data = answer_of(rng, kind, args.domain)
        head = question[:2] + struct.pack("!HHHHH", 0x8580, 1, 1, 0, 0)
        server.sendto(head + asked + b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(data)) + data, peer)


def start(args, rng):
    one_socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM) if rng.random() < 0.4 else None
    encode = {"base32": lambda data: base64.b32encode(data).decode().rstrip("=").lower(), "hex": bytes.hex,
              "base64": lambda data: base64.urlsafe_b64encode(data).decode().rstrip("=")}[args.code]
    end_at = time.monotonic() + 60
    for number in range(args.count):
        if time.monotonic() > end_at:
            break
        if rng.random() * 100 < args.poll:
            name = f"{number:x}{rng.getrandbits(16):04x}.{args.domain}"
        else:
            room = 220 - len(args.domain)
            text = f"{number:04x}" + encode(rng.randbytes(90))
            text = text[: rng.randint(room // 3, room - room // args.label - 2)]
            name = ".".join(text[at:at + args.label] for at in range(0, len(text), args.label)) + "." + args.domain
        question = struct.pack("!HHHHHH", rng.randrange(65536), 0x0100, 1, 0, 0, 0) + coded(name) + struct.pack("!HH", KINDS[args.kind], 1)
        out = one_socket or socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        out.settimeout(2)
        out.sendto(question, (args.ask, 53))
        try:
            out.recvfrom(4096)
        except TimeoutError:
            print("no answer")
        if not one_socket:
            out.close()
        time.sleep(rng.expovariate(1000 / args.pause_ms))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["end", "start"])
    parser.add_argument("--domain", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--ask")
    parser.add_argument("--kind", choices=KINDS, default="TXT")
    parser.add_argument("--code", choices=["base32", "hex", "base64"], default="base32")
    parser.add_argument("--label", type=int, default=60)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--pause-ms", type=float, default=50)
    parser.add_argument("--poll", type=float, default=0)
    args = parser.parse_args()
    {"end": end, "start": start}[args.role](args, random.Random(args.seed))


main()
