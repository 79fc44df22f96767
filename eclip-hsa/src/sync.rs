//! Atomics of the mechanisms: std's, or loom's when the crate is built to be model-checked (`--cfg loom`).

#[cfg(not(loom))]
pub(crate) use std::sync::atomic;

#[cfg(loom)]
pub(crate) use loom::sync::atomic;
