"""Names, time and the chatter of devices: DNS of all kinds, NTP, DHCP, mDNS, SSDP, LLMNR, pings, calls, games, tunnels, peers."""

import os
import socket
import struct
import subprocess
import threading
import time

import dns_server
import kit


def udp(host, port=0, six=False):
    sock = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.bind(("::" if six else "", port))
    sock.settimeout(4)
    return sock


def look_up(host, rng, server, name, kind, dnssec=False):
    with udp(host) as sock:
        wire = dns_server.query(rng, name, kind, edns=rng.random() < 0.7, dnssec=dnssec)
        for _ in range(2):
            sock.sendto(wire, (server, 53))
            try:
                reply = sock.recv(4096)
            except TimeoutError:
                continue
            if len(reply) > 3 and reply[2] & 2:
                with kit.dial(server, 53) as stream:
                    stream.sendall(struct.pack("!H", len(wire)) + wire)
                    stream.recv(4096)
            return True
    return False


def dns_noise(host, rng, world):
    """What a device asks beside what its programs do: many names, both families, the odd other type, typos."""
    server = world.resolver
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        chance = rng.random()
        name = rng.choice(world.zone.names)
        if chance < 0.62:
            look_up(host, rng, server, name, "A")
            if rng.random() < 0.8:
                look_up(host, rng, server, name, "AAAA")
            if rng.random() < 0.3:
                look_up(host, rng, server, name, "HTTPS")
        elif chance < 0.70:
            # A slip of the keyboard, or a search list put behind a name.
            at = rng.randrange(1, max(2, len(name) - 4))
            wrong = rng.choice([name[:at] + name[at + 1:], name[:at] + name[at] + name[at:], f"{name.split('.')[0]}.{world.domain}", "wpad." + world.domain])
            look_up(host, rng, server, wrong, "A")
        elif chance < 0.78:
            address = rng.choice(list(world.zone.ptr))
            look_up(host, rng, server, ".".join(reversed(address.split("."))) + ".in-addr.arpa", "PTR")
        elif chance < 0.84:
            look_up(host, rng, server, rng.choice(list(world.zone.srv)), "SRV")
        elif chance < 0.90:
            look_up(host, rng, server, rng.choice(list(world.zone.txt)), "TXT")
        elif chance < 0.95:
            look_up(host, rng, server, rng.choice(list(world.zone.mx)), "MX")
        else:
            look_up(host, rng, server, rng.choice(list(world.zone.mx)), "DNSKEY", dnssec=True)
        host.pause(rng, 0.3)


def same_name(world, rng_of_device):
    """Cheap devices ask for the one name they know before each of their turns."""
    name = rng_of_device.choice([site.name for site in world.of("telemetry") + world.of("mqtt")])
    server = world.resolver if rng_of_device.random() < 0.75 or not world.of("resolver") else rng_of_device.choice(world.of("resolver")).v4

    def ask(host, rng):
        return look_up(host, rng, server, name, "A")

    return ask


def mail_names(host, rng, world):
    """A mail server looks at who sends: sender policies, keys, block lists, reverse names."""
    server = world.resolver
    domain = rng.choice(list(world.zone.mx))
    address = rng.choice(list(world.zone.ptr))
    turned = ".".join(reversed(address.split(".")))
    for name, kind in ((domain, "MX"), (domain, "TXT"), (f"_dmarc.{domain}", "TXT"), (f"s1._domainkey.{domain}", "TXT"),
                       (f"{turned}.in-addr.arpa", "PTR"), (f"{turned}.zen.spamhaus.org", "A"), (f"{turned}.bl.spamcop.net", "A")):
        look_up(host, rng, server, name, kind)
        host.pause(rng, 0.1)


def dot(host, rng, world):
    """DNS over TLS, as phones do it: one connection, many questions."""
    site = rng.choice(world.of("resolver"))
    with kit.client_tls(rng, flavour="modern").wrap_socket(kit.dial(site.v4, 853), server_hostname=site.name) as sock:
        for _ in range(rng.randrange(3, 14)):
            wire = dns_server.query(rng, rng.choice(world.zone.names), rng.choice(["A", "AAAA"]))
            sock.sendall(struct.pack("!H", len(wire)) + wire)
            sock.recv(4096)
            host.pause(rng, 4)


def ntp(host, rng, world):
    """A few clocks are asked, by the pool's name or by one a maker has chosen."""
    name = rng.choice(["pool.ntp.org", "2.android.pool.ntp.org", "time.windows.com", "0.debian.pool.ntp.org", "time.apple.com"])
    infos = socket.getaddrinfo(name, 123, socket.AF_INET, socket.SOCK_DGRAM)
    from_123 = rng.random() < 0.3
    good = False
    for info in infos[: rng.choice([1, 1, 4])]:
        with udp(host, 123 if from_123 else 0) as sock:
            packet = bytearray(48)
            packet[0] = rng.choice([0x23, 0xE3, 0x1B])
            packet[40:48] = rng.randbytes(8)
            sock.sendto(packet, info[4])
            good |= len(sock.recv(128)) >= 48
    return good


