//! Guessing of passwords: SSH, FTP, web logins and the other services that ask for one.

use super::{MS_MAX, Needs, PlanFn, attacker};
use crate::lab::{
    filter::Filter,
    plan::{Ends, Plan, Proof, Scenario, Step, Wish},
    rng::Rng,
    servers::{self, HOST_KEYS, PYTHON},
    world::{Host, Shape, World},
};

const SSH: Needs = &[("sshd", "openssh-server"), ("dropbear", "dropbear-bin")];
const SSH_TOOLS: Needs = &[
    ("sshd", "openssh-server"),
    ("dropbear", "dropbear-bin"),
    ("hydra", "hydra"),
    ("medusa", "medusa"),
    ("ncrack", "ncrack"),
    ("patator", "patator"),
];
const SSHPASS: Needs = &[("sshd", "openssh-server"), ("dropbear", "dropbear-bin"), ("sshpass", "sshpass")];
const FTP: Needs =
    &[("vsftpd", "vsftpd"), ("hydra", "hydra"), ("medusa", "medusa"), ("ncrack", "ncrack"), ("patator", "patator")];
const WEB: Needs = &[
    ("nginx", "nginx-light"),
    ("hydra", "hydra"),
    ("medusa", "medusa"),
    ("ncrack", "ncrack"),
    ("patator", "patator"),
    ("ffuf", "ffuf"),
];
const SMB: Needs = &[("smbd", "samba"), ("hydra", "hydra"), ("medusa", "medusa"), ("patator", "patator")];
const MAIL: Needs = &[("dovecot", "dovecot-imapd"), ("hydra", "hydra"), ("medusa", "medusa"), ("patator", "patator")];
const HYDRA: Needs = &[("hydra", "hydra"), ("medusa", "medusa"), ("ncrack", "ncrack")];
const REDIS: Needs = &[("redis-server", "redis-server"), ("hydra", "hydra"), ("ncrack", "ncrack")];
const SQL: Needs = &[
    ("mariadbd", "mariadb-server"),
    ("mariadb-install-db", "mariadb-server"),
    ("hydra", "hydra"),
    ("medusa", "medusa"),
    ("ncrack", "ncrack"),
];
const MQTT: Needs = &[("mosquitto", "mosquitto"), ("ncrack", "ncrack")];

const SEVERAL: Shape = Shape { outside: 4, ..Shape::SMALL };

