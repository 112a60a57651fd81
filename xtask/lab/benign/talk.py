"""Mail, shells, files, shares, MQTT, chats and monitoring: what people and programs say to servers that are no web sites."""

import imaplib
import os
import poplib
import smtplib
import socket
import struct
import time

import kit


# Mail

def mail_place(host, world, rng):
    """The provider's in a home, the office's own where there is one."""
    own = world.with_device("office")
    if own and rng.random() < 0.7:
        return own[0]["v4"][0], True
    sites = world.of("mail")
    return (rng.choice(sites).name, False) if sites else (None, False)


def imap_check(host, rng, world, password=None):
    """New mail is looked for and some is read."""
    place, own = mail_place(host, world, rng)
    if place is None:
        return None
    secret = password or world.passwords["mail"]
    if own:
        box = imaplib.IMAP4(place, timeout=25)
        if rng.random() < 0.7:
            box.starttls(kit.client_tls(rng, flavour="modern"))
    else:
        box = imaplib.IMAP4_SSL(place, ssl_context=kit.client_tls(rng), timeout=25)
    try:
        box.login(world.person, secret)
        box.select("INBOX", readonly=True)
        _, found = box.search(None, "ALL")
        numbers = found[0].split()
        for number in rng.sample(numbers, min(len(numbers), rng.randrange(1, 8))):
            box.fetch(number, rng.choice(["(RFC822)", "(BODY.PEEK[HEADER])", "(FLAGS)"]))
        return True
    finally:
        box.logout()


def imap_idle(host, rng, world):
    """A mail program that stays connected and is told: IDLE, renewed now and then."""
    place, own = mail_place(host, world, rng)
    if place is None:
        host.sleep(300)
        return None
    tls = kit.client_tls(rng, flavour="modern")
    sock = kit.dial(kit.resolve(place), 143 if own else 993)
    if not own:
        sock = tls.wrap_socket(sock, server_hostname=place)
    with sock:
        def ask(text):
            sock.sendall(text.encode() + b"\r\n")
            sock.settimeout(20)
            return sock.recv(8192)

        sock.recv(2048)
        ask(f"a1 LOGIN {world.person} {world.passwords['mail']}")
        ask("a2 SELECT INBOX")
        number = 3
        until = time.monotonic() + rng.uniform(100, 900)
        while time.monotonic() < until:
            ask(f"a{number} IDLE")
            host.sleep(rng.uniform(50, 140))
            ask("DONE")
            number += 1
        ask(f"a{number} LOGOUT")


def pop(host, rng, world):
    sites = world.of("mail")
    if not sites:
        return None
    box = poplib.POP3_SSL(rng.choice(sites).name, context=kit.client_tls(rng), timeout=25)
    try:
        box.user(world.person)
        box.pass_(world.passwords["mail"])
        count, _ = box.stat()
        for number in range(1, min(count, rng.randrange(0, 4)) + 1):
            box.retr(number)
    finally:
        box.quit()


def send_mail(host, rng, world, password=None):
    place, own = mail_place(host, world, rng)
    if place is None:
        return None
    words = " ".join(rng.choice(["meeting", "tomorrow", "attached", "regards", "report", "dinner"]) for _ in range(rng.randrange(20, 400)))
    attachment = rng.randbytes(int(min(1_500_000, rng.lognormvariate(9, 2)))).hex() if rng.random() < 0.4 else ""
    secure = not own and rng.random() < 0.5
    tls = kit.client_tls(rng, flavour="modern")
    mailer = smtplib.SMTP_SSL(place, 465, host.name, timeout=25, context=tls) if secure else smtplib.SMTP(place, 587, host.name, timeout=25)
    with mailer:
        if not secure:
            mailer.starttls(context=tls)
        mailer.login(world.person, password or world.passwords["mail"])
        mailer.sendmail(f"{world.person}@example.net", [f"friend{rng.randrange(9)}@example.org"], f"Subject: {words[:30]}\n\n{words}\n{attachment}")


