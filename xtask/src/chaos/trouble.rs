//! How each trouble is made and undone, and what must hold around it.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;

use super::{
    heard::Heard,
    schedule::Trouble,
    sensor::{Reloaded, Sensor},
    spoil,
    stage::{Stage, WATCHED},
    wire::Wire,
};
use crate::process::{Interrupt, quiet};

/// An interface that is made anew is attached to by then.
const ATTACHED_WITHIN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Until what it missed is read and counted.
const AFTERMATH: Duration = Duration::from_secs(5);
/// Into a flood before the agent is stopped.
const FLOOD_FIRST: Duration = Duration::from_millis(500);

pub(super) struct Scene<'a> {
    pub(super) stage: &'a Stage,
    pub(super) sensor: Sensor<'a>,
    pub(super) heard: &'a Heard,
    pub(super) wire: &'a Wire,
    pub(super) interrupt: &'a Interrupt,
    /// Begins a flood of so many packets a second, for so long.
    pub(super) flood: &'a dyn Fn(u32, Duration),
    /// Promises that did not hold, in words.
    pub(super) broken: Vec<String>,
    pub(super) starts: u32,
    /// From the making of an interface until it was attached to, at worst.
    pub(super) attached: Duration,
    /// From a start until the agent was ready, at worst.
    pub(super) ready: Duration,
}

