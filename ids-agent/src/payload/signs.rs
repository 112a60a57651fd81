//! Attack signs in sampled bytes: what was matched and how sure it is. Decides nothing; `detect::payload` judges.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{AppProto, CertificateFacts, mqtt, recognise::Guess, text::text, tls};

mod filler;
mod kits;
mod lines;
mod machine_code;
mod normal;
mod other;
mod pages;
mod patterns;
mod pictures;
mod pieces;
mod rpc;
mod smb;
mod web;
mod web_rules;

pub(super) use pieces::{Piece, Pieces};
pub(super) use rpc::Contexts;

/// Bytes of a match that are quoted.
const QUOTE_BYTES_MAX: usize = 96;
/// Kinds kept of one direction, the surest first.
const SIGNS_PER_SIDE_MAX: usize = 6;
const PORT_KERBEROS: u16 = 88;
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
    ManyRanges = "many_ranges", "a request for one file in countless pieces";
    SlowHeaders = "endless_headers", "a request of which the headers never end";
    SqlError = "sql_error", "a database error in the answer";
    FileLeak = "leaked_file", "a system file in the answer";
    /// The browser is the target.
    MaliciousPage = "malicious_page", "a page that attacks its reader";
    Shellcode = "shellcode", "machine code in a message";
    FormatString = "format_string", "a format string";
    OverlongField = "overlong_field", "a field longer than any server expects";
    ByteRun = "repeated_byte", "one letter hundreds of times over";
    ProtocolViolation = "protocol_violation", "what the protocol forbids";
    SmbExploit = "smb_exploit", "an SMB message of known exploits";
    RpcExploit = "rpc_exploit", "a remote procedure call of known exploits";
    Zerologon = "zerologon", "a Netlogon challenge of zeros";
    Heartbleed = "heartbleed", "a heartbeat that asks for more than it sent";
    Worm = "worm", "a worm in one datagram";
    ServiceLoop = "service_loop", "two services set upon each other";
    CommandOutput = "command_output", "the output of a command";
    BotLoader = "bot_loader", "the way bots are loaded";
    RemoteExecution = "remote_execution", "remote control of services, tasks or objects";
    DirectoryTheft = "directory_theft", "directory replication or theft of its secrets";
    Coercion = "forced_login", "a call that makes a server log in elsewhere";
    DirectorySearch = "directory_search", "a search for whom to attack";
    UnknownAccount = "unknown_account", "a name that the domain does not know";
    WeakTicket = "weak_ticket", "a ticket in the weakest cipher";
    StrongCipher = "strong_cipher", "a ticket asked for in a strong cipher";
    RepeatedCommand = "repeated_command", "one command over and over";
    RemoteShell = "remote_shell", "a command shell";
    Stager = "stager", "a program sent as such";
    RatHello = "rat", "the greeting of a remote control tool";
    BotChat = "irc_bot", "a bot in a chat";
    Miner = "miner", "coin mining";
    C2Profile = "c2_profile", "the way a controlled program asks for orders";
    SpamBot = "spam_bot", "mail sent by a bot";
    DisguisedProgram = "disguised_program", "a program under another type";
    ProgramDownload = "program_download", "a program";
    ExploitKit = "exploit_kit", "the way an exploit kit leads its visitors";
    RiskyFile = "risky_file", "a file of a kind that runs what it holds";
    AddressHost = "bare_address", "a site without a name";
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

    /// Adds a sign that says nothing new when it is seen again.
    fn add_once(&mut self, kind: SignKind, sureness: u8, what: &[u8]) {
        if !self.found.iter().any(|sign| sign.kind == kind && sign.sureness >= sureness) {
            self.found.retain(|sign| sign.kind != kind);
            self.add(kind, sureness, what);
        }
    }

    /// Takes in one sign as it is.
    fn take(&mut self, sign: Sign) {
        self.merge(Self { found: smallvec::smallvec![sign], spoken: SmallVec::new() });
    }

    /// Drops what is not worth a word and what is too much.
    fn settle(mut self) -> Self {
        self.found.retain(|sign| sign.sureness >= SURENESS_MIN);
        self.found.sort_by_key(|sign| (std::cmp::Reverse(sign.sureness), sign.kind));
        self.found.truncate(SIGNS_PER_SIDE_MAX);
        self.spoken.clear();
        self
    }

    /// The surest of each kind in several stretches of one direction.
    pub(super) fn of_all<'a>(parts: impl Iterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        parts.filter(|part| !part.is_empty()).for_each(|part| all.merge(part.clone()));
        all.settle()
    }

    pub(super) fn into_found(self) -> Vec<Sign> {
        self.found.into_vec()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Sign> {
        self.found.iter()
    }
}

/// Where in a stream some samples begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Beginning,
    /// Wherever it went on after nothing was sent for a while.
    BehindSilence,
}

