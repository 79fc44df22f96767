//! SOP1, SOP2 and SOPC: scalar integer and mask arithmetic.

use super::wave::Wave;
use super::{Done, Stop, indexing};
use crate::isa::decode::sop1::Sop1;
use crate::isa::decode::sop2::Sop2;
use crate::isa::decode::sopc::Sopc;
use crate::isa::inst::{Inst, reg};

/// Bit field of `value`: offset in `[4:0]` (`[5:0]` for 64 bits) and width in `[22:16]` of `control`.
fn field(value: u64, control: u64, bits: u32, signed: bool) -> u64 {
    let offset = (control as u32) & (bits - 1);
    let width = (control >> 16) as u32 & 0x7f;
    if width == 0 {
        return 0;
    }
    let value = if signed {
        let shift = 64 - bits;
        (((value << shift) as i64 >> shift) >> offset) as u64
    } else {
        value >> offset
    };
    let width = width.min(bits - offset);
    let unused = 64 - width;
    if signed { ((value << unused) as i64 >> unused) as u64 } else { value << unused >> unused }
}

/// SOP2.
pub fn sop2(w: &mut Wave, i: &Inst, op: Sop2) -> Done {
    use Sop2::*;
    let (a, b) = (w.s(i, 0), w.s(i, 1));
    let (x, y) = (a as u32, b as u32);
    let (sx, sy) = (x as i32, y as i32);
    // Result, and the new SCC where the instruction sets it.
    let flag = |value: u64| (value, Some(value != 0));
    let flag32 = |value: u32| (u64::from(value), Some(value != 0));
    let carry = u32::from(w.scc);
    let (value, scc) = match op {
        AddU32 => (u64::from(x.wrapping_add(y)), Some(x.checked_add(y).is_none())),
        SubU32 => (u64::from(x.wrapping_sub(y)), Some(y > x)),
        AddI32 => (u64::from(x.wrapping_add(y)), Some(sx.checked_add(sy).is_none())),
        SubI32 => (u64::from(x.wrapping_sub(y)), Some(sx.checked_sub(sy).is_none())),
        AddcU32 => {
            let sum = u64::from(x) + u64::from(y) + u64::from(carry);
            (sum & 0xffff_ffff, Some(sum >> 32 != 0))
        }
        SubbU32 => {
            let borrow = u64::from(y) + u64::from(carry) > u64::from(x);
            (u64::from(x.wrapping_sub(y).wrapping_sub(carry)), Some(borrow))
        }
        MinI32 => (u64::from(sx.min(sy) as u32), Some(sx < sy)),
        MinU32 => (u64::from(x.min(y)), Some(x < y)),
        MaxI32 => (u64::from(sx.max(sy) as u32), Some(sx > sy)),
        MaxU32 => (u64::from(x.max(y)), Some(x > y)),
        CselectB32 | CselectB64 => (if w.scc { a } else { b }, None),
        AndB32 | AndB64 => flag(a & b),
        OrB32 | OrB64 => flag(a | b),
        XorB32 | XorB64 => flag(a ^ b),
        Andn2B32 => flag32(x & !y),
        Andn2B64 => flag(a & !b),
        Orn2B32 => flag32(x | !y),
        Orn2B64 => flag(a | !b),
        NandB32 => flag32(!(x & y)),
        NandB64 => flag(!(a & b)),
        NorB32 => flag32(!(x | y)),
        NorB64 => flag(!(a | b)),
        XnorB32 => flag32(!(x ^ y)),
        XnorB64 => flag(!(a ^ b)),
        LshlB32 => flag32(x << (y & 31)),
        LshlB64 => flag(a << (y & 63)),
        LshrB32 => flag32(x >> (y & 31)),
        LshrB64 => flag(a >> (y & 63)),
        AshrI32 => flag32((sx >> (y & 31)) as u32),
        AshrI64 => flag((a as i64 >> (y & 63)) as u64),
        BfmB32 => (u64::from(((1u32 << (x & 31)) - 1) << (y & 31)), None),
        BfmB64 => (((1u64 << (x & 63)) - 1) << (y & 63), None),
        MulI32 => (u64::from(x.wrapping_mul(y)), None),
        BfeU32 => flag32(field(a, b, 32, false) as u32),
        BfeI32 => flag32(field(a, b, 32, true) as u32),
        BfeU64 => flag(field(a, b, 64, false)),
        BfeI64 => flag(field(a, b, 64, true)),
        AbsdiffI32 => flag32((i64::from(sx) - i64::from(sy)).unsigned_abs() as u32),
        MulHiU32 => ((u64::from(x) * u64::from(y)) >> 32, None),
        MulHiI32 => (((i64::from(sx) * i64::from(sy)) >> 32) as u64, None),
        Lshl1AddU32 | Lshl2AddU32 | Lshl3AddU32 | Lshl4AddU32 => {
            let shift = op as u32 - Lshl1AddU32 as u32 + 1;
            let sum = (u64::from(x) << shift) + u64::from(y);
            (sum & 0xffff_ffff, Some(sum >> 32 != 0))
        }
        PackLlB32B16 => (u64::from(x & 0xffff | y << 16), None),
        PackLhB32B16 => (u64::from(x & 0xffff | y & 0xffff_0000), None),
        PackHhB32B16 => (u64::from(x >> 16 | y & 0xffff_0000), None),
        CbranchGFork => return Err(Stop::Unsupported("fork instructions")),
        RfeRestoreB64 => return Err(Stop::Unsupported("privileged instruction")),
    };
    w.put_s(i, value);
    if let Some(scc) = scc {
        w.scc = scc;
    }
    Ok(())
}

