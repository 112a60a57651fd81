//! Attacks on a web application: injection, scripting, traversal, commands, and the search for what is not linked.

use super::{Needs, PlanFn, attacker};
use crate::lab::{
    filter::Filter,
    plan::{Ends, Plan, Proof, Scenario, Step, Wish},
    rng::Rng,
    servers::{self, PYTHON},
    world::{Shape, World},
};

const SQLMAP: Needs = &[("sqlmap", "sqlmap"), ("nginx", "nginx-light")];
const WAPITI: Needs = &[("wapiti", "wapiti"), ("nginx", "nginx-light")];
const FUZZ: Needs =
    &[("ffuf", "ffuf"), ("gobuster", "gobuster"), ("dirb", "dirb"), ("nginx", "nginx-light"), ("lighttpd", "lighttpd")];
const NSE: Needs = &[("nmap", "nmap"), ("nginx", "nginx-light")];
const NGINX: Needs = &[("nginx", "nginx-light")];

pub(super) static SCENARIOS: &[Scenario] = &[
    scenario("web-sqlmap", "sqlmap at search, item, login", SQLMAP, sqlmap),
    scenario("web-wapiti", "wapiti in several modules", WAPITI, wapiti),
    scenario("web-fuzz", "ffuf, gobuster, dirb: paths and parameters", FUZZ, fuzz),
    scenario("web-nse", "nmap's HTTP scripts", NSE, nse),
    scenario("web-sqli", "script: SQL injection by hand", NGINX, sqli),
    scenario("web-xss", "script: XSS, reflected and stored", NGINX, xss),
    scenario("web-traversal", "script: path traversal and file inclusion", NGINX, traversal),
    scenario("web-command", "script: command injection, Log4Shell, Shellshock, template injection", NGINX, command),
];

const fn scenario(name: &'static str, tools: &'static str, needs: Needs, plan: PlanFn) -> Scenario {
    Scenario { name, family: "WEB_ATTACK", tools, needs, shape: Shape::SMALL, plan }
}

/// sqlmap and wapiti are thorough: they are ended here.
const LONG_MS: u64 = 75_000;

/// The application, alone or behind nginx; gives its address as a URL without a final slash.
fn shop(plan: &mut Plan, world: &World, rng: &mut Rng) -> String {
    let server = &world.servers[0];
    let port = rng.pick(&[80, 8_080, 8_000]);
    if rng.once_in(2) {
        servers::application(plan, &server.name, port, world, rng);
        plan.environment.push_str("-app");
        format!("http://{}:{port}", server.v4)
    } else {
        servers::application(plan, &server.name, 8_999, world, rng);
        servers::nginx(plan, &server.name, port, world, rng);
        plan.environment.push_str("-nginx");
        format!("http://{}:{port}/app", server.v4)
    }
}

fn attack(plan: &mut Plan, world: &World, rng: &mut Rng, tool: &str, line: &str) {
    tool.clone_into(&mut plan.subtype);
    let from = attacker(world, rng);
    plan.steps.push(Step::new(&from.name, line, rng.range(1_500, 6_000), LONG_MS, Ends::Anyhow));
    plan.filter = Filter::from_hosts(from.all_v4());
    plan.proof = Proof { flows: 1, sent: 1, answered: 1 };
}

fn sqlmap(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("web-sqlmap", "");
    let url = shop(&mut plan, world, rng);
    let target = match rng.range(1, 4) {
        1 => format!("-u {url}/search?q=lamp -p q"),
        2 => format!("-u {url}/item?id=3 -p id --dump -T users"),
        3 => format!("-u {url}/api/items?sort=id -p sort"),
        _ => format!("-u {url}/login --data=username=a&password=b -p username"),
    };
    let manner = rng.pick(&["", "--random-agent", "--random-agent --delay=0.3", "--tamper=space2comment"]);
    let technique = rng.pick(&["", "--technique=BU", "--technique=BE --level=2", "--level=3 --risk=2"]);
    let line = format!(
        "sqlmap --batch --flush-session --disable-coloring --output-dir={{dir}}/sqlmap {target} {manner} {technique}"
    );
    attack(&mut plan, world, rng, "sqlmap", &line);
    plan
}

fn wapiti(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("web-wapiti", "");
    let url = shop(&mut plan, world, rng);
    let modules =
        rng.pick(&["sql,xss", "exec,file", "sql,exec,xss,file,permanentxss", "timesql,xss,crlf,redirect", "all"]);
    let line = format!(
        "wapiti -u {url}/ -m {modules} --scope folder --flush-session --no-bugreport --max-scan-time {} --store-session {{dir}}/wapiti -f json -o {{dir}}/wapiti.json -v 1",
        rng.range(35, 55)
    );
    attack(&mut plan, world, rng, "wapiti", &line);
    plan
}

