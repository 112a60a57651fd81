//! Reads how a login in clear text went: who asked, and what the server said. Keeps no names and no secrets.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;

use super::{AppProto, HttpFacts, Login};

/// What one direction says of a login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LoginSigns {
    /// Credentials went out.
    pub(super) tried: bool,
    pub(super) failed: bool,
    pub(super) succeeded: bool,
    /// Says that a login failed, if there was one: a page of text speaks of passwords for many reasons.
    pub(super) failed_if_tried: bool,
}

impl LoginSigns {
    /// Joins both directions. A server that says both saw more than one try: the last word is not
    /// known, and failing is what counts.
    pub(super) fn settle(self, other: Self) -> Login {
        let tried = self.tried || other.tried;
        if self.failed || other.failed || (tried && (self.failed_if_tried || other.failed_if_tried)) {
            Login::Failed
        } else if self.succeeded || other.succeeded {
            Login::Succeeded
        } else if tried {
            Login::Tried
        } else {
            Login::None
        }
    }
}

/// Signs in the bytes of one direction of a flow that speaks `app`.
pub(super) fn signs(app: AppProto, bytes: &[u8]) -> LoginSigns {
    match app {
        AppProto::Ftp => LoginSigns {
            tried: any_line(bytes, |line| begins(line, b"PASS ")),
            failed: any_line(bytes, |line| begins(line, b"530 ") && !contains(line, b"please login")),
            succeeded: any_line(bytes, |line| begins(line, b"230 ") || begins(line, b"230-")),
            ..LoginSigns::default()
        },
        AppProto::Smtp => LoginSigns {
            tried: any_line(bytes, |line| begins(line, b"AUTH ")),
            failed: any_line(bytes, |line| begins(line, b"535 ") || begins(line, b"535-")),
            succeeded: any_line(bytes, |line| begins(line, b"235 ")),
            ..LoginSigns::default()
        },
        AppProto::Pop3 => LoginSigns {
            tried: any_line(bytes, |line| begins(line, b"PASS ") || begins(line, b"APOP ") || begins(line, b"AUTH ")),
            failed: any_line(bytes, |line| begins(line, b"-ERR")),
            succeeded: any_line(bytes, |line| begins(line, b"+OK") && contains(line, b"logged in")),
            ..LoginSigns::default()
        },
        AppProto::Imap => LoginSigns {
            tried: any_line(bytes, |line| contains(line, b" LOGIN ") || contains(line, b" AUTHENTICATE ")),
            failed: any_line(bytes, |line| contains(line, b" NO ") && !line.starts_with(b"*")),
            succeeded: any_line(bytes, |line| contains(line, b" OK ") && contains(line, b"logged in")),
            ..LoginSigns::default()
        },
        AppProto::Telnet => LoginSigns {
            failed: any_line(bytes, |line| TELNET_REFUSALS.iter().any(|words| contains(line, words))),
            succeeded: any_line(bytes, |line| contains(line, b"last login")),
            ..LoginSigns::default()
        },
        AppProto::Mqtt => mqtt(bytes),
        AppProto::Mysql => mysql(bytes),
        AppProto::Pgsql => LoginSigns {
            tried: bytes.first() == Some(&b'p'),
            // Errors stand behind the request for a password; the code is a field of its own.
            failed: contains(bytes, b"C28P01\0") || contains(bytes, b"C28000\0"),
            succeeded: bytes.windows(9).any(|w| w == b"R\x00\x00\x00\x08\x00\x00\x00\x00"),
            ..LoginSigns::default()
        },
        AppProto::Redis => LoginSigns {
            tried: contains(bytes, b"\r\nAUTH\r\n"),
            failed: any_line(bytes, |line| begins(line, b"-WRONGPASS") || begins(line, b"-ERR invalid password")),
            ..LoginSigns::default()
        },
        AppProto::Smb => smb(bytes),
        AppProto::Rfb => rfb(bytes),
        AppProto::Krb5 => kerberos(bytes),
        AppProto::Ldap => ldap(bytes),
        AppProto::Sip => LoginSigns {
            failed: begins(bytes, b"SIP/2.0 403"),
            tried: any_line(bytes, |line| begins(line, b"Authorization:") || begins(line, b"Proxy-Authorization:")),
            ..LoginSigns::default()
        },
        _ => LoginSigns::default(),
    }
}

