"""Habits of honest programs that resemble attacks: fleets by SSH, first-refused logins, reputation by DNS, dead servers, speed tests."""

import random
import socket
import threading
import time

import dns_server
import kit
import talk
import web
import wire


def fleet(host, rng, world):
    """Configuration management: one short command after the other on every machine, each a connection of its own."""
    places = talk.ssh_places(world)
    for _ in range(rng.randrange(1, 3)):
        for place in rng.sample(places, min(len(places), rng.randrange(2, 6))):
            for _ in range(rng.randrange(2, 6)):
                talk.ssh_login(host, rng, world, place, rng.choice(["true", "cat /etc/services", "uname -a", "id; ls -la /etc"]))
                host.pause(rng, rng.choice([0.1, 0.6]))


def calendar(host, rng, world):
    """A calendar program asks without a password first, each time, and is refused; then with it. Many do so for years."""
    site = rng.choice(world.of("store") + world.of("portal"))
    client = web.Client(host, site, rng.choice(["DAVx5/4.3.13", "iOS/17.4 dataaccessd/1.0", "Thunderbird/115.9"]), "modern", rng=rng)
    for _ in range(rng.randrange(4, 16)):
        path = f"/cal/{world.person}/{rng.choice(['work', 'home', 'birthdays'])}/"
        body = '<?xml version="1.0"?><d:propfind xmlns:d="DAV:"><d:prop><d:getctag/></d:prop></d:propfind>'
        client.ask("PROPFIND", path, body, {"Depth": "0"})
        client.ask("PROPFIND", path, body, {"Depth": "0", "Authorization": web.basic(world.person, world.passwords["web"])})
        if rng.random() < 0.5:
            client.close()
        host.pause(rng, rng.choice([0.3, 2, 8]))
    client.close()


def reputation(host, rng, world):
    """A virus scanner asks by DNS what is known of files: sums as labels under one domain (RFC 5782's way)."""
    parent = rng.choice(["avqs.mcafee.com", "f.sophosxl.net", "hashserver.cs.trendmicro.com"])
    for _ in range(rng.randrange(6, 40)):
        label = rng.randbytes(rng.choice([10, 16, 20])).hex()
        name = f"{rng.randrange(16)}.0.{label}.{parent}" if rng.random() < 0.5 else f"{label}.{parent}"
        wire.look_up(host, rng, world.resolver, name, "A")
        host.pause(rng, rng.choice([0.3, 1.5, 6]))


def dead_server(host, rng, world):
    """A program goes on trying a server that is long gone: no answer, and no end to hope."""
    address = ".".join(str(part) for part in (rng.choice([23, 45, 77, 91, 138, 193]), rng.randrange(1, 250), rng.randrange(1, 250), rng.randrange(1, 250)))
    port = rng.choice([443, 80, 8883, 5222, 993])
    wait = rng.choice([5, 10, 20])
    until = time.monotonic() + rng.uniform(40, 240)
    while time.monotonic() < until:
        try:
            kit.dial(address, port, rng.choice([3, 8, 15])).close()
        except OSError:
            pass
        host.sleep(wait * rng.uniform(0.9, 1.1))
        wait = min(60, wait * rng.choice([1, 1, 2]))


def broken_tls(host, rng, world):
    """A device whose trusted certificates have run out: it calls, does not like what it sees, hangs up, and calls again."""
    site = rng.choice(world.of("telemetry") + world.of("api"))
    tls = kit.client_tls(rng, flavour="old")
    tls.verify_mode = kit.ssl.CERT_REQUIRED
    for _ in range(rng.randrange(5, 25)):
        try:
            tls.wrap_socket(kit.dial(kit.resolve(site.name), 443), server_hostname=site.name).close()
        except OSError:
            pass
        host.pause(rng, rng.choice([3, 10]))


def progress(host, rng, world):
    """A page that asks once a second how far something is."""
    client = web.Client(host, rng.choice(world.of("api")), rng.choice(web.AGENTS), "modern", rng=rng)
    number = rng.randrange(1 << 32)
    keeps = rng.random() < 0.6
    for _ in range(rng.randrange(20, 90)):
        client.ask("GET", f"/api/v1/jobs/{number:x}/status?_={int(time.time() * 1000)}")
        if not keeps:
            client.close()
        host.sleep(rng.choice([0.5, 1.0, 2.0]))
    client.close()


