//! `LABELS.tsv`: which flows of which captures are attacks. Reads labels, judges nothing.

use std::{fs, net::IpAddr, path::Path};

use ids_common::flow::FlowKey;

/// One labelled capture.
#[derive(Clone, Debug)]
pub struct Label {
    /// Where the row stands in `LABELS.tsv`, counted from one.
    pub line: usize,
    /// Relative to the folder of `LABELS.tsv`.
    pub path: String,
    pub family: String,
    pub source: String,
    pub filter: Filter,
}

/// Which flows of a capture are the attack, by their initiator's direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Any of these, each of which wants all of its terms. None: no flow is an attack.
    any: Vec<Vec<Term>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Term {
    Proto(u8),
    Host(Side, IpAddr),
    Port(Side, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Target,
    Either,
}

/// Reads the table of a folder.
pub fn of_folder(folder: &Path) -> Result<Vec<Label>, String> {
    let table = folder.join("LABELS.tsv");
    let text = fs::read_to_string(&table).map_err(|error| format!("cannot read {}: {error}", table.display()))?;
    read(&text).map_err(|error| format!("{}: {error}", table.display()))
}

/// Reads the table; the header names the columns.
pub fn read(text: &str) -> Result<Vec<Label>, String> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap_or("").split('\t').collect();
    let column = |name: &str| {
        header.iter().position(|column| *column == name).ok_or(format!("LABELS.tsv has no column `{name}`"))
    };
    let (path, family, filter, source) =
        (column("path")?, column("family")?, column("attack_flow_filter")?, column("source")?);
    let label = |(at, line): (usize, &str)| {
        let fields: Vec<&str> = line.split('\t').collect();
        let field = |column: usize| {
            fields.get(column).map(|field| (*field).to_owned()).ok_or(format!("line {}: too few columns", at + 2))
        };
        let filter = Filter::parse(&field(filter)?).map_err(|reason| format!("line {}: {reason}", at + 2))?;
        Ok(Label { line: at + 2, path: field(path)?, family: field(family)?, source: field(source)?, filter })
    };
    lines.enumerate().filter(|(_, line)| !line.is_empty()).map(label).collect()
}

impl Filter {
    /// Terms joined by `and` and `or`, of which `and` binds tighter.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "none" => return Ok(Self { any: Vec::new() }),
            "all" => return Ok(Self { any: vec![Vec::new()] }),
            _ => {}
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        let all = |part: &[&str]| part.split(|word| *word == "and").map(term).collect::<Result<Vec<_>, _>>();
        Ok(Self { any: words.split(|word| *word == "or").map(all).collect::<Result<_, _>>()? })
    }

    pub fn matches(&self, key: &FlowKey) -> bool {
        self.any.iter().any(|all| all.iter().all(|term| term.matches(key)))
    }
}

impl Term {
    fn matches(&self, key: &FlowKey) -> bool {
        match self {
            Self::Proto(proto) => key.proto == *proto,
            Self::Host(side, host) => {
                let host = match host {
                    IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
                    IpAddr::V6(v6) => v6.octets(),
                };
                side.holds(key.src == host, key.dst == host)
            }
            Self::Port(side, port) => side.holds(key.src_port == *port, key.dst_port == *port),
        }
    }
}

impl Side {
    fn holds(self, source: bool, target: bool) -> bool {
        match self {
            Self::Source => source,
            Self::Target => target,
            Self::Either => source || target,
        }
    }
}

fn term(words: &[&str]) -> Result<Term, String> {
    let bad = || format!("`{}` is no filter term", words.join(" "));
    let (side, words) = match words {
        ["src", rest @ ..] => (Side::Source, rest),
        ["dst", rest @ ..] => (Side::Target, rest),
        rest => (Side::Either, rest),
    };
    match words {
        ["tcp"] => Ok(Term::Proto(6)),
        ["udp"] => Ok(Term::Proto(17)),
        ["icmp"] => Ok(Term::Proto(1)),
        ["host", host] => Ok(Term::Host(side, host.parse().map_err(|_| bad())?)),
        ["port", port] => Ok(Term::Port(side, port.parse().map_err(|_| bad())?)),
        _ => Err(bad()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(src: &str, dst: &str, dst_port: u16, proto: u8) -> FlowKey {
        let mapped = |text: &str| text.parse::<std::net::Ipv4Addr>().unwrap().to_ipv6_mapped().octets();
        FlowKey { src: mapped(src), dst: mapped(dst), src_port: 40_000, dst_port, proto, kind: 0, vlan: 0 }
    }

    fn check(filter: &str, key: FlowKey, expected: bool) {
        assert_eq!(Filter::parse(filter).unwrap().matches(&key), expected, "{filter}");
    }

    #[test]
    fn filters_look_at_the_initiators_direction() {
        let scan = key("192.0.2.1", "192.0.2.9", 22, 6);
        check("none", scan, false);
        check("all", scan, true);
        check("tcp", scan, true);
        check("udp", scan, false);
        check("src host 192.0.2.1", scan, true);
        check("dst host 192.0.2.1", scan, false);
        check("host 192.0.2.9 and tcp", scan, true);
        check("dst port 22", scan, true);
        check("dst port 40000", scan, false);
    }

    #[test]
    fn and_binds_tighter_than_or() {
        let filter = "host 192.0.2.7 and udp or dst port 22";
        check(filter, key("192.0.2.1", "192.0.2.9", 22, 6), true);
        check(filter, key("192.0.2.7", "192.0.2.9", 80, 17), true);
        check(filter, key("192.0.2.7", "192.0.2.9", 80, 6), false);
    }

    #[test]
    fn a_side_binds_to_its_term() {
        let dns = key("192.0.2.1", "192.0.2.9", 53, 17);
        check("src port 40000", dns, true);
        check("src port 53", dns, false);
        check("port 53", dns, true);
        check("src host 192.0.2.9 or dst host 192.0.2.1", dns, false);
        check("  udp   and\tdst port 53 ", dns, true);
        check("host ::ffff:192.0.2.9", dns, true);
        check("host 2001:db8::9", dns, false);
    }

    #[test]
    fn an_unknown_term_is_an_error_that_names_it() {
        for (filter, named) in [
            ("tcp and greater 100", "`greater 100`"),
            ("host nowhere", "`host nowhere`"),
            ("dst port 65536", "`dst port 65536`"),
            ("tcp and", "``"),
            ("or udp", "``"),
            ("", "``"),
            ("tcp udp", "`tcp udp`"),
            ("none or tcp", "`none`"),
        ] {
            let error = Filter::parse(filter).unwrap_err();
            assert!(error.contains(named), "{filter}: {error}");
        }
    }

    #[test]
    fn rows_know_their_line_and_an_unreadable_one_names_its_own() {
        let header = "path\tsource\tfamily\tattack_flow_filter\n";
        let good = "a.pcap\tlab\tBENIGN\tnone\n";
        let labels = read(&format!("{header}{good}\n{good}")).unwrap();
        assert_eq!(labels.iter().map(|label| label.line).collect::<Vec<_>>(), [2, 4]);
        let error = |rows: &str| read(&format!("{header}{rows}")).unwrap_err();
        assert!(error(&format!("{good}\nb.pcap\tlab\n")).contains("line 4"));
        assert!(error("b.pcap\tlab\tDDOS\thost x\n").contains("line 2: `host x`"));
        assert!(read("path\tfamily\n").unwrap_err().contains("`attack_flow_filter`"));
    }
}
