"""Servers of the internet other than the web's: real ones where there are, small ones of ours where there are none."""

import os
import random
import socket
import ssl
import struct
import threading
import time

import dns_server
import kit


def accept(address, port, talk, tls=None):
    """A TCP server of ours; `talk(socket)` owns the connection."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.create_server((address, port), family=family, backlog=64)

    def serve(sock):
        try:
            sock.settimeout(600)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_side=True)
            with sock:
                talk(sock)
        except (OSError, ValueError, IndexError, struct.error):
            pass

    def work():
        while True:
            try:
                sock, _ = server.accept()
            except OSError:
                time.sleep(0.1)
                continue
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=work, daemon=True).start()


def datagrams(address, port, reply):
    """A UDP server of ours; `reply(data, peer)` gives what goes back, a list."""
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))

    def work():
        while True:
            try:
                data, peer = sock.recvfrom(4096)
                for out in reply(data, peer) or ():
                    sock.sendto(out, peer)
            except (OSError, struct.error, IndexError):
                continue

    threading.Thread(target=work, daemon=True).start()
    return sock


# The internet's

def resolver(host, world, site):
    for address in [site.v4] + ([site.v6] if site.v6 else []):
        dns_server.udp(address, world.zone, host.rng("dns", address))
        dns_server.stream(address, 53, world.zone)
        dns_server.stream(address, 853, world.zone, kit.server_tls(host.scratch, site.certificate))
    return [(site.v4, 53), (site.v4, 853)]


def ntp(host, _world, site):
    rng = host.rng("ntp", site.v4)
    stratum, reference = rng.choice([1, 2, 2, 3]), rng.randbytes(4)

    def reply(data, _peer):
        if len(data) < 48 or data[0] & 7 != 3:
            return []
        def stamp(at):
            return struct.pack("!II", int(at) + 2_208_988_800, int((at % 1) * (1 << 32)) & 0xFFFFFFFF)
        now = time.time()
        head = struct.pack("!BBbb", data[0] & 0x38 | 4, stratum, 6, -23) + struct.pack("!II", 0x00000412, 0x00000B32) + reference
        return [head + stamp(now - 17) + data[40:48] + stamp(now) + stamp(time.time())]

    for address in [site.v4] + ([site.v6] if site.v6 else []):
        datagrams(address, 123, reply)
    return []


def smtp_talk(world, tls):
    """Submission as mail providers offer it: STARTTLS, AUTH, one mail after the other."""
    import base64

    def talk(sock):
        reader = sock.makefile("rb")
        sock.sendall(b"220 mail ESMTP ready\r\n")
        secure, trusted = isinstance(sock, ssl.SSLSocket), False
        while line := reader.readline(2048):
            verb = line[:4].upper()
            rest = line[4:].strip()
            if verb in (b"EHLO", b"HELO"):
                offers = [b"mail", b"SIZE 52428800", b"8BITMIME", b"PIPELINING"] + ([b"AUTH PLAIN LOGIN"] if secure else [b"STARTTLS"])
                sock.sendall(b"".join(b"250" + (b" " if offer is offers[-1] else b"-") + offer + b"\r\n" for offer in offers))
            elif verb == b"STAR" and not secure:
                sock.sendall(b"220 go ahead\r\n")
                sock = tls.wrap_socket(sock, server_side=True)
                reader, secure = sock.makefile("rb"), True
            elif verb == b"AUTH":
                words = rest.split()
                secret = b""
                if words and words[0].upper() == b"PLAIN":
                    if len(words) < 2:
                        sock.sendall(b"334 \r\n")
                        words.append(reader.readline(2048).strip())
                    secret = base64.b64decode(words[1]).split(b"\0")[-1]
                else:
                    sock.sendall(b"334 VXNlcm5hbWU6\r\n")
                    reader.readline(2048)
                    sock.sendall(b"334 UGFzc3dvcmQ6\r\n")
                    secret = base64.b64decode(reader.readline(2048).strip())
                trusted = secret.decode(errors="replace") == world.passwords["mail"]
                if not trusted:
                    time.sleep(1.5)
                sock.sendall(b"235 2.7.0 accepted\r\n" if trusted else b"535 5.7.8 authentication failed\r\n")
            elif verb == b"DATA":
                sock.sendall(b"354 end with a dot\r\n")
                while (line := reader.readline(4096)) not in (b".\r\n", b""):
                    pass
                sock.sendall(b"250 2.0.0 queued\r\n")
            elif verb == b"QUIT":
                sock.sendall(b"221 bye\r\n")
                return
            else:
                sock.sendall(b"250 2.1.0 ok\r\n")

    return talk


def mail(host, world, site):
    tls = kit.server_tls(host.scratch, site.certificate)
    talk = smtp_talk(world, tls)
    accept(site.v4, 25, talk)
    accept(site.v4, 587, talk)
    accept(site.v4, 465, talk, tls)
    dovecot(host, world, [site.v4], site.certificate)
    return [(site.v4, port) for port in (25, 587, 465, 143, 993)]


def dovecot(host, world, addresses, certificate):
    home = f"{host.dir}/mailbox"
    for name in ("cur", "new", "tmp"):
        os.makedirs(f"{home}/Maildir/{name}", exist_ok=True)
    rng = host.rng("mailbox")
    for number in range(40):
        body = "\n".join(" ".join(rng.choice(("time", "people", "house", "report", "meeting")) for _ in range(12))
                         for _ in range(int(rng.lognormvariate(3.2, 1.3)) + 1))
        kit.write(f"{home}/Maildir/cur/{1_700_000_000 + number}.M{number}P1.box:2,S",
                  f"From: a{number}@example.net\nTo: {world.person}@example.net\nSubject: {number}\nMessage-Id: <{number}@x>\n\n{body}\n")
    os.system(f"chown -R 65534:65534 {home}")
    os.makedirs(f"{host.dir}/dovecot", exist_ok=True)
    text = f"""
