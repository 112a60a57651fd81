//! Looks at an ONNX file before a backend gets it: shapes, and nothing that lives outside the file.

use std::collections::BTreeSet;

use tract_onnx::{
    pb::{
        GraphProto, ModelProto, TensorProto, ValueInfoProto, tensor_proto::DataLocation, tensor_shape_proto::dimension,
        type_proto,
    },
    prelude::Framework,
};

use super::ModelError;

/// Checks that the graph maps `[rows, inputs]` to `[rows, outputs]` and holds all of its finite weights.
pub(super) fn check(bytes: &[u8], inputs: usize, outputs: usize) -> Result<(), ModelError> {
    let model = decode(bytes)?;
    let Some(graph) = model.graph.as_ref() else {
        return Err(ModelError::Graph { reason: "it holds no graph".to_owned() });
    };
    if model.opset_import.is_empty() {
        return Err(ModelError::Graph { reason: "it names no operator set, or it is cut off".to_owned() });
    }
    check_tensors(graph)?;
    check_nodes(graph)?;

    let weights: Vec<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let mut free = graph.input.iter().filter(|input| !weights.contains(&input.name.as_str()));
    let (Some(input), None) = (free.next(), free.next()) else {
        return Err(ModelError::Graph { reason: "it does not have exactly one input".to_owned() });
    };
    let [output] = graph.output.as_slice() else {
        return Err(ModelError::Graph { reason: "it does not have exactly one output".to_owned() });
    };
    check_shape(input, inputs)?;
    check_shape(output, outputs)
}

fn decode(mut bytes: &[u8]) -> Result<ModelProto, ModelError> {
    tract_onnx::onnx()
        .proto_model_for_read(&mut bytes)
        .map_err(|_| ModelError::Graph { reason: "it is not an ONNX file, or it is cut off".to_owned() })
}

fn check_shape(value: &ValueInfoProto, columns: usize) -> Result<(), ModelError> {
    let tensor = match value.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => tensor,
        _ => return Err(ModelError::Graph { reason: format!("`{}` is not a tensor", value.name.escape_debug()) }),
    };
    let dims: Vec<Option<i64>> = tensor
        .shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(|dim| match &dim.value {
            Some(dimension::Value::DimValue(size)) => Some(*size),
            Some(dimension::Value::DimParam(_)) | None => None,
        })
        .collect();
    match dims.as_slice() {
        [None, Some(size)] if usize::try_from(*size) == Ok(columns) => Ok(()),
        _ => Err(ModelError::Shape { name: value.name.clone(), found: shape_text(&dims), columns }),
    }
}

fn shape_text(dims: &[Option<i64>]) -> String {
    let names: Vec<String> = dims.iter().map(|dim| dim.map_or("N".to_owned(), |size| size.to_string())).collect();
    format!("[{}]", names.join(", "))
}

/// Operators that both backends compute alike and fast. Trees are not among them: tract walks every
/// leaf and misreads one of their comparisons.
const OPERATORS: [&str; 24] = [
    "Abs",
    "Add",
    "Clip",
    "Concat",
    "Constant",
    "Div",
    "Exp",
    "Gemm",
    "Identity",
    "LeakyRelu",
    "Log",
    "MatMul",
    "Max",
    "Min",
    "Mul",
    "Neg",
    "Pow",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Sigmoid",
    "Softmax",
    "Sqrt",
    "Sub",
];

/// Every node is of a known operator and uses only what stands before it; the output is made by one.
fn check_nodes(graph: &GraphProto) -> Result<(), ModelError> {
    let refuse = |reason: String| Err(ModelError::Graph { reason });
    let mut known: BTreeSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    known.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    for node in &graph.node {
        if !matches!(node.domain.as_str(), "" | "ai.onnx") || !OPERATORS.contains(&node.op_type.as_str()) {
            return refuse(format!(
                "operator `{}` is not supported; export with plain operators",
                node.op_type.escape_debug()
            ));
        }
        // An empty name stands for an optional input that is left out.
        if let Some(name) = node.input.iter().find(|name| !name.is_empty() && !known.contains(name.as_str())) {
            return refuse(format!("`{}` is used before it is made", name.escape_debug()));
        }
        for name in &node.output {
            if !known.insert(name) {
                return refuse(format!("`{}` is made twice", name.escape_debug()));
            }
        }
    }
    match graph.output.iter().find(|output| !known.contains(output.name.as_str())) {
        Some(output) => refuse(format!("output `{}` is never made", output.name.escape_debug())),
        None => Ok(()),
    }
}

fn check_tensors(graph: &GraphProto) -> Result<(), ModelError> {
    if !graph.sparse_initializer.is_empty() {
        return Err(ModelError::Graph { reason: "it uses sparse weights".to_owned() });
    }
    for tensor in &graph.initializer {
        check_tensor(tensor)?;
    }
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        if attribute.g.is_some() || !attribute.graphs.is_empty() {
            return Err(ModelError::Graph { reason: "it holds a graph within a graph".to_owned() });
        }
        for tensor in attribute.t.iter().chain(&attribute.tensors) {
            check_tensor(tensor)?;
        }
    }
    Ok(())
}

/// ONNX's number for 32-bit floats.
const FLOAT: i32 = 1;

fn check_tensor(tensor: &TensorProto) -> Result<(), ModelError> {
    if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
        return Err(ModelError::ExternalData { name: tensor.name.clone() });
    }
    let raw_finite = tensor
        .raw_data
        .chunks_exact(4)
        .all(|bytes| <[u8; 4]>::try_from(bytes).is_ok_and(|b| f32::from_le_bytes(b).is_finite()));
    if tensor.data_type == FLOAT && !(raw_finite && tensor.float_data.iter().all(|value| value.is_finite())) {
        return Err(ModelError::Weights { name: tensor.name.clone() });
    }
    Ok(())
}
