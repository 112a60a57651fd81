"""What people and programs do on the web: pages in a real browser and in a plain one, apps, updates, video, sync, backup."""

import base64
import http.client
import json
import os
import re
import ssl
import threading
import time
import urllib.parse

import kit

AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/124.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:125.0) Gecko/20100101 Firefox/125.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.4 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
)
APPS = ("Dalvik/2.1.0 (Linux; U; Android 14; Pixel 7)", "okhttp/4.12.0", "Spotify/8.9.12 Android/34", "CFNetwork/1494.0.7 Darwin/23.4.0",
        "Instagram 325.0.0.35 Android", "com.example.mail/12.3 (iOS)", "ESP8266HTTPClient", "python-requests/2.31.0", "Go-http-client/1.1")
# What people type, odd characters and all: a search for an attack's words is none.
QUERIES = (
    "weather tomorrow", "cheap flights to lisbon", "rock 'n' roll radio", "o'reilly media", "c++ std::vector<int> sort", "100% cotton & wool",
    "price > 20 and < 50", "naïve café near me", "how to select a union rep", "what does the <b> tag do", "50/50 chance", "who's who; a history",
    "tips & tricks (2024)", "price=10 or more", "it's always sunny", "path/to/../file meaning", "email: name@example.net", "50% off -- today only",
    "sql select from where order by", "recipe #1: lasagne", "a=b&c=d", "drop table lamp", "lamp table and chair", "größe 42", "日本語 辞書", "🙂 meaning",
)


def query(rng):
    return rng.choice(QUERIES) if rng.random() < 0.5 else " ".join(rng.choice(QUERIES).split()[:1] + rng.choice(QUERIES).split()[-1:])


def curl(host, rng, *words, secs=40, agent=None):
    style = rng.choice([["--http2"], ["--http1.1"], ["--http2", "--tls-max", "1.2"], []])
    status, out = host.run(["curl", "-sSk", "--connect-timeout", "10", "-A", agent or rng.choice(AGENTS), *style, *words], secs=secs)
    return status == 0, out


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Browser:
    """Chromium without a screen, led through its pipe; one lives as long as a person's session does."""

    def __init__(self, host):
        self.host = host
        theirs_in, self.out = os.pipe()
        self.back, theirs_out = os.pipe()
        profile = f"{host.dir}/browser"
        flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                 "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--disable-extensions", "--mute-audio",
                 "--ignore-certificate-errors", "--disable-crash-reporter", "--disable-breakpad", "--renderer-process-limit=1",
                 "--js-flags=--max-old-space-size=128", f"--user-data-dir={profile}", "--remote-debugging-pipe"]

        # Chromium reads commands on descriptor 3 and answers on 4.
        command = ["bash", "-c", f'exec chromium "$@" 3<&{theirs_in} 4>&{theirs_out} {theirs_in}<&- {theirs_out}>&-', "bash", *flags, "about:blank"]
        self.child = host.spawn(command, log="chromium", pass_fds=(theirs_in, theirs_out))
        os.close(theirs_in)
        os.close(theirs_out)
        self.number = 0
        self.buffer = b""
        self.events = []
        self.session = None
        target = self.ask("Target.createTarget", {"url": "about:blank"}, secs=40)["targetId"]
        self.session = self.ask("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self.ask("Page.enable", {})
        self.ask("Network.setUserAgentOverride", {"userAgent": AGENTS[0]})

    def message(self, deadline):
        import select
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.back], [], [], left)[0]:
                return None
            data = os.read(self.back, 65536)
            if not data:
                raise OSError("the browser ended")
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(line)

    def ask(self, method, params, secs=15.0):
        self.number += 1
        call = {"id": self.number, "method": method, "params": params}
        if self.session:
            call["sessionId"] = self.session
        os.write(self.out, json.dumps(call).encode() + b"\0")
        deadline = time.monotonic() + secs
        while (message := self.message(deadline)) is not None:
            if message.get("id") == self.number:
                if "error" in message:
                    raise OSError(f"{method}: {message['error'].get('message')}")
                return message.get("result", {})
            self.events.append(message.get("method"))
        raise TimeoutError(method)

    def settle(self, secs):
        """Until the page has loaded, or nobody would wait longer."""
        deadline = time.monotonic() + secs
        while (message := self.message(deadline)) is not None:
            if message.get("method") == "Page.loadEventFired":
                return True
        return False

    def visit(self, address):
        self.ask("Page.navigate", {"url": address}, secs=25)
        return self.settle(20)

    def does(self, script):
        return self.ask("Runtime.evaluate", {"expression": script, "userGesture": True})

    def close(self):
        for end in (self.out, self.back):
            try:
                os.close(end)
            except OSError:
                pass
        if self.child.poll() is None:
            self.child.terminate()


