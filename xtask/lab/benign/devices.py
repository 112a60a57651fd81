"""The devices of a house or an office, and what each of them does all day. Rates are those of homes: a few flows a minute each."""

import habits
import talk
import web
import wire


def joins(host, world):
    """What every device does on a network, and when it comes to it."""
    host.often("dhcp renewal", 240, wire.dhcp, world, False)
    host.often("arp", 100, wire.arp_refresh)
    host.actor("join", come_up, world)
    host.actor("groups", habits.listen_to_groups, world)


def come_up(host, rng, world):
    # They were there before the capture began; now and then one comes home.
    host.pause(rng, 60)
    wire.dhcp(host, rng, world)
    host.sleep(1)
    host.attempt("captive probe", web.captive_probe, rng, world)
    host.attempt("ntp", wire.ntp, rng, world)


def person(host, world, dns=28):
    """The base of everything a person carries or sits at."""
    joins(host, world)
    host.often("dns", dns, wire.dns_noise, world)
    host.often("ntp", 260, wire.ntp, world)
    host.often("mdns", 70, wire.mdns_ask, world)
    host.often("ocsp", 240, web.ocsp, world)
    if host.me.get("ttl") == 128:
        host.often("llmnr", 110, wire.llmnr, world)
        host.often("ssdp", 120, wire.ssdp_search, world)
    if host.me.get("timestamps") is False:
        host.often("telemetry", 130, web.telemetry, world)


def laptop(host, world):
    person(host, world)
    host.actor("browse", web.browsing, world)
    host.in_sessions("pages", 30, web.page, world)
    host.often("push", 30, talk.push, world, first=5)
    host.often("imap idle", 40, talk.imap_idle, world, first=10)
    host.often("mail out", 240, talk.send_mail, world)
    host.often("sync", 60, web.sync, world)
    host.often("ssh", 260, talk.ssh_session, world)
    host.often("scp", 420, talk.scp, world)
    host.often("updates", 300, web.updates, world)
    host.often("call", 420, wire.call, world)
    host.often("smb", 240, talk.smb, world)
    host.often("print", 300, talk.print_page, world)
    host.often("websocket", 200, web.websocket, world)
    host.often("ping", 400, wire.ping, world)
    host.often("backup", 700, web.backup, world)
    host.often("doh", 260, web.doh, world)


def phone(host, world):
    person(host, world, 40)
    host.in_sessions("apps", 14, web.app, world)
    host.often("push", 20, talk.push, world, first=3)
    host.often("video", 300, web.video, world)
    host.often("imap", 170, talk.imap_check, world)
    host.often("telemetry", 150, web.telemetry, world)
    host.often("dot", 220, wire.dot, world)
    host.often("call", 500, wire.call, world)
    host.often("music", 500, web.stream_audio, world)
    host.often("lights", 160, talk.control, world)
    host.often("cast", 300, talk.cast, world)
    host.often("updates", 700, web.updates, world)
    host.often("sync", 240, web.sync, world)
    host.often("vpn", 800, wire.wireguard, world)
    host.often("websocket", 300, web.websocket, world)


def tablet(host, world):
    person(host, world, 60)
    host.in_sessions("pages", 25, web.page, world)
    host.in_sessions("apps", 20, web.app, world)
    host.often("video", 260, web.video, world)
    host.often("push", 40, talk.push, world)
    host.often("pop", 240, talk.pop, world)


def kid(host, world):
    person(host, world, 40)
    host.often("game", 140, wire.game, world)
    host.often("game download", 500, web.game_download, world)
    host.in_sessions("pages", 22, web.page, world)
    host.often("chat", 160, talk.xmpp, world)
    host.often("irc", 500, talk.irc, world)
    host.often("websocket", 160, web.websocket, world)
    host.often("video", 200, web.video, world)
    host.often("call", 300, wire.call, world)
    host.often("stun", 160, wire.stun, world)


