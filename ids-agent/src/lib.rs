//! The agent: from flow slots to alerts. `docs/architecture.md` draws the straight line that these
//! modules follow: source, flow, features, detect, alert, sink.

pub mod alert;
pub mod bounded;
pub mod budget;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod deploy;
pub mod detect;
pub mod enforce;
pub mod eve;
pub mod evidence;
#[cfg(test)]
mod fabricated;
pub mod features;
pub mod feedback;
pub mod flow;
pub mod http;
pub mod intel;
pub mod kernel;
mod memory;
pub mod models;
pub mod payload;
pub mod pipeline;
pub mod replace;
pub mod sandbox;
pub mod secret;
pub mod sink;
pub mod source;
pub mod state;
pub mod supervisor;
pub mod suricata;
