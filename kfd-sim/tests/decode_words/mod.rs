//! Words for the comparison with LLVM: every row of every table with random operands, and random words that reach every
//! encoding.

use kfd_sim::isa::decode;

/// A xorshift generator: the same words in every run.
pub struct Random(pub u64);

impl Random {
    /// 32 bits.
    pub fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 24) as u32
    }

    /// Less than `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.next() % limit
    }
}

/// Number, name, and fixed bits of word 0 of every row of every table.
pub fn rows() -> Vec<(&'static str, &'static str, u32)> {
    let mut rows = Vec::new();
    macro_rules! table {
        ($encoding:literal, $table:path, $place:expr) => {
            rows.extend(
                $table.iter().map(|(code, _, info)| ($encoding, info.name, $place(u32::from(*code)))),
            );
        };
    }
    table!("SOP2", decode::sop2::Sop2::TABLE, |c: u32| 0x8000_0000 | c << 23);
    table!("SOP1", decode::sop1::Sop1::TABLE, |c: u32| 0xbe80_0000 | c << 8);
    table!("SOPC", decode::sopc::Sopc::TABLE, |c: u32| 0xbf00_0000 | c << 16);
    table!("SOPK", decode::sopk::Sopk::TABLE, |c: u32| 0xb000_0000 | c << 23);
    table!("SOPP", decode::sopp::Sopp::TABLE, |c: u32| 0xbf80_0000 | c << 16);
    table!("SMEM", decode::smem::Smem::TABLE, |c: u32| 0xc000_0000 | c << 18);
    table!("VOP1", decode::vop1::Vop1::TABLE, |c: u32| 0x7e00_0000 | c << 9);
    table!("VOP2", decode::vop2::Vop2::TABLE, |c: u32| c << 25);
    table!("VOPC", decode::vopc::Vopc::TABLE, |c: u32| 0x7c00_0000 | c << 17);
    table!("VOP3", decode::vop3::Vop3::TABLE, |c: u32| 0xd000_0000 | c << 16);
    table!("VOP3 of VOP1", decode::vop1::Vop1::TABLE, |c: u32| 0xd000_0000 | (c + 0x140) << 16);
    table!("VOP3 of VOP2", decode::vop2::Vop2::TABLE, |c: u32| 0xd000_0000 | (c + 0x100) << 16);
    table!("VOP3 of VOPC", decode::vopc::Vopc::TABLE, |c: u32| 0xd000_0000 | c << 16);
    table!("VOP3P", decode::vop3p::Vop3p::TABLE, |c: u32| 0xd380_0000 | c << 16);
    table!("DS", decode::ds::Ds::TABLE, |c: u32| 0xd800_0000 | c << 17);
    table!("FLAT", decode::flat::Flat::TABLE, |c: u32| 0xdc00_0000 | c << 18);
    table!("MUBUF", decode::mubuf::Mubuf::TABLE, |c: u32| 0xe000_0000 | c << 18);
    rows
}

/// A source operand that often exists.
fn source(r: &mut Random) -> u32 {
    match r.below(6) {
        0 => r.below(102),
        1 => 128 + r.below(81),
        2 => 240 + r.below(9),
        3 => 100 + r.below(28),
        _ => 256 + r.below(256),
    }
}

