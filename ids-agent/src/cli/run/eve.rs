//! What `run` needs to hear Suricata: the follower's thread, and the source into whose batches its events go.

use std::sync::Arc;

use super::Failure;
use crate::{
    clock::{self, Axis},
    config::{EveBegin, EveFiletype, SuricataSettings},
    eve::{EveKept, EveReader, KeptPlace, Start},
    http::Metrics,
    pipeline::{EveFollowing, EveParts, EveSettling},
    source::{
        eve::{EveOffset, EveSource, queue},
        live::LiveSource,
    },
    state::StateStore,
    supervisor::Roster,
};

/// A source that hears, and what makes it hear; nothing of it where no eve.json is named.
pub(super) struct Hearing {
    pub(super) source: EveSource<LiveSource>,
    pub(super) settling: Option<EveSettling>,
    pub(super) following: Option<EveFollowing>,
}

impl Hearing {
    pub(super) fn start(
        source: LiveSource,
        settings: &SuricataSettings,
        state: Option<&StateStore>,
        metrics: &Arc<Metrics>,
        roster: &Roster,
    ) -> Result<Self, Failure> {
        let Some(path) = &settings.eve_file() else {
            return Ok(Self { source: EveSource::unheard(source), settling: None, following: None });
        };
        // A socket and a FIFO keep nothing that could be gone back to.
        let keeps = settings.eve_filetype == EveFiletype::Regular;
        let dir = state.filter(|_| keeps).and_then(|store| store.path().parent());
        let place = dir.map(|dir| KeptPlace::new(dir, path));
        let kept = place.as_ref().and_then(KeptPlace::load);
        let offset = EveOffset::new(kept.as_ref().map(|kept| kept.offset_ns), Axis::Boottime);
        let positions = kept.as_ref().map(|kept| kept.positions.clone()).unwrap_or_default();
        // Before anything is told: what an agent that is killed early has told comes again under the same ids.
        let known = EveKept { positions: positions.clone(), offset_ns: offset.ns() };
        if let Some(place) = place.as_ref().filter(|_| kept.as_ref() != Some(&known))
            && let Err(error) = place.write(&known, clock::boottime_ns())
        {
            tracing::warn!("{error}; lines of eve.json may come again after a restart, under other ids");
        }
        let start = match settings.eve_begin {
            _ if !positions.is_empty() => Start::After(positions),
            EveBegin::End => Start::End,
            EveBegin::Start => Start::Beginning,
        };
        tracing::info!(
            path = %path.display(),
            filetype = settings.eve_filetype.label(),
            begins = match start {
                Start::After(_) => "where the last run got",
                Start::End => "with what is written from now on",
                Start::Beginning => "with the first line",
            },
            "eve.json is followed"
        );
        let (to_source, chunks) = queue();
        let settling = EveSettling::default();
        let parts = EveParts {
            reader: EveReader::new(path, settings.eve_filetype, start),
            to_source,
            offset: offset.clone(),
            place,
            metrics: Some(Arc::clone(metrics)),
            settling: settling.clone(),
        };
        let following = EveFollowing::start(parts, roster)
            .map_err(|error| Failure::Other(format!("cannot start thread `eve`: {error}")))?;
        let source = EveSource::new(source, chunks, offset, Axis::Boottime);
        Ok(Self { source, settling: Some(settling), following: Some(following) })
    }
}
