//! From instruction words to [`Inst`]: picks the encoding; each encoding has its own file and opcode table.
//!
//! Encodings without a table (VINTRP, MTBUF, MIMG, EXP) are graphics; they are refused by name.

/// One table row: `code Variant "mnemonic" DST [SOURCES]`.
macro_rules! opcodes {
    ($(#[$doc:meta])* $name:ident { $($code:literal $variant:ident $text:literal $dst:ident [$($src:ident)*],)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)*
        }

        impl $name {
            /// Opcode numbers, opcodes and operand types, sorted by number.
            pub const TABLE: &'static [(u16, $name, $crate::isa::inst::Info)] = {
                use $crate::isa::inst::{Info, Ty};
                &[$(($code, $name::$variant, Info { name: $text, dst: Ty::$dst, src: &[$(Ty::$src),*] }),)*]
            };

            /// The row of an opcode number.
            pub fn find(code: u32) -> Option<&'static (u16, $name, $crate::isa::inst::Info)> {
                let at = Self::TABLE.binary_search_by_key(&code, |row| u32::from(row.0)).ok()?;
                Some(&Self::TABLE[at])
            }
        }
    };
}

pub mod ds;
pub mod flat;
pub mod mubuf;
pub mod smem;
pub mod sop1;
pub mod sop2;
pub mod sopc;
pub mod sopk;
pub mod sopp;
pub mod vop1;
pub mod vop2;
pub mod vop3;
pub mod vop3p;
pub mod vopc;

use super::inst::{Dpp, Form, Inst, Op, Sdwa, Ty, reg};

/// Why words are not an instruction.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No such opcode in the encoding.
    #[error("unknown opcode {code:#x} of {encoding}")]
    Opcode {
        /// Encoding.
        encoding: &'static str,
        /// Opcode number.
        code: u32,
    },
    /// A field holds what the encoding does not allow.
    #[error("bad field in {name}: {why}")]
    Field {
        /// Mnemonic.
        name: &'static str,
        /// Which, and why.
        why: &'static str,
    },
    /// The instruction needs another word than was given.
    #[error("{name} is cut off")]
    Truncated {
        /// Mnemonic.
        name: &'static str,
    },
    /// A graphics encoding, or none at all.
    #[error("unsupported encoding {0}")]
    Encoding(&'static str),
}

pub(crate) fn bits(word: u32, low: u32, count: u32) -> u32 {
    word >> low & ((1u32 << count) - 1)
}

pub(crate) fn unknown<T>(encoding: &'static str, code: u32) -> Result<T, DecodeError> {
    Err(DecodeError::Opcode { encoding, code })
}

/// Decodes the instruction at the start of `words` (three words are always enough).
pub fn decode(words: &[u32]) -> Result<Inst, DecodeError> {
    let Some(&word) = words.first() else { return Err(DecodeError::Truncated { name: "instruction" }) };
    let mut inst = match word >> 26 {
        0x00..=0x1f => match bits(word, 25, 6) {
            0x3e => vopc::decode(words),
            0x3f => vop1::decode(words),
            _ => vop2::decode(words),
        },
        0x20..=0x2f => match bits(word, 23, 7) {
            0x7d => sop1::decode(words),
            0x7e => sopc::decode(words),
            0x7f => sopp::decode(words),
            code if code >> 5 == 3 => sopk::decode(words),
            _ => sop2::decode(words),
        },
        0x30 => smem::decode(words),
        0x34 if bits(word, 23, 3) == 7 => vop3p::decode(words),
        0x34 => vop3::decode(words),
        0x35 => Err(DecodeError::Encoding("VINTRP")),
        0x36 => ds::decode(words),
        0x37 => flat::decode(words),
        0x38 => mubuf::decode(words),
        0x3a => Err(DecodeError::Encoding("MTBUF")),
        0x3c => Err(DecodeError::Encoding("MIMG")),
        0x31 => Err(DecodeError::Encoding("EXP")),
        _ => Err(DecodeError::Encoding("reserved")),
    }?;
    inst.vgprs = reach(&inst);
    if inst.vgprs > 256 {
        return Err(DecodeError::Field { name: inst.info.name, why: "VGPR range beyond v255" });
    }
    Ok(inst)
}

