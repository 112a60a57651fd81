//! Feeds in columns. A header, commented out or not, says which is which; without one the first indicator counts.

use std::io::BufRead;

use super::{
    Fault,
    files::{Line, Lines},
    origin::{Strictness, by_words},
    sink::{Says, Sink},
};
use crate::{
    config::Category,
    detect::intel::{Indicator, Unfit},
};

/// Columns looked at.
const COLUMNS_MAX: usize = 32;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Indicator,
    Port,
    /// Family of malware: whoever fills it in means malware.
    Malware,
    /// What it is, in words. Lists of programs have harmless ones among them.
    Description,
    Level,
    Other,
}

fn column(name: &str) -> Column {
    let name: String = name.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    match name.as_str() {
        "ip" | "ipaddress" | "dstip" | "destip" | "srcip" | "address" | "cidr" | "network" | "netblock" | "domain"
        | "fqdn" | "hostname" | "host" | "url" | "ioc" | "iocvalue" | "indicator" | "value" | "ja3" | "ja3md5"
        | "ja3hash" | "ja4" | "ja4fingerprint" | "ipdomainiprangeasn" => Column::Indicator,
        "port" | "dstport" | "destport" => Column::Port,
        "malware" | "malwarefamily" | "malwareprintable" | "listingreason" | "family" => Column::Malware,
        "description" | "desc" | "threat" | "threattype" | "type" | "category" | "tag" | "tags" | "application"
        | "library" | "device" | "os" | "notes" | "name" | "reason" | "comment" | "signature" => Column::Description,
        "threatlevel" | "level" | "confidence" | "confidencelevel" | "severity" | "risk" => Column::Level,
        _ => Column::Other,
    }
}

pub(super) fn read(reader: &mut impl BufRead, sink: &mut Sink<'_>) -> Result<(), Fault> {
    let mut lines = Lines::new(reader);
    let mut layout: Option<Vec<Column>> = None;
    let mut begun = false;
    while let Some(line) = lines.next()? {
        let line = match line {
            Line::Text(line) => line,
            Line::TooLong => {
                sink.add_garbage()?;
                continue;
            }
        };
        let line = line.trim_start_matches('\u{feff}').trim();
        if line.is_empty() {
            continue;
        }
        let comment = line.starts_with(['#', ';']) || line.starts_with("//");
        let fields = split(line.trim_start_matches(['#', ';', '/', ' ']));
        // The last comment before the rows may be the header, and so may the first row.
        if (comment || !begun)
            && let Some(header) = header(&fields)
        {
            if !begun {
                layout = Some(header);
            }
            continue;
        }
        if comment {
            continue;
        }
        begun = true;
        match &layout {
            Some(layout) => row(layout, &fields, sink)?,
            None => guess(&fields, sink)?,
        }
    }
    Ok(())
}

/// A header names a column that holds indicators, and holds none itself.
fn header(fields: &[String]) -> Option<Vec<Column>> {
    let columns: Vec<Column> = fields.iter().map(|name| column(name)).collect();
    let names = fields.len() > 1 && fields.iter().all(|field| Indicator::parse(field).is_err());
    (names && columns.contains(&Column::Indicator)).then_some(columns)
}

fn row(layout: &[Column], fields: &[String], sink: &mut Sink<'_>) -> Result<(), Fault> {
    let of = |wanted: Column| {
        layout.iter().zip(fields).filter(move |(column, field)| **column == wanted && !field.is_empty()).map(|(_, f)| f)
    };
    let malware = of(Column::Malware).find(|family| !matches!(family.as_str(), "None" | "none" | "null" | "unknown"));
    let described: Vec<&str> = of(Column::Description).map(String::as_str).collect();
    let described = described.join(", ");
    let category = match malware {
        Some(_) => Some(Category::Malware),
        None => by_words(&described, Strictness::Descriptions),
    };
    let family = malware.map_or(described.as_str(), String::as_str);
    let sure = of(Column::Level).next().map_or(1.0, |level| sure(level));
    let says = Says { category, family, sure };
    let ports: Vec<&String> = of(Column::Port).collect();
    let mut any = false;
    for value in of(Column::Indicator) {
        any = true;
        let with_port = match ports.first() {
            Some(port) if value.parse::<std::net::Ipv4Addr>().is_ok() => format!("{value}:{port}"),
            _ => value.clone(),
        };
        entry(Indicator::parse(&with_port), says, sink)?;
    }
    // A program that is known by something else than what we look for.
    if any { Ok(()) } else { sink.add_unused() }
}

