//! Inference in pure Rust.

use std::{panic, sync::Arc};

use tract_onnx::prelude::*;

use super::{Backend, ModelError};
use crate::features::FEATURES;

pub(super) struct Tract {
    plan: Arc<TypedRunnableModel>,
    outputs: usize,
}

impl Tract {
    /// Prepares one plan for every number of rows.
    pub(super) fn new(bytes: &[u8], outputs: usize) -> Result<Self, ModelError> {
        let failed = |reason: String| ModelError::Backend { backend: "tract", reason };
        // tract indexes and unwraps its way through graphs that are subtly wrong.
        let prepared = panic::catch_unwind(|| prepare(bytes))
            .map_err(|_| failed("it stumbled over the graph; export the model again".to_owned()))?;
        let plan = prepared.map_err(|error| failed(format!("{error:#}")))?;
        Ok(Self { plan, outputs })
    }
}

fn prepare(mut bytes: &[u8]) -> TractResult<Arc<TypedRunnableModel>> {
    let mut model = onnx().model_for_read(&mut bytes)?;
    let rows = model.symbols.sym("N");
    model.set_input_fact(0, f32::fact([rows.to_dim(), FEATURES.to_dim()]).into())?;
    model.into_optimized()?.into_runnable()
}

impl Backend for Tract {
    fn name(&self) -> &'static str {
        "tract"
    }

    fn infer(&mut self, matrix: &[f32], rows: usize, out: &mut Vec<f32>) -> Result<(), ModelError> {
        let run = || -> TractResult<TVec<TValue>> {
            let input = Tensor::from_shape(&[rows, FEATURES], matrix)?;
            self.plan.run(tvec!(input.into_tvalue()))
        };
        let failed = |reason: String| ModelError::Backend { backend: "tract", reason };
        let result = run().map_err(|error| failed(format!("{error:#}")))?;
        let output = result.first().ok_or_else(|| failed("it gave no output".to_owned()))?;
        let view = output.to_plain_array_view::<f32>().map_err(|error| failed(format!("{error:#}")))?;
        if view.shape() != [rows, self.outputs] {
            return Err(failed(format!("it gave {:?} instead of [{rows}, {}]", view.shape(), self.outputs)));
        }
        out.extend(view.iter());
        Ok(())
    }
}
