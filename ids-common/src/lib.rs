//! What the kernel program, replay and tests share: header layouts, the one parser, flow accounting
//! and the records that cross the ring buffer.
//!
//! No allocation, no floats, no unsafe and no clock: time and input are arguments.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod abi;
pub mod block;
pub mod counter;
pub mod flow;
pub mod hash;
pub mod limits;
pub mod message;
pub mod parse;
pub mod sample;
pub mod wire;