def ntp_near(host, _rng, world):
    with udp(host) as sock:
        sock.sendto(b"\x23" + bytes(39) + os.urandom(8), (world.resolver, 123))
        return len(sock.recv(128)) >= 48


def dhcp(host, rng, world, whole=True):
    """Discover, offer, request, acknowledgement at the start; a plain request when the lease is renewed."""
    mac = bytes.fromhex(host.me["mac"].replace(":", ""))
    number = rng.randbytes(4)

    def packet(kind, options, address=b"\0\0\0\0"):
        head = struct.pack("!BBBB4sHH", 1, 1, 6, 0, number, 0, 0x8000 if address == bytes(4) else 0) + address + bytes(12) + mac + bytes(10 + 192)
        text = host.name.encode()
        return head + b"\x63\x82\x53\x63" + bytes([53, 1, kind, 12, len(text)]) + text + options + bytes([55, 7, 1, 3, 6, 15, 42, 119, 252, 255])

    def broadcast(body):
        # With no address yet, a host speaks as 0.0.0.0; that needs a frame of our own making.
        payload = struct.pack("!HHHH", 68, 67, 8 + len(body), 0) + body
        head = bytearray(struct.pack("!BBHHHBBH4s4s", 0x45, 0x10, 20 + len(payload), 0, 0, 128, 17, 0, bytes(4), b"\xff" * 4))
        total = sum(struct.unpack("!10H", head))
        total = (total & 0xFFFF) + (total >> 16)
        head[10:12] = struct.pack("!H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind(("eth0", 0))
            raw.send(b"\xff" * 6 + mac + b"\x08\0" + head + payload)

    own = socket.inet_aton(host.v4[0])
    if whole:
        broadcast(packet(1, bytes([50, 4]) + own))
        host.sleep(0.2 + rng.random())
        broadcast(packet(3, bytes([50, 4]) + own + bytes([54, 4]) + socket.inet_aton(world.resolver)))
        return True
    with udp(host, 68) as sock:
        sock.sendto(packet(3, b"", own), (world.resolver, 67))
        return len(sock.recv(1024)) > 200


def group(host, address, port, payload, ttl=255, source_port=None):
    with udp(host, port if source_port is None else source_port) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, ttl)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host.v4[0]))
        sock.sendto(payload, (address, port))
    return True


SERVICES = ("_googlecast._tcp", "_airplay._tcp", "_ipp._tcp", "_raop._tcp", "_spotify-connect._tcp", "_hap._tcp", "_smb._tcp", "_companion-link._tcp",
            "_printer._tcp", "_sleep-proxy._udp", "_homekit._tcp", "_matter._tcp", "_services._dns-sd._udp")


def mdns_ask(host, rng, _world):
    names = rng.sample(SERVICES, rng.randrange(1, 4))
    wire = struct.pack("!HHHHHH", 0, 0, len(names), 0, 0, 0) + b"".join(
        dns_server.pack_name(name + ".local") + struct.pack("!HH", 12, rng.choice([1, 0x8001])) for name in names)
    return group(host, "224.0.0.251", 5353, wire)


def mdns_tell(host, rng, _world):
    """An announcement, twice a second apart, with names, ports and a line of properties."""
    service = rng.choice(SERVICES[:9]) + ".local"
    name = f"{host.name} {rng.choice(['Living Room', 'Kitchen', 'Office'])}.{service}".replace(" ", "-")
    target = dns_server.pack_name(f"{host.name}.local")
    text = b"".join(bytes([len(item)]) + item for item in (b"id=" + rng.randbytes(16).hex().encode(), b"md=Device", b"ve=05", b"rs="))
    records = [(service, 12, dns_server.pack_name(name)), (name, 33, struct.pack("!HHH", 0, 0, 8009) + target), (name, 16, text),
               (f"{host.name}.local", 1, socket.inet_aton(host.v4[0]))]
    wire = struct.pack("!HHHHHH", 0, 0x8400, 0, len(records), 0, 0) + b"".join(
        dns_server.pack_name(owner) + struct.pack("!HHIH", kind, 0x8001 if kind != 12 else 1, 120, len(body)) + body for owner, kind, body in records)
    group(host, "224.0.0.251", 5353, wire)
    host.sleep(1.0)
    return group(host, "224.0.0.251", 5353, wire)


