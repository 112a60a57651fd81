//! Attack signs in sampled bytes: what was matched and how sure it is. Decides nothing; `detect::payload` judges.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{AppProto, recognise::Guess, text::text};

mod normal;
mod patterns;
mod pieces;
mod web;
mod web_rules;

pub(super) use pieces::{Piece, Pieces};

/// Bytes of a match that are quoted.
const QUOTE_BYTES_MAX: usize = 96;
/// Kinds kept of one direction, the surest first.
const SIGNS_PER_SIDE_MAX: usize = 6;
/// Below this a sign is not worth a word.
const SURENESS_MIN: u8 = 25;

macro_rules! sign_kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $words:literal;)*) => {
        /// What a sign stands for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum SignKind {
            $($(#[$doc])* $variant,)*
        }

        impl SignKind {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name as the kind of a finding.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// What it is, in the words of a sentence.
            pub const fn words(self) -> &'static str {
                match self {
                    $(Self::$variant => $words,)*
                }
            }
        }
    };
}

sign_kinds! {
    SqlInjection = "sql_injection", "SQL injection";
    NosqlInjection = "nosql_injection", "query operator injection";
    CrossSiteScripting = "xss", "cross-site scripting";
    PathTraversal = "path_traversal", "path traversal";
    FileInclusion = "file_inclusion", "file inclusion";
    CommandInjection = "command_injection", "command injection";
    CodeInjection = "code_injection", "code injection";
    TemplateInjection = "template_injection", "template or expression injection";
    JndiLookup = "jndi_lookup", "a JNDI lookup";
    Shellshock = "shellshock", "a shell function in a header";
    ExternalEntity = "xxe", "an XML external entity";
    RequestForgery = "ssrf", "server-side request forgery";
    Deserialization = "deserialization", "a serialised object";
    WebShell = "web_shell", "a web shell";
    ExploitPath = "exploit_path", "a request for a known weak spot";
    ScanTool = "attack_tool", "an attack tool's name";
    Discovery = "scanner", "a scanner's name";
    MalformedRequest = "malformed_request", "a request that no client sends by itself";
    SqlError = "sql_error", "a database error in the answer";
    FileLeak = "leaked_file", "a system file in the answer";
}

/// One thing that was seen in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    pub kind: SignKind,
    /// How sure it is, in percent.
    pub sureness: u8,
    /// What was matched, after decoding: escaped and capped.
    pub what: Arc<str>,
}

/// The signs of one direction: one of each kind, the surest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signs {
    found: SmallVec<[Sign; 1]>,
    /// Patterns of the message at hand that have spoken: a browser repeats its address in the next referer.
    spoken: SmallVec<[u16; 8]>,
}

impl Signs {
    /// Adds a sign. What several rules of one kind say is joined as independent evidence.
    fn add(&mut self, kind: SignKind, sureness: u8, what: &[u8]) {
        match self.found.iter_mut().find(|sign| sign.kind == kind) {
            Some(sign) => {
                let doubt = u32::from(100 - sign.sureness.min(100)) * u32::from(100 - sureness.min(100)) / 100;
                if sureness > sign.sureness {
                    sign.what = text(what, QUOTE_BYTES_MAX);
                }
                sign.sureness = (100 - doubt.min(100)) as u8;
            }
            None => self.found.push(Sign { kind, sureness: sureness.min(100), what: text(what, QUOTE_BYTES_MAX) }),
        }
    }

    /// Takes in the signs of another unit. The same kind seen again is no second witness: retries say the same.
    fn merge(&mut self, other: Self) {
        for sign in other.found {
            match self.found.iter_mut().find(|known| known.kind == sign.kind) {
                Some(known) if known.sureness >= sign.sureness => {}
                Some(known) => *known = sign,
                None => self.found.push(sign),
            }
        }
    }

    /// Drops what is not worth a word and what is too much.
    fn settle(mut self) -> Self {
        self.found.retain(|sign| sign.sureness >= SURENESS_MIN);
        self.found.sort_by_key(|sign| (std::cmp::Reverse(sign.sureness), sign.kind));
        self.found.truncate(SIGNS_PER_SIDE_MAX);
        self.spoken.clear();
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Sign> {
        self.found.iter()
    }
}

/// Signs in a direction of a TCP or SCTP flow that speaks what `guess` says.
pub(super) fn of_stream(guess: Guess, pieces: &Pieces<'_>) -> Signs {
    if matches!(guess, Guess::Known(AppProto::Tls | AppProto::Ssh | AppProto::Http2 | AppProto::Quic)) {
        return Signs::default();
    }
    let mut signs = Signs::default();
    let mut http = None;
    for unit in pieces.units() {
        http = web::Part::of(unit.bytes).or(http.map(web::Part::next));
        match http {
            Some(part) => signs.merge(web::signs(part, unit.bytes)),
            None => {}
        }
    }
    signs.settle()
}
