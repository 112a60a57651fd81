"""The world of one run, the same for all its hosts: who offers what under which name and address. Only the seed decides."""

import random

WORDS = (
    "harbour maple lumen cedar orbit velvet copper falcon meadow granite ember willow summit delta indigo coral pixel anchor "
    "breeze canyon lantern quartz saffron tundra violet walnut zephyr atlas beacon cobalt drift echo fable glacier hazel ivory "
    "juniper kettle lotus marble nectar olive pepper quill raven silver thistle umber vista wander yarrow alpine bright clear daily "
    "early fresh grand hello inner jolly kind lucky modern noble open prime quick royal smart true urban vital warm young zen news "
    "shop play photo music travel garden kitchen sport learn bank post map cloud note team book film game recipe weather forum"
).split()
ENDINGS = ("com", "com", "com", "com", "net", "org", "io", "de", "co.uk", "app", "tv", "fr", "eu", "nl", "dev", "shop", "info")

# Names that devices of every home ask for; only looked up or probed, and answered with addresses of this lab.
WELL_KNOWN = (
    "connectivitycheck.gstatic.com captive.apple.com www.msftconnecttest.com detectportal.firefox.com time.windows.com "
    "time.apple.com pool.ntp.org 0.debian.pool.ntp.org 2.android.pool.ntp.org ocsp.digicert.com r3.o.lencr.org clients4.google.com "
    "mtalk.google.com play.googleapis.com settings-win.data.microsoft.com v10.events.data.microsoft.com api.github.com "
    "gateway.icloud.com gsp-ssl.ls.apple.com init.push.apple.com fonts.googleapis.com fonts.gstatic.com www.googletagmanager.com "
    "update.googleapis.com safebrowsing.googleapis.com api.spotify.com audio-fa.scdn.co nrdp.prod.ftl.netflix.com "
    "device-metrics-us-2.amazon.com unagi-na.amazon.com deb.debian.org security.debian.org registry.npmjs.org pypi.org "
    "login.microsoftonline.com outlook.office365.com teams.microsoft.com slack.com edge-mqtt.facebook.com graph.instagram.com "
    "i.ytimg.com static.xx.fbcdn.net web.whatsapp.com a2z3example.iot.eu-west-1.amazonaws.com mqtt.tuyaeu.com "
    "accounts.google.com www.google.com content-autofill.googleapis.com optimizationguide-pa.googleapis.com clients2.google.com "
    "redirector.gvt1.com edgedl.me.gvt1.com android.clients.google.com dl.google.com www.apple.com www.microsoft.com "
    "wiki.archlinux.org en.wikipedia.org upload.wikimedia.org stackoverflow.com cdn.jsdelivr.net unpkg.com"
).split()

# kind: (how many, TCP or UDP ports it needs for itself, is served by a web stack)
KINDS = (
    ("resolver", 2, (53, 853), False),
    ("ntp", 4, (123,), False),
    ("web", 7, (80, 443), True),
    ("cdn", 3, (80, 443), True),
    ("api", 4, (80, 443), True),
    ("telemetry", 3, (80, 443), True),
    ("video", 2, (80, 443), True),
    ("mirror", 2, (80, 443), True),
    ("store", 2, (80, 443), True),
    ("portal", 2, (80, 443), True),
    ("search", 1, (80, 443), True),
    ("mail", 1, (25, 110, 143, 465, 587, 993, 995), False),
    ("push", 2, (5223, 5228), False),
    ("mqtt", 1, (1883, 8883), False),
    ("vps", 2, (22, 873, 2222), False),
    ("call", 2, (3478, 10000), False),
    ("game", 2, (27015, 7777), False),
    ("vpn", 1, (51820, 1194), False),
    ("chat", 1, (5222, 6697), False),
)
STACKS = ("nginx", "nginx", "python", "node", "apache")