def ssdp_search(host, rng, world):
    """Three times the same question, then the gateway's description is read."""
    what = rng.choice(["ssdp:all", "upnp:rootdevice", "urn:dial-multiscreen-org:service:dial:1", "urn:schemas-upnp-org:device:InternetGatewayDevice:1"])
    text = f'M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: "ssdp:discover"\r\nMX: 2\r\nST: {what}\r\n\r\n'
    for _ in range(rng.choice([1, 2, 3])):
        group(host, "239.255.255.250", 1900, text.encode(), 2, 0)
        host.sleep(0.4)
    if "Gateway" in what:
        host.run(["curl", "-sS", "-m", "5", "-A", "Linux/5.10 UPnP/1.1", "-o", "/dev/null", f"http://{world.resolver}:49152/rootDesc.xml"])


def ssdp_tell(host, rng, _world):
    for kind in ("upnp:rootdevice", f"uuid:{rng.randrange(1 << 62):032x}", "urn:schemas-upnp-org:device:MediaRenderer:1", "urn:schemas-upnp-org:service:AVTransport:1"):
        text = f"NOTIFY * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nCACHE-CONTROL: max-age=1800\r\nLOCATION: http://{host.v4[0]}:49152/d.xml\r\n" \
               f"NT: {kind}\r\nNTS: ssdp:alive\r\nSERVER: Linux/4.9 UPnP/1.0\r\nUSN: uuid:{host.name}::{kind}\r\n\r\n"
        group(host, "239.255.255.250", 1900, text.encode(), 4)
        host.sleep(0.05)


def llmnr(host, rng, world):
    """Windows asks its neighbours for short names: over LLMNR and over NetBIOS."""
    name = rng.choice(["wpad", "isatap", "fileserver", "nas", "printer", host.name])
    wire = struct.pack("!HHHHHH", rng.randrange(65536), 0, 1, 0, 0, 0) + dns_server.pack_name(name) + struct.pack("!HH", rng.choice([1, 28]), 1)
    for _ in range(2):
        group(host, "224.0.0.252", 5355, wire, 1, 0)
        host.sleep(0.1)
    padded = name.upper().ljust(15)[:15] + "\0"
    encoded = "".join(chr(65 + (ord(char) >> 4)) + chr(65 + (ord(char) & 15)) for char in padded)
    body = struct.pack("!HHHHHH", rng.randrange(65536), 0x0110, 1, 0, 0, 0) + b"\x20" + encoded.encode() + b"\0" + struct.pack("!HH", 32, 1)
    base = host.v4[0].rsplit(".", 1)[0] + ".255"
    for _ in range(3):
        with udp(host, 137) as sock:
            sock.sendto(body, (base, 137))
        host.sleep(0.75)


def ping(host, rng, world):
    target = rng.choice([world.resolver, rng.choice(world.sites).v4, rng.choice(world.sites).name])
    return host.run(["ping", "-n", "-q", "-c", str(rng.randrange(3, 12)), "-i", rng.choice(["0.5", "1", "1"]), target])[0] == 0


def traceroute(host, rng, world):
    host.run(["traceroute", "-n", "-w", "1", "-q", str(rng.choice([1, 3])), *rng.choice([[], ["-I"]]), rng.choice(world.webs()).v4], secs=50)


def media(host, rng, peer, secs, packet_secs, sizes, both=None):
    """A stream of datagrams with RTP's head at its even pace; `both` hears the other side."""
    sock = udp(host)
    sock.connect(peer)
    sock.setblocking(False)
    sequence, stamp, source = rng.randrange(65536), rng.randrange(1 << 31), rng.randbytes(4)
    due = time.monotonic()
    until = due + secs
    heard = 0
    kind = rng.choice([0, 8, 96, 111])
    while due < until:
        size = rng.randrange(*sizes)
        head = struct.pack("!BBHI", 0x80, kind, sequence & 0xFFFF, stamp & 0xFFFFFFFF) + source
        try:
            sock.send(head + os.urandom(size))
        except OSError:
            pass
        sequence, stamp = sequence + 1, stamp + 960
        try:
            while sock.recv(2048):
                heard += 1
        except OSError:
            pass
        due += packet_secs
        host.sleep(due - time.monotonic())
    sock.close()
    return heard > 0 if both else True


def stun(host, rng, world):
    site = rng.choice(world.of("call"))
    with udp(host) as sock:
        for _ in range(rng.randrange(1, 4)):
            sock.sendto(b"\0\1\0\0\x21\x12\xa4\x42" + rng.randbytes(12), (site.v4, 3478))
            sock.recv(512)
            host.pause(rng, 0.3)


def call(host, rng, world):
    """A call: STUN first, then speech, and sometimes a picture, both ways."""
    site = rng.choice(world.of("call"))
    stun(host, rng, world)
    secs = rng.uniform(12, 70)
    if rng.random() < 0.4:
        threading.Thread(target=quietly, args=(media, host, host.rng("picture", time.monotonic()), (site.v4, 10000), secs, 0.012, (500, 1100)), daemon=True).start()
    return media(host, rng, (site.v4, 10000), secs, 0.02, (70, 161), True)


