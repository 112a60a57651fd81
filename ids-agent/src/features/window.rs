//! Bounded per-host windows: distinct peers and ports, failed connections, attempts by service.

/// What the windows of a flow's source and target say when it is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct WindowFacts {}
