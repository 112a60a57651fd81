"""The public name servers of the lab: answers from the world's zone over UDP, TCP and TLS, and a little DNS wire format."""

import random
import socket
import struct
import threading
import time
import zlib

REPUTATION = ("avqs.mcafee.com", "f.sophosxl.net", "hashserver.cs.trendmicro.com")
TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "NAPTR": 35, "DS": 43,
         "RRSIG": 46, "DNSKEY": 48, "HTTPS": 65, "ANY": 255}


def pack_name(name):
    out = b""
    for label in name.rstrip(".").split("."):
        if label:
            raw = label.encode()[:63]
            out += bytes([len(raw)]) + raw
    return out + b"\0"


def unpack_name(data, at):
    labels = []
    for _ in range(128):
        size = data[at]
        if size == 0:
            return ".".join(labels), at + 1
        labels.append(data[at + 1: at + 1 + size].decode("latin-1"))
        at += 1 + size
    raise ValueError("name")


def query(rng, name, kind, edns=True, dnssec=False):
    flags = 0x0120 if dnssec else 0x0100
    out = struct.pack("!HHHHHH", rng.randrange(65536), flags, 1, 0, 0, 1 if edns else 0)
    out += pack_name(name) + struct.pack("!HH", TYPES[kind], 1)
    if edns:
        out += b"\0" + struct.pack("!HHIH", 41, rng.choice([1232, 4096, 1400]), 0x8000 if dnssec else 0, 0)
    return out


def answer(zone, data, size_max):
    """The answer to one query; what we do not know does not exist."""
    if len(data) < 17:
        return b""
    number, flags, questions = struct.unpack("!HHH", data[:6])
    try:
        asked, at = unpack_name(data, 12)
        kind = struct.unpack("!H", data[at: at + 2])[0]
    except (ValueError, IndexError, struct.error):
        return b""
    question = data[12: at + 4]
    dnssec = len(data) > at + 4 + 8 and data[at + 4 + 7] & 0x80
    name = asked.lower()
    records = []

    def put(owner, number_of_type, body, ttl):
        records.append(pack_name(owner) + struct.pack("!HHIH", number_of_type, 1, ttl, len(body)) + body)

    known = True
    target = name
    if name in zone.cname:
        target = zone.cname[name]
        put(name, 5, pack_name(target), 300)
    ttl = zone.ttl.get(target, 300)
    if kind == 1 and not name.endswith(REPUTATION):
        for address in zone.v4.get(target, []):
            put(target, 1, socket.inet_aton(address), ttl)
    elif kind == 28:
        for address in zone.v6.get(target, []):
            put(target, 28, socket.inet_pton(socket.AF_INET6, address), ttl)
    elif kind == 16:
        for text in zone.txt.get(name, []):
            raw = text.encode()
            body = b"".join(bytes([len(raw[i: i + 255])]) + raw[i: i + 255] for i in range(0, len(raw), 255))
            put(name, 16, body, 3600)
    elif kind == 15:
        for preference, host in zone.mx.get(name, []):
            put(name, 15, struct.pack("!H", preference) + pack_name(host), 3600)
    elif kind == 33:
        for priority, weight, port, host in zone.srv.get(name, []):
            put(name, 33, struct.pack("!HHH", priority, weight, port) + pack_name(host), 600)
    elif kind == 65 and target in zone.v4:
        body = struct.pack("!H", 1) + b"\0" + struct.pack("!HH", 1, 6) + b"\x02h2\x02h3"
        body += struct.pack("!HH", 4, 4) + socket.inet_aton(zone.v4[target][0])
        put(target, 65, body, ttl)
    elif kind == 1 and name.endswith(REPUTATION):
        # Listed or not: an address of the loopback network says which (RFC 5782).
        if zlib.crc32(name.encode()) % 2:
            put(name, 1, bytes([127, 0, 0, zlib.crc32(name.encode()) % 200 + 2]), 300)
    elif kind == 12 and name.endswith(".in-addr.arpa"):
        address = ".".join(reversed(name.split(".")[:4]))
        if address in zone.ptr:
            put(name, 12, pack_name(zone.ptr[address]), 3600)
    elif kind == 48:
        rng = random.Random(name)
        for tag in (256, 257):
            put(name, 48, struct.pack("!HBB", tag, 3, 8) + rng.randbytes(260), 3600)
    if not records:
        known = any(target in table for table in (zone.v4, zone.v6, zone.txt, zone.mx, zone.srv)) or kind == 48
    if dnssec and records:
        rng = random.Random(name)
        body = struct.pack("!HBBIIIH", kind, 13, 2, ttl, 1_900_000_000, 1_700_000_000, rng.randrange(65536)) + pack_name(name) + rng.randbytes(64)
        put(target, 46, body, ttl)
    authority = []
    if not records:
        parent = name.split(".", 1)[-1] or "."
        body = pack_name("ns1." + parent) + pack_name("hostmaster." + parent) + struct.pack("!IIIII", 2024050101, 7200, 900, 1209600, 300)
        authority.append(pack_name(parent) + struct.pack("!HHIH", 6, 1, 300, len(body)) + body)
    rcode = 0 if known else 3
    head = struct.pack("!HHHHHH", number, 0x8180 | rcode, 1, len(records), len(authority), 0)
    full = head + question + b"".join(records) + b"".join(authority)
    if len(full) > size_max:
        return struct.pack("!HHHHHH", number, 0x8380, 1, 0, 0, 0) + question
    return full


def udp(address, zone, rng):
    """Upstream servers take a moment: some answers come from a cache, some from far."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, 53))

    def work():
        while True:
            try:
                data, peer = sock.recvfrom(2048)
            except OSError:
                continue
            wait = rng.choice([0.0, 0.0, 0.004, 0.02, 0.06])
            reply = answer(zone, data, 1400)
            threading.Timer(wait, lambda reply=reply, peer=peer: sock.sendto(reply, peer)).start()

    threading.Thread(target=work, daemon=True).start()


def stream(address, port, zone, tls=None):
    """DNS over TCP, and over TLS where a context is given."""
    server = socket.create_server((address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=32)

    def talk(sock):
        try:
            sock.settimeout(30)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_side=True)
            with sock:
                reader = sock.makefile("rb")
                while head := reader.read(2):
                    reply = answer(zone, reader.read(struct.unpack("!H", head)[0]), 65000)
                    sock.sendall(struct.pack("!H", len(reply)) + reply)
        except (OSError, struct.error):
            pass

    def work():
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                time.sleep(0.1)
                continue
            threading.Thread(target=talk, args=(sock,), daemon=True).start()

    threading.Thread(target=work, daemon=True).start()
