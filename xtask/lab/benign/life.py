"""The program of one host: `life.py prepare|serve|live|check|show PLAN [HOST]`. Starts what it offers, or what is done on it."""

import json
import os
import socket
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import kit
from world import World

# Where it can be seen that all servers of a host answer.
READY_PORT = 5
CERTIFICATES = (("rsa:2048", ""), ("ec", "prime256v1"), ("ec", "prime256v1"), ("rsa:3072", ""), ("ec", "prime256v1"), ("rsa:2048", ""))


def prepare(plan):
    """Keys and certificates of the run."""
    world = World(plan)
    folder = os.path.join(plan["scratch"], "tls")
    os.makedirs(folder, exist_ok=True)
    host = kit.Host(plan, "gateway")
    names = [site.name for site in world.sites]
    for index, (kind, curve) in enumerate(CERTIFICATES):
        chance = host.rng("certificate", index)
        mine = [site.name for site in world.sites if site.certificate == f"c{index}"][:12] or names[:1] or ["localhost"]
        key = ["-newkey", kind] + (["-pkeyopt", f"ec_paramgen_curve:{curve}"] if curve else [])
        status, out = host.run([
            "openssl", "req", "-x509", *key, "-nodes", "-keyout", f"{folder}/c{index}.key", "-out", f"{folder}/c{index}.pem",
            "-days", str(chance.choice([90, 90, 365, 397, 825])), "-subj", f"/CN={mine[0]}", "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in mine),
        ])
        if status != 0:
            sys.exit(out.decode())
        os.chmod(f"{folder}/c{index}.key", 0o644)
    status, out = host.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", plan["person"], "-f", f"{folder}/ssh"])
    if status != 0:
        sys.exit(out.decode())


def serve(plan, name):
    import near
    import servers
    import stacks
    import web_app

    world = World(plan)
    host = kit.Host(plan, name)
    kit.own_rooms(host)
    wanted = []
    if host.me["kind"] == "gateway":
        wanted += near.gateway(host, world)
    elif host.me["kind"] == "site":
        wanted += stacks.start(host, world, web_app.App(world, plan["scratch"]))
        for address in host.v4:
            servers.peers(host, address)
        for site in world.sites:
            if site.host == name and site.kind in servers.FAR:
                wanted += servers.FAR[site.kind](host, world, site)
    else:
        for role in world.devices.get(name, []):
            if role in near.NEAR:
                wanted += near.NEAR[role](host, world)
    deadline = time.monotonic() + 25
    missing = [place for place in wanted if not kit.listening(*place, deadline)]
    if missing:
        # The port of another's server in this lab; what benign life would do there fails, and is traffic too.
        print("does not answer:", missing, flush=True)
        if not plan.get("light"):
            sys.exit(1)
    ready = socket.create_server(("127.0.0.1", READY_PORT))
    while True:
        time.sleep(3600)
        del ready


def live(plan, name):
    import devices
    import looks

    world = World(plan)
    host = kit.Host(plan, name)
    host.pace = world.environment["pace"]
    kit.own_rooms(host, caches=host.rng("cache").random() < 0.75, upstream=world.resolver)
    host.ends_at = time.monotonic() + plan["seconds"]
    kit.tune(host)
    for role in world.devices.get(name, []):
        devices.START[role](host, world)
    looks.start(host, world)
    try:
        while time.monotonic() < host.ends_at:
            time.sleep(min(5.0, max(0.1, host.ends_at - time.monotonic())))
            host.account()
    finally:
        host.account()
        host.end()


def check(plan):
    """Fails where life was none: little was done, or most of it went wrong. What fails on purpose is a small part."""
    done, failed = 0, 0
    by_name = {}
    for name in World(plan).devices:
        try:
            with open(os.path.join(plan["scratch"], "log", name, "account.json")) as text:
                counts = json.load(text)
        except OSError:
            sys.exit(f"{name} did nothing")
        for what, (good, bad) in counts.items():
            done, failed = done + good, failed + bad
            sums = by_name.setdefault(what.rstrip("0123456789 "), [0, 0])
            sums[0], sums[1] = sums[0] + good, sums[1] + bad
    print(f"{done} doings went well, {failed} did not")
    for what, (good, bad) in sorted(by_name.items()):
        print(f"{good:6} {bad:6} {what}")
    if done < plan["seconds"] / 6 or failed > done / 2:
        sys.exit("that is no benign life: see what the programs said")


def show(plan):
    """What the seed has decided, and whether the programs know all of it."""
    import devices
    import looks

    world = World(plan)
    for name, roles in sorted(world.devices.items()):
        unknown = set(roles) - set(devices.START)
        if unknown:
            sys.exit(f"nobody knows what {sorted(unknown)} on {name} do")
        print(name, " ".join(roles))
    for name in world.looks:
        who, _ = looks.LOOKS[name]
        if not world.with_device(*who):
            sys.exit(f"nobody is there who could do {name}")
        print("look", name)
    for site in world.sites:
        print(site.kind, site.name, site.v4, site.v6, site.host, site.stack)
    for host in sorted(world.devices):
        print(host, kit.Host.chance(plan, host, "beat", 0).random())


def main():
    verb, path = sys.argv[1], sys.argv[2]
    with open(path) as text:
        plan = json.load(text)
    kit.die_with_parent()
    try:
        # What happens when is what the lab is about; a compiler beside it may wait.
        os.nice(-5)
    except OSError:
        pass
    if verb == "prepare":
        prepare(plan)
    elif verb == "serve":
        serve(plan, sys.argv[3])
    elif verb == "live":
        live(plan, sys.argv[3])
    elif verb == "check":
        check(plan)
    elif verb == "show":
        show(plan)
    else:
        sys.exit(f"no such verb: {verb}")
    # Threads of actors may still wait for an answer.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
