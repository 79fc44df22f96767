//! The ROCr (libhsa-runtime64) ABI: types, constants and a function table filled at run time.
