//! Instructions that make a lane mask or use one: compares, additions with carry, selection.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use super::super::lanes::carry_in;
use super::super::wave::Wave;
use super::super::{Done, Env, Lanes};
use super::{Body, Level, Run, compiled, count, flush, modifier, pack, source, spread, write};
use crate::isa::decode::vop2::Vop2;
use crate::isa::decode::vopc::Vopc;
use crate::isa::inst::{Inst, Op, Ty, reg};

/// A condition on two 32-bit values.
trait Condition {
    const FLOAT: bool;
    fn holds(a: u32, b: u32) -> bool;
}

/// A condition on floats by the low 3 bits of its opcode number. Numbers 8 to 15 are the opposites of 7 to 0.
struct FloatIs<const CODE: u16>;

impl<const CODE: u16> Condition for FloatIs<CODE> {
    const FLOAT: bool = true;
    #[inline(always)]
    fn holds(a: u32, b: u32) -> bool {
        let (a, b) = (f32::from_bits(a), f32::from_bits(b));
        match CODE & 7 {
            0 => false,
            1 => a < b,
            2 => a == b,
            3 => a <= b,
            4 => a > b,
            5 => (a < b) | (a > b),
            6 => a >= b,
            _ => !a.is_nan() & !b.is_nan(),
        }
    }
}

/// A condition on integers by the low 3 bits of its opcode number.
struct IntIs<const CODE: u16, const SIGNED: bool>;

impl<const CODE: u16, const SIGNED: bool> Condition for IntIs<CODE, SIGNED> {
    const FLOAT: bool = false;
    #[inline(always)]
    fn holds(a: u32, b: u32) -> bool {
        // Turning the sign bits makes signed order of unsigned.
        let turn = if SIGNED { 1 << 31 } else { 0 };
        let (a, b) = (a ^ turn, b ^ turn);
        match CODE & 7 {
            0 => false,
            1 => a < b,
            2 => a == b,
            3 => a <= b,
            4 => a > b,
            5 => a != b,
            6 => a >= b,
            _ => true,
        }
    }
}

/// `NOT`: the opposite of the condition.
struct Compare<C, const NOT: bool, const MODS: bool>(PhantomData<C>);

#[inline(always)]
fn compare<C: Condition, const FLUSH: bool, const MODS: bool>(w: &Wave, i: &Inst) -> u64 {
    let mut rooms = [const { MaybeUninit::uninit() }; 2];
    let [room_a, room_b] = &mut rooms;
    let (a, b) = (source(w, i, 0, room_a), source(w, i, 1, room_b));
    let mods = [modifier(i, 0), modifier(i, 1)];
    let mut flags = [0; 64];
    for n in 0..64 {
        let mut values = [a[n], b[n]];
        if MODS {
            values = [values[0] & mods[0].0 ^ mods[0].1, values[1] & mods[1].0 ^ mods[1].1];
        }
        if FLUSH {
            values = values.map(flush);
        }
        flags[n] = u8::from(C::holds(values[0], values[1]));
    }
    pack(&flags)
}

impl<C: Condition, const NOT: bool, const MODS: bool> Body for Compare<C, NOT, MODS> {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        let exec = count(w, env);
        let holds = if C::FLOAT && w.mode >> 4 & 1 == 0 {
            compare::<C, true, MODS>(w, i)
        } else {
            compare::<C, false, MODS>(w, i)
        };
        let mask = if NOT { !holds } else { holds } & exec;
        w.set_pair(i.sdst, mask);
        if let Op::Vopc(op) = i.op
            && Vopc::TABLE[op as usize].0 & 0x10 != 0
        {
            w.set_pair(reg::EXEC, mask);
        }
        Ok(())
    }
}

fn float_compare<C: Condition>(i: &Inst, level: Level, not: bool) -> Run {
    match (not, (i.mods.abs | i.mods.neg) != 0) {
        (false, false) => compiled::<Compare<C, false, false>>(level),
        (false, true) => compiled::<Compare<C, false, true>>(level),
        (true, false) => compiled::<Compare<C, true, false>>(level),
        (true, true) => compiled::<Compare<C, true, true>>(level),
    }
}

