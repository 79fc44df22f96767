//! A decoded instruction: opcode, operands, modifiers. Plain data.
//!
//! Operands keep the hardware's 9-bit source numbering: 0..=101 SGPRs, 102..=127 special scalar registers (102
//! FLAT_SCRATCH, 104 XNACK_MASK, 106 VCC, 108 TTMP, 124 M0, 126 EXEC), 128..=248 inline constants, 251..=253 condition
//! bits, 255 literal, 256..=511 VGPRs.

use super::decode::ds::Ds;
use super::decode::flat::Flat;
use super::decode::mubuf::Mubuf;
use super::decode::smem::Smem;
use super::decode::sop1::Sop1;
use super::decode::sop2::Sop2;
use super::decode::sopc::Sopc;
use super::decode::sopk::Sopk;
use super::decode::sopp::Sopp;
use super::decode::vop1::Vop1;
use super::decode::vop2::Vop2;
use super::decode::vop3::Vop3;
use super::decode::vop3p::Vop3p;
use super::decode::vopc::Vopc;

/// Scalar register numbers with a name.
pub mod reg {
    /// FLAT_SCRATCH, low half.
    pub const FLAT_SCRATCH: u16 = 102;
    /// VCC, low half.
    pub const VCC: u16 = 106;
    /// M0.
    pub const M0: u16 = 124;
    /// EXEC, low half.
    pub const EXEC: u16 = 126;
    /// The wave id of pixel shaders' ordering.
    pub const POPS_EXITING_WAVE_ID: u16 = 239;
    /// A value that LDS broadcasts.
    pub const LDS_DIRECT: u16 = 254;
    /// The literal that follows the instruction.
    pub const LITERAL: u16 = 255;
    /// VGPR 0.
    pub const VGPR: u16 = 256;
}

/// Type of an operand: decides its registers, and how a constant is extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    /// None.
    No,
    /// 16 bits, integer.
    I16,
    /// Half precision.
    F16,
    /// Two packed 16-bit values.
    P16,
    /// Mixed: f32 or one half of a register (`v_fma_mix*`).
    M16,
    /// 32 bits, integer or untyped.
    I32,
    /// Single precision.
    F32,
    /// 64 bits; literals are zero-extended.
    B64,
    /// 64 bits; literals are sign-extended.
    I64,
    /// Double precision; a literal is the high half.
    F64,
    /// Three registers.
    B96,
    /// Four registers.
    B128,
    /// Eight registers.
    B256,
    /// Sixteen registers.
    B512,
}

impl Ty {
    /// 32-bit registers taken.
    pub const fn dwords(self) -> u16 {
        match self {
            Ty::No => 0,
            Ty::I16 | Ty::F16 | Ty::P16 | Ty::M16 | Ty::I32 | Ty::F32 => 1,
            Ty::B64 | Ty::I64 | Ty::F64 => 2,
            Ty::B96 => 3,
            Ty::B128 => 4,
            Ty::B256 => 8,
            Ty::B512 => 16,
        }
    }

    /// Whether negation and absolute value apply.
    pub const fn is_float(self) -> bool {
        matches!(self, Ty::F16 | Ty::F32 | Ty::F64 | Ty::M16)
    }
}

/// What a table says about an opcode.
#[derive(Debug, PartialEq, Eq)]
pub struct Info {
    /// Mnemonic without encoding suffix.
    pub name: &'static str,
    /// Destination.
    pub dst: Ty,
    /// Sources, in assembly order.
    pub src: &'static [Ty],
}

/// An opcode, by encoding. VOP3 forms of VOP1, VOP2 and VOPC opcodes are the same opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // each variant is the encoding it is named after
pub enum Op {
    Sop1(Sop1),
    Sop2(Sop2),
    Sopk(Sopk),
    Sopc(Sopc),
    Sopp(Sopp),
    Smem(Smem),
    Vop1(Vop1),
    Vop2(Vop2),
    Vop3(Vop3),
    Vop3p(Vop3p),
    Vopc(Vopc),
    Ds(Ds),
    Flat(Flat),
    Mubuf(Mubuf),
}

/// How a vector ALU instruction is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// 32-bit encoding (or an encoding with one form only).
    E32,
    /// VOP3.
    E64,
    /// Sub-dword addressing.
    Sdwa(Sdwa),
    /// Data parallel primitives: source 0 comes from another lane.
    Dpp(Dpp),
}

/// Sub-dword selections: 0..=3 byte, 4..=5 word, 6 dword.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sdwa {
    /// Part of the destination that is written.
    pub dst_sel: u8,
    /// The rest of the destination: 0 zero, 1 sign extension, 2 preserve.
    pub dst_unused: u8,
    /// Parts of the sources.
    pub src_sel: [u8; 2],
    /// Sign-extend the parts.
    pub sext: [bool; 2],
}

/// DPP control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dpp {
    /// 9-bit control.
    pub ctrl: u16,
    /// Rows (of 16 lanes) that are written.
    pub row_mask: u8,
    /// Banks (of 4 lanes in each row) that are written.
    pub bank_mask: u8,
    /// A lane without a source reads 0 instead of being disabled.
    pub bound_ctrl: bool,
}