/// One more than the highest VGPR that the instruction names.
fn reach(inst: &Inst) -> u16 {
    match inst.op {
        Op::Flat(op) => return flat::reach(op, inst),
        Op::Mubuf(_) => return mubuf::reach(inst),
        _ => {}
    }
    let end = |code: u16, ty: Ty| if code >= reg::VGPR { code - reg::VGPR + ty.dwords() } else { 0 };
    let mut top = end(inst.dst, inst.info.dst);
    for (n, &code) in inst.src.iter().enumerate() {
        top = top.max(end(code, inst.info.src.get(n).copied().unwrap_or(Ty::I32)));
    }
    top
}

/// Second word, for encodings of 64 bits.
pub(crate) fn second(words: &[u32], name: &'static str) -> Result<u32, DecodeError> {
    words.get(1).copied().ok_or(DecodeError::Truncated { name })
}

/// Takes the literal behind a one-word instruction when a source asks for it.
pub(crate) fn take_literal(inst: &mut Inst, words: &[u32], sources: usize) -> Result<(), DecodeError> {
    if inst.src[..sources].contains(&reg::LITERAL) {
        set_literal(inst, words)?;
    }
    Ok(())
}

/// The word behind a one-word instruction is its literal.
pub(crate) fn set_literal(inst: &mut Inst, words: &[u32]) -> Result<(), DecodeError> {
    inst.literal = second(words, inst.info.name)?;
    inst.words[1] = inst.literal;
    inst.size = 8;
    Ok(())
}

/// Why a 9-bit source code cannot be read as `ty`; none: it can.
pub(crate) fn source_error(code: u16, ty: Ty) -> Option<&'static str> {
    let wide = ty.dwords();
    match code {
        0..=127 => scalar_error(code, wide),
        128..=208 | 240..=248 | reg::LITERAL if wide <= 2 => None,
        235..=239 | 251..=253 => None,
        reg::LDS_DIRECT if wide <= 1 => None,
        reg::VGPR.. => None,
        _ => Some("no such source operand"),
    }
}

/// Why a scalar register code is no register range of `wide` dwords; none: it is one.
pub(crate) fn scalar_error(code: u16, wide: u16) -> Option<&'static str> {
    let align = match wide {
        0 | 1 => 1,
        2 => 2,
        _ => 4,
    };
    let last = code + wide.max(1) - 1;
    if code > 127 || code == 125 {
        return Some("no such scalar register");
    }
    if !code.is_multiple_of(align) {
        return Some("scalar registers that are not aligned");
    }
    let fits = match code {
        0..=101 => last <= 101,
        102..=107 => wide <= 2 && last <= 107,
        108..=123 => last <= 123,
        124 => wide <= 1,
        _ => wide <= 2 && last <= 127,
    };
    (!fits).then_some("scalar registers beyond the last of their kind")
}

/// Refuses operands that do not exist.
pub(crate) fn check_sources(inst: &Inst, sources: usize) -> Result<(), DecodeError> {
    for n in 0..sources {
        if let Some(why) = source_error(inst.src[n], inst.info.src[n]) {
            return Err(DecodeError::Field { name: inst.info.name, why });
        }
    }
    Ok(())
}

/// Refuses a scalar destination that does not exist.
pub(crate) fn check_scalar_dst(inst: &Inst, code: u16, ty: Ty) -> Result<(), DecodeError> {
    match scalar_error(code, ty.dwords()) {
        Some(why) if ty != Ty::No => Err(DecodeError::Field { name: inst.info.name, why }),
        _ => Ok(()),
    }
}

/// Sources that can be negated, as a bit mask; `v_cndmask_b32` moves bits in its SDWA and DPP forms.
fn float_sources(inst: &Inst) -> u8 {
    if inst.reads_carry() {
        return 0;
    }
    inst.info.src.iter().enumerate().fold(0, |mask, (n, ty)| mask | u8::from(ty.is_float()) << n)
}

