//! What payload samples reveal: TLS, DNS, HTTP and SSH facts, entropy, printable share.

/// Facts gathered from the samples of one flow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PayloadFacts {}