# What stands in each house: the devices of its people, its things and its servers, and which look-alikes of attacks may happen there.
ENVIRONMENTS = {
    "quiet-home": {
        "resolver": "dnsmasq",
        # How much longer than in a busy place the pauses are.
        "pace": 4.0,
        "client": ["laptop", "phone"],
        "device": ["tv", "bulbs", "printer", "speaker"],
        "server": ["nas"],
        "looks": ["mail_old_password", "reboot", "wifi_outage", "ssh_mistyped", "form_mistyped", "many_objects", "captive", "download16",
                  "calendar", "reputation", "dead_server", "broken_tls", "big_upload", "name_burst", "finder", "speed_test", "progress", "big_pings"],
    },
    "busy-home": {
        "resolver": "unbound",
        "pace": 2.2,
        "client": ["laptop", "household", "kid", "phone", "tablet"],
        "device": ["console", "tv", "speaker"],
        "server": ["nas"],
        "looks": ["torrent", "download16", "form_mistyped", "mdns_storm", "reboot", "wifi_outage", "many_objects", "mail_old_password",
                  "ssh_mistyped", "backup_ssh", "ftp_mistyped", "smb_mistyped", "calendar", "reputation", "dead_server", "broken_tls", "big_upload",
                  "name_burst", "finder", "speed_test", "progress"],
    },
    "small-office": {
        "resolver": "named",
        "pace": 1.5,
        "client": ["workstation", "admin", "desk", "phone", "desk"],
        "device": ["printer", "deskphone"],
        "server": ["office", "intranet"],
        "looks": ["crawler", "load_test", "ssh_mistyped", "ftp_mistyped", "form_mistyped", "mail_old_password", "own_port_check",
                  "mirror_sync", "backup_ssh", "server_restart", "reboot", "smb_mistyped", "fleet", "calendar", "reputation", "dead_server",
                  "broken_tls", "big_upload", "name_burst", "newsletter", "big_pings", "progress", "finder"],
    },
    "iot-house": {
        "resolver": "dnsmasq",
        "pace": 3.0,
        "client": ["phone", "laptop"],
        "device": ["sensors", "camera", "bulbs", "speaker", "camera"],
        "server": ["hub"],
        "looks": ["mdns_storm", "server_restart", "reboot", "wifi_outage", "own_port_check", "captive", "mail_old_password", "load_test",
                  "fleet", "dead_server", "broken_tls", "finder", "calendar", "name_burst", "backup_ssh", "ssh_mistyped"],
    },
}


class Site:
    def __init__(self, kind, name, v4, v6, host, ports, stack, certificate, flavour):
        self.kind, self.name, self.v4, self.v6, self.host = kind, name, v4, v6, host
        self.ports, self.stack, self.certificate = ports, stack, certificate
        self.flavour = flavour


class World:
    def __init__(self, plan):
        rng = random.Random(f"{plan['seed']}/world")
        self.plan = plan
        self.environment = ENVIRONMENTS[plan["environment"]]
        self.hosts = {host["name"]: host for host in plan["hosts"]}
        self.gateway = next(host for host in plan["hosts"] if host["kind"] == "gateway")
        self.resolver = self.gateway["v4"][0]
        self.sites = place_sites(rng, [host for host in plan["hosts"] if host["kind"] == "site"])
        self.addresses = [(address, host["name"]) for host in plan["hosts"] if host["kind"] == "site" for address in host["v4"]]
        self.zone = Zone(rng, self.sites)
        # Devices by host. A light run, the background of an attack, has one device a host.
        self.devices = {}
        for kind in ("client", "device", "server"):
            hosts = [host["name"] for host in plan["hosts"] if host["kind"] == kind]
            roles = self.environment[kind]
            start = rng.randrange(len(roles)) if plan.get("light") else 0
            for index, name in enumerate(hosts):
                self.devices[name] = [roles[(start + index) % len(roles)]]
            if hosts and not plan.get("light"):
                for index in range(len(hosts), len(roles)):
                    self.devices[hosts[index % len(hosts)]].append(roles[index])
        # What the network is called inside.
        self.domain = rng.choice(["home.arpa", "lan", "fritz.box", "home", "internal", "office.lan"])
        self.person = plan["person"]
        self.community = rng.choice(["public", "public", "monitor"])
        # Where the machine checks it, it is the machine's password; elsewhere people have others.
        self.passwords = {"mail": secret(rng), "web": secret(rng), "smb": secret(rng), "ssh": plan["password"], "ftp": plan["password"]}
        looks = list(self.environment["looks"])
        rng.shuffle(looks)
        # About one in two minutes; which ones is another matter each run.
        self.looks = [] if plan.get("light") else looks[: max(2, round(plan["seconds"] / 110.0))]

    def of(self, kind):
        return [site for site in self.sites if site.kind == kind]

    def webs(self):
        return [site for site in self.sites if site.stack]

    def with_device(self, *roles):
        """The LAN hosts that stand in for such a device."""
        return [self.hosts[name] for name, held in self.devices.items() if set(roles) & set(held)]


