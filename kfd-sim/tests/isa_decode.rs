//! The decoder against LLVM's disassembler: every opcode of every table with random operands, and random words.
//!
//! Where both accept, the texts must be the same. What LLVM accepts and the tables do not have must be refused, not
//! misread; what only the decoder accepts is counted against it. The texts are LLVM 14's; what newer ones print otherwise is
//! in `llvm_text`.

mod llvm_text;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::{Command, Stdio};

use kfd_sim::isa::decode::{self, decode};
use kfd_sim::isa::inst::Op;
use llvm_text::Llvm;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 24) as u32
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.next() % limit
    }
}

/// What llvm-mc says of each pair of words: its text, or none when it refuses the first instruction.
fn disassemble(cases: &[[u32; 2]]) -> Option<Vec<Option<String>>> {
    let llvm = Llvm::installed()?;
    // Each case is followed by marker instructions with its number: a refused word makes llvm-mc skip bytes.
    let bytes = |words: &[u32]| -> String {
        words.iter().flat_map(|w| w.to_le_bytes()).map(|b| format!("0x{b:02x} ")).collect()
    };
    let mut out = Vec::new();
    for chunk in cases.chunks(60_000) {
        let mut input = String::new();
        for (n, case) in chunk.iter().enumerate() {
            input += &bytes(case);
            input += "\n";
            input += &bytes(&[0xbf80_0000 | n as u32; 3]);
            input += "\n";
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(input.as_bytes()).unwrap();
        let run = Command::new("llvm-mc")
            .args(["-arch=amdgcn", "-mcpu=gfx906", "-disassemble"])
            .arg(file.path())
            .stdin(Stdio::null())
            .output()
            .expect("llvm-mc ran before");
        let errors = String::from_utf8_lossy(&run.stderr);
        if errors.contains("unable to get target") {
            println!("skipped: llvm-mc has no amdgcn");
            return None;
        }
        let refused: BTreeSet<usize> = errors
            .lines()
            .filter(|line| line.contains("warning:"))
            .filter_map(|line| {
                line.split(':').skip(1).take(2).map(|n| n.parse().ok()).collect::<Option<Vec<usize>>>()
            })
            .filter(|at| at[1] == 1 && at[0] % 2 == 1)
            .map(|at| (at[0] - 1) / 2)
            .collect();
        let text = String::from_utf8_lossy(&run.stdout);
        let mut first: Option<&str> = None;
        let mut done = 0;
        let mut results = Vec::new();
        for line in
            text.lines().filter(|line| line.starts_with('\t')).map(str::trim).filter(|l| *l != ".text")
        {
            let marker = line.strip_prefix("s_nop ").and_then(|n| match n.strip_prefix("0x") {
                Some(hex) => usize::from_str_radix(hex, 16).ok(),
                None => n.parse().ok(),
            });
            match marker {
                Some(n) if n == done => {
                    results.push(if refused.contains(&n) {
                        None
                    } else {
                        first.map(|text| llvm.as_14(text))
                    });
                    first = None;
                    done += 1;
                }
                Some(n) if n < done => {}
                _ => first = first.or(Some(line)),
            }
        }
        assert_eq!(results.len(), chunk.len(), "markers lost in llvm-mc's output");
        out.extend(results);
    }
    Some(out)
}

/// Number, name, and fixed bits of word 0 of every row of every table.
fn rows() -> Vec<(&'static str, &'static str, u32)> {
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
fn operands(r: &mut Random, encoding: &str, fixed: u32) -> [u32; 2] {
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
                0 => [fixed | more | 249, sdwa(r)],
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
            ];
            let mask = mask[r.below(9) as usize];
            [fixed | if r.below(3) == 0 { 0 } else { r.next() & 0xffff }, r.next() & mask & 0xf7f7_f7f7]
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
            let flags = r.below(8) << 12;
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

#[derive(Default)]
struct Tally {
    agree: u32,
    both_refuse: u32,
    only_llvm: BTreeMap<String, (u32, String)>,
    only_ours: Vec<String>,
    differ: Vec<String>,
}

fn compare(cases: &[[u32; 2]], texts: &[Option<String>], tally: &mut Tally, mut agreed: impl FnMut(usize)) {
    let llvm = Llvm::installed().expect("it disassembled the cases");
    for (n, (words, theirs)) in cases.iter().zip(texts).enumerate() {
        if llvm.disagrees_with_14(words) {
            continue;
        }
        let at = format!("{:08x} {:08x}", words[0], words[1]);
        if words[0] >> 16 == 0xbf80 {
            continue; // s_nop is the marker
        }
        match (decode(words), theirs) {
            (Ok(ours), Some(theirs)) if same(&ours.to_string(), theirs, &ours.op) => {
                tally.agree += 1;
                agreed(n);
            }
            (Ok(ours), Some(theirs)) => tally.differ.push(format!("{at}: ours {ours} | llvm {theirs}")),
            (Ok(ours), None) => tally.only_ours.push(format!("{at}: {ours}")),
            (Err(error), Some(theirs)) => {
                // By field, not by opcode.
                let why = error.to_string();
                let why =
                    why.split_once(": ").map_or(why.clone(), |(_, field)| format!("bad field: {field}"));
                let entry = tally.only_llvm.entry(why).or_default();
                entry.0 += 1;
                entry.1 = format!("{at}: {theirs}");
            }
            (Err(_), None) => tally.both_refuse += 1,
        }
    }
}

/// Message operands are named by LLVM and not by the decoder.
fn same(ours: &str, theirs: &str, op: &Op) -> bool {
    if let Op::Sopp(decode::sopp::Sopp::Sendmsg | decode::sopp::Sopp::Sendmsghalt) = op {
        return ours.split(' ').next() == theirs.split(' ').next();
    }
    ours == theirs
}

fn report(tally: &Tally) {
    let accepted: u32 = tally.only_llvm.values().map(|(count, _)| count).sum();
    println!(
        "{} agree, {} refused by both, {accepted} refused by the decoder only, {} accepted by the decoder only",
        tally.agree,
        tally.both_refuse,
        tally.only_ours.len()
    );
    for (why, (count, example)) in &tally.only_llvm {
        println!("  refused {count} times: {why} ({example})");
    }
    for line in tally.only_ours.iter().take(60) {
        println!("  only the decoder: {line}");
    }
    for line in tally.differ.iter().take(60) {
        println!("  DIFFERENT {line}");
    }
    assert!(tally.only_ours.is_empty(), "{} accepted that LLVM refuses", tally.only_ours.len());
    assert!(tally.differ.is_empty(), "{} texts differ from LLVM's", tally.differ.len());
}

#[test]
fn every_opcode_reads_as_llvm_reads_it() {
    let rows = rows();
    let mut r = Random(0x1357_9bdf_2468_ace1);
    let tries = 110;
    let cases: Vec<[u32; 2]> = rows
        .iter()
        .flat_map(|(encoding, _, fixed)| {
            (0..tries).map(|_| operands(&mut r, encoding, *fixed)).collect::<Vec<_>>()
        })
        .collect();
    let Some(texts) = disassemble(&cases) else { return };
    let mut tally = Tally::default();
    let mut seen = BTreeSet::new();
    compare(&cases, &texts, &mut tally, |n| {
        seen.insert(n / tries);
    });
    report(&tally);
    let missing: Vec<_> =
        rows.iter().enumerate().filter(|(n, _)| !seen.contains(n)).map(|(_, row)| row).collect();
    // s_nop is the marker (tested below), and these opcodes have no VOP3 form.
    let without = [
        "s_nop",
        "v_readfirstlane_b32",
        "v_swap_b32",
        "v_madmk_f32",
        "v_madak_f32",
        "v_madmk_f16",
        "v_madak_f16",
    ];
    let missing: Vec<_> = missing
        .into_iter()
        .filter(|row| !without.contains(&row.1) || !row.0.starts_with("VOP3") && row.1 != "s_nop")
        .collect();
    assert!(missing.is_empty(), "never confirmed: {missing:x?}");
}

#[test]
fn random_words_read_as_llvm_reads_them() {
    let mut r = Random(0x0123_4567_89ab_cdef);
    let prefixes = [0x00u32, 0x1f, 0x20, 0x28, 0x2c, 0x2f, 0x30, 0x34, 0x36, 0x37, 0x38];
    let cases: Vec<[u32; 2]> = (0..120_000)
        .map(|n| {
            let word = r.next();
            let word =
                if n % 4 == 0 { word } else { word & 0x03ff_ffff | prefixes[n % prefixes.len()] << 26 };
            let thin = if n % 3 == 0 { r.next() & r.next() } else { u32::MAX };
            [word, r.next() & thin]
        })
        .collect();
    let Some(texts) = disassemble(&cases) else { return };
    let mut tally = Tally::default();
    compare(&cases, &texts, &mut tally, |_| {});
    report(&tally);
}

#[test]
fn nop_and_cut_off_instructions() {
    assert_eq!(decode(&[0xbf80_0003]).unwrap().to_string(), "s_nop 3");
    // A VOP3 instruction and a literal need their second word.
    assert!(decode(&[0xd1ff_0000]).is_err());
    assert!(decode(&[0x8000_00ff]).is_err());
    assert!(decode(&[]).is_err());
}