/// Random operands for a row.
pub fn operands(r: &mut Random, encoding: &str, fixed: u32) -> [u32; 2] {
    let scalar = |r: &mut Random| match r.below(4) {
        0 => source(r).min(255),
        1 => 255,
        _ => r.below(102) & !3,
    };
    let sparse = |r: &mut Random| r.next() & r.next() & r.next();
    let literal = r.next() >> r.below(32);
    match encoding {
        "SOP2" => [fixed | (r.below(100) & !1) << 16 | scalar(r) << 8 | scalar(r), literal],
        "SOP1" => [fixed | (r.below(128) & !1) << 16 | scalar(r), literal],
        "SOPC" => [fixed | scalar(r) << 8 | scalar(r), literal],
        "SOPK" => [fixed | (r.below(128) & !1) << 16 | r.next() & 0xffff, literal],
        "SOPP" => [fixed | if r.below(2) == 0 { r.next() & 0xffff } else { 0 }, literal],
        "SMEM" => {
            if r.below(8) == 0 {
                return [fixed, 0];
            }
            let imm = r.below(2);
            let (base, data) = (r.below(50) & !1, r.below(100) & !3);
            let offset = if imm == 1 { r.next() & 0x1f_ffff } else { r.below(128) };
            if r.below(3) == 0 {
                [fixed | data << 6, 0]
            } else {
                [fixed | imm << 17 | r.below(2) << 16 | data << 6 | base, offset]
            }
        }
        "VOP1" | "VOP2" | "VOPC" => {
            let dst = if encoding == "VOP1" { r.below(200) << 17 } else { 0 };
            let more = if encoding == "VOP1" {
                dst
            } else {
                r.below(200) << 9 | if encoding == "VOP2" { r.below(200) << 17 } else { 0 }
            };
            match r.below(4) {
                0 => [fixed | more | 249, sdwa_word(r, if encoding == "VOP1" { "VOP1 SDWA" } else { "" })],
                1 => [fixed | more | 250, dpp(r)],
                2 => [fixed | more | 255, literal],
                _ if r.below(3) == 0 => [fixed, 0],
                _ => [fixed | more | source(r), literal],
            }
        }
        "VOP3" | "VOP3 of VOP1" | "VOP3 of VOP2" | "VOP3 of VOPC" | "VOP3P" => {
            let count = r.below(4);
            let sources = (0..count).fold(0, |word, n| word | source(r) << (9 * n));
            let modifiers = if r.below(2) == 0 { sparse(r) & 0xf800_0000 } else { 0 };
            let mut low = fixed | if count == 0 { 0 } else { r.below(200) };
            match r.below(4) {
                0 => low |= sparse(r) & 0xff00,
                1 => low |= (r.below(100) & !1) << 8,
                _ => {}
            }
            [low, sources | modifiers]
        }
        "DS" => {
            let mask = [
                0x0000_00ff,
                0x0000_ffff,
                0x00ff_ffff,
                0xff00_00ff,
                0xff00_ffff,
                0xffff_ffff,
                0xff00_0000,
                0x0000_ff00,
                0,
                0,
            ];
            let mask = mask[r.below(10) as usize];
            let gds = if r.below(6) == 0 { 1 << 16 } else { 0 };
            [fixed | gds | if r.below(3) == 0 { 0 } else { r.next() & 0xffff }, r.next() & mask & 0xf7f7_f7f7]
        }
        "FLAT" => {
            let mask = [0xff00_00ffu32, 0x0000_ffff, 0xff00_ffff][r.below(3) as usize];
            let segment = r.below(3);
            let offset =
                if r.below(2) == 0 { 0 } else { r.next() & if segment == 0 { 0xfff } else { 0x1fff } };
            let saddr = match (segment, r.below(2)) {
                (0, _) => 0,
                (_, 0) => 0x7f,
                _ => r.below(50) & !1,
            };
            [fixed | segment << 14 | (r.below(4) << 16) | offset, r.next() & mask & 0xf7f7_f7f7 | saddr << 16]
        }
        "MUBUF" => {
            if r.below(8) == 0 {
                return [fixed, 0];
            }
            let flags = r.below(8) << 12 | if r.below(4) == 0 { 1 << 16 } else { 0 };
            let offset = if r.below(2) == 0 { 0 } else { r.next() & 0xfff };
            let vaddr = if flags & 0x3000 != 0 { r.below(200) } else { 0 };
            let soffset = [128, 124, 33, 0, 130, 240][r.below(6) as usize];
            [
                fixed | flags | offset | r.below(2) << 17,
                vaddr | r.below(200) << 8 | r.below(24) << 16 | soffset << 24,
            ]
        }
        _ => [fixed, literal],
    }
}

