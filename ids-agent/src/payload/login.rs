//! Reads how a login in clear text went: who asked, and what the server said. Keeps no names and no secrets.

use super::{AppProto, Login};

/// What one direction says of a login.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LoginSigns {
    /// Credentials went out.
    pub(super) tried: bool,
    pub(super) failed: bool,
    pub(super) succeeded: bool,
}

impl LoginSigns {
    /// Joins both directions. A server that says both saw more than one try: the last word is not
    /// known, and failing is what counts.
    pub(super) fn settle(self, other: Self) -> Login {
        if self.failed || other.failed {
            Login::Failed
        } else if self.succeeded || other.succeeded {
            Login::Succeeded
        } else if self.tried || other.tried {
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
        },
        AppProto::Smtp => LoginSigns {
            tried: any_line(bytes, |line| begins(line, b"AUTH ")),
            failed: any_line(bytes, |line| begins(line, b"535 ") || begins(line, b"535-")),
            succeeded: any_line(bytes, |line| begins(line, b"235 ")),
        },
        AppProto::Pop3 => LoginSigns {
            tried: any_line(bytes, |line| begins(line, b"PASS ") || begins(line, b"APOP ") || begins(line, b"AUTH ")),
            failed: any_line(bytes, |line| begins(line, b"-ERR")),
            succeeded: any_line(bytes, |line| begins(line, b"+OK") && contains(line, b"logged in")),
        },
        AppProto::Imap => LoginSigns {
            tried: any_line(bytes, |line| contains(line, b" LOGIN ") || contains(line, b" AUTHENTICATE ")),
            failed: any_line(bytes, |line| contains(line, b" NO ") && !line.starts_with(b"*")),
            succeeded: any_line(bytes, |line| contains(line, b" OK ") && contains(line, b"logged in")),
        },
        AppProto::Telnet => LoginSigns {
            tried: false,
            failed: any_line(bytes, |line| contains(line, b"login incorrect") || contains(line, b"login failed")),
            succeeded: any_line(bytes, |line| contains(line, b"last login")),
        },
        AppProto::Mqtt => mqtt(bytes),
        AppProto::Mysql => mysql(bytes),
        AppProto::Pgsql => LoginSigns {
            tried: bytes.first() == Some(&b'p'),
            failed: bytes.first() == Some(&b'E') && (contains(bytes, b"28P01") || contains(bytes, b"28000")),
            succeeded: bytes.windows(9).any(|w| w == b"R\x00\x00\x00\x08\x00\x00\x00\x00"),
        },
        AppProto::Redis => LoginSigns {
            tried: contains(bytes, b"\r\nAUTH\r\n"),
            failed: any_line(bytes, |line| begins(line, b"-WRONGPASS") || begins(line, b"-ERR invalid password")),
            succeeded: false,
        },
        AppProto::Smb => smb(bytes),
        AppProto::Sip => LoginSigns {
            tried: any_line(bytes, |line| begins(line, b"Authorization:") || begins(line, b"Proxy-Authorization:")),
            ..LoginSigns::default()
        },
        _ => LoginSigns::default(),
    }
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

/// Session set-up answers of SMB 2 carry a status; logon failures are 0xC000006D and its like (MS-ERREF).
fn smb(bytes: &[u8]) -> LoginSigns {
    let mut signs = LoginSigns::default();
    for at in bytes.windows(4).enumerate().filter(|(_, w)| matches!(w, [0xfe, b'S', b'M', b'B'])).map(|(at, _)| at) {
        let Some(&[s0, s1, s2, s3, 1, 0]) = bytes.get(at + 8..at + 14) else { continue };
        let is_answer = bytes.get(at + 16).is_some_and(|flags| flags & 1 != 0);
        match u32::from_le_bytes([s0, s1, s2, s3]) {
            _ if !is_answer => signs.tried = true,
            0xc000_006d | 0xc000_006a | 0xc000_0064 | 0xc000_0234 | 0xc000_0072 | 0xc000_006e => signs.failed = true,
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
    fn a_form_with_a_password_is_a_try() {
        assert!(http_request_tries(b"POST /login HTTP/1.1\r\n\r\nuser=a&password=b"));
        assert!(http_request_tries(b"GET / HTTP/1.1\r\nauthorization: Basic YQ==\r\n\r\n"));
        assert!(!http_request_tries(b"GET /?compass=north HTTP/1.1\r\n\r\n"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_data(at in 0..AppProto::ALL.len(), bytes: Vec<u8>) {
            let _ = signs(AppProto::ALL[at], &bytes);
            let _ = http_request_tries(&bytes);
        }
    }
}
