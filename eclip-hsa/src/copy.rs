//! Copies between host memory and a GPU's own memory.
//!
//! They go through a block of host memory that ROCr knows: it would pin the caller's memory for the copy, and the kernel
//! refuses to pin pages that are read-only (a `static` table, a mapped file of weights). The copy is asynchronous and
//! waited for here, so that a GPU that was lost meanwhile ends the wait. Any thread.

use crate::agent::Agent;
use crate::agent_info::PoolKind;
use crate::block::Block;
use crate::error::Result;
use crate::signal::{LOOK_EVERY, Signal};

/// Largest block that is copied at once.
const STAGING_BYTES: usize = 4 << 20;

/// Which way.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    ToDevice,
    FromDevice,
}

/// Copies between `host` and the block's bytes from `start` on.
///
/// # Safety
/// `host` must be valid for `bytes` bytes, for writes if that is the direction, and `start + bytes` must lie in the block;
/// nothing else may use either range meanwhile.
pub(crate) unsafe fn transfer(
    block: &Block,
    direction: Direction,
    start: usize,
    host: *mut u8,
    bytes: usize,
) -> Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    let place = block.address().wrapping_add(start);
    match direction {
        // SAFETY: the caller's promise; host-visible memory is ordinary memory to the host.
        Direction::ToDevice if block.is_host_visible() => unsafe {
            place.copy_from_nonoverlapping(host, bytes)
        },
        // SAFETY: as above.
        Direction::FromDevice if block.is_host_visible() => unsafe {
            host.copy_from_nonoverlapping(place, bytes)
        },
        _ => {
            block.agent().check_alive()?;
            // SAFETY: the caller's promise; memory that the host does not see is the agent's own.
            return unsafe { copy(block.agent(), direction, place, host, bytes) };
        }
    }
    Ok(())
}

/// Copies `bytes` bytes between `host` and `device`.
///
/// # Safety
/// Both must be valid for `bytes` bytes, the target for writes; `device` must be memory of `agent`, and nothing else may use
/// either range meanwhile.
unsafe fn copy(
    agent: &Agent,
    direction: Direction,
    device: *mut u8,
    host: *mut u8,
    bytes: usize,
) -> Result<()> {
    let staging = Block::host(agent, PoolKind::FineGrained, bytes.min(STAGING_BYTES))?;
    let signal = Signal::new(agent)?;
    let (runtime, gpu, cpu) = (agent.runtime(), agent.handle(), staging.owner());
    for start in (0..bytes).step_by(STAGING_BYTES) {
        let length = STAGING_BYTES.min(bytes - start);
        let (there, here) = (device.wrapping_add(start), host.wrapping_add(start));
        signal.arm(1);
        let (to, to_agent, from, from_agent) = match direction {
            Direction::ToDevice => {
                // SAFETY: the caller's range, and a block of at least `length` bytes that only this call uses.
                unsafe { std::ptr::copy_nonoverlapping(here, staging.address(), length) };
                (there, gpu, staging.address(), cpu)
            }
            Direction::FromDevice => (staging.address(), cpu, there, gpu),
        };
        // SAFETY: both ranges are alive until the signal says that the copy is over, or for ever if it never says so.
        let status = unsafe {
            (runtime.hsa().hsa_amd_memory_async_copy)(
                to.cast(),
                to_agent,
                from.cast(),
                from_agent,
                length,
                0,
                std::ptr::null(),
                hsa_sys::hsa_signal_t { handle: signal.handle() },
            )
        };
        runtime.check("hsa_amd_memory_async_copy", status)?;
        while !signal.wait(LOOK_EVERY) {
            if let Some(failure) = agent.failure() {
                // The copy may still be going on: what it uses is never given back.
                std::mem::forget((staging, signal));
                return Err(failure.into());
            }
        }
        if matches!(direction, Direction::FromDevice) {
            // SAFETY: as above, in the other direction; the wait made the copied bytes visible.
            unsafe { std::ptr::copy_nonoverlapping(staging.address(), here, length) };
        }
    }
    Ok(())
}