def speed_test(host, rng, world):
    """As much as the line gives for seconds, by several connections, down and then up."""
    site = rng.choice(world.of("cdn") + world.of("mirror"))
    for direction in ("down", "up"):
        until = time.monotonic() + rng.uniform(2, 4)

        def lane(number, direction=direction, until=until):
            chance = random.Random(f"{number}{direction}")
            try:
                client = web.Client(host, site, web.AGENTS[0], "modern", rng=chance)
                while time.monotonic() < until and not host.stopping.is_set():
                    if direction == "down":
                        client.ask("GET", f"/o/{1 << 20}/{chance.randrange(1 << 20)}.bin?r={chance.random()}")
                    else:
                        client.ask("POST", f"/api/upload?r={chance.random()}", chance.randbytes(1 << 19))
                client.close()
            except (OSError, kit.Stopped, web.http.client.HTTPException):
                pass

        lanes = [threading.Thread(target=lane, args=(number,), daemon=True) for number in range(rng.choice([3, 4, 6]))]
        for thread in lanes:
            thread.start()
        for thread in lanes:
            thread.join()


def big_upload(host, rng, world):
    """Somebody puts a film online, or sends a folder of pictures."""
    site = rng.choice(world.of("store") + world.of("api"))
    client = web.Client(host, site, rng.choice(web.AGENTS), "modern", rng=rng)
    size = rng.randrange(4_000_000, 24_000_000)
    step = rng.choice([1 << 18, 1 << 20, 1 << 22])
    for start in range(0, size, step):
        client.ask("POST", "/upload?part=" + str(start), rng.randbytes(min(step, size - start)),
                   {"Content-Range": f"bytes {start}-{min(size, start + step) - 1}/{size}"})
        host.sleep(0)
    client.close()


def name_burst(host, rng, world):
    """A browser looks up every name on a page before anybody clicks."""
    names = rng.sample(world.zone.names, min(len(world.zone.names), rng.randrange(25, 70)))
    for name in names:
        with wire.udp(host) as sock:
            for kind in ("A", "AAAA"):
                sock.sendto(dns_server.query(rng, name, kind), (world.resolver, 53))
            try:
                sock.settimeout(1)
                sock.recv(4096)
            except TimeoutError:
                pass
        host.sleep(rng.random() * 0.05)


def newsletter(host, rng, world):
    """One mail after the other to many people, through one's own server."""
    for _ in range(rng.randrange(6, 25)):
        talk.send_mail(host, rng, world)
        host.pause(rng, 0.7)


def big_pings(host, rng, world):
    """How large may a packet be? Echoes of several sizes, then a long watch of the line."""
    target = rng.choice(world.webs()).v4
    for size in rng.sample([1400, 1412, 1440, 1452, 1464, 1472, 1473], 4):
        host.run(["ping", "-n", "-q", "-c", "2", "-M", "do", "-s", str(size), target], secs=10)
    host.run(["ping", "-n", "-q", "-c", str(rng.randrange(30, 90)), "-i", rng.choice(["0.3", "0.5", "1"]), target], secs=100)


def finder(host, rng, world):
    """An app looks for its devices: broadcasts, then a knock at those that may be one."""
    base = host.v4[0].rsplit(".", 1)[0] + ".255"
    for port, text in ((9999, 30), (17500, 150), (27036, 60), (3702, 0), (6667, 170)):
        with wire.udp(host) as sock:
            for _ in range(rng.randrange(1, 4)):
                sock.sendto(rng.randbytes(text) if text else WSD, ("239.255.255.250", 3702) if port == 3702 else (base, port))
                host.sleep(0.3)
    for near in rng.sample(sorted(world.devices), min(len(world.devices), 6)):
        address = world.hosts[near]["v4"][0]
        for port in rng.sample([80, 443, 8008, 1400, 6668, 554, 9100, 8123], 2):
            try:
                kit.dial(address, port, 1).close()
            except OSError:
                pass


WSD = (b'<?xml version="1.0" encoding="utf-8"?><soap:Envelope xmlns:soap="http://www.w3.org/2003/05/soap-envelope" '
       b'xmlns:wsd="http://schemas.xmlsoap.org/ws/2005/04/discovery"><soap:Body><wsd:Probe><wsd:Types>wsdp:Device</wsd:Types></wsd:Probe>'
       b'</soap:Body></soap:Envelope>')


def listen_to_groups(host, _rng, _world):
    """Membership of the groups of mDNS and SSDP, so that the host reports it, and hears."""
    socks = []
    for group, port in (("224.0.0.251", 5353), ("239.255.255.250", 1900)):
        sock = wire.udp(host, port)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + socket.inet_aton(host.v4[0]))
        socks.append(sock)
    while True:
        for sock in socks:
            sock.settimeout(5)
            try:
                sock.recv(4096)
            except TimeoutError:
                pass
            host.sleep(0)


def local_hello(host, rng, _world):
    """Bulbs and plugs tell the house every few seconds that they are there."""
    base = host.v4[0].rsplit(".", 1)[0] + ".255"
    with wire.udp(host, 49_154) as sock:
        sock.sendto(b"\0\0\x55\xaa" + rng.randbytes(168), (base, 6667))
    return True
