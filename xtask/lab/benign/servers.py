"""Servers other than the web's, in the internet and in the LAN: real ones where there are, small ones of ours where there are none."""

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


# The LAN's

def gateway(host, world):
    """The household's resolver on the gateway, one of three, and DHCP by dnsmasq."""
    upstream = [site.v4 for site in world.of("resolver")]
    address = host.v4[0]
    kind = world.environment["resolver"]
    leases = []
    for other in world.plan["hosts"]:
        if other["kind"] in ("client", "device", "server") and other.get("mac"):
            leases.append(f"dhcp-host={other['mac']},{other['v4'][0]},{other['name']}")
    base = ".".join(address.split(".")[:3])
    names = [f"address=/{other['name']}.{world.domain}/{other['v4'][0]}" for other in world.plan["hosts"]
             if other["kind"] in ("client", "device", "server", "gateway")]
    lines = ["keep-in-foreground", "user=root", "no-resolv", "no-hosts", "bind-interfaces", f"listen-address={address}", "interface=lan0",
             f"pid-file={host.dir}/dnsmasq.pid", f"dhcp-leasefile={host.dir}/leases", f"dhcp-range={base}.2,static,2h", "dhcp-authoritative",
             f"domain={world.domain}", f"dhcp-option=option:ntp-server,{address}", "cache-size=600", *leases]
    if kind == "dnsmasq":
        lines += [f"server={server}" for server in upstream] + names
    else:
        lines.append("port=0")
    host.spawn(["dnsmasq", f"--conf-file={kit.write(f'{host.dir}/dnsmasq.conf', chr(10).join(lines) + chr(10))}"])
    if kind == "unbound":
        data = "".join(f'local-data: "{other["name"]}.{world.domain}. A {other["v4"][0]}"\n' for other in world.plan["hosts"]
                       if other["kind"] in ("client", "device", "server"))
        forward = "".join(f"forward-addr: {server}\n" for server in upstream)
        text = f"""server:
interface: {address}
access-control: 0.0.0.0/0 allow
username: ""
chroot: ""
directory: "{host.dir}"
pidfile: "{host.dir}/unbound.pid"
use-syslog: no
module-config: "iterator"
do-not-query-localhost: no
num-threads: 1
local-zone: "{world.domain}." transparent
{data}
forward-zone:
name: "."
{forward}
remote-control:
control-enable: no
"""
        host.spawn(["unbound", "-d", "-c", kit.write(f"{host.dir}/unbound.conf", text)])
    elif kind == "named":
        forward = " ".join(f"{server};" for server in upstream)
        zone = kit.write(f"{host.dir}/inside.zone", f"$TTL 600\n@ IN SOA ns hostmaster 1 7200 900 1209600 300\n@ IN NS ns\nns IN A {address}\n" +
                         "".join(f"{other['name']} IN A {other['v4'][0]}\n" for other in world.plan["hosts"]
                                 if other["kind"] in ("client", "device", "server")))
        text = f"""options {{ directory "{host.dir}"; listen-on {{ {address}; }}; listen-on-v6 {{ none; }}; forwarders {{ {forward} }}; forward only;
dnssec-validation no; recursion yes; allow-query {{ any; }}; pid-file "{host.dir}/named.pid"; session-keyfile "{host.dir}/session.key"; }};
controls {{ }};
zone "{world.domain}" {{ type primary; file "{zone}"; }};
"""
        host.spawn(["named", "-f", "-c", kit.write(f"{host.dir}/named.conf", text)])
    ntp(host, world, _Here(address))
    ssdp_gateway(host, world, address)
    return [(address, 53)]


class _Here:
    """An address of the LAN in a site's place."""

    def __init__(self, v4):
        self.v4, self.v6 = v4, None


def ssdp_gateway(host, world, address):
    """The gateway's own page, its description for UPnP, and NAT-PMP."""
    import web_app

    web_app.serve(address, 80, web_app.App(world, host.scratch))

    def description(sock):
        sock.settimeout(10)
        sock.recv(2048)
        body = b"<?xml version=\"1.0\"?><root xmlns=\"urn:schemas-upnp-org:device-1-0\"><device><deviceType>urn:schemas-upnp-org:device:" \
               b"InternetGatewayDevice:1</deviceType><friendlyName>Gateway</friendlyName>" + b"<service>x</service>" * 30 + b"</device></root>"
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    accept(address, 49152, description)
    datagrams(address, 5351, lambda data, _peer: [struct.pack("!BBHI", 0, data[1] | 128, 0, 4711) + data[4:12]] if len(data) >= 2 else [])