/// SDWA word of VOP1, VOP2 (`compare` false) and VOPC (true): source 0 and everything but source 1's register.
pub(crate) fn sdwa(inst: &mut Inst, words: &[u32], compare: bool) -> Result<(), DecodeError> {
    let word = second(words, inst.info.name)?;
    let bad = |why| Err(DecodeError::Field { name: inst.info.name, why });
    let flag = |at: u32| (word >> at & 1) as u8;
    let sources = inst.info.src.len();
    let select = Sdwa {
        dst_sel: if compare { 6 } else { bits(word, 8, 3) as u8 },
        dst_unused: if compare { 0 } else { bits(word, 11, 2) as u8 },
        src_sel: [bits(word, 16, 3) as u8, bits(word, 24, 3) as u8],
        sext: [flag(19) != 0, flag(27) != 0],
    };
    if select.dst_sel > 6 || select.src_sel[0] > 6 || select.dst_unused > 2 {
        return bad("SDWA selection");
    }
    if sources > 1 && select.src_sel[1] > 6 {
        return bad("SDWA selection");
    }
    let mut mods = inst.mods;
    mods.neg = flag(20) | flag(28) << 1;
    mods.abs = flag(21) | flag(29) << 1;
    let (mut dst, mut sdst) = (inst.dst, inst.sdst);
    if compare {
        if word >> 15 & 1 != 0 {
            sdst = bits(word, 8, 7) as u16;
            if let Some(why) = scalar_error(sdst, 2) {
                return bad(why);
            }
        }
        dst = sdst;
    } else {
        mods.clamp = flag(13) != 0;
        mods.omod = bits(word, 14, 2) as u8;
    }
    let mut src = inst.src;
    src[0] = bits(word, 0, 8) as u16 + if word >> 23 & 1 != 0 { 0 } else { reg::VGPR };
    if sources > 1 && word >> 31 != 0 {
        src[1] -= reg::VGPR;
    }
    for (n, &code) in src[..sources].iter().enumerate() {
        // Literals cannot follow; constants and scalars can be used on GFX9.
        if code == reg::LITERAL {
            return bad("literal");
        }
        if let Some(why) = source_error(code, inst.info.src[n]) {
            return bad(why);
        }
    }
    if (mods.neg | mods.abs) & !float_sources(inst) != 0
        || mods.omod != 0 && !inst.info.dst.is_float()
        || sources == 1 && word >> 24 != 0
        || select.sext.iter().enumerate().any(|(n, sext)| *sext && float_sources(inst) >> n & 1 != 0)
    {
        return bad("SDWA modifier");
    }
    (inst.dst, inst.sdst, inst.src, inst.mods) = (dst, sdst, src, mods);
    inst.form = Form::Sdwa(select);
    inst.words[1] = word;
    inst.size = 8;
    Ok(())
}

/// DPP word of VOP1, VOP2 and VOPC.
pub(crate) fn dpp(inst: &mut Inst, words: &[u32]) -> Result<(), DecodeError> {
    let word = second(words, inst.info.name)?;
    let ctrl = bits(word, 8, 9) as u16;
    let known = matches!(ctrl, 0x000..=0x0ff | 0x101..=0x10f | 0x111..=0x11f | 0x121..=0x12f)
        || matches!(ctrl, 0x130 | 0x134 | 0x138 | 0x13c | 0x140..=0x143);
    if !known {
        return Err(DecodeError::Field { name: inst.info.name, why: "DPP control" });
    }
    inst.src[0] = bits(word, 0, 8) as u16 + reg::VGPR;
    inst.mods.neg = (bits(word, 20, 1) | bits(word, 22, 1) << 1) as u8;
    inst.mods.abs = (bits(word, 21, 1) | bits(word, 23, 1) << 1) as u8;
    // V_CNDMASK_B32 takes its sources for floats here.
    let floats = if inst.reads_carry() && inst.info.src[0].is_float() { 3 } else { float_sources(inst) };
    if (inst.mods.neg | inst.mods.abs) & !floats != 0 {
        return Err(DecodeError::Field { name: inst.info.name, why: "DPP modifier" });
    }
    inst.form = Form::Dpp(Dpp {
        ctrl,
        row_mask: bits(word, 28, 4) as u8,
        bank_mask: bits(word, 24, 4) as u8,
        bound_ctrl: word >> 19 & 1 != 0,
    });
    inst.words[1] = word;
    inst.size = 8;
    Ok(())
}
