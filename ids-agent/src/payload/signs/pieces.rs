//! The samples of one direction as messages: joined where they go on, apart where one was cut or began a new request.

use super::super::http;

/// Where one sample lies among the bytes held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::payload) struct Piece {
    pub(in crate::payload) end: u32,
    /// Bytes of the packet on the wire; more than were sampled where it was cut.
    pub(in crate::payload) wire_len: u32,
    /// Whether it goes on where the piece before it ended.
    pub(in crate::payload) joined: bool,
}

/// All samples of one direction.
#[derive(Clone, Copy, Debug)]
pub(in crate::payload) struct Pieces<'a> {
    pub(in crate::payload) bytes: &'a [u8],
    pub(in crate::payload) pieces: &'a [Piece],
}

/// Samples that form one message, as far as it was sampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::payload) struct Unit<'a> {
    pub(in crate::payload) bytes: &'a [u8],
    /// Bytes on the wire of the packets it came in.
    pub(in crate::payload) wire_len: usize,
}

impl<'a> Pieces<'a> {
    pub(in crate::payload) fn units(self) -> impl Iterator<Item = Unit<'a>> {
        let mut at = 0;
        let mut start = 0;
        std::iter::from_fn(move || {
            let mut wire_len = 0usize;
            while let Some(piece) = self.pieces.get(at) {
                let end = piece.end as usize;
                wire_len = wire_len.saturating_add(piece.wire_len as usize);
                at += 1;
                let goes_on = self.pieces.get(at).is_some_and(|next| {
                    next.joined && !self.bytes.get(end..next.end as usize).is_some_and(http::begins_message)
                });
                if !goes_on {
                    let bytes = self.bytes.get(start..end).unwrap_or(&[]);
                    start = end;
                    return Some(Unit { bytes, wire_len });
                }
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_join_until_one_is_cut_or_a_request_begins() {
        let bytes = b"GET /a HTTP/1.1\r\n\r\nbodymoreGET /b HTTP/1.1\r\n\r\ntail";
        let pieces = [(19, 19, false), (23, 900, true), (27, 4, false), (46, 19, true), (50, 4, true)]
            .map(|(end, wire_len, joined)| Piece { end, wire_len, joined });
        let units: Vec<&[u8]> = Pieces { bytes, pieces: &pieces }.units().map(|unit| unit.bytes).collect();
        assert_eq!(units, [&b"GET /a HTTP/1.1\r\n\r\nbody"[..], b"more", b"GET /b HTTP/1.1\r\n\r\ntail"]);
    }
}