def console(host, world):
    joins(host, world)
    host.often("dns", 80, wire.dns_noise, world)
    host.often("game", 120, wire.game, world)
    host.often("game download", 420, web.game_download, world)
    host.often("nat-pmp", 300, wire.nat_pmp, world)
    host.often("ssdp", 160, wire.ssdp_search, world)
    host.often("push", 60, talk.push, world)
    beats(host, world, 1)


def household(host, world):
    """A router behind the router: many devices, one address."""
    phone(host, world)
    tv(host, world, joined=True)
    beats(host, world, 4)
    host.in_sessions("pages", 18, web.page, world)


def beats(host, world, count):
    """Devices' reports, each with a period of its own for the whole run."""
    for number in range(count):
        rng = host.rng("beat", number)
        period = rng.choice([15, 20, 30, 30, 60, 60, 90, 120, 300])
        host.periodic(f"beat {number}", period, lambda host, rng, beat=web.heartbeat(world, rng, host): beat(host, rng), jitter=rng.choice([0.0, 0.01, 0.05]))


def tv(host, world, joined=False):
    if not joined:
        joins(host, world)
    host.often("video", 60, web.video, world, first=20)
    host.often("ssdp tell", 130, wire.ssdp_tell, world)
    host.often("mdns tell", 120, wire.mdns_tell, world)
    host.often("dns", 70, wire.dns_noise, world)
    host.often("apps", 120, web.app, world)
    beats(host, world, 2)


def bulbs(host, world):
    joins(host, world)
    beats(host, world, 3)
    host.actor("sensor", talk.sensor, world, 0)
    host.periodic("hello", 10, habits.local_hello, world)
    host.periodic("ntp", 64, wire.ntp_near, world)
    rng = host.rng("one name")
    ask = wire.same_name(world, rng)
    host.periodic("one name", rng.choice([20, 30, 60]), lambda host, rng: ask(host, rng))
    host.often("mdns tell", 200, wire.mdns_tell, world)


def speaker(host, world):
    joins(host, world)
    host.often("music", 120, web.stream_audio, world)
    host.often("push", 20, talk.push, world, first=4)
    host.often("mdns tell", 90, wire.mdns_tell, world)
    host.often("apps", 150, web.app, world)
    beats(host, world, 2)


def printer(host, world):
    joins(host, world)
    host.often("mdns tell", 120, wire.mdns_tell, world)
    host.often("ssdp tell", 260, wire.ssdp_tell, world)
    host.often("telemetry", 300, web.telemetry, world)
    beats(host, world, 1)


def nas(host, world):
    joins(host, world)
    host.often("sync", 120, web.sync, world)
    host.often("updates", 420, web.updates, world)
    host.often("backup", 500, web.backup, world)
    host.often("ssdp tell", 200, wire.ssdp_tell, world)
    host.often("mdns tell", 150, wire.mdns_tell, world)
    host.often("ntp", 200, wire.ntp, world)
    host.often("rsync", 260, talk.rsync_pull, world)
    beats(host, world, 1)


def workstation(host, world):
    person(host, world)
    host.actor("browse", web.browsing, world)
    desk_work(host, world)
    host.often("ssh", 160, talk.ssh_session, world)
    host.often("scp", 300, talk.scp, world)
    host.often("rsync", 240, talk.rsync_pull, world)
    host.often("git", 120, talk.ssh_command, world)
    host.often("redis", 50, talk.redis, world)
    host.often("openvpn", 500, wire.openvpn, world)


def desk(host, world):
    person(host, world)
    host.in_sessions("pages", 16, web.page, world)
    desk_work(host, world)
    host.often("imap idle", 60, talk.imap_idle, world, first=8)


def desk_work(host, world):
    host.often("smb", 60, talk.smb, world)
    host.often("mail", 80, talk.imap_check, world)
    host.often("mail out", 150, talk.send_mail, world)
    host.often("ldap", 110, talk.ldap, world)
    host.often("print", 150, talk.print_page, world)
    host.often("intranet", 40, intranet_page, world)
    host.often("call", 260, wire.call, world)
    host.often("sync", 110, web.sync, world)
    host.often("push", 30, talk.push, world)
    host.often("ftp", 300, talk.ftp, world)
    host.often("websocket", 160, web.websocket, world)
    host.often("updates", 420, web.updates, world)