def browsing(host, rng, world, mean=14.0):
    """A person at the browser: sessions of pages, links, searches, a login; between them something else."""
    mean *= host.pace
    while True:
        host.pause(rng, 20)
        browser = Browser(host)
        try:
            for _ in range(rng.randrange(4, 20)):
                site = rng.choice(world.of("web") + world.of("portal") + world.of("search") + world.of("web"))
                scheme = "http" if rng.random() < 0.25 else "https"
                host.attempt("browse", lambda *_: browser.visit(f"{scheme}://{site.name}{rng.choice(['/', f'/p/{rng.randrange(24)}', '/r/1'])}"), rng)
                host.pause(rng, mean)
                for _ in range(rng.choice([0, 0, 1, 1, 2, 4])):
                    kind = rng.random()
                    if kind < 0.7:
                        browser.does(f"(()=>{{const l=document.links;if(l.length)l[{rng.randrange(14)}%l.length].click()}})()")
                    elif kind < 0.85:
                        words = json.dumps(query(rng))
                        method = rng.choice(["get", "post"])
                        browser.does(f"(()=>{{const f=document.forms[0];if(f){{f.method='{method}';f.elements[0].value={words};f.submit()}}}})()")
                    else:
                        site = rng.choice(world.of("portal") or [site])
                        browser.visit(f"https://{site.name}/login?next=%2Fp%2F{rng.randrange(9)}")
                        host.pause(rng, 4)
                        browser.does(f"document.forms[0].elements[0].value={json.dumps(world.person)};"
                                     f"document.forms[0].elements[1].value={json.dumps(world.passwords['web'])};document.forms[0].submit()")
                    browser.settle(12)
                    host.pause(rng, mean)
        finally:
            browser.close()
        host.pause(rng, 60 * host.pace)


def page(host, rng, world, site=None):
    """A page with its objects by a plain browser: six connections a server, as browsers have had for decades."""
    site = site or rng.choice(world.of("web") + world.of("search"))
    scheme = "http" if rng.random() < 0.3 else "https"
    path = rng.choice(["/", f"/p/{rng.randrange(24)}", f"/search?q={urllib.parse.quote_plus(query(rng))}"])
    agent = rng.choice(AGENTS)
    good, out = curl(host, rng, "-L", "--compressed", "-b", f"{host.dir}/jar", "-c", f"{host.dir}/jar", f"{scheme}://{site.name}{path}", agent=agent)
    objects = re.findall(rb'(?:src|href)="((?://[^/"]+)?/o/[^"]+)"', out)[:60]
    if objects:
        host.sleep(0.05 + rng.random() * 0.3)
        words = ["--parallel", "--parallel-max", str(rng.choice([4, 6, 6, 8])), "--compressed"]
        for item in objects:
            item = item.decode(errors="replace").replace("&amp;", "&")
            words += ["-o", "/dev/null", f"{scheme}:{item}" if item.startswith("//") else f"{scheme}://{site.name}{item}"]
        curl(host, rng, "-e", f"{scheme}://{site.name}{path}", *words, agent=agent)
    return good


