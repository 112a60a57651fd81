"""Asks for names that a generator made, as a bot does that looks for its master. Call: dga.py --resolver H --seed N --style S --count N --pause-ms MS"""

import argparse
import random
import socket
import struct
import time

TLDS = "com net org info biz ru cn top xyz club in eu su cc pw".split()
WORDS = "house river green table stone light paper cloud apple night glass bread chain field train horse plant sweet round sharp".split()


def name_of(rng, style):
    if style == "hex":
        label = f"{rng.getrandbits(64):016x}"[: rng.randint(10, 16)]
    elif style == "words":
        label = "".join(rng.choices(WORDS, k=rng.choice((2, 2, 3))))
    elif style == "vowels":
        label = "".join(rng.choice("bcdfghklmnprstv") + rng.choice("aeiou") for _ in range(rng.randint(4, 7)))
    elif style == "long":
        label = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=rng.randint(24, 32)))
    else:
        label = "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(7, 19)))
    return f"{label}.{rng.choice(TLDS)}"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--resolver", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--style", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--pause-ms", type=float, required=True)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    for _ in range(args.count):
        labels = name_of(rng, args.style).encode().split(b".")
        question = b"".join(bytes([len(label)]) + label for label in labels) + b"\x00" + struct.pack("!HH", 1, 1)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.settimeout(2)
            out.sendto(struct.pack("!HHHHHH", rng.randrange(65536), 0x0100, 1, 0, 0, 0) + question, (args.resolver, 53))
            try:
                out.recvfrom(2048)
            except TimeoutError:
                pass
        time.sleep(rng.expovariate(1000 / args.pause_ms))


main()
