"""What every host program shares: seeded chance, pauses, child programs, TLS. Makes no traffic of its own."""

import ctypes
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
MS_BIND = 0x1000
MS_PRIVATE_REC = 0x44000

# Every wait inside an actor is cut at this, so that a run never hangs on one of them.
STEP_SECS_MAX = 60.0


class Stopped(Exception):
    """The run is over; actors end by it."""


class Host:
    """One host of the plan: its addresses, its chance, its children and its account of what it did."""

    def __init__(self, plan, name):
        self.plan = plan
        self.me = next(host for host in plan["hosts"] if host["name"] == name)
        self.name = name
        self.scratch = plan["scratch"]
        self.dir = os.path.join(self.scratch, "life", name)
        os.makedirs(self.dir, exist_ok=True)
        self.v4 = self.me["v4"]
        self.v6 = self.me.get("v6", [])
        # Stretches the pauses between doings, not those within one.
        self.pace = 1.0
        self.stopping = threading.Event()
        self.ends_at = None
        self.counts = {}
        self.lock = threading.Lock()
        self.children = []
        # Beside what the lab's own programs say, so that it is kept with it.
        self.logs = os.path.join(self.scratch, "log", name)
        os.makedirs(self.logs, exist_ok=True)
        self.log_file = open(os.path.join(self.logs, "life.log"), "a", buffering=1)

    def rng(self, *labels):
        """The same seed, host and label give the same choices in the same order."""
        return self.chance(self.plan, self.name, *labels)

    @staticmethod
    def chance(plan, name, *labels):
        return random.Random("/".join(str(part) for part in (plan["seed"], name, *labels)))

    def log(self, text):
        self.log_file.write(f"{time.time():.3f} {text}\n")

    def count(self, actor, good):
        with self.lock:
            self.counts.setdefault(actor, [0, 0])[0 if good else 1] += 1

    def account(self):
        """Written at the end: per actor, how often it went well and how often not."""
        with self.lock:
            text = json.dumps(self.counts, sort_keys=True)
        with open(os.path.join(self.logs, "account.json"), "w") as out:
            out.write(text)

    # Time

    def sleep(self, seconds):
        if self.stopping.wait(max(0.0, seconds)):
            raise Stopped
        if self.ends_at is not None and time.monotonic() > self.ends_at:
            raise Stopped

    def pause(self, rng, mean):
        """A pause as people and unrelated events make it."""
        self.sleep(min(rng.expovariate(1.0 / mean), mean * 5))

    # Actors

    def actor(self, name, body, *args):
        """Runs `body(host, rng, ...)` in a thread until it returns or the run is over."""
        rng = self.rng(name)

        def work():
            # Not all in the capture's first second; an attack's capture may be over in ten.
            self.stopping.wait(rng.random() if self.plan.get("light") else 1 + 7 * rng.random())
            while True:
                try:
                    body(self, rng, *args)
                    return
                except Stopped:
                    return
                except Exception as error:  # an actor's mishap is traffic too; the next turn comes
                    self.count(name, False)
                    self.log(f"{name}: {type(error).__name__}: {error}")
                    try:
                        self.sleep(5 + rng.random() * 20)
                    except Stopped:
                        return

        thread = threading.Thread(target=work, name=name, daemon=True)
        thread.start()
        return thread

    def often(self, name, mean, body, *args, first=None):
        """Runs `body` again and again with exponential pauses."""

        def loop(host, rng):
            host.pause(rng, mean * host.pace if first is None else first)
            while True:
                host.attempt(name, body, rng, *args)
                host.pause(rng, mean * host.pace)

        return self.actor(name, loop)

    def periodic(self, name, period, body, *args, jitter=0.02):
        """Runs `body` at a fixed period, as devices do."""

        def loop(host, rng):
            host.sleep(rng.random() * min(period, 20))
            due = time.monotonic()
            while True:
                host.attempt(name, body, rng, *args)
                due += period * (1 + rng.uniform(-jitter, jitter))
                host.sleep(due - time.monotonic())

        return self.actor(name, loop)

    def in_sessions(self, name, mean, body, *args, active=150.0, idle=70.0):
        """As a person does it: a while of it with short pauses, then something else for a while."""

        def loop(host, rng):
            host.pause(rng, idle / 2)
            while True:
                until = time.monotonic() + rng.expovariate(1 / active)
                while time.monotonic() < until:
                    host.attempt(name, body, rng, *args)
                    host.pause(rng, mean * host.pace)
                host.pause(rng, idle * host.pace)

        return self.actor(name, loop)

    def once(self, name, body, *args, window=(0.08, 0.8)):
        """Runs `body` one time, somewhere within this part of the run."""

        def at_some_time(host, rng):
            host.sleep(host.plan["seconds"] * rng.uniform(*window))
            host.attempt(name, body, rng, *args)

        return self.actor(name, at_some_time)

    def attempt(self, name, body, rng, *args):
        try:
            good = body(self, rng, *args)
        except Stopped:
            raise
        except Exception as error:
            self.count(name, False)
            self.log(f"{name}: {type(error).__name__}: {error}")
        else:
            self.count(name, good is not False)

    # Children

    def environment(self):
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": self.dir,
            "USER": "root",
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "TMPDIR": self.dir,
            "XDG_RUNTIME_DIR": self.dir,
        }

    def spawn(self, command, log=None, **more):
        """A program that stays: a server, a subscriber. Ended with us."""
        out = open(os.path.join(self.logs, f"{log or os.path.basename(command[0])}.log"), "ab")
        child = subprocess.Popen(
            command, env=self.environment(), cwd=self.dir, stdin=more.pop("stdin", subprocess.DEVNULL),
            stdout=more.pop("stdout", out), stderr=out, **more,
        )
        with self.lock:
            self.children = [known for known in self.children if known.poll() is None]
            self.children.append(child)
        return child

    def run(self, command, secs=STEP_SECS_MAX, data=None, env=None):
        """A program that ends by itself. Gives its exit status and output; the end of the run ends it early."""
        child = subprocess.Popen(
            command, env={**self.environment(), **(env or {})}, cwd=self.dir,
            stdin=subprocess.PIPE if data is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        with self.lock:
            self.children = [known for known in self.children if known.poll() is None]
            self.children.append(child)
        try:
            out, _ = child.communicate(data, timeout=secs)
        except subprocess.TimeoutExpired:
            child.terminate()
            try:
                out, _ = child.communicate(timeout=2)
            except subprocess.TimeoutExpired:
                child.kill()
                out, _ = child.communicate()
        if self.stopping.is_set():
            raise Stopped
        if child.returncode not in (0, -15):
            self.log(f"{' '.join(command)[:200]} -> {child.returncode}: {out[-200:].decode(errors='replace').strip()}")
        return child.returncode, out

    def end(self):
        self.stopping.set()
        with self.lock:
            children = list(self.children)
        for child in children:
            if child.poll() is None:
                child.terminate()
        deadline = time.monotonic() + 1.0
        for child in children:
            try:
                child.wait(max(0.01, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()


def own_rooms(host, caches=False, upstream=None):
    """State folders and a host name of our own, in mounts that end with us; the machine keeps its."""
    libc = ctypes.CDLL(None, use_errno=True)

    def must(result, what):
        if result != 0:
            raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")

    must(libc.unshare(CLONE_NEWNS | CLONE_NEWUTS), "unshare")
    must(libc.mount(b"none", b"/", None, MS_PRIVATE_REC, None), "mounts private")
    name = host.name.encode()
    must(libc.sethostname(name, len(name)), "sethostname")
    # Without the service switch of a desktop, which would ask daemons that are not here.
    switch = write(f"{host.dir}/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nservices: files\n")
    if os.path.exists("/etc/nsswitch.conf"):
        must(libc.mount(switch.encode(), b"/etc/nsswitch.conf", None, MS_BIND, None), "nsswitch")
    if caches:
        # Most systems remember names; glibc alone asks each time.
        host.spawn(["dnsmasq", "-k", "-C", "/dev/null", "-u", "root", "-x", f"{host.dir}/cache.pid", "-R", "-S", upstream, "-a", "127.0.0.1",
                    "--bind-interfaces", "-c", "500", "-h"], log="cache")
        own = write(f"{host.dir}/resolv.conf", "nameserver 127.0.0.1\noptions timeout:3\n")
        must(libc.mount(own.encode(), os.path.realpath("/etc/resolv.conf").encode(), None, MS_BIND, None), "resolv.conf")
    for path in ("/var/lib/samba", "/var/cache/samba"):
        if os.path.isdir(path):
            own = os.path.join(host.dir, path.strip("/").replace("/", "_"))
            os.makedirs(own, exist_ok=True)
            must(libc.mount(own.encode(), path.encode(), None, MS_BIND, None), path)


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as out:
        out.write(text)
    return path


def sysctl(name, value):
    """Of this network namespace; what a kernel does not know is left."""
    try:
        with open("/proc/sys/net/" + name, "w") as out:
            out.write(str(value))
    except OSError:
        pass


def listening(address, port, deadline):
    """Waits until something answers there; asked from the same host, so nothing of it is on a wire."""
    while time.monotonic() < deadline:
        try:
            socket.create_connection((address, port), 1).close()
            return True
        except OSError:
            time.sleep(0.1)
    return False


def client_tls(rng, alpn=None, flavour=None):
    """A TLS client as devices have it: versions, ciphers and ALPN differ by flavour."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    flavour = flavour or rng.choice(["modern", "modern", "old", "small"])
    if flavour == "old":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+AESGCM:ECDHE+AES:RSA+AES")
    elif flavour == "small":
        context.set_ciphers("ECDHE+CHACHA20:ECDHE+AESGCM")
        context.set_ecdh_curve("prime256v1")
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def server_tls(scratch, certificate, alpn=None, flavour="modern"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{scratch}/tls/{certificate}.pem", f"{scratch}/tls/{certificate}.key")
    if flavour == "old":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        context.set_alpn_protocols(alpn)
    return context


def dial(address, port, secs=10.0, source=None):
    sock = socket.create_connection((address, port), secs, source_address=(source, 0) if source else None)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def resolve(name, rng=None):
    """By the host's resolver, both families, as programs do. Gives an address that was answered."""
    infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    addresses = [info[4][0] for info in infos]
    return addresses[0] if rng is None else rng.choice(addresses)


def die_with_parent():
    """SIGTERM ends the whole program by way of the main thread."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))


def tune(host):
    """What differs between operating systems, beyond what the lab has set: windows, congestion control."""
    rng = host.rng("tune")
    sysctl("ipv4/tcp_rmem", rng.choice(["4096 131072 6291456", "4096 65536 2097152", "4096 16384 4194304", "4096 262144 6291456"]))
    sysctl("ipv4/tcp_ecn", rng.choice([0, 1, 2, 2]))
    sysctl("ipv4/tcp_congestion_control", rng.choice(["cubic", "cubic", "reno"]))
    sysctl("ipv4/tcp_window_scaling", 1)
    sysctl("ipv4/ip_local_port_range", rng.choice(["32768 60999", "49152 65535", "49152 65535", "10240 65000"]))
