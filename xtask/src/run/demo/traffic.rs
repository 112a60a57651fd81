//! The lab's traffic: real servers, a client that goes about its day, and one port scan. Knows nothing of the agent.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::network::{Network, SERVER, Space};
use crate::process::{Group, Interrupt, quiet};

const SITE: &str = "www.lab.test";
/// No request of the client may hang longer than this.
const REQUEST_SECS_MAX: &str = "8";
/// A new request every so often; a person with a browser and some devices.
const REQUEST_EVERY: Duration = Duration::from_millis(400);
/// The scan ends by itself long before this.
const SCAN_SECS_MAX: u64 = 30;

/// The servers, ended when this is dropped.
pub(super) struct Servers {
    _running: Vec<Group>,
}

impl Servers {
    /// Starts a web server, a TLS server and a name server, and waits until each answers.
    pub(super) fn start(network: &Network, dir: &Path, interrupt: &Interrupt) -> Result<Self> {
        let site = dir.join("site");
        fs::create_dir_all(&site).with_context(|| format!("`{}` cannot be made", site.display()))?;
        for (name, bytes) in [("index.html", 3_000), ("image.bin", 180_000), ("update.bin", 6_000_000)] {
            fs::write(site.join(name), text(bytes)).with_context(|| format!("`{name}` cannot be written"))?;
        }
        let (key, certificate) = certificate(dir)?;
        let web = Group::start(
            "web server",
            silent(network.command(Space::Server, Path::new("python3")))
                .args(["-m", "http.server", "--protocol", "HTTP/1.1", "--bind", "::", "80", "--directory"])
                .arg(&site),
        )?;
        let tls = Group::start(
            "TLS server",
            silent(network.command(Space::Server, Path::new("openssl")))
                .args(["s_server", "-quiet", "-WWW", "-accept", "443", "-key"])
                .arg(&key)
                .arg("-cert")
                .arg(&certificate)
                .current_dir(&site),
        )?;
        let names = Group::start(
            "name server",
            silent(network.command(Space::Server, Path::new("dnsmasq"))).args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--pid-file=",
                "--user=root",
                &format!("--host-record={SITE},{},{}", SERVER[0], SERVER[1]),
                "--txt-record=lab.test,v=spf1 -all",
            ]),
        )?;
        let mut servers = Self { _running: vec![web, tls, names] };
        for request in Request::ALL {
            servers.wait_for(network, request, interrupt)?;
        }
        Ok(servers)
    }

    fn wait_for(&mut self, network: &Network, request: Request, interrupt: &Interrupt) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let mut command = request.command(network);
            match quiet(&mut command) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() >= deadline => return Err(error.context("a server of the lab is silent")),
                Err(_) => {
                    interrupt.check()?;
                    std::thread::sleep(Duration::from_millis(100));
                }
            }
        }
    }
}

/// What the client does, over and over.
#[derive(Clone, Copy)]
enum Request {
    Page,
    Image,
    Page6,
    Secure,
    Lookup,
    Lookup6,
    Ping,
    Ping6,
}

impl Request {
    const ALL: [Self; 8] =
        [Self::Lookup, Self::Page, Self::Image, Self::Lookup6, Self::Secure, Self::Ping, Self::Page6, Self::Ping6];

    fn command(self, network: &Network) -> Command {
        let client = |program: &str| network.command(Space::Client, Path::new(program));
        let curl = |url: String| {
            let mut command = client("curl");
            command.args(["-sSf", "-o", "/dev/null", "--max-time", REQUEST_SECS_MAX, "--noproxy", "*"]);
            for port in [80, 443] {
                command.args(["--resolve", &format!("{SITE}:{port}:{}", SERVER[0])]);
            }
            command.arg(url);
            command
        };
        let dig = |kind: &str| {
            let mut command = client("dig");
            command.args([&format!("@{}", SERVER[0]), "+tries=2", "+time=2", "+short", SITE, kind]);
            command
        };
        let ping = |address: &str| {
            let mut command = client("ping");
            command.args(["-n", "-q", "-c", "3", "-i", "0.3", "-W", "2", address]);
            command
        };
        match self {
            Self::Page => curl(format!("http://{SITE}/index.html")),
            Self::Image => curl(format!("http://{SITE}/image.bin")),
            Self::Page6 => curl(format!("http://[{}]/index.html", SERVER[1])),
            Self::Secure => {
                let mut command = curl(format!("https://{SITE}/image.bin"));
                // The lab's certificate is its own; what matters here is the handshake on the wire.
                command.arg("--insecure");
                command
            }
            Self::Lookup => dig("A"),
            Self::Lookup6 => dig("AAAA"),
            Self::Ping => ping(SERVER[0]),
            Self::Ping6 => ping(SERVER[1]),
        }
    }
}

