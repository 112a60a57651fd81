"""Benign doings that look like attacks at a glance: mistyped passwords, crawlers, load, checks, storms, outages, many peers."""

import ftplib
import imaplib
import os
import random
import re
import subprocess
import threading
import time

import habits
import kit
import talk
import web
import wire


def start(host, world):
    """Each look-alike happens on one host that can do it; the seed says which and when."""
    for name in world.looks:
        who, body = LOOKS[name]
        chance = random.Random(f"{world.plan['seed']}/look/{name}")
        able = [known for known, roles in sorted(world.devices.items()) if set(roles) & set(who)]
        if able and chance.choice(able) == host.name:
            host.once(f"look: {name}", body, world)


def slips(rng, right):
    """What a hand makes of the right password."""
    at = rng.randrange(1, len(right) - 1)
    return rng.choice([right.lower(), right.swapcase(), right[:at] + right[at + 1:], right[:-1], right + "1", right[:at] + right[at] + right[at:]])


def person_tries(host, rng, right, once):
    """Wrong, wrong, a moment's thought, right: one to six slips, at the pace of a person."""
    for _ in range(rng.choice([1, 1, 2, 2, 3, 4, 6])):
        once(slips(rng, right))
        host.pause(rng, rng.choice([4, 8, 15]))
    return once(right)


def ssh_mistyped(host, rng, world):
    place = rng.choice(talk.ssh_places(world))
    tries = rng.choice([1, 1, 3])
    return person_tries(host, rng, world.passwords["ssh"],
                        lambda word: talk.ssh_login(host, rng, world, place, "uptime; sleep 4", word, tries))


def ftp_mistyped(host, rng, world):
    def once(word):
        try:
            return talk.ftp(host, rng, world, word)
        except ftplib.Error:
            return False

    return person_tries(host, rng, world.passwords["ftp"], once)


def smb_mistyped(host, rng, world):
    near = world.with_device("nas", "office")
    if not near:
        return None
    server = rng.choice(near)["v4"][0]
    return person_tries(host, rng, world.passwords["smb"], lambda word: host.run(
        ["smbclient", f"//{server}/share", word, "-U", world.person, "-s", "/dev/null", "-c", "ls"])[0] == 0)


def form_mistyped(host, rng, world):
    """The web form, until the cookie comes; a page is read after it."""
    site = rng.choice(world.of("portal") + world.of("web"))
    agent = rng.choice(web.AGENTS)
    jar = f"{host.dir}/form-jar"
    web.curl(host, rng, "-c", jar, "-o", "/dev/null", f"https://{site.name}/login", agent=agent)

    def once(word):
        _, out = web.curl(host, rng, "-b", jar, "-c", jar, "-o", "/dev/null", "-w", "%{http_code}", "-e", f"https://{site.name}/login",
                          "--data-urlencode", f"user={world.person}", "--data-urlencode", f"password={word}", f"https://{site.name}/login", agent=agent)
        return out.strip() == b"302"

    good = person_tries(host, rng, world.passwords["web"], once)
    web.curl(host, rng, "-b", jar, "-o", "/dev/null", f"https://{site.name}/p/1", agent=agent)
    return good


def mail_old_password(host, rng, world):
    """A mail program with the old password tries a few times by itself; then its person types the new one."""
    for _ in range(rng.randrange(2, 8)):
        try:
            talk.imap_check(host, rng, world, "Old-" + world.passwords["mail"][::-1])
        except (imaplib.IMAP4.error, OSError):
            pass
        host.pause(rng, rng.choice([10, 20, 30]))
    return talk.imap_check(host, rng, world)


def many_objects(host, rng, world):
    """A page of a hundred pictures by eight connections, then the next."""
    sites = rng.sample(world.of("web") + world.of("cdn"), 2)
    for _ in range(rng.randrange(1, 4)):
        words = ["--parallel", "--parallel-max", "8"]
        for number in range(rng.randrange(80, 130)):
            words += ["-o", "/dev/null", f"https://{rng.choice(sites).name}/o/{int(min(200_000, rng.lognormvariate(9, 1)))}/{number}.webp"]
        host.run(["curl", "-sSk", "-A", web.AGENTS[1], rng.choice(["--http1.1", "--http2"]), *words])
        host.pause(rng, 8)


def captive(host, rng, world):
    """A device in doubt of its network asks again and again."""
    for _ in range(rng.randrange(6, 20)):
        web.captive_probe(host, rng, world)
        host.pause(rng, 2.5)


def download16(host, rng, world):
    """A download manager with sixteen connections to one server."""
    site = rng.choice(world.of("mirror"))
    size = rng.randrange(6_000_000, 18_000_000)
    return host.run(["aria2c", "-q", "-x", "16", "-s", "16", "-k", "256K", "--file-allocation=none", "--allow-overwrite=true", "--check-certificate=false",
                     "-d", host.dir, "-o", "big.bin", f"http://{site.name}/pool/{size}/image.iso"], secs=90)[0] in (0, -15)


