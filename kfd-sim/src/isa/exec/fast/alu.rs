//! 32-bit results from up to three 32-bit sources.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::super::minmax;
use super::super::wave::Wave;
use super::super::{Done, Env, Lanes};
use super::{Body, Level, Run, compiled, count, flush, modifier, source, write};
use crate::isa::decode::vop1::Vop1;
use crate::isa::decode::vop2::Vop2;
use crate::isa::decode::vop3::Vop3;
use crate::isa::inst::{Inst, Op, reg};

/// How sources and result are treated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Plain bits: no modifiers.
    Int,
    /// Float sources have modifiers; denormals are the operation's business.
    Bits,
    /// Single precision throughout: modifiers, denormals as MODE says.
    Float,
}

/// Where the third source comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Third {
    No,
    Source,
    Destination,
    Literal,
}

/// What one lane does.
trait Lane {
    const KIND: Kind;
    const SOURCES: usize;
    const THIRD: Third;
    fn lane(a: u32, b: u32, c: u32) -> u32;
}

struct Alu<L, const MODS: bool>(PhantomData<L>);

#[inline(always)]
fn compute<L: Lane, const FLUSH: bool, const MODS: bool>(w: &mut Wave, i: &Inst, exec: u64) {
    let mut rooms = [const { MaybeUninit::uninit() }; 3];
    let [room_a, room_b, room_c] = &mut rooms;
    let a = source(w, i, 0, room_a);
    let b = if L::SOURCES > 1 { source(w, i, 1, room_b) } else { a };
    let c = match L::THIRD {
        Third::No => a,
        Third::Source => source(w, i, 2, room_c),
        Third::Destination => &w.vgpr[usize::from(i.dst - reg::VGPR)],
        Third::Literal => room_c.write([i.literal; 64]),
    };
    let mods: [(u32, u32); 3] =
        std::array::from_fn(
            |n| {
                if n < 2 || L::THIRD == Third::Source { modifier(i, n) } else { (u32::MAX, 0) }
            },
        );
    let mut out: Lanes = [0; 64];
    for n in 0..64 {
        let mut values = [a[n], b[n], c[n]];
        if MODS {
            values = [
                values[0] & mods[0].0 ^ mods[0].1,
                values[1] & mods[1].0 ^ mods[1].1,
                values[2] & mods[2].0 ^ mods[2].1,
            ];
        }
        if FLUSH {
            values = values.map(flush);
        }
        let value = L::lane(values[0], values[1], values[2]);
        out[n] = if FLUSH { flush(value) } else { value };
    }
    write(w, i.dst, &out, exec);
}

impl<L: Lane, const MODS: bool> Body for Alu<L, MODS> {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        if L::KIND == Kind::Float {
            match w.mode >> 4 & 3 {
                3 => {}
                0 => {
                    let exec = count(w, env);
                    compute::<L, true, MODS>(w, i, exec);
                    return Ok(());
                }
                _ => return super::super::dispatch(w, i, env),
            }
        }
        let exec = count(w, env);
        compute::<L, false, MODS>(w, i, exec);
        Ok(())
    }
}

fn body<L: Lane>(i: &Inst, level: Level) -> Run {
    let modified = L::KIND != Kind::Int && (i.mods.abs | i.mods.neg) != 0;
    if modified { compiled::<Alu<L, true>>(level) } else { compiled::<Alu<L, false>>(level) }
}

/// `v_mad_f32` and its kin: not fused, denormals flushed whatever MODE says.
#[inline(always)]
fn mad(a: u32, b: u32, c: u32) -> u32 {
    let [a, b, c] = [a, b, c].map(|bits| f32::from_bits(flush(bits)));
    let product = f32::from_bits(flush((a * b).to_bits()));
    flush((product + c).to_bits())
}

#[inline(always)]
fn sext24(value: u32) -> i32 {
    (value << 8) as i32 >> 8
}

