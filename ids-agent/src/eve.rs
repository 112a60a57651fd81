//! Suricata's eve.json: reads its lines into events and follows the file as it grows. Joins nothing; `detect::signature`
//! does.

mod event;
mod follow;
mod read;

pub use event::{EveAlert, EveDetail, EveEvent, EveStats, EveTuple, EveType, Skipped, parse_line};
pub use follow::{EveError, EvePosition, FollowStats, Follower};
pub use read::{LINE_BYTES_MAX, LineCut, LineStats, Lines};
