//! A simulated AMD GPU behind the kernel interface, for unmodified ROCr.