impl Scene<'_> {
    /// Has it befall the agent, undoes it, and says what was seen.
    pub(super) fn befall(&mut self, trouble: Trouble) -> Result<String> {
        match trouble {
            Trouble::Kill { away } => self.kill(away),
            Trouble::Restart => self.restart(),
            Trouble::Freeze { lasts } => self.freeze(lasts),
            Trouble::Unplug { away } => self.unplug(away),
            Trouble::BadConfig { how } => self.bad_config(how),
            Trouble::BadModel { how } => self.bad_model(how),
            Trouble::FullDisk { lasts } => self.full_disk(lasts),
            Trouble::Flood { per_sec, lasts } => {
                (self.flood)(per_sec, lasts);
                Ok(format!("{per_sec} a second for {:.1} s from now on", lasts.as_secs_f32()))
            }
            Trouble::RingStall { per_sec, lasts } => {
                let lost_before = self.slots_lost()?;
                (self.flood)(per_sec, FLOOD_FIRST + lasts);
                self.pause(FLOOD_FIRST)?;
                self.freeze(lasts)?;
                self.pause(AFTERMATH)?;
                let lost = self.slots_lost()? - lost_before;
                Ok(format!("{:.1} s at {per_sec} a second; the ring lost slots of {lost} packets", lasts.as_secs_f32()))
            }
        }
    }

    fn kill(&mut self, away: Duration) -> Result<String> {
        self.sensor.kill()?;
        self.heard.agent_ended();
        self.pause(away)?;
        let ready = self.start()?;
        Ok(format!("nobody there for {:.1} s, ready {:.1} s after the start", away.as_secs_f32(), ready.as_secs_f32()))
    }

    fn restart(&mut self) -> Result<String> {
        let asked = Instant::now();
        let status = self.sensor.stop()?;
        let took = asked.elapsed();
        if !status.success() {
            self.broken.push(format!("asked to end, the agent ended with {status}"));
        }
        self.heard.agent_ended();
        let ready = self.start()?;
        Ok(format!("ended within {:.1} s, ready {:.1} s after the start", took.as_secs_f32(), ready.as_secs_f32()))
    }

    fn start(&mut self) -> Result<Duration> {
        let ready = self.sensor.again(self.interrupt)?;
        self.starts += 1;
        self.ready = self.ready.max(ready);
        Ok(ready)
    }

    fn freeze(&mut self, lasts: Duration) -> Result<String> {
        self.sensor.signal(Signal::STOP);
        let outcome = self.pause(lasts);
        self.sensor.signal(Signal::CONT);
        outcome?;
        let went_on = Instant::now();
        self.await_answer()?;
        Ok(format!("{:.1} s, answers {:.1} s later", lasts.as_secs_f32(), went_on.elapsed().as_secs_f32()))
    }

    fn unplug(&mut self, away: Duration) -> Result<String> {
        let ends = self.wire.ends();
        self.stage.unplug()?;
        self.until("the end of the interface is heard of", |scene| Ok(scene.wire.ends() > ends))?;
        self.pause(away)?;
        let made = Instant::now();
        self.stage.plug()?;
        self.until("the agent attaches to the new interface", |scene| scene.is_attached())?;
        let attached = made.elapsed();
        self.attached = self.attached.max(attached);
        if attached > ATTACHED_WITHIN {
            self.broken.push(format!("the new interface was attached to after {:.1} s", attached.as_secs_f32()));
        }
        Ok(format!("away for {:.1} s, attached {:.2} s after it was made", away.as_secs_f32(), attached.as_secs_f32()))
    }

    fn is_attached(&self) -> Result<bool> {
        let mut command = self.stage.gateway.command(Path::new("ip"));
        Ok(quiet(command.args(["-j", "link", "show", "dev", WATCHED]))?.contains("\"xdp\""))
    }

    fn bad_config(&mut self, how: u64) -> Result<String> {
        let path = self.stage.path("config.toml");
        let what = spoil::config(&path, how)?;
        let said = self.refused(how, "config.toml");
        self.stage.configure()?;
        self.unchanged()?;
        Ok(format!("{what}: {}", said?))
    }

    fn bad_model(&mut self, how: u64) -> Result<String> {
        let spoilt = spoil::model(&self.stage.path("models"), how)?;
        let said = self.refused(how, "model");
        spoilt.undo()?;
        self.unchanged()?;
        Ok(format!("{}: {}", spoilt.what, said?))
    }

    /// Has everything read again, by the socket or by a signal, and expects a refusal that names what is wrong.
    fn refused(&mut self, how: u64, names: &str) -> Result<String> {
        let refusals = self.sensor.refusals();
        let (by, said) = match how >> 32 & 1 {
            0 => match self.sensor.reload()? {
                Reloaded::Refused(said) => ("reload", said),
                Reloaded::Done { .. } => {
                    self.broken.push(format!("a spoilt {names} was taken"));
                    return Ok("taken".to_owned());
                }
            },
            _ => {
                self.sensor.signal(Signal::HUP);
                self.until("SIGHUP is heard of", |scene| Ok(scene.sensor.refusals() > refusals))?;
                ("SIGHUP", self.sensor.last_refusal())
            }
        };
        if !said.contains(names) {
            self.broken.push(format!("a refusal does not name the {names}: {said}"));
        }
        Ok(format!("refused on {by}"))
    }

    /// With the files as they were, nothing is there to be changed: what was in force still is.
    fn unchanged(&mut self) -> Result<()> {
        match self.sensor.reload()? {
            Reloaded::Done { changed: false } => {}
            Reloaded::Done { changed: true } => self.broken.push("a refused reload left something behind".to_owned()),
            Reloaded::Refused(said) => self.broken.push(format!("sound files are refused after spoilt ones: {said}")),
        }
        Ok(())
    }

    fn full_disk(&mut self, lasts: Duration) -> Result<String> {
        let ballast = self.stage.path("alerts/ballast");
        let dropped_before = self.dropped()?;
        let mut file = File::create(&ballast).context("the disk of the alerts")?;
        for size in [1 << 16, 1 << 10, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        let outcome = self.pause(lasts);
        fs::remove_file(&ballast).context("the disk of the alerts")?;
        outcome?;
        let dropped = self.dropped()? - dropped_before;
        Ok(format!("full for {:.1} s; {dropped} lines dropped and counted", lasts.as_secs_f32()))
    }

    fn dropped(&self) -> Result<f64> {
        let page = self.sensor.page()?;
        Ok(page.sum("ids_sink_lines_dropped_total", &[("sink", "alerts")]).unwrap_or_default())
    }

    fn slots_lost(&self) -> Result<f64> {
        Ok(self.sensor.page()?.sum("ids_slots_lost_packets_total", &[]).unwrap_or_default())
    }

    fn await_answer(&mut self) -> Result<()> {
        self.until("the agent answers", |scene| {
            scene.sensor.check()?;
            Ok(scene.sensor.page().is_ok())
        })
    }

    fn until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> Result<bool>) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self)? {
            self.interrupt.check()?;
            ensure!(Instant::now() < deadline, "after {} s it is not so that {what}", PATIENCE.as_secs());
            thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    pub(super) fn pause(&self, lasts: Duration) -> Result<()> {
        let until = Instant::now() + lasts;
        while Instant::now() < until {
            self.interrupt.check()?;
            thread::sleep(until.saturating_duration_since(Instant::now()).min(Duration::from_millis(100)));
        }
        Ok(())
    }
}