# Shells and files

def ssh_words(host, rng, world, port):
    return ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10",
            "-i", f"{world.plan['scratch']}/tls/ssh", "-o", "IdentitiesOnly=yes"]


def ssh_places(world):
    """Machines with a shell: address, port, and whether keys open it."""
    places = [(site.v4, port) for site in world.of("vps") for port in (22, 2222)]
    return places + [(near["v4"][0], 22) for near in world.with_device("nas", "office", "intranet", "hub")]


def ask_pass(host, password):
    """ssh asks a program for the password when there is no terminal; ours says it."""
    script = f"{host.dir}/ask-{abs(hash(password)) % 10_000}"
    if not os.path.exists(script):
        kit.write(script, f"#!/bin/sh\necho '{password}'\n")
        os.chmod(script, 0o700)
    return {"SSH_ASKPASS": script, "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":9"}


def ssh_login(host, rng, world, place, command, password=None, tries=1, secs=60):
    address, port = place
    words = ["ssh", *ssh_words(host, rng, world, port), "-p", str(port), "-o", "PubkeyAuthentication=no", "-o", f"NumberOfPasswordPrompts={tries}",
             "-o", "PreferredAuthentications=password", f"{world.person}@{address}", command]
    return host.run(words, secs=secs, env=ask_pass(host, password or world.passwords["ssh"]))[0] == 0


def ssh_session(host, rng, world):
    """Somebody works in a shell: keystrokes one by one, each echoed, and output in bursts."""
    place = rng.choice(ssh_places(world))
    address, port = place
    words = ["ssh", "-tt", *ssh_words(host, rng, world, port), "-p", str(port), "-o", "PubkeyAuthentication=no",
             "-o", "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1", f"{world.person}@{address}"]
    import subprocess
    child = subprocess.Popen(words, env={**host.environment(), **ask_pass(host, world.passwords["ssh"])}, cwd=host.dir,
                             stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with host.lock:
        host.children.append(child)
    try:
        host.sleep(1.5 + rng.random() * 2)
        for _ in range(rng.randrange(3, 14)):
            line = rng.choice(["ls -la /etc", "df -h", "uptime", "ps aux | head -30", "cat /etc/services | head -200", "top -b -n 1 | head -20",
                               "git status", "tail -n 40 /etc/passwd", "cd /tmp", "date", "vi notes", "find /usr/lib -maxdepth 1 | head -300"])
            for char in line + "\n":
                child.stdin.write(char.encode())
                child.stdin.flush()
                host.sleep(min(1.2, rng.lognormvariate(-1.9, 0.6)))
            host.pause(rng, 5)
        child.stdin.write(b"exit\n")
        child.stdin.flush()
        child.wait(8)
        return True
    except (BrokenPipeError, subprocess.TimeoutExpired):
        return False
    finally:
        if child.poll() is None:
            child.terminate()


def scp(host, rng, world):
    address, port = rng.choice(ssh_places(world))
    name = f"{host.dir}/send{rng.randrange(4)}.bin"
    with open(name, "wb") as out:
        out.write(rng.randbytes(int(min(4_000_000, rng.lognormvariate(11.5, 1.5)))))
    target = f"{world.person}@{address}:/dev/null"
    words = ["scp", "-q", *rng.choice([["-O"], []]), *ssh_words(host, rng, world, port), "-P", str(port), "-o", "PubkeyAuthentication=no", "-o",
             "PreferredAuthentications=password", "-o", "NumberOfPasswordPrompts=1", name, target]
    return host.run(words, env=ask_pass(host, world.passwords["ssh"]))[0] == 0


def ssh_command(host, rng, world):
    """Scripts run one command and go: a pull, a status, a deployment."""
    place = rng.choice(ssh_places(world))
    return ssh_login(host, rng, world, place, rng.choice(["uptime", "cat /etc/services", "head -c 300000 /dev/urandom", "true"]))


def rsync_pull(host, rng, world):
    """The same tree again: mostly names and checksums, a file now and then."""
    places = [site.v4 for site in world.of("vps")] + [near["v4"][0] for near in world.with_device("nas", "intranet")]
    target = f"{host.dir}/copy{rng.randrange(2)}"
    os.makedirs(target, exist_ok=True)
    for name in rng.sample(sorted(os.listdir(target)), min(3, len(os.listdir(target)))):
        os.unlink(f"{target}/{name}")
    return host.run(["rsync", "-rt", "--contimeout=8", f"rsync://{rng.choice(places)}/data/", target + "/"])[0] == 0


def smb(host, rng, world):
    """A share is opened, looked through, a file read, another written."""
    near = world.with_device("nas", "office")
    if not near:
        return None
    server = rng.choice(near)["v4"][0]
    name = f"{host.dir}/smb{rng.randrange(3)}.bin"
    with open(name, "wb") as out:
        out.write(rng.randbytes(int(min(1_500_000, rng.lognormvariate(10.5, 1.4)))))
    lines = ["ls"]
    for _ in range(rng.randrange(1, 5)):
        lines.append(rng.choice([f"get doc{rng.randrange(25)}.bin {host.dir}/got.bin", f"put {name} {host.name}{rng.randrange(9)}.bin", "ls",
                                 f"allinfo doc{rng.randrange(25)}.bin"]))
    return host.run(["smbclient", f"//{server}/share", world.passwords["smb"], "-U", world.person, "-m", rng.choice(["SMB3", "SMB3", "SMB2"]),
                     "-s", "/dev/null", "-c", ";".join(lines)])[0] == 0


def ftp(host, rng, world, password=None):
    """An old scanner or a web editor that still speaks FTP."""
    import ftplib
    near = world.with_device("nas", "office")
    if not near:
        return None
    with ftplib.FTP(rng.choice(near)["v4"][0], timeout=15) as client:
        client.login(world.person, password or world.passwords["ftp"])
        lines = []
        client.retrlines("LIST", lines.append)
        for _ in range(rng.randrange(0, 3)):
            client.retrbinary(f"RETR f{rng.randrange(30)}.bin", lambda _data: None)
        return True


# Things

class Mqtt:
    """A small MQTT 3.1.1 client, so that one host can be many sensors."""

    def __init__(self, address, port, name, keepalive, tls=None, source=None):
        sock = kit.dial(address, port, source=source)
        self.sock = tls.wrap_socket(sock, server_hostname=name) if tls else sock
        body = b"\0\4MQTT\4\2" + struct.pack("!H", keepalive) + struct.pack("!H", len(name)) + name.encode()
        self.send(0x10, body)
        self.sock.settimeout(10)
        if self.sock.recv(4)[:1] != b"\x20":
            raise OSError("mqtt refused")
        self.number = 0

    def send(self, kind, body):
        size, head = len(body), b""
        while True:
            head += bytes([size % 128 | (128 if size > 127 else 0)])
            size //= 128
            if not size:
                break
        self.sock.sendall(bytes([kind]) + head + body)

    def publish(self, topic, payload, qos):
        self.number = self.number % 65535 + 1
        body = struct.pack("!H", len(topic)) + topic.encode() + (struct.pack("!H", self.number) if qos else b"") + payload
        self.send(0x30 | qos << 1, body)
        if qos:
            self.sock.settimeout(10)
            self.sock.recv(4)

    def subscribe(self, topic):
        self.number = self.number % 65535 + 1
        self.send(0x82, struct.pack("!H", self.number) + struct.pack("!H", len(topic)) + topic.encode() + b"\0")
        self.sock.recv(8)

    def ping(self):
        self.send(0xC0, b"")
        self.sock.settimeout(10)
        self.sock.recv(8)


def broker(world, rng):
    """The house's own, or the maker's in the internet over TLS."""
    near = world.with_device("hub")
    if near and rng.random() < 0.75:
        return near[0]["v4"][0], 1883, None
    sites = world.of("mqtt")
    if not sites:
        return None
    site = rng.choice(sites)
    return (site.name, 8883, kit.client_tls(rng, flavour=rng.choice(["old", "small"]))) if rng.random() < 0.8 else (site.name, 1883, None)


def sensor(host, rng, world, number=0):
    """One sensor for the whole run: connects, publishes at its period, pings when it has nothing to say."""
    place = broker(world, rng)
    if place is None:
        return
    address, port, tls = place
    period = rng.choice([2, 5, 10, 10, 15, 30, 60, 60])
    keepalive = rng.choice([15, 30, 60, 60, 120])
    qos = rng.choice([0, 0, 1])
    source = host.v4[number % len(host.v4)] if port == 1883 and ":" not in address and address[0].isdigit() else None
    topic = rng.choice([f"home/room{number}/climate", f"zigbee2mqtt/0x{rng.randrange(1 << 62):016x}", f"tele/plug{number}/SENSOR", f"shellies/s{number}/relay/0/power"])
    host.pause(rng, 6)
    client = Mqtt(kit.resolve(address), port, f"{host.name}-{number}-{rng.randrange(1 << 24):x}", keepalive, tls, source)
    if rng.random() < 0.4:
        client.subscribe(topic.rsplit("/", 1)[0] + "/set")
    due = time.monotonic()
    pinged = due
    try:
        while True:
            payload = f'{{"temperature":{rng.uniform(17, 24):.2f},"humidity":{rng.uniform(30, 60):.1f},"linkquality":{rng.randrange(20, 255)}}}'
            client.publish(topic, payload.encode(), qos)
            host.count("sensor", True)
            due += period * rng.uniform(0.98, 1.02)
            while due - time.monotonic() > keepalive * 0.7:
                host.sleep(keepalive * 0.7)
                client.ping()
            if time.monotonic() - pinged > keepalive * 0.8:
                client.ping()
                pinged = time.monotonic()
            host.sleep(due - time.monotonic())
    finally:
        client.sock.close()


def mqtt_tools(host, rng, world):
    """The same by the command-line tools: one message a connection."""
    place = broker(world, rng)
    if place is None or place[2] is not None:
        return None
    return host.run(["mosquitto_pub", "-h", place[0], "-p", str(place[1]), "-q", str(rng.randrange(3)), "-t", f"home/{rng.choice(['door', 'light', 'meter'])}",
                     "-m", rng.choice(["ON", "OFF", str(rng.random())])])[0] == 0


def mqtt_subscribe(host, rng, world):
    near = world.with_device("hub")
    if not near:
        host.sleep(300)
        return None
    child = host.spawn(["mosquitto_sub", "-h", near[0]["v4"][0], "-k", "30", "-t", "#"], stdout=open("/dev/null", "wb"))
    host.sleep(rng.uniform(100, 500))
    child.terminate()


def push(host, rng, world):
    """The long connection by which a device is told things."""
    sites = world.of("push")
    if not sites:
        host.sleep(300)
        return None
    site = rng.choice(sites)
    every = rng.choice([25, 40, 60, 100])
    with kit.client_tls(rng, flavour="modern").wrap_socket(kit.dial(kit.resolve(site.name), rng.choice(site.ports)), server_hostname=site.name) as sock:
        sock.sendall(rng.randbytes(rng.randrange(150, 500)))
        until = time.monotonic() + rng.uniform(150, 1500)
        said = time.monotonic()
        while time.monotonic() < until:
            sock.settimeout(1.0)
            try:
                if not sock.recv(4096):
                    return False
            except TimeoutError:
                pass
            if time.monotonic() - said > every:
                sock.sendall(rng.randbytes(rng.randrange(20, 40)))
                said = time.monotonic()
            host.sleep(0)


def xmpp(host, rng, world):
    sites = world.of("chat")
    if not sites:
        return None
    site = rng.choice(sites)
    with kit.client_tls(rng, flavour="modern").wrap_socket(kit.dial(kit.resolve(site.name), 5222), server_hostname=site.name) as sock:
        sock.sendall(b"<?xml version='1.0'?><stream:stream to='" + site.name.encode() + b"' xmlns='jabber:client' version='1.0'>")
        until = time.monotonic() + rng.uniform(60, 400)
        while time.monotonic() < until:
            sock.settimeout(rng.expovariate(1 / 18.0) + 0.5)
            try:
                if not sock.recv(4096):
                    return False
            except TimeoutError:
                sock.sendall(b"<message to='friend@chat' type='chat'><body>" + b"so " * rng.randrange(1, 40) + b"</body></message>")
            host.sleep(0)


def irc(host, rng, world):
    """A person in a channel: reads more than is written."""
    sites = world.of("chat")
    if not sites:
        return None
    site = rng.choice(sites)
    with kit.client_tls(rng, flavour="modern").wrap_socket(kit.dial(kit.resolve(site.name), 6697), server_hostname=site.name) as sock:
        sock.sendall(f"NICK {world.person}{rng.randrange(99)}\r\nUSER {world.person} 0 * :{world.person}\r\nJOIN #garden\r\n".encode())
        for _ in range(rng.randrange(4, 20)):
            host.pause(rng, 12)
            sock.sendall(rng.choice([b"PING :irc\r\n", b"PRIVMSG #garden :" + b"well " * rng.randrange(1, 12) + b"\r\n"]))
            sock.settimeout(2)
            try:
                sock.recv(8192)
            except TimeoutError:
                pass
        sock.sendall(b"QUIT :bye\r\n")


def print_page(host, rng, world):
    """IPP: the printer is asked what it can, gets a job, and is asked until it is done."""
    near = world.with_device("printer")
    if not near:
        return None
    import http.client
    address = rng.choice(near)["v4"][0]
    connection = http.client.HTTPConnection(address, 631, timeout=15)
    sizes = [220, int(min(2_000_000, rng.lognormvariate(11.5, 1)))] + [180] * rng.randrange(1, 5)
    for size in sizes if rng.random() < 0.4 else sizes[:1]:
        connection.request("POST", "/ipp/print", b"\2\0\0\x0b\0\0\0\1\1" + rng.randbytes(size), {"Content-Type": "application/ipp", "User-Agent": "CUPS/2.4.2 IPP/2.0"})
        connection.getresponse().read()
        host.pause(rng, 1)
    connection.close()


def control(host, rng, world):
    """The app of the lights speaks to them inside the house."""
    near = world.with_device("bulbs", "speaker")
    if not near:
        return None
    with kit.dial(rng.choice(near)["v4"][0], 6668) as sock:
        for _ in range(rng.randrange(1, 6)):
            sock.sendall(b"\0\0\x55\xaa" + rng.randbytes(rng.randrange(40, 130)))
            sock.recv(1024)
            host.pause(rng, 1)


def cast(host, rng, world):
    near = world.with_device("tv")
    if not near:
        return None
    with kit.client_tls(rng, flavour="modern").wrap_socket(kit.dial(rng.choice(near)["v4"][0], 8009)) as sock:
        for _ in range(rng.randrange(3, 20)):
            sock.sendall(rng.randbytes(rng.randrange(60, 250)))
            sock.recv(1024)
            host.pause(rng, 5)


def poll_cameras(host, rng, world):
    """The recorder keeps its cameras awake, and fetches a picture."""
    for near in world.with_device("camera"):
        with kit.dial(near["v4"][0], 554) as sock:
            for number, method in enumerate(["OPTIONS", "DESCRIBE", "GET_PARAMETER"][: rng.randrange(1, 4)], 1):
                sock.sendall(f"{method} rtsp://{near['v4'][0]}/stream1 RTSP/1.0\r\nCSeq: {number}\r\nUser-Agent: LibVLC/3.0\r\n\r\n".encode())
                sock.recv(2048)
        host.run(["curl", "-sS", "-m", "8", "-o", "/dev/null", f"http://{near['v4'][0]}/o/{rng.randrange(30_000, 90_000)}/snap.jpg"])


def coap(host, rng, world):
    for near in world.with_device("bulbs", "speaker"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(2)
            sock.sendto(b"\x44\1" + rng.randbytes(2) + rng.randbytes(4) + b"\xb5state", (near["v4"][0], 5683))
            sock.recv(512)


# The office

def ldap(host, rng, world):
    near = world.with_device("office")
    if not near:
        return None
    with kit.dial(near[0]["v4"][0], 389) as sock:
        sock.sendall(bytes.fromhex("300c020101600702010304008000"))
        sock.recv(512)
        for number in range(2, rng.randrange(3, 7)):
            text = world.person.encode()
            body = bytes([2, 1, number, 0x63, 12 + len(text)]) + b"\4\2dc\n\1\2\n\1\0" + text + b"\1\1"
            sock.sendall(bytes([0x30, len(body)]) + body)
            sock.recv(1024)
        sock.sendall(b"\x30\5\2\1\x0a\x42\0")


def snmp(host, rng, world):
    """Counters of every machine, one after the other."""
    for near in world.with_device("printer", "office", "intranet"):
        words = rng.choice([["snmpget", "-v2c", "-r1", "-t2"], ["snmpbulkwalk", "-v2c", "-r1", "-t2"]])
        oid = ["1.3.6.1.2.1.1"] if words[0] != "snmpget" else ["1.3.6.1.2.1.1.3.0", "1.3.6.1.2.1.1.5.0"]
        host.run([*words, "-c", world.community, near["v4"][0], *oid], secs=15)


def scrape(host, rng, world):
    """A monitoring system fetches metrics from all it watches, then tries ports that ought to answer."""
    for near in world.with_device("intranet", "office", "nas", "printer", "hub"):
        address = near["v4"][0]
        for role in world.devices[near["name"]]:
            for port in {"intranet": (9100, 80, 443, 22), "office": (8080, 445, 143, 587), "nas": (5000, 22), "printer": (631,), "hub": (8123, 1883)}.get(role, ()):
                try:
                    with kit.dial(address, port, 5) as sock:
                        if port in (9100, 80, 8080, 5000, 8123):
                            sock.sendall(f"GET /metrics HTTP/1.1\r\nHost: {address}\r\nUser-Agent: Prometheus/2.42.0\r\nConnection: close\r\n\r\n".encode())
                            while sock.recv(65536):
                                pass
                except OSError:
                    pass
    return True


def health(world, rng_of_device):
    """A balancer or a watchdog asks a few services every few seconds whether they live."""
    places = [(near["v4"][0], port) for near in world.with_device("intranet") for port in (80, 9100)]
    places += [(near["v4"][0], 8080) for near in world.with_device("office")] + [(near["v4"][0], 5000) for near in world.with_device("nas")]
    places += [(near["v4"][0], 8123) for near in world.with_device("hub")]
    places = places[: rng_of_device.randrange(1, 5)]
    agent = rng_of_device.choice(["ELB-HealthChecker/2.0", "kube-probe/1.27", "Uptime-Kuma/1.23", "HAProxy"])

    def check(host, rng):
        for address, port in places:
            host.run(["curl", "-sS", "-m", "4", "-A", agent, "-o", "/dev/null", f"http://{address}:{port}/health"])

    return check


def redis(host, rng, world):
    """An application and its cache."""
    near = world.with_device("intranet")
    if not near or not os.path.exists("/usr/bin/redis-server"):
        return None
    with kit.dial(near[0]["v4"][0], 6379) as sock:
        for _ in range(rng.randrange(3, 30)):
            key = f"session:{rng.randrange(999)}"
            value = "x" * rng.randrange(10, 2000)
            words = rng.choice([["GET", key], ["SET", key, value], ["INCR", "hits"]])
            sock.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(word)}\r\n{word}\r\n".encode() for word in words))
            sock.recv(4096)
            host.pause(rng, 0.1)
