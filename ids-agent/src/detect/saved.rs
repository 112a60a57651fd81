//! How detectors write down what must survive a restart, and read it back: little-endian numbers and
//! bounded lists. Knows no file; `crate::state` keeps what is written here.

use super::StateError;

/// Strings and lists longer than this are nobody's.
const LENGTH_MAX: usize = 1 << 20;

/// One detector's part of the saved state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedPart {
    /// What `Detector::state_name` says: the name with the version of its layout.
    pub name: String,
    pub bytes: Vec<u8>,
}

/// What became of saved state that was offered to an engine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Parts that were taken back.
    pub taken: Vec<&'static str>,
    /// Parts that a detector could not read; it goes on as new.
    pub refused: Vec<StateError>,
    /// Parts that no detector of this run knows.
    pub unknown: Vec<String>,
}

/// What to add to a time of the run that saved, to get it on the axis of the run that restores.
///
/// Boot-time clocks begin anew with each boot, so that what was saved lies before zero there: times
/// that have to reach so far back are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AxisShift {
    ns: i64,
}

impl AxisShift {
    pub const NONE: Self = Self { ns: 0 };

    pub const fn by_ns(ns: i64) -> Self {
        Self { ns }
    }

    pub const fn moved(self, ns: i64) -> i64 {
        ns.saturating_add(self.ns)
    }
}

macro_rules! numbers {
    ($($name:ident: $type:ty,)*) => {
        /// Appends values.
        impl Saver<'_> {
            $(pub fn $name(&mut self, value: $type) {
                self.out.extend_from_slice(&value.to_le_bytes());
            })*
        }

        /// Reads values in the order in which they were written.
        impl<'a> Saved<'a> {
            $(pub fn $name(&mut self) -> Result<$type, StateError> {
                Ok(<$type>::from_le_bytes(self.array()?))
            })*
        }
    };
}

numbers! {
    u8: u8,
    u16: u16,
    u32: u32,
    u64: u64,
    i64: i64,
}

/// Writes one detector's part.
#[derive(Debug)]
pub struct Saver<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Saver<'a> {
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    pub fn f32(&mut self, value: f32) {
        self.u32(value.to_bits());
    }

    pub fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }

    pub fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    pub fn array<const N: usize>(&mut self, value: &[u8; N]) {
        self.out.extend_from_slice(value);
    }

    /// How many entries follow.
    pub fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub fn text(&mut self, text: &str) {
        self.count(text.len());
        self.out.extend_from_slice(text.as_bytes());
    }
}

/// Reads one detector's part. Whatever the bytes are, it answers with a value or an error.
#[derive(Debug)]
pub struct Saved<'a> {
    name: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Saved<'a> {
    /// `name` stands in errors.
    pub fn new(name: &'static str, bytes: &'a [u8]) -> Self {
        Self { name, bytes, at: 0 }
    }

    /// The error of the place that was read last.
    pub fn refuse(&self, reason: &'static str) -> StateError {
        StateError { name: self.name, at: self.at, reason }
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], StateError> {
        let found = self.bytes.get(self.at..).and_then(|rest| rest.first_chunk::<N>());
        let Some(value) = found else { return Err(self.refuse("it ends too early")) };
        self.at += N;
        Ok(*value)
    }

    /// Refuses what is not a finite number.
    pub fn f32(&mut self) -> Result<f32, StateError> {
        let value = f32::from_bits(self.u32()?);
        if value.is_finite() { Ok(value) } else { Err(self.refuse("it is not a finite number")) }
    }

    /// Refuses what is not a finite number.
    pub fn f64(&mut self) -> Result<f64, StateError> {
        let value = f64::from_bits(self.u64()?);
        if value.is_finite() { Ok(value) } else { Err(self.refuse("it is not a finite number")) }
    }

    pub fn flag(&mut self) -> Result<bool, StateError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.refuse("it is neither yes nor no")),
        }
    }

    /// How many entries follow: at most `max`, and never more than there are bytes left.
    pub fn count(&mut self, max: usize) -> Result<usize, StateError> {
        let count = self.u32()? as usize;
        let left = self.bytes.len().saturating_sub(self.at);
        if count > max || count > left { Err(self.refuse("it holds more entries than fit")) } else { Ok(count) }
    }

    pub fn text(&mut self, bytes_max: usize) -> Result<&'a str, StateError> {
        let length = self.count(bytes_max.min(LENGTH_MAX))?;
        let bytes = self.bytes.get(self.at..self.at + length).unwrap_or(&[]);
        let Ok(text) = std::str::from_utf8(bytes) else { return Err(self.refuse("it is not UTF-8")) };
        self.at += length;
        Ok(text)
    }

    /// Everything must have been read.
    pub fn end(self) -> Result<(), StateError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.refuse("more follows than belongs there")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut out = Vec::new();
        let mut saver = Saver::new(&mut out);
        saver.u64(u64::MAX - 1);
        saver.i64(-7);
        saver.f32(1.5);
        saver.flag(true);
        saver.array(b"abcd");
        saver.text("häuser");
        saver.count(2);
        saver.u16(1);
        saver.u16(2);
        out
    }

    fn read(bytes: &[u8]) -> Result<(), StateError> {
        let mut saved = Saved::new("test/1", bytes);
        assert_eq!(saved.u64()?, u64::MAX - 1);
        assert_eq!(saved.i64()?, -7);
        assert_eq!(saved.f32()?, 1.5);
        assert!(saved.flag()?);
        assert_eq!(&saved.array::<4>()?, b"abcd");
        assert_eq!(saved.text(16)?, "häuser");
        let count = saved.count(2)?;
        let entries = (0..count).map(|_| saved.u16()).collect::<Result<Vec<_>, _>>()?;
        assert_eq!(entries, [1, 2]);
        saved.end()
    }

    #[test]
    fn what_was_written_is_read_back() {
        assert_eq!(read(&written()), Ok(()));
    }

    #[test]
    fn a_part_cut_off_anywhere_is_refused() {
        let whole = written();
        for length in 0..whole.len() {
            assert!(read(&whole[..length]).is_err(), "{length} bytes");
        }
        let mut longer = whole;
        longer.push(0);
        assert_eq!(read(&longer).map_err(|error| error.reason), Err("more follows than belongs there"));
    }

    #[test]
    fn a_count_is_held_against_its_bound_and_against_what_is_left() {
        let mut out = Vec::new();
        Saver::new(&mut out).count(3);
        out.extend_from_slice(&[0; 3]);
        assert!(Saved::new("test/1", &out).count(2).is_err());
        assert_eq!(Saved::new("test/1", &out).count(3), Ok(3));
        out.pop();
        assert!(Saved::new("test/1", &out).count(3).is_err());
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        let mut out = Vec::new();
        Saver::new(&mut out).f64(f64::NAN);
        let error = Saved::new("test/1", &out).f64().map_err(|error| error.to_string());
        assert_eq!(error, Err("saved state `test/1` is unreadable at byte 8: it is not a finite number".to_owned()));
    }

    #[test]
    fn times_before_boot_stay_in_order_where_they_are_signed() {
        let rebooted = AxisShift::by_ns(-100);
        assert_eq!((rebooted.moved(30), rebooted.moved(130)), (-70, 30));
        assert_eq!(AxisShift::NONE.moved(5), 5);
    }
}