def quietly(body, *args):
    try:
        body(*args)
    except (kit.Stopped, OSError):
        pass


def game(host, rng, world):
    """Twenty to sixty small datagrams a second, and the state of the game back."""
    site = rng.choice(world.of("game"))
    port = rng.choice(site.ports)
    sock = udp(host)
    sock.connect((site.v4, port))
    sock.send(b"\xff\xff\xff\xffTSource Engine Query\0")
    sock.setblocking(False)
    period = 1 / rng.choice([20, 30, 40])
    until = time.monotonic() + rng.uniform(20, 110)
    heard = 0
    due = time.monotonic()
    while due < until:
        try:
            sock.send(os.urandom(rng.randrange(38, 110)))
            while sock.recv(2048):
                heard += 1
        except OSError:
            pass
        due += period
        host.sleep(due - time.monotonic())
    sock.close()
    return heard > 10


def wireguard(host, rng, world):
    """A tunnel in WireGuard's shapes: a handshake every two minutes, data in sixteens, a keepalive when nothing else is said."""
    site = rng.choice(world.of("vpn"))
    sock = udp(host)
    sock.connect((site.v4, 51820))
    until = time.monotonic() + rng.uniform(60, 400)
    shaken = 0.0
    number = 0
    while time.monotonic() < until:
        if time.monotonic() - shaken > 120:
            sock.send(b"\1\0\0\0" + rng.randbytes(144))
            reply = sock.recv(2048)
            peer, shaken = reply[4:8], time.monotonic()
        for _ in range(rng.choice([1, 1, 3, 8])):
            number += 1
            sock.send(b"\4\0\0\0" + peer + struct.pack("<Q", number) + rng.randbytes(16 * rng.choice([1, 3, 6, 10, 40, 88])))
            sock.settimeout(0.3)
            try:
                for _ in range(4):
                    sock.recv(2048)
            except OSError:
                pass
            host.pause(rng, 0.15)
        sock.send(b"\4\0\0\0" + peer + struct.pack("<Q", number) + rng.randbytes(16))
        number += 1
        host.pause(rng, rng.choice([1, 5, 20]))
        sock.settimeout(4)
    sock.close()


def openvpn(host, rng, world):
    """A tunnel in OpenVPN's shapes over UDP."""
    site = rng.choice(world.of("vpn"))
    with udp(host) as sock:
        sock.connect((site.v4, 1194))
        sock.send(bytes([7 << 3]) + rng.randbytes(8) + bytes(5))
        sock.recv(2048)
        until = time.monotonic() + rng.uniform(30, 200)
        sock.settimeout(0.5)
        while time.monotonic() < until:
            sock.send(bytes([9 << 3, 0, 0, 1]) + rng.randbytes(rng.choice([60, 90, 300, 900, 1340])))
            try:
                sock.recv(2048)
            except TimeoutError:
                pass
            host.pause(rng, rng.choice([0.05, 0.3, 4]))


def sip(host, rng, world, registrar):
    """A desk phone tells its exchange every minute that it is there."""
    with udp(host, 5060) as sock:
        for method in rng.choice([["OPTIONS"], ["REGISTER", "REGISTER"]]):
            text = f"{method} sip:{registrar} SIP/2.0\r\nVia: SIP/2.0/UDP {host.v4[0]}:5060;branch=z9hG4bK{rng.randrange(1 << 30):x}\r\n" \
                   f"From: <sip:{rng.randrange(100, 999)}@{registrar}>;tag={rng.randrange(1 << 20):x}\r\nTo: <sip:100@{registrar}>\r\n" \
                   f"Call-ID: {rng.randrange(1 << 40):x}@{host.v4[0]}\r\nCSeq: {rng.randrange(1, 999)} {method}\r\nMax-Forwards: 70\r\n" \
                   f"User-Agent: Yealink SIP-T46S 66.86.0.15\r\nExpires: 300\r\nContent-Length: 0\r\n\r\n"
            sock.sendto(text.encode(), (registrar, 5060))
            sock.recv(2048)
            host.pause(rng, 0.2)


def nat_pmp(host, rng, world):
    with udp(host) as sock:
        sock.sendto(b"\0\0", (world.resolver, 5351))
        sock.recv(64)
        sock.sendto(struct.pack("!BBHHHI", 0, 1, 0, 40_000, 40_000, 7200), (world.resolver, 5351))
        sock.recv(64)


def arp_refresh(_host, _rng):
    """Neighbours are forgotten and asked for again, as they are over hours."""
    subprocess.run(["ip", "neigh", "flush", "dev", "eth0"], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
