//! What the tests share: frames made by hand, network namespaces, captures, and the conservation
//! rule. Holds no test of its own.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "tests stop at the first thing that cannot be set up")]

pub mod archive;
pub mod bpffs;
pub mod capture;
pub mod cases;
pub mod cgroup;
pub mod datagrams;
pub mod evade;
pub mod eve;
pub mod flood;
pub mod frame;
pub mod fuzz;
pub mod labels;
pub mod netns;
pub mod onnx;
pub mod oracle;
pub mod pair;
pub mod probe;
pub mod program;
pub mod promql;
pub mod replay;
pub mod running;
pub mod scene;
pub mod score;
pub mod shapes;
pub mod wire;