/// Signs in a direction of a TCP or SCTP flow that speaks what `guess` says. `contexts` are those that calls were bound to
/// before, and then also those of these samples.
pub(super) fn of_stream(guess: Guess, place: Place, pieces: &Pieces<'_>, contexts: &mut Contexts) -> Signs {
    let mut signs = Signs::default();
    match guess {
        Guess::Known(AppProto::Tls) => pieces.units().for_each(|unit| {
            other::tls(unit.bytes, &mut signs);
            if let Some(issuer) = tls::issuer(unit.bytes) {
                signs.add_issuer(&issuer);
            }
        }),
        Guess::Known(AppProto::Ssh | AppProto::Http2 | AppProto::Quic | AppProto::Bittorrent) => {}
        Guess::Known(AppProto::Smb) => {
            smb::signs(pieces.bytes, &mut signs);
            rpc::signs(pieces.bytes, contexts, &mut signs);
        }
        Guess::Known(AppProto::Dcerpc) => rpc::signs(pieces.bytes, contexts, &mut signs),
        Guess::Known(AppProto::Ldap) => other::ldap(pieces.bytes, &mut signs),
        Guess::Known(AppProto::Mqtt) => {
            for (at, unit) in pieces.units().enumerate() {
                // Behind a cut or a gap a packet may go on within a message: what does not come out even is none.
                let begins = at == 0 && place == Place::Beginning;
                if begins || (unit.bytes.len() == unit.wire_len && mqtt::is_even(unit.bytes)) {
                    other::mqtt(unit.bytes, &mut signs);
                }
            }
        }
        Guess::Known(AppProto::Dns) => other::dns_stream(pieces.bytes, &mut signs),
        _ => of_units(guess, place, pieces, contexts, &mut signs),
    }
    signs.settle()
}

fn of_units(guess: Guess, place: Place, pieces: &Pieces<'_>, contexts: &mut Contexts, signs: &mut Signs) {
    let mut http = None;
    for (at, unit) in pieces.units().enumerate() {
        http = web::Part::of(unit.bytes).or(http.map(web::Part::next));
        if let Some(part) = http {
            signs.merge(web::signs(part, unit));
            continue;
        }
        if place == Place::BehindSilence && guess == Guess::Known(AppProto::Http) && web::is_lone_header(unit.bytes) {
            signs.add_once(SignKind::SlowHeaders, 78, unit.bytes);
        }
        if at == 0 && place == Place::Beginning {
            other::staged(unit.bytes, unit.wire_len, signs);
            other::kerberos(unit.bytes, signs);
            other::kerberos_answer(unit.bytes, signs);
        }
        lines::text(guess, unit.bytes, signs);
        lines::overlong(guess, unit, signs);
        if let Some(letters) = filler::random_letters(unit.bytes) {
            signs.add_once(SignKind::OverlongField, 75, letters);
        }
        machine_code::signs(guess, unit.bytes, signs);
        // A capture that begins inside a page.
        signs.merge(pages::signs(&normal::plain(unit.bytes)));
    }
    if http.is_none() && guess == Guess::Nothing {
        smb::signs(pieces.bytes, signs);
        rpc::signs(pieces.bytes, contexts, signs);
    }
}

impl Signs {
    /// Adds what a server's certificate gives away: names that tools write into theirs until somebody changes them.
    pub(super) fn add_certificate(&mut self, certificate: &CertificateFacts) {
        const DEFAULTS: [&str; 16] = [
            "Major Cobalt Strike",
            "cobaltstrike",
            "AsyncRAT",
            "Quasar Server",
            "DcRat",
            "VenomRAT",
            "BitRAT",
            "Orcus Server",
            "CN=Covenant",
            "CN=Merlin",
            "O=Mythic",
            "CN=P18055077",
            "XWorm",
            "CN=multiplayer",
            "MetasploitSelfSignedCA",
            "CN=Sliver",
        ];
        let names = [&certificate.subject, &certificate.issuer];
        if let Some(name) = names.iter().find(|name| DEFAULTS.iter().any(|default| name.contains(default))) {
            self.add_once(SignKind::C2Profile, 92, name.as_bytes());
        }
        if certificate.self_signed && is_invented(&certificate.subject) {
            self.add_once(SignKind::C2Profile, 85, certificate.subject.as_bytes());
        }
    }

    /// The same where a certificate was cut behind, or within, the name of its issuer: that the company is named after its site,
    /// as only those are, stands for what its owner's name would say.
    fn add_issuer(&mut self, issuer: &str) {
        let part = |label: &str| issuer.split(", ").find_map(|part| part.strip_prefix(label));
        let named_alike = part("O=").zip(part("CN=")).is_some_and(|(company, site)| {
            let first = company.split([' ', ',', '-']).next().unwrap_or_default().to_ascii_lowercase();
            first.len() >= 3 && site.split(['.', '-']).next() == Some(&first)
        });
        if named_alike && is_invented(issuer) {
            self.add_once(SignKind::C2Profile, 80, issuer.as_bytes());
        }
    }
}

/// A company of the United States, its unit, and a mail address of the unit at the company's site, all invented: what
/// Metasploit's library writes where it is told nothing (rex-socket, `ssl_generate_certificate`). The end may be cut.
fn is_invented(name: &str) -> bool {
    let part = |label: &str| name.split(", ").find_map(|part| part.strip_prefix(label));
    let (Some(unit), Some(site), Some(mail)) = (part("OU="), part("CN="), part("emailAddress=")) else { return false };
    let at_site = mail.split_once('@').is_some_and(|(user, at)| user == unit && at.len() >= 4 && site.starts_with(at));
    at_site && part("O=").is_some() && part("C=") == Some("US")
}

/// Signs in a direction of a UDP flow between two ports.
pub(super) fn of_datagrams(pieces: &Pieces<'_>, ports: [u16; 2]) -> Signs {
    let mut signs = Signs::default();
    for unit in pieces.units() {
        other::datagram(unit.bytes, unit.wire_len, ports, &mut signs);
        if ports.contains(&PORT_KERBEROS) {
            other::kerberos(unit.bytes, &mut signs);
            other::kerberos_answer(unit.bytes, &mut signs);
        }
    }
    signs.settle()
}

#[cfg(test)]
mod domain_tests;
#[cfg(test)]
mod tests;
