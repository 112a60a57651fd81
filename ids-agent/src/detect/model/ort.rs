//! Inference through onnxruntime, whose library is loaded when the agent starts.

use std::path::Path;

use ort::{
    environment::Environment,
    ep,
    session::{Session, builder::GraphOptimizationLevel},
    value::TensorRef,
};

use super::{Backend, ModelError};
use crate::features::FEATURES;

/// A loaded onnxruntime library.
#[derive(Clone)]
pub struct Library {
    environment: Environment,
}

impl Library {
    /// Loads the library; a process loads one, and the first path decides which.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let failed = |reason: String| ModelError::Library { path: path.to_owned(), reason };
        let builder = ort::init_from(path).map_err(|error| failed(error.to_string()))?;
        let environment =
            builder.with_name("ids-agent").with_telemetry(false).build().map_err(|error| failed(error.to_string()))?;
        Ok(Self { environment })
    }
}

pub(super) struct Ort {
    session: Session,
    outputs: usize,
}

impl Ort {
    pub(super) fn new(library: &Library, bytes: &[u8], outputs: usize) -> Result<Self, ModelError> {
        let session = prepare(library, bytes)
            .map_err(|error| ModelError::Backend { backend: "onnxruntime", reason: error.to_string() })?;
        Ok(Self { session, outputs })
    }
}

/// One thread, no spinning, no arena: a gateway's cores belong to its packets.
fn prepare(library: &Library, bytes: &[u8]) -> ort::Result<Session> {
    let mut builder = Session::builder(&library.environment)?
        .with_execution_providers([ep::CPU::default().with_arena_allocator(false).build()])?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_memory_pattern(false)?;
    builder.commit_from_memory(bytes)
}

impl Backend for Ort {
    fn name(&self) -> &'static str {
        "onnxruntime"
    }

    fn infer(&mut self, matrix: &[f32], rows: usize, out: &mut Vec<f32>) -> Result<(), ModelError> {
        let failed = |reason: String| ModelError::Backend { backend: "onnxruntime", reason };
        let input =
            TensorRef::from_array_view(([rows, FEATURES], matrix)).map_err(|error| failed(error.to_string()))?;
        let result = self.session.run(ort::inputs![input]).map_err(|error| failed(error.to_string()))?;
        let (shape, values) = result[0].try_extract_tensor::<f32>().map_err(|error| failed(error.to_string()))?;
        if values.len() != rows * self.outputs {
            return Err(failed(format!("it gave {shape:?} instead of [{rows}, {}]", self.outputs)));
        }
        out.extend_from_slice(values);
        Ok(())
    }
}
