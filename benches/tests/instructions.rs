//! Instructions a packet, counted by callgrind on a ring without a runtime, compared with `instructions.toml`.
//!
//! Fails when a count has grown by more than a tenth; says so when it has shrunk as much, because then the file should be
//! brought up to date: `UPDATE_INSTRUCTIONS=1 cargo test -p eclip-benches`. The program is built with optimisation, whatever the
//! test is built with. Another compiler may need other counts: the file names the one that it was made with.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use eclip_benches::Case;

/// Growth that fails.
const TOLERANCE: f64 = 0.10;

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.toml")
}

/// Builds the program as a release has it; its path.
fn program() -> PathBuf {
    // Two up from target/debug/ring_instructions.
    let target =
        Path::new(env!("CARGO_BIN_EXE_ring_instructions")).ancestors().nth(2).expect("a target folder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--release", "--package", "eclip-benches", "--bin", "ring_instructions"]);
    build.arg("--target-dir").arg(target).current_dir(env!("CARGO_MANIFEST_DIR"));
    let output = build.output().expect("cargo starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("release/ring_instructions")
}

/// Instructions that the program executes in all.
fn count(program: &Path, case: Case, turns: u64) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    // Valgrind counts each byte of a `rep movsb`, with which glibc copies large blocks on some processors.
    valgrind.env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=1073741824");
    valgrind.arg(program).arg(case.name()).arg(turns.to_string());
    let output = valgrind.output().expect("valgrind starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{valgrind:?}: {text}");
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    collected.and_then(|(_, count)| count.trim().parse().ok()).unwrap_or_else(|| panic!("no count in {text}"))
}

/// Instructions a packet: the difference of a long and a short run, so that starting and ending the program is not counted.
fn per_packet(program: &Path, case: Case) -> f64 {
    let (short, long) = if case == Case::Batch { (10, 110) } else { (1_000, 101_000) };
    let difference = count(program, case, long) - count(program, case, short);
    difference as f64 / ((long - short) as f64 * case.packets() as f64)
}

fn compiler() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).arg("--version").output().expect("rustc starts");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn instructions_a_packet_do_not_grow() {
    if !cfg!(target_arch = "x86_64") {
        eprintln!("skipped: the counts are x86-64's");
        return;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        eprintln!("skipped: valgrind is not installed (package valgrind): instructions cannot be counted");
        return;
    }
    let program = program();
    let counted = Case::ALL.map(|case| (case.name(), per_packet(&program, case)));
    if std::env::var_os("UPDATE_INSTRUCTIONS").is_some() {
        let mut text = format!(
            "# Instructions a packet on x86-64, counted by callgrind on a ring without a runtime.\n\
             # UPDATE_INSTRUCTIONS=1 cargo test -p eclip-benches\n\
             compiler = \"{}\"\n\n[instructions]\n",
            compiler()
        );
        for (name, count) in counted {
            writeln!(text, "{name} = {count:.2}").expect("a string takes everything");
        }
        std::fs::write(file(), text).expect("the file can be written");
        return;
    }
    let text = std::fs::read_to_string(file()).expect("instructions.toml is checked in");
    let table: toml::Table = text.parse().expect("instructions.toml is TOML");
    let known: BTreeMap<String, f64> = table["instructions"].clone().try_into().expect("numbers");
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    let mut expected = Case::ALL.map(Case::name);
    expected.sort_unstable();
    assert_eq!(names, expected, "the file has exactly the cases that are counted");
    for (name, count) in counted {
        println!("{name}: {count:.2} instructions a packet, {} in instructions.toml", known[name]);
    }
    let (grown, shrunk) = compare(&known, &counted);
    if !shrunk.is_empty() {
        eprintln!("cheaper now, bring instructions.toml up to date:\n{shrunk}");
    }
    let made_with = table["compiler"].as_str().unwrap_or("?");
    assert!(grown.is_empty(), "{grown}(counted with {}; the file was made with {made_with})", compiler());
}

/// What has grown by more than the tolerance, and what has shrunk as much: a line each.
fn compare(known: &BTreeMap<String, f64>, counted: &[(&str, f64)]) -> (String, String) {
    let (mut grown, mut shrunk) = (String::new(), String::new());
    for &(name, count) in counted {
        let before = known[name];
        let list = match count / before {
            ratio if ratio > 1.0 + TOLERANCE => &mut grown,
            ratio if ratio < 1.0 - TOLERANCE => &mut shrunk,
            _ => continue,
        };
        writeln!(list, "{name}: {count:.2} instructions a packet, were {before}")
            .expect("a string takes everything");
    }
    (grown, shrunk)
}

#[test]
fn growth_by_more_than_a_tenth_is_found() {
    let known = BTreeMap::from([("batch".to_owned(), 30.0), ("single".to_owned(), 100.0)]);
    assert_eq!(compare(&known, &[("batch", 32.9), ("single", 91.0)]), (String::new(), String::new()));
    let (grown, shrunk) = compare(&known, &[("batch", 33.1), ("single", 89.0)]);
    assert_eq!(grown, "batch: 33.10 instructions a packet, were 30\n");
    assert_eq!(shrunk, "single: 89.00 instructions a packet, were 100\n");
}
