//! Tests across crates, on the simulated GPU or on hardware.
