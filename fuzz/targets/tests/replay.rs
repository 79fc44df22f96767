//! The fuzz targets without a fuzzer: the corpus, and some thousand random changes of it.
//!
//! `ECLIP_FUZZ_ROUNDS` and `ECLIP_FUZZ_SEED` make it longer and different.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use eclip_fuzz_targets::TARGETS;
use fastrand::Rng;

/// Changed inputs for each target.
const CHANGED: usize = 20_000;
/// Targets whose inputs cost more than others', and how much.
const COSTS: &[(&str, usize)] = &[("ioctl", 20)];
/// Bytes that are often at the edge of something.
const EDGES: [u8; 9] = [0, 1, 2, 0x20, 0x7f, 0x80, 0x81, 0xfe, 0xff];

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{}: no corpus", folder.display());
    files
}

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}: {text:?}")))
}

/// Some changes such as fuzzers make.
fn change(rng: &mut Rng, input: &mut Vec<u8>, other: &[u8]) {
    for _ in 0..rng.usize(1..=6) {
        if input.is_empty() {
            input.push(rng.u8(..));
        }
        let at = rng.usize(..input.len());
        let len = rng.usize(..=8.min(input.len() - at));
        match rng.u8(..8) {
            0 => input[at] ^= 1 << rng.u8(..8),
            1 => input[at] = rng.u8(..),
            2 => input[at] = EDGES[rng.usize(..EDGES.len())],
            3 => drop(input.drain(at..at + len)),
            4 => {
                let copy = input[at..at + len].to_vec();
                input.splice(at..at, copy);
            }
            5 => input.insert(at, rng.u8(..)),
            6 => input.truncate(at),
            _ if other.is_empty() => {}
            _ => {
                let from = rng.usize(..other.len());
                let len = len.min(other.len() - from);
                input.splice(at..at + len, other[from..from + len].iter().copied());
            }
        }
    }
}

/// Runs a target and says which input it fell over, as Rust, to be put into the corpus.
fn run(name: &str, target: fn(&[u8]), input: &[u8], what: &str) {
    if let Err(cause) = panic::catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("target {name} fails on {what}: {input:?}");
        panic::resume_unwind(cause);
    }
}

#[test]
fn the_corpus_and_changes_of_it_pass() {
    for &(name, target) in TARGETS {
        let corpus = corpus(name);
        for (path, input) in &corpus {
            run(name, target, input, &path.display().to_string());
        }
        let mut rng = Rng::with_seed(number("ECLIP_FUZZ_SEED").unwrap_or(0xec11));
        let changed = number("ECLIP_FUZZ_ROUNDS").unwrap_or(CHANGED as u64) as usize;
        let cost = COSTS.iter().find(|(costly, _)| *costly == name).map_or(1, |(_, cost)| *cost);
        for round in 0..changed / cost {
            let mut input = corpus[rng.usize(..corpus.len())].1.clone();
            let other = &corpus[rng.usize(..corpus.len())].1;
            change(&mut rng, &mut input, other);
            run(name, target, &input, &format!("changed input {round}"));
        }
    }
}

#[test]
fn every_target_is_one_of_cargo_fuzz() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} is missing in fuzz/Cargo.toml");
        assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).exists(), "{name}");
    }
    assert_eq!(fs::read_dir(fuzz.join("fuzz_targets")).unwrap().count(), TARGETS.len());
}
