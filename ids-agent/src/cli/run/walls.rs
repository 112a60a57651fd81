//! What the sandbox is told of this run: which files it reads and writes. Which walls there are stands in `sandbox`.

use std::path::Path;

use crate::{
    cli::{Failure, inputs::is_dash, parts},
    config::{Config, EveFiletype},
    http::Metrics,
    models,
    sandbox::{self, Beside, Entered, Part, Reach},
};

/// Gives up rights; to be called once everything is attached and before there is a second thread.
pub(super) fn enter(config: &Config, config_file: Option<&Path>) -> Result<Entered, Failure> {
    let beside = if config.suricata.manage { Beside::Suricata } else { Beside::Nothing };
    sandbox::enter(&config.sandbox, reach(config, config_file), beside).map_err(Failure::other)
}

/// Puts up the walls, and says what holds.
pub(super) fn close(entered: Entered, metrics: &Metrics) -> Result<(), Failure> {
    let parts = entered.close().map_err(Failure::other)?;
    metrics.show_sandbox(parts.iter().map(|part| (part.name, part.holds)));
    let named = |holds: bool| {
        let those = parts.iter().filter(|part| part.holds == holds);
        those.map(|Part { name, says, .. }| format!("{name} ({says})")).collect::<Vec<_>>().join("; ")
    };
    tracing::info!(holds = named(true), open = named(false), "sandbox");
    Ok(())
}

fn reach(config: &Config, config_file: Option<&Path>) -> Reach {
    let mut reach = Reach::default();
    let detect = &config.detect;
    let files = [
        config_file,
        detect.behaviour_rules.as_deref(),
        detect.onnxruntime.as_deref(),
        config.site.file.as_deref(),
        config.suricata.local_rules.as_deref(),
    ];
    files.into_iter().flatten().for_each(|file| reach.reads(file));
    if let Ok(models) = models::find(detect.models_dir.as_deref()) {
        reach.reads(&models);
    }
    config.intel.feeds.iter().for_each(|feed| reach.reads(&feed.path));
    for place in [Some(&config.alert.path), config.alert.flows_path.as_ref()].into_iter().flatten() {
        if !is_dash(place) {
            reach.writes_file(place);
            reach.made.extend(place.is_file().then(|| place.clone()));
        }
    }
    if config.state.enabled {
        reach.writes_folder(&config.state.dir);
    }
    if config.evidence.keep > 0 {
        reach.writes_folder(&parts::evidence_dir(config));
    }
    // A link to an interface that comes later is pinned then.
    if let Some(dir) = config.capture.pin.dir() {
        reach.writes_folder(dir);
    }
    if config.enforce.enabled {
        reach.writes_file(&config.enforce.audit);
    }
    if config.control.enabled {
        reach.may_write_file(&config.control.path);
    }
    if let Some(eve) = config.suricata.eve_file() {
        match config.suricata.eve_filetype {
            EveFiletype::Regular => reach.reads(&eve),
            // The socket is the agent's to make.
            EveFiletype::UnixStream => reach.writes_file(&eve),
        }
    }
    if config.suricata.manage {
        reach.writes_folder(&config.suricata.run_dir);
        reach.writes_folder(&config.suricata.rules_dir);
    }
    config.sandbox.read.iter().for_each(|path| reach.reads(path));
    config.sandbox.write.iter().for_each(|path| reach.writes_folder(path));
    reach
}
