//! `intel`: what a feed holds, and what the feeds know of something.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{
    Failure,
    options::{CommonArgs, effective},
    parts::Seed,
    print, say,
    table::{grouped, number, shown, table},
};
use crate::{
    config::{Category, FeedKind, FeedSettings, IntelSettings},
    detect::intel::{Allowed, Fingerprints, Hit, Indicator, Segment, Store, Unfit},
    intel::read_feed,
};
use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Args)]
pub(super) struct IntelArgs {
    #[command(subcommand)]
    verb: IntelVerb,
}

#[derive(Debug, Subcommand)]
enum IntelVerb {
    /// Says what feeds hold, what is left out and why, and which are refused
    #[command(after_help = "Examples:
  ids-agent intel check                                   the configured feeds
  ids-agent intel check feodo.csv maltrail/trails/static  files, and folders of them
  ids-agent intel check --kind hosts --category malware hosts.txt --json

A feed is refused whole when it cannot be read, is a web page, or more than half of it makes no
sense. Of a sound one these entries are left out:
  garbage     nothing that a feed would hold
  unused      nothing that shows on the wire: paths without a host, hashes of files
  too broad   public suffixes, services that everybody uses, prefixes of millions of addresses
  reserved    private addresses, public resolvers
  harmless    fingerprints that the feed itself ascribes to ordinary programs

Where no name, folder or option says what a list is about, it counts as reputation: information
that raises no alert by itself. Exits with 1 when a feed is refused.")]
    Check(IntelCheckArgs),
    /// Asks the feeds for names, addresses, pages and fingerprints, as a flow would
    #[command(after_help = "Examples:
  ids-agent intel lookup mail.evil.example 203.0.113.7:443
  ids-agent intel lookup --feed maltrail/trails/static http://site.example/wp-content/x.php

The allow list is asked first. A name is found by the names above it, an address by its prefix, a
page by those above it. Exits with 1 when nothing is known.")]
    Lookup(IntelLookupArgs),
}

#[derive(Debug, Args)]
struct IntelCheckArgs {
    /// Files or folders, or names of configured feeds; all configured ones when absent
    #[arg(value_name = "FEED")]
    feeds: Vec<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
    /// How the feeds are written, where it is not to be told by their first lines
    #[arg(long, value_enum)]
    kind: Option<FeedKindArg>,
    /// What the indicators are, where the files do not say it themselves
    #[arg(long, value_enum)]
    category: Option<CategoryArg>,
    /// Print the findings as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct IntelLookupArgs {
    /// What to ask for
    #[arg(required = true, value_name = "VALUE")]
    values: Vec<String>,
    /// File or folder to ask instead of the configured feeds; may be given several times
    #[arg(long = "feed", value_name = "FEED")]
    feeds: Vec<PathBuf>,
    #[command(flatten)]
    common: CommonArgs,
    /// What the indicators are, where the files do not say it themselves
    #[arg(long, value_enum)]
    category: Option<CategoryArg>,
    /// Print the answers as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FeedKindArg {
    /// Told by the first lines
    Auto,
    /// One indicator a line
    List,
    /// Address, tab, number of lists
    Ipsum,
    /// 0.0.0.0 and a name
    Hosts,
    /// Columns, with or without a header
    Csv,
    /// JSON with TLS fingerprints
    Fingerprints,
    /// A STIX 2.1 bundle
    Stix,
}

