//! What `doctor` says of a Suricata that the agent is to run: whether it can, and with which rules.

use super::{Findings, State};
use crate::{
    clock,
    config::SuricataSettings,
    kernel::facts,
    suricata::{RulesStore, VERSION_MIN, installed, version},
};

/// Rules older than this miss what is new.
const STALE_DAYS: u64 = 14;

pub(super) fn look(found: &mut Findings, settings: &SuricataSettings) {
    if !settings.manage {
        return;
    }
    let what = "Suricata to run";
    let shown = settings.program.display();
    match version(&settings.program) {
        None => {
            let says = format!(
                "there is no `{shown}` that says its version: install Suricata {VERSION_MIN} or newer (Debian 12 has it in its backports), or set suricata.program"
            );
            found.add(what, State::Limited, says);
        }
        Some((major, whole)) if major < VERSION_MIN => {
            let says = format!("`{shown}` is {whole}: {VERSION_MIN} or newer is needed for the configuration");
            found.add(what, State::Limited, says);
        }
        Some((_, whole)) => found.add(what, State::Works, format!("`{shown}` is {whole}")),
    }
    let raw = facts::may_copy_packets();
    if !raw.held {
        let says =
            format!("not held, needed to {}: systemd/managed-suricata.conf gives it to the service", raw.purpose);
        found.add(raw.name, State::Limited, says);
    }
    rules(found, settings);
}

fn rules(found: &mut Findings, settings: &SuricataSettings) {
    let what = "Suricata's rules";
    if !installed("suricata-update") {
        let says = "there is no `suricata-update`, which fetches them: install it";
        found.add("suricata-update", State::Limited, says);
    }
    let dir = settings.rules_dir.display();
    let Some(release) = RulesStore::new(&settings.rules_dir).current() else {
        let says = format!("none in {dir} yet: it begins with the local ones; `ids-agent rules update` fetches more");
        return found.add(what, State::Limited, says);
    };
    if release.sources.is_empty() {
        let says = format!("{} local ones alone; `ids-agent rules update` fetches more", release.rules);
        return found.add(what, State::Limited, says);
    }
    let now_unix_secs = clock::wall_ns() / 1_000_000_000;
    let days = now_unix_secs.saturating_sub(release.checked_unix_secs) / 86_400;
    let says = format!("{} rules, fetched {days} days ago", release.rules);
    if days > STALE_DAYS {
        found.add(what, State::Limited, format!("{says}: `suricata.update_hours = 24` keeps them fresh"));
    } else {
        found.add(what, State::Works, says);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::*;

    fn says(program: &Path, rules_dir: &Path, manage: bool) -> String {
        let settings = SuricataSettings {
            manage,
            program: program.to_owned(),
            rules_dir: rules_dir.to_owned(),
            ..SuricataSettings::default()
        };
        let mut found = Findings::default();
        look(&mut found, &settings);
        found.findings.iter().map(|one| format!("{} {}: {}\n", one.what, one.state.label(), one.says)).collect()
    }

    #[test]
    fn a_suricata_that_is_missing_or_too_old_is_told_and_rules_too() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("suricata");
        assert_eq!(says(&program, folder.path(), false), "");
        let missing = says(&program, folder.path(), true);
        assert!(missing.contains("Suricata to run limited: there is no"), "{missing}");
        assert!(missing.contains("Suricata's rules limited: none in"), "{missing}");
        for (release, wanted) in [("6.0.10", "7 or newer is needed"), ("7.0.10", "works: ")] {
            fs::write(&program, format!("#!/bin/sh\necho This is Suricata version {release} RELEASE\n")).unwrap();
            fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
            let said = says(&program, folder.path(), true);
            assert!(said.contains(wanted) && said.contains(release), "{said}");
        }
    }
}
