//! Changing the mask of a queue that exists: what a pool avoids, for comparison with those who do it before every kernel.

use std::time::Duration;

use hsa_sys::{HSA_STATUS_CU_MASK_REDUCED, HSA_STATUS_SUCCESS, hsa_status_t};

use crate::cu_mask::CuMask;
use crate::error::{Error, Result};
use crate::queue::Queue;

impl Queue {
    /// Waits until the queue is drained, for at most `timeout`, and gives it another CU mask: an ioctl for which the driver stops queues
    /// of the whole device (55 us at worst on an MI50). What other threads submit meanwhile runs under the old mask or the new one.
    ///
    /// # Errors
    /// [`Error::WrongAgent`] for another GPU's mask, [`Error::Timeout`] if the queue did not drain, [`Error::Failed`] if it is
    /// dead, [`Error::Hsa`] if ROCr or the driver refuses. The mask is unchanged then.
    pub fn remask(&self, mask: &CuMask, timeout: Duration) -> Result<()> {
        let agent = self.agent();
        let topology = agent.topology()?;
        if mask.topology() != topology {
            return Err(Error::WrongAgent {
                what: "the CU mask",
                made_for: mask.topology().to_string(),
                used_on: topology.to_string(),
            });
        }
        if let Some(failure) = self.failure() {
            return Err(failure.into());
        }
        self.drain(timeout)?;
        // Held over the call, so that our record is what the last call set.
        let mut record = self.state().parts().mask.lock().expect("no panic while it is held");
        let runtime = agent.runtime();
        let bits = mask.words().len() as u32 * 32;
        // SAFETY: the queue is alive as long as its owner, and there are as many mask words as the bit count says.
        let status =
            unsafe { (runtime.hsa().hsa_amd_queue_cu_set_mask)(self.as_raw(), bits, mask.words().as_ptr()) };
        // HSA_CU_MASK takes CUs away, which was allowed when the queue was made.
        if status != HSA_STATUS_SUCCESS && status != HSA_STATUS_CU_MASK_REDUCED as hsa_status_t {
            return runtime.check("hsa_amd_queue_cu_set_mask", status).map_err(|error| match error {
                Error::Hsa { call, status, text, .. } => {
                    Error::Hsa { call, status, text, context: format!(": {} on {agent}", self.label()) }
                }
                other => other,
            });
        }
        *record = Some(mask.clone());
        Ok(())
    }
}
