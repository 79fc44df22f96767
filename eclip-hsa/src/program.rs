//! A list of kernels made ready for submission: packets, argument bytes, and what they use.
//!
//! Built and checked once; submitting it is copying. Immutable, so any number of threads may submit it at once.

use std::ptr::NonNull;
use std::sync::Arc;

use crate::agent::Agent;
use crate::agent_info::PoolKind;
use crate::block::Block;
use crate::dispatch::Dispatch;
use crate::error::{Error, Result};
use crate::frame::Kernels;
use crate::memory::BufferRef;
use crate::module::Kernel;
use crate::packet::{FenceScope, Header, Packet, PacketKind};
use crate::turn::InFlight;
use crate::visibility::Visibility;

/// See the module's text.
pub(crate) struct Program {
    agent: Agent,
    /// The kernels' packets, with INVALID headers, without completion signals. Their kernarg addresses point into `resident` if there is one,
    /// otherwise they are offsets into `image`.
    pub(crate) bodies: Box<[Packet]>,
    /// First dwords of the packets: barrier bits for the order inside, agent scope both ways.
    pub(crate) firsts: Box<[u32]>,
    pub(crate) kernels: Box<[KernelArgs]>,
    /// The arguments of all kernels.
    pub(crate) image: Box<[u8]>,
    /// The same, in memory that kernels read: nobody writes it, so all submissions share it.
    resident: Option<Block>,
    blocks: Box<[Arc<Block>]>,
    /// Whether `blocks` know of `in_flight`.
    counted: bool,
    in_flight: Arc<InFlight>,
    /// Barrier bits in it.
    pub(crate) barrier_bits: u64,
    /// The last packet with the barrier bit. From it on packets may be complete in any order, so each of them signals.
    pub(crate) last_barrier: Option<usize>,
}

/// A kernel of a program and where its arguments are.
pub(crate) struct KernelArgs {
    pub(crate) kernel: Kernel,
    pub(crate) offset: usize,
}

/// How kernels are put together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Assembly {
    /// Side by side, but for dispatches with the barrier bit.
    pub(crate) concurrent: bool,
    /// For many submissions.
    pub(crate) resident: bool,
}