base_dir = {host.dir}/dovecot
log_path = {host.logs}/dovecot.err
protocols = imap{' pop3' if os.path.exists('/usr/lib/dovecot/pop3') else ''}
listen = {', '.join(addresses)}
ssl = yes
ssl_cert = <{host.scratch}/tls/{certificate}.pem
ssl_key = <{host.scratch}/tls/{certificate}.key
disable_plaintext_auth = no
default_internal_user = dovecot
default_login_user = dovenull
mail_location = maildir:~/Maildir
first_valid_uid = 1
passdb {{
  driver = static
  args = password={world.passwords['mail']}
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={home}
}}
"""
    os.chmod(host.dir, 0o755)
    host.spawn(["dovecot", "-F", "-c", kit.write(f"{host.dir}/dovecot.conf", text)])


def push(host, _world, site):
    """Long connections on which a few bytes come now and then."""

    def talk(sock):
        rng = random.Random(site.v4)
        sock.recv(4096)
        sock.sendall(rng.randbytes(60))
        while True:
            sock.settimeout(rng.expovariate(1 / 50.0) + 1)
            try:
                data = sock.recv(4096)
                if not data:
                    return
                sock.sendall(data[:12])
            except TimeoutError:
                sock.sendall(rng.randbytes(rng.randrange(40, 900)))

    tls = kit.server_tls(host.scratch, site.certificate, flavour=site.flavour)
    for port in site.ports:
        accept(site.v4, port, talk, tls)
    return [(site.v4, port) for port in site.ports]


def mqtt(host, _world, site):
    return mosquitto(host, [(site.v4, 1883, None), (site.v4, 8883, site.certificate)])


def mosquitto(host, listeners):
    lines = ["allow_anonymous true", "persistence false", "user root", "log_dest none"]
    for address, port, certificate in listeners:
        lines.append(f"listener {port} {address}")
        if certificate:
            lines += [f"certfile {host.scratch}/tls/{certificate}.pem", f"keyfile {host.scratch}/tls/{certificate}.key"]
    host.spawn(["mosquitto", "-c", kit.write(f"{host.dir}/mosquitto.conf", "\n".join(lines) + "\n")])
    return [(address, port) for address, port, _ in listeners]


def vps(host, world, site):
    """A rented machine: OpenSSH or Dropbear, an rsync daemon."""
    wanted = [(site.v4, 22), (site.v4, 873)]
    (dropbear if site.flavour == "old" else sshd)(host, world, site.v4, 22)
    sshd(host, world, site.v4, 2222)
    rsyncd(host, site.v4)
    return wanted


def sshd(host, world, address, port):
    key = f"{host.dir}/hostkey-{address}-{port}"
    rng = host.rng("sshd", port)
    kind = rng.choice(["ed25519", "ecdsa", "rsa"])
    if not os.path.exists(key):
        host.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", key])
    os.makedirs("/run/sshd", exist_ok=True)
    os.chmod("/run/sshd", 0o755)
    text = f"""