/// VOP3, VOP3P, SDWA and DPP source and result modifiers; bit `n` of a mask is source `n`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mods {
    /// Absolute value.
    pub abs: u8,
    /// Negation (VOP3P: of the low half).
    pub neg: u8,
    /// VOP3P: negation of the high half (`v_fma_mix*`: absolute value).
    pub neg_hi: u8,
    /// Which half (VOP3P: for the low result); bit 3 is the destination.
    pub op_sel: u8,
    /// VOP3P: which half for the high result.
    pub op_sel_hi: u8,
    /// Output modifier: 1 times 2, 2 times 4, 3 divided by 2.
    pub omod: u8,
    /// Clamp to [0, 1] (float) or saturate (integer).
    pub clamp: bool,
}

/// Memory instruction flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemFlags {
    /// Globally coherent; for atomics: return the old value.
    pub glc: bool,
    /// System level coherent.
    pub slc: bool,
    /// Data goes to LDS, not to VGPRs.
    pub lds: bool,
    /// FLAT non-volatile hint.
    pub nv: bool,
    /// Buffer: offset from a VGPR.
    pub offen: bool,
    /// Buffer: index from a VGPR.
    pub idxen: bool,
    /// Buffer: texture fail enable.
    pub tfe: bool,
    /// DS: global data share.
    pub gds: bool,
    /// SMEM: the offset is an immediate.
    pub imm: bool,
    /// SMEM: an SGPR offset as well as the immediate.
    pub soffset_en: bool,
}

/// Segment of a FLAT-encoded instruction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Segment {
    /// Address decides among global, LDS and scratch.
    #[default]
    Flat,
    /// Private segment.
    Scratch,
    /// Global memory.
    Global,
}

/// One decoded instruction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Inst {
    /// Opcode.
    pub op: Op,
    /// Its table row.
    pub info: &'static Info,
    /// Encoding form.
    pub form: Form,
    /// First two words (the second 0 when the instruction has only one).
    pub words: [u32; 2],
    /// Bytes.
    pub size: u8,
    /// Destination register.
    pub dst: u16,
    /// Scalar destination of VOP3B and of compares.
    pub sdst: u16,
    /// Sources. Memory: `[address, data0, data1]`; SMEM: `[base, offset]`; MUBUF: `[vaddr, srsrc, soffset]`.
    pub src: [u16; 3],
    /// Literal constant, when a source is [`reg::LITERAL`] (or of `v_madmk`, `v_madak`, `s_setreg_imm32`).
    pub literal: u32,
    /// 16-bit immediate, or memory offset in bytes, sign-extended where the encoding says so.
    pub imm: i32,
    /// Modifiers.
    pub mods: Mods,
    /// Memory flags.
    pub mem: MemFlags,
    /// Segment of FLAT.
    pub segment: Segment,
    /// VGPRs that the instruction reaches: one more than the highest register number.
    pub vgprs: u16,
}

impl Inst {
    pub(super) fn new(op: Op, info: &'static Info, words: [u32; 2], size: u8) -> Inst {
        Inst {
            op,
            info,
            form: Form::E32,
            words,
            size,
            dst: 0,
            sdst: reg::VCC,
            src: [0; 3],
            literal: 0,
            imm: 0,
            mods: Mods::default(),
            mem: MemFlags::default(),
            segment: Segment::Flat,
            vgprs: 0,
        }
    }

    /// Why an instruction that exists is not executed, whatever its opcode does: an operand or a flag that is not simulated.
    pub fn refused(&self) -> Option<&'static str> {
        if self.src.contains(&reg::LDS_DIRECT) {
            return Some("operand LDS_DIRECT is not simulated");
        }
        if self.src.contains(&reg::POPS_EXITING_WAVE_ID) {
            return Some("operand POPS_EXITING_WAVE_ID belongs to pixel shaders");
        }
        if self.mem.gds {
            return Some("the global data share is not simulated");
        }
        if self.mem.lds {
            return Some("loads from buffers into LDS are not simulated");
        }
        if self.mem.tfe {
            return Some("texture fail is not simulated");
        }
        let integers = match self.op {
            Op::Vop3p(op) => op.integer(),
            _ => false,
        };
        if integers && (self.mods.neg | self.mods.neg_hi) != 0 {
            return Some("negation of packed integers is not defined");
        }
        None
    }

    /// Whether a VOP2 opcode takes a lane mask as last source (VCC, or source 2 in VOP3).
    pub fn reads_carry(&self) -> bool {
        matches!(self.op, Op::Vop2(Vop2::CndmaskB32 | Vop2::AddcCoU32 | Vop2::SubbCoU32 | Vop2::SubbrevCoU32))
    }

    /// Whether it writes a lane mask beside its vector result.
    pub fn writes_carry(&self) -> bool {
        matches!(
            self.op,
            Op::Vop2(
                Vop2::AddCoU32
                    | Vop2::SubCoU32
                    | Vop2::SubrevCoU32
                    | Vop2::AddcCoU32
                    | Vop2::SubbCoU32
                    | Vop2::SubbrevCoU32
            ) | Op::Vop3(Vop3::DivScaleF32 | Vop3::DivScaleF64 | Vop3::MadU64U32 | Vop3::MadI64I32)
        )
    }

    /// Whether the vector destination is an SGPR.
    pub fn dst_is_scalar(&self) -> bool {
        matches!(self.op, Op::Vop1(Vop1::ReadfirstlaneB32) | Op::Vop3(Vop3::ReadlaneB32))
    }
}