fn fuzz(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("web-fuzz", "");
    let url = shop(&mut plan, world, rng);
    let mut words: Vec<String> = FOLDERS.iter().map(|word| (*word).to_owned()).collect();
    for _ in 0..rng.range(150, 700) {
        let word = match rng.range(1, 3) {
            1 => format!("{}{}", rng.pick(&FOLDERS), rng.range(1, 99)),
            2 => format!("{}-{}", rng.pick(&FOLDERS), rng.pick(&FOLDERS)),
            _ => format!(
                "{}.{}",
                rng.pick(&FOLDERS),
                rng.pick(&["php", "bak", "old", "txt", "zip", "sql", "html", "asp"])
            ),
        };
        words.push(word);
    }
    let words = rng.shuffled(&words);
    plan.files.push(("paths".to_owned(), words.join("\n") + "\n"));
    let threads = rng.pick(&[1, 5, 20]);
    let (tool, line) = match rng.range(1, 4) {
        1 => (
            "ffuf",
            format!(
                "ffuf -s -maxtime 50 -t {threads} -p {} -w {{dir}}/paths -u {url}/FUZZ -mc 200,302,403",
                rng.pick(&["0.02", "0.1", "0.4"])
            ),
        ),
        2 => (
            "ffuf parameters",
            format!(
                "ffuf -s -maxtime 50 -t {threads} -p {} -w {{dir}}/paths -u {url}/search?FUZZ=1 -fs 0",
                rng.pick(&["0.02", "0.1", "0.4"])
            ),
        ),
        3 => (
            "gobuster",
            format!(
                "gobuster dir -q -z -u {url}/ -w {{dir}}/paths -t {threads} --delay {}",
                rng.pick(&["0ms", "20ms", "150ms"])
            ),
        ),
        _ => ("dirb", format!("dirb {url}/ {{dir}}/paths -S -r -w -z {}", rng.pick(&[1, 20, 80]))),
    };
    let name = tool.split(' ').next().unwrap_or_default();
    plan.environment = format!("{}-{name}", plan.environment);
    attack(&mut plan, world, rng, tool, &line);
    plan
}

const FOLDERS: [&str; 48] = [
    "admin",
    "login",
    "backup",
    "config",
    "db",
    "test",
    "dev",
    "old",
    "tmp",
    "uploads",
    "images",
    "css",
    "js",
    "api",
    "v1",
    "private",
    "secret",
    "phpmyadmin",
    "wp-admin",
    "wp-login",
    "cgi-bin",
    "server-status",
    ".git",
    ".env",
    ".htaccess",
    "web.config",
    "shell",
    "cmd",
    "console",
    "manager",
    "portal",
    "user",
    "users",
    "data",
    "dump",
    "logs",
    "install",
    "setup",
    "include",
    "lib",
    "docs",
    "robots",
    "sitemap",
    "index",
    "search",
    "item",
    "file",
    "comments",
];

fn nse(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    let mut plan = Plan::new("web-nse", "");
    let url = shop(&mut plan, world, rng);
    let port = url.rsplit(':').next().and_then(|rest| rest.split('/').next()).unwrap_or("80").to_owned();
    let scripts = rng.pick(&[
        "http-enum,http-sql-injection",
        "http-enum,http-vuln*",
        "http-shellshock,http-passwd,http-enum",
        "http-sql-injection,http-stored-xss,http-phpself-xss,http-dombased-xss",
    ]);
    let line = format!("nmap -n -Pn -p {port} --script {scripts} --host-timeout 60s {}", world.servers[0].v4);
    attack(&mut plan, world, rng, "nmap HTTP scripts", &line);
    plan
}

/// The lab's own attacker, who tries payloads of one kind among ordinary requests.
fn by_hand(world: &World, rng: &mut Rng, environment: &str, kind: &str) -> Plan {
    let mut plan = Plan::new(environment, "");
    let url = shop(&mut plan, world, rng);
    let line = format!(
        "{PYTHON} {{lab}}/web_attack.py --kind {kind} --url {url} --count {} --pause-ms {} --seed {}",
        rng.pick(&[15, 40, 120]),
        rng.pick(&[20, 150, 600, 1_500]),
        rng.range(1, 99_999)
    );
    attack(&mut plan, world, rng, &format!("script {kind}"), &line);
    plan
}

fn sqli(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    by_hand(world, rng, "web-sqli", "sqli")
}

fn xss(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    by_hand(world, rng, "web-xss", "xss")
}

fn traversal(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    by_hand(world, rng, "web-traversal", "traversal")
}

fn command(world: &World, rng: &mut Rng, _: &Wish) -> Plan {
    by_hand(world, rng, "web-command", "command")
}
