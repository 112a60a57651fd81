//! What attacks on web applications look like, as patterns over decoded, lower-case text. Nothing here runs.
//!
//! Sureness: 80 and more for what no user or program writes by accident, about 50 for what is odd, 30 for what only
//! counts beside something else.

mod c2;
mod code;
mod files;
mod kits;
mod script;
mod spots;
mod sql;

use super::{
    SignKind::{self, *},
    patterns::{Pattern, Place},
};

const T: u8 = Place::Target as u8;
const P: u8 = Place::Path as u8;
const Q: u8 = Place::Query as u8;
const B: u8 = Place::Body as u8;
const H: u8 = Place::Header as u8;
const A: u8 = Place::Agent as u8;
const C: u8 = Place::Cookie as u8;

const fn rule(
    kind: SignKind,
    sureness: u8,
    places: u8,
    strings: &'static [&'static str],
    expression: &'static str,
) -> Pattern {
    Pattern { kind, sureness, places, strings, expression }
}

/// Patterns for what clients send.
pub(super) static REQUEST: &[&[Pattern]] =
    &[sql::PATTERNS, script::PATTERNS, files::PATTERNS, code::PATTERNS, spots::PATTERNS, c2::PATTERNS, kits::PATTERNS];

/// Patterns for what servers answer.
pub(super) static ANSWER: &[&[Pattern]] = &[&[
    rule(CommandOutput, 85, B, &["uid="], r"uid=[0-9]+\([a-z0-9_-]{1,32}\) gid=[0-9]+\([a-z0-9_-]{1,32}\)"),
    rule(
        SqlError,
        60,
        B,
        &[
            "sql syntax",
            "unclosed quotation mark",
            "ora-0",
            "quoted string not properly",
            "mysql_fetch",
            "mysql_num_rows",
            "pg_query()",
            "sqlstate[",
            "sqlite3::",
            "sqlite error",
            "odbc",
            "jet database engine",
            "valid mysql result",
            "postgresql query failed",
            "db2 sql error",
            "syntax error at or near",
            "incorrect syntax near",
            "unterminated quoted string",
            "mysqli_",
        ],
        r"you have an error in your sql syntax|unclosed quotation mark|ora-0[0-9]{4}|quoted string not properly terminated|warning.{0,20}mysqli?_(fetch|num|query)|pg_query\(\)|sqlstate\[|sqlite3::|\[(microsoft|mysql|postgresql)\]\[?odbc|jet database engine|not a valid mysql result|db2 sql error|syntax error at or near|incorrect syntax near|unterminated quoted string",
    ),
    rule(FileLeak, 92, B, &["root:"], r"\broot:[^:\s]{0,120}:0:0:[^:\n]{0,40}:/"),
    rule(
        FileLeak,
        88,
        B,
        &["[boot loader]", "for 16-bit app support"],
        r"\[boot loader\] ?timeout=|; for 16-bit app support",
    ),
    rule(
        FileLeak,
        75,
        B,
        &[
            "db_password",
            "aws_secret_access_key",
            "-----begin rsa private",
            "-----begin openssh private",
            "-----begin private key",
        ],
        r"define\( ?'db_password'|db_password ?=|aws_secret_access_key ?=|-----begin (rsa |openssh |ec )?private key",
    ),
]];

#[cfg(test)]
mod tests;
