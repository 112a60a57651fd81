//! Rules on every Rust file: how it begins, how long it is, and words that must not stand in it.

use super::{Breach, tree::Tree};

/// Beyond this a file probably holds two ideas.
const LINES_HINT: usize = 600;
const LINES_MAX: usize = 800;

/// Reads and writes of packets and maps, where the kernel leaves no other way; and what the allocator is told, for the same reason.
const UNSAFE_FILES: [&str; 3] = ["ids-ebpf/src/packet.rs", "ids-ebpf/src/maps.rs", "ids-agent/src/memory.rs"];
/// One file under here may be unsafe too.
const UNSAFE_FOLDER: &str = "ids-agent/src/kernel/";

pub(super) fn hints(tree: &Tree) -> Vec<Breach> {
    let long = tree.with_ending(".rs").map(|(path, text)| (path, text.lines().count()));
    long.filter(|(_, lines)| (LINES_HINT + 1..=LINES_MAX).contains(lines))
        .map(|(path, lines)| {
            Breach::new(path, 0, format!("{lines} lines; a file of one idea rarely needs {LINES_HINT}"))
        })
        .collect()
}

pub(super) fn check(tree: &Tree, breaches: &mut Vec<Breach>) {
    let mut unsafe_kernel_file: Option<&str> = None;
    for (path, text) in tree.with_ending(".rs") {
        if !text.starts_with("//!") && !text.starts_with("#![no_main]") {
            breaches.push(Breach::new(path, 1, "the first line says what the file is for: begin with `//! `"));
        }
        let lines = text.lines().count();
        if lines > LINES_MAX {
            breaches.push(Breach::new(
                path,
                0,
                format!("{lines} lines, {LINES_MAX} at most: give each idea its own file"),
            ));
        }
        check_leftovers(path, text, breaches);
        for (number, code) in lines_of(&code_of(text)) {
            if code.contains("#[allow(") || code.contains("#![allow(") {
                breaches.push(Breach::new(
                    path,
                    number,
                    "a lint is expected with a reason, never allowed: `#[expect(..)]`",
                ));
            }
            if code.contains("#[ignore") {
                breaches.push(Breach::new(
                    path,
                    number,
                    "no test is ignored: probe what it needs and skip with a message",
                ));
            }
            if !has_word(code, "unsafe") || is_attribute(code) || UNSAFE_FILES.contains(&path) {
                continue;
            }
            if path.starts_with(UNSAFE_FOLDER) && unsafe_kernel_file.is_none_or(|file| file == path) {
                unsafe_kernel_file = Some(path);
                continue;
            }
            breaches.push(Breach::new(
                path,
                number,
                "unsafe code belongs into the files listed for it, and nowhere else",
            ));
        }
    }
}

/// `#[unsafe(no_mangle)]` and its kind name a section; they execute nothing.
fn is_attribute(code: &str) -> bool {
    code.trim_start().starts_with("#[unsafe(")
}

fn check_leftovers(path: &str, text: &str, breaches: &mut Vec<Breach>) {
    // Spelt apart, so that this file does not find itself.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    let is_here = path == "xtask/src/tidy.rs";
    for (number, line) in lines_of(text) {
        let unfinished = words.iter().any(|word| has_word(line, word))
            || line.contains(concat!("to", "do!("))
            || line.contains(concat!("unimplem", "ented!("));
        // The fixtures of these rules quote what they look for.
        if unfinished && !is_here {
            breaches.push(Breach::new(
                path,
                number,
                "unfinished work is not left in the source: finish it or take it out",
            ));
        }
    }
}

/// Lines with their numbers, from one.
pub(super) fn lines_of(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

/// The code without comments, and with strings emptied; lines stay where they were.
pub(super) fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        if starts(rest, "//") {
            at += until(rest, "\n");
        } else if starts(rest, "/*") {
            at += keep_lines(&mut code, rest, (until(rest, "*/") + 2).min(rest.len()));
        } else if let Some(length) = raw_string(rest, chars.get(at.wrapping_sub(1)).copied()) {
            code.push_str("\"\"");
            at += keep_lines(&mut code, rest, length);
        } else if rest[0] == '"' {
            code.push_str("\"\"");
            at += keep_lines(&mut code, rest, quoted(rest));
        } else if let Some(length) = char_literal(rest) {
            code.push_str("''");
            at += length;
        } else {
            code.push(rest[0]);
            at += 1;
        }
    }
    code
}

/// What stands before the tests, which come last by the house's style.
pub(super) fn without_tests(code: &str) -> &str {
    let end = code.find("#[cfg(test)]").unwrap_or(code.len());
    &code[..end]
}

pub(super) fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_name_char) && !after.is_some_and(is_name_char)
    })
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn starts(chars: &[char], text: &str) -> bool {
    let mut at = chars.iter();
    text.chars().all(|wanted| at.next() == Some(&wanted))
}

fn until(chars: &[char], text: &str) -> usize {
    (0..chars.len()).find(|&at| starts(&chars[at..], text)).unwrap_or(chars.len())
}

fn keep_lines(code: &mut String, chars: &[char], length: usize) -> usize {
    code.extend(chars[..length].iter().filter(|&&c| c == '\n'));
    length
}

fn quoted(chars: &[char]) -> usize {
    let mut at = 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn raw_string(chars: &[char], before: Option<char>) -> Option<usize> {
    if chars[0] != 'r' || before.is_some_and(|c| is_name_char(c) && c != 'b') {
        return None;
    }
    let hashes = chars[1..].iter().take_while(|&&c| c == '#').count();
    if chars.get(1 + hashes) != Some(&'"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    Some((body + until(&chars[body..], &end) + end.len()).min(chars.len()))
}

/// A character literal, which must not be taken for the start of a string; a lifetime is none.
fn char_literal(chars: &[char]) -> Option<usize> {
    if chars[0] != '\'' {
        return None;
    }
    if chars.get(1) == Some(&'\\') {
        return Some((3 + until(chars.get(3..)?, "'") + 1).min(chars.len()));
    }
    (chars.get(2) == Some(&'\'')).then_some(3)
}

#[cfg(test)]
mod tests {
    use super::{code_of, has_word};

    #[test]
    fn code_loses_comments_and_strings_and_keeps_its_lines() {
        let text = "let a = \"x // y\"; // z\nlet b = r#\"q \" q\"#; /* c\nd */ let e = '\"'; let f: &'a u8;\n";
        assert_eq!(code_of(text), "let a = \"\"; \nlet b = \"\"; \n let e = ''; let f: &'a u8;\n");
        assert_eq!(code_of("let a = '\\''; let b = 1; // c"), "let a = ''; let b = 1; ");
        assert_eq!(code_of("let a = \"\\\"\"; b"), "let a = \"\"; b");
    }

    #[test]
    fn a_word_is_not_a_part_of_another() {
        assert!(has_word("unsafe { a }", "unsafe"));
        assert!(!has_word("#![forbid(unsafe_code)]", "unsafe"));
    }
}
