//! Feature vectors: what a flow record, its hosts' windows and its payload say as numbers. Pure.
//!
//! The schema is made of tables, one file each: both directions (`side`), the flow as a whole
//! (`whole`), what its payload says (`content`) and what its hosts did lately (`window`). A row of a
//! table is the feature's name, unit, range and formula together with the expression that computes
//! it. No addresses, no absolute time, no source port, no TTL but its spread.

use std::{fmt::Write as _, sync::LazyLock};

use sha2::{Digest, Sha256};

use crate::{flow::FlowRecord, payload::PayloadFacts};

mod content;
mod repeat;
mod scale;
mod side;
mod whole;
pub mod window;

pub use repeat::Repeats;
pub use scale::Scale;
use window::WindowFacts;

/// Changes when a formula changes but no name, unit or scale does: models fit one meaning only.
const SCHEMA_VERSION: u32 = 1;

/// Length of a feature vector.
pub const FEATURES: usize = 2 * side::COUNT + whole::COUNT + content::COUNT + WindowFacts::COUNT;

/// Describes one feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureSpec {
    pub name: &'static str,
    /// Unit of the quantity before it is scaled.
    pub unit: &'static str,
    pub scale: Scale,
    /// Range of the value as it stands in the vector.
    pub low: f32,
    pub high: f32,
    /// The quantity, in words.
    pub doc: &'static str,
}

impl FeatureSpec {
    const EMPTY: Self = Self { name: "", unit: "", scale: Scale::Linear, low: 0.0, high: 0.0, doc: "" };

    /// A feature whose quantity lies between `low` and `high`.
    const fn new(name: &'static str, unit: &'static str, scale: Scale, low: f64, high: f64, doc: &'static str) -> Self {
        let (low, high) = match scale {
            Scale::Linear => (low as f32, high as f32),
            Scale::Log => (scale::ln_1p(low) as f32, scale::ln_1p(high) as f32),
        };
        Self { name, unit, scale, low, high, doc }
    }

    /// The quantity that a value of the vector stands for, in the feature's unit.
    pub fn quantity(&self, value: f32) -> f64 {
        match self.scale {
            Scale::Linear => f64::from(value),
            Scale::Log => f64::from(value).exp_m1(),
        }
    }

    /// A value of the vector: the quantity scaled and held within the range, never NaN.
    #[inline(always)]
    const fn value(&self, quantity: f64) -> f32 {
        let value = match self.scale {
            Scale::Linear => quantity as f32,
            Scale::Log => scale::ln_1p(quantity) as f32,
        };
        // Written so that NaN falls to the low end.
        if value > self.low { value.min(self.high) } else { self.low }
    }
}

/// Every feature, in the order of the vector.
pub static SCHEMA: [FeatureSpec; FEATURES] = {
    let mut all = [FeatureSpec::EMPTY; FEATURES];
    let mut at = 0;
    at = append(&mut all, at, &side::FORWARD);
    at = append(&mut all, at, &side::BACKWARD);
    at = append(&mut all, at, &whole::SPECS);
    at = append(&mut all, at, &content::SPECS);
    at = append(&mut all, at, &window_specs());
    assert!(at == FEATURES);
    all
};

const fn append<const N: usize>(all: &mut [FeatureSpec; FEATURES], start: usize, specs: &[FeatureSpec; N]) -> usize {
    let mut at = 0;
    while at < N {
        all[start + at] = specs[at];
        at += 1;
    }
    start + N
}

/// Window values of which the range spans orders of magnitude are scaled like the others.
const fn window_specs() -> [FeatureSpec; WindowFacts::COUNT] {
    let mut specs = [FeatureSpec::EMPTY; WindowFacts::COUNT];
    let mut at = 0;
    while at < WindowFacts::COUNT {
        let spec = &WindowFacts::SPECS[at];
        let scale = if spec.high > 100.0 { Scale::Log } else { Scale::Linear };
        specs[at] = FeatureSpec::new(spec.name, spec.unit, scale, spec.low as f64, spec.high as f64, spec.doc);
        at += 1;
    }
    specs
}