class Near:
    """A server of the LAN in a site's place."""

    def __init__(self, name):
        self.name = name


def intranet_page(host, rng, world):
    near = world.with_device("intranet")
    return web.page(host, rng, world, Near(rng.choice(near)["v4"][0])) if near else None


def admin(host, world):
    person(host, world)
    host.often("ssh", 70, talk.ssh_session, world)
    host.often("git", 40, talk.ssh_command, world)
    host.often("scp", 150, talk.scp, world)
    host.periodic("snmp", 60, talk.snmp, world)
    host.periodic("scrape", 30, talk.scrape, world)
    check = talk.health(world, host.rng("health"))
    host.periodic("health", host.rng("health period").choice([5, 10, 15]), lambda host, rng: check(host, rng))
    host.often("ping", 60, wire.ping, world)
    host.often("traceroute", 240, wire.traceroute, world)
    host.in_sessions("pages", 20, web.page, world)
    host.often("mail", 100, talk.imap_check, world)


def deskphone(host, world):
    joins(host, world)
    sites = world.of("call")
    beats(host, world, 1)
    if sites:
        host.often("call", 120, wire.call, world)
        host.periodic("stun", 30, wire.stun, world)


def office(host, world):
    joins(host, world)
    host.often("mail names", 50, wire.mail_names, world)
    host.often("updates", 300, web.updates, world)
    host.often("backup", 400, web.backup, world)
    host.often("ntp", 120, wire.ntp, world)
    host.often("rsync", 260, talk.rsync_pull, world)
    beats(host, world, 1)


def intranet(host, world):
    joins(host, world)
    host.often("updates", 300, web.updates, world)
    host.often("api", 40, web.app, world)
    host.often("ntp", 120, wire.ntp, world)
    host.often("mail out", 200, talk.send_mail, world)
    beats(host, world, 2)


def hub(host, world):
    joins(host, world)
    host.periodic("cameras", 20, talk.poll_cameras, world)
    host.often("lights", 15, talk.control, world)
    host.often("coap", 30, talk.coap, world)
    host.often("api", 90, web.app, world)
    host.often("mdns", 60, wire.mdns_ask, world)
    host.often("ssdp", 150, wire.ssdp_search, world)
    host.often("ntp", 200, wire.ntp, world)
    check = talk.health(world, host.rng("health"))
    host.periodic("health", 30, lambda host, rng: check(host, rng))
    beats(host, world, 1)


def sensors(host, world):
    """A dozen small things at one radio, each with its own connection."""
    joins(host, world)
    for number in range(host.rng("count").randrange(5, 14)):
        host.actor(f"sensor {number}", talk.sensor, world, number)
    host.often("one message", 25, talk.mqtt_tools, world)
    host.often("listen", 60, talk.mqtt_subscribe, world)
    beats(host, world, 3)
    host.periodic("ntp", 128, wire.ntp_near, world)


def camera(host, world):
    """Pictures to the recorder in the house, and some to its maker."""
    joins(host, world)
    recorder = world.with_device("hub")
    if recorder:
        host.actor("stream", film, recorder[0]["v4"][0])
    host.often("clip", 150, web.sync, world)
    host.often("stun", 60, wire.stun, world)
    host.often("push", 30, talk.push, world)
    beats(host, world, 2)


def film(host, rng, recorder):
    while True:
        host.pause(rng, 30)
        wire.media(host, rng, (recorder, 5004), rng.uniform(20, 120), rng.choice([0.04, 0.066, 0.1]), (400, 1200))
        host.count("stream", True)


START = {name: body for name, body in globals().items() if name in (
    "laptop", "phone", "tablet", "kid", "console", "household", "tv", "bulbs", "speaker", "printer", "nas", "workstation", "desk", "admin",
    "deskphone", "office", "intranet", "hub", "sensors", "camera")}
