//! `cargo xtask tidy`: the rules of the house, by plain reading of the files. Each rule says where and what to do.

mod crates;
mod docs;
mod modules;
mod source;
mod tree;

use std::process::ExitCode;

use anyhow::{Result, bail};

use self::tree::Tree;

#[derive(clap::Args)]
pub(crate) struct Args {}

/// One breach of a rule.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    path: String,
    /// Counted from one; zero where the whole file is meant.
    line: usize,
    what: String,
}

impl Breach {
    fn new(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }
}

pub(crate) fn run(_args: &Args) -> Result<ExitCode> {
    check()?;
    println!("tidy: clean");
    Ok(ExitCode::SUCCESS)
}

/// Fails if any rule is broken, after printing every breach.
pub(crate) fn check() -> Result<()> {
    let tree = Tree::of_checkout()?;
    for hint in source::hints(&tree) {
        println!("tidy: hint: {}: {}", hint.path, hint.what);
    }
    let breaches = breaches(&tree);
    for breach in &breaches {
        println!("tidy: {}:{}: {}", breach.path, breach.line, breach.what);
    }
    if !breaches.is_empty() {
        bail!("{} breaches of the rules of the house", breaches.len());
    }
    Ok(())
}

fn breaches(tree: &Tree) -> Vec<Breach> {
    let mut breaches = Vec::new();
    tree.check_root(&mut breaches);
    crates::check(tree, &mut breaches);
    source::check(tree, &mut breaches);
    modules::check(tree, &mut breaches);
    docs::check(tree, &mut breaches);
    breaches.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    breaches
}

#[cfg(test)]
mod tests {
    use super::{breaches, tree::Tree};

    /// What breaks when `files` are all there is.
    #[track_caller]
    fn finds(files: &[(&str, &str)], wanted: &str) {
        let found = breaches(&Tree::of(files));
        assert_eq!(found.len(), 1, "one breach is wanted, found {found:#?}");
        assert!(found[0].what.contains(wanted), "`{wanted}` is wanted, found {found:#?}");
    }

    #[track_caller]
    fn accepts(files: &[(&str, &str)]) {
        assert_eq!(breaches(&Tree::of(files)), []);
    }

    #[test]
    fn a_stray_file_at_the_root_is_found() {
        finds(&[("notes.txt", "")], "does not belong at the root");
        accepts(&[(".ci/run", ""), ("README.md", "")]);
    }

    #[test]
    fn a_rust_file_begins_by_saying_what_it_is_for() {
        finds(&[("tests/a.rs", "use std::fmt;\n")], "first line");
        accepts(&[("tests/a.rs", "//! A.\nuse std::fmt;\n")]);
    }

    #[test]
    fn a_file_too_long_to_read_is_found() {
        let long = format!("//! A.\n{}", "const A: u8 = 0;\n".repeat(800));
        finds(&[("tests/a.rs", &long)], "lines");
    }

    #[test]
    fn silenced_lints_ignored_tests_and_leftovers_are_found() {
        finds(&[("tests/a.rs", "//! A.\n#[allow(dead_code)]\n")], "expect");
        finds(&[("tests/a.rs", "//! A.\n#![allow(dead_code)]\n")], "expect");
        finds(&[("tests/a.rs", "//! A.\n#[ignore]\n")], "ignore");
        finds(&[("tests/a.rs", "//! A.\n// TODO: later\n")], "unfinished");
        finds(&[("tests/a.rs", "//! A.\nfn a() { todo!() }\n")], "unfinished");
        accepts(&[("tests/a.rs", "//! A.\nconst A: &str = \"#[allow(x)] #[ignore]\";\n")]);
    }

    #[test]
    fn unsafe_code_stands_in_the_listed_files_alone() {
        let code = "//! A.\nfn a() { unsafe { b() } }\n";
        finds(&[("ids-common/src/parse.rs", code)], "unsafe");
        finds(&[("ids-agent/src/kernel/a.rs", code), ("ids-agent/src/kernel/b.rs", code)], "unsafe");
        accepts(&[("ids-ebpf/src/maps.rs", code), ("ids-agent/src/kernel/mapping.rs", code)]);
        accepts(&[("ids-agent/src/a.rs", "//! No unsafe here.\n// unsafe is a word\nconst A: &str = \"unsafe\";\n")]);
    }

    #[test]
    fn only_the_kernel_module_imports_aya() {
        finds(&[("ids-agent/src/source.rs", "//! A.\nuse aya::Ebpf;\n")], "aya");
        finds(&[("ids-agent/src/pipeline.rs", "//! A.\nfn a(b: &aya::Ebpf) {}\n")], "aya");
        accepts(&[("ids-agent/src/kernel/load.rs", "//! A.\nuse aya::Ebpf;\n")]);
    }

    #[test]
    fn only_the_pipeline_spawns() {
        finds(&[("ids-agent/src/http.rs", "//! A.\nfn a() { tokio::spawn(async {}); }\n")], "spawn");
        finds(&[("ids-agent/src/sink/file.rs", "//! A.\nfn a() { std::thread::spawn(|| ()); }\n")], "spawn");
        accepts(&[("ids-agent/src/pipeline.rs", "//! A.\nfn a() { std::thread::spawn(|| ()); }\n")]);
        accepts(&[("ids-agent/src/suricata/process.rs", "//! A.\nfn a(b: &mut Command) { b.spawn(); }\n")]);
        finds(&[("ids-agent/src/suricata/process.rs", "//! A.\nfn a(b: Builder) { b.spawn(|| ()); }\n")], "spawn");
        let in_test = "//! A.\n#[cfg(test)]\nmod tests {\n    fn a() { std::thread::spawn(|| ()); }\n}\n";
        accepts(&[("ids-agent/src/sink/file.rs", in_test)]);
    }

