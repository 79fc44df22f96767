//! Exact sums and products of floats, rounded once in any of the four directions of MODE.
//!
//! Only used where MODE asks for another direction than the nearest value: the host's arithmetic knows only that one.

/// A direction of rounding, numbered as in MODE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// To the nearest value, ties to even.
    Nearest,
    /// Towards plus infinity.
    Up,
    /// Towards minus infinity.
    Down,
    /// Towards zero.
    Zero,
}

impl Round {
    /// From the two bits of MODE.
    pub fn of(bits: u32) -> Round {
        [Round::Nearest, Round::Up, Round::Down, Round::Zero][bits as usize & 3]
    }
}

/// A binary format: bits of exponent and of fraction.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    exponent: u32,
    fraction: u32,
}

/// Half precision.
pub const F16: Format = Format { exponent: 5, fraction: 10 };
/// Single precision.
pub const F32: Format = Format { exponent: 8, fraction: 23 };
/// Double precision.
pub const F64: Format = Format { exponent: 11, fraction: 52 };

/// A value without limits: `(-1)^negative * significand * 2^exponent`. Bit 0 may stand for any amount below it.
#[derive(Clone, Copy, Debug)]
pub enum Value {
    /// Not a number.
    Nan,
    /// Infinity; true: negative.
    Infinite(bool),
    /// A finite value.
    Finite {
        /// The sign, of zero as well.
        negative: bool,
        /// Exponent of bit 0.
        exponent: i32,
        /// At most 107 bits.
        significand: u128,
    },
}

use Value::{Finite, Infinite, Nan};

impl Format {
    fn bias(self) -> i32 {
        (1 << (self.exponent - 1)) - 1
    }

    /// The value of bits.
    pub fn unpack(self, bits: u64) -> Value {
        let negative = bits >> (self.exponent + self.fraction) & 1 != 0;
        let fraction = bits & ((1 << self.fraction) - 1);
        let exponent = (bits >> self.fraction & ((1 << self.exponent) - 1)) as i32;
        let unit = exponent.max(1) - self.bias() - self.fraction as i32;
        match exponent {
            0 => Finite { negative, exponent: unit, significand: u128::from(fraction) },
            e if e == (1 << self.exponent) - 1 => {
                if fraction == 0 {
                    Infinite(negative)
                } else {
                    Nan
                }
            }
            _ => Finite { negative, exponent: unit, significand: u128::from(fraction | 1 << self.fraction) },
        }
    }

    /// The bits of a value, rounded once.
    pub fn pack(self, value: Value, round: Round) -> u64 {
        let all = ((1u64 << self.exponent) - 1) << self.fraction;
        let sign = |negative: bool| u64::from(negative) << (self.exponent + self.fraction);
        match value {
            Nan => all | 1 << (self.fraction - 1),
            Infinite(negative) => sign(negative) | all,
            Finite { negative, significand: 0, .. } => sign(negative),
            Finite { negative, exponent, significand } => {
                let away = match round {
                    Round::Up => !negative,
                    Round::Down => negative,
                    _ => false,
                };
                // Exponent of the last place that the format has for a value of this size.
                let top = exponent + 127 - significand.leading_zeros() as i32;
                let least = 1 - self.bias() - self.fraction as i32;
                let unit = (top - self.fraction as i32).max(least);
                let drop = unit - exponent;
                let kept = if drop <= 0 {
                    (significand << -drop) as u64
                } else {
                    let (kept, half, rest) = match drop {
                        1..=127 => (
                            (significand >> drop) as u64,
                            significand >> (drop - 1) & 1 != 0,
                            significand & ((1 << (drop - 1)) - 1) != 0,
                        ),
                        _ => (0, false, true),
                    };
                    let more = match round {
                        Round::Nearest => half && (rest || kept & 1 != 0),
                        _ => away && (half || rest),
                    };
                    kept + u64::from(more)
                };
                // A carry out of the fraction lands in the exponent, which is right.
                let biased = ((unit - least) as u64).min(1 << self.exponent);
                let bits = if unit == least { kept } else { (biased << self.fraction).saturating_add(kept) };
                if bits < all {
                    sign(negative) | bits
                } else {
                    let beyond = round == Round::Nearest || away;
                    sign(negative) | if beyond { all } else { all - 1 }
                }
            }
        }
    }
}

