//! Assembly text of an instruction, in LLVM's syntax, so that it can be compared with `llvm-mc -disassemble`.

use std::fmt::{self, Display, Formatter};

use super::decode::bits;
use super::decode::flat::SADDR_OFF;
use super::decode::mubuf::Mubuf;
use super::decode::smem::Smem;
use super::decode::sopc::Sopc;
use super::decode::sopk::Sopk;
use super::decode::sopp::Sopp;
use super::decode::vop1::Vop1;
use super::decode::vop2::Vop2;
use super::inst::{Form, Inst, Op, Segment, Ty, reg};

/// Floating-point inline constants, codes 240..=247.
const FLOATS: [&str; 8] = ["0.5", "-0.5", "1.0", "-1.0", "2.0", "-2.0", "4.0", "-4.0"];

/// Names of hardware registers, from number 1.
const HWREGS: [&str; 7] = ["MODE", "STATUS", "TRAPSTS", "HW_ID", "GPR_ALLOC", "LDS_ALLOC", "IB_STS"];

/// The same constants and 1/(2 pi), in half precision.
const HALVES: [u16; 9] = [0x3800, 0xb800, 0x3c00, 0xbc00, 0x4000, 0xc000, 0x4400, 0xc400, 0x3118];

/// The same in single precision.
const SINGLES: [u32; 9] = [
    0x3f00_0000,
    0xbf00_0000,
    0x3f80_0000,
    0xbf80_0000,
    0x4000_0000,
    0xc000_0000,
    0x4080_0000,
    0xc080_0000,
    0x3e22_f983,
];

/// A literal: values that have an inline form are written like it.
fn number(literal: u32, ty: Ty) -> String {
    let float = |at: Option<usize>| at.map(|at| FLOATS.get(at).copied().unwrap_or("0.15915494"));
    let (signed, bits, named) = match ty {
        Ty::I16 => (i64::from(literal as i16), literal & 0xffff, None),
        Ty::F16 | Ty::P16 => {
            let at = HALVES.iter().position(|half| u32::from(*half) == literal);
            (i64::from(literal as i16), literal & 0xffff, float(at))
        }
        Ty::B64 | Ty::I64 | Ty::F64 => (i64::from(literal), literal, None),
        _ => {
            (i64::from(literal as i32), literal, float(SINGLES.iter().position(|single| *single == literal)))
        }
    };
    match named {
        _ if (-16..=64).contains(&signed) => signed.to_string(),
        Some(name) => name.into(),
        None => format!("{bits:#x}"),
    }
}

fn range(name: &str, first: u16, wide: u16) -> String {
    if wide <= 1 { format!("{name}{first}") } else { format!("{name}[{first}:{}]", first + wide - 1) }
}

/// Name of a register or constant that is `ty` wide.
fn operand(code: u16, ty: Ty, literal: u32) -> String {
    let wide = ty.dwords();
    let special = |name: &str, at: u16| match (wide, at) {
        (2, 0) => name.to_string(),
        (_, 0) => format!("{name}_lo"),
        _ => format!("{name}_hi"),
    };
    match code {
        0..=101 => range("s", code, wide),
        102..=103 => special("flat_scratch", code - 102),
        104..=105 => special("xnack_mask", code - 104),
        106..=107 => special("vcc", code - 106),
        108..=123 => range("ttmp", code - 108, wide),
        124 => "m0".into(),
        126..=127 => special("exec", code - 126),
        128..=192 => format!("{}", code - 128),
        193..=208 => format!("-{}", code - 192),
        235 => "src_shared_base".into(),
        236 => "src_shared_limit".into(),
        237 => "src_private_base".into(),
        238 => "src_private_limit".into(),
        reg::POPS_EXITING_WAVE_ID => "src_pops_exiting_wave_id".into(),
        240..=248 if ty == Ty::I16 => format!("{:#x}", HALVES[usize::from(code - 240)]),
        240..=247 => FLOATS[usize::from(code - 240)].into(),
        248 if wide == 2 => "0.15915494309189532".into(),
        248 => "0.15915494".into(),
        251 => "src_vccz".into(),
        252 => "src_execz".into(),
        253 => "src_scc".into(),
        reg::LDS_DIRECT => "src_lds_direct".into(),
        reg::LITERAL => number(literal, ty),
        reg::VGPR.. => range("v", code - reg::VGPR, wide),
        _ => format!("src{code}"),
    }
}