/// The client's day: a request now and then, and one long download all the while.
pub(super) struct Client {
    running: Vec<Group>,
    download: Group,
    next: usize,
    next_at: Instant,
    requests: u32,
    failed: u32,
}

impl Client {
    pub(super) fn start(network: &Network) -> Result<Self> {
        let download = Group::start(
            "long download",
            silent(network.command(Space::Client, Path::new("curl")))
                .args(["-sSf", "-o", "/dev/null", "--limit-rate", "50k", "--noproxy", "*"])
                .arg(format!("http://{}/update.bin", SERVER[0])),
        )?;
        Ok(Self { running: Vec::new(), download, next: 0, next_at: Instant::now(), requests: 0, failed: 0 })
    }

    /// Starts the next request when it is due, and counts those that ended.
    pub(super) fn tick(&mut self, network: &Network, now: Instant) -> Result<()> {
        let mut ended = Vec::new();
        for (index, group) in self.running.iter_mut().enumerate() {
            if let Some(status) = group.ended()? {
                ended.push(index);
                self.failed += u32::from(!status.success());
            }
        }
        for index in ended.into_iter().rev() {
            self.running.swap_remove(index);
        }
        if self.download.ended()?.is_some_and(|status| !status.success()) {
            bail!("the client's long download broke off: the agent must never hold up traffic");
        }
        if now < self.next_at {
            return Ok(());
        }
        let request = Request::ALL[self.next % Request::ALL.len()];
        self.next += 1;
        self.next_at = now + REQUEST_EVERY;
        self.requests += 1;
        self.running.push(Group::start("request", &mut silent(request.command(network)))?);
        Ok(())
    }
}

impl Client {
    /// Ends what still runs. Gives the number of requests that came to an end, and of those that failed.
    pub(super) fn stop(self) -> (u32, u32) {
        let unfinished = u32::try_from(self.running.len()).unwrap_or_default();
        (self.requests - unfinished, self.failed)
    }
}

/// One `nmap -sS` over the server's first 1,000 ports, bounded in time and rate by nmap itself.
pub(super) struct Scan {
    nmap: Group,
    started: Instant,
    report: PathBuf,
}

impl Scan {
    pub(super) const LINE: &'static str = "nmap -sS -n -Pn -T4 --max-rate 300 -p 1-1000";

    pub(super) fn start(network: &Network, dir: &Path) -> Result<Self> {
        let report = dir.join("nmap.txt");
        let timeout = format!("{SCAN_SECS_MAX}s");
        let mut words = Self::LINE.split(' ');
        let program = words.next().unwrap_or_default();
        let nmap = Group::start(
            "nmap",
            silent(network.command(Space::Attacker, Path::new(program)))
                .args(words)
                .args(["--host-timeout", &timeout, "-oN"])
                .arg(&report)
                .arg(SERVER[0]),
        )?;
        Ok(Self { nmap, started: Instant::now(), report })
    }

    /// What nmap found and how long it took, once it is done.
    pub(super) fn done(&mut self) -> Result<Option<(String, Duration)>> {
        let took = self.started.elapsed();
        let Some(status) = self.nmap.ended()? else {
            if took > Duration::from_secs(SCAN_SECS_MAX + 10) {
                bail!("nmap is still running after {} s", took.as_secs());
            }
            return Ok(None);
        };
        if !status.success() {
            bail!("nmap failed ({status})");
        }
        let report = fs::read_to_string(&self.report).context("nmap wrote no report")?;
        let open: Vec<&str> = report
            .lines()
            .filter(|line| line.contains("/tcp") && line.contains("open"))
            .filter_map(|line| line.split('/').next())
            .collect();
        Ok(Some((format!("open ports {}", open.join(", ")), took)))
    }
}

fn silent(mut command: Command) -> Command {
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Readable filler, so that the bytes of a page look like a page.
fn text(bytes: usize) -> Vec<u8> {
    b"The gateway forwards this line and the agent counts it.\n".iter().copied().cycle().take(bytes).collect()
}

fn certificate(dir: &Path) -> Result<(PathBuf, PathBuf)> {
    let key = dir.join("key.pem");
    let certificate = dir.join("certificate.pem");
    quiet(
        Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"])
            .args(["-subj", &format!("/CN={SITE}"), "-keyout"])
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    )?;
    Ok((key, certificate))
}
