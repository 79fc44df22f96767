//! Registers of one wave, and how operands that are the same for all lanes are read.

use super::Lanes;
use crate::isa::inst::{Inst, Ty, reg};

/// What a wave is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Can execute.
    Running,
    /// Waits at `s_barrier`.
    Barrier,
    /// Reached `s_endpgm`.
    Ended,
}

/// One wave of 64 lanes.
#[derive(Clone, Debug)]
pub struct Wave {
    /// Address of the next instruction.
    pub pc: u64,
    /// Scalar registers by operand number: SGPRs, VCC, TTMP, M0 and EXEC.
    pub sgpr: [u32; 128],
    /// Scalar condition code.
    pub scc: bool,
    /// Vector registers.
    pub vgpr: Vec<Lanes>,
    /// MODE register: round [3:0], denormals [7:4], DX10_CLAMP 8, IEEE 9.
    pub mode: u32,
    /// HW_ID register.
    pub hw_id: u32,
    /// SH_MEM_BASES register.
    pub mem_bases: u32,
    /// LDS_ALLOC and GPR_ALLOC registers.
    pub alloc: [u32; 2],
    /// Set by `s_setreg` on TRAPSTS; only stored.
    pub trap_status: u32,
    /// Has stored to global memory since it last waited for its stores.
    pub stored: bool,
    /// State.
    pub state: State,
}

/// 1/(2 pi) in half, single and double precision.
const INV_2PI: [u64; 3] = [0x3118, 0x3e22_f983, 0x3fc4_5f30_6dc9_c882];

/// Bits of an inline constant or literal for an operand type.
pub fn constant(code: u16, ty: Ty, literal: u32) -> u64 {
    let float = |value: f64| match ty {
        Ty::I16 | Ty::F16 | Ty::P16 => u64::from(super::half::from_f64(value)),
        Ty::B64 | Ty::I64 | Ty::F64 => value.to_bits(),
        _ => u64::from((value as f32).to_bits()),
    };
    let int = |value: i64| if ty.dwords() == 2 { value as u64 } else { u64::from(value as u32) };
    match code {
        128..=192 => int(i64::from(code) - 128),
        193..=208 => int(192 - i64::from(code)),
        240..=247 => float([0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 4.0, -4.0][usize::from(code - 240)]),
        248 => match ty {
            Ty::I16 | Ty::F16 | Ty::P16 => INV_2PI[0],
            Ty::B64 | Ty::I64 | Ty::F64 => INV_2PI[2],
            _ => INV_2PI[1],
        },
        _ => match ty {
            Ty::F64 => u64::from(literal) << 32,
            Ty::I64 => i64::from(literal as i32) as u64,
            _ => u64::from(literal),
        },
    }
}

impl Wave {
    /// Active lanes.
    #[inline]
    pub fn exec(&self) -> u64 {
        self.pair(reg::EXEC)
    }

    /// Sets the active lanes.
    #[inline]
    pub fn set_exec(&mut self, mask: u64) {
        self.set_pair(reg::EXEC, mask);
    }

    /// A pair of scalar registers.
    #[inline]
    pub fn pair(&self, code: u16) -> u64 {
        let at = usize::from(code & 127);
        u64::from(self.sgpr[at]) | u64::from(self.sgpr[(at + 1) & 127]) << 32
    }

    /// Sets a pair of scalar registers.
    #[inline]
    pub fn set_pair(&mut self, code: u16, value: u64) {
        let at = usize::from(code & 127);
        self.sgpr[at] = value as u32;
        self.sgpr[(at + 1) & 127] = (value >> 32) as u32;
    }

    /// A scalar source of any width up to 64 bits.
    #[inline]
    pub fn scalar(&self, code: u16, ty: Ty, literal: u32) -> u64 {
        match code {
            0..=127 if ty.dwords() == 2 => self.pair(code),
            0..=127 => u64::from(self.sgpr[usize::from(code)]),
            // A 64-bit read gives the whole base; a 32-bit read its low half.
            235 => self.aperture(16, ty),
            236 => self.aperture(16, ty) | 0xffff_ffff,
            237 => self.aperture(0, ty),
            238 => self.aperture(0, ty) | 0xffff_ffff,
            251 => u64::from(self.pair(reg::VCC) == 0),
            252 => u64::from(self.exec() == 0),
            253 => u64::from(self.scc),
            _ => constant(code, ty, literal),
        }
    }

    fn aperture(&self, shift: u32, ty: Ty) -> u64 {
        let base = u64::from(self.mem_bases >> shift & 0xffff) << 48;
        if ty.dwords() == 2 { base } else { base & 0xffff_ffff }
    }

    /// Scalar source `n` of an instruction, as its table row types it.
    #[inline]
    pub fn s(&self, inst: &Inst, n: usize) -> u64 {
        self.scalar(inst.src[n], inst.info.src[n], inst.literal)
    }

    /// Writes a scalar destination as wide as the table row says.
    #[inline]
    pub fn put_s(&mut self, inst: &Inst, value: u64) {
        if inst.info.dst.dwords() == 2 {
            self.set_pair(inst.dst, value);
        } else {
            self.sgpr[usize::from(inst.dst & 127)] = value as u32;
        }
    }
}
