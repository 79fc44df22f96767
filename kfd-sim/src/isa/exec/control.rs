//! SOPP and SOPK: branches, waits, barriers, hardware registers, immediates.

use super::wave::{State, Wave};
use super::{Cache, Done, Env, Stop, indexing};
use crate::isa::decode::sopk::Sopk;
use crate::isa::decode::sopp::Sopp;
use crate::isa::inst::{Inst, reg};

/// Trap number of `llvm.debugtrap`.
const DEBUG_TRAP: u8 = 3;
/// Type, operation and stream of a message.
const SENDMSG_FIELDS: u32 = 0x37f;
/// The message that raises an interrupt.
const INTERRUPT: u32 = 1;
/// Bits of M0 that the interrupt carries.
const INTERRUPT_EVENT: u32 = 0xff_ffff;

fn branch(w: &mut Wave, i: &Inst, taken: bool) -> Done {
    if taken {
        w.pc = w.pc.wrapping_add_signed(i64::from(i.imm) * 4);
    }
    Ok(())
}

/// SOPP.
pub fn sopp(w: &mut Wave, i: &Inst, op: Sopp, env: &mut Env) -> Done {
    use Sopp::*;
    match op {
        Endpgm | EndpgmSaved => w.state = State::Ended,
        Barrier => w.state = State::Barrier,
        Branch => return branch(w, i, true),
        CbranchScc0 => return branch(w, i, !w.scc),
        CbranchScc1 => return branch(w, i, w.scc),
        CbranchVccz => return branch(w, i, w.pair(reg::VCC) == 0),
        CbranchVccnz => return branch(w, i, w.pair(reg::VCC) != 0),
        CbranchExecz => return branch(w, i, w.exec() == 0),
        CbranchExecnz => return branch(w, i, w.exec() != 0),
        // No conditional debugger is attached.
        CbranchCdbgsys | CbranchCdbguser | CbranchCdbgsysOrUser | CbranchCdbgsysAndUser => {}
        // Memory is in order, waves are scheduled by turns, nothing measures or traces.
        // vmcnt (bits 3:0 and 15:14) 0: the wave's stores are out.
        Waitcnt => {
            if w.stored && i.imm & 0xc00f == 0 {
                w.stored = false;
                env.port.drain();
            }
        }
        Nop | Sleep | Setprio | Wakeup | Incperflevel | Decperflevel | Ttracedata => {}
        IcacheInv => env.cache_maintenance(Cache::Instruction),
        // Without a debugger, ROCr's trap handler goes on after `llvm.debugtrap`.
        Trap if i.imm as u8 == DEBUG_TRAP => {}
        Trap => return Err(Stop::Trap(i.imm as u8)),
        Sethalt if i.imm & 1 == 0 => {}
        Sethalt => return Err(Stop::Unsupported("s_sethalt 1 would stop the wave for ever")),
        Setkill => return Err(Stop::Unsupported("s_setkill")),
        // The event whose number M0 holds: signals are set this way by kernels (hostcalls, `printf`).
        Sendmsg if i.imm as u32 & SENDMSG_FIELDS == INTERRUPT => {
            env.interrupts.push(w.sgpr[usize::from(reg::M0)] & INTERRUPT_EVENT);
        }
        Sendmsg | Sendmsghalt => return Err(Stop::Unsupported("messages other than MSG_INTERRUPT")),
        SetGprIdxOff => indexing::off(w),
        SetGprIdxMode => indexing::modes(w, i.imm as u32),
        EndpgmOrderedPsDone => return Err(Stop::Unsupported("pixel shader instruction")),
    }
    Ok(())
}

/// Hardware register number, offset and width of a `hwreg` immediate.
fn hwreg(imm: i32) -> (u32, u32, u32) {
    let imm = imm as u32;
    (imm & 63, imm >> 6 & 31, (imm >> 11 & 31) + 1)
}

fn mask(width: u32) -> u32 {
    u32::MAX >> (32 - width)
}

fn read_hwreg(w: &Wave, id: u32) -> Result<u32, Stop> {
    Ok(match id {
        1 => w.mode,
        // STATUS: SCC 0, EXECZ 9, VCCZ 10, VALID 16.
        2 => {
            u32::from(w.scc)
                | u32::from(w.exec() == 0) << 9
                | u32::from(w.pair(reg::VCC) == 0) << 10
                | 1 << 16
        }
        3 => w.trap_status,
        4 => w.hw_id,
        5 => w.alloc[0],
        6 => w.alloc[1],
        // IB_STS: nothing outstanding.
        7 => 0,
        15 => w.mem_bases,
        _ => return Err(Stop::Unsupported("hardware register")),
    })
}

fn write_hwreg(w: &mut Wave, imm: i32, value: u32) -> Done {
    let (id, offset, width) = hwreg(imm);
    let field = mask(width).checked_shl(offset).unwrap_or(0);
    let merge = |old: u32| old & !field | value << offset & field;
    match id {
        1 => {
            w.mode = merge(w.mode);
        }
        3 => w.trap_status = merge(w.trap_status),
        _ => return Err(Stop::Unsupported("hardware register")),
    }
    Ok(())
}

/// SOPK.
pub fn sopk(w: &mut Wave, i: &Inst, op: Sopk, _env: &mut Env) -> Done {
    use Sopk::*;
    let at = usize::from(i.dst & 127);
    let (x, imm) = (w.sgpr[at] as i32, i.imm);
    let (ux, uimm) = (x as u32, imm as u32 & 0xffff);
    match op {
        MovkI32 => w.sgpr[at] = imm as u32,
        CmovkI32 => {
            if w.scc {
                w.sgpr[at] = imm as u32;
            }
        }
        CmpkEqI32 => w.scc = x == imm,
        CmpkLgI32 => w.scc = x != imm,
        CmpkGtI32 => w.scc = x > imm,
        CmpkGeI32 => w.scc = x >= imm,
        CmpkLtI32 => w.scc = x < imm,
        CmpkLeI32 => w.scc = x <= imm,
        CmpkEqU32 => w.scc = ux == uimm,
        CmpkLgU32 => w.scc = ux != uimm,
        CmpkGtU32 => w.scc = ux > uimm,
        CmpkGeU32 => w.scc = ux >= uimm,
        CmpkLtU32 => w.scc = ux < uimm,
        CmpkLeU32 => w.scc = ux <= uimm,
        AddkI32 => {
            w.scc = x.checked_add(imm).is_none();
            w.sgpr[at] = x.wrapping_add(imm) as u32;
        }
        MulkI32 => w.sgpr[at] = x.wrapping_mul(imm) as u32,
        GetregB32 => {
            let (id, offset, width) = hwreg(imm);
            w.sgpr[at] = read_hwreg(w, id)? >> offset & mask(width);
        }
        SetregB32 => return write_hwreg(w, imm, ux),
        SetregImm32B32 => return write_hwreg(w, imm, i.literal),
        CallB64 => {
            let back = w.pc;
            branch(w, i, true)?;
            w.set_pair(i.dst, back);
        }
        CbranchIFork => return Err(Stop::Unsupported("fork instructions")),
    }
    Ok(())
}