def crawler(host, rng, world):
    """A link checker goes through a site, polite or not, and finds some pages gone."""
    near = world.with_device("intranet")
    place = near[0]["v4"][0] if near and rng.random() < 0.5 else rng.choice(world.of("web")).name
    scheme, pause = rng.choice(["http", "https"]), rng.choice([0.1, 0.5, 2])
    seen, todo = set(), ["/robots.txt", "/"]
    agent = rng.choice(["LinkChecker/10.2", "Screaming Frog SEO Spider/19.4", "Mozilla/5.0 (compatible; archive-bot/1.0)"])
    until = time.monotonic() + rng.uniform(30, 120)
    while todo and len(seen) < 150 and time.monotonic() < until:
        path = todo.pop(0)
        seen.add(path)
        _, out = web.curl(host, rng, "-L", f"{scheme}://{place}{path}", agent=agent)
        for found in re.findall(rb'href="(/[^"]*)"', out):
            found = found.decode(errors="replace")
            if found not in seen and found not in todo:
                todo.append(found)
        if rng.random() < 0.06:
            todo.insert(0, f"/old/page{rng.randrange(99)}.html")
        host.pause(rng, pause)


def load_test(host, rng, world):
    """One's own service under some load, for a moment: many requests on a few connections that all get their answer."""
    near = world.with_device("intranet", "hub", "nas")
    if not near:
        return None
    port = {"intranet": 80, "hub": 8123, "nas": 5000}[next(role for role in world.devices[near[0]["name"]] if role in ("intranet", "hub", "nas"))]
    address = f"http://{near[0]['v4'][0]}:{port}/o/900"
    if rng.random() < 0.5:
        # So many requests, however long they take.
        return host.run(["curl", "-sS", "--parallel", "--parallel-max", str(rng.choice([4, 8, 16])), "-A", "ApacheBench/2.3", "-o", "/dev/null",
                         f"{address}/[1-{rng.randrange(200, 1500)}].png"])[0] == 0
    return host.run(["wrk", "-t", "1", "-c", str(rng.choice([2, 4])), "-d", f"{rng.randrange(2, 4)}s", f"{address}/a.png"])[0] == 0


def own_port_check(host, rng, world):
    """Is my service up? A handful of ports of one machine, by hand."""
    near = rng.choice(world.with_device("nas", "office", "intranet", "hub", "printer") or [world.gateway])
    for port in rng.sample([22, 80, 443, 445, 631, 8080, 8123, 1883, 5000, 53, 25, 3389], rng.randrange(3, 8)):
        host.run(["nc", "-z", "-w", "2", near["v4"][0], str(port)])
        host.pause(rng, rng.choice([0.5, 3]))


def mirror_sync(host, rng, world):
    """A mirror is brought up to date: a whole tree by rsync, then packages over HTTP."""
    for _ in range(rng.randrange(1, 4)):
        talk.rsync_pull(host, rng, world)
    site = rng.choice(world.of("mirror"))
    for _ in range(rng.randrange(8, 40)):
        web.curl(host, rng, "-o", "/dev/null", f"http://{site.name}/pool/{int(min(900_000, rng.lognormvariate(10.5, 1.4)))}/x.deb", agent="apt-mirror/0.5")


def backup_ssh(host, rng, world):
    """A backup over SSH: one command after the other, then a long upload."""
    for _ in range(rng.randrange(2, 7)):
        talk.ssh_command(host, rng, world)
    for _ in range(rng.randrange(1, 4)):
        talk.scp(host, rng, world)


def mdns_storm(host, rng, world):
    """A device that restarts its announcements over and over, as some do."""
    for _ in range(rng.randrange(15, 50)):
        wire.mdns_ask(host, rng, world)
        if rng.random() < 0.3:
            wire.ssdp_tell(host, rng, world)
        host.pause(rng, 0.4)


def reboot(host, rng, world):
    """All comes back at once: the address, the names, the clock, and every connection."""
    link("down")
    host.sleep(rng.uniform(4, 12))
    link("up", host, world)
    host.sleep(1.0)
    wire.dhcp(host, rng, world)
    for body in (web.captive_probe, wire.ntp, wire.dns_noise, wire.mdns_tell, wire.ssdp_search, wire.dns_noise, web.app, web.telemetry, wire.dns_noise, web.app):
        host.attempt("back", body, rng, world)


def wifi_outage(host, rng, world):
    """The radio is gone for seconds, now and then; what was sent is sent again."""
    for _ in range(rng.randrange(2, 6)):
        link("down")
        host.sleep(rng.uniform(0.5, 6))
        link("up", host, world)
        host.pause(rng, 15)


