//! The command processor without ROCr: rings, signals and queues in plain memory, kernels that do what a test wants.

mod aql;
mod control;
mod faults;
mod fences;
mod rig;
mod sdma;
mod stress;
mod threads;
mod turns;
