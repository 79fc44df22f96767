//! What the fuzz targets do: plain functions that take bytes and panic if something is wrong.
//!
//! A fuzzer calls them (`fuzz/fuzz_targets`), and so does a test that replays the corpus with random changes, which needs no
//! fuzzer. Nothing here needs a device; the ioctl target makes simulated ones.
#![forbid(unsafe_code)]

mod code_object;
mod decode;
mod depend;
mod ioctl;
mod packet;
mod plan;

pub use code_object::code_object;
pub use decode::decode;
pub use depend::depend;
pub use ioctl::ioctl;
pub use packet::packet;
pub use plan::plan;

/// A fuzz target: what it does with an input.
pub type Target = fn(&[u8]);

/// Every target under the name that it has in `fuzz/fuzz_targets` and `fuzz/corpus`.
pub const TARGETS: &[(&str, Target)] = &[
    ("code_object", code_object),
    ("decode", decode),
    ("depend", depend),
    ("ioctl", ioctl),
    ("packet", packet),
    ("plan", plan),
];
