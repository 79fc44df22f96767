//! The eclip command: info, demo, sim.

fn main() {}