/// Takes the place of a float operation's lane function: arguments and result are bits there.
macro_rules! lane {
    (Float, |$a:ident, $b:ident, $c:ident| $body:expr) => {
        #[inline(always)]
        fn lane(a: u32, b: u32, c: u32) -> u32 {
            let ($a, $b, $c) = (f32::from_bits(a), f32::from_bits(b), f32::from_bits(c));
            let result: f32 = $body;
            result.to_bits()
        }
    };
    ($kind:ident, |$a:ident, $b:ident, $c:ident| $body:expr) => {
        #[inline(always)]
        fn lane($a: u32, $b: u32, $c: u32) -> u32 {
            $body
        }
    };
}

/// Operations by opcode: number of sources, third source, kind, what a lane does.
macro_rules! table {
    ($($encoding:ident $name:ident $sources:literal $third:ident $kind:ident
       |$a:ident, $b:ident, $c:ident| $body:expr;)*) => {
        /// The handler, if the opcode has one here.
        pub fn select(inst: &Inst, level: Level) -> Option<Run> {
            Some(match inst.op {
                $(Op::$encoding($encoding::$name) => {
                    struct Operation;
                    impl Lane for Operation {
                        const KIND: Kind = Kind::$kind;
                        const SOURCES: usize = $sources;
                        const THIRD: Third = Third::$third;
                        lane!($kind, |$a, $b, $c| $body);
                    }
                    body::<Operation>(inst, level)
                })*
                _ => return None,
            })
        }
    };
}

