//! Boosted trees, one group of them for each class: `model.trees` and its evaluation.
//!
//! Trees are walked by this code and by no graph runtime: tract visits every leaf and misreads one of
//! their comparisons. All integers and floats of the file are little endian:
//!
//! ```text
//! "idstree1"  features: u32  heads: u32
//! each head   slope: f32  offset: f32  trees: u32
//! each tree   nodes: u32
//! each node   value: f32  feature: u16  left: u16
//! ```
//!
//! A node with feature 0xffff is a leaf and adds its value. Any other sends a row on to node `left` if
//! the row's feature is at most the value, else to node `left + 1`. A head's raw score is the sum of its
//! leaves, added up in the order of the trees; its probability is the logistic function of
//! `slope * raw + offset`. Each head speaks for itself, so they may add up to more than one. Benign is what no
//! head claims: the product of their counter-probabilities.

use super::{Backend, ModelError};
use crate::features::FEATURES;

const MAGIC: &[u8; 8] = b"idstree1";
const LEAF: u16 = u16::MAX;
/// More of any of these is not a model for a gateway.
const HEADS_MAX: usize = 32;
const TREES_MAX: usize = 4_096;
/// Rows that walk a tree side by side while its nodes are in the nearest cache.
const BLOCK: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Node {
    /// The highest value that goes left; in a leaf, what it adds.
    value: f32,
    feature: u16,
    left: u16,
}

struct Head {
    slope: f32,
    offset: f32,
    /// Where each tree's nodes begin and end.
    trees: Vec<(u32, u32)>,
}

pub(super) struct Trees {
    heads: Vec<Head>,
    nodes: Vec<Node>,
}

impl Trees {
    pub(super) fn new(bytes: &[u8], outputs: usize) -> Result<Self, ModelError> {
        let mut file = Reader { left: bytes };
        if file.take::<8>()? != *MAGIC {
            return Err(refused("it does not begin with `idstree1`"));
        }
        let features = file.u32()? as usize;
        if features != FEATURES {
            return Err(refused(format!("it is for {features} features instead of {FEATURES}")));
        }
        let heads = file.u32()? as usize;
        if heads == 0 || heads > HEADS_MAX || heads + 1 != outputs {
            return Err(refused(format!("it has {heads} heads and benign for {outputs} classes")));
        }
        let mut trees = Self { heads: Vec::with_capacity(heads), nodes: Vec::new() };
        for _ in 0..heads {
            let head = trees.head(&mut file)?;
            trees.heads.push(head);
        }
        if trees.heads.iter().map(|head| head.trees.len()).sum::<usize>() > TREES_MAX {
            return Err(refused(format!("it has more than {TREES_MAX} trees")));
        }
        if file.left.is_empty() { Ok(trees) } else { Err(refused("there are bytes behind its last tree")) }
    }

    fn head(&mut self, file: &mut Reader<'_>) -> Result<Head, ModelError> {
        let (slope, offset) = (file.f32()?, file.f32()?);
        let count = file.u32()? as usize;
        if count > TREES_MAX {
            return Err(refused(format!("a head has {count} trees, limit is {TREES_MAX}")));
        }
        let mut trees = Vec::with_capacity(count);
        for _ in 0..count {
            trees.push(self.tree(file)?);
        }
        Ok(Head { slope, offset, trees })
    }

    fn tree(&mut self, file: &mut Reader<'_>) -> Result<(u32, u32), ModelError> {
        let count = file.u32()?;
        if count == 0 || count > u32::from(u16::MAX) {
            return Err(refused(format!("a tree has {count} nodes")));
        }
        // The file bounds this: every node costs 8 of its bytes.
        let begin = self.nodes.len() as u32;
        for at in 0..count {
            let node = Node { value: file.f32()?, feature: file.u16()?, left: file.u16()? };
            let inner = node.feature != LEAF;
            if inner && usize::from(node.feature) >= FEATURES {
                return Err(refused(format!("a tree asks for feature {} of {FEATURES}", node.feature)));
            }
            // Children stand behind their parent, so that every walk ends.
            if inner && (u32::from(node.left) <= at || u32::from(node.left) + 1 >= count) {
                return Err(refused("a tree's branch does not lead on within the tree"));
            }
            self.nodes.push(node);
        }
        Ok((begin, begin + count))
    }

    /// Adds the leaves of `head` that each of `rows` reaches to its place in `raw`.
    fn add_up(&self, head: &Head, rows: &[&[f32; FEATURES]], raw: &mut [f32; BLOCK]) {
        for (begin, end) in &head.trees {
            let Some(nodes) = self.nodes.get(*begin as usize..*end as usize) else { continue };
            for (row, raw) in rows.iter().zip(raw.iter_mut()) {
                *raw += leaf(nodes, row);
            }
        }
    }
}

