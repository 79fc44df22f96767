//! The peers' room: what the library is measured against, and used beside.
//!
//! - [`c_loop`]: kernel dispatch as C programs for the HSA runtime write it, compiled from C (`c/dispatch_loop.c`).
//! - [`hip`]: AMD's HIP runtime, found when the program runs.
//! - [`neighbour`]: another user of the HSA runtime in the same process, with a queue and signals of its own.
//!
//! Nothing here uses `eclip-hsa`, and nothing of it is needed to use `eclip-hsa`: it is for benchmarks, tests and examples.

pub mod c_loop;
pub mod hip;
pub mod neighbour;
