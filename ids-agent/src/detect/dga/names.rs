//! Scores the label that somebody registered by how likely an algorithm made it. `models/train/dga.py` fits it.

use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Entries of the table, and labels that can be scored.
const BUCKETS: usize = 1 << 14;
const LABEL_BYTES_MAX: usize = 63;
/// What the same sums may differ by between two programs.
const GOLDEN_TOLERANCE: f64 = 1e-4;
/// Suffixes below which anybody can have a name, and malware often has; below other private ones names are
/// handed out by a machine, which makes them random whoever asks.
const DYNAMIC: [&str; 18] = [
    "chickenkiller.com",
    "ddns.net",
    "duckdns.org",
    "dyndns.org",
    "dynserv.com",
    "dynu.net",
    "hopto.org",
    "mooo.com",
    "myftp.org",
    "no-ip.biz",
    "no-ip.info",
    "no-ip.org",
    "redirectme.net",
    "servebeer.com",
    "serveftp.com",
    "sytes.net",
    "yi.org",
    "zapto.org",
];

/// Why a scorer is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ScorerError {
    #[error("manifest.toml: {0}")]
    Manifest(String),
    #[error("table.bin holds {found} bytes, {BUCKETS} are wanted")]
    Size { found: usize },
    #[error("table.bin has SHA-256 {found}, manifest.toml wants {wanted}")]
    Digest { found: String, wanted: String },
    #[error("golden.csv: `{label}` scores {found}, {wanted} is wanted")]
    Golden { label: String, found: f64, wanted: f64 },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    name: String,
    version: String,
    sha256: String,
    label_min: usize,
    scale: f64,
    bias: f64,
    threshold_1_percent: f64,
    threshold_5_percent: f64,
    figures: Figures,
}

/// Weights of what the whole label is like.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Figures {
    length: f64,
    digits: f64,
    vowels: f64,
    consonant_run: f64,
    distinct: f64,
    hexadecimal: f64,
    hyphens: f64,
}

/// What a name is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// Nothing can be said, or people made it.
    Ordinary,
    /// One in twenty names that people made looks so.
    Odd,
    /// One in a hundred does.
    Generated,
}

/// A name under which somebody registered something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered<'a> {
    /// Label and suffix: `evil.co.uk`.
    pub domain: &'a str,
    pub suffix: &'a str,
    pub likeness: Likeness,
}

/// The fitted weights.
#[derive(Clone, Debug)]
pub struct Scorer {
    table: Box<[i8]>,
    label_min: usize,
    scale: f64,
    bias: f64,
    generated_from: f64,
    odd_from: f64,
    figures: Figures,
    version: String,
}

impl Scorer {
    /// Takes a model's files in, if they belong together and give what they gave when they were fitted.
    pub fn new(manifest: &str, table: &[u8], golden: &str) -> Result<Self, ScorerError> {
        let manifest: Manifest =
            toml::from_str(manifest).map_err(|error| ScorerError::Manifest(error.message().to_owned()))?;
        if table.len() != BUCKETS {
            return Err(ScorerError::Size { found: table.len() });
        }
        let found = hex(&Sha256::digest(table));
        if found != manifest.sha256 {
            return Err(ScorerError::Digest { found, wanted: manifest.sha256 });
        }
        let scorer = Self {
            table: table.iter().map(|byte| i8::from_ne_bytes([*byte])).collect(),
            label_min: manifest.label_min,
            scale: manifest.scale,
            bias: manifest.bias,
            generated_from: manifest.threshold_1_percent,
            odd_from: manifest.threshold_5_percent,
            figures: manifest.figures,
            version: format!("{} {}", manifest.name, manifest.version),
        };
        for row in golden.lines().skip(1) {
            let (label, wanted) = row.split_once(',').unwrap_or((row, ""));
            let wanted: f64 =
                wanted.parse().map_err(|_| ScorerError::Manifest(format!("golden.csv: `{row}` is no row")))?;
            let found = scorer.score(label);
            if (found - wanted).abs() > GOLDEN_TOLERANCE {
                return Err(ScorerError::Golden { label: label.to_owned(), found, wanted });
            }
        }
        Ok(scorer)
    }

