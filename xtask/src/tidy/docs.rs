//! Rules on pages: links lead somewhere, every page is mentioned, and no path of one machine stands anywhere.

use super::{Breach, source::lines_of, tree::Tree};

pub(super) fn check(tree: &Tree, breaches: &mut Vec<Breach>) {
    for (path, text) in tree.with_ending(".md") {
        for (line, target) in links(text) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            match resolve(path, file) {
                Some(wanted) if tree.contains(&wanted) => {}
                Some(_) | None => breaches.push(Breach::new(path, line, format!("the link `{target}` leads nowhere"))),
            }
        }
    }
    check_mentions(tree, breaches);
    for (path, text) in tree.texts().filter(|(path, _)| *path != "Cargo.lock") {
        for (line, content) in lines_of(text) {
            if let Some(found) = machine_path(content) {
                breaches.push(Breach::new(
                    path,
                    line,
                    format!("`{found}..` is a path of one machine: write it relative"),
                ));
            }
        }
    }
}

fn check_mentions(tree: &Tree, breaches: &mut Vec<Breach>) {
    for (path, _) in tree.with_ending(".md").filter(|(path, _)| path.starts_with("docs/")) {
        // Pages of one name stand in several folders, so the folder is part of it.
        let from = path.rmatch_indices('/').nth(1).map_or(0, |(at, _)| at + 1);
        let name = path.rsplit('/').next().unwrap_or(path);
        let wanted = if name == "README.md" { &path[from..] } else { name };
        let mentioned = tree.with_ending(".md").any(|(other, text)| other != path && text.contains(wanted));
        if !mentioned {
            breaches.push(Breach::new(path, 0, "no other page mentions this one"));
        }
    }
}

/// Targets of `[text](target)`, outside code blocks.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    let mut in_code = false;
    for (number, line) in lines_of(text) {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let rest = &line[at + 2..];
            if let Some(end) = rest.find(')') {
                links.push((number, &rest[..end]));
            }
        }
    }
    links
}

/// The path from the root that `target` means on the page at `path`, none if it leaves the project.
fn resolve(path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn machine_path(line: &str) -> Option<&'static str> {
    // Spelt apart, so that this file does not find itself.
    const PATHS: [&str; 4] =
        [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("/tmp/", "data")];
    PATHS.into_iter().find(|path| {
        line.match_indices(path).any(|(at, _)| {
            // `target/…` or a URL may hold the same letters further inside.
            let before = line[..at].chars().next_back();
            !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '}'))
        })
    })
}