/// Every group of 4 (quad) as one bit.
fn quads(value: u64) -> u64 {
    (0..16).fold(0, |mask, quad| mask | u64::from(value >> (4 * quad) & 15 != 0) << quad)
}

/// Every quad with a bit set, filled.
fn whole_quads(value: u64) -> u64 {
    (0..16).fold(0, |mask, quad| mask | if value >> (4 * quad) & 15 != 0 { 15 << (4 * quad) } else { 0 })
}

/// Position of the first bit from the top that differs from the sign; all ones if there is none.
fn sign_bits(value: u64, bits: u32) -> u32 {
    let aligned = value << (64 - bits);
    let differing = (aligned ^ ((aligned as i64 >> 63) as u64)).leading_zeros();
    if differing >= bits { u32::MAX } else { differing }
}

/// SOP1.
pub fn sop1(w: &mut Wave, i: &Inst, op: Sop1) -> Done {
    use Sop1::*;
    let a = if i.info.src.is_empty() { 0 } else { w.s(i, 0) };
    let x = a as u32;
    let exec = w.exec();
    let flag = |value: u64| (value, Some(value != 0));
    let flag32 = |value: u32| (u64::from(value), Some(value != 0));
    let plain = |value: u32| (u64::from(value), None);
    let position = |count: u32, bits: u32| plain(if count >= bits { u32::MAX } else { count });
    let saveexec = |w: &mut Wave, mask: u64| {
        w.put_s(i, exec);
        w.set_exec(mask);
        w.scc = mask != 0;
        Ok(())
    };
    let (value, scc) = match op {
        MovB32 | MovB64 => (a, None),
        CmovB32 | CmovB64 => {
            if !w.scc {
                return Ok(());
            }
            (a, None)
        }
        NotB32 => flag32(!x),
        NotB64 => flag(!a),
        WqmB32 => flag32(whole_quads(a) as u32),
        WqmB64 => flag(whole_quads(a)),
        BrevB32 => plain(x.reverse_bits()),
        BrevB64 => (a.reverse_bits(), None),
        Bcnt0I32B32 => flag32(x.count_zeros()),
        Bcnt0I32B64 => flag32(a.count_zeros()),
        Bcnt1I32B32 => flag32(x.count_ones()),
        Bcnt1I32B64 => flag32(a.count_ones()),
        Ff0I32B32 => position(x.trailing_ones(), 32),
        Ff0I32B64 => position(a.trailing_ones(), 64),
        Ff1I32B32 => position(x.trailing_zeros(), 32),
        Ff1I32B64 => position(a.trailing_zeros(), 64),
        FlbitI32B32 => position(x.leading_zeros(), 32),
        FlbitI32B64 => position(a.leading_zeros(), 64),
        FlbitI32 => plain(sign_bits(a, 32)),
        FlbitI32I64 => plain(sign_bits(a, 64)),
        SextI32I8 => plain(x as i8 as i32 as u32),
        SextI32I16 => plain(x as i16 as i32 as u32),
        Bitset0B32 => plain(w.sgpr[usize::from(i.dst & 127)] & !(1 << (x & 31))),
        Bitset0B64 => (w.pair(i.dst) & !(1 << (x & 63)), None),
        Bitset1B32 => plain(w.sgpr[usize::from(i.dst & 127)] | 1 << (x & 31)),
        Bitset1B64 => (w.pair(i.dst) | 1 << (x & 63), None),
        GetpcB64 => (w.pc, None),
        SetpcB64 => {
            w.pc = a & !3;
            return Ok(());
        }
        SwappcB64 => {
            let back = w.pc;
            w.pc = a & !3;
            (back, None)
        }
        AndSaveexecB64 => return saveexec(w, a & exec),
        OrSaveexecB64 => return saveexec(w, a | exec),
        XorSaveexecB64 => return saveexec(w, a ^ exec),
        Andn2SaveexecB64 => return saveexec(w, a & !exec),
        Orn2SaveexecB64 => return saveexec(w, a | !exec),
        NandSaveexecB64 => return saveexec(w, !(a & exec)),
        NorSaveexecB64 => return saveexec(w, !(a | exec)),
        XnorSaveexecB64 => return saveexec(w, !(a ^ exec)),
        Andn1SaveexecB64 => return saveexec(w, !a & exec),
        Orn1SaveexecB64 => return saveexec(w, !a | exec),
        Andn1WrexecB64 | Andn2WrexecB64 => {
            let mask = if op == Andn1WrexecB64 { !a & exec } else { a & !exec };
            w.set_exec(mask);
            flag(mask)
        }
        QuadmaskB32 => flag32(quads(u64::from(x)) as u32),
        QuadmaskB64 => flag(quads(a)),
        AbsI32 => flag32((x as i32).unsigned_abs()),
        BitreplicateB64B32 => {
            ((0..32).fold(0, |mask, bit| mask | ((u64::from(x) >> bit & 1) * 3) << (2 * bit)), None)
        }
        MovrelsB32 | MovrelsB64 | MovreldB32 | MovreldB64 => return relative_move(w, i, op),
        RfeB64 => return Err(Stop::Unsupported("privileged instruction")),
        CbranchJoin => return Err(Stop::Unsupported("fork instructions")),
        SetGprIdxIdx => return indexing::index(w, x),
    };
    w.put_s(i, value);
    if let Some(scc) = scc {
        w.scc = scc;
    }
    Ok(())
}

