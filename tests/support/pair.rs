//! A sensor and its neighbour, joined by a wire in namespaces of their own, and a folder for what an agent reads and writes.

use std::{
    fs,
    net::{IpAddr, SocketAddr, TcpStream},
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    netns::{Namespace, veth},
    probe::Need,
    program::{self, Ran},
    running::Running,
};

/// What a pair takes.
pub const NEEDS: [Need<'static>; 4] = [Need::Root, Need::Tool("ip"), Need::Tool("nsenter"), Need::Tool("ethtool")];
/// Its ends, where a test does not say otherwise.
pub const SENSOR: &str = "10.83.0.1";
pub const PEER: &str = "10.83.0.2";
/// The sensor's end of the wire, and the neighbour's.
pub const WATCHED: &str = "sensor0";
pub const NEAR: &str = "near0";
/// Settings by which an agent leaves alone what an agent of this machine has learned, and its socket.
pub const APART: &str = "[state]\nenabled = false\n[evidence]\nkeep = 0\n[control]\nenabled = false\n";

#[derive(Debug)]
pub struct Pair {
    pub sensor: Namespace,
    pub peer: Namespace,
    folder: TempDir,
}

impl Pair {
    pub fn new(label: &str) -> Self {
        Self::at(label, SENSOR, PEER)
    }

    /// The same with other addresses, each in a network of 256.
    pub fn at(label: &str, sensor_address: &str, peer_address: &str) -> Self {
        let (sensor, peer) = (Namespace::new(label), Namespace::new(label));
        veth(&sensor, WATCHED, &format!("{sensor_address}/24"), &peer, NEAR, &format!("{peer_address}/24"));
        Self { sensor, peer, folder: tempfile::tempdir().unwrap() }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as an argument.
    pub fn arg(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Writes a file of the folder; gives its path as an argument.
    pub fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.arg(name)
    }

    /// The whole lines of a file of the folder; none where there is no such file. Half a line may be on its way.
    pub fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Starts an agent on the sensor; where the test has no configuration for it, with one that keeps it apart.
    pub fn start(&self, agent: &str, args: &[&str]) -> Running<'_> {
        if args.contains(&"--config") {
            return Running::start(agent, &self.sensor, WATCHED, args);
        }
        let own = self.write("own.toml", APART);
        Running::start(agent, &self.sensor, WATCHED, &[args, &["--config", &own]].concat())
    }

    /// The same, once it is ready.
    pub fn start_ready(&self, agent: &str, args: &[&str]) -> Running<'_> {
        let mut running = self.start(agent, args);
        running.await_page("/readyz", |code, _| code == 200);
        running
    }

    /// The agent's program as a client, told of the folder's `control.sock`.
    pub fn ask(&self, agent: &str, args: &[&str]) -> Ran {
        let socket = self.arg("control.sock");
        let args: Vec<&str> = args.iter().copied().chain(["--socket", &socket]).collect();
        Ran::of(&program::command(agent, &args).output().unwrap())
    }

    /// The neighbour tries ports of the sensor on which nobody listens: each is refused, which is what a scan sees.
    pub fn knock(&self, ports: Range<u16>) {
        let sensor: IpAddr = SENSOR.parse().unwrap();
        self.peer.run(|| {
            for port in ports {
                let tried = TcpStream::connect_timeout(&SocketAddr::new(sensor, port), Duration::from_secs(20));
                assert!(tried.is_err(), "somebody listens on port {port}");
            }
        });
    }
}