def nas(host, world):
    import web_app

    address = host.v4[0]
    samba(host, world, address)
    rsyncd(host, address)
    (sshd if host.rng("nas").random() < 0.5 else dropbear)(host, world, address, 22)
    ftp(host, world, address)
    app = web_app.App(world, host.scratch)
    web_app.serve(address, 5000, app)
    web_app.serve(address, 443, app, kit.server_tls(host.scratch, "c0", ["http/1.1"]))
    return [(address, port) for port in (22, 445, 873, 5000)]


def office(host, world):
    import web_app

    address = host.v4[0]
    samba(host, world, address)
    sshd(host, world, address, 22)
    ftp(host, world, address)
    dovecot(host, world, [address], "c1")
    tls = kit.server_tls(host.scratch, "c1")
    accept(address, 587, smtp_talk(world, tls))
    accept(address, 389, ldap_talk)
    web_app.serve(address, 8080, web_app.App(world, host.scratch))
    snmpd(host, world, address)
    return [(address, port) for port in (22, 445, 143, 587, 389, 8080)]


def intranet(host, world):
    import web_app

    address = host.v4[0]
    app = web_app.App(world, host.scratch)
    web_app.serve(address, 80, app)
    web_app.serve(address, 443, app, kit.server_tls(host.scratch, "c2", ["http/1.1"]))
    web_app.serve(address, 9100, app)
    sshd(host, world, address, 22)
    rsyncd(host, address)
    snmpd(host, world, address)
    redis = os.path.exists("/usr/bin/redis-server")
    if redis:
        host.spawn(["redis-server", "--bind", address, "--port", "6379", "--save", "", "--protected-mode", "no", "--dir", host.dir])
    return [(address, port) for port in (22, 80, 443, 873)] + ([(address, 6379)] if redis else [])


def hub(host, world):
    import web_app

    address = host.v4[0]
    listeners = mosquitto(host, [(address, 1883, None), (address, 8883, "c0")])
    web_app.serve(address, 8123, web_app.App(world, host.scratch))
    (dropbear if host.rng("hub").random() < 0.6 else sshd)(host, world, address, 22)
    camera_sink(host, address)
    return listeners + [(address, 8123), (address, 22)]


def camera_sink(host, address):
    """The recorder takes the cameras' pictures and says nothing but a report now and then."""
    seen = {}

    def reply(_data, peer):
        seen[peer] = seen.get(peer, 0) + 1
        return [b"\x81\xc9\0\7" + os.urandom(28)] if seen[peer] % 150 == 0 else []

    datagrams(address, 5004, reply)