fn sdwa(r: &mut Random) -> u32 {
    let sel = |r: &mut Random| r.below(7);
    let modifiers = r.next() & r.next() & 0x3038_2000 & !(if r.below(2) == 0 { 0x0800_0000 } else { 0 });
    let sext = (r.below(2) << 19) | (r.below(2) << 27);
    let scalar = if r.below(4) == 0 { 1 << 23 } else { 0 };
    let registers = if scalar != 0 { r.below(100) } else { r.below(256) };
    let omod = if r.below(4) == 0 { r.below(4) << 14 } else { 0 };
    let modifiers = if r.below(2) == 0 { modifiers } else { 0 };
    registers
        | sel(r) << 8
        | r.below(3) << 11
        | sel(r) << 16
        | sel(r) << 24
        | modifiers
        | sext
        | scalar
        | omod
}

fn dpp(r: &mut Random) -> u32 {
    let ctrl = match r.below(4) {
        0 => r.below(256),
        1 => [0x101, 0x111, 0x121][r.below(3) as usize] + r.below(15),
        2 => [0x130, 0x134, 0x138, 0x13c, 0x140, 0x141, 0x142, 0x143][r.below(8) as usize],
        _ => r.below(512),
    };
    let modifiers = r.next() & r.next() & 0x00f8_0000;
    r.below(256) | ctrl << 8 | modifiers | r.next() & 0xff00_0000
}

