//! Queue manager for AMD GPUs below HIP: CU-masked AQL queues, packets, signals, on the HSA runtime (ROCr).
//!
//! The crate loads ROCr when the program runs, makes a fixed [`Pool`] of AQL queues, gives each its compute-unit (CU) mask **once**,
//! and writes kernel-dispatch and barrier-AND packets itself. Changing a mask is an ioctl that costs more than many kernels;
//! with queues that were masked at start-up, moving a kernel to other CUs is choosing another queue.
//!
//! ```no_run
//! use std::time::Duration;
//! use eclip_hsa::{CuMask, KernelGroup, Module, Pool, Runtime};
//!
//! # fn main() -> eclip_hsa::Result<()> {
//! let second = Duration::from_secs(1);
//! let gpu = Runtime::new()?.gpu(0)?;
//! let topology = gpu.topology()?;
//! let pool = Pool::builder(&gpu)
//!     .masked("half", CuMask::shader_engines(topology, &[0, 2])?)
//!     .unmasked("all")
//!     .build()?;
//! println!("{}", pool.audit());
//!
//! // SAFETY: the kernel stays inside the buffers and counts that it is given.
//! let module = unsafe { Module::from_file(&gpu, "vector.co")? };
//! let add = module.kernel("vector_add")?;
//! let a = gpu.upload(&[1.0f32; 256])?;
//! let b = gpu.upload(&[2.0f32; 256])?;
//! let c = gpu.alloc::<f32>(256)?;
//! let work = add.dispatch([256, 1, 1], [64, 1, 1]).arg(&a).arg(&b).arg(&c).arg(256u32);
//! let first = pool[0].dispatch(work.clone(), second)?;
//!
//! // On another queue, after the first: a barrier-AND packet and a kernel, one doorbell.
//! let again = KernelGroup::of(work)?;
//! again.on(&pool[1]).after(&[first]).submit(second)?.wait_timeout(second)?;
//! assert_eq!(c.to_vec()?, [3.0; 256]);
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//! [`Runtime`] (ROCr, initialised) shows [`Agent`]s; an agent allocates [`Buffer`]s and tells its [`CuTopology`]; a [`Module`] is a
//! code object loaded on it, a [`Kernel`] makes [`Dispatch`]es. A [`Queue`] (alone, or of a [`Pool`]) takes dispatches and
//! [`KernelGroup`]s and gives [`Token`]s. Packets ([`packet`]), masks ([`cu_mask`]), argument layouts ([`kernarg`]) and code objects
//! ([`code_object`]) are plain data and need no device.
//!
//! A [`Plan`], read from a file, says which queue each kernel of each worker takes. A [`Scheduler`] carries it out under one of five
//! [`Policy`]s; its [`Worker`]s are in-order streams. [`route`] does the same for AQL packets that somebody else wrote.
//!
//! # Soundness
//! A kernel can write anywhere, so loading code is `unsafe`, in one place: [`Module::from_file`] and [`Module::from_bytes`].
//! Whoever loads a module vouches that its kernels keep to the buffers and counts that they are given. So is taking in what somebody else
//! made: [`Arg::foreign`], [`ForeignSignal::new`], [`QueueBuilder::adopt`]. Everything after that is
//! safe: work in flight owns the buffers and code that it uses, even if its token is forgotten; the host cannot get at a
//! buffer in flight; a dropped queue drains its work or fails it, and the hardware is off it before anything is freed.
//!
//! # Errors
//! Every error says what, where and what to do. A queue's error is sticky, and every token of its unfinished work ends with it;
//! a memory fault takes the whole GPU from the process, as the driver does. A forked child cannot use what its parent made here,
//! nor drop it: the driver gives it none of the parent's queues or memory. Calls that wait take a time limit, but for
//! [`Token::wait`] and for copies and fills of buffers, which ROCr does: they end with the copy or with the GPU's loss.
//!
//! # What it does not do
//! It starts no threads unasked ([`Completions`] is one) and has no global state besides ROCr's own. What it allocates unasked is host
//! memory: kernargs for each queue, group and replay in flight, and a block of up to 4 MiB while a buffer of the GPU is copied. It does not compile kernels, and it does not depend on HIP.

mod agent_info;
mod block;
mod clock;
mod copy;
mod driver;
mod failures;
mod fault;
mod flights;
mod foreign;
mod frame;
mod free_list;
mod hold;
mod kernarg_ring;
mod lane;
#[cfg(all(test, loom))]
mod loom_tests;
mod packet_ring;
mod patch;
mod pin;
mod plain;
mod port;
mod prefix;
mod program;
mod queue_builder;
mod queue_state;
mod recorded;
mod replay;
mod ring;
mod shared_ring;
mod signal;
mod status;
mod submit;
mod sync;
mod turn;

pub mod agent;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod bench_support;
pub mod budget;
pub mod code_object;
pub mod completion;
pub mod counts;
pub mod cu_mask;
pub mod depend;
pub mod dispatch;
pub mod error;
pub mod group;
pub mod hw_id;
pub mod kernarg;
pub mod memory;
pub mod module;
pub mod observe;
pub mod packet;
pub mod plan;
pub mod policy;
pub mod pool;
pub mod queue;
pub mod recording;
pub mod route;
pub mod runtime;
pub mod scheduler;
pub mod token;
pub mod topology;
pub mod visibility;

pub use agent::Agent;
pub use completion::{Completion, Completions};
pub use counts::PacketCounts;
pub use cu_mask::{CuMask, MaskRules};
pub use dispatch::{Arg, Dispatch};
pub use error::{Error, Failure, Result};
pub use group::{ForeignSignal, GroupBuilder, KernelGroup, Patch, Submission};
pub use memory::Buffer;
pub use module::{Kernel, Module};
pub use plan::{Plan, PlanError};
pub use policy::Policy;
pub use pool::{Pool, PoolBuilder};
pub use queue::Queue;
pub use queue_builder::QueueBuilder;
pub use recording::{Recorder, Recording, Replay, StepId};
pub use runtime::Runtime;
pub use scheduler::{Prepared, Scheduler, Worker};
pub use signal::GpuTime;
pub use token::Token;
pub use topology::{CuId, CuTopology};
pub use visibility::Visibility;