fn select_compare(i: &Inst, op: Vopc, level: Level) -> Option<Run> {
    let code = Vopc::TABLE[op as usize].0;
    if code < 0x20 {
        return None;
    }
    macro_rules! int {
        ($($code:literal)*) => {
            match (code & 7, code & 8 == 0) {
                $(($code, true) => compiled::<Compare<IntIs<$code, true>, false, false>>(level),
                ($code, false) => compiled::<Compare<IntIs<$code, false>, false, false>>(level),)*
                _ => return None,
            }
        };
    }
    Some(match i.info.src[0] {
        Ty::I32 => int!(0 1 2 3 4 5 6 7),
        Ty::F32 => {
            let not = code & 8 != 0;
            match if not { 7 - (code & 7) } else { code & 7 } {
                0 => float_compare::<FloatIs<0>>(i, level, not),
                1 => float_compare::<FloatIs<1>>(i, level, not),
                2 => float_compare::<FloatIs<2>>(i, level, not),
                3 => float_compare::<FloatIs<3>>(i, level, not),
                4 => float_compare::<FloatIs<4>>(i, level, not),
                5 => float_compare::<FloatIs<5>>(i, level, not),
                6 => float_compare::<FloatIs<6>>(i, level, not),
                _ => float_compare::<FloatIs<7>>(i, level, not),
            }
        }
        _ => return None,
    })
}

/// Addition or subtraction with a carry out, and with one in if `IN`.
trait Carry {
    const IN: bool;
    fn lane(a: u32, b: u32, c: u32) -> (u32, bool);
}

struct Sum<const IN: bool>;
struct Difference<const IN: bool, const REVERSED: bool>;

impl<const IN: bool> Carry for Sum<IN> {
    const IN: bool = IN;
    #[inline(always)]
    fn lane(a: u32, b: u32, c: u32) -> (u32, bool) {
        let (first, over) = a.overflowing_add(b);
        let (sum, again) = first.overflowing_add(c);
        (sum, over | again)
    }
}

impl<const IN: bool, const REVERSED: bool> Carry for Difference<IN, REVERSED> {
    const IN: bool = IN;
    #[inline(always)]
    fn lane(a: u32, b: u32, c: u32) -> (u32, bool) {
        let (a, b) = if REVERSED { (b, a) } else { (a, b) };
        let (first, under) = a.overflowing_sub(b);
        let (difference, again) = first.overflowing_sub(c);
        (difference, under | again)
    }
}

struct WithCarry<C>(PhantomData<C>);

impl<C: Carry> Body for WithCarry<C> {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        let exec = count(w, env);
        let mut rooms = [const { MaybeUninit::uninit() }; 2];
        let [room_a, room_b] = &mut rooms;
        let (a, b) = (source(w, i, 0, room_a), source(w, i, 1, room_b));
        let mut out: Lanes = [0; 64];
        let mut carries = [0; 64];
        if C::IN {
            let carry = spread(carry_in(w, i));
            for n in 0..64 {
                let (value, over) = C::lane(a[n], b[n], carry[n] & 1);
                (out[n], carries[n]) = (value, u8::from(over));
            }
        } else {
            for n in 0..64 {
                let (value, over) = C::lane(a[n], b[n], 0);
                (out[n], carries[n]) = (value, u8::from(over));
            }
        }
        write(w, i.dst, &out, exec);
        w.set_pair(i.sdst, pack(&carries) & exec);
        Ok(())
    }
}

/// `v_cndmask_b32` without modifiers.
struct Choose;

impl Body for Choose {
    #[inline(always)]
    fn run(w: &mut Wave, i: &Inst, env: &mut Env) -> Done {
        let exec = count(w, env);
        let mask = spread(carry_in(w, i));
        let mut rooms = [const { MaybeUninit::uninit() }; 2];
        let [room_a, room_b] = &mut rooms;
        let (a, b) = (source(w, i, 0, room_a), source(w, i, 1, room_b));
        let mut out: Lanes = [0; 64];
        for n in 0..64 {
            out[n] = a[n] & !mask[n] | b[n] & mask[n];
        }
        write(w, i.dst, &out, exec);
        Ok(())
    }
}

/// The handler, if the opcode has one here.
pub fn select(i: &Inst, level: Level) -> Option<Run> {
    Some(match i.op {
        Op::Vopc(op) => return select_compare(i, op, level),
        Op::Vop2(Vop2::CndmaskB32) if i.mods.abs | i.mods.neg == 0 => compiled::<Choose>(level),
        Op::Vop2(Vop2::AddCoU32) => compiled::<WithCarry<Sum<false>>>(level),
        Op::Vop2(Vop2::AddcCoU32) => compiled::<WithCarry<Sum<true>>>(level),
        Op::Vop2(Vop2::SubCoU32) => compiled::<WithCarry<Difference<false, false>>>(level),
        Op::Vop2(Vop2::SubbCoU32) => compiled::<WithCarry<Difference<true, false>>>(level),
        Op::Vop2(Vop2::SubrevCoU32) => compiled::<WithCarry<Difference<false, true>>>(level),
        Op::Vop2(Vop2::SubbrevCoU32) => compiled::<WithCarry<Difference<true, true>>>(level),
        _ => return None,
    })
}
