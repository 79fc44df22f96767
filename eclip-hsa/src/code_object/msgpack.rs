//! A cursor over MessagePack that knows its place, for errors, and never builds a tree: time and memory are bounded
//! by the bytes there are, whatever sizes and depths these claim.

use rmp::Marker;
use rmp::decode::{read_array_len, read_bool, read_int, read_map_len, read_marker, read_str_from_slice};

use super::error::{CodeObjectError, Place};

/// Something malformed, at a byte of the input.
pub(super) struct Malformed {
    place: Place,
    offset: usize,
    problem: String,
}

impl Malformed {
    pub fn within(mut self, outer: &str) -> Malformed {
        self.place = self.place.within(outer);
        self
    }

    /// As the public error, for an input that begins at byte `base` of its file.
    pub fn in_file(self, base: u64) -> CodeObjectError {
        CodeObjectError::Metadata {
            place: self.place,
            offset: base + self.offset as u64,
            problem: self.problem,
        }
    }
}

/// Reads one value after the other.
pub(super) struct Reader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub fn new(data: &'a [u8]) -> Reader<'a> {
        Reader { data, at: 0 }
    }

    /// Bytes not read yet.
    pub fn left(&self) -> usize {
        self.data.len() - self.at
    }

    /// An error at the current position.
    pub fn malformed(&self, problem: impl Into<String>) -> Malformed {
        Malformed { place: Place::default(), offset: self.at, problem: problem.into() }
    }

    fn rest(&self) -> &'a [u8] {
        &self.data[self.at..]
    }

    fn read<T, E>(
        &mut self,
        expected: &str,
        decode: impl FnOnce(&mut &'a [u8]) -> Result<T, E>,
    ) -> Result<T, Malformed> {
        let mut rest = self.rest();
        match decode(&mut rest) {
            Ok(value) => {
                self.at = self.data.len() - rest.len();
                Ok(value)
            }
            Err(_) => Err(self.malformed(match self.rest().first() {
                Some(byte) => {
                    format!("expected {expected}, found {:?} cut off or out of range", Marker::from_u8(*byte))
                }
                None => format!("expected {expected}, found the end"),
            })),
        }
    }

    /// Number of pairs of a map.
    pub fn map(&mut self) -> Result<u32, Malformed> {
        self.read("a map", read_map_len)
    }

    /// Number of values of an array.
    pub fn array(&mut self) -> Result<u32, Malformed> {
        self.read("an array", read_array_len)
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.read("a number of at most 32 bits", read_int)
    }

    /// LLVM writes flags as booleans; some producers write 0 and 1.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        match self.rest().first().map(|b| Marker::from_u8(*b)) {
            Some(Marker::True | Marker::False) => self.read("true or false", read_bool),
            _ => match self.u32() {
                Ok(0) => Ok(false),
                Ok(1) => Ok(true),
                Ok(_) | Err(_) => Err(self.malformed("expected true or false")),
            },
        }
    }

    pub fn str(&mut self) -> Result<&'a str, Malformed> {
        self.read("a text in UTF-8", |r| {
            let (text, rest) = read_str_from_slice(*r).map_err(|_| ())?;
            *r = rest;
            Ok::<_, ()>(text)
        })
    }

    /// Passes over one value of any kind, with all that is in it.
    pub fn skip(&mut self) -> Result<(), Malformed> {
        // Values still to pass over. Each takes at least a byte, so the end of the input ends this.
        let mut pending = 1u64;
        while pending > 0 {
            pending -= 1;
            let marker = self.read("a value", |r| read_marker(r).map_err(|_| ()))?;
            let bytes = match marker {
                Marker::Null | Marker::True | Marker::False | Marker::FixPos(_) | Marker::FixNeg(_) => 0,
                Marker::U8 | Marker::I8 => 1,
                Marker::U16 | Marker::I16 => 2,
                Marker::U32 | Marker::I32 | Marker::F32 => 4,
                Marker::U64 | Marker::I64 | Marker::F64 => 8,
                Marker::FixStr(n) => u64::from(n),
                Marker::Str8 | Marker::Bin8 => self.length(1)?,
                Marker::Str16 | Marker::Bin16 => self.length(2)?,
                Marker::Str32 | Marker::Bin32 => self.length(4)?,
                // One byte more: the type.
                Marker::FixExt1 => 2,
                Marker::FixExt2 => 3,
                Marker::FixExt4 => 5,
                Marker::FixExt8 => 9,
                Marker::FixExt16 => 17,
                Marker::Ext8 => self.length(1)? + 1,
                Marker::Ext16 => self.length(2)? + 1,
                Marker::Ext32 => self.length(4)? + 1,
                Marker::FixArray(n) => {
                    pending += u64::from(n);
                    0
                }
                Marker::FixMap(n) => {
                    pending += 2 * u64::from(n);
                    0
                }
                Marker::Array16 | Marker::Array32 => {
                    pending += self.length(if marker == Marker::Array16 { 2 } else { 4 })?;
                    0
                }
                Marker::Map16 | Marker::Map32 => {
                    pending += 2 * self.length(if marker == Marker::Map16 { 2 } else { 4 })?;
                    0
                }
                Marker::Reserved => return Err(self.malformed("the byte before, c1, is no MessagePack")),
            };
            if bytes > self.left() as u64 {
                return Err(self.malformed(format!("{bytes} bytes announced, {} left", self.left())));
            }
            self.at += bytes as usize;
        }
        Ok(())
    }

    /// A big-endian length of so many bytes.
    fn length(&mut self, bytes: usize) -> Result<u64, Malformed> {
        let (head, _) =
            self.rest().split_at_checked(bytes).ok_or_else(|| self.malformed("length cut off"))?;
        self.at += bytes;
        Ok(head.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rmpv::Value;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Nil),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f32>().prop_map(Value::F32),
            any::<f64>().prop_map(Value::F64),
            proptest::collection::vec(any::<u8>(), 0..300).prop_map(Value::Binary),
            ".{0,40}".prop_map(Value::from),
            (any::<i8>(), proptest::collection::vec(any::<u8>(), 0..300)).prop_map(|(t, d)| Value::Ext(t, d)),
        ];
        leaf.prop_recursive(4, 64, 20, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..20).prop_map(Value::Array),
                proptest::collection::vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn skip_passes_exactly_one_value(value in value()) {
            let mut bytes = Vec::new();
            rmpv::encode::write_value(&mut bytes, &value).unwrap();
            let len = bytes.len();
            bytes.push(0xc0);
            let mut reader = Reader::new(&bytes);
            prop_assert!(reader.skip().is_ok());
            prop_assert_eq!(reader.at, len);
            for cut in 0..len {
                prop_assert!(Reader::new(&bytes[..cut]).skip().is_err());
            }
        }
    }

    #[test]
    fn bombs_end_with_the_input() {
        // Arrays nested a million deep; a map of 4 billion pairs; a text of 4 GB; nothing after them.
        for bytes in [vec![0x91; 1_000_000], vec![0xdf, 255, 255, 255, 255], vec![0xdb, 255, 255, 255, 255]] {
            assert!(Reader::new(&bytes).skip().is_err());
        }
        assert!(Reader::new(&[0xc1]).skip().is_err());
        assert!(Reader::new(&[0xdb, 255, 255, 255, 255, 65]).str().is_err());
    }
}