def place_sites(rng, hosts):
    """Gives every site an address of its own while there are any; then web sites share, as they do with large providers."""
    places = [(host, index) for host in hosts for index in range(len(host["v4"]))]
    rng.shuffle(places)
    sites, taken, used_names, turn = [], {}, set(), 0
    wanted = [(kind, ports, by_stack) for kind, count, ports, by_stack in KINDS for _ in range(count)]
    # One of each kind first, so that a small lab has some of everything.
    seen, first, later = set(), [], []
    for want in wanted:
        (later if want[0] in seen else first).append(want)
        seen.add(want[0])
    for kind, ports, by_stack in first + later:
        place, shared = None, None
        for step in range(len(places)):
            at = places[(turn + step) % len(places)]
            if not taken.setdefault((at[0]["name"], at[1]), set()) & set(ports):
                place, turn = at, turn + step + 1
                break
        if place is None and by_stack:
            shared = rng.choice([site for site in sites if site.stack])
        elif place is None:
            continue
        name = fresh_name(rng, kind, used_names)
        if shared is not None:
            sites.append(Site(kind, name, shared.v4, shared.v6, shared.host, (), shared.stack, shared.certificate, shared.flavour))
            continue
        host, index = place
        # Servers that listen on one family only have no name in the other.
        six = by_stack or kind in ("resolver", "ntp")
        taken[(host["name"], index)] |= set(ports)
        v6 = host.get("v6", [])
        sites.append(Site(
            kind=kind, name=name, v4=host["v4"][index], v6=v6[index] if six and index < len(v6) and rng.random() < 0.7 else None,
            host=host["name"], ports=ports, stack=rng.choice(STACKS) if by_stack else None, certificate=f"c{rng.randrange(6)}",
            flavour=rng.choice(["modern", "modern", "old"]),
        ))
    return sites


def fresh_name(rng, kind, used):
    while True:
        base = rng.choice(WORDS) + rng.choice(["", "", "-"]) + rng.choice(WORDS) + rng.choice(["", "", "", str(rng.randrange(1, 99))])
        front = {
            "web": ("www.", "", "www."), "cdn": ("cdn.", "static.", "assets-eu."), "api": ("api.", "app-api.", "v2.api."),
            "telemetry": ("telemetry.", "events.", "metrics.eu-west."), "video": ("vod.", "edge7.video.", "live."),
            "mirror": ("deb.", "dl.", "mirror."), "store": ("sync.", "files.", "backup."), "portal": ("accounts.", "login.", "my."),
            "mail": ("mail.", "imap."), "push": ("push.", "courier."), "mqtt": ("mqtt.", "iot."), "resolver": ("dns.", "dns9."),
            "ntp": ("ntp.", "time."), "call": ("turn.", "stun."), "game": ("eu1.game.", "play."), "vpn": ("vpn.",),
            "search": ("www.", "search."), "vps": ("box.", "git."), "chat": ("xmpp.", "chat."),
        }[kind]
        name = rng.choice(front) + base + "." + rng.choice(ENDINGS)
        if name not in used:
            used.add(name)
            return name