fn hwreg(imm: i32) -> String {
    let imm = imm as u32;
    let (id, offset, size) = (bits(imm, 0, 6), bits(imm, 6, 5), bits(imm, 11, 5) + 1);
    let name = match id {
        1..=7 => format!("HW_REG_{}", HWREGS[id as usize - 1]),
        15 => "HW_REG_SH_MEM_BASES".into(),
        _ => id.to_string(),
    };
    if offset == 0 && size == 32 {
        format!("hwreg({name})")
    } else {
        format!("hwreg({name}, {offset}, {size})")
    }
}

fn waitcnt(imm: i32) -> String {
    let imm = imm as u32;
    let fields = [
        ("vmcnt", bits(imm, 0, 4) | bits(imm, 14, 2) << 4, 63),
        ("expcnt", bits(imm, 4, 3), 7),
        ("lgkmcnt", bits(imm, 8, 4), 15),
    ];
    let all = fields.iter().all(|(_, value, idle)| value == idle);
    let shown = fields.iter().filter(|(_, value, idle)| all || value != idle);
    shown.map(|(name, value, _)| format!(" {name}({value})")).collect()
}

/// Writes comma-separated operands.
struct List<'a, 'b> {
    f: &'a mut Formatter<'b>,
    first: bool,
}

impl List<'_, '_> {
    fn add(&mut self, text: impl Display) -> fmt::Result {
        self.f.write_str(if self.first { " " } else { ", " })?;
        self.first = false;
        write!(self.f, "{text}")
    }
}

impl Display for Inst {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.op {
            Op::Sop1(_) | Op::Sop2(_) | Op::Sopc(_) => self.scalar(f),
            Op::Sopk(op) => self.sopk(f, op),
            Op::Sopp(op) => self.sopp(f, op),
            Op::Smem(_) => self.smem(f),
            Op::Vop1(_) | Op::Vop2(_) | Op::Vop3(_) | Op::Vop3p(_) | Op::Vopc(_) => self.vector(f),
            Op::Ds(op) => {
                f.write_str("ds_")?;
                f.write_str(self.info.name.trim_start_matches("ds_"))?;
                let mut list = List { f, first: true };
                if self.info.dst != Ty::No {
                    list.add(operand(self.dst, self.info.dst, 0))?;
                }
                for (n, ty) in self.info.src.iter().enumerate() {
                    list.add(operand(self.src[n], *ty, 0))?;
                }
                let (low, high) = (self.imm & 0xff, self.imm >> 8);
                if op.two_offsets() {
                    if low != 0 {
                        write!(f, " offset0:{low}")?;
                    }
                    if high != 0 {
                        write!(f, " offset1:{high}")?;
                    }
                } else if op == super::decode::ds::Ds::SwizzleB32 {
                    f.write_str(&swizzle(self.imm as u32))?;
                } else if self.imm != 0 {
                    write!(f, " offset:{}", self.imm)?;
                }
                f.write_str(if self.mem.gds { " gds" } else { "" })
            }
            Op::Flat(op) => self.flat(f, op.is_atomic()),
            Op::Mubuf(_) => self.mubuf(f),
        }
    }
}

