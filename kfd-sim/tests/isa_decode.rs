//! The decoder against LLVM's disassembler: every opcode of every table with random operands, and random words of every
//! encoding. Both must refuse the words, or both must give the same text.
//!
//! Where LLVM is more lenient than the ISA document, or knows less, `decode_exceptions` says so, each with its reason and an
//! example that is checked. The texts are LLVM 14's; what newer ones print otherwise is in `llvm_text`.
//!
//! KFD_SIM_FULL=1 (`cargo xtask test --full`) compares a million random words, else it is a part of them.

mod decode_exceptions;
mod decode_words;
mod llvm_text;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::Stdio;

use decode_exceptions::{Exception, crashes_llvm, exception};
use decode_words::{PATTERNS, Random, encoding, operands, random, rows};
use kfd_sim::isa::decode::decode;
use llvm_text::Llvm;

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
        let run = llvm
            .command()
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
        let next = chunk.get(results.len());
        assert!(next.is_none(), "llvm-mc gives no text from {next:08x?} on: {}", run.status);
        out.extend(results);
    }
    Some(out)
}

/// Whether this is the long run.
fn full() -> bool {
    std::env::var_os("KFD_SIM_FULL").is_some_and(|value| value != "0")
}

/// What became of the words of one encoding.
#[derive(Default)]
struct Count {
    agree: u32,
    refused: u32,
    excepted: u32,
}

#[derive(Default)]
struct Tally {
    encodings: BTreeMap<&'static str, Count>,
    exceptions: BTreeMap<&'static str, u32>,
    only_llvm: BTreeMap<String, (u32, Vec<String>)>,
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
        let count = tally.encodings.entry(encoding(words)).or_default();
        let ours = decode(words).map(|inst| inst.to_string()).map_err(|error| error.to_string());
        match (&ours, theirs) {
            (Ok(ours), Some(theirs)) if ours == theirs => {
                count.agree += 1;
                agreed(n);
            }
            (Err(_), None) => count.refused += 1,
            _ => {
                if let Some(Exception { name, .. }) = exception(words, &ours, theirs.as_deref()) {
                    count.excepted += 1;
                    *tally.exceptions.entry(name).or_default() += 1;
                    continue;
                }
                match (ours, theirs) {
                    (Ok(ours), Some(theirs)) => {
                        tally.differ.push(format!("{at}: ours {ours} | llvm {theirs}"));
                    }
                    (Ok(ours), None) => tally.only_ours.push(format!("{at}: {ours}")),
                    (Err(error), theirs) => {
                        // By field, not by opcode.
                        let why = error
                            .split_once(": ")
                            .map_or(error.clone(), |(_, field)| format!("bad field: {field}"));
                        let entry = tally.only_llvm.entry(why).or_default();
                        entry.0 += 1;
                        if entry.1.len() < 8 {
                            entry.1.push(format!("{at}: {}", theirs.as_deref().unwrap_or_default()));
                        }
                    }
                }
            }
        }
    }
}

fn report(tally: &Tally) {
    for (encoding, Count { agree, refused, excepted }) in &tally.encodings {
        println!("{encoding}: {agree} the same text, {refused} refused by both, {excepted} exceptions");
    }
    println!("exceptions: {:?}", tally.exceptions);
    for (why, (count, examples)) in &tally.only_llvm {
        println!("  refused {count} times by the decoder only: {why}\n    {}", examples.join("\n    "));
    }
    for line in tally.only_ours.iter().take(60) {
        println!("  only the decoder: {line}");
    }
    for line in tally.differ.iter().take(60) {
        println!("  DIFFERENT {line}");
    }
    // Newer versions know more; what they accept beyond 14 is only shown.
    let strict = Llvm::installed().is_some_and(Llvm::is_14);
    assert!(
        !strict || tally.only_llvm.is_empty(),
        "LLVM accepts what the decoder refuses, and no exception covers it"
    );
    assert!(tally.only_ours.is_empty(), "{} accepted that LLVM refuses", tally.only_ours.len());
    assert!(tally.differ.is_empty(), "{} texts differ from LLVM's", tally.differ.len());
}

#[test]
fn every_opcode_reads_as_llvm_reads_it() {
    let rows = rows();
    let mut r = Random(0x1357_9bdf_2468_ace1);
    let tries = if full() { 1000 } else { 70 };
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
    let total = if full() { 1_000_000 } else { 60_000 };
    let mut cases: Vec<[u32; 2]> = (0..total)
        .map(|n| match n % 32 {
            // Words without any pattern.
            31 => [r.next(), r.next()],
            at => random(&mut r, &PATTERNS[at % PATTERNS.len()]),
        })
        .collect();
    cases.retain(|words| {
        let crash = crashes_llvm(words);
        assert!(!crash || decode(words).is_err(), "{words:08x?} is accepted");
        !crash
    });
    println!("{} words not shown to LLVM, which crashes on them", total - cases.len());
    let Some(texts) = disassemble(&cases) else { return };
    let mut tally = Tally::default();
    compare(&cases, &texts, &mut tally, |_| {});
    report(&tally);
    // Every encoding was reached, and often enough to mean something.
    for (name, ..) in PATTERNS.iter().filter(|p| !["VINTRP", "EXP", "MIMG", "MTBUF"].contains(&p.0)) {
        let agree = tally.encodings.get(*name).map_or(0, |count| count.agree);
        assert!(agree as usize >= total / 1000, "only {agree} words of {name} agree");
    }
}

#[test]
fn exceptions_are_what_they_say() {
    if Llvm::installed().is_none_or(|llvm| !llvm.is_14()) {
        println!("skipped: the exceptions are those of LLVM 14");
        return;
    }
    let examples: Vec<[u32; 2]> = decode_exceptions::ALL.iter().map(|e| e.example).collect();
    let Some(texts) = disassemble(&examples) else { return };
    for (e, theirs) in decode_exceptions::ALL.iter().zip(&texts) {
        let ours = decode(&e.example).map(|inst| inst.to_string()).map_err(|error| error.to_string());
        let found = exception(&e.example, &ours, theirs.as_deref()).map(|found| found.name);
        assert_eq!(found, Some(e.name), "{:08x?}: ours {ours:?}, LLVM {theirs:?}", e.example);
        assert!(ours.as_ref().ok() != theirs.as_ref(), "{} is no exception any more", e.name);
        println!("{}: {}. {ours:?}, LLVM {theirs:?}", e.name, e.reason);
    }
}

#[test]
fn nop_and_cut_off_instructions() {
    assert_eq!(decode(&[0xbf80_0003]).unwrap().to_string(), "s_nop 3");
    // A VOP3 instruction and a literal need their second word.
    assert!(decode(&[0xd1ff_0000]).is_err());
    assert!(decode(&[0x8000_00ff]).is_err());
    assert!(decode(&[]).is_err());
}
