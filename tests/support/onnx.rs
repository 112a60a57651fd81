//! Writes small ONNX files by hand, good and bad ones, for tests of what is refused. Runs nothing.

/// A protobuf message under construction.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(mut self, tag: u32, value: u64) -> Self {
        push_varint(&mut self.0, u64::from(tag) << 3);
        push_varint(&mut self.0, value);
        self
    }

    fn bytes(mut self, tag: u32, value: &[u8]) -> Self {
        push_varint(&mut self.0, u64::from(tag) << 3 | 2);
        push_varint(&mut self.0, value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn text(self, tag: u32, value: &str) -> Self {
        self.bytes(tag, value.as_bytes())
    }

    fn message(self, tag: u32, value: Self) -> Self {
        self.bytes(tag, &value.0)
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Where a tensor's values are said to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Inside,
    Outside,
}

/// A graph `features -> MatMul(weights) -> OPS... -> result`.
#[derive(Clone)]
pub struct Graph {
    /// Declared columns of the input and of the output.
    pub inputs: usize,
    pub outputs: usize,
    /// `inputs` rows by `outputs` columns.
    pub weights: Vec<f32>,
    pub place: Place,
    /// Operators of one input, applied one after another.
    pub ops: Vec<&'static str>,
}

impl Graph {
    /// Weights of zero and a softmax: every output gets the same probability.
    pub fn undecided(inputs: usize, outputs: usize) -> Self {
        let weights = vec![0.0; inputs * outputs];
        Self { inputs, outputs, weights, place: Place::Inside, ops: vec!["Softmax"] }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let raw: Vec<u8> = self.weights.iter().flat_map(|value| value.to_le_bytes()).collect();
        let columns = self.weights.len() / self.inputs.max(1);
        let mut tensor = Message::default()
            .varint(1, self.inputs as u64)
            .varint(1, columns as u64)
            .varint(2, FLOAT)
            .text(8, "weights");
        tensor = match self.place {
            Place::Inside => tensor.bytes(9, &raw),
            Place::Outside => {
                tensor.message(13, Message::default().text(1, "location").text(2, "elsewhere.bin")).varint(14, 1)
            }
        };
        let mut graph = Message::default()
            .message(1, node("MatMul", &["features", "weights"], "step0"))
            .text(2, "graph")
            .message(5, tensor);
        for (at, op) in self.ops.iter().enumerate() {
            graph = graph.message(1, node(op, &[&format!("step{at}")], &format!("step{}", at + 1)));
        }
        let result = format!("step{}", self.ops.len());
        graph = graph.message(11, value("features", self.inputs)).message(12, value(&result, self.outputs));
        let opset = Message::default().text(1, "").varint(2, 17);
        Message::default().varint(1, 8).message(7, graph).message(8, opset).0
    }
}

/// ONNX's number for 32-bit floats.
const FLOAT: u64 = 1;

fn node(op: &str, inputs: &[&str], output: &str) -> Message {
    let node = inputs.iter().fold(Message::default(), |node, input| node.text(1, input));
    node.text(2, output).text(4, op)
}

fn value(name: &str, columns: usize) -> Message {
    let rows = Message::default().text(2, "N");
    let columns = Message::default().varint(1, columns as u64);
    let shape = Message::default().message(1, rows).message(1, columns);
    let tensor = Message::default().varint(1, FLOAT).message(2, shape);
    Message::default().text(1, name).message(2, Message::default().message(1, tensor))
}
