//! Queue manager for AMD GPUs below HIP: CU-masked AQL queues, packets, signals, on the HSA runtime (ROCr).
//!
//! The crate loads ROCr when the program runs, makes a fixed [`Pool`] of AQL queues, gives each its compute-unit (CU) mask **once**,
//! and writes kernel-dispatch and barrier-AND packets itself. Changing a mask is an ioctl that costs more than many kernels;
//! with queues that were masked at start-up, moving a kernel to other CUs is choosing another queue.
//!
//! ```no_run
//! use std::time::Duration;
//! use eclip_hsa::{CuMask, KernelGroup, Module, Patch, Pool, Runtime, Visibility};
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
//! let saxpy = module.kernel("saxpy")?;
//! let x = gpu.upload(&[1.0f32; 256])?;
//! let y = gpu.upload(&[2.0f32; 256])?;
//!
//! // y += 1.0 * x, put together and checked once, submitted as often as one likes.
//! let group = KernelGroup::of(saxpy.dispatch([256, 1, 1], [64, 1, 1]).arg(1f32).arg(&x).arg(&y).arg(256u32))?;
//! let first = group.on(&pool[0]).visibility(Visibility::Agent).submit(second)?;
//! // On another queue, after the first, with 3.0 for argument 0 of kernel 0: a barrier-AND packet and a kernel, one doorbell.
//! let patches = [Patch::new(0, 0, 3f32)];
//! let last = group.on(&pool[1]).after(&[first]).patch(&patches).submit(second)?;
//! last.wait_timeout(second)?;
//! assert_eq!(y.to_vec()?, [6.0; 256]);
//! # Ok(())
//! # }
//! ```
//!
//! # What is where
//! * What there is: [`Runtime`] (ROCr, initialised) shows [`Agent`]s; an agent allocates [`Buffer`]s and tells its [`CuTopology`], from
//!   which [`CuMask`]s are made. A [`Module`] is a code object loaded on it, a [`Kernel`] makes [`Dispatch`]es.
//! * Queues: a [`Queue`] alone or of a [`Pool`], which replaces dead ones ([`Pool::replace`]), or one that the caller made
//!   ([`QueueBuilder::adopt`]).
//! * Work: a [`KernelGroup`] is built once; a [`Submission`] of it says what it comes [after](Submission::after), who may wait for it
//!   ([`Visibility`]) and which arguments are replaced ([`Patch`]); it gives a [`Token`]. [`Queue::dispatch`] is for single kernels. A
//!   [`Recording`] is a whole request over several queues, replayed. [`PacketCounts`] tell what a queue was given and what was left out.
//! * Waiting: on a token, or with [`Completions`], a thread that completes futures, for those who want one. Work of other runtimes is
//!   waited for, and told, through [`ForeignSignal`]s.
//! * Placing: a [`Plan`], read from a file, says which queue each kernel of each worker takes. A [`Scheduler`] carries it out under one of
//!   five [`Policy`]s; its [`Worker`]s are in-order streams. [`route`] does the same for AQL packets that somebody else wrote.
//! * Plain data, without a device: packets ([`packet`]), masks ([`cu_mask`]), argument layouts ([`kernarg`]), code objects
//!   ([`code_object`]), plans ([`plan`], [`policy`]), [`route`].
//!
//! # Order
//! Submissions are ordered by their tokens only: work of one queue, too, may overlap and end in any order unless one comes `after` the other.
//! The kernels of a group run one after the other, unless it is [concurrent](GroupBuilder::concurrent). A dependency costs nothing if it is
//! complete or something else proves it, a barrier bit in the same queue, otherwise a barrier-AND packet for each five. What is left
//! out is the barrier, never the fence that makes data visible.
//!
//! # Threads
//! Everything may be sent to other threads and shared; a [`Worker`] and a [`route::Router`] are used by one at a time. Any number of
//! threads may submit to one queue; none waits for another, and nobody holds a lock while waiting. Calls whose name begins with `try_` never wait for room.
//! Submitting a group allocates nothing once its queue has warmed up, by use or with [`Queue::warm_up`], and replaying a recording
//! nothing on such queues once as many replays were in flight before; the times of a [measuring](QueueBuilder::profiling) queue excepted.
//!
//! # Units
//! Times of the GPU are nanoseconds ([`GpuTime`]), limits are [`Duration`](std::time::Duration)s, sizes are bytes, or items of a buffer's
//! type. Grids count work-items, not workgroups. Kernels, arguments and queues are counted from 0.
//!
//! # Soundness
//! A kernel can write anywhere, so loading code is `unsafe`: [`Module::from_file`] and [`Module::from_bytes`]. Whoever loads a module
//! vouches that its kernels keep to the buffers and counts that they are given. Everything after that is safe: work in
//! flight owns the buffers and code that it uses, even if its token is forgotten; the host cannot get at a buffer in flight; a dropped
//! queue drains its work or fails it, and the hardware is off it before anything is freed. The other `unsafe` calls take things
//! that somebody else owns: [`Arg::foreign`], [`ForeignSignal::new`], [`QueueBuilder::adopt`].
//!
//! # Errors
//! Every error says what, where and what to do. [`Error::is_transient`] ones may be tried again. A queue's error is sticky; every
//! token of its unfinished work ends with it, and so does whatever waits for that work on other queues, which die with it; the others
//! go on. A memory fault takes the whole GPU from the process, as the driver does. A forked child cannot use what its parent made here,
//! nor drop it: the driver gives it none of the parent's queues or memory. Calls that wait take a time limit, but for
//! [`Token::wait`] and for copies and fills of buffers, which ROCr does: they end with the copy or with the GPU's loss.
//!
//! # What it does not do
//! It starts no thread unless somebody asks for one ([`Completions`]) and has no global state besides ROCr's own. What it allocates
//! unasked is host memory: kernargs for each queue, group and replay in flight, and a block of up to 4 MiB while a buffer of the GPU is copied. It does not
//! compile kernels, and it does not depend on HIP.

mod agent_info;
mod block;
mod clock;
mod copy;
mod counts;
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
mod visibility;

pub mod agent;
#[cfg(not(loom))]
#[doc(hidden)]
pub mod bench_support;
pub mod budget;
pub mod code_object;
pub mod completion;
pub mod cu_mask;
#[doc(hidden)]
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
