//! GPU kernels as source, with the code objects built from them.
