//! What a model gave for rows that it saw lately: in a flood or a scan thousands of flows have the same vector to the
//! last bit. Bounded; knows no model.

use foldhash::fast::FixedState;
use std::hash::{BuildHasher, Hasher};
use zerocopy::IntoBytes;

use super::{Backend, ModelError};
use crate::features::FEATURES;

/// Rows remembered, each in the place that its hash names: who makes rows collide loses no more than the gain.
const PLACES: usize = 64;
const NOTHING: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Place {
    row: [f32; FEATURES],
    filled: bool,
    /// Which of the rows that are to be worked out has this one's outputs, until they are there.
    fresh: u32,
}

/// A backend that is asked once for rows that are alike.
pub(super) struct Memo {
    places: Vec<Place>,
    /// The outputs of each place.
    outputs: Vec<f32>,
    columns: usize,
    hasher: FixedState,
    fresh: Vec<f32>,
    /// For each row that is to be worked out, the first place in the result that it fills.
    wanted: Vec<(usize, u32)>,
    filled: Vec<usize>,
    found: Vec<f32>,
}

impl Memo {
    pub(super) fn new(columns: usize) -> Self {
        let empty = Place { row: [0.0; FEATURES], filled: false, fresh: NOTHING };
        Self {
            places: vec![empty; PLACES],
            outputs: vec![0.0; PLACES * columns],
            columns,
            hasher: FixedState::with_seed(0x243f_6a88_85a3_08d3),
            fresh: Vec::new(),
            wanted: Vec::new(),
            filled: Vec::new(),
            found: Vec::new(),
        }
    }

    /// Appends the outputs of the rows of `matrix` to `out`, as `backend` gives them.
    pub(super) fn infer(
        &mut self,
        backend: &mut dyn Backend,
        matrix: &[f32],
        out: &mut Vec<f32>,
    ) -> Result<(), ModelError> {
        let (rows, _) = matrix.as_chunks::<FEATURES>();
        self.fresh.clear();
        self.wanted.clear();
        self.filled.clear();
        self.found.clear();
        let mut fresh_rows = 0;
        for row in rows {
            let at = self.place_of(row);
            let Some(place) = self.places.get_mut(at) else { continue };
            if !(place.filled && same(&place.row, row)) {
                *place = Place { row: *row, filled: true, fresh: fresh_rows };
                self.filled.push(at);
                self.fresh.extend_from_slice(row);
                fresh_rows += 1;
            }
            if place.fresh == NOTHING {
                out.extend_from_slice(self.outputs.get(at * self.columns..(at + 1) * self.columns).unwrap_or(&[]));
            } else {
                self.wanted.push((out.len(), place.fresh));
                out.resize(out.len() + self.columns, 0.0);
            }
        }
        let asked =
            if fresh_rows == 0 { Ok(()) } else { backend.infer(&self.fresh, fresh_rows as usize, &mut self.found) };
        for &at in &self.filled {
            let Some(place) = self.places.get_mut(at) else { continue };
            if place.fresh == NOTHING {
                continue;
            }
            let from = place.fresh as usize * self.columns;
            place.fresh = NOTHING;
            let known = self.outputs.get_mut(at * self.columns..(at + 1) * self.columns);
            match (known, self.found.get(from..from + self.columns)) {
                (Some(known), Some(found)) => known.copy_from_slice(found),
                // What failed is asked anew.
                _ => place.filled = false,
            }
        }
        asked?;
        for &(to, fresh) in &self.wanted {
            let from = fresh as usize * self.columns;
            let places = out.get_mut(to..to + self.columns).zip(self.found.get(from..from + self.columns));
            if let Some((place, found)) = places {
                place.copy_from_slice(found);
            }
        }
        Ok(())
    }

    fn place_of(&self, row: &[f32; FEATURES]) -> usize {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(row.as_bytes());
        hasher.finish() as usize % PLACES
    }
}

/// To the last bit: a negative zero is another row.
pub(super) fn same(one: &[f32; FEATURES], other: &[f32; FEATURES]) -> bool {
    one.as_bytes() == other.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a row's first two features, and counts what it is asked.
    #[derive(Default)]
    struct Counting {
        rows: usize,
        fails: bool,
    }

    impl Backend for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }

        fn infer(&mut self, matrix: &[f32], rows: usize, out: &mut Vec<f32>) -> Result<(), ModelError> {
            if self.fails {
                return Err(ModelError::NotFinite { backend: "counting", row: 0 });
            }
            self.rows += rows;
            assert_eq!(matrix.len(), rows * FEATURES);
            out.extend(matrix.chunks(FEATURES).flat_map(|row| [row[0], row[1]]));
            Ok(())
        }
    }

    fn row(number: usize) -> [f32; FEATURES] {
        let mut row = [0.5; FEATURES];
        (row[0], row[1]) = (number as f32, -(number as f32));
        row
    }

    fn asked(memo: &mut Memo, backend: &mut Counting, numbers: &[usize]) -> Vec<f32> {
        let matrix: Vec<f32> = numbers.iter().flat_map(|number| row(*number)).collect();
        let mut out = vec![7.0];
        assert!(memo.infer(backend, &matrix, &mut out).is_ok());
        out.split_off(1)
    }

    fn expected(numbers: &[usize]) -> Vec<f32> {
        numbers.iter().flat_map(|number| [*number as f32, -(*number as f32)]).collect()
    }

    #[test]
    fn a_row_is_worked_out_once_within_a_batch_and_over_batches() {
        let (mut memo, mut backend) = (Memo::new(2), Counting::default());
        for numbers in [&[1, 1, 2, 1, 2][..], &[2, 1], &[1, 3]] {
            assert_eq!(asked(&mut memo, &mut backend, numbers), expected(numbers));
        }
        assert_eq!(backend.rows, 3);
    }

    #[test]
    fn rows_that_share_a_place_keep_their_own_outputs() {
        let (mut memo, mut backend) = (Memo::new(2), Counting::default());
        // Far more rows than places, each twice in a batch and again in the next.
        let numbers: Vec<usize> = (0..20 * PLACES).map(|at| at * 7 % (5 * PLACES)).collect();
        for _ in 0..2 {
            assert_eq!(asked(&mut memo, &mut backend, &numbers), expected(&numbers));
        }
        assert!(backend.rows > 5 * PLACES);
    }

    #[test]
    fn what_failed_is_asked_again() {
        let (mut memo, mut backend) = (Memo::new(2), Counting { fails: true, ..Counting::default() });
        assert!(memo.infer(&mut backend, &row(4), &mut Vec::new()).is_err());
        backend.fails = false;
        assert_eq!(asked(&mut memo, &mut backend, &[4, 4]), expected(&[4, 4]));
        assert_eq!(backend.rows, 1);
    }

    #[test]
    fn a_negative_zero_is_another_row() {
        let (mut memo, mut backend) = (Memo::new(2), Counting::default());
        let mut other = row(0);
        other[0] = -0.0;
        let matrix: Vec<f32> = row(0).into_iter().chain(other).collect();
        let mut out = Vec::new();
        assert!(memo.infer(&mut backend, &matrix, &mut out).is_ok());
        assert_eq!(backend.rows, 2);
    }
}