/// How many logins a server refused in these bytes, where each refusal is a message of its own.
pub(super) fn refusals(app: AppProto, bytes: &[u8]) -> u8 {
    let lines = |is: &dyn Fn(&[u8]) -> bool| bytes.split(|byte| *byte == b'\n').filter(|line| is(line)).count();
    let speaks_of_login =
        |line: &[u8]| [&b"auth"[..], b"login", b"password", b"credential"].iter().any(|word| contains(line, word));
    let count = match app {
        // With a second number it is SMTP, which wants another login than this (RFC 4954, section 6).
        AppProto::Ftp => lines(&|line| {
            begins(line, b"530 ")
                && !begins(line, b"530 5.")
                && !contains(line, b"please login")
                && !contains(line, b"log in with")
        }),
        AppProto::Smtp => lines(&|line| begins(line, b"535 ")),
        AppProto::Pop3 => lines(&|line| begins(line, b"-ERR") && speaks_of_login(line)),
        AppProto::Imap => lines(&|line| contains(line, b" NO ") && !line.starts_with(b"*") && speaks_of_login(line)),
        AppProto::Telnet => lines(&|line| TELNET_REFUSALS.iter().any(|words| contains(line, words))),
        AppProto::Smb => smb_refusals(bytes),
        _ => 0,
    };
    u8::try_from(count).unwrap_or(u8::MAX)
}

/// Answers to session set-ups with a status of failed logons, in SMB 1 and 2.
fn smb_refusals(bytes: &[u8]) -> usize {
    let refused =
        |status: &[u8]| status.try_into().is_ok_and(|four| LOGON_FAILURES.contains(&u32::from_le_bytes(four)));
    memchr::memmem::find_iter(bytes, b"SMB")
        .filter(|at| {
            let Some(message) = at.checked_sub(1).and_then(|at| bytes.get(at..)) else { return false };
            match *message {
                [0xff, _, _, _, 0x73, ref rest @ ..] => {
                    rest.get(4).is_some_and(|flags| flags & 0x80 != 0) && rest.get(..4).is_some_and(refused)
                }
                [0xfe, ..] => {
                    message.get(12..14) == Some(&[1, 0])
                        && message.get(16).is_some_and(|flags| flags & 1 != 0)
                        && message.get(8..12).is_some_and(refused)
                }
                _ => false,
            }
        })
        .count()
}

/// STATUS_LOGON_FAILURE and its like (MS-ERREF, section 2.3.1): wrong password, no such user, locked out, disabled, restricted.
const LOGON_FAILURES: [u32; 6] = [0xc000_006d, 0xc000_006a, 0xc000_0064, 0xc000_0234, 0xc000_0072, 0xc000_006e];

/// What servers say over Telnet to a wrong password.
const TELNET_REFUSALS: [&[u8]; 7] = [
    b"login incorrect",
    b"login failed",
    b"incorrect password",
    b"authentication failed",
    b"login invalid",
    b"bad password",
    b"wrong password",
];

/// The outcome once both sides are known. A page that greets says little; a redirection says where the login leads.
pub(super) fn http_outcome(login: Login, http: &HttpFacts) -> Login {
    let (Login::Tried, Some(status)) = (login, http.status) else { return login };
    let location = http.location.as_deref().unwrap_or("").to_ascii_lowercase();
    match status {
        401 | 403 => Login::Failed,
        301..=303 | 307 if refuses(&location) => Login::Failed,
        // Back to the form that was sent.
        301..=303 if http.path.as_deref().is_some_and(|path| path.len() > 1 && leads_back(path, &location)) => {
            Login::Failed
        }
        _ => login,
    }
}

