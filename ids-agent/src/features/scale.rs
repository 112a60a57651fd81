//! The logarithm of the features: the same bits on every platform, and known at compile time.

/// How a quantity becomes a value of the vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// As it is.
    Linear,
    /// `ln(1 + quantity)`, for quantities that span orders of magnitude.
    Log,
}

impl Scale {
    pub const fn label(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Log => "log",
        }
    }
}

/// `ln(1 + x)` for `x >= 0`, to within 2e-9; zero for anything else.
///
/// The C library's logarithm differs between platforms in the last bit, and a feature must not.
#[inline(always)]
pub(super) const fn ln_1p(x: f64) -> f64 {
    let y = 1.0 + x;
    if x > 0.0 && y < f64::INFINITY { ln(y) } else { 0.0 }
}

/// The logarithm of a finite number from one on. Kept out of line: a hundred features use it.
#[inline(never)]
const fn ln(y: f64) -> f64 {
    const SQRT_2: f64 = std::f64::consts::SQRT_2;
    // y = m * 2^e with m within a factor of sqrt(2) of one.
    let bits = y.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1_023;
    let mut mantissa = f64::from_bits((bits & ((1 << 52) - 1)) | (1_023 << 52));
    if mantissa > SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)); the series' next term is below 2e-10.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let z = s * s;
    let series = 1.0 + z * (1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z * (1.0 / 9.0))));
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_that_of_the_library() {
        let mut x = 1e-9_f64;
        while x < 1e19 {
            let difference = (ln_1p(x) - x.ln_1p()).abs();
            assert!(difference < 2e-9, "ln(1 + {x}) is off by {difference}");
            x *= 1.000_7;
        }
    }

    #[test]
    fn what_has_no_logarithm_is_zero() {
        for x in [0.0, -0.5, -7.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(ln_1p(x), 0.0, "{x}");
        }
    }
}
