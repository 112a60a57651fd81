//! Suricata's eve.json: reads its lines into events and follows the file as it grows. Joins nothing; `detect::signature`
//! does.

mod app;
mod event;
mod follow;
mod heard;
mod position;
mod protocol;
mod read;
mod reader;
mod stream;
mod time;
mod whole;

pub use app::{EveApp, EveDns, EveFile, EveHttp, EveSmb, EveSsh, EveTls};
pub use event::{
    EveAlert, EveDetail, EveEvent, EveStats, EveTuple, EveType, Skipped, StatedConfidence, StatedSeverity, parse_line,
};
pub use follow::{EveError, EvePosition, FollowStats, Follower, Start};
pub use heard::{HEARD_OBJECTS_MAX, HEARD_SIGNATURES_MAX, Heard, Matched, add_match};
pub use position::{EveKept, KeptPlace};
pub use read::{LINE_BYTES_MAX, LineStats, Lines};
pub use reader::{EveReader, EveTotals};
pub use whole::{read_from, read_whole};