class Client:
    """One HTTPS client of a device, which keeps its connection while it can."""

    def __init__(self, host, site, agent, flavour=None, port=443, rng=None):
        self.host, self.site, self.agent, self.port = host, site, agent, port
        self.tls = kit.client_tls(rng or host.rng("tls", site.name), ["http/1.1"], flavour) if port != 80 else None
        self.connection = None

    def ask(self, method, path, body=None, headers=None):
        for attempt in (0, 1):
            try:
                if self.connection is None:
                    if self.tls is None:
                        self.connection = http.client.HTTPConnection(self.site.name, self.port, timeout=20)
                    else:
                        self.connection = http.client.HTTPSConnection(self.site.name, self.port, timeout=20, context=self.tls)
                self.connection.request(method, path, body, {"User-Agent": self.agent, **(headers or {})})
                answer = self.connection.getresponse()
                answer.read()
                if answer.headers.get("Connection", "").lower() == "close":
                    self.close()
                return answer.status
            except (OSError, http.client.HTTPException):
                self.close()
                if attempt:
                    raise

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def app(host, rng, world):
    """An app is opened: a few calls to its API, some pictures, an event or two."""
    site = rng.choice(world.of("api"))
    client = Client(host, site, rng.choice(APPS), rng=rng)
    for _ in range(rng.randrange(1, 7)):
        kind = rng.random()
        if kind < 0.6:
            client.ask("GET", f"/api/v{rng.randrange(1, 4)}/{rng.choice(['feed', 'user/me', 'items', 'inbox', 'status'])}?cursor={rng.randrange(1 << 40):x}&limit=20",
                       headers={"Authorization": "Bearer " + base64.urlsafe_b64encode(rng.randbytes(rng.choice([24, 180, 400]))).decode().rstrip("=")})
        elif kind < 0.8:
            client.ask("GET", f"/o/{int(min(400_000, rng.lognormvariate(10, 1)))}/{rng.randrange(1 << 30):x}.jpg")
        else:
            client.ask("POST", "/api/v1/events", json.dumps({"events": [{"n": rng.randrange(99), "t": time.time()}] * rng.randrange(1, 30)}),
                       {"Content-Type": "application/json"})
        host.pause(rng, rng.choice([0.2, 1.5, 5]))
    client.close()


def heartbeat(world, rng_of_device, host):
    """A device that reports at a fixed period. Some keep their connection, some dial anew each time, some speak plain HTTP."""
    site = rng_of_device.choice(world.of("telemetry"))
    keeps = rng_of_device.random() < 0.4
    port = 80 if rng_of_device.random() < 0.25 else 443
    path = rng_of_device.choice(["/api/heartbeat", "/api/v1/device/ping", "/api/collect", "/status"])
    size = rng_of_device.choice([0, 40, 180, 700])
    client = Client(host, site, rng_of_device.choice(APPS), rng_of_device.choice(["old", "small", "modern"]), port, rng_of_device)
    serial = f"{rng_of_device.randrange(1 << 48):012x}"

    def beat(host, rng):
        if size == 0:
            status = client.ask("GET", f"{path}?id={serial}")
        else:
            text = json.dumps({"id": serial, "up": int(time.monotonic()), "v": "x" * max(0, size + rng.randrange(-8, 9) - 40)})
            status = client.ask("POST", path, text, {"Content-Type": "application/json"})
        if not keeps:
            client.close()
        return status < 500

    return beat


def telemetry(host, rng, world):
    site = rng.choice(world.of("telemetry"))
    client = Client(host, site, rng.choice(APPS), rng=rng)
    status = client.ask("POST", "/api/v2/track?compress=1", rng.randbytes(int(min(200_000, rng.lognormvariate(8, 1.2)))),
                        {"Content-Encoding": "gzip", "Content-Type": "application/octet-stream"})
    client.close()
    return status < 500


def captive_probe(host, rng, _world):
    """What every device asks when it joins a network."""
    name, path = rng.choice([("connectivitycheck.gstatic.com", "/generate_204"), ("captive.apple.com", "/hotspot-detect.html"),
                             ("www.msftconnecttest.com", "/connecttest.txt"), ("detectportal.firefox.com", "/success.txt")])
    return host.run(["curl", "-sS", "-m", "8", "-A", rng.choice(["CaptiveNetworkSupport-443.120.2 wispr", "Microsoft NCSI", AGENTS[1]]),
                     "-o", "/dev/null", f"http://{name}{path}"])[0] == 0