/// Offset of `ds_swizzle_b32`: quad permutation, or a bit-mask permutation within 32 lanes.
fn swizzle(imm: u32) -> String {
    if imm == 0 {
        return String::new();
    }
    if imm >> 8 == 0x80 {
        let lanes: Vec<String> = (0..4).map(|n| (imm >> (2 * n) & 3).to_string()).collect();
        return format!(" offset:swizzle(QUAD_PERM,{})", lanes.join(","));
    }
    if imm >> 15 != 0 {
        return format!(" offset:{imm}");
    }
    let (and, or, xor) = (imm & 31, imm >> 5 & 31, imm >> 10 & 31);
    if and == 31 && or == 0 && xor.is_power_of_two() {
        return format!(" offset:swizzle(SWAP,{xor})");
    }
    if and == 31 && or == 0 && xor != 0 && (xor + 1).is_power_of_two() {
        return format!(" offset:swizzle(REVERSE,{})", xor + 1);
    }
    let group = 32 - and;
    if group > 1 && group.is_power_of_two() && or < group && xor == 0 {
        return format!(" offset:swizzle(BROADCAST,{group},{or})");
    }
    let mut text = String::new();
    for bit in (0..5).rev() {
        let (zero, one) = (or >> bit & 1 ^ xor >> bit & 1, (and | or) >> bit & 1 ^ xor >> bit & 1);
        text.push(match (zero, one) {
            (0, 0) => '0',
            (1, 1) => '1',
            (0, _) => 'p',
            _ => 'i',
        });
    }
    format!(" offset:swizzle(BITMASK_PERM,\"{text}\")")
}