/// Whether an address says of itself that something went wrong with a login.
fn refuses(location: &str) -> bool {
    let login = ["login", "signin", "sign_in", "logon", "auth"].iter().any(|word| location.contains(word));
    let wrong = ["error", "fail", "invalid", "denied", "incorrect", "bad"].iter().any(|word| location.contains(word));
    login && wrong
}

/// Whether a login form is what was sent and what comes next.
fn leads_back(path: &str, location: &str) -> bool {
    let path = path.split(['?', '#']).next().unwrap_or(path).to_ascii_lowercase();
    let target = location.split_once("://").map_or(location, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
    let target = target.split(['?', '#']).next().unwrap_or(target);
    let form = ["login", "signin", "sign_in", "logon", "auth"].iter().any(|word| path.contains(word));
    form && (target == path || path.ends_with(&format!("/{target}")))
}

/// Whether an answer holds a sentence that is said to a wrong password.
pub(super) fn http_answer_refuses(bytes: &[u8]) -> bool {
    const SENTENCES: [&str; 22] = [
        "invalid password",
        "incorrect password",
        "wrong password",
        "bad password",
        "password is incorrect",
        "password is invalid",
        "password incorrect",
        "password you entered",
        "invalid username",
        "invalid user name",
        "invalid login",
        "invalid credentials",
        "incorrect username",
        "username or password",
        "username and/or password",
        "login failed",
        "login incorrect",
        "login error",
        "authentication failed",
        "authentication failure",
        "bad credentials",
        "access denied for user",
    ];
    static STRINGS: LazyLock<Option<AhoCorasick>> =
        LazyLock::new(|| AhoCorasick::builder().ascii_case_insensitive(true).build(SENTENCES).ok());
    STRINGS.as_ref().is_some_and(|strings| strings.is_match(bytes))
}

/// Signs in an HTTP request: an `Authorization` header, or a password among the fields of its path or body.
pub(super) fn http_request_tries(bytes: &[u8]) -> bool {
    const FIELDS: [&[u8]; 6] = [b"password=", b"passwd=", b"pass=", b"pwd=", b"\"password\":", b"\"pass\":"];
    // Every field ends in one of two bytes, and few bytes of a request are those.
    let ends_field = |at: usize| {
        let front = bytes.get(..=at).unwrap_or(&[]);
        FIELDS.iter().any(|field| {
            let Some((before, name)) = front.len().checked_sub(field.len()).and_then(|at| front.split_at_checked(at))
            else {
                return false;
            };
            // A field's name begins behind something that is not part of a name.
            name.eq_ignore_ascii_case(field) && before.last().is_none_or(|byte| !byte.is_ascii_alphanumeric())
        })
    };
    let mut ends = bytes.iter().enumerate().filter(|(_, byte)| matches!(byte, b'=' | b':')).map(|(at, _)| at);
    any_line(bytes, |line| begins(line, b"Authorization:")) || ends.any(ends_field)
}

/// CONNECT with the user-name flag, and the code of a CONNACK (MQTT 3.1.1, section 3.2.2.3; 5.0 codes from 0x80).
fn mqtt(bytes: &[u8]) -> LoginSigns {
    match *bytes {
        [0x10, ..] => {
            let name = [b"\x00\x04MQTT".as_slice(), b"\x00\x06MQIsdp"];
            let flags = name.iter().find_map(|name| {
                let at = bytes.windows(name.len()).take(6).position(|w| w == *name)?;
                bytes.get(at + name.len() + 1)
            });
            LoginSigns { tried: flags.is_some_and(|flags| flags & 0xc0 != 0), ..LoginSigns::default() }
        }
        [0x20, _, _, 4 | 5 | 0x86 | 0x87, ..] => LoginSigns { failed: true, ..LoginSigns::default() },
        _ => LoginSigns::default(),
    }
}

/// An error packet with code 1045 (access denied), behind the greeting or alone.
fn mysql(bytes: &[u8]) -> LoginSigns {
    let denied = bytes.windows(7).any(|w| matches!(w, [_, _, 0, 1..=9, 0xff, 0x15, 0x04]));
    LoginSigns { failed: denied, ..LoginSigns::default() }
}

/// The server's last word on a VNC password (RFC 6143, section 7.1.3): 1 and, since 3.8, a reason.
fn rfb(bytes: &[u8]) -> LoginSigns {
    let failed = [&b"uthentication fail"[..], b"password check failed", b"uthentication reject", b"oo many"];
    LoginSigns { failed: failed.iter().any(|words| contains(bytes, words)), ..LoginSigns::default() }
}

/// KRB-ERROR with KDC_ERR_PREAUTH_FAILED (RFC 4120, section 7.5.9). An unknown principal is no wrong password: a host with a
/// stale name asks for it all day.
fn kerberos(bytes: &[u8]) -> LoginSigns {
    let failed = bytes.first() == Some(&0x7e) && bytes.windows(5).any(|w| w == [0xa6, 3, 2, 1, 24]);
    LoginSigns { failed, ..LoginSigns::default() }
}

/// A bind, and its answer: invalidCredentials is 49 (RFC 4511, sections 4.2 and A.1).
fn ldap(bytes: &[u8]) -> LoginSigns {
    let answers = |result: u8| {
        bytes.windows(16).any(|w| {
            let Some(at) = w.iter().take(12).position(|byte| *byte == 0x61) else { return false };
            w.get(at + 1..).is_some_and(|rest| {
                matches!(rest, [_, 0x0a, 1, code, ..] | [0x84, _, _, _, _, 0x0a, 1, code, ..] if *code == result)
            })
        })
    };
    LoginSigns { failed: answers(49), succeeded: false, ..LoginSigns::default() }
}

/// Session set-up answers of SMB 2 carry a status; logon failures are 0xC000006D and its like (MS-ERREF).
fn smb(bytes: &[u8]) -> LoginSigns {
    let mut signs = smb1(bytes);
    for at in bytes.windows(4).enumerate().filter(|(_, w)| matches!(w, [0xfe, b'S', b'M', b'B'])).map(|(at, _)| at) {
        let Some(&[s0, s1, s2, s3, 1, 0]) = bytes.get(at + 8..at + 14) else { continue };
        let is_answer = bytes.get(at + 16).is_some_and(|flags| flags & 1 != 0);
        match u32::from_le_bytes([s0, s1, s2, s3]) {
            _ if !is_answer => signs.tried = true,
            status if LOGON_FAILURES.contains(&status) => signs.failed = true,
            0 => signs.succeeded = true,
            _ => {}
        }
    }
    signs
}

/// Session set-up in SMB 1: command 0x73, the status behind it, and the bit that tells answers (MS-CIFS, 2.2.3.1).
fn smb1(bytes: &[u8]) -> LoginSigns {
    let mut signs = LoginSigns::default();
    for at in bytes.windows(5).enumerate().filter(|(_, w)| *w == [0xff, b'S', b'M', b'B', 0x73]).map(|(at, _)| at) {
        let Some(&[s0, s1, s2, s3, flags]) = bytes.get(at + 5..at + 10) else { continue };
        match u32::from_le_bytes([s0, s1, s2, s3]) {
            _ if flags & 0x80 == 0 => signs.tried = true,
            status if LOGON_FAILURES.contains(&status) => signs.failed = true,
            0 => signs.succeeded = true,
            _ => {}
        }
    }
    signs
}

fn any_line(bytes: &[u8], is: impl Fn(&[u8]) -> bool) -> bool {
    bytes.split(|b| *b == b'\n').any(is)
}

fn begins(line: &[u8], word: &[u8]) -> bool {
    line.get(..word.len()).is_some_and(|front| front.eq_ignore_ascii_case(word))
}

fn contains(line: &[u8], word: &[u8]) -> bool {
    line.windows(word.len()).any(|w| w.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outcome(app: AppProto, client: &[u8], server: &[u8]) -> Login {
        signs(app, client).settle(signs(app, server))
    }

    #[test]
    fn outcomes_are_read_where_they_are_in_clear() {
        let ftp = b"220 ready\r\n331 Please specify the password.\r\n530 Login incorrect.\r\n";
        assert_eq!(outcome(AppProto::Ftp, b"USER a\r\nPASS b\r\n", ftp), Login::Failed);
        assert_eq!(
            outcome(AppProto::Ftp, b"USER a\r\nPASS b\r\n", b"220 x\r\n331 y\r\n230 Login ok\r\n"),
            Login::Succeeded
        );
        assert_eq!(outcome(AppProto::Ftp, b"USER a\r\nPASS b\r\n", b"220 x\r\n331 y\r\n"), Login::Tried);
        assert_eq!(outcome(AppProto::Ftp, b"", b"530 Please login with USER and PASS.\r\n"), Login::None);
        assert_eq!(
            outcome(AppProto::Mqtt, b"\x10\x16\x00\x04MQTT\x04\xc2\x00\x3c", b"\x20\x02\x00\x05"),
            Login::Failed
        );
        assert_eq!(outcome(AppProto::Mqtt, b"\x10\x16\x00\x04MQTT\x04\x02\x00\x3c", b"\x20\x02\x00\x00"), Login::None);
        assert_eq!(outcome(AppProto::Mysql, b"", b"\x48\x00\x00\x02\xff\x15\x04#28000Access denied"), Login::Failed);
        assert_eq!(outcome(AppProto::Smtp, b"AUTH LOGIN\r\n", b"535 5.7.8 bad\r\n"), Login::Failed);
        assert_eq!(
            outcome(AppProto::Imap, b"a1 LOGIN u p\r\n", b"* OK hi\r\na1 NO [AUTHENTICATIONFAILED]\r\n"),
            Login::Failed
        );
        assert_eq!(outcome(AppProto::Pop3, b"USER a\r\nPASS b\r\n", b"+OK hi\r\n-ERR no\r\n"), Login::Failed);
        let mut setup = b"\xfeSMB\x40\x00\x00\x00\x6d\x00\x00\xc0\x01\x00\x01\x00\x01".to_vec();
        setup.resize(64, 0);
        assert_eq!(outcome(AppProto::Smb, b"", &setup), Login::Failed);
    }

    #[test]
    fn refusals_in_formats_of_their_own_are_read() {
        let mut old = b"\0\0\0\x23\xffSMB\x73\x6d\0\0\xc0\x98".to_vec();
        old.resize(40, 0);
        assert_eq!(outcome(AppProto::Smb, b"", &old), Login::Failed);
        assert_eq!(
            outcome(
                AppProto::Rfb,
                b"RFB 003.008\n",
                b"RFB 003.008\n\x01\x02\0\0\0\x01\0\0\0\x16Authentication failure"
            ),
            Login::Failed
        );
        assert_eq!(outcome(AppProto::Krb5, b"", b"\x7e\x50\x30\x4e\xa6\x03\x02\x01\x18"), Login::Failed);
        // Asked for pre-authentication; no such name.
        for code in [0x19, 6] {
            assert_eq!(outcome(AppProto::Krb5, b"", &[0x7e, 0x50, 0x30, 0x4e, 0xa6, 3, 2, 1, code]), Login::None);
        }
        let bind = |code: u8| [&b"0\x0c\x02\x01\x01\x61\x07\x0a\x01"[..], &[code], b"\x04\0\x04\0\0\0"].concat();
        assert_eq!(outcome(AppProto::Ldap, b"", &bind(49)), Login::Failed);
        assert_eq!(outcome(AppProto::Ldap, b"", &bind(0)), Login::None);
        let pgsql = b"R\0\0\0\x0c\0\0\0\x05abcdE\0\0\0\x40SFATAL\0C28P01\0Mno\0\0";
        assert_eq!(outcome(AppProto::Pgsql, b"", pgsql), Login::Failed);
        assert_eq!(outcome(AppProto::Telnet, b"", b"Password: \r\nLogin incorrect\r\n"), Login::Failed);
    }

    #[test]
    fn each_refusal_in_one_connection_counts() {
        let ftp = b"331 Please specify the password.\r\n530 Login incorrect.\r\n331 Please\r\n530 Login incorrect.\r\n";
        assert_eq!(refusals(AppProto::Ftp, ftp), 2);
        assert_eq!(refusals(AppProto::Ftp, b"530 Please login with USER and PASS.\r\n530 5.7.0 STARTTLS first\r\n"), 0);
        assert_eq!(refusals(AppProto::Telnet, b"Login incorrect\r\nlogin: "), 1);
        assert_eq!(refusals(AppProto::Pop3, b"-ERR [AUTH] Authentication failed.\r\n-ERR no such message\r\n"), 1);
        let smb = |status: u32, flags: u8| {
            [&b"\xfeSMB@\0\0\0"[..], &status.to_le_bytes(), &[1, 0, 1, 0, flags, 0, 0, 0], &[0; 48]].concat()
        };
        let answers = [smb(0xc000_006d, 1), smb(0xc000_0016, 1), smb(0xc000_006d, 1), smb(0, 0)].concat();
        assert_eq!(refusals(AppProto::Smb, &answers), 2);
        let old = |flags: u8| [&b"\xffSMB\x73\x6d\0\0\xc0"[..], &[flags], &[0; 27]].concat();
        assert_eq!(refusals(AppProto::Smb, &[old(0x98), old(0x18)].concat()), 1);
    }

    #[test]
    fn a_form_that_leads_back_or_says_so_has_failed() {
        let http = |path: &str, status: u16, location: &str| HttpFacts {
            path: Some(path.into()),
            status: Some(status),
            location: (!location.is_empty()).then(|| location.into()),
            ..HttpFacts::default()
        };
        let outcome = |path, status, location| http_outcome(Login::Tried, &http(path, status, location));
        assert_eq!(outcome("/login.php", 302, "login.php"), Login::Failed);
        assert_eq!(outcome("/login.php", 302, "http://a.example/login.php?x=1"), Login::Failed);
        assert_eq!(outcome("/session", 302, "/login?error=1"), Login::Failed);
        assert_eq!(outcome("/login.php", 302, "/index.php"), Login::Tried);
        assert_eq!(outcome("/", 302, "/"), Login::Tried);
        assert_eq!(outcome("/login", 401, ""), Login::Failed);
        assert_eq!(http_outcome(Login::None, &http("/login", 401, "")), Login::None);
        assert!(http_answer_refuses(b"HTTP/1.1 200 OK\r\n\r\n<p>Username and/or password incorrect.</p>"));
        assert!(!http_answer_refuses(b"HTTP/1.1 200 OK\r\n\r\n<p>Welcome back</p>"));
        let page = LoginSigns { failed_if_tried: true, ..LoginSigns::default() };
        let form = LoginSigns { tried: true, ..LoginSigns::default() };
        assert_eq!((page.settle(LoginSigns::default()), page.settle(form)), (Login::None, Login::Failed));
    }

    #[test]
    fn a_form_with_a_password_is_a_try() {
        assert!(http_request_tries(b"POST /login HTTP/1.1\r\n\r\nuser=a&password=b"));
        assert!(http_request_tries(b"GET / HTTP/1.1\r\nauthorization: Basic YQ==\r\n\r\n"));
        assert!(!http_request_tries(b"GET /?compass=north HTTP/1.1\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_data(at in 0..AppProto::ALL.len(), bytes: Vec<u8>) {
            let _ = signs(AppProto::ALL[at], &bytes);
            let _ = refusals(AppProto::ALL[at], &bytes);
            let _ = http_request_tries(&bytes);
        }
    }
}
