"""Connects to ports of hosts one after the other, in an order of the seed's, as a script or a worm does."""

import argparse
import asyncio
import random


def ports_of(text):
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


async def probe(host, port):
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), 2)
    except (OSError, asyncio.TimeoutError):
        return
    print("open", host, port)
    writer.close()


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--hosts", required=True)
    parser.add_argument("--ports", required=True)
    parser.add_argument("--pause-ms", type=float, required=True)
    args = parser.parse_args()
    rng = random.Random(args.seed)
    targets = [(host, port) for host in args.hosts.split(",") for port in ports_of(args.ports)]
    if rng.random() < 0.6:
        rng.shuffle(targets)
    at_work = set()
    for host, port in targets:
        task = asyncio.create_task(probe(host, port))
        at_work.add(task)
        task.add_done_callback(at_work.discard)
        while len(at_work) > 60:
            await asyncio.sleep(0.05)
        await asyncio.sleep(rng.expovariate(1000 / args.pause_ms))
    await asyncio.gather(*at_work)


asyncio.run(main())
