//! How an AMD GPU spends time and power.

pub mod constant;
pub mod device;
pub mod engine;
pub mod error;
pub mod fit;
pub mod kernel;
pub mod mask;
pub mod run;
pub mod scenario;

pub use device::Device;
pub use engine::Gpu;
pub use error::ModelError;
pub use kernel::Kernel;
pub use mask::Mask;
pub use scenario::Scenario;