    #[test]
    fn only_the_clock_reads_time() {
        finds(&[("ids-agent/src/pipeline.rs", "//! A.\nfn a() { std::time::Instant::now(); }\n")], "clock");
        finds(&[("ids-agent/src/kernel/ring.rs", "//! A.\nfn a() { SystemTime::now(); }\n")], "clock");
        accepts(&[("ids-agent/src/clock.rs", "//! A.\nfn a() { Instant::now(); }\n")]);
    }

    #[test]
    fn pure_modules_do_no_input_or_output() {
        finds(&[("ids-agent/src/detect/fuse.rs", "//! A.\nuse tokio::sync::mpsc;\n")], "pure");
        finds(&[("ids-agent/src/features.rs", "//! A.\nuse std::fs;\n")], "pure");
        finds(&[("ids-agent/src/flow.rs", "//! A.\nuse crate::clock::Timestamp;\n")], "pure");
        finds(&[("ids-agent/src/flow.rs", "//! A.\nuse std::{\n    fmt,\n    io::Read,\n};\n")], "pure");
        accepts(&[("ids-agent/src/payload/tls.rs", "//! A.\nuse std::net::IpAddr;\n")]);
    }

    #[test]
    fn arrows_that_must_not_be_are_found() {
        finds(&[("ids-agent/src/sink/file.rs", "//! A.\nuse crate::detect::Class;\n")], "sink");
        finds(
            &[("ids-agent/src/sink/file.rs", "//! A.\nuse crate::{\n    alert::Alert,\n    detect::Class,\n};\n")],
            "sink",
        );
        finds(&[("ids-agent/src/config.rs", "//! A.\nuse crate::detect::Class;\n")], "config");
        finds(&[("ids-agent/src/flow.rs", "//! A.\nuse crate::config::Config;\n")], "Config");
        accepts(&[("ids-agent/src/flow.rs", "//! A.\nuse crate::config::FlowSettings;\n")]);
    }

    #[test]
    fn anyhow_stays_at_the_edge() {
        finds(&[("ids-agent/src/cli.rs", "//! A.\nuse anyhow::Result;\n")], "anyhow");
        accepts(&[("ids-agent/src/main.rs", "//! A.\nuse anyhow::Result;\n")]);
    }

    #[test]
    fn the_shared_crate_has_no_floats_and_no_std() {
        finds(&[("ids-common/src/flow.rs", "//! A.\nfn a(b: f32) {}\n")], "float");
        finds(&[("ids-common/src/flow.rs", "//! A.\nuse std::fmt;\n")], "core");
        accepts(&[("ids-common/src/flow.rs", "//! A.\nuse core::fmt;\n#[cfg(test)]\nmod tests { use std::fmt; }\n")]);
    }

    #[test]
    fn a_crate_depends_on_what_it_may() {
        finds(&[("ids-common/Cargo.toml", "[dependencies]\nserde = \"1\"\n")], "serde");
        finds(&[("ids-agent/Cargo.toml", "[dependencies]\naya-ebpf = \"1\"\n")], "aya-ebpf");
        finds(&[("ids-agent/Cargo.toml", "[dev-dependencies]\nids-tests = \"1\"\n")], "ids-tests");
        finds(&[("xtask/Cargo.toml", "[dependencies]\nids-common = \"1\"\n")], "ids-common");
        accepts(&[(
            "ids-common/Cargo.toml",
            "[dependencies]\nzerocopy = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n",
        )]);
    }

    #[test]
    fn a_dependency_that_nothing_uses_is_found() {
        let manifest = ("ids-common/Cargo.toml", "[dependencies]\nzerocopy = \"1\"\n");
        finds(&[manifest, ("ids-common/src/lib.rs", "//! Not zerocopy.\n")], "nothing here uses");
        accepts(&[manifest, ("ids-common/src/lib.rs", "//! A.\nuse zerocopy::FromBytes;\n")]);
    }

    #[test]
    fn a_link_that_leads_nowhere_is_found() {
        finds(&[("README.md", "[a](docs/none.md)\n")], "leads nowhere");
        accepts(&[
            ("README.md", "[a](docs/a.md#part) [b](https://example.org/x)\n"),
            ("docs/a.md", "[c](../README.md)\n"),
        ]);
    }

    #[test]
    fn a_page_that_nobody_mentions_is_found() {
        finds(&[("README.md", "nothing\n"), ("docs/a.md", "text\n")], "no other page");
    }

    #[test]
    fn a_path_of_somebodys_machine_is_found() {
        let home = ["/ho", "me/someone/x"].concat();
        finds(&[("README.md", &format!("see {home}\n"))], "path of one machine");
        accepts(&[("README.md", "see /etc/ids-agent/config.toml and /var/lib/ids-agent\n")]);
    }
}