def secret(rng):
    return rng.choice(WORDS).capitalize() + rng.choice("!-_.") + rng.choice(WORDS) + str(rng.randrange(10, 9999))


class Zone:
    """All names of the world as the public name servers of this run answer them."""

    def __init__(self, rng, sites):
        self.v4, self.v6, self.cname, self.txt, self.srv, self.mx, self.ptr = {}, {}, {}, {}, {}, {}, {}
        self.ttl = {}
        webs = [site for site in sites if site.stack]
        for site in sites:
            name = site.name
            if site.kind in ("cdn", "video", "web", "api") and rng.random() < 0.6:
                # As content networks chain names: long, with digits and hyphens.
                token = "".join(rng.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randrange(10, 16)))
                edge = rng.choice([
                    f"d{token}.cloudfront.net", f"{name.replace('.', '-')}.{token[:6]}.edgekey.net",
                    f"e{rng.randrange(1000, 99999)}.dsc{rng.choice('abgx')}.akamaiedge.net", f"{name}.cdn.cloudflare.net",
                    f"prod-{token}-{rng.randrange(10**8, 10**9)}.eu-central-1.elb.amazonaws.com", f"dualstack.{token[:8]}.map.fastly.net",
                ])
                self.cname[name] = edge
                name = edge
            self.v4.setdefault(name, []).append(site.v4)
            if site.v6:
                self.v6.setdefault(name, []).append(site.v6)
            self.ttl[name] = rng.choice([20, 60, 60, 300, 300, 3600])
            self.ptr[site.v4] = rng.choice([site.name, "host-" + site.v4.replace(".", "-") + "." + site.name.split(".", 1)[-1]])
        for name in WELL_KNOWN:
            if not webs:
                break
            self.v4[name] = [rng.choice(webs).v4 for _ in range(rng.randrange(1, 4))]
            with_v6 = [site.v6 for site in webs if site.v6]
            if with_v6 and rng.random() < 0.6:
                self.v6[name] = [rng.choice(with_v6)]
            self.ttl[name] = rng.choice([60, 300, 3600])
        for name in ("pool.ntp.org", "0.debian.pool.ntp.org", "2.android.pool.ntp.org", "time.windows.com", "time.apple.com"):
            clocks = [site.v4 for site in sites if site.kind == "ntp"]
            if clocks:
                self.v4[name] = clocks[:4]
                self.v6.pop(name, None)
        keyed = "".join(rng.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") for _ in range(392))
        for site in sites:
            domain = site.name.split(".", 1)[-1]
            self.txt[domain] = [f"v=spf1 include:_spf.{domain} ip4:{site.v4}/28 ~all", f"google-site-verification={keyed[:43]}"]
            self.txt[f"_spf.{domain}"] = ["v=spf1 " + " ".join(f"ip4:{rng.randrange(11, 200)}.{rng.randrange(255)}.{rng.randrange(255)}.0/24"
                                                            for _ in range(12)) + " ~all"]
            self.txt[f"s{rng.randrange(1, 4)}._domainkey.{domain}"] = ["v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA" + keyed]
            self.txt[f"_dmarc.{domain}"] = [f"v=DMARC1; p=quarantine; rua=mailto:dmarc@{domain}"]
            self.mx[domain] = [(10, f"mx1.{domain}"), (20, f"mx2.{domain}")]
            self.v4.setdefault(f"mx1.{domain}", [site.v4])
            self.srv[f"_imaps._tcp.{domain}"] = [(0, 1, 993, site.name)]
            self.srv[f"_xmpp-client._tcp.{domain}"] = [(5, 0, 5222, site.name)]
        self.names = sorted(set(self.v4) | set(self.cname))
