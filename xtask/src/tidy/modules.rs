//! Rules between the modules of the agent, and what the shared crate must do without.

use super::{
    Breach,
    source::{code_of, has_word, lines_of, without_tests},
    tree::Tree,
};

const AGENT: &str = "ids-agent/src/";
const SHARED: &str = "ids-common/src/";

/// These compute and do nothing else.
const PURE: [&str; 4] = ["detect", "features", "flow", "payload"];
/// These stand at the edge, where the stages are put together.
const SEES_WHOLE_CONFIG: [&str; 4] = ["main", "cli", "config", "pipeline"];

pub(super) fn check(tree: &Tree, breaches: &mut Vec<Breach>) {
    for (path, text) in tree.with_ending(".rs") {
        let code = code_of(text);
        // A first line `#![cfg_attr(not(test), no_std)]` is no test module.
        let code = without_tests(&code);
        if let Some(rest) = path.strip_prefix(AGENT) {
            let module = rest.split(['/', '.']).next().unwrap_or_default();
            check_agent(path, module, code, breaches);
        }
        if path.starts_with(SHARED) {
            check_shared(path, code, breaches);
        }
    }
}

fn check_agent(path: &str, module: &str, code: &str, breaches: &mut Vec<Breach>) {
    let mut broken = |line: usize, what: &str| breaches.push(Breach::new(path, line, what));
    for (line, code) in lines_of(code) {
        if module != "kernel" && has_path(code, "aya") {
            broken(line, "only `kernel` imports aya: ask it for what you need");
        }
        let spawns =
            code.contains("thread::spawn(") || code.contains("tokio::spawn(") || code.contains("spawn_blocking(");
        // A process takes no arguments to begin, a thread takes its work.
        let begins_process = module == "suricata" && code.contains(".spawn()");
        if module != "pipeline"
            && !begins_process
            && (spawns || code.contains(".spawn(") || code.contains("spawn_local("))
        {
            broken(line, "only `pipeline` spawns: give it a function to run");
        }
        let reads_time = ["Instant::now", "SystemTime::now", "clock_gettime(", "SystemTime::UNIX_EPOCH.elapsed"];
        if module != "clock" && reads_time.iter().any(|call| code.contains(call)) {
            broken(line, "only `clock` reads time: take the time as an argument");
        }
        if !["main"].contains(&module) && has_path(code, "anyhow") {
            broken(line, "anyhow stays in main.rs: the module has an error type of its own");
        }
    }
    for import in imports(code) {
        if PURE.contains(&module)
            && let Some(thing) = impure(&import.path)
        {
            broken(import.line, &format!("`{module}` is pure: no {thing}"));
        }
        if module == "sink" && import.is_under("crate::detect") {
            broken(import.line, "`sink` never imports `detect`: it delivers alerts");
        }
        if module == "config" && import.is_under("crate") && !import.is_under("crate::config") {
            broken(import.line, "`config` imports nothing of ours: the stages import their settings from it");
        }
        if !SEES_WHOLE_CONFIG.contains(&module) && import.path == "crate::config::Config" {
            broken(import.line, "no stage takes the whole Config: take the stage's own settings");
        }
    }
}

fn check_shared(path: &str, code: &str, breaches: &mut Vec<Breach>) {
    for (line, code) in lines_of(code) {
        if has_word(code, "f32") || has_word(code, "f64") {
            breaches.push(Breach::new(path, line, "no floats before the features: the kernel has none"));
        }
        if has_path(code, "std") || has_path(code, "alloc") {
            breaches.push(Breach::new(path, line, "the shared crate has `core` alone"));
        }
    }
}

/// What makes this import impure, if anything.
fn impure(import: &str) -> Option<&'static str> {
    let under = |root: &str| import == root || import.strip_prefix(root).is_some_and(|rest| rest.starts_with("::"));
    if under("std::fs") || under("std::io") {
        return Some("input or output");
    }
    if under("std::env") || under("std::process") || under("std::thread") || under("std::net::TcpStream") {
        return Some("input or output");
    }
    if under("tokio") {
        return Some("tokio");
    }
    if under("rustix") || under("procfs") {
        return Some("system calls");
    }
    for module in ["clock", "kernel", "sink", "http", "pipeline", "supervisor", "cli"] {
        if under(&format!("crate::{module}")) {
            return Some("module of the edge");
        }
    }
    None
}

/// `name::` as the start of a path.
fn has_path(code: &str, name: &str) -> bool {
    code.match_indices(name).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let inside = before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        !inside && code[at + name.len()..].starts_with("::")
    })
}

struct Import {
    path: String,
    line: usize,
}

impl Import {
    fn is_under(&self, root: &str) -> bool {
        self.path == root || self.path.strip_prefix(root).is_some_and(|rest| rest.starts_with("::"))
    }
}

/// Every path that `use` brings in, with groups written out.
fn imports(code: &str) -> Vec<Import> {
    let mut imports = Vec::new();
    let mut from = 0;
    while let Some(found) = code[from..].find("use ") {
        let start = from + found;
        from = start + 4;
        let before = code[..start].chars().next_back();
        if before.is_some_and(|c| !c.is_whitespace()) {
            continue;
        }
        let Some(length) = code[from..].find(';') else { break };
        let line = code[..start].matches('\n').count() + 1;
        let statement: String = code[from..from + length].split_whitespace().collect::<Vec<_>>().join(" ");
        expand("", &statement, &mut |path| imports.push(Import { path, line }));
        from += length;
    }
    imports
}

fn expand(prefix: &str, tree: &str, found: &mut dyn FnMut(String)) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap_or_default().trim();
        let path = path.strip_suffix("::self").unwrap_or(path);
        match (prefix, path) {
            (_, "") => {}
            (prefix, "self") => found(prefix.trim_end_matches("::").to_owned()),
            (prefix, path) => found(format!("{prefix}{path}")),
        }
        return;
    };
    let prefix = format!("{prefix}{}", &tree[..open]);
    let inside = tree[open + 1..].trim_end().strip_suffix('}').unwrap_or(&tree[open + 1..]);
    let mut depth = 0_usize;
    let mut start = 0;
    for (at, c) in inside.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                expand(&prefix, &inside[start..at], found);
                start = at + 1;
            }
            _ => {}
        }
    }
    expand(&prefix, &inside[start..], found);
}

#[cfg(test)]
mod tests {
    use super::imports;

    #[test]
    fn groups_of_imports_are_written_out() {
        let code = "use std::{fmt, io::{self, Read as R}};\npub use crate::flow::*;\n";
        let paths: Vec<_> = imports(code).into_iter().map(|import| (import.line, import.path)).collect();
        let wanted = [(1, "std::fmt"), (1, "std::io"), (1, "std::io::Read"), (2, "crate::flow::*")];
        assert_eq!(paths, wanted.map(|(line, path)| (line, path.to_owned())));
    }
}