def updates(host, rng, world):
    """Lists first, then packages, over plain HTTP with ranges, as package managers load them."""
    site = rng.choice(world.of("mirror"))
    agent = rng.choice(["Debian APT-HTTP/1.3 (2.6.1)", "Microsoft-Delivery-Optimization/10.0", "Windows-Update-Agent/10.0.10011.16384", "libdnf (Fedora 39)"])
    words = []
    for name in ["InRelease", "Packages.xz", "Translation-en.xz"][: rng.randrange(1, 4)]:
        words += ["-o", "/dev/null", f"http://{site.name}/pool/{rng.randrange(20_000, 900_000)}/{name}"]
    good, _ = curl(host, rng, *words, agent=agent)
    for _ in range(rng.randrange(0, 6)):
        size = int(min(9_000_000, rng.lognormvariate(12.5, 1.4)))
        address = f"http://{site.name}/pool/{size}/lib{rng.choice('abcdefg')}{rng.randrange(99)}_{rng.randrange(9)}.{rng.randrange(20)}-1_amd64.deb"
        if rng.random() < 0.3:
            step = 1 << 20
            for start in range(0, size, step):
                curl(host, rng, "-r", f"{start}-{min(size, start + step) - 1}", "-o", "/dev/null", address, agent=agent)
        else:
            curl(host, rng, "-o", "/dev/null", address, agent=agent)
        host.pause(rng, 1.5)
    return good


def video(host, rng, world):
    """A list and its segments, one every few seconds, for a while."""
    site = rng.choice(world.of("video"))
    rate = rng.choice([700, 1500, 2500, 4000])
    tls = kit.client_tls(rng, ["http/1.1"])
    connection = http.client.HTTPSConnection(site.name, timeout=20, context=tls)
    until = time.monotonic() + rng.uniform(25, 120)
    agent = rng.choice(AGENTS + APPS[:3])
    number = int(time.time() / 4)
    ahead = rng.randrange(3, 7)
    while time.monotonic() < until:
        connection.request("GET", f"/live/{rng.randrange(9)}/{rate}/index.m3u8", headers={"User-Agent": agent})
        connection.getresponse().read()
        # At first some ahead, then as they are played.
        for _ in range(ahead):
            size = int(rate * 500 * rng.uniform(0.6, 1.3))
            connection.request("GET", f"/seg/{size}/{number}.ts", headers={"User-Agent": agent})
            connection.getresponse().read()
            number += 1
        ahead = 1
        host.sleep(4 * rng.uniform(0.9, 1.1))
    connection.close()


def sync(host, rng, world):
    """A folder kept in step with the cloud: what is new is listed, what changed is put."""
    site = rng.choice(world.of("store"))
    client = Client(host, site, rng.choice(["Mozilla/5.0 (Linux) mirall/3.12.3", "OneDrive/23.246", "Dropbox-Desktop/195.4"]), rng=rng)
    client.ask("PROPFIND", f"/dav/files/{world.person}/", '<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:getetag/></d:prop></d:propfind>',
               {"Depth": "1", "Content-Type": "application/xml"})
    for _ in range(rng.choice([0, 0, 0, 1, 1, 2, 5])):
        client.ask("PUT", f"/dav/files/{world.person}/{rng.choice(['notes', 'IMG_', 'report'])}{rng.randrange(999)}.bin",
                   rng.randbytes(int(min(3_000_000, rng.lognormvariate(11, 1.6)))))
    client.close()


def backup(host, rng, world):
    """The nightly backup: much goes out, in pieces, to the one place it always goes to."""
    site = world.of("store")[0]
    client = Client(host, site, "restic/0.16.4", "modern", rng=rng)
    for _ in range(rng.randrange(6, 24)):
        client.ask("POST", f"/api/backup/data/{rng.randrange(1 << 62):016x}", rng.randbytes(rng.randrange(200_000, 1_500_000)))
        host.pause(rng, 0.4)
    client.close()


