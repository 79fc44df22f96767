//! Developer commands: demo, test, bindgen, kernels.

fn main() {}