/// The value of the leaf that `row` reaches.
fn leaf(nodes: &[Node], row: &[f32; FEATURES]) -> f32 {
    let mut at = 0_usize;
    // `at` grows with every step, and `new` saw to it that no step leaves the tree.
    while let Some(node) = nodes.get(at) {
        let Some(value) = row.get(usize::from(node.feature)) else { return node.value };
        at = usize::from(node.left) + usize::from(*value > node.value);
    }
    0.0
}

impl Backend for Trees {
    fn name(&self) -> &'static str {
        "trees"
    }

    fn infer(&mut self, matrix: &[f32], rows: usize, out: &mut Vec<f32>) -> Result<(), ModelError> {
        let (all, _) = matrix.as_chunks::<FEATURES>();
        let columns = self.heads.len() + 1;
        let first = out.len();
        out.resize(first + rows * columns, 0.0);
        let told = out.get_mut(first..).unwrap_or_default();
        let mut block: Vec<&[f32; FEATURES]> = Vec::with_capacity(BLOCK);
        for (rows, told) in all.chunks(BLOCK).zip(told.chunks_mut(BLOCK * columns)) {
            block.clear();
            block.extend(rows);
            for (column, head) in self.heads.iter().enumerate() {
                let mut raw = [0.0; BLOCK];
                self.add_up(head, &block, &mut raw);
                for (row, raw) in told.chunks_mut(columns).zip(raw) {
                    if let Some(place) = row.get_mut(column + 1) {
                        *place = 1.0 / (1.0 + (-(head.slope * raw + head.offset)).exp());
                    }
                }
            }
            told.chunks_mut(columns).for_each(leave_to_benign);
        }
        Ok(())
    }
}

/// Sets benign, the first of `row`, to what no class claims.
fn leave_to_benign(row: &mut [f32]) {
    let Some((benign, claims)) = row.split_first_mut() else { return };
    *benign = claims.iter().map(|claim| 1.0 - claim).product();
}

fn refused(reason: impl Into<String>) -> ModelError {
    ModelError::Trees { reason: reason.into() }
}