impl Inst {
    fn scalar(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.info.name)?;
        let mut list = List { f, first: true };
        if self.info.dst != Ty::No {
            list.add(operand(self.dst, self.info.dst, 0))?;
        }
        for (n, ty) in self.info.src.iter().enumerate() {
            list.add(operand(self.src[n], *ty, self.literal))?;
        }
        if self.op == Op::Sopc(Sopc::SetGprIdxOn) {
            list.add(gpr_idx(self.imm))?;
        }
        Ok(())
    }

    fn sopk(&self, f: &mut Formatter<'_>, op: Sopk) -> fmt::Result {
        let name = self.info.name;
        let imm = self.imm as u32 & 0xffff;
        let dst = operand(self.dst, self.info.dst, 0);
        match op {
            Sopk::GetregB32 => write!(f, "{name} {dst}, {}", hwreg(self.imm)),
            Sopk::SetregB32 => write!(f, "{name} {}, {dst}", hwreg(self.imm)),
            Sopk::SetregImm32B32 => {
                write!(f, "{name} {}, {}", hwreg(self.imm), number(self.literal, Ty::I32))
            }
            Sopk::CbranchIFork | Sopk::CallB64 => write!(f, "{name} {dst}, {imm}"),
            _ => write!(f, "{name} {dst}, {imm:#x}"),
        }
    }

    fn sopp(&self, f: &mut Formatter<'_>, op: Sopp) -> fmt::Result {
        use Sopp::*;
        let name = self.info.name;
        let imm = self.imm as u32 & 0xffff;
        match op {
            Endpgm | Wakeup | Barrier | IcacheInv | Ttracedata | EndpgmSaved | SetGprIdxOff
            | EndpgmOrderedPsDone => {
                f.write_str(name)?;
                if op == Endpgm && imm != 0 { write!(f, " {imm}") } else { Ok(()) }
            }
            Waitcnt => write!(f, "{name}{}", waitcnt(self.imm)),
            SetGprIdxMode => write!(f, "{name} {}", gpr_idx(self.imm & 0xffff)),
            Sendmsg | Sendmsghalt => write!(f, "{name} {}", sendmsg(imm)),
            Branch
            | CbranchScc0
            | CbranchScc1
            | CbranchVccz
            | CbranchVccnz
            | CbranchExecz
            | CbranchExecnz
            | CbranchCdbgsys
            | CbranchCdbguser
            | CbranchCdbgsysOrUser
            | CbranchCdbgsysAndUser => {
                write!(f, "{name} {imm}")
            }
            _ => write!(f, "{name} {}", number(imm, Ty::I32)),
        }
    }

    fn smem(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(self.info.name)?;
        let mut list = List { f, first: true };
        if self.info.dst != Ty::No {
            list.add(operand(self.dst, self.info.dst, 0))?;
        }
        if matches!(self.op, Op::Smem(Smem::AtcProbe | Smem::AtcProbeBuffer)) {
            // What the probe is for; no register.
            list.add(number(u32::from(self.dst), Ty::I32))?;
        }
        if let [base] = self.info.src {
            list.add(operand(self.src[0], *base, 0))?;
            let imm = if self.imm < 0 { format!("-{:#x}", -self.imm) } else { format!("{:#x}", self.imm) };
            if self.mem.soffset_en || !self.mem.imm {
                list.add(operand(self.src[1], Ty::I32, 0))?;
                if self.mem.imm {
                    // As LLVM writes it from version 15 on.
                    write!(f, " offset:{imm}")?;
                }
            } else {
                list.add(imm)?;
            }
        }
        if self.mem.glc { f.write_str(" glc") } else { Ok(()) }
    }

    fn flat(&self, f: &mut Formatter<'_>, atomic: bool) -> fmt::Result {
        let (prefix, wide) = match self.segment {
            Segment::Flat => ("flat_", Ty::B64),
            Segment::Scratch => ("scratch_", Ty::I32),
            Segment::Global => ("global_", Ty::B64),
        };
        let saddr = self.src[2] != SADDR_OFF;
        write!(f, "{prefix}{}", self.info.name)?;
        let address = match (self.segment, saddr) {
            (Segment::Scratch, true) => "off".to_string(),
            (Segment::Global, true) => operand(self.src[0], Ty::I32, 0),
            _ => operand(self.src[0], wide, 0),
        };
        let mut list = List { f, first: true };
        if self.info.dst != Ty::No && (!atomic || self.mem.glc) {
            list.add(operand(self.dst, self.info.dst, 0))?;
        }
        list.add(address)?;
        if let [data] = self.info.src {
            list.add(operand(self.src[1], *data, 0))?;
        }
        if self.segment != Segment::Flat {
            list.add(if saddr { operand(self.src[2], wide, 0) } else { "off".into() })?;
        }
        if self.imm != 0 {
            write!(f, " offset:{}", self.imm)?;
        }
        self.coherence(f)
    }

    fn coherence(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.mem.glc { " glc" } else { "" })?;
        f.write_str(if self.mem.slc { " slc" } else { "" })
    }

    fn mubuf(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "buffer_{}", self.info.name.trim_start_matches("buffer_"))?;
        let [data] = self.info.src else { return Ok(()) };
        let address = Ty::No.dwords() + u16::from(self.mem.offen) + u16::from(self.mem.idxen);
        let mut list = List { f, first: true };
        if self.op != Op::Mubuf(Mubuf::StoreLdsDword) {
            list.add(operand(self.dst, *data, 0))?;
            list.add(match address {
                0 => "off".into(),
                _ => range("v", self.src[0] - reg::VGPR, address),
            })?;
        }
        list.add(operand(self.src[1], Ty::B128, 0))?;
        list.add(operand(self.src[2], Ty::I32, 0))?;
        f.write_str(if self.mem.idxen { " idxen" } else { "" })?;
        f.write_str(if self.mem.offen { " offen" } else { "" })?;
        if self.imm != 0 {
            write!(f, " offset:{}", self.imm)?;
        }
        // From LDS the flags come in another order.
        let store = self.op == Op::Mubuf(Mubuf::StoreLdsDword);
        f.write_str(if store { " lds" } else { "" })?;
        self.coherence(f)?;
        f.write_str(if self.mem.lds && !store { " lds" } else { "" })?;
        f.write_str(if self.mem.tfe { " tfe" } else { "" })
    }

    /// Source with its modifiers.
    fn source(&self, n: usize, ty: Ty) -> String {
        // Packed integers write float constants as bits.
        let bits = ty == Ty::P16 && !self.info.name.contains("f16");
        let mut text = operand(self.src[n], if bits { Ty::I16 } else { ty }, self.literal);
        let packed = matches!(self.op, Op::Vop3p(_));
        let on = |mask: u8| mask >> n & 1 != 0;
        if let Form::Sdwa(sdwa) = self.form
            && (!ty.is_float() || self.reads_carry())
        {
            return if sdwa.sext[n] { format!("sext({text})") } else { text };
        }
        if packed && ty != Ty::M16 || !ty.is_float() {
            return text;
        }
        let abs = if packed { on(self.mods.neg_hi) } else { on(self.mods.abs) };
        if abs {
            text = format!("|{text}|");
        }
        if on(self.mods.neg) {
            // A minus before a plain number would be read as the number's own sign.
            let number = !abs && matches!(self.src[n], 128..=208 | 240..=248 | reg::LITERAL);
            text = if number { format!("neg({text})") } else { format!("-{text}") };
        }
        text
    }

    fn vector(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let fixed = matches!(
            self.op,
            Op::Vop2(Vop2::MadmkF32 | Vop2::MadakF32 | Vop2::MadmkF16 | Vop2::MadakF16)
                | Op::Vop1(Vop1::SwapB32 | Vop1::ReadfirstlaneB32 | Vop1::Nop | Vop1::Clrexcp)
        );
        let suffixed = matches!(self.op, Op::Vop1(_) | Op::Vop2(_) | Op::Vopc(_)) && !fixed;
        f.write_str(self.info.name)?;
        f.write_str(match self.form {
            Form::E32 if suffixed => "_e32",
            Form::E64 if suffixed => "_e64",
            Form::Sdwa(_) => "_sdwa",
            Form::Dpp(_) if suffixed => "_dpp",
            _ => "",
        })?;
        let mut list = List { f, first: true };
        if matches!(self.op, Op::Vopc(_)) {
            list.add(operand(self.sdst, Ty::B64, 0))?;
        } else if self.info.dst != Ty::No {
            list.add(operand(self.dst, self.info.dst, 0))?;
        }
        if self.writes_carry() {
            list.add(operand(self.sdst, Ty::B64, 0))?;
        }
        for (n, ty) in self.info.src.iter().enumerate() {
            if n == 1 && matches!(self.op, Op::Vop2(Vop2::MadmkF32 | Vop2::MadmkF16)) {
                list.add(format_args!("{:#x}", self.literal))?;
            }
            // LLVM writes a literal source of v_madmk_f16 with all its bits.
            let ty = if self.op == Op::Vop2(Vop2::MadmkF16) { &Ty::F32 } else { ty };
            list.add(self.source(n, *ty))?;
        }
        if matches!(self.op, Op::Vop2(Vop2::MadakF32 | Vop2::MadakF16)) {
            list.add(format_args!("{:#x}", self.literal))?;
        }
        if self.reads_carry() {
            let mask = if self.form == Form::E64 { self.src[2] } else { reg::VCC };
            list.add(operand(mask, Ty::B64, 0))?;
        }
        self.modifiers(f)
    }

    fn modifiers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mods = &self.mods;
        let sources = self.info.src.len();
        let array = |mask: u8, count: usize| {
            let bits: Vec<String> = (0..count).map(|n| (mask >> n & 1).to_string()).collect();
            format!("[{}]", bits.join(","))
        };
        if let Op::Vop3p(_) = self.op {
            let mixed = self.info.src[0] == Ty::M16;
            if mods.op_sel != 0 {
                write!(f, " op_sel:{}", array(mods.op_sel, sources))?;
            }
            let default = if mixed { 0 } else { (1u8 << sources) - 1 };
            let mask = (1u8 << sources) - 1;
            if mods.op_sel_hi & mask != default {
                write!(f, " op_sel_hi:{}", array(mods.op_sel_hi, sources))?;
            }
            if !mixed && mods.neg & mask != 0 {
                write!(f, " neg_lo:{}", array(mods.neg, sources))?;
            }
            if !mixed && mods.neg_hi & mask != 0 {
                write!(f, " neg_hi:{}", array(mods.neg_hi, sources))?;
            }
            return f.write_str(if mods.clamp { " clamp" } else { "" });
        }
        if mods.op_sel != 0 {
            let sel = mods.op_sel & ((1 << sources) - 1) | (mods.op_sel >> 3 & 1) << sources;
            write!(f, " op_sel:{}", array(sel, sources + 1))?;
        }
        if mods.clamp {
            f.write_str(" clamp")?;
        }
        f.write_str(["", " mul:2", " mul:4", " div:2"][usize::from(mods.omod)])?;
        match self.form {
            Form::Sdwa(sdwa) => {
                const SEL: [&str; 7] = ["BYTE_0", "BYTE_1", "BYTE_2", "BYTE_3", "WORD_0", "WORD_1", "DWORD"];
                const UNUSED: [&str; 3] = ["UNUSED_PAD", "UNUSED_SEXT", "UNUSED_PRESERVE"];
                if !matches!(self.op, Op::Vopc(_)) {
                    write!(f, " dst_sel:{}", SEL[usize::from(sdwa.dst_sel)])?;
                    write!(f, " dst_unused:{}", UNUSED[usize::from(sdwa.dst_unused)])?;
                }
                for n in 0..sources.min(2) {
                    write!(f, " src{n}_sel:{}", SEL[usize::from(sdwa.src_sel[n])])?;
                }
                Ok(())
            }
            Form::Dpp(dpp) => {
                let shift = dpp.ctrl & 15;
                match dpp.ctrl {
                    0..=0xff => {
                        let lane = |n: u16| dpp.ctrl >> (2 * n) & 3;
                        write!(f, " quad_perm:[{},{},{},{}]", lane(0), lane(1), lane(2), lane(3))?;
                    }
                    0x101..=0x10f => write!(f, " row_shl:{shift}")?,
                    0x111..=0x11f => write!(f, " row_shr:{shift}")?,
                    0x121..=0x12f => write!(f, " row_ror:{shift}")?,
                    0x130 => f.write_str(" wave_shl:1")?,
                    0x134 => f.write_str(" wave_rol:1")?,
                    0x138 => f.write_str(" wave_shr:1")?,
                    0x13c => f.write_str(" wave_ror:1")?,
                    0x140 => f.write_str(" row_mirror")?,
                    0x141 => f.write_str(" row_half_mirror")?,
                    0x142 => f.write_str(" row_bcast:15")?,
                    _ => f.write_str(" row_bcast:31")?,
                }
                write!(f, " row_mask:{:#x} bank_mask:{:#x}", dpp.row_mask, dpp.bank_mask)?;
                f.write_str(if dpp.bound_ctrl { " bound_ctrl:1" } else { "" })
            }
            _ => Ok(()),
        }
    }
}

