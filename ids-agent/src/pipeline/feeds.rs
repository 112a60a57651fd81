//! Keeps threat intelligence fresh on a thread of its own: reading a feed never holds up the line.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use crate::{
    http::Metrics,
    intel::{self, Feeds, Refresh},
    sandbox,
    supervisor::{Badge, Roster},
};

/// Millions of indicators take a small board so long.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often the metrics are brought up to date.
const SHOW_EVERY: Duration = Duration::from_secs(5);

/// Asks for the feeds to be read again. The thread ends when nobody is left who could ask.
#[derive(Clone, Debug)]
pub struct FeedKeeper {
    ask: SyncSender<()>,
}

impl FeedKeeper {
    /// Looks at the files every `poll_secs`, unless that is zero, and whenever it is asked to.
    pub fn start(feeds: Feeds, poll_secs: u64, metrics: Option<Arc<Metrics>>, roster: &Roster) -> io::Result<Self> {
        // One request waits: another one would ask for the same.
        let (ask, asked) = sync_channel(1);
        let roster = roster.clone();
        thread::Builder::new().name("feeds".to_owned()).spawn(move || {
            sandbox::surrender();
            keep(feeds, poll_secs, metrics.as_deref(), &asked, &roster.enter_patient("feeds", PATIENCE));
        })?;
        Ok(Self { ask })
    }

    /// Has every feed read again, changed or not.
    pub fn ask_reload(&self) {
        // Full means that it is asked for already.
        let _ = self.ask.try_send(());
    }
}

fn keep(mut feeds: Feeds, poll_secs: u64, metrics: Option<&Metrics>, asked: &Receiver<()>, badge: &Badge) {
    let mut waited_secs = 0;
    loop {
        if let Some(metrics) = metrics {
            metrics.show_feeds(&feeds.statuses(), feeds.shelf().hits());
        }
        badge.waits();
        let which = match asked.recv_timeout(SHOW_EVERY) {
            Ok(()) => Refresh::All,
            Err(RecvTimeoutError::Timeout) => {
                waited_secs += SHOW_EVERY.as_secs();
                if poll_secs == 0 || waited_secs < poll_secs {
                    continue;
                }
                Refresh::Changed
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        waited_secs = 0;
        badge.works();
        intel::log(&feeds.refresh(which));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::fs;

    use super::*;
    use crate::{
        clock::Stopwatch,
        config::{FeedKind, FeedSettings, IntelSettings},
    };

    #[test]
    fn feeds_are_read_again_when_somebody_asks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("malware.txt");
        fs::write(&path, "evil.net\n").unwrap();
        let feed =
            FeedSettings { name: "a".to_owned(), path: path.clone(), kind: FeedKind::Auto, category: None, trust: 1.0 };
        let settings = IntelSettings { feeds: vec![feed], ..IntelSettings::default() };
        let mut feeds = Feeds::new(&settings, 1).unwrap();
        feeds.refresh(Refresh::All);
        let shelf = feeds.shelf();
        let metrics = Arc::new(Metrics::new().unwrap());
        let keeper = FeedKeeper::start(feeds, 0, Some(Arc::clone(&metrics)), &Roster::default()).unwrap();
        fs::write(&path, "evil.net\nevil.org\n").unwrap();
        keeper.ask_reload();
        let watch = Stopwatch::start();
        let shown = |line: &str| metrics.render().unwrap().contains(line);
        while !(shelf.store().len() == 2 && shown("ids_intel_indicators{feed=\"a\"} 2")) {
            assert!(watch.elapsed() < Duration::from_secs(60), "not read again");
            thread::yield_now();
        }
        assert!(shown("ids_intel_loads_total{feed=\"a\"} 2"));
        assert!(shown("ids_intel_refusals_total{feed=\"a\"} 0"));
    }
}
