"""Servers of the LAN: the gateway's names and leases, the household's and the office's machines, printers and things."""

import os
import random
import struct

import kit
import web_app
from servers import accept, datagrams, dovecot, dropbear, module_files, mosquitto, ntp, rsyncd, smtp_talk, sshd


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
    web_app.serve(address, 80, web_app.App(world, host.scratch))
    return [(address, 631), (address, 9100)]


def camera(host, world):
    """Snapshots over HTTP and a control connection in RTSP's words."""
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