impl From<FeedKindArg> for FeedKind {
    fn from(kind: FeedKindArg) -> Self {
        match kind {
            FeedKindArg::Auto => Self::Auto,
            FeedKindArg::List => Self::List,
            FeedKindArg::Ipsum => Self::Ipsum,
            FeedKindArg::Hosts => Self::Hosts,
            FeedKindArg::Csv => Self::Csv,
            FeedKindArg::Fingerprints => Self::Fingerprints,
            FeedKindArg::Stix => Self::Stix,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum CategoryArg {
    /// Servers and names of malware
    Malware,
    /// Attack tools, exploit kits and gates to them
    Malicious,
    Phishing,
    /// Addresses and names that lists complain about
    Reputation,
    /// Who scans the whole internet
    Scanner,
    Tor,
    /// What may be unwanted: never told by itself
    Suspicious,
}

impl From<CategoryArg> for Category {
    fn from(category: CategoryArg) -> Self {
        match category {
            CategoryArg::Malware => Self::Malware,
            CategoryArg::Malicious => Self::Malicious,
            CategoryArg::Phishing => Self::Phishing,
            CategoryArg::Reputation => Self::Reputation,
            CategoryArg::Scanner => Self::Scanner,
            CategoryArg::Tor => Self::Tor,
            CategoryArg::Suspicious => Self::Suspicious,
        }
    }
}

/// Longest reason or name shown in a table.
const SHOWN_CHARS: usize = 100;

pub(super) fn run(args: &IntelArgs) -> Result<(), Failure> {
    match &args.verb {
        IntelVerb::Check(args) => check(args),
        IntelVerb::Lookup(args) => lookup(args),
    }
}

/// A feed named on the command line: what the configuration says of its path, else what the options say.
fn feed(
    path: &PathBuf,
    configured: &[FeedSettings],
    kind: Option<FeedKind>,
    category: Option<Category>,
) -> FeedSettings {
    let known = configured.iter().find(|feed| feed.path == *path || feed.name.as_str() == path.as_os_str());
    let mut feed = known.cloned().unwrap_or_else(|| FeedSettings {
        name: path.file_name().map_or_else(|| "feed".to_owned(), |name| name.to_string_lossy().into_owned()),
        path: path.clone(),
        kind: FeedKind::Auto,
        category: None,
        trust: 1.0,
    });
    feed.kind = kind.unwrap_or(feed.kind);
    feed.category = category.or(feed.category);
    feed
}

fn feeds(
    given: &[PathBuf],
    settings: &IntelSettings,
    kind: Option<FeedKind>,
    category: Option<Category>,
) -> Vec<FeedSettings> {
    if given.is_empty() {
        return settings.feeds.clone();
    }
    given.iter().map(|path| feed(path, &settings.feeds, kind, category)).collect()
}

fn check(args: &IntelCheckArgs) -> Result<(), Failure> {
    let settings = effective(&args.common, None)?.intel;
    let feeds = feeds(&args.feeds, &settings, args.kind.map(Into::into), args.category.map(Into::into));
    if feeds.is_empty() {
        return Err(Failure::Usage("no feed to check: name files or folders, or set intel.feeds".to_owned()));
    }
    let fingerprints = Fingerprints::new(Seed::Fixed.draw());
    let mut refused = 0;
    let mut rows = table(&["feed", "indicators", "of which", "left out", "memory"]);
    let mut lines = Vec::new();
    for feed in &feeds {
        match read_feed(feed, &settings, &fingerprints) {
            Ok(segment) => {
                rows.add_row(vec![
                    shown(&feed.name, SHOWN_CHARS).into(),
                    number(segment.len() as u64),
                    kinds(&segment).into(),
                    left_out(&segment).into(),
                    format!("{} KiB", grouped((segment.bytes() as u64).div_ceil(1 << 10))).into(),
                ]);
                lines.push(told(feed, &segment));
            }
            Err(refusal) => {
                refused += 1;
                rows.add_row(vec![
                    shown(&feed.name, SHOWN_CHARS),
                    "refused".to_owned(),
                    shown(&refusal.to_string(), SHOWN_CHARS),
                ]);
                lines.push(json!({ "feed": feed.name, "path": feed.path, "refused": refusal.to_string() }));
            }
        }
    }
    if args.json {
        print(format!("{:#}\n", Value::Array(lines)).as_bytes())?;
    } else {
        print(format!("{rows}\n").as_bytes())?;
    }
    if refused == 0 { Ok(()) } else { Err(Failure::Silent) }
}

/// `1,371,417 domain, 285,137 address_port`.
fn kinds(segment: &Segment) -> String {
    let kinds: Vec<String> = segment
        .kinds()
        .filter(|(_, count)| *count > 0)
        .map(|(kind, count)| format!("{} {}", grouped(count), kind.name()))
        .collect();
    kinds.join("\n")
}

fn left_out(segment: &Segment) -> String {
    let reasons: Vec<String> = reasons(segment)
        .into_iter()
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{} {reason}", grouped(count)))
        .collect();
    reasons.join("\n")
}

fn reasons(segment: &Segment) -> [(&'static str, u64); 7] {
    let census = segment.census();
    [
        ("garbage", census.garbage),
        ("unused", census.unused),
        ("too broad", census.too_broad),
        ("reserved", census.reserved),
        ("harmless", census.harmless),
        ("repeated", census.repeated),
        ("beyond the bound", census.beyond),
    ]
}

fn told(feed: &FeedSettings, segment: &Segment) -> Value {
    let kinds: serde_json::Map<String, Value> =
        segment.kinds().map(|(kind, count)| (kind.name().to_owned(), count.into())).collect();
    let left_out: serde_json::Map<String, Value> =
        reasons(segment).into_iter().map(|(reason, count)| (reason.replace(' ', "_"), count.into())).collect();
    json!({
        "feed": feed.name,
        "path": feed.path,
        "indicators": segment.len(),
        "kinds": kinds,
        "entries": segment.census().entries,
        "left_out": left_out,
        "memory_bytes": segment.bytes(),
        "modified_unix_secs": segment.modified_unix_secs(),
    })
}

fn lookup(args: &IntelLookupArgs) -> Result<(), Failure> {
    let settings = effective(&args.common, None)?.intel;
    let feeds = feeds(&args.feeds, &settings, None, args.category.map(Into::into));
    if feeds.is_empty() {
        return Err(Failure::Usage("no feed to ask: name one with --feed, or set intel.feeds".to_owned()));
    }
    let fingerprints = Fingerprints::new(Seed::Fixed.draw());
    let allowed = Allowed::new(&settings.allow, &fingerprints).map_err(Failure::Config)?;
    let mut segments = Vec::new();
    for feed in &feeds {
        match read_feed(feed, &settings, &fingerprints) {
            Ok(segment) => segments.push(segment.into()),
            Err(refusal) => say(&format!("feed {}: {refusal}", feed.name)),
        }
    }
    let store = Store::new(fingerprints, allowed.into(), segments);
    let mut rows = table(&["asked", "known as", "category", "family", "confidence", "feed"]);
    let mut lines = Vec::new();
    let mut known = 0;
    for asked in &args.values {
        match ask(&store, asked) {
            Ok(Some(hit)) => {
                known += 1;
                rows.add_row([
                    shown(asked, SHOWN_CHARS),
                    shown(&hit.indicator, SHOWN_CHARS),
                    hit.tag.category.to_string(),
                    hit.tag.label.to_string(),
                    format!("{:.2}", hit.confidence()),
                    hit.feed.name().to_string(),
                ]);
                lines.push(json!({
                    "asked": asked,
                    "indicator": hit.indicator,
                    "kind": hit.kind.name(),
                    "category": hit.tag.category.name(),
                    "family": &*hit.tag.label,
                    "confidence": (f64::from(hit.confidence()) * 1e4).round() / 1e4,
                    "feed": &**hit.feed.name(),
                }));
            }
            Ok(None) => {
                rows.add_row([shown(asked, SHOWN_CHARS), "not known".to_owned()]);
                lines.push(json!({ "asked": asked, "indicator": null }));
            }
            Err(why) => {
                rows.add_row([shown(asked, SHOWN_CHARS), why.to_owned()]);
                lines.push(json!({ "asked": asked, "indicator": null, "why": why }));
            }
        }
    }
    if args.json {
        print(format!("{:#}\n", Value::Array(lines)).as_bytes())?;
    } else {
        print(format!("{rows}\n").as_bytes())?;
    }
    // As grep does: 0 where something was found.
    if known > 0 { Ok(()) } else { Err(Failure::Silent) }
}

/// Asks as a flow would.
fn ask(store: &Store, asked: &str) -> Result<Option<Hit>, &'static str> {
    Ok(match Indicator::parse(asked) {
        Ok(Indicator::Domain(name)) => store.domain(&name),
        Ok(Indicator::Address(address)) => store.address(address, None),
        Ok(Indicator::AddressPort(address, port)) => store.address(address, Some(port)),
        Ok(Indicator::Ja3(hash)) => store.ja3(&hash),
        Ok(Indicator::Ja4(hash)) => store.ja4(&hash),
        Ok(Indicator::Url(url)) => {
            let (host, path) = url.split_once('/').unwrap_or((&url, ""));
            let port = host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(80);
            let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
            store.url(host, port, &format!("/{path}")).or_else(|| store.domain(name))
        }
        Ok(Indicator::Prefix(..)) => return Err("a prefix; ask for an address in it"),
        Err(Unfit::TooBroad) => return Err("never matches: everybody's"),
        Err(Unfit::Reserved) => return Err("never matches: private, or a public resolver"),
        Err(Unfit::Garbage | Unfit::Unused) => return Err("nothing that can be looked for"),
    })
}
