//! Which scenarios there are, and which of them a command line means.

use anyhow::{Result, ensure};

use super::{attacks, benign, plan::Scenario};

pub(super) fn all() -> Vec<&'static Scenario> {
    attacks::scenarios().chain(benign::scenarios()).collect()
}

/// Those named: by name, by family, by the beginning before a `*`, or `all`.
pub(super) fn chosen(names: &str) -> Result<Vec<&'static Scenario>> {
    let all = all();
    let mut chosen: Vec<&Scenario> = Vec::new();
    for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let found: Vec<&Scenario> = all.iter().copied().filter(|scenario| is_meant(scenario, name)).collect();
        ensure!(!found.is_empty(), "no scenario is named `{name}`: `cargo xtask lab --list` shows them");
        for scenario in found {
            if !chosen.iter().any(|other| other.name == scenario.name) {
                chosen.push(scenario);
            }
        }
    }
    ensure!(!chosen.is_empty(), "no scenario is named");
    Ok(chosen)
}

fn is_meant(scenario: &Scenario, name: &str) -> bool {
    match name.strip_suffix('*') {
        Some(beginning) => scenario.name.starts_with(beginning),
        None => name == "all" || name == scenario.name || name == scenario.family,
    }
}

pub(super) fn show() {
    println!("{:<20} {:<12} {:<56} packages", "scenario", "family", "tools");
    for scenario in all() {
        let mut packages: Vec<&str> = scenario.needs.iter().map(|(_, package)| *package).collect();
        packages.sort_unstable();
        packages.dedup();
        println!("{:<20} {:<12} {:<56} {}", scenario.name, scenario.family, scenario.tools, packages.join(" "));
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first thing that fails")]
mod tests {
    use std::collections::BTreeSet;

    use super::{all, chosen};
    use crate::lab::{
        plan::{Ready, Wish},
        stage::planned,
    };

    #[test]
    fn names_differ_and_choose() {
        let names: BTreeSet<_> = all().iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all().len());
        assert_eq!(chosen("all").unwrap().len(), all().len());
        assert_eq!(chosen("scan-syn,scan-syn").unwrap().len(), 1);
        assert!(chosen("scan-*").unwrap().iter().all(|scenario| scenario.family == "PORT_SCAN"));
        assert!(chosen("nothing").is_err());
    }

    #[test]
    fn a_seed_decides_the_whole_schedule() {
        let wish = Wish { seconds: 60 };
        for scenario in all() {
            let lines: BTreeSet<String> = (1..=6).map(|seed| format!("{:?}", planned(scenario, seed, &wish))).collect();
            assert_eq!(lines.len(), 6, "{}: two seeds are alike", scenario.name);
            assert_eq!(planned(scenario, 3, &wish), planned(scenario, 3, &wish), "{}", scenario.name);
        }
    }

    #[test]
    fn plans_name_hosts_that_are_there_and_end_in_time() {
        let wish = Wish { seconds: 60 };
        for scenario in all() {
            for seed in 1..=40 {
                let (world, plan) = planned(scenario, seed, &wish);
                let hosts: BTreeSet<&str> = world.hosts().map(|host| host.name.as_str()).chain(["gateway"]).collect();
                let name = scenario.name;
                for on in plan.services.iter().map(|service| &service.on) {
                    assert!(hosts.contains(on.as_str()), "{name} serves on {on}");
                }
                for on in plan.actors.iter().map(|actor| &actor.on).chain(plan.steps.iter().map(|step| &step.on)) {
                    assert!(hosts.contains(on.as_str()), "{name} acts on {on}");
                }
                assert!(plan.steps.iter().all(|step| step.at_ms + step.ms_max <= 660_000), "{name} has no end");
                assert_eq!(plan.filter.is_none(), scenario.family == "BENIGN", "{name}");
                assert!(scenario.family == "BENIGN" || plan.proof.flows > 0, "{name} proves nothing");
                assert!(plan.services.iter().all(|service| service.ready != Ready::Tcp(0)));
                assert!(!plan.subtype.contains('\t') && !plan.evidence().contains('\t'), "{name}");
            }
        }
    }
}