/// An encoding of random words: name, fixed bits of word 0 and which bits they are, and what the low bits of word 0
/// (source 0) are to be, if a form is wanted.
pub type Pattern = (&'static str, u32, u32, Option<u32>);

/// Every encoding and form.
pub const PATTERNS: [Pattern; 31] = [
    ("SOP2", 0x8000_0000, 0xc000_0000, None),
    ("SOP2 literal", 0x8000_00ff, 0xc000_00ff, None),
    ("SOP1", 0xbe80_0000, 0xff80_0000, None),
    ("SOP1 literal", 0xbe80_00ff, 0xff80_00ff, None),
    ("SOPC", 0xbf00_0000, 0xff80_0000, None),
    ("SOPC literal", 0xbf00_00ff, 0xff80_00ff, None),
    ("SOPK", 0xb000_0000, 0xf000_0000, None),
    ("SOPP", 0xbf80_0000, 0xff80_0000, None),
    ("SMEM", 0xc000_0000, 0xfc00_0000, None),
    ("VOP1", 0x7e00_0000, 0xfe00_0000, None),
    ("VOP1 literal", 0x7e00_0000, 0xfe00_0000, Some(255)),
    ("VOP1 SDWA", 0x7e00_0000, 0xfe00_0000, Some(249)),
    ("VOP1 DPP", 0x7e00_0000, 0xfe00_0000, Some(250)),
    ("VOP2", 0x0000_0000, 0x8000_0000, None),
    ("VOP2 literal", 0x0000_0000, 0x8000_0000, Some(255)),
    ("VOP2 SDWA", 0x0000_0000, 0x8000_0000, Some(249)),
    ("VOP2 DPP", 0x0000_0000, 0x8000_0000, Some(250)),
    ("VOPC", 0x7c00_0000, 0xfe00_0000, None),
    ("VOPC literal", 0x7c00_0000, 0xfe00_0000, Some(255)),
    ("VOPC SDWA", 0x7c00_0000, 0xfe00_0000, Some(249)),
    ("VOP3", 0xd000_0000, 0xfc00_0000, None),
    ("VOP3P", 0xd380_0000, 0xff80_0000, None),
    ("DS", 0xd800_0000, 0xfc00_0000, None),
    ("FLAT", 0xdc00_0000, 0xfc00_c000, None),
    ("SCRATCH", 0xdc00_4000, 0xfc00_c000, None),
    ("GLOBAL", 0xdc00_8000, 0xfc00_c000, None),
    ("MUBUF", 0xe000_0000, 0xfc00_0000, None),
    ("MTBUF", 0xe800_0000, 0xfc00_0000, None),
    ("MIMG", 0xf000_0000, 0xfc00_0000, None),
    ("VINTRP", 0xd400_0000, 0xfc00_0000, None),
    ("EXP", 0xc400_0000, 0xfc00_0000, None),
];

/// Random words of an encoding. Second words are thinned out at times: reserved bits must be 0 in most encodings, and one
/// of 32 random bits that have to be would otherwise never be.
pub fn random(r: &mut Random, pattern: &Pattern) -> [u32; 2] {
    let (name, fixed, mask, form) = *pattern;
    let thin = |r: &mut Random| match r.below(4) {
        0 => r.next() & r.next() & r.next(),
        1 => r.next() & r.next(),
        _ => r.next(),
    };
    let mut low = thin(r) & !mask | fixed;
    if let Some(form) = form {
        low = low & !511 | form;
    }
    let mut high = thin(r);
    match name {
        // Most opcode numbers are free, fields that are not used must be 0, and so must most modifiers.
        "VOP3" if r.below(8) != 0 => {
            let op = if r.below(3) == 0 { r.below(0x200) } else { 0x1c0 + r.below(0xe0) };
            low = fixed | op << 16 | low & 0xff | r.next() & r.next() & r.next() & 0xff00;
            let sources = [0x1ff, 0x3_ffff, 0x7ff_ffff, 0x7ff_ffff][r.below(4) as usize];
            high = high & sources | r.next() & r.next() & r.next() & 0xf800_0000;
            if r.below(2) == 0 {
                low &= !0xff00;
                high &= 0x7ff_ffff;
            }
        }
        "VOP3P" if r.below(2) == 0 => high &= 0x3ff_ffff,
        "DS" => high &= [u32::MAX, 0xff00_ffff, 0xff00_00ff, 0xff_ffff, 0xffff, 0xff][r.below(6) as usize],
        "FLAT" if r.below(4) != 0 => high &= !0x7f_0000,
        "SCRATCH" | "GLOBAL" if r.below(3) == 0 => high |= 0x7f_0000,
        "VOP1 SDWA" | "VOP2 SDWA" | "VOPC SDWA" => high = sdwa_word(r, name),
        "MIMG" if r.below(2) == 0 => high &= !0x3e0_0000,
        _ => {}
    }
    if matches!(name, "MUBUF" | "MTBUF") && r.below(4) != 0 {
        // Buffers that exist, and no reserved bits.
        high &= !0x0070_0000;
        low &= !0x0201_8000;
        low |= fixed;
    }
    [low, high]
}

/// A random SDWA word with parts of registers that exist; rare otherwise.
fn sdwa_word(r: &mut Random, name: &str) -> u32 {
    let mut word = if r.below(2) == 0 { sdwa(r) } else { r.next() & r.next() & 0xb8b8_e0ff | sdwa(r) };
    if name == "VOP1 SDWA" && r.below(8) != 0 {
        word &= 0x00ff_ffff;
    }
    // Modifiers and sign extension exclude each other, and depend on the opcode.
    match r.below(4) {
        0 => word &= !0x3838_0000,
        1 => word &= !0x3030_0000,
        2 => word &= !0x0808_0000,
        _ => {}
    }
    if r.below(2) == 0 { word & !0xe000 } else { word }
}

/// The name of the pattern that words belong to.
pub fn encoding(words: &[u32; 2]) -> &'static str {
    let form = words[0] & 511;
    let fits = |p: &&Pattern| words[0] & p.2 == p.1 && p.3.is_none_or(|f| f == form);
    // The narrowest: most fixed bits, a form counts as nine.
    let narrow = |p: &&Pattern| p.2.count_ones() + if p.3.is_some() { 9 } else { 0 };
    PATTERNS.iter().filter(fits).max_by_key(narrow).map_or("reserved", |p| p.0)
}
