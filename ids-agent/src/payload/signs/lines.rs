//! Signs in conversations of lines: commands with arguments that no server expects, shells, bots and miners.

use super::{
    SignKind, Signs, filler,
    normal::plain,
    patterns::{Matcher, Pattern, Place},
    pieces::Unit,
};
use std::sync::LazyLock;

use crate::payload::{AppProto, recognise::Guess};

const ANY: u8 = Place::Body as u8;

const fn rule(kind: SignKind, sureness: u8, strings: &'static [&'static str], expression: &'static str) -> Pattern {
    Pattern { kind, sureness, places: ANY, strings, expression }
}

/// Patterns over any stream of text, in lower case and with single spaces.
pub(super) static TEXT: &[&[Pattern]] = &[&[
    rule(SignKind::CommandOutput, 85, &["uid=0(root)"], r"uid=0\(root\) gid=[0-9]+\("),
    rule(SignKind::CommandOutput, 72, &["uid="], r"uid=[0-9]+\([a-z0-9_-]{1,32}\) gid=[0-9]+\([a-z0-9_-]{1,32}\)"),
    rule(
        SignKind::RemoteShell,
        88,
        &["microsoft windows"],
        r"microsoft windows( xp| 2000| nt)? \[version [0-9.]+\] ?\(c\)|microsoft\(r\) windows nt\(tm\)|microsoft windows( xp| 2000)? \[version [0-9.]{3,}\]",
    ),
    rule(SignKind::RemoteShell, 95, &["no job control in this shell", "job control turned off"], ""),
    rule(
        SignKind::RemoteShell,
        92,
        &[
            "bash -i >&",
            "/dev/tcp/",
            "import pty;",
            "import socket,subprocess",
            "new-object system.net.sockets.tcpclient",
            "windows powershell running as user",
        ],
        "",
    ),
    rule(
        SignKind::Miner,
        65,
        &[
            "mining.subscribe",
            "mining.authorize",
            "mining.notify",
            "mining.set_difficulty",
            "eth_submitlogin",
            "\"agent\":\"xmrig",
        ],
        "",
    ),
    rule(SignKind::Miner, 60, &["\"algo\":"], r#""method" ?: ?"login".{0,300}"algo" ?: ?\["#),
    rule(SignKind::BotLoader, 92, &["/bin/busybox "], r"/bin/busybox [a-z]{4,10}\b[;\r\n ]|busybox (wget|tftp) "),
    rule(
        SignKind::BotChat,
        88,
        &["privmsg ", "topic ", " 332 "],
        r"(privmsg|topic|332) [^:]{1,80}: ?[.!@~-] ?(advscan|asc|scan(all)?|ddos|udp(flood)?|syn(flood)?|tcpflood|httpflood|wget|download|dl|visit|login|keylog|spread|update|open|exec|remove|clone|root\.start|ntscan)\b",
    ),
    rule(
        SignKind::BotChat,
        82,
        &["nick "],
        r"(^| )nick :?([\[{|(<][a-z0-9]{1,12}[|\-\]\})_>]|[a-z]{2,4}[|\[\]{}][a-z0-9|]{0,8}[|\[\]{}-]|[a-z]{0,3}[|]?[0-9]{6,})[^ ]{0,30}",
    ),
    // Guests of a page's chat are called so too.
    rule(SignKind::BotChat, 45, &["nick "], r"(^| )nick :?[a-z]{4,6}[|-]?[0-9]{6,}"),
    rule(SignKind::BotChat, 30, &["nick ", "user "], r"(^| )nick :?[^ ]{1,40} user [^ ]{1,40} [^ ]{1,40} [^ ]{1,60} :"),
    rule(
        SignKind::RatHello,
        95,
        &["|'|'|", "gh0st", "winds", "heart", "idtype"],
        r"(^|[0-9])(ll|lv|inf|ac)[a-z]?\|'\|'\||^gh0st.{8,9}x",
    ),
    rule(
        SignKind::RatHello,
        80,
        &["|windows ", "|win "],
        r"^[^\r\n]{0,200}\|win(dows)? (xp|vista|7|8|8\.1|10|11|2000|2003|2008|server)[^|\r\n]{0,50}\|",
    ),
    rule(
        SignKind::SpamBot,
        76,
        &["helo "],
        r"^helo [^ ]{0,40}[0-9]{1,3}[.-][0-9]{1,3}[.-][0-9]{1,3}[.-][0-9]{1,3}[^ ]{0,40}(dyn|dsl|pool|cable|dial|ppp|dhcp|customer|client|broad)|^helo [^ ]{0,40}(dyn|dsl|pool|cable|dial|ppp|dhcp|customer|client|broad)[^ ]{0,40}[0-9]{1,3}[.-][0-9]{1,3}[.-][0-9]{1,3}[.-][0-9]{1,3}",
    ),
    rule(SignKind::RemoteShell, 90, &["; for 16-bit app support"], ""),
    // A mail that hides what its address is: letters of `javascript:` as entities.
    rule(
        SignKind::CrossSiteScripting,
        82,
        &["&#"],
        r#"(src|href) ?= ?["']?j[avscript]{0,9}&#x?[0-9a-f]{1,7};?[^"'>]{0,60}t ?:"#,
    ),
]];

static MATCHER: LazyLock<Matcher> = LazyLock::new(|| Matcher::new(TEXT));

/// Signs in a stream of text.
pub(super) fn text(guess: Guess, bytes: &[u8], signs: &mut Signs) {
    let mut found = Signs::default();
    MATCHER.find(Place::Body, &plain(bytes), &mut found);
    // A person at a terminal sees prompts and asks who he is.
    let terminal = guess == Guess::Known(AppProto::Telnet);
    for sign in found.settle().iter() {
        if !(terminal && matches!(sign.kind, SignKind::CommandOutput | SignKind::RemoteShell)) {
            signs.take(sign.clone());
        }
    }
}

/// Commands of line protocols with an argument longer than any server allows. Lengths are those on the wire where a
/// line was cut.
pub(super) fn overlong(guess: Guess, unit: Unit<'_>, signs: &mut Signs) {
    // Limits: 512 bytes a line in SMTP (RFC 5321) and IRC, 255 in POP3 (RFC 2449), paths in FTP; generous above.
    const COMMANDS: [(&[u8], usize); 28] = [
        (b"USER ", 260),
        (b"PASS ", 260),
        (b"CWD ", 400),
        (b"MKD ", 400),
        (b"RMD ", 400),
        (b"DELE ", 400),
        (b"STOR ", 400),
        (b"RETR ", 400),
        (b"LIST ", 400),
        (b"NLST ", 400),
        (b"SITE ", 300),
        (b"RNFR ", 400),
        (b"RNTO ", 400),
        (b"MDTM ", 300),
        (b"APPE ", 400),
        (b"STAT ", 400),
        (b"HELP ", 200),
        (b"PORT ", 100),
        (b"EXPN ", 300),
        (b"VRFY ", 300),
        (b"HELO ", 300),
        (b"EHLO ", 300),
        (b"ETRN ", 300),
        (b"MAIL FROM:", 700),
        (b"RCPT TO:", 700),
        (b"TOP ", 200),
        (b"UIDL ", 200),
        (b"APOP ", 400),
    ];
    let lines_apply = matches!(
        guess,
        Guess::Known(AppProto::Ftp | AppProto::Smtp | AppProto::Pop3 | AppProto::Imap)
            | Guess::UserCommand
            | Guess::Nothing
    );
    if !lines_apply {
        return;
    }
    if matches!(guess, Guess::Known(AppProto::Ftp) | Guess::UserCommand)
        && let Some(command) = filler::repeated_command(unit.bytes)
    {
        signs.add_once(SignKind::RepeatedCommand, 74, command);
    }
    if let Some(line) = two_in_one(unit.bytes) {
        signs.add(SignKind::ProtocolViolation, 72, line);
    }
    let mut at = 0;
    for line in unit.bytes.split_inclusive(|byte| *byte == b'\n').take(64) {
        let whole = line.ends_with(b"\n");
        let length = if whole { line.len() } else { unit.wire_len.saturating_sub(at).max(line.len()) };
        at += line.len();
        let begins = |word: &[u8]| line.get(..word.len()).is_some_and(|front| front.eq_ignore_ascii_case(word));
        if COMMANDS.iter().any(|(word, limit)| length > word.len() + limit && begins(word)) {
            signs.add(SignKind::OverlongField, 82, line);
        } else if guess == Guess::Known(AppProto::Imap) && imap_argument(line) && length > 700 {
            signs.add(SignKind::OverlongField, 78, line);
        }
    }
}

/// A question for an account that holds a second line: its end is one character, and that of the whole is two, as clients end
/// lines (RFC 5321, section 2.3.8). Who types into a connection by hand ends all lines alike.
fn two_in_one(bytes: &[u8]) -> Option<&[u8]> {
    let command = bytes.get(..5)?;
    let asks = command.eq_ignore_ascii_case(b"VRFY ") || command.eq_ignore_ascii_case(b"EXPN ");
    let line = bytes.strip_suffix(b"\r\n").filter(|_| asks)?;
    let inner = memchr::memchr(b'\n', line)?;
    (inner > 0 && line.get(inner - 1) != Some(&b'\r') && memchr::memchr(b'\r', line).is_none()).then_some(line)
}

/// An IMAP command of which the argument is a name, not a list of messages.
fn imap_argument(line: &[u8]) -> bool {
    let mut words = line.split(|byte| *byte == b' ');
    let tag = words.next().unwrap_or(&[]);
    let command = words.next().unwrap_or(&[]).to_ascii_uppercase();
    tag.len() <= 12
        && [
            &b"LOGIN"[..],
            b"SELECT",
            b"EXAMINE",
            b"CREATE",
            b"DELETE",
            b"RENAME",
            b"SUBSCRIBE",
            b"LIST",
            b"LSUB",
            b"STATUS",
        ]
        .contains(&command.as_slice())
}