impl Program {
    pub(crate) fn new<'a>(
        agent: &Agent,
        dispatches: impl Iterator<Item = &'a Dispatch> + Clone,
        assembly: Assembly,
    ) -> Result<Self> {
        let mut image = Vec::new();
        let (mut bodies, mut firsts, mut kernels) = (Vec::new(), Vec::new(), Vec::new());
        let (mut blocks, mut barrier_bits, mut last_barrier) = (Vec::<Arc<Block>>::new(), 0, None);
        for (index, dispatch) in dispatches.enumerate() {
            if !dispatch.kernel().agent().is(agent) {
                return Err(Error::WrongAgent {
                    what: "the kernel",
                    made_for: dispatch.kernel().agent().to_string(),
                    used_on: agent.to_string(),
                });
            }
            let (mut fields, offset) = dispatch.prepare(&mut image)?;
            fields.kernarg_address = offset as u64;
            let barrier = dispatch.has_barrier() || (index > 0 && !assembly.concurrent);
            if barrier {
                barrier_bits += 1;
                last_barrier = Some(index);
            }
            let kind = PacketKind::KernelDispatch;
            let header = Header { kind, barrier, acquire: FenceScope::Agent, release: FenceScope::Agent };
            let mut packet = Packet::kernel_dispatch(header, &fields);
            firsts.push(packet.dwords()[0]);
            packet.invalidate();
            bodies.push(packet);
            kernels.push(KernelArgs { kernel: dispatch.kernel().clone(), offset });
            blocks.extend(dispatch.buffers().map(|buffer| buffer.block.clone()));
        }
        sort_out(&mut blocks);
        let mut resident = None;
        if assembly.resident && !image.is_empty() {
            let block = Block::host(agent, PoolKind::Kernarg, image.len())?;
            // SAFETY: the block is host memory of at least so many bytes, and nothing uses it yet.
            unsafe { std::ptr::copy_nonoverlapping(image.as_ptr(), block.address(), image.len()) };
            bodies.iter_mut().for_each(|packet| packet.shift_kernargs(block.address() as u64));
            resident = Some(block);
        }
        let in_flight = Arc::new(InFlight::default());
        if assembly.resident {
            blocks.iter().for_each(|block| block.add_group(&in_flight));
        }
        Ok(Self {
            agent: agent.clone(),
            bodies: bodies.into(),
            firsts: firsts.into(),
            kernels: kernels.into(),
            image: image.into(),
            resident,
            blocks: blocks.into(),
            counted: assembly.resident,
            in_flight,
            barrier_bits,
            last_barrier,
        })
    }

    /// No packets: only what `programs` use, code and buffers, for somebody who has their packets elsewhere.
    pub(crate) fn owner<'a>(agent: &Agent, programs: impl Iterator<Item = &'a Arc<Program>>) -> Self {
        let (mut blocks, mut kernels) = (Vec::new(), Vec::new());
        for program in programs {
            blocks.extend(program.blocks.iter().cloned());
            kernels.extend(
                program
                    .kernels
                    .iter()
                    .map(|args| KernelArgs { kernel: args.kernel.clone(), offset: args.offset }),
            );
        }
        sort_out(&mut blocks);
        let in_flight = Arc::new(InFlight::default());
        blocks.iter().for_each(|block| block.add_group(&in_flight));
        Self {
            agent: agent.clone(),
            bodies: Box::default(),
            firsts: Box::default(),
            kernels: kernels.into(),
            image: Box::default(),
            resident: None,
            blocks: blocks.into(),
            counted: true,
            in_flight,
            barrier_bits: 0,
            last_barrier: None,
        }
    }

    pub(crate) fn agent(&self) -> &Agent {
        &self.agent
    }

    /// The packets, for a frame.
    #[inline]
    pub(crate) fn packets(&self) -> Kernels<'_> {
        Kernels {
            bodies: &self.bodies,
            firsts: &self.firsts,
            barrier_bits: self.barrier_bits,
            last_barrier: self.last_barrier,
        }
    }

    /// Packets.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.bodies.len()
    }

    /// What to add to the kernarg addresses in the packets for a copy of the arguments at `address`.
    pub(crate) fn shift_to(&self, address: u64) -> u64 {
        address.wrapping_sub(self.resident.as_ref().map_or(0, |block| block.address() as u64))
    }

    /// Whether submissions can use the program's own copy of the arguments.
    #[inline]
    pub(crate) fn has_arguments_at_hand(&self) -> bool {
        self.resident.is_some() || self.image.is_empty()
    }

    /// Takes the buffers for one more submission, of this visibility, which is in flight until what this returns is dropped.
    #[inline]
    pub(crate) fn enter(self: &Arc<Self>, visibility: Visibility) -> Result<Entered> {
        if !self.counted || self.in_flight.enter() {
            std::mem::forget(self.clone());
        }
        let program = NonNull::new(Arc::as_ptr(self).cast_mut()).expect("an Arc's pointer");
        let mut entered = Entered { program, blocks: self.blocks.len() };
        for (index, block) in self.blocks.iter().enumerate() {
            let taken = if self.counted { block.check_free() } else { block.enter() };
            if let Err(error) = taken {
                entered.blocks = index;
                return Err(error);
            }
            if visibility != Visibility::System {
                block.note_unflushed();
            }
        }
        Ok(entered)
    }
}

/// Leaves each block once.
fn sort_out(blocks: &mut Vec<Arc<Block>>) {
    blocks.sort_by_key(Arc::as_ptr);
    blocks.dedup_by(|a, b| Arc::ptr_eq(a, b));
}

/// A submission of a program that is being made or in flight: keeps the program alive, and its buffers from the host.
///
/// All submissions of a counted program share one handle of it: the first takes it, the last one lets go. One that has just begun while another ends may
/// take a second one meanwhile; takers and leavers are as many.
pub(crate) struct Entered {
    program: NonNull<Program>,
    /// Of a program that is not counted: the blocks that know of this submission.
    blocks: usize,
}

const _: () = {
    const fn check<T: Send + Sync>() {}
    check::<Arc<Program>>();
};

// SAFETY: as an `Arc<Program>`, which is Send, as was just checked: only shared references are made of it.
unsafe impl Send for Entered {}
// SAFETY: as for Send.
unsafe impl Sync for Entered {}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the handle that `enter` took is there until it is given back below, by the last one at the earliest.
        let program = unsafe { self.program.as_ref() };
        let is_last = if program.counted {
            program.in_flight.leave()
        } else {
            program.blocks[..self.blocks].iter().for_each(|block| block.leave());
            true
        };
        if is_last {
            // SAFETY: the pointer is that of an `Arc` of which `enter` forgot a handle.
            drop(unsafe { Arc::from_raw(self.program.as_ptr()) });
        }
    }
}

/// Whether a buffer can be an argument on this GPU.
pub(crate) fn check_buffer(agent: &Agent, buffer: &BufferRef) -> Result<()> {
    if buffer.block.agent().is(agent) {
        return Ok(());
    }
    Err(Error::WrongAgent {
        what: "a buffer",
        made_for: buffer.block.agent().to_string(),
        used_on: agent.to_string(),
    })
}
