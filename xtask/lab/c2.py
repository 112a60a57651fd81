"""A bot and its master, over HTTP, TLS, TCP, UDP, a shell or IRC. The bot does nothing but talk: commands are names, output is made up.

Call: c2.py master|bot --kind KIND --profile N --seed N --port P [--host H --period-ms MS --jitter PERCENT --beats N] [--tls PREFIX]
"""

import argparse
import base64
import http.client
import json
import os
import random
import socket
import ssl
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

AGENTS = [
    "Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0)", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/96.0 Safari/537.36",
    "Mozilla/4.0", "Go-http-client/1.1", "WinHTTP/1.0", "Microsoft-CryptoAPI/10.0",
]
# Path, how the answer of the bot travels, size of a task in bytes.
PROFILES = [
    ("/jquery-3.3.1.min.js", "cookie", 48), ("/submit.php?id={id}", "body", 16), ("/api/v2/status", "json", 200), ("/updates/check.asp?v={id}", "query", 0),
    ("/en-us/test.html?page={id}", "cookie", 400), ("/news.php", "body", 96),
]
COMMANDS = ["whoami", "id", "hostname", "ipconfig /all", "ls -la /home", "cat /etc/passwd", "ps aux", "netstat -an", "uname -a", "pwd", "dir C:\\Users", "systeminfo"]


def made_up(rng, low, high):
    lines = []
    while sum(map(len, lines)) < rng.randint(low, high):
        lines.append(" ".join("".join(rng.choices("abcdefghijklmnop/.-0123456789", k=rng.randint(2, 12))) for _ in range(rng.randint(2, 9))))
    return "\n".join(lines) + "\n"


