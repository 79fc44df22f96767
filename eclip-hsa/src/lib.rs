//! Queue manager for AMD GPUs below HIP.

mod flights;
mod kernarg_ring;
mod prefix;
mod ring;

pub mod cu_mask;
pub mod packet;
pub mod topology;