def printer(host, world):
    address = host.v4[0]

    def ipp(sock):
        reader = sock.makefile("rb")
        while line := reader.readline(2048):
            size, chunked = 0, False
            while (head := reader.readline(2048).strip()):
                size = int(head.split(b":")[1]) if head.lower().startswith(b"content-length") else size
                chunked |= head.lower() == b"transfer-encoding: chunked"
            if chunked:
                while (piece := int(reader.readline(64) or b"0", 16)):
                    reader.read(piece + 2)
                reader.readline(8)
            reader.read(size)
            body = b"\2\0\0\0\0\0\0\1\1" + b"G\0\x12attributes-charset\0\5utf-8" + os.urandom(300) + b"\3"
            sock.sendall(b"HTTP/1.1 200 OK\r\nServer: CUPS/2.4 IPP/2.1\r\nContent-Type: application/ipp\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    def raw(sock):
        while sock.recv(65536):
            pass

    accept(address, 631, ipp)
    accept(address, 9100, raw)
    snmpd(host, world, address)
    import web_app
    web_app.serve(address, 80, web_app.App(world, host.scratch))
    return [(address, 631), (address, 9100)]


def camera(host, world):
    """Snapshots over HTTP and a control connection in RTSP's words."""
    import web_app

    address = host.v4[0]

    def rtsp(sock):
        reader = sock.makefile("rb")
        while line := reader.readline(2048):
            number = b"0"
            while (head := reader.readline(2048).strip()):
                number = head.split(b":")[1].strip() if head.lower().startswith(b"cseq") else number
            body = b"v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=cam\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n" if line.startswith(b"DESCRIBE") else b""
            sock.sendall(b"RTSP/1.0 200 OK\r\nCSeq: " + number + b"\r\nSession: 7f2a;timeout=60\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    accept(address, 554, rtsp)
    web_app.serve(address, 80, web_app.App(world, host.scratch))
    return [(address, 554)]


def things(host, _world):
    """Bulbs, plugs and speakers answer their apps in the LAN."""
    address = host.v4[0]

    def local(sock):
        while data := sock.recv(2048):
            sock.sendall(b"\0\0\x55\xaa\0\0\0\0\0\0\0\7" + os.urandom(min(120, len(data) + 40)))

    accept(address, 6668, local)
    datagrams(address, 5683, lambda data, _peer: [b"\x64\x45" + data[2:8] + b"\xff" + os.urandom(40)] if len(data) >= 4 else [])
    return [(address, 6668)]


def tv(host, _world):
    address = host.v4[0]

    def cast(sock):
        rng = random.Random(address)
        while data := sock.recv(4096):
            sock.sendall(data[:4] + rng.randbytes(rng.randrange(60, 200)))

    accept(address, 8009, cast, kit.server_tls(host.scratch, "c3"))
    return [(address, 8009)]


def ldap_talk(sock):
    """Binds and searches of an address book, in their BER shapes."""
    while data := sock.recv(4096):
        number = data[4] if len(data) > 4 else 1
        if len(data) > 5 and data[5] == 0x60:
            sock.sendall(bytes([0x30, 0x0C, 2, 1, number, 0x61, 7, 0x0A, 1, 0, 4, 0, 4, 0]))
        elif len(data) > 5 and data[5] == 0x42:
            return
        else:
            entry = os.urandom(100)
            sock.sendall(bytes([0x30, len(entry) + 5, 2, 1, number, 0x64, len(entry)]) + entry +
                         bytes([0x30, 0x0C, 2, 1, number, 0x65, 7, 0x0A, 1, 0, 4, 0, 4, 0]))


def samba(host, world, address):
    share = f"{host.dir}/share"
    os.makedirs(share, exist_ok=True)
    rng = host.rng("share")
    for number in range(25):
        with open(f"{share}/doc{number}.bin", "wb") as out:
            out.write(rng.randbytes(int(min(900_000, rng.lognormvariate(10, 1.3)))))
    for name in ("private", "lock", "state", "cache", "pid", "rpc"):
        os.makedirs(f"{host.dir}/smb/{name}", exist_ok=True)
    text = f"""[global]
server string = files
netbios name = {host.name[:15]}
workgroup = HOME
interfaces = {address}
bind interfaces only = yes
private dir = {host.dir}/smb/private
lock directory = {host.dir}/smb/lock
state directory = {host.dir}/smb/state
cache directory = {host.dir}/smb/cache
pid directory = {host.dir}/smb/pid
ncalrpc dir = {host.dir}/smb/rpc
log file = {host.logs}/smbd.err
smb ports = 445
load printers = no
disable spoolss = yes
map to guest = never
[share]
path = {share}
read only = no
force user = root
"""
    conf = kit.write(f"{host.dir}/smb.conf", text)
    password = world.passwords["smb"]
    host.run(["smbpasswd", "-c", conf, "-L", "-a", "-s", world.person], data=f"{password}\n{password}\n".encode())
    host.spawn(["smbd", "-F", "--no-process-group", "-s", conf])


def ftp(host, world, address):
    """vsftpd, for local users; passwords are the mounts' own."""
    text = f"""listen=YES
listen_address={address}
background=NO
anonymous_enable=NO
local_enable=YES
write_enable=YES
pam_service_name=vsftpd
secure_chroot_dir=/run/vsftpd
local_root={host.dir}/module
allow_writeable_chroot=YES
use_localtime=YES
seccomp_sandbox=NO
xferlog_enable=NO
isolate=NO
isolate_network=NO
session_support=NO
pasv_min_port=40000
pasv_max_port=40200
"""
    os.makedirs("/run/vsftpd", exist_ok=True)
    module_files(host)
    host.spawn(["vsftpd", kit.write(f"{host.dir}/vsftpd.conf", text)])


def snmpd(host, world, address):
    text = f"agentAddress udp:{address}:161\nrocommunity {world.community}\nsysName {host.name}\nsysLocation upstairs\n"
    host.spawn(["snmpd", "-f", "-Lo", "-C", "-c", kit.write(f"{host.dir}/snmpd.conf", text), "-p", f"{host.dir}/snmpd.pid"])


NEAR = {"nas": nas, "office": office, "intranet": intranet, "hub": hub, "printer": printer, "camera": camera, "bulbs": things, "speaker": things, "tv": tv}
