"""The web application behind every site of the lab: pages, objects, forms, APIs, video segments, updates, WebSockets."""

import base64
import hashlib
import json
import random
import re
import socket
import ssl
import struct
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import dns_server

BLOB = random.Random("blob").randbytes(1 << 20)
OBJECT_BYTES_MAX = 60_000_000
UPLOAD_BYTES_MAX = 80_000_000
KINDS = ("png", "jpg", "css", "js", "woff2", "svg", "webp")
TYPES = {"png": "image/png", "jpg": "image/jpeg", "css": "text/css", "js": "text/javascript", "woff2": "font/woff2",
         "svg": "image/svg+xml", "webp": "image/webp", "ts": "video/mp2t", "m3u8": "application/vnd.apple.mpegurl",
         "deb": "application/vnd.debian.binary-package", "json": "application/json"}


class App:
    """What a site says; the handler below puts it on the wire."""

    def __init__(self, world, scratch):
        self.world = world
        self.scratch = scratch
        self.others = [site.name for site in world.of("cdn")] or [site.name for site in world.of("web")]
        self.password = world.passwords["web"]

    def page(self, site, number):
        """The same address gives the same page, as most sites do."""
        rng = random.Random(f"{self.world.plan['seed']}/{site}/{number}")
        words = [rng.choice(WORDS) for _ in range(rng.randrange(60, 900))]
        parts = [f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{words[0]} {words[1]}</title>"]
        # Some pages have few objects, news pages a hundred; large pictures come from a content network.
        count = min(110, int(rng.lognormvariate(2.3, 0.8)) + 2)
        for index in range(count):
            size = int(min(900_000, max(200, rng.lognormvariate(8.6, 1.3))))
            kind = rng.choice(KINDS)
            far = rng.random() < 0.35 and self.others
            host = f"//{rng.choice(self.others)}" if far else ""
            address = f"{host}/o/{size}/{rng.randrange(1 << 40):x}.{kind}"
            if rng.random() < 0.2:
                address += f"?v={rng.randrange(1, 99)}.{rng.randrange(99)}&amp;w={rng.randrange(100, 2000)}"
            if kind == "css":
                parts.append(f'<link rel=stylesheet href="{address}">')
            elif kind == "js":
                parts.append(f'<script src="{address}"></script>')
            else:
                parts.append(f'<img alt="" src="{address}">')
        parts.append('<link rel=icon href="/favicon.ico"></head><body>')
        parts.append(" ".join(words))
        for _ in range(rng.randrange(4, 14)):
            parts.append(f'<p><a href="/p/{rng.randrange(24)}">{rng.choice(WORDS)}</a>')
        parts.append('<form action="/search" method=get><input name=q><input type=submit></form>')
        if rng.random() < 0.5:
            parts.append(f"<script>fetch('/api/v1/suggest?page={number}&t='+Date.now()).catch(()=>0)</script>")
        if rng.random() < 0.3:
            parts.append("<script>navigator.sendBeacon&&navigator.sendBeacon('/api/collect',JSON.stringify({e:'view',p:location.pathname}))</script>")
        parts.append("</body></html>")
        return "".join(parts).encode()

    def items(self, path, rng):
        return {"path": path, "ok": True, "items": [
            {"id": rng.randrange(1 << 30), "name": rng.choice(WORDS), "score": round(rng.random(), 4)} for _ in range(rng.randrange(1, 40))
        ]}


WORDS = ("time people year way day thing man world life hand part child eye woman place work week case point government company number "
         "group problem fact water story room money study book question night area house side mother business issue kind head father "
         "service friend power hour game line end member law car city community name president team minute idea body back parent face").split()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "webd"
    sys_version = ""
    timeout = 75
    disable_nagle_algorithm = True

    def setup(self):
        # The handshake belongs to the connection's own thread, not to the one that accepts.
        if self.server.tls is not None:
            self.request.settimeout(20)
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def log_message(self, *_):
        pass

    def site(self):
        return self.headers.get("X-Site") or self.headers.get("Host", "site").split(":")[0]

    def answer(self, status, body=b"", kind="text/html; charset=utf-8", more=()):
        self.send_response(status)
        if status not in (204, 304):
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        for name, value in more:
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        """Reads what was sent, all of it, and keeps its beginning."""
        kept = b""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while True:
                size = int(self.rfile.readline(64).split(b";")[0] or b"0", 16)
                chunk = self.rfile.read(size)
                self.rfile.readline(8)
                kept = (kept + chunk)[:65536]
                if size == 0:
                    return kept
        left = min(int(self.headers.get("Content-Length") or 0), UPLOAD_BYTES_MAX)
        while left > 0:
            chunk = self.rfile.read(min(left, 65536))
            if not chunk:
                break
            left -= len(chunk)
            kept = (kept + chunk)[:65536]
        return kept

    def blob(self, size, kind):
        first, last, status = 0, size - 1, 200
        more = [("Cache-Control", "max-age=86400"), ("Accept-Ranges", "bytes"), ("ETag", f'"{size:x}"')]
        wanted = re.match(r"bytes=(\d+)-(\d*)$", self.headers.get("Range", ""))
        if wanted and int(wanted[1]) < size:
            first, status = int(wanted[1]), 206
            last = min(int(wanted[2]) if wanted[2] else last, last)
            more.append(("Content-Range", f"bytes {first}-{last}/{size}"))
        self.send_response(status)
        self.send_header("Content-Type", TYPES.get(kind, "application/octet-stream"))
        self.send_header("Content-Length", str(last - first + 1))
        for name, value in more:
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        left = last - first + 1
        while left > 0:
            piece = BLOB[: min(left, len(BLOB))]
            self.wfile.write(piece)
            left -= len(piece)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        app = self.server.app
        url = urllib.parse.urlsplit(self.path)
        path = url.path
        rng = random.Random(f"{self.site()}{self.path}")
        if path == "/" or path.startswith("/p/"):
            cookie = [] if "sid=" in self.headers.get("Cookie", "") else [("Set-Cookie", f"sid={hashlib.md5(str(time.time()).encode()).hexdigest()}; Path=/; HttpOnly")]
            if path == "/" and rng.random() < 0.3 and not self.headers.get("Cookie"):
                return self.answer(302, b"", more=[("Location", f"/p/{rng.randrange(24)}"), *cookie])
            return self.answer(200, app.page(self.site(), path), more=cookie)
        if match := re.match(r"/(?:o|pool|seg)/(\d+)/[^/]*?\.?(\w+)$", path):
            if self.headers.get("If-None-Match") == f'"{int(match[1]):x}"':
                return self.answer(304)
            return self.blob(min(int(match[1]), OBJECT_BYTES_MAX), match[2])
        if match := re.match(r"/live/(\d+)/(\d+)/index.m3u8$", path):
            # A live list: six seconds a segment, the last five of them.
            now, rate = int(time.time() / 4), int(match[2])
            lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:4", f"#EXT-X-MEDIA-SEQUENCE:{now - 4}"]
            for number in range(now - 4, now + 1):
                size = int(rate * 500 * (0.8 + 0.4 * random.Random(f"{number}{rate}").random()))
                lines += ["#EXTINF:4.000,", f"/seg/{size}/{number}.ts"]
            return self.answer(200, "\n".join(lines).encode(), TYPES["m3u8"])
        if path == "/search":
            return self.answer(200, app.page(self.site(), url.query))
        if path == "/login":
            return self.answer(200, b"<!doctype html><title>Sign in</title><form method=post action=/login><input name=user><input type=password "
                                    b"name=password><input type=hidden name=csrf value=" + hashlib.sha1(self.path.encode()).hexdigest().encode() +
                                    b"><input type=submit id=go></form>")
        if path == "/logo":
            return self.blob(4000, "png")
        if path == "/generate_204" or path == "/gen_204":
            return self.answer(204)
        if path in ("/connecttest.txt", "/hotspot-detect.html", "/success.txt", "/ncsi.txt"):
            return self.answer(200, b"Microsoft Connect Test", "text/plain")
        if path.startswith("/r/"):
            return self.answer(rng.choice([301, 302, 307]), more=[("Location", f"/p/{rng.randrange(24)}")])
        if path == "/ws" and self.headers.get("Upgrade", "").lower() == "websocket":
            return self.websocket()
        if path == "/dns-query":
            query = base64.urlsafe_b64decode(urllib.parse.parse_qs(url.query).get("dns", [""])[0] + "==")
            return self.answer(200, dns_server.answer(app.world.zone, query, 65000), "application/dns-message")
        if path.startswith("/api/") or path.endswith(".json"):
            text = json.dumps(app.items(path, rng)).encode()
            return self.answer(200, text, TYPES["json"], [("Access-Control-Allow-Origin", "*")])
        if path.startswith(("/dav/", "/health", "/metrics", "/status")):
            return self.answer(200, b"ok\n", "text/plain")
        if path == "/favicon.ico":
            return self.blob(1150, "png")
        if path == "/robots.txt":
            return self.answer(200, b"User-agent: *\nAllow: /\n", "text/plain")
        return self.answer(404, b"<!doctype html><title>Not found</title><p>There is nothing here.")

    def do_POST(self):
        app = self.server.app
        body = self.body()
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/login":
            fields = urllib.parse.parse_qs(body.decode(errors="replace"))
            if fields.get("password", [""])[0] == app.password:
                return self.answer(302, more=[("Location", "/p/1"), ("Set-Cookie", "auth=" + hashlib.sha256(body).hexdigest() + "; Path=/; HttpOnly")])
            return self.answer(random.Random(self.site()).choice([200, 401, 403]),
                               b"<!doctype html><title>Sign in</title><p>The name or the password is not right.<form method=post action=/login>"
                               b"<input name=user><input type=password name=password><input type=submit id=go></form>")
        if url.path == "/dns-query":
            return self.answer(200, dns_server.answer(app.world.zone, body, 65000), "application/dns-message")
        if url.path in ("/api/collect", "/api/heartbeat"):
            return self.answer(204)
        if url.path.startswith("/ocsp"):
            return self.answer(200, BLOB[:471], "application/ocsp-response")
        if url.path == "/search":
            return self.answer(200, app.page(self.site(), body[:200]))
        return self.answer(200, json.dumps({"ok": True, "bytes": len(body)}).encode(), TYPES["json"])

    def do_PUT(self):
        self.body()
        self.answer(201)

    def do_OPTIONS(self):
        self.answer(204, more=[("Allow", "GET, HEAD, POST, PUT, OPTIONS, PROPFIND"), ("DAV", "1"), ("Access-Control-Allow-Origin", "*"),
                               ("Access-Control-Allow-Headers", "*")])

    def do_PROPFIND(self):
        self.body()
        if self.path.startswith("/cal/") and "Authorization" not in self.headers:
            return self.answer(401, b"", more=[("WWW-Authenticate", 'Basic realm="calendar"')])
        rng = random.Random(self.path)
        entries = "".join(f"<d:response><d:href>/dav/{rng.choice(WORDS)}{index}.md</d:href><d:propstat><d:prop><d:getetag>\"{rng.randrange(1 << 40):x}\""
                          f"</d:getetag></d:prop><d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response>" for index in range(rng.randrange(2, 30)))
        return self.answer(207, f'<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">{entries}</d:multistatus>'.encode(), "application/xml")

    def do_DELETE(self):
        self.answer(204)

    do_MKCOL = do_PUT

    def websocket(self):
        """Greets, echoes pings, and sends a message now and then until the other side closes."""
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        rng = random.Random(key)
        until = time.time() + 900
        while time.time() < until:
            self.connection.settimeout(rng.expovariate(1 / 12.0) + 0.5)
            try:
                if not self.connection.recv(4096):
                    return
            except (TimeoutError, ssl.SSLWantReadError):
                pass
            text = json.dumps({"event": rng.choice(WORDS), "data": rng.choice(WORDS) * rng.randrange(1, 30)}).encode()
            head = bytes([0x81, len(text)]) if len(text) < 126 else struct.pack("!BBH", 0x81, 126, len(text))
            self.connection.sendall(head + text)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, address, port, app, tls=None):
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.app, self.tls = app, tls
        super().__init__((address, port), Handler)

    def handle_error(self, *_):
        pass  # a client that goes away is no error here

    def server_bind(self):
        # The base class would look up the host's name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]


def serve(address, port, app, tls=None):
    server = Server(address, port, app, tls)
    threading.Thread(target=server.serve_forever, args=(1.0,), daemon=True).start()
    return server