/// `s_movrel*`: an SGPR number plus M0.
fn relative_move(w: &mut Wave, i: &Inst, op: Sop1) -> Done {
    let relative = |code: u16, wide: u32| {
        let at = u32::from(code).checked_add(w.sgpr[usize::from(reg::M0)]);
        at.filter(|at| code < 102 && at + wide <= 102).ok_or(Stop::Unsupported("relative SGPR out of range"))
    };
    match op {
        Sop1::MovrelsB32 => {
            let from = relative(i.src[0], 1)?;
            w.put_s(i, u64::from(w.sgpr[from as usize]));
        }
        Sop1::MovrelsB64 => {
            let from = relative(i.src[0], 2)?;
            w.put_s(i, w.pair(from as u16));
        }
        Sop1::MovreldB32 => {
            let to = relative(i.dst, 1)?;
            w.sgpr[to as usize] = w.s(i, 0) as u32;
        }
        _ => {
            let to = relative(i.dst, 2)?;
            w.set_pair(to as u16, w.s(i, 0));
        }
    }
    Ok(())
}

/// SOPC.
pub fn sopc(w: &mut Wave, i: &Inst, op: Sopc) -> Done {
    use Sopc::*;
    if op == SetGprIdxOn {
        let index = w.s(i, 0) as u32;
        return indexing::on(w, index, i.imm as u32);
    }
    let (a, b) = (w.s(i, 0), w.s(i, 1));
    let (x, y) = (a as u32, b as u32);
    let (sx, sy) = (x as i32, y as i32);
    w.scc = match op {
        CmpEqI32 | CmpEqU32 => x == y,
        CmpLgI32 | CmpLgU32 => x != y,
        CmpGtI32 => sx > sy,
        CmpGeI32 => sx >= sy,
        CmpLtI32 => sx < sy,
        CmpLeI32 => sx <= sy,
        CmpGtU32 => x > y,
        CmpGeU32 => x >= y,
        CmpLtU32 => x < y,
        CmpLeU32 => x <= y,
        Bitcmp0B32 => x >> (y & 31) & 1 == 0,
        Bitcmp1B32 => x >> (y & 31) & 1 == 1,
        Bitcmp0B64 => a >> (y & 63) & 1 == 0,
        Bitcmp1B64 => a >> (y & 63) & 1 == 1,
        CmpEqU64 => a == b,
        CmpLgU64 => a != b,
        Setvskip | SetGprIdxOn => return Err(Stop::Unsupported("vector skip mode")),
    };
    Ok(())
}
