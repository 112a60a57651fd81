//! Runs a table of patterns over a text: one pass for all fixed strings, then only those expressions of which a
//! fixed string was seen. Both take time linear in the text, whatever the text.

use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::bytes::{Regex, RegexBuilder};
use smallvec::SmallVec;

use super::{SignKind, Signs};

/// Where in a message a pattern may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Place {
    /// Path and query as sent, in lower case.
    Target = 1,
    /// Path, decoded.
    Path = 2,
    /// Query or form, decoded.
    Query = 4,
    Body = 8,
    /// One header, decoded.
    Header = 16,
    Agent = 32,
    /// As sent, in lower case.
    Cookie = 64,
}

/// One pattern. Texts are in lower case.
#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) kind: SignKind,
    /// How sure the pattern is alone, in percent.
    pub(super) sureness: u8,
    /// Places, joined by `|`.
    pub(super) places: u8,
    /// Fixed strings of which one must be there; the expression is tried only then.
    pub(super) strings: &'static [&'static str],
    /// Empty where the fixed string says it all.
    pub(super) expression: &'static str,
}

/// A table of patterns, ready to run.
pub(super) struct Matcher {
    patterns: Vec<&'static Pattern>,
    strings: Option<AhoCorasick>,
    /// Which pattern each fixed string belongs to.
    owners: Vec<u16>,
    expressions: Vec<OnceLock<Option<Regex>>>,
}

/// Bytes an expression's automaton may take.
const EXPRESSION_BYTES_MAX: usize = 1 << 20;

impl Matcher {
    pub(super) fn new(tables: &[&'static [Pattern]]) -> Self {
        let patterns: Vec<&Pattern> = tables.iter().copied().flatten().collect();
        let mut strings = Vec::new();
        let mut owners = Vec::new();
        for (owner, pattern) in (0u16..).zip(&patterns) {
            for string in pattern.strings {
                strings.push(*string);
                owners.push(owner);
            }
        }
        // Tables are checked by a test; a table that does not build finds nothing.
        let strings = AhoCorasick::builder().match_kind(MatchKind::Standard).build(strings).ok();
        let expressions = patterns.iter().map(|_| OnceLock::new()).collect();
        Self { patterns, strings, owners, expressions }
    }

    /// Adds what the patterns for `place` find in `text`.
    pub(super) fn find(&self, place: Place, text: &[u8], signs: &mut Signs) {
        let Some(strings) = self.strings.as_ref() else { return };
        let mut tried: SmallVec<[u16; 8]> = SmallVec::new();
        for found in strings.find_overlapping_iter(text) {
            let Some(&owner) = self.owners.get(found.pattern().as_usize()) else { continue };
            if tried.contains(&owner) || signs.spoken.contains(&owner) {
                continue;
            }
            tried.push(owner);
            let at = usize::from(owner);
            let Some(pattern) = self.patterns.get(at).filter(|pattern| pattern.places & place as u8 != 0) else {
                continue;
            };
            let compile = || compile(pattern.expression);
            let hit = if pattern.expression.is_empty() {
                text.get(found.start()..text.len().min(found.end() + 32))
            } else {
                let expression = self.expressions.get(at).and_then(|lock| lock.get_or_init(compile).as_ref());
                expression.and_then(|expression| expression.find(text)).map(|hit| hit.as_bytes())
            };
            if let Some(hit) = hit {
                signs.spoken.push(owner);
                signs.add(pattern.kind, pattern.sureness, hit);
            }
        }
    }
}

fn compile(expression: &str) -> Option<Regex> {
    RegexBuilder::new(expression)
        .unicode(false)
        .dot_matches_new_line(true)
        .size_limit(EXPRESSION_BYTES_MAX)
        .build()
        .ok()
}

/// Every pattern builds, and its fixed strings are in the form that texts have.
#[cfg(test)]
pub(super) fn check_tables(tables: &[&'static [Pattern]]) {
    assert!(Matcher::new(tables).strings.is_some());
    for pattern in tables.iter().copied().flatten() {
        assert!(pattern.expression.is_empty() || compile(pattern.expression).is_some(), "{}", pattern.expression);
        assert!((1..=100).contains(&pattern.sureness) && pattern.places != 0 && !pattern.strings.is_empty());
        for string in pattern.strings {
            assert!(!string.is_empty());
            assert_eq!(*string, string.to_ascii_lowercase());
        }
    }
}