/// No header: the first thing that is an indicator, and the first words behind it.
fn guess(fields: &[String], sink: &mut Sink<'_>) -> Result<(), Fault> {
    let mut unfit = Unfit::Garbage;
    for (at, field) in fields.iter().enumerate() {
        match Indicator::parse(field) {
            Ok(indicator) => {
                let others = || fields.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, field)| field);
                let wordy = |field: &&String| field.chars().any(char::is_alphabetic) && level(field).is_none();
                let words: Vec<&str> = others().filter(wordy).map(String::as_str).collect();
                let family = words.first().copied().unwrap_or_default();
                let category = by_words(&words.join(" "), Strictness::Descriptions);
                let sure = others().find_map(|field| level(field)).unwrap_or(1.0);
                return entry(Ok(indicator), Says { category, family, sure }, sink);
            }
            Err(Unfit::Garbage) => {}
            Err(other) => unfit = other,
        }
    }
    sink.take(Err(unfit), Says::NOTHING)
}

/// Lists of fingerprints name browsers as well as bots: a fingerprint counts only where somebody says so.
pub(super) fn entry(read: Result<Indicator, Unfit>, says: Says<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
    match &read {
        Ok(indicator @ (Indicator::Ja3(_) | Indicator::Ja4(_))) if !sink.is_vouched_for() && !is_bad(says.category) => {
            sink.add_harmless(indicator)
        }
        _ => sink.take(read, says),
    }
}

const fn is_bad(category: Option<Category>) -> bool {
    matches!(category, Some(Category::Malware | Category::Malicious | Category::Phishing))
}

/// How sure the feed is, where a column says so in words or in percent.
fn sure(text: &str) -> f32 {
    match (level(text), text.parse::<f32>()) {
        (Some(sure), _) => sure,
        (None, Ok(percent)) if (0.0..=100.0).contains(&percent) => percent / 100.0,
        (None, _) => 1.0,
    }
}

fn level(text: &str) -> Option<f32> {
    Some(match text.to_ascii_lowercase().as_str() {
        "info" | "informational" | "none" => 0.2,
        "low" => 0.4,
        "medium" => 0.7,
        "high" | "critical" => 1.0,
        _ => return None,
    })
}

/// Fields by comma, or by tab where there is no comma; quotes and the space around them taken off.
fn split(line: &str) -> Vec<String> {
    let delimiter = if line.contains(',') { b',' } else { b'\t' };
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .buffer_capacity(line.len().max(1))
        .from_reader(line.as_bytes());
    let mut record = csv::StringRecord::new();
    if !matches!(reader.read_record(&mut record), Ok(true)) {
        return Vec::new();
    }
    record.iter().take(COLUMNS_MAX).map(|field| field.trim().trim_matches('"').trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_without_quotes_and_spaces() {
        assert_eq!(split("\"a\", \"b c\" ,,d"), ["a", "b c", "", "d"]);
        assert_eq!(split("\"x, y\",z"), ["x, y", "z"]);
        assert_eq!(split("a\tb"), ["a", "b"]);
        assert_eq!(split(""), [""; 0]);
    }

    #[test]
    fn a_header_names_indicators_and_holds_none() {
        let found = |line| header(&split(line)).is_some();
        assert!(found("first_seen_utc,dst_ip,dst_port,c2_status,last_online,malware"));
        assert!(found("ja3_md5,Firstseen,Lastseen,Listingreason"));
        assert!(!found("203.0.113.7,high,host"));
        assert!(!found("a,b,c"));
    }
}
