//! The control socket's language: one line of JSON asks, one line of JSON answers. What is done about a request is not
//! decided here.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub mod client;
pub mod socket;

pub use client::{ClientError, ask};
pub use socket::{Peer, Socket, SocketError};

/// Longest request, line end included.
pub const REQUEST_BYTES_MAX: usize = 4_096;
/// Longest answer that a client reads.
pub const ANSWER_BYTES_MAX: u64 = 8 << 20;

/// What can be asked: `{"verb":"block_add","source":"203.0.113.9","secs":600}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How the agent fares.
    Status {},
    /// Configuration, models, feeds and lists are read again.
    Reload {},
    /// The blocks in force.
    BlockList {},
    BlockAdd {
        source: IpAddr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<IpAddr>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secs: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    BlockRemove {
        source: IpAddr,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<IpAddr>,
    },
}

/// What is said to it: `{"ok":true,"result":...}` or `{"ok":false,"error":"..."}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    pub ok: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub result: Value,
}

impl Answer {
    /// It was done, and this came of it.
    pub const fn done(result: Value) -> Self {
        Self { ok: true, error: None, result }
    }

    /// It was not done, for this reason.
    pub fn refused(error: impl Into<String>) -> Self {
        Self { ok: false, error: Some(error.into()), result: Value::Null }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Request, String> {
        serde_json::from_str(line).map_err(|error| error.to_string())
    }

    #[test]
    fn requests_are_read_strictly() {
        assert_eq!(parsed(r#"{"verb":"status"}"#), Ok(Request::Status {}));
        let add = parsed(r#"{"verb":"block_add","source":"2001:db8::9","secs":60}"#);
        assert!(matches!(add, Ok(Request::BlockAdd { secs: Some(60), target: None, .. })), "{add:?}");
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"verb":"shutdown"}"#,
            r#"{"verb":"status","more":1}"#,
            r#"{"verb":"block_add"}"#,
            r#"{"verb":"block_add","source":"203.0.113.0/24"}"#,
            r#"{"verb":"block_add","source":"203.0.113.9","secs":-1}"#,
            r#"{"verb":"block_add","source":"203.0.113.9","force":true}"#,
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
