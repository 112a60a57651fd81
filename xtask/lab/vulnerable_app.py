"""A small web shop that is vulnerable on purpose: SQL injection, XSS, path traversal, command injection, a login that anybody may try.

Serves inside the lab's namespaces and nowhere else. Call: vulnerable_app.py --port PORT --seed N USER:PASSWORD...
"""

import argparse
import html
import os
import posixpath
import random
import re
import secrets
import socket
import sqlite3
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

WORDS = "lamp chair table kettle radio clock mirror basket carpet vase shelf stool candle frame pillow blanket".split()


def database(seed, accounts):
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.execute("create table items (id integer primary key, name text, about text, price integer)")
    db.execute("create table users (id integer primary key, name text, password text, mail text)")
    rng = random.Random(seed)
    for number in range(1, 120):
        name = f"{rng.choice(WORDS)} {rng.choice(WORDS)}"
        db.execute("insert into items values (?, ?, ?, ?)", (number, name, f"A fine {name}. " * rng.randint(1, 6), rng.randint(3, 400)))
    for user, password in accounts.items():
        db.execute("insert into users (name, password, mail) values (?, ?, ?)", (user, password, user + "@shop.test"))
    return db


def shell(host):
    """What a shell would say to `ping -c 1 HOST`, for the commands that attackers try. Runs nothing."""
    said = []
    for command in re.split(r"[;&|\n`]+|\$\(|\)", "ping -c 1 " + host):
        words = command.split()
        if not words:
            continue
        name = words[0].rsplit("/", 1)[-1]
        if name == "ping":
            said.append(f"PING {' '.join(words[3:])[:200]} 56(84) bytes of data.\n1 packets transmitted, 1 received")
        elif name in ("sleep", "timeout"):
            time.sleep(min(float(words[1]) if words[1:] and words[1].isdigit() else 1, 5))
        elif name == "echo":
            said.append(" ".join(words[1:]).strip("'\""))
        elif name == "cat" and words[1:]:
            path = TREE + posixpath.normpath("/" + words[1])
            said.append(open(path, encoding="utf-8").read() if os.path.isfile(path) else f"cat: {words[1]}: No such file or directory")
        elif name in ANSWERS:
            said.append(ANSWERS[name])
        else:
            said.append(f"sh: 1: {name[:60]}: not found")
    return "\n".join(said)[:8192]


