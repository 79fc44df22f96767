//! The types of random programs, and constants of each that are worth trying.

/// A scalar type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F32,
    F64,
}

/// Every scalar type.
pub const ALL: [Type; 10] = [
    Type::I8,
    Type::U8,
    Type::I16,
    Type::U16,
    Type::I32,
    Type::U32,
    Type::I64,
    Type::U64,
    Type::F32,
    Type::F64,
];

impl Type {
    /// Its name in the prelude.
    pub fn name(self) -> &'static str {
        ["i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f32", "f64"][self as usize]
    }

    /// Whether it is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, Type::F32 | Type::F64)
    }

    /// Size in bits.
    pub fn bits(self) -> u32 {
        [8, 8, 16, 16, 32, 32, 64, 64, 32, 64][self as usize]
    }

    /// A constant, in C.
    pub fn constant(self, random: &mut fastrand::Rng) -> String {
        let name = self.name();
        if self.is_float() {
            let suffix = if self == Type::F32 { "f" } else { "" };
            let value =
                match random.u8(..4) {
                    0 => ["0.0", "-0.0", "1.0", "-1.0", "0.5", "3.0", "1e-3", "1e6"][random.usize(..8)]
                        .to_owned(),
                    1 => ["1e30", "-1e-30", "1e-38", "65504.0", "16777217.0", "0.1"][random.usize(..6)]
                        .to_owned(),
                    _ => format!("{:.3}", (random.f64() - 0.5) * 200.0),
                };
            return format!("({value}{suffix})");
        }
        let value = match random.u8(..4) {
            0 => random.i64(-4..=16),
            1 => [0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000][random.usize(..8)],
            2 => random.i64(..) >> random.u8(..63),
            _ => 1 << random.u8(..63),
        };
        format!("({name})0x{value:x}ul")
    }
}

/// A vector type of the prelude: its element and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(pub Type, pub usize);

/// Every vector type.
pub const VECTORS: [Vector; 7] = [
    Vector(Type::I16, 2),
    Vector(Type::U16, 2),
    Vector(Type::U8, 4),
    Vector(Type::I32, 4),
    Vector(Type::U64, 2),
    Vector(Type::F32, 2),
    Vector(Type::F64, 2),
];

impl Vector {
    /// Its name in the prelude.
    pub fn name(self) -> String {
        format!("{}x{}", self.0.name(), self.1)
    }
}
