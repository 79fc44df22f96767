//! Regenerates hsa-sys's bindings from the HSA headers.

fn main() {}
