//! Queue manager for AMD GPUs below HIP: CU-masked AQL queues, packets, signals, on the HSA runtime (ROCr).

mod driver;
mod fault;
mod flights;
mod kernarg_ring;
mod port;
mod prefix;
mod ring;
mod signal;

pub mod agent;
pub mod batch;
pub mod budget;
pub mod code_object;
pub mod counts;
pub mod cu_mask;
pub mod dispatch;
pub mod error;
pub mod hw_id;
pub mod kernarg;
pub mod memory;
pub mod module;
pub mod observe;
pub mod packet;
pub mod pool;
pub mod queue;
pub mod runtime;
pub mod token;
pub mod topology;

pub use agent::Agent;
pub use batch::Batch;
pub use counts::PacketCounts;
pub use cu_mask::{CuMask, MaskRules};
pub use dispatch::{Arg, Dispatch};
pub use error::{Error, Failure, Result};
pub use memory::Buffer;
pub use module::{Kernel, Module};
pub use pool::{Pool, PoolBuilder};
pub use queue::{Queue, QueueBuilder};
pub use runtime::Runtime;
pub use signal::GpuTime;
pub use token::Token;
pub use topology::{CuId, CuTopology};
