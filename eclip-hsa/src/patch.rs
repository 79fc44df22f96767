//! Arguments replaced for one submission. Plain data: any thread may make them, and any number of submissions may use the same ones. A patch
//! with a buffer keeps it alive.

use crate::agent::Agent;
use crate::dispatch::Arg;
use crate::error::{Error, Result};
use crate::kernarg;
use crate::program::{KernelArgs, check_buffer};

/// Replaces one argument of one kernel of a group, for one submission.
#[derive(Clone, Debug)]
pub struct Patch {
    kernel: usize,
    arg: usize,
    value: Arg,
}

impl Patch {
    /// Argument `arg` of the group's kernel `kernel`, both counted from 0. It must be of the kind and size that the kernel takes; LDS
    /// sizes cannot be replaced, because they are in the packet.
    pub fn new(kernel: usize, arg: usize, value: impl Into<Arg>) -> Self {
        Self { kernel, arg, value: value.into() }
    }

    pub(crate) fn kernel(&self) -> usize {
        self.kernel
    }

    pub(crate) fn value(&self) -> &Arg {
        &self.value
    }

    /// Writes the argument into a copy of the program's arguments.
    #[inline]
    pub(crate) fn apply(&self, agent: &Agent, kernels: &[KernelArgs], image: &mut [u8]) -> Result<()> {
        let kernel = kernels.get(self.kernel).ok_or_else(|| {
            Error::Invalid(format!(
                "a patch of kernel {}, but there are {} (counted from 0)",
                self.kernel,
                kernels.len()
            ))
        })?;
        let layout = kernel.kernel.layout();
        let out = &mut image[kernel.offset..kernel.offset + layout.size()];
        let given = match &self.value {
            Arg::Buffer(buffer) => {
                check_buffer(agent, buffer)?;
                kernarg::Arg::Buffer(buffer.address())
            }
            Arg::Value(value) => kernarg::Arg::Value(value.as_slice()),
            Arg::Foreign(foreign) => kernarg::Arg::Buffer(foreign.address()),
            Arg::Lds(_) => {
                return Err(Error::Invalid(format!(
                    "a patch of argument {} of kernel {}: an LDS size is part of the packet and cannot be replaced; build another group",
                    self.arg,
                    layout.kernel()
                )));
            }
        };
        Ok(layout.patch(self.arg, given, out)?)
    }
}
