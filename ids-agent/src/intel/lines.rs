//! Feeds of one indicator a line: plain lists, maltrail's trails, ipsum, hosts files, lists for browsers and dnsmasq.

use std::{io::BufRead, net::IpAddr};

use super::{
    Fault,
    files::{Line, Lines},
    sink::{Says, Sink},
};
use crate::config::{Category, FeedKind};

pub(super) fn read(reader: &mut impl BufRead, kind: FeedKind, sink: &mut Sink<'_>) -> Result<(), Fault> {
    let mut lines = Lines::new(reader);
    while let Some(line) = lines.next()? {
        let line = match line {
            Line::Text(line) => line,
            Line::TooLong => {
                sink.add_garbage()?;
                continue;
            }
        };
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() || line.starts_with(['#', ';', '!']) || line.starts_with("//") {
            continue;
        }
        match kind {
            FeedKind::Ipsum => ipsum(line, sink)?,
            FeedKind::Hosts => hosts(line, sink)?,
            FeedKind::Auto | FeedKind::List | FeedKind::Csv | FeedKind::Fingerprints | FeedKind::Stix => {
                list(line, sink)?;
            }
        }
    }
    Ok(())
}

fn list(line: &str, sink: &mut Sink<'_>) -> Result<(), Fault> {
    // Headings of browsers' lists; exceptions to them.
    if line.starts_with("[Adblock") || line.starts_with("@@") {
        return Ok(());
    }
    if let Some(rule) = line.strip_prefix("||") {
        let (name, rest) = rule.split_once('^').unwrap_or((rule, ""));
        let plain = rest.is_empty() || rest.starts_with('$');
        return if plain { sink.add(name, Says::NOTHING) } else { sink.add_unused() };
    }
    for begin in ["address=/", "local=/", "server=/"] {
        if let Some(rule) = line.strip_prefix(begin) {
            return sink.add(rule.split('/').next().unwrap_or_default(), Says::NOTHING);
        }
    }
    let line = without_comment(line);
    if line.contains("##") || line.starts_with('~') {
        return sink.add_unused();
    }
    sink.add(line, Says::NOTHING)
}

/// Comments stand behind a space, as `#` and `;` may be part of a URL.
fn without_comment(line: &str) -> &str {
    let marks = [" #", "\t#", " ;", "\t;", " //"];
    let end = marks.iter().filter_map(|mark| line.find(mark)).min().unwrap_or(line.len());
    line.get(..end).unwrap_or(line).trim_end()
}

/// `address TAB number of lists`: one list that names an address says little, eight say much.
fn ipsum(line: &str, sink: &mut Sink<'_>) -> Result<(), Fault> {
    let mut fields = line.split_whitespace();
    let (Some(address), Some(Ok(lists)), None) = (fields.next(), fields.next().map(str::parse::<u16>), fields.next())
    else {
        return sink.add_garbage();
    };
    let sure = (0.3 + 0.1 * f32::from(lists)).min(1.0);
    let family = format!("{lists} lists");
    let category = Some(Category::Reputation);
    sink.add(address, Says { category, family: &family, sure })
}

pub(super) fn is_ipsum(line: &str) -> bool {
    line.split_once('\t')
        .is_some_and(|(address, lists)| address.parse::<IpAddr>().is_ok() && lists.trim().parse::<u16>().is_ok())
}

/// `0.0.0.0 name [name...]`. The names of the machine itself are none.
fn hosts(line: &str, sink: &mut Sink<'_>) -> Result<(), Fault> {
    let mut fields = without_comment(line).split_whitespace();
    if fields.next().is_none_or(|address| address.parse::<IpAddr>().is_err()) {
        return sink.add_garbage();
    }
    for name in fields {
        let own = !name.contains('.') || name.starts_with("localhost.") || name.parse::<IpAddr>().is_ok();
        if own { sink.add_unused()? } else { sink.add(name, Says::NOTHING)? }
    }
    Ok(())
}

pub(super) fn is_hosts(line: &str) -> bool {
    let mut fields = line.split_whitespace();
    let sunk = matches!(
        fields.next(),
        Some(
            "0.0.0.0"
                | "127.0.0.1"
                | "::"
                | "::1"
                | "255.255.255.255"
                | "fe80::1%lo0"
                | "ff02::1"
                | "ff02::2"
                | "ff00::0"
        )
    );
    sunk && fields.next().is_some_and(|name| name.parse::<IpAddr>().is_err() || name == "0.0.0.0")
}
