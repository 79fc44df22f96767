//! `ring_instructions CASE TURNS`: does one case so many times. For counting its instructions.

use std::process::ExitCode;

use eclip_benches::{Bench, Case};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let case = arguments.next().and_then(|name| Case::ALL.into_iter().find(|case| case.name() == name));
    let turns = arguments.next().and_then(|turns| turns.parse::<u64>().ok());
    let (Some(case), Some(turns)) = (case, turns) else {
        eprintln!("usage: ring_instructions {} TURNS", Case::ALL.map(Case::name).join("|"));
        return ExitCode::from(2);
    };
    let bench = Bench::default();
    for _ in 0..turns {
        bench.turn(case);
    }
    ExitCode::SUCCESS
}
