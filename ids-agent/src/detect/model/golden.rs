//! Golden vectors: inputs with the outputs that training saw, which a backend must reproduce.

use super::ModelError;
use crate::features::{FEATURES, SCHEMA};

/// `golden.csv`: a header, then one row a vector: the features, then the outputs.
#[derive(Clone, Debug)]
pub(super) struct Golden {
    /// Rows of `FEATURES` values.
    pub(super) inputs: Vec<f32>,
    /// Rows of as many values as the model has outputs.
    pub(super) outputs: Vec<f32>,
    pub(super) rows: usize,
}

/// Fewer vectors prove too little, and more only take time at the start.
const ROWS_MIN: usize = 16;
const ROWS_MAX: usize = 4_096;

impl Golden {
    pub(super) fn parse(text: &str, outputs: usize) -> Result<Self, ModelError> {
        let refuse = |reason: String| ModelError::Golden { reason };
        let mut lines = text.lines();
        let header: Vec<&str> = lines.next().unwrap_or("").split(',').collect();
        if header.len() != FEATURES + outputs || header.iter().zip(&SCHEMA).any(|(name, spec)| *name != spec.name) {
            return Err(refuse("the header does not name the features and outputs".to_owned()));
        }
        let mut golden = Self { inputs: Vec::new(), outputs: Vec::new(), rows: 0 };
        for (number, line) in lines.enumerate() {
            let row = number + 2;
            let mut columns = 0;
            for field in line.split(',') {
                let value: f32 = field.parse().map_err(|_| refuse(format!("line {row}: not a number")))?;
                if !value.is_finite() {
                    return Err(refuse(format!("line {row}: not a finite number")));
                }
                let side = if columns < FEATURES { &mut golden.inputs } else { &mut golden.outputs };
                side.push(value);
                columns += 1;
            }
            if columns != FEATURES + outputs {
                return Err(refuse(format!("line {row}: {columns} values instead of {}", FEATURES + outputs)));
            }
            golden.rows += 1;
            if golden.rows > ROWS_MAX {
                return Err(refuse(format!("more than {ROWS_MAX} vectors")));
            }
        }
        if golden.rows < ROWS_MIN {
            return Err(refuse(format!("{} vectors, at least {ROWS_MIN} are needed", golden.rows)));
        }
        Ok(golden)
    }
}