def websocket(host, rng, world):
    """A page that stays open and is told what is new."""
    site = rng.choice([site for site in world.of("api") + world.of("web")])
    tls = kit.client_tls(rng, ["http/1.1"], "modern")
    with tls.wrap_socket(kit.dial(kit.resolve(site.name), 443), server_hostname=site.name) as sock:
        key = base64.b64encode(rng.randbytes(16)).decode()
        sock.sendall(f"GET /ws HTTP/1.1\r\nHost: {site.name}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                     f"Sec-WebSocket-Version: 13\r\nOrigin: https://{site.name}\r\nUser-Agent: {rng.choice(AGENTS)}\r\n\r\n".encode())
        until = time.monotonic() + rng.uniform(40, 300)
        while time.monotonic() < until:
            sock.settimeout(rng.expovariate(1 / 20.0) + 0.5)
            try:
                if not sock.recv(8192):
                    return False
            except (TimeoutError, ssl.SSLWantReadError):
                text = b'{"type":"ping"}'
                mask = rng.randbytes(4)
                sock.sendall(bytes([0x81, 0x80 | len(text)]) + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(text)))
            host.sleep(0)


def stream_audio(host, rng, world):
    """Music: a piece of a song every so often."""
    site = rng.choice(world.of("video") + world.of("cdn"))
    client = Client(host, site, APPS[2], rng=rng)
    until = time.monotonic() + rng.uniform(40, 200)
    size = rng.randrange(2_500_000, 6_000_000)
    at = 0
    while time.monotonic() < until:
        step = rng.choice([131_072, 262_144, 524_288])
        client.ask("GET", f"/o/{size}/{rng.randrange(99)}.mp3", headers={"Range": f"bytes={at % (size - step)}-{at % (size - step) + step - 1}"})
        at += step
        host.sleep(step / 40_000 * rng.uniform(0.7, 1.1))
    client.close()


def ocsp(host, rng, world):
    site = rng.choice(world.of("web") + world.of("cdn"))
    return curl(host, rng, "-H", "Content-Type: application/ocsp-request", "--data-binary", "x" * 83, "-o", "/dev/null",
                f"http://{site.name}/ocsp/{rng.randrange(1 << 40):x}")[0]


def game_download(host, rng, world):
    """Consoles and launchers load a big file by several connections, each with its range, again and again."""
    site = rng.choice(world.of("mirror") + world.of("cdn"))
    lanes = rng.choice([4, 6, 8])
    size, step = rng.randrange(4_000_000, 14_000_000), 1 << 19

    def lane(number):
        try:
            for start in range(number * step, size, lanes * step):
                if host.stopping.is_set() or time.monotonic() > until:
                    return
                host.run(["curl", "-sSk", "-r", f"{start}-{start + step - 1}", "-A", "libhttp/10.50 (PlayStation 5)", "-o", "/dev/null",
                          f"http://{site.name}/pool/{size}/app.pkg"])
        except kit.Stopped:
            return

    until = time.monotonic() + rng.uniform(15, 60)
    threads = [threading.Thread(target=lane, args=(number,), daemon=True) for number in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def doh(host, rng, world):
    """A browser with secure DNS: questions inside HTTPS."""
    import dns_server

    site = rng.choice(world.of("portal") + world.of("web"))
    client = Client(host, site, AGENTS[1], "modern", rng=rng)
    for _ in range(rng.randrange(2, 9)):
        wire = dns_server.query(rng, rng.choice(world.zone.names), rng.choice(["A", "AAAA", "HTTPS"]))
        if rng.random() < 0.5:
            client.ask("POST", "/dns-query", wire, {"Content-Type": "application/dns-message", "Accept": "application/dns-message"})
        else:
            client.ask("GET", "/dns-query?dns=" + base64.urlsafe_b64encode(wire).decode().rstrip("="), headers={"Accept": "application/dns-message"})
        host.pause(rng, 3)
    client.close()


