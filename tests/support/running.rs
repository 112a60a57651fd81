//! An agent that runs in a namespace: its pages, signals to it, and its end. Expects nothing but that it goes on.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{cgroup::Group, netns::Namespace, program::Ran};

/// Where its pages are, inside the namespace.
pub const PAGES: &str = "127.0.0.1:9469";

/// An agent in a namespace; it is killed when the value goes.
pub struct Running<'a> {
    child: Child,
    space: &'a Namespace,
}

impl<'a> Running<'a> {
    /// Starts `program run` on an interface of the namespace.
    pub fn start(program: &str, space: &'a Namespace, interface: &str, args: &[&str]) -> Self {
        Self::start_told(program, space, interface, args, &[])
    }

    /// The same, with something in its environment.
    pub fn start_told(
        program: &str,
        space: &'a Namespace,
        interface: &str,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        Self::spawn(space.command(program), space, interface, args, environment)
    }

    /// The same within a control group.
    pub fn start_in(group: &Group, program: &str, space: &'a Namespace, interface: &str, args: &[&str]) -> Self {
        Self::spawn(group.holding(&space.command(program)), space, interface, args, &[])
    }

    fn spawn(
        mut command: Command,
        space: &'a Namespace,
        interface: &str,
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        command.args(["run", "--interface", interface, "--metrics", PAGES]).args(args).env("NO_COLOR", "1");
        command.envs(environment.iter().copied());
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        Self { child, space }
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Status and body of a page; nothing where there is no answer.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        self.space.run(|| {
            let address: SocketAddr = PAGES.parse().unwrap();
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            let code = answer.split(' ').nth(1)?.parse().ok()?;
            Some((code, answer.split_once("\r\n\r\n")?.1.to_owned()))
        })
    }

    /// Waits until a page says what is wanted.
    #[track_caller]
    pub fn await_page(&mut self, path: &str, wanted: impl Fn(u16, &str) -> bool) -> String {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            if let Some((code, body)) = self.get(path)
                && wanted(code, &body)
            {
                return body;
            }
            assert!(self.child.try_wait().unwrap().is_none(), "the agent ended");
            assert!(Instant::now() < deadline, "{path} never said so: {:?}", self.get(path));
            thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits for its end; gives what it said.
    pub fn end(mut self) -> Ran {
        let deadline = Instant::now() + Duration::from_secs(30);
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the agent does not end");
            thread::sleep(Duration::from_millis(50));
        }
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        Ran { code: self.child.wait().unwrap().code(), out, err }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The value of one series on the metrics page; zero where there is none.
pub fn value(page: &str, series: &str) -> f64 {
    let line = page.lines().find(|line| line.starts_with(series) && line[series.len()..].starts_with(' '));
    line.and_then(|line| line.rsplit(' ').next()).map_or(0.0, |text| text.parse().unwrap())
}

/// The sum of all series of a family on the metrics page, or of those whose labels begin as given: `family` or
/// `family{label="value"`.
pub fn sum(page: &str, family: &str) -> f64 {
    let of = |line: &&str| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ',', '}', ' ']));
    page.lines().filter(of).map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// Waits until something is so; says what it was where it never is.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}