/// Takes the file apart from its front.
struct Reader<'a> {
    left: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ModelError> {
        match self.left.split_first_chunk::<N>() {
            Some((front, left)) => {
                self.left = left;
                Ok(*front)
            }
            None => Err(refused("it is cut off")),
        }
    }

    fn u32(&mut self) -> Result<u32, ModelError> {
        self.take().map(u32::from_le_bytes)
    }

    fn u16(&mut self) -> Result<u16, ModelError> {
        self.take().map(u16::from_le_bytes)
    }

    /// A finite number.
    fn f32(&mut self) -> Result<f32, ModelError> {
        let value = f32::from_le_bytes(self.take()?);
        if value.is_finite() { Ok(value) } else { Err(refused("it holds a value that is not a finite number")) }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed step fails the test")]

    use super::*;

    /// A node as the file holds it.
    fn node(value: f32, feature: u16, left: u16) -> Vec<u8> {
        [&value.to_le_bytes()[..], &feature.to_le_bytes(), &left.to_le_bytes()].concat()
    }

    /// One head of slope 2 and offset 1 with these trees.
    fn head(trees: &[&[Vec<u8>]]) -> Vec<u8> {
        let mut bytes = [2.0_f32.to_le_bytes(), 1.0_f32.to_le_bytes(), (trees.len() as u32).to_le_bytes()].concat();
        for nodes in trees {
            bytes.extend((nodes.len() as u32).to_le_bytes());
            bytes.extend(nodes.concat());
        }
        bytes
    }

    fn file(heads: &[Vec<u8>]) -> Vec<u8> {
        let counts = [(FEATURES as u32).to_le_bytes(), (heads.len() as u32).to_le_bytes()].concat();
        [MAGIC.as_slice(), &counts, &heads.concat()].concat()
    }

    /// Feature 3 at most 0.5: feature 1 at most 2 decides between -1 and 1; else 4.
    fn split() -> Vec<Vec<u8>> {
        vec![node(0.5, 3, 1), node(2.0, 1, 3), node(4.0, LEAF, 0), node(-1.0, LEAF, 0), node(1.0, LEAF, 0)]
    }

    fn told(bytes: &[u8], outputs: usize, rows: &[[f32; FEATURES]]) -> Vec<f32> {
        let mut out = Vec::new();
        Trees::new(bytes, outputs).unwrap().infer(rows.as_flattened(), rows.len(), &mut out).unwrap();
        out
    }

    fn refusal(bytes: &[u8], outputs: usize) -> String {
        match Trees::new(bytes, outputs) {
            Ok(_) => panic!("the trees were taken"),
            Err(error) => error.to_string(),
        }
    }

    fn logistic(odds: f32) -> f32 {
        1.0 / (1.0 + (-odds).exp())
    }

    #[test]
    fn a_row_reaches_the_leaf_that_its_features_lead_to_and_a_tie_goes_left() {
        let bytes = file(&[head(&[&split(), &[node(0.25, LEAF, 0)]])]);
        let mut rows = [[0.0; FEATURES]; 4];
        (rows[1][1], rows[2][1], rows[2][3], rows[3][3]) = (2.1, 2.0, 0.5, 0.6);
        let out = told(&bytes, 2, &rows);
        let claims = [-1.0, 1.0, -1.0, 4.0].map(|leaf: f32| logistic(2.0 * (leaf + 0.25) + 1.0));
        for (row, claim) in out.chunks(2).zip(claims) {
            assert!((row[1] - claim).abs() < 1e-6 && (row[0] + row[1] - 1.0).abs() < 1e-6, "{row:?} {claim}");
        }
    }

    #[test]
    fn each_head_speaks_for_itself_and_benign_is_what_none_claims() {
        let bytes = file(&[head(&[&[node(0.0, LEAF, 0)]]), head(&[&[node(-2.0, LEAF, 0)]])]);
        let (a, b) = (logistic(1.0), logistic(-3.0));
        let out = told(&bytes, 3, &[[0.0; FEATURES]]);
        for (found, expected) in out.iter().zip([(1.0 - a) * (1.0 - b), a, b]) {
            assert!((found - expected).abs() < 1e-6, "{out:?}");
        }
    }

    #[test]
    fn every_row_of_a_batch_comes_out_as_it_does_alone() {
        let bytes = file(&[head(&[&split()]), head(&[&split(), &split()])]);
        let rows: Vec<[f32; FEATURES]> = (0..77).map(|n| [n as f32 / 20.0 - 1.0; FEATURES]).collect();
        let together = told(&bytes, 3, &rows);
        let alone: Vec<f32> = rows.iter().flat_map(|row| told(&bytes, 3, &[*row])).collect();
        assert_eq!(together, alone);
    }

    #[test]
    fn trees_that_lead_nowhere_or_round_in_circles_are_refused() {
        for (spoiled, nodes) in [
            ("lead on", vec![node(0.5, 3, 0), node(1.0, LEAF, 0), node(1.0, LEAF, 0)]),
            ("lead on", vec![node(0.5, 3, 2), node(1.0, LEAF, 0), node(1.0, LEAF, 0)]),
            ("lead on", vec![node(0.5, 3, 1), node(1.0, 2, 1), node(1.0, LEAF, 0)]),
            ("asks for feature", vec![node(0.5, FEATURES as u16, 1), node(1.0, LEAF, 0), node(1.0, LEAF, 0)]),
            ("finite", vec![node(f32::NAN, LEAF, 0)]),
            ("0 nodes", vec![]),
        ] {
            let error = refusal(&file(&[head(&[&nodes])]), 2);
            assert!(error.contains(spoiled), "{spoiled}: {error}");
        }
    }

    #[test]
    fn a_file_for_other_features_or_classes_is_refused() {
        let good = file(&[head(&[&split()])]);
        assert!(refusal(&good, 3).contains("classes"));
        let mut other = good.clone();
        other[8..12].copy_from_slice(&7_u32.to_le_bytes());
        assert!(refusal(&other, 2).contains("7 features"));
        assert!(refusal(&[b"idstree2", &good[8..]].concat(), 2).contains("begin"));
        assert!(refusal(&[&good[..], &[0]].concat(), 2).contains("behind"));
    }

    #[test]
    fn a_file_cut_off_or_changed_anywhere_is_refused_or_read_and_never_panics() {
        let good = file(&[head(&[&split(), &split()])]);
        for length in 0..good.len() {
            assert!(Trees::new(&good[..length], 2).is_err(), "{length}");
        }
        let row = [[1.0; FEATURES]];
        for at in 0..good.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut bytes = good.clone();
                bytes[at] ^= change;
                if let Ok(mut trees) = Trees::new(&bytes, 2) {
                    trees.infer(row.as_flattened(), 1, &mut Vec::new()).unwrap();
                }
            }
        }
    }
}
