//! Hands the engine's state to a thread of its own that writes it: a slow disk never holds up the line.

use std::{
    io,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{Builder, Scope},
    time::Duration,
};

use crate::{
    clock,
    detect::Engine,
    sandbox,
    state::{StateImage, StateStore},
    supervisor::{Badge, Roster},
};

/// Thirty-two megabytes, synced, to a worn-out card.
const PATIENCE: Duration = Duration::from_secs(120);

/// The judging side: takes images of the engine when they are due.
pub(super) struct Keeping {
    store: Arc<StateStore>,
    to_writer: SyncSender<StateImage>,
    due_ns: Option<u64>,
}

impl Keeping {
    /// Starts the writer.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        store: &Arc<StateStore>,
        roster: &Roster,
    ) -> io::Result<Self> {
        // One image is being written, none waits: the next one is newer anyway.
        let (to_writer, images) = sync_channel(0);
        let (theirs, roster) = (Arc::clone(store), roster.clone());
        Builder::new().name("state".to_owned()).spawn_scoped(scope, move || {
            sandbox::surrender();
            write(&images, &theirs, &roster.enter_patient("state", PATIENCE));
        })?;
        Ok(Self { store: Arc::clone(store), to_writer, due_ns: None })
    }

    /// After a tick: hands over an image if one is due and the writer is free.
    pub(super) fn tick(&mut self, engine: &Engine) {
        let now_ns = engine.now_ns();
        let due_ns = *self.due_ns.get_or_insert(now_ns.saturating_add(self.store.every_ns()));
        if now_ns < due_ns {
            return;
        }
        self.due_ns = Some(now_ns.saturating_add(self.store.every_ns()));
        match self.to_writer.try_send(image(engine)) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => self.store.count_skipped(),
        }
    }

    /// The last image, which is waited for.
    pub(super) fn finish(self, engine: &Engine) {
        if self.to_writer.send(image(engine)).is_err() {
            self.store.count_skipped();
        }
    }
}

fn image(engine: &Engine) -> StateImage {
    StateImage { source_ns: engine.now_ns(), wall_ns: clock::wall_ns(), parts: engine.save() }
}

fn write(images: &Receiver<StateImage>, store: &StateStore, badge: &Badge) {
    for image in images {
        badge.works();
        match store.write(&image) {
            Ok(()) => tracing::debug!(file = %store.path().display(), bytes = store.stats().bytes, "state written"),
            Err(error) => tracing::warn!("{error}; what was learned since the last time is lost at a restart"),
        }
        badge.waits();
    }
}