Port {port}
ListenAddress {address}
HostKey {key}
PidFile {host.dir}/sshd-{address}-{port}.pid
AuthorizedKeysFile {host.scratch}/tls/ssh.pub
StrictModes no
UsePAM no
PermitRootLogin yes
PasswordAuthentication yes
MaxAuthTries 6
MaxStartups 30
UseDNS no
PrintMotd no
Subsystem sftp internal-sftp
{rng.choice(['', 'VersionAddendum FreeBSD-20230719', 'Banner none'])}
"""
    host.spawn(["/usr/sbin/sshd", "-D", "-e", "-f", kit.write(f"{host.dir}/sshd-{address}-{port}.conf", text)], log=f"sshd-{port}")


def dropbear(host, _world, address, port):
    key = f"{host.dir}/dropbear-{address}"
    if not os.path.exists(key):
        host.run(["dropbearkey", "-t", "ecdsa", "-f", key])
    host.spawn(["dropbear", "-F", "-E", "-r", key, "-p", f"{address}:{port}", "-P", f"{host.dir}/dropbear-{address}.pid"])


def module_files(host):
    """What a mirror or an FTP server has to give."""
    module = f"{host.dir}/module"
    if not os.path.exists(module):
        os.makedirs(module)
        rng = host.rng("module")
        for number in range(30):
            with open(f"{module}/f{number}.bin", "wb") as out:
                out.write(rng.randbytes(int(min(600_000, rng.lognormvariate(9.5, 1.4)))))
    return module


def rsyncd(host, address):
    module = module_files(host)
    text = f"uid = root\ngid = root\nuse chroot = no\nreverse lookup = no\naddress = {address}\npid file = {host.dir}/rsyncd-{address}.pid\n" \
           f"log file = {host.logs}/rsyncd.err\n[data]\npath = {module}\nread only = no\n"
    host.spawn(["rsync", "--daemon", "--no-detach", f"--config={kit.write(f'{host.dir}/rsyncd-{address}.conf', text)}"])


def call(host, _world, site):
    """STUN on its port, and a far end of calls that sends as much as it gets."""

    def stun(data, peer):
        if len(data) < 20 or data[:2] != b"\0\1":
            return []
        port = struct.pack("!H", peer[1] ^ 0x2112)
        address = bytes(a ^ b for a, b in zip(socket.inet_aton(peer[0]), b"\x21\x12\xa4\x42"))
        body = struct.pack("!HHBB", 0x20, 8, 0, 1) + port + address + struct.pack("!HH", 0x8022, 4) + b"turn"
        return [b"\x01\x01" + struct.pack("!H", len(body)) + data[4:20] + body]

    def echo(data, _peer):
        # Speech comes back as a stream of its own; what is lost here and there is silence.
        return [data[:2] + data[2:12] + os.urandom(max(0, len(data) - 12))] if random.random() < 0.92 else []

    datagrams(site.v4, 3478, stun)
    datagrams(site.v4, 10000, echo)
    return []


def game(host, _world, site):
    """A server that tells every player the state of the game twenty to sixty times a second."""
    for port in site.ports:
        players = {}
        rng = random.Random(f"{site.v4}{port}")
        period = 1 / rng.choice([20, 30, 60])

        def note(data, peer, players=players):
            players[peer] = time.monotonic()
            return [b"\xff\xff\xff\xff" + os.urandom(90)] if data.startswith(b"\xff") else []

        sock = datagrams(site.v4, port, note)

        def tick(sock=sock, players=players, period=period, rng=rng):
            while True:
                time.sleep(period if players else 0.2)
                now = time.monotonic()
                for peer, seen in list(players.items()):
                    if now - seen > 3:
                        players.pop(peer, None)
                        continue
                    try:
                        sock.sendto(os.urandom(rng.randrange(60, 260)), peer)
                    except OSError:
                        players.pop(peer, None)

        threading.Thread(target=tick, daemon=True).start()
    return []


def vpn(host, _world, site):
    """The far end of tunnels in WireGuard's and OpenVPN's shapes: what comes back is as long as web traffic inside would be."""

    def wireguard(data, _peer):
        kind = data[0]
        if kind == 1 and len(data) == 148:
            return [b"\2\0\0\0" + os.urandom(88)]
        if kind == 4 and len(data) > 32:
            return [b"\4\0\0\0" + data[4:8] + os.urandom(8) + os.urandom(16 * random.choice([2, 4, 20, 60, 88, 88, 88]))
                    for _ in range(random.choice([1, 1, 2, 4]))]
        return []

    def openvpn(data, _peer):
        if data[0] >> 3 == 7:
            return [bytes([8 << 3]) + os.urandom(25), bytes([5 << 3]) + data[1:9] + os.urandom(20)]
        return [bytes([9 << 3, 0, 0, 1]) + os.urandom(random.choice([60, 120, 600, 1300]))]

    datagrams(site.v4, 51820, wireguard)
    datagrams(site.v4, 1194, openvpn)
    return []


def chat(host, _world, site):
    """XMPP and IRC as people use them, over TLS."""

    def xmpp(sock):
        rng = random.Random(site.v4)
        while True:
            sock.settimeout(rng.expovariate(1 / 30.0) + 1)
            try:
                data = sock.recv(4096)
                if not data:
                    return
                sock.sendall(b"<iq type='result' id='" + os.urandom(4).hex().encode() + b"'/>")
            except TimeoutError:
                sock.sendall(b"<message from='friend@chat' type='chat'><body>" + b"hello " * rng.randrange(1, 20) + b"</body></message>")

    def irc(sock):
        reader = sock.makefile("rb")
        rng = random.Random(site.v4 + "irc")
        while line := reader.readline(1024):
            words = line.split()
            if words and words[0] == b"USER":
                sock.sendall(b":irc 001 you :Welcome\r\n:irc 375 you :-\r\n" + b":irc 372 you :- " + b"be kind " * 30 + b"\r\n:irc 376 you :end\r\n")
            elif words and words[0] == b"PING":
                sock.sendall(b":irc PONG irc :" + words[-1] + b"\r\n")
            elif words and words[0] == b"PRIVMSG" and rng.random() < 0.7:
                time.sleep(rng.random() * 3)
                sock.sendall(b":mate!m@host PRIVMSG #garden :" + b"so it is " * rng.randrange(1, 6) + b"\r\n")

    tls = kit.server_tls(host.scratch, site.certificate)
    accept(site.v4, 5222, xmpp, tls)
    accept(site.v4, 6697, irc, tls)
    return [(site.v4, 5222)]


def peers(host, address):
    """Somebody with pieces of a file: answers the handshake and sends for a while."""
    rng = random.Random(address)
    if rng.random() < 0.6:
        return

    def talk(sock):
        if not sock.recv(4096).startswith(b"\x13BitTorrent"):
            return
        sock.sendall(b"\x13BitTorrent protocol" + os.urandom(48))
        for _ in range(rng.randrange(2, 60)):
            sock.sendall(b"\0\0\x40\x09\7" + os.urandom(16_384))
            time.sleep(rng.expovariate(1 / 0.25))

    accept(address, 51413, talk)


FAR = {"resolver": resolver, "ntp": ntp, "mail": mail, "push": push, "mqtt": mqtt, "vps": vps, "call": call, "game": game, "vpn": vpn, "chat": chat}