/// Names the schema: SHA-256, in hexadecimal, over the names, units and scales in their order.
pub fn schema_hash() -> &'static str {
    static HASH: LazyLock<String> = LazyLock::new(|| {
        let mut text = format!("ids-agent features {SCHEMA_VERSION}\n");
        for spec in &SCHEMA {
            // Writing to a string does not fail.
            let _ = writeln!(text, "{}\t{}\t{}", spec.name, spec.unit, spec.scale.label());
        }
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    });
    &HASH
}

/// One flow as numbers, in the order of `SCHEMA`; never NaN, never infinite.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FeatureVector {
    pub values: [f32; FEATURES],
}

impl FeatureVector {
    /// Stands where nobody asked for the features.
    pub const ZERO: Self = Self { values: [0.0; FEATURES] };
}

/// Computes the feature vector of a record.
pub fn extract(record: &FlowRecord, window: &WindowFacts, payload: &PayloadFacts) -> FeatureVector {
    let mut values = [0.0; FEATURES];
    let mut rest = values.as_mut_slice();
    write(&mut rest, side::values(Some(&record.forward)));
    write(&mut rest, side::values(record.backward.as_ref()));
    write(&mut rest, whole::values(record));
    write(&mut rest, content::values(payload));
    for ((value, spec), quantity) in rest.iter_mut().zip(&WINDOW).zip(window.values()) {
        *value = spec.value(f64::from(quantity));
    }
    FeatureVector { values }
}

/// Puts the values of one table in front of what is left of the vector.
#[inline(always)]
fn write<const N: usize>(rest: &mut &mut [f32], values: [f32; N]) {
    if let Some((part, behind)) = std::mem::take(rest).split_first_chunk_mut::<N>() {
        *part = values;
        *rest = behind;
    }
}

static WINDOW: [FeatureSpec; WindowFacts::COUNT] = window_specs();

/// Makes a table of features: each row gives a feature and the expression of its quantity.
///
/// One array of specs is made for each prefix, that is for each direction that the table serves.
macro_rules! feature_table {
    (
        $(static $specs:ident = $prefix:literal;)+
        fn $values:ident($facts:ident: $type:ty) let $bound:pat = $setup:block;
        $rows:tt
    ) => {
        $(feature_table!(@specs $specs $prefix $rows);)+
        feature_table!(@values $values $facts ($type) ($bound) $setup $rows);
    };
    (@specs $specs:ident $prefix:literal
        {$($name:ident: $unit:literal, $scale:ident, $low:literal to $high:literal, $doc:literal => $quantity:expr;)*}
    ) => {
        pub(super) static $specs: [FeatureSpec; COUNT] = [
            $(FeatureSpec::new(concat!($prefix, stringify!($name)), $unit, Scale::$scale, $low as f64, $high as f64, $doc),)*
        ];
    };
    (@values $values:ident $facts:ident ($type:ty) ($bound:pat) $setup:block
        {$($name:ident: $unit:literal, $scale:ident, $low:literal to $high:literal, $doc:literal => $quantity:expr;)*}
    ) => {
        pub(super) const COUNT: usize = [$(stringify!($name),)*].len();

        /// The values of the table's features, in their order. Every row's scale and range are
        /// constants of its own code: most quantities of most flows are zero, and cost next to nothing.
        #[inline]
        pub(super) fn $values($facts: $type) -> [f32; COUNT] {
            let $bound = $setup;
            [$({
                const SPEC: FeatureSpec = FeatureSpec::new("", "", Scale::$scale, $low as f64, $high as f64, "");
                SPEC.value($quantity)
            },)*]
        }
    };
}
use feature_table;

#[cfg(test)]
mod tests;