/// Index modes of `s_set_gpr_idx_*`.
fn gpr_idx(imm: i32) -> String {
    if imm & !15 != 0 {
        return format!("{imm:#x}");
    }
    let names = ["SRC0", "SRC1", "SRC2", "DST"];
    let on: Vec<&str> = (0..4).filter(|n| imm >> n & 1 != 0).map(|n| names[n as usize]).collect();
    format!("gpr_idx({})", on.join(","))
}

/// Message of `s_sendmsg`: type, operation, stream. Messages that exist have names.
fn sendmsg(imm: u32) -> String {
    const GS: [&str; 4] = ["GS_OP_NOP", "GS_OP_CUT", "GS_OP_EMIT", "GS_OP_EMIT_CUT"];
    const SYSTEM: [&str; 5] = [
        "",
        "SYSMSG_OP_ECC_ERR_INTERRUPT",
        "SYSMSG_OP_REG_RD",
        "SYSMSG_OP_HOST_TRAP_ACK",
        "SYSMSG_OP_TTRACE_PC",
    ];
    const PLAIN: [&str; 7] = [
        "MSG_SAVEWAVE",
        "MSG_STALL_WAVE_GEN",
        "MSG_HALT_WAVES",
        "MSG_ORDERED_PS_DONE",
        "MSG_EARLY_PRIM_DEALLOC",
        "MSG_GS_ALLOC_REQ",
        "MSG_GET_DOORBELL",
    ];
    let (id, op, stream) = (bits(imm, 0, 4), bits(imm, 4, 3), bits(imm, 8, 2));
    match (id, op, stream) {
        (1, 0, 0) => "sendmsg(MSG_INTERRUPT)".into(),
        (4..=10, 0, 0) => format!("sendmsg({})", PLAIN[id as usize - 4]),
        (2, 1..=3, _) => format!("sendmsg(MSG_GS, {}, {stream})", GS[op as usize]),
        (3, 0, 0) => "sendmsg(MSG_GS_DONE, GS_OP_NOP)".into(),
        (3, 1..=3, _) => format!("sendmsg(MSG_GS_DONE, {}, {stream})", GS[op as usize]),
        (15, 1..=4, 0) => format!("sendmsg(MSG_SYSMSG, {})", SYSTEM[op as usize]),
        _ if imm & !0x37f != 0 => imm.to_string(),
        _ => format!("sendmsg({id}, {op}, {stream})"),
    }
}
