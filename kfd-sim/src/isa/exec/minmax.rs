//! Minimum, maximum and median of floats: a NaN loses against a number, -0 is less than +0.
//!
//! In IEEE mode a signalling NaN source would make the result a quiet NaN; the compilers quiet such sources first
//! (`v_max_f32 x, x, x`), which is the case handled: a NaN beside a NaN gives a quiet NaN.

/// Operations that every width shares.
pub trait Float: Copy + PartialOrd {
    /// Whether it is NaN.
    fn nan(self) -> bool;
    /// Whether the sign bit is set.
    fn negative(self) -> bool;
    /// The value as a quiet NaN, if it is NaN.
    fn quiet(self) -> Self;
}

impl Float for f32 {
    fn nan(self) -> bool {
        self.is_nan()
    }
    fn negative(self) -> bool {
        self.is_sign_negative()
    }
    fn quiet(self) -> Self {
        if self.is_nan() { f32::from_bits(self.to_bits() | 0x40_0000) } else { self }
    }
}

impl Float for f64 {
    fn nan(self) -> bool {
        self.is_nan()
    }
    fn negative(self) -> bool {
        self.is_sign_negative()
    }
    fn quiet(self) -> Self {
        if self.is_nan() { f64::from_bits(self.to_bits() | 1 << 51) } else { self }
    }
}

/// Smaller of two.
#[inline]
pub fn min<T: Float>(a: T, b: T) -> T {
    if a.nan() {
        b.quiet()
    } else if b.nan() || a < b || (a == b && a.negative()) {
        a
    } else {
        b
    }
}

/// Larger of two.
#[inline]
pub fn max<T: Float>(a: T, b: T) -> T {
    if a.nan() {
        b.quiet()
    } else if b.nan() || a > b || (a == b && !a.negative()) {
        a
    } else {
        b
    }
}

/// Middle of three; with a NaN among them, the smallest.
pub fn med3<T: Float>(a: T, b: T, c: T) -> T {
    if a.nan() || b.nan() || c.nan() {
        return min(min(a, b), c);
    }
    let top = max(max(a, b), c);
    if top == a {
        max(b, c)
    } else if top == b {
        max(a, c)
    } else {
        max(a, b)
    }
}
