//! Rules on what a crate may depend on, read from the manifests.

use super::{
    Breach,
    source::{code_of, has_word},
    tree::Tree,
};

enum May {
    /// These and no others.
    Only(&'static [&'static str]),
    /// Anything but these.
    AllBut(&'static [&'static str]),
}

/// Dependencies of the crate itself; what its tests use is free, but for the crate of tests.
const RULES: [(&str, May); 4] = [
    ("ids-common/Cargo.toml", May::Only(&["zerocopy"])),
    ("ids-ebpf/Cargo.toml", May::Only(&["aya-ebpf", "ids-common", "zerocopy"])),
    ("ids-agent/Cargo.toml", May::AllBut(&["aya-ebpf", "ids-ebpf"])),
    ("xtask/Cargo.toml", May::AllBut(&["ids-common", "ids-ebpf", "ids-agent"])),
];
const TESTS: &str = "ids-tests";

pub(super) fn check(tree: &Tree, breaches: &mut Vec<Breach>) {
    for (path, text) in tree.with_ending("Cargo.toml") {
        let Ok(manifest) = text.parse::<toml::Table>() else {
            breaches.push(Breach::new(path, 0, "the manifest is no TOML"));
            continue;
        };
        for (table, tests_only) in [("dependencies", false), ("build-dependencies", false), ("dev-dependencies", true)]
        {
            let Some(dependencies) = manifest.get(table).and_then(toml::Value::as_table) else { continue };
            check_used(tree, path, dependencies, breaches);
            for name in dependencies.keys() {
                if name == TESTS && !path.starts_with("tests/") {
                    breaches.push(Breach::new(path, 0, format!("nothing depends on {TESTS}")));
                } else if !tests_only && !may(path, name) {
                    breaches.push(Breach::new(path, 0, format!("this crate may not depend on {name}")));
                }
            }
        }
    }
}

/// A dependency that no source names costs every build and serves nobody.
fn check_used(tree: &Tree, path: &str, dependencies: &toml::Table, breaches: &mut Vec<Breach>) {
    let folder = path.strip_suffix("Cargo.toml").unwrap_or_default();
    let sources: Vec<String> =
        tree.with_ending(".rs").filter(|(file, _)| file.starts_with(folder)).map(|(_, text)| code_of(text)).collect();
    if sources.is_empty() {
        return;
    }
    for name in dependencies.keys() {
        let word = name.replace('-', "_");
        if !sources.iter().any(|code| has_word(code, &word)) {
            breaches.push(Breach::new(path, 0, format!("nothing here uses {name}: take it out")));
        }
    }
}

fn may(path: &str, name: &str) -> bool {
    RULES.iter().filter(|(manifest, _)| *manifest == path).all(|(_, may)| match may {
        May::Only(names) => names.contains(&name),
        May::AllBut(names) => !names.contains(&name),
    })
}