pub(super) static SCENARIOS: &[Scenario] = &[
    scenario("ssh-hydra", "BRUTE_SSH", "hydra at OpenSSH or Dropbear", SSH_TOOLS, ssh_hydra),
    scenario("ssh-medusa", "BRUTE_SSH", "medusa", SSH_TOOLS, ssh_medusa),
    scenario("ssh-ncrack", "BRUTE_SSH", "ncrack", SSH_TOOLS, ssh_ncrack),
    scenario("ssh-patator", "BRUTE_SSH", "patator", SSH_TOOLS, ssh_patator),
    scenario("ssh-script", "BRUTE_SSH", "a script of Paramiko, as bots use", SSH, ssh_script),
    scenario("ssh-slow", "BRUTE_SSH", "sshpass and ssh, a guess in seconds", SSHPASS, ssh_slow),
    Scenario {
        shape: SEVERAL,
        ..scenario("ssh-spread", "BRUTE_SSH", "hydra from several hosts at once", SSH_TOOLS, ssh_spread)
    },
    scenario("ftp-vsftpd", "BRUTE_FTP", "hydra, medusa, ncrack, patator at vsftpd", FTP, ftp_vsftpd),
    scenario("ftp-pyftpdlib", "BRUTE_FTP", "the same at pyftpdlib", FTP, ftp_pyftpdlib),
    scenario("web-form", "BRUTE_WEB", "hydra, patator, ffuf, script at a login form", WEB, web_form),
    scenario("web-form-nginx", "BRUTE_WEB", "the same behind nginx", WEB, web_form_nginx),
    scenario("web-basic", "BRUTE_WEB", "hydra, medusa, ncrack, patator at basic authentication", WEB, web_basic),
    scenario("smb-login", "BRUTE_OTHER", "hydra, medusa, patator at Samba", SMB, smb),
    scenario("imap-login", "BRUTE_OTHER", "hydra, medusa, patator at Dovecot", MAIL, imap),
    scenario("telnet-login", "BRUTE_OTHER", "hydra, medusa, ncrack, script with a bot's word list", HYDRA, telnet),
    scenario("mail-login", "BRUTE_OTHER", "hydra, patator at SMTP and POP3", MAIL, mail),
    scenario("redis-login", "BRUTE_OTHER", "hydra, ncrack, script at Redis", REDIS, redis),
    scenario("mqtt-login", "BRUTE_OTHER", "ncrack, script at Mosquitto", MQTT, mqtt),
    scenario("sql-login", "BRUTE_OTHER", "hydra, medusa, ncrack at MariaDB", SQL, sql),
    scenario("vnc-login", "BRUTE_OTHER", "hydra, ncrack, medusa at VNC", HYDRA, vnc),
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

const COMMON: [&str; 40] = [
    "123456",
    "password",
    "12345678",
    "qwerty",
    "admin",
    "letmein",
    "welcome",
    "monkey",
    "dragon",
    "master",
    "login",
    "princess",
    "solo",
    "passw0rd",
    "starwars",
    "root",
    "toor",
    "raspberry",
    "ubnt",
    "support",
    "guest",
    "default",
    "changeme",
    "1234",
    "test",
    "oracle",
    "postgres",
    "mysql",
    "pi",
    "service",
    "hunter2",
    "iloveyou",
    "sunshine",
    "football",
    "shadow",
    "superman",
    "batman",
    "trustno1",
    "secret",
    "killer",
];
const STRANGERS: [&str; 16] = [
    "root", "admin", "test", "guest", "ubuntu", "oracle", "postgres", "pi", "git", "deploy", "www", "user", "support",
    "ftpuser", "backup", "nagios",
];

/// Files `logins` and `words`, and how many guesses they make. The right word is among them now and then.
fn lists(plan: &mut Plan, world: &World, rng: &mut Rng, users_max: u64, words: u64) -> u64 {
    let mut users: Vec<String> = rng.shuffled(&STRANGERS).iter().map(|user| (*user).to_owned()).collect();
    users.truncate(usize::try_from(rng.range(1, users_max)).unwrap_or(1));
    users.push(world.accounts[0].user.clone());
    let mut list: Vec<String> = rng.shuffled(&COMMON).iter().map(|word| (*word).to_owned()).collect();
    while u64::try_from(list.len()).unwrap_or(u64::MAX) < words {
        let word = format!("{}{}", rng.pick(&COMMON), rng.range(1, 2_030));
        list.push(word);
    }
    list.truncate(usize::try_from(words).unwrap_or(1));
    if rng.once_in(3)
        && let Some(last) = list.last_mut()
    {
        last.clone_from(&world.accounts[0].password);
    }
    let count = users.len() * list.len();
    plan.files.push(("logins".to_owned(), users.join("\n") + "\n"));
    plan.files.push(("words".to_owned(), list.join("\n") + "\n"));
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// One guesser against the server, for a minute at most.
fn guess(plan: &mut Plan, world: &World, rng: &mut Rng, line: &str, flows: usize) {
    let from = attacker(world, rng);
    let at_ms = rng.range(1_500, 6_000);
    plan.steps.push(Step::new(&from.name, line, at_ms, MS_MAX, Ends::Anyhow));
    plan.filter = Filter::from_hosts(from.all_v4());
    plan.proof = Proof { flows, sent: flows, answered: flows };
}

/// The LAN's server with SSH; gives its software's name and the port, mostly the usual one.
fn ssh_server(plan: &mut Plan, world: &World, rng: &mut Rng) -> u16 {
    let on = &world.servers[0].name;
    let port = rng.pick(&[22, 22, 22, 2_222]);
    let software = if rng.once_in(2) {
        servers::openssh(plan, on, port, HOST_KEYS, rng);
        "openssh"
    } else {
        servers::dropbear(plan, on, port, rng);
        "dropbear"
    };
    plan.environment.push('-');
    plan.environment.push_str(software);
    port
}

fn ssh_hydra(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("ssh-hydra", "hydra ssh");
    let port = ssh_server(&mut plan, world, rng);
    lists(&mut plan, world, rng, 4, 60);
    let tasks = rng.pick(&[1, 2, 4, 8]);
    let target = world.servers[0].v4;
    let line = format!("hydra -I -t {tasks} -L {{dir}}/logins -P {{dir}}/words -s {port} ssh://{target}");
    guess(&mut plan, world, rng, &line, 3);
    plan
}

fn ssh_medusa(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("ssh-medusa-openssh", "medusa ssh");
    let port = rng.pick(&[22, 22, 2_222]);
    // Its library knows SHA-1 signatures alone where the key is RSA, and no server of today takes these.
    servers::openssh(&mut plan, &world.servers[0].name, port, &["ed25519", "ecdsa"], rng);
    lists(&mut plan, world, rng, 3, 60);
    let tasks = rng.pick(&[1, 3, 6]);
    let target = world.servers[0].v4;
    let line = format!("medusa -h {target} -n {port} -M ssh -U {{dir}}/logins -P {{dir}}/words -t {tasks}");
    guess(&mut plan, world, rng, &line, 3);
    plan
}

fn ssh_ncrack(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("ssh-ncrack", "ncrack ssh");
    let port = ssh_server(&mut plan, world, rng);
    lists(&mut plan, world, rng, 3, 60);
    let timing = rng.pick(&["-T3 -g CL=4", "-T4 -g CL=5,cd=100ms", "-T2 -g CL=1,cd=1s"]);
    let target = world.servers[0].v4;
    let line = format!("ncrack {timing} -U {{dir}}/logins -P {{dir}}/words ssh://{target}:{port}");
    guess(&mut plan, world, rng, &line, 3);
    plan
}

fn ssh_patator(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("ssh-patator", "patator ssh_login");
    let port = ssh_server(&mut plan, world, rng);
    lists(&mut plan, world, rng, 3, 60);
    let (threads, rate) = rng.pick(&[(2, "--rate-limit=0.5"), (5, ""), (10, "")]);
    let target = world.servers[0].v4;
    let line = format!(
        "patator ssh_login host={target} port={port} user=FILE0 password=FILE1 0={{dir}}/logins 1={{dir}}/words -t {threads} {rate} --max-retries=1"
    );
    guess(&mut plan, world, rng, &line, 3);
    plan
}

fn ssh_script(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("ssh-script", "paramiko ssh");
    let port = ssh_server(&mut plan, world, rng);
    lists(&mut plan, world, rng, 6, 40);
    let (threads, pause_ms) = rng.pick(&[(1, 0), (1, 800), (3, 200), (6, 0)]);
    let line = guesser("ssh", world, port, threads, pause_ms);
    guess(&mut plan, world, rng, &line, 3);
    plan
}

/// The lab's own guesser of passwords, for a minute.
fn guesser(kind: &str, world: &World, port: u16, threads: u64, pause_ms: u64) -> String {
    format!(
        "{PYTHON} {{lab}}/guess.py --kind {kind} --host {} --port {port} --users {{dir}}/logins --words {{dir}}/words --threads {threads} --pause-ms {pause_ms} --secs 55",
        world.servers[0].v4
    )
}

fn ssh_slow(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("ssh-slow", "sshpass ssh");
    let port = ssh_server(&mut plan, world, rng);
    lists(&mut plan, world, rng, 2, 30);
    let pause = rng.pick(&["1.5", "3", "4.5"]);
    let line = format!("sh {{lab}}/ssh_slow.sh {} {port} {pause} {{dir}}/logins {{dir}}/words", world.servers[0].v4);
    guess(&mut plan, world, rng, &line, 5);
    plan
}

fn ssh_spread(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("ssh-spread", "hydra ssh, several sources");
    let port = ssh_server(&mut plan, world, rng);
    lists(&mut plan, world, rng, 4, 40);
    let target = world.servers[0].v4;
    for from in &world.outside {
        let tasks = rng.pick(&[1, 2]);
        let wait = rng.pick(&["", "-c 3"]);
        let line = format!("hydra -I -u -t {tasks} {wait} -L {{dir}}/logins -P {{dir}}/words -s {port} ssh://{target}");
        plan.steps.push(Step::new(&from.name, &line, rng.range(1_500, 12_000), 45_000, Ends::Anyhow));
    }
    plan.filter = Filter::from_hosts(world.outside.iter().flat_map(Host::all_v4));
    plan.proof = Proof { flows: 8, sent: 8, answered: 8 };
    plan
}

fn ftp_vsftpd(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("ftp-vsftpd", "");
    let port = rng.pick(&[21, 21, 2_121]);
    servers::vsftpd(&mut plan, &world.servers[0].name, port, rng);
    ftp(&mut plan, world, rng, port);
    plan
}

fn ftp_pyftpdlib(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("ftp-pyftpdlib", "");
    let port = rng.pick(&[21, 21, 8_021]);
    servers::pyftpdlib(&mut plan, &world.servers[0].name, port, world);
    ftp(&mut plan, world, rng, port);
    plan
}

fn ftp(plan: &mut Plan, world: &World, rng: &mut Rng, port: u16) {
    lists(plan, world, rng, 4, 50);
    let target = world.servers[0].v4;
    let tasks = rng.pick(&[1, 2, 4, 8]);
    let (tool, line) = match rng.range(1, 5) {
        1 => ("hydra", format!("hydra -I -t {tasks} -L {{dir}}/logins -P {{dir}}/words -s {port} ftp://{target}")),
        2 => ("medusa", format!("medusa -h {target} -n {port} -M ftp -U {{dir}}/logins -P {{dir}}/words -t {tasks}")),
        3 => ("ncrack", format!("ncrack -T3 -g CL=4 -U {{dir}}/logins -P {{dir}}/words ftp://{target}:{port}")),
        4 => (
            "patator",
            format!(
                "patator ftp_login host={target} port={port} user=FILE0 password=FILE1 0={{dir}}/logins 1={{dir}}/words -t {tasks} --max-retries=1"
            ),
        ),
        _ => ("script", guesser("ftp", world, port, tasks, rng.pick(&[0, 300, 1_500]))),
    };
    plan.subtype = format!("{tool} ftp");
    plan.environment = format!("{}-{tool}", plan.environment);
    guess(plan, world, rng, &line, 3);
}

fn web_form(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("web-form", "");
    let port = rng.pick(&[80, 8_080, 8_000]);
    servers::application(&mut plan, &world.servers[0].name, port, world, rng);
    form(&mut plan, world, rng, port, "/login");
    plan
}

fn web_form_nginx(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("web-form-nginx", "");
    let port = rng.pick(&[80, 8_080]);
    servers::application(&mut plan, &world.servers[0].name, 8_999, world, rng);
    servers::nginx(&mut plan, &world.servers[0].name, port, world, rng);
    form(&mut plan, world, rng, port, "/app/login");
    plan
}

fn form(plan: &mut Plan, world: &World, rng: &mut Rng, port: u16, path: &str) {
    let words = rng.pick(&[60, 150, 400]);
    lists(plan, world, rng, 3, words);
    let target = world.servers[0].v4;
    let tasks = rng.pick(&[1, 2, 4, 12]);
    let (tool, line) = match rng.range(1, 4) {
        1 => (
            "hydra",
            format!(
                "hydra -I -t {tasks} -L {{dir}}/logins -P {{dir}}/words -s {port} {target} http-post-form {path}:username=^USER^&password=^PASS^:F=failed"
            ),
        ),
        2 => (
            "patator",
            format!(
                "patator http_fuzz url=http://{target}:{port}{path} method=POST body=username=FILE0&password=FILE1 0={{dir}}/logins 1={{dir}}/words -t {tasks} -x ignore:fgrep=failed --max-retries=1"
            ),
        ),
        3 => (
            "ffuf",
            format!(
                "ffuf -s -t {tasks} -p {} -maxtime 50 -w {{dir}}/words -X POST -H Content-Type:application/x-www-form-urlencoded -d username={}&password=FUZZ -u http://{target}:{port}{path} -fr failed",
                rng.pick(&["0.05", "0.3", "1"]),
                world.accounts[0].user
            ),
        ),
        _ => ("script", guesser(&format!("form:{path}"), world, port, tasks, rng.pick(&[0, 100, 700, 1_500]))),
    };
    plan.subtype = format!("{tool} login form");
    plan.environment = format!("{}-{tool}", plan.environment);
    // Tools keep connections open, so many guesses may be few flows.
    guess(plan, world, rng, &line, 1);
}

fn web_basic(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("web-basic", "");
    let port = rng.pick(&[80, 8_080]);
    servers::nginx(&mut plan, &world.servers[0].name, port, world, rng);
    let words = rng.pick(&[60, 150]);
    lists(&mut plan, world, rng, 3, words);
    let target = world.servers[0].v4;
    let tasks = rng.pick(&[1, 2, 4, 12]);
    let (tool, line) = match rng.range(1, 5) {
        1 => (
            "hydra",
            format!("hydra -I -t {tasks} -L {{dir}}/logins -P {{dir}}/words -s {port} {target} http-get /private/"),
        ),
        2 => (
            "medusa",
            format!(
                "medusa -h {target} -n {port} -M http -m DIR:/private/ -U {{dir}}/logins -P {{dir}}/words -t {tasks}"
            ),
        ),
        3 => (
            "ncrack",
            format!("ncrack -T3 -g CL=4 -U {{dir}}/logins -P {{dir}}/words http://{target}:{port},path=/private/"),
        ),
        4 => (
            "patator",
            format!(
                "patator http_fuzz url=http://{target}:{port}/private/ user_pass=FILE0:FILE1 0={{dir}}/logins 1={{dir}}/words -t {tasks} -x ignore:code=401 --max-retries=1"
            ),
        ),
        _ => ("script", guesser("basic:/private/", world, port, tasks, rng.pick(&[0, 300, 1_500]))),
    };
    plan.subtype = format!("{tool} basic authentication");
    plan.environment = format!("{}-{tool}", plan.environment);
    guess(&mut plan, world, rng, &line, 1);
    plan
}

fn smb(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("smb", "");
    servers::smbd(&mut plan, &world.servers[0].name, world);
    lists(&mut plan, world, rng, 3, 60);
    let target = world.servers[0].v4;
    let (tool, line) = match rng.range(1, 3) {
        1 => (
            "patator",
            format!(
                "patator smb_login host={target} user=FILE0 password=FILE1 0={{dir}}/logins 1={{dir}}/words -t {} --max-retries=1",
                rng.pick(&[1, 3, 8])
            ),
        ),
        2 => (
            "smbclient",
            format!("sh {{lab}}/smb_guess.sh {target} {} {{dir}}/logins {{dir}}/words", rng.pick(&["0", "0.5", "2"])),
        ),
        _ => ("script", guesser("smb", world, 445, rng.pick(&[1, 4]), rng.pick(&[0, 400]))),
    };
    plan.subtype = format!("{tool} smb");
    plan.environment = format!("smb-{tool}");
    // patator tries many words in one connection.
    guess(&mut plan, world, rng, &line, 1);
    plan
}

fn imap(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("imap", "");
    servers::dovecot(&mut plan, &world.servers[0].name, 143, world, rng);
    lists(&mut plan, world, rng, 3, 60);
    let target = world.servers[0].v4;
    let tasks = rng.pick(&[1, 3, 8]);
    let (tool, line) = match rng.range(1, 4) {
        1 => ("hydra", format!("hydra -I -t {tasks} -L {{dir}}/logins -P {{dir}}/words imap://{target}")),
        2 => ("medusa", format!("medusa -h {target} -M imap -U {{dir}}/logins -P {{dir}}/words -t {tasks}")),
        3 => (
            "patator",
            format!(
                "patator imap_login host={target} user=FILE0 password=FILE1 0={{dir}}/logins 1={{dir}}/words -t {tasks} --max-retries=1"
            ),
        ),
        _ => ("script", guesser("imap", world, 143, tasks, rng.pick(&[0, 700]))),
    };
    plan.subtype = format!("{tool} imap");
    plan.environment = format!("imap-{tool}");
    guess(&mut plan, world, rng, &line, 2);
    plan
}

fn telnet(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("telnet", "");
    let port = rng.pick(&[23, 23, 2_323]);
    servers::logins(&mut plan, &world.servers[0].name, "telnet", port, world, rng);
    lists(&mut plan, world, rng, 4, 40);
    let target = world.servers[0].v4;
    let tasks = rng.pick(&[1, 3, 8]);
    let (tool, line) = match rng.range(1, 4) {
        1 => ("hydra", format!("hydra -I -t {tasks} -L {{dir}}/logins -P {{dir}}/words -s {port} telnet://{target}")),
        2 => {
            ("medusa", format!("medusa -h {target} -n {port} -M telnet -U {{dir}}/logins -P {{dir}}/words -t {tasks}"))
        }
        3 => ("ncrack", format!("ncrack -T3 -g CL=4 -U {{dir}}/logins -P {{dir}}/words telnet://{target}:{port}")),
        _ => ("script", guesser("telnet", world, port, tasks, rng.pick(&[0, 300]))),
    };
    plan.subtype = format!("{tool} telnet");
    plan.environment = format!("telnet-{tool}");
    guess(&mut plan, world, rng, &line, 2);
    plan
}

fn mail(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("mail", "");
    let (kind, port) = rng.pick(&[("smtp", 25), ("smtp", 587), ("pop3", 110)]);
    servers::logins(&mut plan, &world.servers[0].name, kind, port, world, rng);
    lists(&mut plan, world, rng, 3, 60);
    let target = world.servers[0].v4;
    let tasks = rng.pick(&[1, 3, 8]);
    let (tool, line) = match rng.range(1, 3) {
        1 => ("hydra", format!("hydra -I -t {tasks} -L {{dir}}/logins -P {{dir}}/words -s {port} {kind}://{target}")),
        2 => {
            let module = if kind == "smtp" { "smtp_login" } else { "pop_login" };
            (
                "patator",
                format!(
                    "patator {module} host={target} port={port} user=FILE0 password=FILE1 0={{dir}}/logins 1={{dir}}/words -t {tasks} --max-retries=1"
                ),
            )
        }
        _ => ("script", guesser(kind, world, port, tasks, rng.pick(&[0, 500]))),
    };
    plan.subtype = format!("{tool} {kind}");
    plan.environment = format!("{kind}-{tool}");
    guess(&mut plan, world, rng, &line, 2);
    plan
}

fn redis(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("redis", "");
    servers::redis(&mut plan, &world.servers[0].name, 6_379, world);
    lists(&mut plan, world, rng, 1, 200);
    let target = world.servers[0].v4;
    let tasks = rng.pick(&[1, 4]);
    let (tool, line) = match rng.range(1, 3) {
        1 => ("hydra", format!("hydra -I -t {tasks} -P {{dir}}/words redis://{target}")),
        2 => ("ncrack", format!("ncrack -T3 -g CL=4 --user default -P {{dir}}/words redis://{target}:6379")),
        _ => ("script", guesser("redis", world, 6_379, tasks, rng.pick(&[20, 300]))),
    };
    plan.subtype = format!("{tool} redis");
    plan.environment = format!("redis-{tool}");
    guess(&mut plan, world, rng, &line, 1);
    plan
}

fn sql(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("sql", "");
    let port = rng.pick(&[3_306, 3_306, 3_307]);
    servers::mariadb(&mut plan, &world.servers[0].name, port, world);
    lists(&mut plan, world, rng, 3, 80);
    let target = world.servers[0].v4;
    let tasks = rng.pick(&[1, 3, 8]);
    let (tool, line) = match rng.range(1, 3) {
        1 => ("hydra", format!("hydra -I -t {tasks} -L {{dir}}/logins -P {{dir}}/words -s {port} mysql://{target}")),
        2 => ("medusa", format!("medusa -h {target} -n {port} -M mysql -U {{dir}}/logins -P {{dir}}/words -t {tasks}")),
        _ => ("ncrack", format!("ncrack -T3 -g CL=4 -U {{dir}}/logins -P {{dir}}/words mysql://{target}:{port}")),
    };
    plan.subtype = format!("{tool} mysql");
    plan.environment = format!("sql-{tool}");
    guess(&mut plan, world, rng, &line, 3);
    plan
}

fn mqtt(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("mqtt", "");
    servers::mosquitto(&mut plan, &world.servers[0].name, 1_883, world);
    lists(&mut plan, world, rng, 3, 80);
    let target = world.servers[0].v4;
    let (tool, line) = if rng.once_in(2) {
        ("ncrack", format!("ncrack -T3 -g CL=4 -U {{dir}}/logins -P {{dir}}/words mqtt://{target}:1883"))
    } else {
        ("script", guesser("mqtt", world, 1_883, rng.pick(&[1, 3]), rng.pick(&[50, 400, 1_500])))
    };
    plan.subtype = format!("{tool} mqtt");
    plan.environment = format!("mqtt-{tool}");
    guess(&mut plan, world, rng, &line, 3);
    plan
}

fn vnc(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("vnc", "");
    let port = rng.pick(&[5_900, 5_901]);
    servers::logins(&mut plan, &world.servers[0].name, "vnc", port, world, rng);
    lists(&mut plan, world, rng, 1, 80);
    let target = world.servers[0].v4;
    let (tool, line) = match rng.range(1, 2) {
        1 => ("hydra", format!("hydra -I -t {} -P {{dir}}/words -s {port} vnc://{target}", rng.pick(&[1, 3]))),
        _ => {
            ("medusa", format!("medusa -h {target} -n {port} -M vnc -u root -P {{dir}}/words -t {}", rng.pick(&[1, 3])))
        }
    };
    plan.subtype = format!("{tool} vnc");
    plan.environment = format!("vnc-{tool}");
    guess(&mut plan, world, rng, &line, 3);
    plan
}
