//! What the agent told, and when somebody who reads its file could know: alerts by the address they name, and the times in which
//! it said that it sees less than it should.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Seek, SeekFrom},
    net::Ipv4Addr,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::attack::{Attack, Kind};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// A degraded view is told by then.
const TOLD_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, Default)]
pub(crate) struct Heard {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When an alert with this source, and of a flood with this target, was first read.
    sources: BTreeMap<String, Instant>,
    flooded: BTreeMap<String, Instant>,
    /// From a notice to the one that took it back, or to the end of the agent.
    degraded: Vec<(Instant, Option<Instant>)>,
    causes: BTreeMap<String, u32>,
    lines: u64,
    torn: u64,
}

/// What became of an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// So long after its first packet.
    Alerted(Duration),
    /// There is no alert, and the agent said in time that it does not see all.
    Excused,
    Missed,
}

impl Heard {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads whole lines as they are added, until `stop`.
    pub(crate) fn follow(&self, path: &Path, stop: &AtomicBool) {
        let mut at = 0;
        loop {
            // Once more behind the end.
            let last = stop.load(Ordering::Relaxed);
            let text = added(path, &mut at).unwrap_or_default();
            let now = Instant::now();
            for line in text.lines() {
                self.lock().take(line, now);
            }
            if last {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
    }

    /// The agent is gone, and what it said of itself with it.
    pub(crate) fn agent_ended(&self) {
        self.lock().restore(Instant::now());
    }

    pub(crate) fn fate(&self, attack: &Attack) -> Fate {
        let state = self.lock();
        let named = attack.named.to_string();
        let told = match attack.kind {
            Kind::Flood => state.flooded.get(&named),
            Kind::SynScan | Kind::UdpScan | Kind::Sweep | Kind::Exploit | Kind::Guessing => state.sources.get(&named),
        };
        if let Some(told) = told {
            return Fate::Alerted(told.saturating_duration_since(attack.began));
        }
        let by = attack.ended + TOLD_WITHIN;
        let is_excused =
            state.degraded.iter().any(|(from, until)| *from <= by && until.is_none_or(|until| until >= attack.began));
        if is_excused { Fate::Excused } else { Fate::Missed }
    }

    /// Addresses of which alerts say that they attack.
    pub(crate) fn accused(&self) -> Vec<String> {
        self.lock().sources.keys().cloned().collect()
    }

    /// Notices of a degraded view, by cause.
    pub(crate) fn notices(&self) -> (usize, BTreeMap<String, u32>) {
        let state = self.lock();
        (state.degraded.len(), state.causes.clone())
    }

    /// Lines read, and of these those that are no JSON.
    pub(crate) fn lines(&self) -> (u64, u64) {
        let state = self.lock();
        (state.lines, state.torn)
    }
}

impl State {
    fn take(&mut self, line: &str, now: Instant) {
        self.lines += 1;
        let Ok(line) = serde_json::from_str::<Value>(line) else {
            self.torn += 1;
            return;
        };
        let text = |pointer: &str| line.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        match (text("/ids/class"), text("/ids/kind")) {
            ("visibility", "degraded") => {
                if self.degraded.last().is_none_or(|(_, until)| until.is_some()) {
                    self.degraded.push((now, None));
                }
                for cause in line.pointer("/ids/causes").and_then(Value::as_array).into_iter().flatten() {
                    *self.causes.entry(cause.as_str().unwrap_or_default().to_owned()).or_default() += 1;
                }
            }
            ("visibility", _) => self.restore(now),
            (class, _) => {
                // Of a flood it is the target that is known.
                let (table, name) = match class {
                    "flood" => (&mut self.flooded, text("/dest_ip")),
                    _ => (&mut self.sources, text("/src_ip")),
                };
                let name = name.parse::<Ipv4Addr>().map_or_else(|_| name.to_owned(), |address| address.to_string());
                table.entry(name).or_insert(now);
            }
        }
    }

    fn restore(&mut self, now: Instant) {
        if let Some((_, until)) = self.degraded.last_mut() {
            until.get_or_insert(now);
        }
    }
}

/// Whole lines behind `at`. Where the agent took back half a batch, what was read of it stays read.
fn added(path: &Path, at: &mut u64) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    *at = (*at).min(file.metadata()?.len());
    file.seek(SeekFrom::Start(*at))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    *at += whole as u64;
    Ok(String::from_utf8_lossy(&bytes[..whole]).into_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        net::Ipv4Addr,
        time::{Duration, Instant},
    };

    use super::{Attack, Fate, Heard, Kind};

    #[test]
    fn an_attack_is_alerted_by_its_address_excused_by_a_notice_in_time_and_missed_else() {
        let (heard, start) = (Heard::default(), Instant::now());
        let at = |secs| start + Duration::from_secs(secs);
        let attack = |last: u8, secs| Attack {
            kind: Kind::SynScan,
            named: Ipv4Addr::new(45, 33, 0, last),
            began: at(secs),
            ended: at(secs + 1),
        };
        for (secs, line) in [
            (3, r#"{"src_ip":"45.33.0.1","ids":{"class":"port_scan"}}"#),
            (20, r#"{"ids":{"class":"visibility","kind":"degraded","causes":["stalled"]}}"#),
            (25, r#"{"ids":{"class":"visibility","kind":"restored"}}"#),
            (26, r#"{"dest_ip":"10.84.255.1","src_ip":"44.0.0.1","ids":{"class":"flood"}}"#),
            (27, "half a li"),
        ] {
            heard.lock().take(line, at(secs));
        }
        assert_eq!(heard.fate(&attack(1, 1)), Fate::Alerted(Duration::from_secs(2)));
        assert_eq!(heard.fate(&attack(2, 14)), Fate::Excused, "told five seconds behind its end");
        assert_eq!(heard.fate(&attack(3, 24)), Fate::Excused, "told already");
        assert_eq!(heard.fate(&attack(4, 13)), Fate::Missed);
        assert_eq!(heard.fate(&attack(5, 26)), Fate::Missed);
        let flood = Attack { kind: Kind::Flood, named: Ipv4Addr::new(10, 84, 255, 1), ..attack(0, 25) };
        assert_eq!(heard.fate(&flood), Fate::Alerted(Duration::from_secs(1)));
        assert_eq!((heard.accused(), heard.lines()), (vec!["45.33.0.1".to_owned()], (5, 1)));
    }
}
