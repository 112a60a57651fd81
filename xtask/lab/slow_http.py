"""Holds many connections of a server with as little as it takes: headers, bodies or reads by the byte, MQTT sessions.

Call: slow_http.py --mode headers|body|read|mqtt --host H --port P --connections N --rate N --pause S --secs S --seed N
"""

import argparse
import asyncio
import random
import socket
import struct
import time


def agent(rng):
    return f"Mozilla/5.0 (X11; Linux x86_64; rv:{rng.randint(90, 120)}.0) Gecko/20100101 Firefox/{rng.randint(90, 120)}.0"


async def opened(args, window=None):
    connection = socket.socket()
    if window:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window)
    connection.setblocking(False)
    await asyncio.wait_for(asyncio.get_running_loop().sock_connect(connection, (args.host, args.port)), 10)
    return connection


async def headers(args, rng, end):
    loop = asyncio.get_running_loop()
    connection = await opened(args)
    start = f"GET /?{rng.randint(1, 9999)} HTTP/1.1\r\nHost: {args.host}\r\nUser-Agent: {agent(rng)}\r\nAccept-language: en-US\r\n"
    await loop.sock_sendall(connection, start.encode())
    while time.monotonic() < end:
        await asyncio.sleep(args.pause * rng.uniform(0.7, 1.3))
        await loop.sock_sendall(connection, f"X-{rng.choice('abcdefgh')}: {rng.randint(1, 5000)}\r\n".encode())
    connection.close()


async def body(args, rng, end):
    loop = asyncio.get_running_loop()
    connection = await opened(args)
    start = (f"POST /login HTTP/1.1\r\nHost: {args.host}\r\nUser-Agent: {agent(rng)}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
             f"Content-Length: {rng.randint(5000, 100000)}\r\n\r\nusername=")
    await loop.sock_sendall(connection, start.encode())
    while time.monotonic() < end:
        await asyncio.sleep(args.pause * rng.uniform(0.7, 1.3))
        await loop.sock_sendall(connection, bytes(rng.choices(b"abcdefghij", k=rng.randint(1, 6))))
    connection.close()


async def read(args, rng, end):
    loop = asyncio.get_running_loop()
    connection = await opened(args, window=1024)
    one = f"GET /index.html HTTP/1.1\r\nHost: {args.host}\r\nUser-Agent: {agent(rng)}\r\n\r\n".encode()
    await loop.sock_sendall(connection, one * rng.randint(3, 12))
    while time.monotonic() < end:
        await asyncio.sleep(args.pause * rng.uniform(0.3, 0.8))
        if not await loop.sock_recv(connection, rng.randint(8, 64)):
            break
    connection.close()


async def mqtt(args, rng, end):
    loop = asyncio.get_running_loop()
    connection = await opened(args)

    def text(value):
        return struct.pack("!H", len(value)) + value.encode()

    about = text("MQTT") + b"\x04\xc2" + struct.pack("!H", 60000) + text(f"c{rng.getrandbits(48):x}") + text(args.user) + text(args.word)
    await loop.sock_sendall(connection, b"\x10" + bytes([len(about)]) + about)
    await loop.sock_recv(connection, 64)
    await asyncio.sleep(max(0, end - time.monotonic()))
    connection.close()


async def one(args, rng, end):
    # Whom the server sends away comes again.
    while time.monotonic() < end - 1:
        try:
            await globals()[args.mode](args, rng, end)
        except (OSError, asyncio.TimeoutError):
            await asyncio.sleep(1)
        await asyncio.sleep(0.5)


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=["headers", "body", "read", "mqtt"], required=True)
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--pause", type=float, required=True)
    parser.add_argument("--secs", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--user", default="")
    parser.add_argument("--word", default="")
    args = parser.parse_args()
    rng, end, tasks = random.Random(args.seed), time.monotonic() + args.secs, []
    for _ in range(args.connections):
        tasks.append(asyncio.create_task(one(args, random.Random(rng.getrandbits(64)), end)))
        await asyncio.sleep(1 / args.rate)
    await asyncio.wait(tasks, timeout=args.secs + 5)


asyncio.run(main())
