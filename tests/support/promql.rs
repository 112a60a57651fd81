//! A Prometheus inside a namespace, and what it answers. Expects nothing of the answers.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use serde_json::Value;

use crate::netns::Namespace;

/// Where it listens, inside the namespace.
const ADDRESS: &str = "127.0.0.1:9090";

/// A Prometheus; it is killed when the value goes.
pub struct Prometheus<'a> {
    child: Child,
    space: &'a Namespace,
}

impl<'a> Prometheus<'a> {
    /// Starts it with a configuration; `data` is where it keeps what it scrapes.
    pub fn start(space: &'a Namespace, config: &Path, data: &Path) -> Self {
        let mut command = space.command("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", data.display()));
        command.args([&format!("--web.listen-address={ADDRESS}"), "--log.level=error"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Self { child, space }
    }

    /// What a page of its interface says; nothing where it does not answer.
    pub fn get(&self, path: &str) -> Option<Value> {
        self.space.run(|| {
            let address: SocketAddr = ADDRESS.parse().unwrap();
            let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).ok()?;
            stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
            // The older version of the protocol has the body in one piece.
            write!(stream, "GET {path} HTTP/1.0\r\nHost: {ADDRESS}\r\n\r\n").ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
        })
    }

    /// The values of an expression as it stands now; the error where it is none.
    pub fn ask(&self, expression: &str) -> Result<Vec<f64>, String> {
        let Some(answer) = self.get(&format!("/api/v1/query?query={}", encoded(expression))) else {
            return Err("no answer".to_owned());
        };
        if answer["status"] != "success" {
            return Err(answer["error"].to_string());
        }
        let result = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        // Of one moment: `[time, "value"]`.
        Ok(result.iter().filter_map(|series| series["value"][1].as_str()?.parse().ok()).collect())
    }
}

impl Drop for Prometheus<'_> {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