    /// Name and version of the fit.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Finds what was registered in a name, and what it is like. `name` is in lower case.
    pub fn registered<'a>(&self, name: &'a str) -> Option<Registered<'a>> {
        let name = name.strip_suffix('.').unwrap_or(name);
        let found = psl::domain(name.as_bytes())?;
        let domain = std::str::from_utf8(found.as_bytes()).ok()?;
        let suffix = domain.get(domain.len().checked_sub(found.suffix().as_bytes().len())?..)?;
        if !found.suffix().is_known() || suffix == "arpa" || suffix.ends_with(".arpa") {
            return None;
        }
        let label = domain.strip_suffix(suffix)?.strip_suffix('.')?;
        let handed_out = found.suffix().typ() == Some(psl::Type::Private) && !DYNAMIC.contains(&suffix);
        let fits = (self.label_min..=LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with("xn--")
            && label.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        let likeness = if handed_out || !fits {
            Likeness::Ordinary
        } else {
            match self.score(label) {
                score if score >= self.generated_from => Likeness::Generated,
                score if score >= self.odd_from => Likeness::Odd,
                _ => Likeness::Ordinary,
            }
        };
        Some(Registered { domain, suffix, likeness })
    }

    /// 0 to 1.
    pub fn score(&self, label: &str) -> f64 {
        let bytes = label.as_bytes();
        if bytes.is_empty() || bytes.len() > LABEL_BYTES_MAX {
            return 0.0;
        }
        let mut marked = smallvec::SmallVec::<[u8; LABEL_BYTES_MAX + 2]>::new();
        marked.push(b'^');
        marked.extend_from_slice(bytes);
        marked.push(b'$');
        let at = |gram: &[u8]| i64::from(self.table.get(bucket(gram)).copied().unwrap_or(0));
        let sum: i64 = marked.windows(2).map(at).sum::<i64>() + marked.windows(3).map(at).sum::<i64>();
        let grams = (marked.len() - 1) + (marked.len() - 2);
        let total = self.bias + self.scale * sum as f64 / (grams as f64).sqrt() + self.figures.of(bytes);
        1.0 / (1.0 + (-total.clamp(-30.0, 30.0)).exp())
    }
}

impl Figures {
    /// The weighted sum of the figures of a label that is not empty.
    fn of(&self, label: &[u8]) -> f64 {
        let length = label.len() as f64;
        let is_vowel = |byte: &u8| matches!(byte, b'a' | b'e' | b'i' | b'o' | b'u' | b'y');
        let count = |fits: &dyn Fn(&u8) -> bool| label.iter().filter(|byte| fits(byte)).count() as f64;
        let letters = count(&|byte| byte.is_ascii_alphabetic());
        let vowels = count(&is_vowel);
        let (mut run, mut longest) = (0u32, 0u32);
        for byte in label {
            run = if byte.is_ascii_alphabetic() && !is_vowel(byte) { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        let mut seen = [false; 256];
        label.iter().for_each(|byte| seen[usize::from(*byte)] = true);
        let distinct = seen.iter().filter(|seen| **seen).count() as f64;
        let hexadecimal = label.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        self.length * length / 20.0
            + self.digits * count(&|byte| byte.is_ascii_digit()) / length
            + self.vowels * if letters > 0.0 { vowels / letters } else { 0.0 }
            + self.consonant_run * f64::from(longest) / 8.0
            + self.distinct * distinct / length
            + self.hexadecimal * f64::from(u8::from(hexadecimal))
            + self.hyphens * count(&|byte| *byte == b'-') / length
    }
}

/// FNV-1a, folded to the table's size: <http://www.isthe.com/chongo/tech/comp/fnv/>.
fn bucket(gram: &[u8]) -> usize {
    let hash = gram.iter().fold(0x811c_9dc5u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    (hash ^ (hash >> 14)) as usize % BUCKETS
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