def link(state, host=None, world=None):
    """Takes the interface down or up; routes and IPv6 addresses go with it and are put back."""
    subprocess.run(["ip", "link", "set", "eth0", state], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    if state == "up":
        lines = [f"route replace default via {world.resolver}"]
        lines += [f"addr replace {address}/64 dev eth0 nodad" for address in host.v6]
        lines += [f"-6 route replace default via {world.gateway['v6'][0]}"] if world.gateway.get("v6") and host.v6 else []
        subprocess.run(["ip", "-batch", "-", "-force"], input="\n".join(lines) + "\n", text=True, check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def server_restart(host, rng, world):
    """A service is away for a while: its clients are refused, wait, and try again, each at its own pace."""
    near = world.with_device("intranet", "hub", "nas")
    if not near:
        return None
    address, port = near[0]["v4"][0], rng.choice([8124, 9443, 5432])
    gap = rng.uniform(8, 25)
    until = time.monotonic() + gap
    wait = rng.choice([0.5, 1, 2])
    while time.monotonic() < until:
        try:
            kit.dial(address, port, 3).close()
        except OSError:
            pass
        host.sleep(wait * rng.uniform(0.8, 1.2))
        wait = min(wait * rng.choice([1, 1.5, 2]), 10)
    return True


def torrent(host, rng, world):
    """A file from many peers: lookups in a hash table over UDP, handshakes with those found, pieces from the few that have them."""
    peers = rng.sample(world.addresses, min(len(world.addresses), rng.randrange(12, 30)))
    identity = rng.randbytes(20)
    with wire.udp(host, 6881) as sock:
        sock.settimeout(0.2)
        until = time.monotonic() + rng.uniform(25, 70)
        while time.monotonic() < until:
            address, _ = rng.choice(peers)
            port = rng.choice([51820, 27015, 3478, 6881, rng.randrange(10_000, 65_000)])
            text = b"d1:ad2:id20:" + identity + b"9:info_hash20:" + identity + b"e1:q9:get_peers1:t2:" + rng.randbytes(2) + b"1:v4:LT\1\2" + b"1:y1:qe"
            sock.sendto(text, (address, port))
            try:
                sock.recv(2048)
            except OSError:
                pass
            if rng.random() < 0.15:
                threading.Thread(target=peer_piece, args=(host, rng.randbytes(8), address), daemon=True).start()
            host.pause(rng, 0.7)


def peer_piece(host, identity, address):
    """Not every peer is there; who is speaks for a while."""
    try:
        with kit.dial(address, 51413, 4) as sock:
            sock.sendall(b"\x13BitTorrent protocol" + bytes(8) + os.urandom(20) + b"-TR4040-" + identity + b"abcd")
            while not host.stopping.is_set() and sock.recv(65536):
                pass
    except (OSError, kit.Stopped):
        pass


PEOPLE = ("laptop", "workstation", "desk", "admin", "kid", "phone", "tablet", "household")
MACHINES = ("laptop", "workstation", "admin", "nas", "hub", "desk", "kid", "household", "phone")
LOOKS = {
    "ssh_mistyped": (("laptop", "workstation", "admin", "kid", "desk"), ssh_mistyped),
    "ftp_mistyped": (("laptop", "desk", "workstation", "kid"), ftp_mistyped),
    "smb_mistyped": (("laptop", "desk", "workstation", "kid", "tablet"), smb_mistyped),
    "form_mistyped": (PEOPLE, form_mistyped),
    "mail_old_password": (PEOPLE, mail_old_password),
    "many_objects": (PEOPLE, many_objects),
    "captive": (("phone", "tv", "tablet", "household"), captive),
    "download16": (("laptop", "workstation", "kid", "household"), download16),
    "crawler": (("admin", "workstation", "desk"), crawler),
    "load_test": (("admin", "workstation", "laptop"), load_test),
    "own_port_check": (("admin", "laptop", "workstation"), own_port_check),
    "mirror_sync": (("intranet", "admin", "nas"), mirror_sync),
    "backup_ssh": (MACHINES, backup_ssh),
    "mdns_storm": (("tv", "speaker", "bulbs", "sensors", "printer"), mdns_storm),
    "reboot": (("tv", "bulbs", "printer", "phone", "console", "desk", "laptop", "sensors"), reboot),
    "wifi_outage": (("phone", "laptop", "tablet", "tv", "kid"), wifi_outage),
    "server_restart": (("phone", "laptop", "workstation", "admin", "sensors", "desk"), server_restart),
    "fleet": (("admin", "workstation", "laptop", "hub"), habits.fleet),
    "calendar": (PEOPLE, habits.calendar),
    "reputation": (("laptop", "workstation", "desk", "kid"), habits.reputation),
    "dead_server": (("tv", "bulbs", "camera", "printer", "phone", "deskphone", "speaker"), habits.dead_server),
    "broken_tls": (("tv", "bulbs", "camera", "printer", "tablet", "speaker", "console"), habits.broken_tls),
    "progress": (PEOPLE, habits.progress),
    "speed_test": (("laptop", "phone", "kid", "desk", "household"), habits.speed_test),
    "big_upload": (PEOPLE, habits.big_upload),
    "name_burst": (PEOPLE, habits.name_burst),
    "newsletter": (("laptop", "desk", "office"), habits.newsletter),
    "big_pings": (("laptop", "admin", "workstation", "kid"), habits.big_pings),
    "finder": (("phone", "laptop", "tablet", "desk", "hub"), habits.finder),
    "torrent": (("kid", "household", "laptop"), torrent),
}
