//! Suricata's eve.json: reads its lines into events and follows the file as it grows. Joins nothing; `detect::signature`
//! does.

mod event;
mod follow;
mod position;
mod read;
mod reader;
mod stream;
mod whole;

pub use event::{EveAlert, EveDetail, EveEvent, EveStats, EveTuple, EveType, Skipped, parse_line};
pub use follow::{EveError, EvePosition, FollowStats, Follower, Start};
pub use position::{EveKept, KeptPlace};
pub use read::{LINE_BYTES_MAX, LineStats, Lines};
pub use reader::{EveReader, EveTotals};
pub use whole::{read_from, read_whole};
