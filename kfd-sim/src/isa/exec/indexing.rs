//! VGPR indexing (`s_set_gpr_idx_*`): vector operands relative to M0, by which compilers index arrays in registers.
//!
//! M0 `[7:0]` is the index, `[15:12]` says which operands it is added to: sources 0, 1, 2, destination. MODE bit 27 says
//! whether indexing is on.

use super::wave::Wave;
use super::{Done, Stop};
use crate::isa::inst::{Inst, Op, reg};

/// Bit of MODE that says whether indexing is on.
pub const ENABLED: u32 = 1 << 27;
const INDEX: u32 = 0xff;
const MODES: u32 = 0xf000;

/// `s_set_gpr_idx_on`.
pub fn on(w: &mut Wave, index: u32, modes: u32) -> Done {
    let m0 = &mut w.sgpr[usize::from(reg::M0)];
    *m0 = *m0 & !(INDEX | MODES) | index & INDEX | modes << 12 & MODES;
    w.mode |= ENABLED;
    Ok(())
}

/// `s_set_gpr_idx_off`.
pub fn off(w: &mut Wave) {
    w.mode &= !ENABLED;
}

/// `s_set_gpr_idx_idx`.
pub fn index(w: &mut Wave, index: u32) -> Done {
    let m0 = &mut w.sgpr[usize::from(reg::M0)];
    *m0 = *m0 & !INDEX | index & INDEX;
    Ok(())
}

/// `s_set_gpr_idx_mode`.
pub fn modes(w: &mut Wave, modes: u32) {
    let m0 = &mut w.sgpr[usize::from(reg::M0)];
    *m0 = *m0 & !MODES | modes << 12 & MODES;
}

/// Whether the instruction's operands have to be moved first.
#[inline]
pub fn applies(w: &Wave, i: &Inst) -> bool {
    w.mode & ENABLED != 0
        && matches!(i.op, Op::Vop1(_) | Op::Vop2(_) | Op::Vop3(_) | Op::Vop3p(_) | Op::Vopc(_))
}

/// The instruction with its operands moved by the index.
pub fn moved(w: &Wave, i: &Inst) -> Result<Inst, Stop> {
    let m0 = w.sgpr[usize::from(reg::M0)];
    let by = (m0 & INDEX) as u16;
    let mut inst = *i;
    for (n, code) in inst.src.iter_mut().enumerate() {
        if m0 >> (12 + n) & 1 != 0 && *code >= reg::VGPR {
            *code += by;
        }
    }
    if m0 >> 15 & 1 != 0 && inst.dst >= reg::VGPR {
        inst.dst += by;
    }
    let end = |code: u16, dwords: u16| if code >= reg::VGPR { code - reg::VGPR + dwords.max(1) } else { 0 };
    let mut top = end(inst.dst, inst.info.dst.dwords());
    for (n, code) in inst.src.iter().enumerate() {
        top = top.max(end(*code, inst.info.src.get(n).map_or(1, |ty| ty.dwords())));
    }
    if usize::from(top) > w.vgpr.len() {
        return Err(Stop::Unsupported("indexed register beyond the VGPRs allocated"));
    }
    inst.vgprs = top;
    Ok(inst)
}