table! {
    Vop1 MovB32 1 No Int |a, _b, _c| a;
    Vop1 NotB32 1 No Int |a, _b, _c| !a;
    Vop1 CvtF32I32 1 No Int |a, _b, _c| (a as i32 as f32).to_bits();
    Vop1 CvtF32U32 1 No Int |a, _b, _c| (a as f32).to_bits();
    Vop1 CvtF32Ubyte0 1 No Int |a, _b, _c| ((a & 255) as f32).to_bits();
    Vop1 CvtF32Ubyte1 1 No Int |a, _b, _c| ((a >> 8 & 255) as f32).to_bits();
    Vop1 CvtF32Ubyte2 1 No Int |a, _b, _c| ((a >> 16 & 255) as f32).to_bits();
    Vop1 CvtF32Ubyte3 1 No Int |a, _b, _c| ((a >> 24) as f32).to_bits();
    // A denormal becomes 0, flushed or not.
    Vop1 CvtI32F32 1 No Bits |a, _b, _c| f32::from_bits(a) as i32 as u32;
    Vop1 CvtU32F32 1 No Bits |a, _b, _c| f32::from_bits(a) as u32;
    Vop1 TruncF32 1 No Float |a, _b, _c| a.trunc();
    Vop1 CeilF32 1 No Float |a, _b, _c| a.ceil();
    Vop1 RndneF32 1 No Float |a, _b, _c| a.round_ties_even();
    Vop1 FloorF32 1 No Float |a, _b, _c| a.floor();
    Vop1 RcpF32 1 No Float |a, _b, _c| 1.0 / a;
    Vop1 RcpIflagF32 1 No Float |a, _b, _c| 1.0 / a;
    Vop1 SqrtF32 1 No Float |a, _b, _c| a.sqrt();

    Vop2 AddF32 2 No Float |a, b, _c| a + b;
    Vop2 SubF32 2 No Float |a, b, _c| a - b;
    Vop2 SubrevF32 2 No Float |a, b, _c| b - a;
    Vop2 MulF32 2 No Float |a, b, _c| a * b;
    Vop2 MinF32 2 No Float |a, b, _c| minmax::min(a, b);
    Vop2 MaxF32 2 No Float |a, b, _c| minmax::max(a, b);
    Vop2 FmacF32 2 Destination Float |a, b, c| a.mul_add(b, c);
    Vop2 MacF32 2 Destination Bits |a, b, c| mad(a, b, c);
    Vop2 MadmkF32 2 Literal Bits |a, b, c| mad(a, c, b);
    Vop2 MadakF32 2 Literal Bits |a, b, c| mad(a, b, c);
    Vop2 MulI32I24 2 No Int |a, b, _c| sext24(a).wrapping_mul(sext24(b)) as u32;
    Vop2 MulU32U24 2 No Int |a, b, _c| (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff);
    Vop2 MinI32 2 No Int |a, b, _c| (a as i32).min(b as i32) as u32;
    Vop2 MaxI32 2 No Int |a, b, _c| (a as i32).max(b as i32) as u32;
    Vop2 MinU32 2 No Int |a, b, _c| a.min(b);
    Vop2 MaxU32 2 No Int |a, b, _c| a.max(b);
    Vop2 LshrrevB32 2 No Int |a, b, _c| b >> (a & 31);
    Vop2 AshrrevI32 2 No Int |a, b, _c| (b as i32 >> (a & 31)) as u32;
    Vop2 LshlrevB32 2 No Int |a, b, _c| b << (a & 31);
    Vop2 AndB32 2 No Int |a, b, _c| a & b;
    Vop2 OrB32 2 No Int |a, b, _c| a | b;
    Vop2 XorB32 2 No Int |a, b, _c| a ^ b;
    Vop2 XnorB32 2 No Int |a, b, _c| !(a ^ b);
    Vop2 AddU32 2 No Int |a, b, _c| a.wrapping_add(b);
    Vop2 SubU32 2 No Int |a, b, _c| a.wrapping_sub(b);
    Vop2 SubrevU32 2 No Int |a, b, _c| b.wrapping_sub(a);

    Vop3 FmaF32 3 Source Float |a, b, c| a.mul_add(b, c);
    Vop3 MadF32 3 Source Bits |a, b, c| mad(a, b, c);
    Vop3 Min3F32 3 Source Float |a, b, c| minmax::min(minmax::min(a, b), c);
    Vop3 Max3F32 3 Source Float |a, b, c| minmax::max(minmax::max(a, b), c);
    Vop3 MadI32I24 3 Source Int |a, b, c| (sext24(a).wrapping_mul(sext24(b)) as u32).wrapping_add(c);
    Vop3 MadU32U24 3 Source Int |a, b, c| (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff).wrapping_add(c);
    Vop3 BfeU32 3 Source Int |a, b, c| a >> (b & 31) & ((1 << (c & 31)) - 1);
    Vop3 BfiB32 3 Source Int |a, b, c| a & b | !a & c;
    Vop3 AlignbitB32 3 Source Int |a, b, c| ((u64::from(a) << 32 | u64::from(b)) >> (c & 31)) as u32;
    Vop3 Min3I32 3 Source Int |a, b, c| (a as i32).min(b as i32).min(c as i32) as u32;
    Vop3 Max3I32 3 Source Int |a, b, c| (a as i32).max(b as i32).max(c as i32) as u32;
    Vop3 Min3U32 3 Source Int |a, b, c| a.min(b).min(c);
    Vop3 Max3U32 3 Source Int |a, b, c| a.max(b).max(c);
    Vop3 XadU32 3 Source Int |a, b, c| (a ^ b).wrapping_add(c);
    Vop3 LshlAddU32 3 Source Int |a, b, c| (a << (b & 31)).wrapping_add(c);
    Vop3 AddLshlU32 3 Source Int |a, b, c| a.wrapping_add(b) << (c & 31);
    Vop3 Add3U32 3 Source Int |a, b, c| a.wrapping_add(b).wrapping_add(c);
    Vop3 LshlOrB32 3 Source Int |a, b, c| a << (b & 31) | c;
    Vop3 AndOrB32 3 Source Int |a, b, c| a & b | c;
    Vop3 Or3B32 3 Source Int |a, b, c| a | b | c;
    Vop3 MulLoU32 2 No Int |a, b, _c| a.wrapping_mul(b);
    Vop3 MulHiU32 2 No Int |a, b, _c| ((u64::from(a) * u64::from(b)) >> 32) as u32;
    Vop3 MulHiI32 2 No Int |a, b, _c| ((i64::from(a as i32) * i64::from(b as i32)) >> 32) as u32;
}
