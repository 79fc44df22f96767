//! 64-bit results, in pairs of registers.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::super::wave::Wave;
use super::super::{Done, Env, Lanes};
use super::{Body, Level, Room, Run, compiled, count, pack, uniform, write};
use crate::isa::decode::vop3::Vop3;
use crate::isa::inst::{Inst, Op, reg};

/// Source `n` as 64-bit values: `dwords` says whether it is a pair of registers or one, zero-extended.
#[inline(always)]
fn source<'a>(w: &Wave, i: &Inst, n: usize, dwords: u16, room: &'a mut Room<u64>) -> &'a [u64; 64] {
    let code = i.src[n];
    if code < reg::VGPR {
        let value = uniform(w, i, n);
        return room.write([if dwords == 2 { value } else { value & 0xffff_ffff }; 64]);
    }
    let at = usize::from(code - reg::VGPR);
    let low = &w.vgpr[at];
    let mut out = [0; 64];
    if dwords == 2 {
        let high = &w.vgpr[at + 1];
        for lane in 0..64 {
            out[lane] = u64::from(low[lane]) | u64::from(high[lane]) << 32;
        }
    } else {
        for lane in 0..64 {
            out[lane] = u64::from(low[lane]);
        }
    }
    room.write(out)
}

/// What one lane does: the value, and a bit of the mask for those that make one.
trait Lane {
    /// Registers of the sources.
    const DWORDS: [u16; 3];
    const SOURCES: usize;
    const FLOAT: bool;
    const CARRY: bool;
    fn lane(a: u64, b: u64, c: u64) -> (u64, bool);
}

struct Wide<L>(PhantomData<L>);

impl<L: Lane> Body for Wide<L> {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        if L::FLOAT && w.mode >> 6 & 3 != 3 {
            return super::super::dispatch(w, i, env);
        }
        let exec = count(w, env);
        let mut rooms = [const { MaybeUninit::uninit() }; 3];
        let [room_a, room_b, room_c] = &mut rooms;
        let a = source(w, i, 0, L::DWORDS[0], room_a);
        let b = source(w, i, 1, L::DWORDS[1], room_b);
        let c = if L::SOURCES > 2 { source(w, i, 2, L::DWORDS[2], room_c) } else { a };
        let mods: [(u64, u64); 3] = std::array::from_fn(|n| {
            let keep = if i.mods.abs >> n & 1 != 0 { u64::MAX >> 1 } else { u64::MAX };
            (keep, u64::from(i.mods.neg >> n & 1) << 63)
        });
        let (mut low, mut high): (Lanes, Lanes) = ([0; 64], [0; 64]);
        let mut carries = [0; 64];
        for n in 0..64 {
            let mut values = [a[n], b[n], c[n]];
            if L::FLOAT {
                values = [
                    values[0] & mods[0].0 ^ mods[0].1,
                    values[1] & mods[1].0 ^ mods[1].1,
                    values[2] & mods[2].0 ^ mods[2].1,
                ];
            }
            let (value, carry) = L::lane(values[0], values[1], values[2]);
            (low[n], high[n]) = (value as u32, (value >> 32) as u32);
            if L::CARRY {
                carries[n] = u8::from(carry);
            }
        }
        write(w, i.dst, &low, exec);
        write(w, i.dst + 1, &high, exec);
        if L::CARRY {
            w.set_pair(i.sdst, pack(&carries) & exec);
        }
        Ok(())
    }
}

macro_rules! table {
    ($($name:ident $sources:literal $dwords:expr, $float:literal $carry:literal
       |$a:ident, $b:ident, $c:ident| $body:expr;)*) => {
        /// The handler, if the opcode has one here.
        pub fn select(inst: &Inst, level: Level) -> Option<Run> {
            Some(match inst.op {
                $(Op::Vop3(Vop3::$name) => {
                    struct Operation;
                    impl Lane for Operation {
                        const DWORDS: [u16; 3] = $dwords;
                        const SOURCES: usize = $sources;
                        const FLOAT: bool = $float;
                        const CARRY: bool = $carry;
                        #[inline(always)]
                        fn lane($a: u64, $b: u64, $c: u64) -> (u64, bool) {
                            $body
                        }
                    }
                    compiled::<Wide<Operation>>(level)
                })*
                _ => return None,
            })
        }
    };
}

#[inline(always)]
fn float(f: impl FnOnce(f64, f64, f64) -> f64, a: u64, b: u64, c: u64) -> (u64, bool) {
    (f(f64::from_bits(a), f64::from_bits(b), f64::from_bits(c)).to_bits(), false)
}

table! {
    FmaF64 3 [2, 2, 2], true false |a, b, c| float(|a, b, c| a.mul_add(b, c), a, b, c);
    AddF64 2 [2, 2, 2], true false |a, b, c| float(|a, b, _| a + b, a, b, c);
    MulF64 2 [2, 2, 2], true false |a, b, c| float(|a, b, _| a * b, a, b, c);
    LshlrevB64 2 [1, 2, 2], false false |a, b, _c| (b << (a & 63), false);
    LshrrevB64 2 [1, 2, 2], false false |a, b, _c| (b >> (a & 63), false);
    AshrrevI64 2 [1, 2, 2], false false |a, b, _c| ((b as i64 >> (a & 63)) as u64, false);
    MadU64U32 3 [1, 1, 2], false true |a, b, c| (a * b).overflowing_add(c);
}