def exactly(connection, count):
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class Master:
    def __init__(self, args):
        self.args = args
        self.rng = random.Random(args.seed + 1)

    def http(self):
        args, rng = self.args, self.rng
        task_bytes = PROFILES[args.profile - 1][2]

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            server_version, sys_version = rng.choice([("nginx", ""), ("Apache", ""), ("Microsoft-IIS/8.5", "")])

            def log_message(self, *_):
                pass

            def do_GET(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                # Now and then there is something to do.
                size = task_bytes + (rng.randint(200, 6000) if rng.random() < 0.12 else 0)
                body = base64.b64encode(rng.randbytes(size)) if size else b""
                self.send_response(200)
                self.send_header("Content-Type", rng.choice(["text/html", "application/octet-stream"]))
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Connection", "close")
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

        server = ThreadingHTTPServer(("0.0.0.0", args.port), Handler)
        server.daemon_threads = True
        if args.kind == "https":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(args.tls + ".crt", args.tls + ".key")
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.serve_forever()

    https = http

    def accept(self, talk):
        server = socket.create_server(("0.0.0.0", self.args.port))
        while True:
            connection, _ = server.accept()
            threading.Thread(target=self.guarded, args=(talk, connection), daemon=True).start()

    @staticmethod
    def guarded(talk, connection):
        with connection:
            try:
                talk(connection)
            except (OSError, EOFError):
                pass

    def tcp(self):
        def talk(connection):
            while True:
                size = struct.unpack("!H", exactly(connection, 2))[0]
                exactly(connection, size)
                task = self.rng.randbytes(self.rng.choice((4, 4, 4, 64, 900)))
                connection.sendall(struct.pack("!H", len(task)) + task)

        self.accept(talk)

    def udp(self):
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        server.bind(("0.0.0.0", self.args.port))
        while True:
            _, peer = server.recvfrom(2048)
            server.sendto(self.rng.randbytes(self.rng.choice((8, 8, 120))), peer)

    def shell(self):
        def talk(connection):
            for _ in range(1000):
                connection.recv(65536)
                time.sleep(self.args.period_ms / 1000 * self.rng.uniform(0.3, 1.7))
                connection.sendall(self.rng.choice(COMMANDS).encode() + b"\n")

        self.accept(talk)

    def irc(self):
        def talk(connection):
            stream = connection.makefile("rwb", buffering=0)
            nick = "bot"
            for line in stream:
                words = line.decode("latin-1").split()
                if words[:1] == ["NICK"]:
                    nick = words[1]
                elif words[:1] == ["USER"]:
                    stream.write(f":irc 001 {nick} :Welcome\r\n:irc 376 {nick} :End of MOTD\r\n".encode())
                elif words[:1] == ["JOIN"]:
                    stream.write(f":{nick}!u@h JOIN {words[1]}\r\n:irc 332 {nick} {words[1]} :.scan 10.0.0.0/8\r\n".encode())
                    threading.Thread(target=self.command, args=(stream, words[1]), daemon=True).start()
                elif words[:1] == ["PING"]:
                    stream.write(b"PONG :irc\r\n")

        self.accept(talk)

    def command(self, stream, channel):
        orders = [".status", ".ddos.syn 198.51.100.7 80 60", ".login x", ".update http://h.test/b", ".version", ".uptime"]
        try:
            while True:
                time.sleep(self.args.period_ms / 1000 * self.rng.uniform(0.5, 1.5))
                stream.write(f":boss!u@h PRIVMSG {channel} :{self.rng.choice(orders)}\r\n".encode())
        except (OSError, ValueError):
            pass


class Bot:
    def __init__(self, args):
        self.args = args
        self.rng = random.Random(args.seed)
        self.name = f"{self.rng.getrandbits(32):08x}"
        self.agent = self.rng.choice(AGENTS)

    def pause(self):
        spread = self.args.jitter / 100
        time.sleep(self.args.period_ms / 1000 * self.rng.uniform(1 - spread, 1 + spread))

    def beats(self):
        for number in range(self.args.beats):
            if number:
                self.pause()
            yield number

    def http(self):
        path, way, _ = PROFILES[self.args.profile - 1]
        for _ in self.beats():
            if self.args.kind == "https":
                context = ssl.create_default_context()
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                if self.args.profile % 2:
                    context.maximum_version = ssl.TLSVersion.TLSv1_2
                client = http.client.HTTPSConnection(self.args.host, self.args.port, timeout=10, context=context)
            else:
                client = http.client.HTTPConnection(self.args.host, self.args.port, timeout=10)
            about = base64.b64encode(os.urandom(self.rng.randint(40, 120))).decode()
            headers, body, method = {"User-Agent": self.agent, "Accept": "*/*"}, None, "GET"
            if way == "cookie":
                headers["Cookie"] = f"__cfduid={about}"
            elif way == "body":
                method, body = "POST", about
            elif way == "json":
                method, body = "POST", json.dumps({"id": self.name, "up": int(time.monotonic()), "data": about})
            client.request(method, path.format(id=self.name), body, headers)
            client.getresponse().read()
            client.close()

    https = http

    def tcp(self):
        for _ in self.beats():
            with socket.create_connection((self.args.host, self.args.port), 10) as connection:
                about = self.rng.randbytes(self.rng.randint(24, 90))
                connection.sendall(struct.pack("!H", len(about)) + about)
                exactly(connection, struct.unpack("!H", exactly(connection, 2))[0])

    def udp(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.settimeout(5)
            for _ in self.beats():
                out.sendto(self.rng.randbytes(self.rng.choice((9, 14, 32))), (self.args.host, self.args.port))
                out.recvfrom(2048)

    def shell(self):
        with socket.create_connection((self.args.host, self.args.port), 10) as connection:
            connection.sendall(b"bash: no job control in this shell\nuser@host:~$ ")
            for _ in range(self.args.beats):
                connection.recv(4096)
                time.sleep(self.rng.uniform(0.01, 0.2))
                connection.sendall(made_up(self.rng, 10, 2500).encode() + b"user@host:~$ ")

    def irc(self):
        with socket.create_connection((self.args.host, self.args.port), 10) as connection:
            stream = connection.makefile("rwb", buffering=0)
            stream.write(f"NICK [{self.name}]\r\nUSER x{self.name} 0 * :{self.name}\r\n".encode())
            left = self.args.beats
            for line in stream:
                words = line.decode("latin-1").split()
                if "376" in words[1:2]:
                    stream.write(b"JOIN #b0t\r\n")
                elif "PRIVMSG" in words:
                    stream.write(f"PRIVMSG #b0t :{made_up(self.rng, 8, 120).strip()[:300]!r}\r\n".encode())
                    left -= 1
                    if left % 4 == 0:
                        stream.write(b"PING :x\r\n")
                    if left <= 0:
                        stream.write(b"QUIT :bye\r\n")
                        return


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=["master", "bot"])
    parser.add_argument("--kind", choices=["http", "https", "tcp", "udp", "shell", "irc"], required=True)
    parser.add_argument("--profile", type=int, choices=range(1, 7), required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host")
    parser.add_argument("--period-ms", type=int, default=2000)
    parser.add_argument("--jitter", type=int, default=0)
    parser.add_argument("--beats", type=int, default=13)
    parser.add_argument("--tls", default="tls")
    args = parser.parse_args()
    role = Master(args) if args.role == "master" else Bot(args)
    getattr(role, args.kind)()


main()