/// An integer.
pub fn integer(value: i64) -> Value {
    Finite { negative: value < 0, exponent: 0, significand: u128::from(value.unsigned_abs()) }
}

/// The exact product.
pub fn mul(a: Value, b: Value) -> Value {
    match (a, b) {
        (Nan, _) | (_, Nan) => Nan,
        (Infinite(_), Finite { significand: 0, .. }) | (Finite { significand: 0, .. }, Infinite(_)) => Nan,
        (Infinite(x), Infinite(y))
        | (Infinite(x), Finite { negative: y, .. })
        | (Finite { negative: x, .. }, Infinite(y)) => Infinite(x != y),
        (
            Finite { negative: x, exponent: ea, significand: sa },
            Finite { negative: y, exponent: eb, significand: sb },
        ) => Finite { negative: x != y, exponent: ea + eb, significand: sa * sb },
    }
}

/// The same with the other sign.
pub fn negate(a: Value) -> Value {
    match a {
        Nan => Nan,
        Infinite(negative) => Infinite(!negative),
        Finite { negative, exponent, significand } => Finite { negative: !negative, exponent, significand },
    }
}

/// Times a power of two.
pub fn scale(a: Value, by: i32) -> Value {
    match a {
        Finite { negative, exponent, significand } => {
            Finite { negative, exponent: exponent + by.clamp(-5000, 5000), significand }
        }
        other => other,
    }
}

/// The sum, exact but for what is too small to matter to any rounding. A sum of zero is negative when rounding down.
pub fn add(a: Value, b: Value, round: Round) -> Value {
    let (na, mut ea, mut sa, nb, mut eb, mut sb) = match (a, b) {
        (Nan, _) | (_, Nan) => return Nan,
        (Infinite(x), Infinite(y)) => return if x == y { a } else { Nan },
        (Infinite(_), _) => return a,
        (_, Infinite(_)) => return b,
        (
            Finite { negative: na, exponent: ea, significand: sa },
            Finite { negative: nb, exponent: eb, significand: sb },
        ) => (na, ea, sa, nb, eb, sb),
    };
    if sa == 0 && sb == 0 {
        let negative = if na == nb { na } else { round == Round::Down };
        return Finite { negative, exponent: 0, significand: 0 };
    }
    if sa == 0 || sb == 0 {
        return if sa == 0 { b } else { a };
    }
    align(&mut ea, &mut sa, &mut eb, &mut sb);
    align(&mut eb, &mut sb, &mut ea, &mut sa);
    let (negative, significand) = match (na == nb, sa.cmp(&sb)) {
        (true, _) => (na, sa + sb),
        (_, std::cmp::Ordering::Greater) => (na, sa - sb),
        (_, std::cmp::Ordering::Less) => (nb, sb - sa),
        _ => (round == Round::Down, 0),
    };
    Finite { negative, exponent: ea, significand }
}

/// Brings the first to the exponent of the second if it has the larger one: up as far as there is room; what is then still
/// too far below becomes its lowest bit.
fn align(ea: &mut i32, sa: &mut u128, eb: &mut i32, sb: &mut u128) {
    if *ea <= *eb {
        return;
    }
    let room = (sa.leading_zeros() as i32 - 2).clamp(0, *ea - *eb);
    (*sa, *ea) = (*sa << room, *ea - room);
    let rest = (*ea - *eb) as u32;
    if rest > 0 {
        let lost = rest > 127 || *sb & ((1 << rest) - 1) != 0;
        *sb = sb.checked_shr(rest).unwrap_or(0) | u128::from(lost);
        *eb = *ea;
    }
}