class Shop(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "Apache/2.4.57"
    sys_version = ""
    timeout = 30

    def log_message(self, *_):
        pass

    def page(self, body, status=200, headers=(), kind="text/html; charset=utf-8"):
        if isinstance(body, str):
            body = f"<!doctype html><html><head><title>Shop</title></head><body>{MENU}{body}</body></html>".encode("utf-8", "replace")
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        parts = urlsplit(self.path)
        self.route(parts.path, {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()})

    def do_POST(self):
        length = min(int(self.headers.get("Content-Length") or 0), 1 << 20)
        text = self.rfile.read(length).decode("utf-8", "replace")
        fields = {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}
        parts = urlsplit(self.path)
        fields = {name: values[0] for name, values in parse_qs(parts.query).items()} | fields
        self.route(parts.path, fields)

    def route(self, path, fields):
        shown = {
            "/": self.home, "/index.php": self.home, "/search": self.search, "/item": self.item, "/login": self.login,
            "/file": self.file, "/ping": self.ping, "/comments": self.comments, "/admin": self.admin,
            "/api/items": self.api, "/robots.txt": self.robots,
        }.get(unquote(path).rstrip("/") or "/")
        try:
            if shown:
                shown(fields)
            else:
                self.page(f"<h1>Not Found</h1><p>{html.escape(path)} is not here.</p>", 404)
        except (sqlite3.Error, sqlite3.Warning) as error:
            self.page(f"<h1>Error</h1><p>SQLite error: {error}</p>", 500)
        except (OSError, ValueError) as error:
            self.page(f"<h1>Error</h1><p>{html.escape(str(error))}</p>", 500)

    def home(self, _):
        rows = ITEMS("select id, name, price from items order by price limit 20")
        self.page("<h1>Shop</h1><ul>" + "".join(f'<li><a href="item?id={i}">{n}</a> {p}</li>' for i, n, p in rows) + "</ul>")

    def search(self, fields):
        wanted = fields.get("q", "")
        rows = ITEMS(f"select id, name, price from items where name like '%{wanted}%' limit 50")
        found = "".join(f"<tr><td>{i}</td><td>{n}</td><td>{p}</td></tr>" for i, n, p in rows)
        self.page(f'<form><input name="q" value="{wanted}"></form><p>Found for {wanted}:</p><table>{found}</table>')

    def item(self, fields):
        rows = ITEMS(f"select id, name, about, price from items where id = {fields.get('id', '1')}")
        self.page("".join(f"<h1>{n}</h1><p>{a}</p><p>{p}</p>" for _, n, a, p in rows) or "<p>Sold out.</p>", 200 if rows else 404)

    def api(self, fields):
        rows = ITEMS(f"select id, name, price from items order by {fields.get('sort', 'id')} limit 30")
        text = ",".join('{"id":%s,"name":"%s","price":%s}' % row for row in rows)
        self.page(f"[{text}]".encode(), kind="application/json")

    def login(self, fields):
        form = '<form method="post" action="login"><input name="username"><input name="password" type="password"><button>Log in</button></form>'
        if self.command != "POST":
            return self.page(form)
        user, password = fields.get("username", ""), fields.get("password", "")
        rows = ITEMS(f"select name from users where name = '{user}' and password = '{password}'")
        if rows:
            cookie = ("Set-Cookie", f"session={secrets.token_hex(16)}; HttpOnly; Path=/")
            return self.page("", 302, [("Location", "admin"), cookie])
        self.page("<p>Login failed: wrong user or password.</p>" + form)

    def file(self, fields):
        # Any path is followed, but in a tree of the shop's own: this machine's files are nobody's business.
        path = posixpath.normpath(posixpath.join("/srv/documents", fields.get("name", "terms.txt")))
        with open(TREE + path.replace("\0", ""), "rb") as file:
            self.page(file.read(65536), kind="text/plain")

    def ping(self, fields):
        self.page("<pre>" + html.escape(shell(fields.get("host", "127.0.0.1"))) + "</pre>")

    def comments(self, fields):
        if fields.get("text"):
            COMMENTS.append(fields["text"][:2000])
            del COMMENTS[:-40]
        form = '<form method="post"><textarea name="text"></textarea><button>Say it</button></form>'
        self.page(form + "".join(f"<p>{text}</p>" for text in COMMENTS))

    def admin(self, _):
        if "session=" not in self.headers.get("Cookie", ""):
            return self.page("<p>Log in first.</p>", 403)
        self.page("<h1>Welcome</h1>" + "<p>Orders: none.</p>" * 20)

    def robots(self, _):
        self.page(b"User-agent: *\nDisallow: /admin\n", kind="text/plain")


MENU = '<p><a href="search?q=lamp">Search</a> <a href="login">Log in</a> <a href="comments">Comments</a> <a href="file?name=terms.txt">Terms</a> <a href="ping?host=127.0.0.1">Check</a></p>'
COMMENTS = ["A good shop."]
parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--seed", type=int, required=True)
parser.add_argument("accounts", nargs="*")
args = parser.parse_args()
DB = database(args.seed, dict(account.split(":", 1) for account in args.accounts))
LOCK = threading.Lock()
TREE = os.path.join(os.environ["HOME"], "tree")
PASSWD = "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\nwww-data:x:33:33::/var/www:/usr/sbin/nologin\n"
FILES = {
    "/srv/documents/terms.txt": "Terms: what is bought is bought.\n" * 40,
    "/etc/passwd": PASSWD,
    "/etc/hosts": "127.0.0.1 localhost\n",
    "/etc/shadow": "root:!:19000:0:99999:7:::\n",
    "/proc/version": "Linux version 6.1.0-13-amd64\n",
}
for place, text in FILES.items():
    os.makedirs(os.path.dirname(TREE + place), exist_ok=True)
    with open(TREE + place, "w", encoding="utf-8") as file:
        file.write(text)
ANSWERS = {
    "id": "uid=33(www-data) gid=33(www-data) groups=33(www-data)",
    "whoami": "www-data",
    "uname": "Linux shop 6.1.0-13-amd64 #1 SMP x86_64 GNU/Linux",
    "ls": "admin\nindex.php\nimages\nitems.db",
    "pwd": "/var/www/shop",
    "env": "PATH=/usr/bin:/bin\nLANG=C\nUSER=www-data",
    "ifconfig": "eth0: flags=4163<UP,BROADCAST,RUNNING,MULTICAST>  mtu 1500",
    "netstat": "tcp        0      0 0.0.0.0:80              0.0.0.0:*               LISTEN",
}


def ITEMS(query):
    with LOCK:
        return DB.execute(query).fetchall()


class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 256
    daemon_threads = True


Server(("::", args.port), Shop).serve_forever()
