//! How many frames a second pass an interface with the agent on it, against one with a program that does nothing, by size of
//! frame. Sent by the bench program, as XDP live frames over veth in namespaces of their own; a round that loses a frame fails.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};

use super::{
    agent::{Agent, packets_received, pause},
    rounds::{at_least, over, spread},
};
use crate::{
    netns::{self, Namespace},
    process::{Group, Interrupt, quiet},
    workspace,
};

const ROUNDS: usize = 7;
/// Sizes of a frame on the wire, with its check sequence.
const SIZES: [u32; 3] = [64, 512, 1_518];
const FRAMES: u32 = 1_000_000;
/// With 64 bytes, of what the program that does nothing passes.
const OVER_EMPTY_MIN: f64 = 0.6;
/// Within so long the agent has read what its programs counted.
const READ: Duration = Duration::from_millis(2_500);

/// Somebody who sends, and the interface that takes it.
struct Lane {
    gateway: Namespace,
    sender: Namespace,
}

impl Lane {
    fn make(label: &str) -> Result<Self> {
        let gateway = Namespace::make(&format!("{label}-in"))?;
        let sender = Namespace::make(&format!("{label}-out"))?;
        // Nothing but what is sent shall pass.
        for space in [&gateway, &sender] {
            let off = [
                "-c",
                "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6",
            ];
            quiet(space.command(Path::new("sh")).args(off))?;
        }
        gateway.pair("lan0", &sender, "out0")?;
        gateway.ip(&["link", "set", "lan0", "up"])?;
        sender.ip(&["link", "set", "out0", "up"])?;
        Ok(Self { gateway, sender })
    }

    /// Frames that passed in a second of the sender's CPU, which does what the receiver does too.
    fn round(&self, bench: &Path, size: u32) -> Result<f64> {
        let before = packets_received(&self.gateway, "lan0")?;
        let mut command = self.sender.command(bench);
        let said = quiet(command.args(["send", "out0"]).args([size, FRAMES].map(|number| number.to_string())))?;
        let told: Value = serde_json::from_str(said.trim()).context("the sender says what is not JSON")?;
        let passed = packets_received(&self.gateway, "lan0")? - before;
        ensure!(passed == f64::from(FRAMES), "{passed} of {FRAMES} frames of {size} bytes passed");
        let secs = told["cpu_secs"].as_f64().context("the sender says no time")?;
        Ok(passed / secs)
    }
}

/// Puts the program that does nothing on an interface of a namespace, until the group is stopped.
pub(super) fn hold_empty(space: &Namespace, bench: &Path, mode: &str) -> Result<Group> {
    let mut group =
        Group::start("ids-bench", space.command(bench).args(["hold", "lan0", mode]).stdout(Stdio::piped()))?;
    let output = group.output().context("the bench program says nothing")?;
    let mut said = String::new();
    BufReader::new(output).read_line(&mut said).context("the bench program says nothing")?;
    ensure!(said.trim() == "held", "the empty program cannot be attached");
    Ok(group)
}

pub(super) fn measure(bench: &Path, binary: &Path, interrupt: &Interrupt) -> Result<Value> {
    netns::remove_stale()?;
    let dir = workspace::target_dir()?.join("bench/wire");
    let (ours, empty) = (Lane::make("ours")?, Lane::make("empty")?);
    let agent = Agent::start(&ours.gateway, binary, "native", "", &dir, interrupt)?;
    let mut held = hold_empty(&empty.gateway, bench, "native")?;
    let before = (agent.packets_seen()?, packets_received(&ours.gateway, "lan0")?);
    let (mut ratios, mut parts) = (Map::new(), Map::new());
    for size in SIZES {
        let (mut with_us, mut with_empty) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            interrupt.check()?;
            with_us.push(ours.round(bench, size)?);
            with_empty.push(empty.round(bench, size)?);
        }
        let share = over(&with_us, &with_empty);
        match size {
            64 => ratios.insert("over_empty".to_owned(), at_least(share, OVER_EMPTY_MIN)),
            _ => ratios.insert(format!("over_empty_{size}_bytes"), spread(share)),
        };
        parts.insert(format!("agent_{size}_bytes"), spread(with_us));
        parts.insert(format!("empty_{size}_bytes"), spread(with_empty));
    }
    pause(READ, interrupt)?;
    let seen = agent.packets_seen()? - before.0;
    let passed = packets_received(&ours.gateway, "lan0")? - before.1;
    ensure!(seen == passed, "the agent counted {seen} of {passed} frames");
    agent.stop()?;
    held.stop(Duration::from_secs(5))?;
    Ok(json!({ "ratios": ratios, "frames_per_cpu_sec": parts, "frames_counted": seen, "frames_passed": passed }))
}
