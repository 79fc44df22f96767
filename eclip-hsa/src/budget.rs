//! How many queues a GPU still has: more than the hardware runs at once are time-sliced by the driver, and everything
//! becomes slow in ways that nobody can predict.

use crate::agent::{Agent, RUNTIME_QUEUES};
use crate::error::{Error, Result};

/// The compute queues of one GPU and who has them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueBudget {
    /// Queues that the hardware runs at once (`num_cp_queues`), if the driver says.
    pub hardware: Option<u32>,
    /// In use by other processes, as far as the driver lists them.
    pub others: u32,
    /// In use, or soon to be, by ROCr in this process: see [`RUNTIME_QUEUES`].
    pub runtime: u32,
    /// In use by this crate in this process.
    pub ours: u32,
}

impl QueueBudget {
    /// The budget as it is now.
    pub fn of(agent: &Agent) -> Self {
        Self {
            hardware: agent.hardware_queues(),
            others: agent.queues_in_use().map_or(0, |(_, others)| others),
            runtime: RUNTIME_QUEUES,
            ours: agent.runtime().open_queues(agent.handle()),
        }
    }

    /// Queues that this crate may have, those that it has included; `None` if the driver does not say.
    pub fn budget(&self) -> Option<u32> {
        Some(self.hardware?.saturating_sub(self.others).saturating_sub(self.runtime))
    }

    /// Whether `more` queues fit.
    ///
    /// # Errors
    /// [`Error::QueueBudget`] if not.
    pub fn check(&self, more: u32) -> Result<()> {
        let asked = self.ours.saturating_add(more);
        match (self.budget(), self.hardware) {
            (Some(budget), Some(hardware)) if asked > budget => Err(Error::QueueBudget {
                asked,
                budget,
                hardware,
                others: self.others,
                runtime: self.runtime,
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_and_other_programs_come_off_first() {
        let budget = QueueBudget { hardware: Some(24), others: 3, runtime: 2, ours: 8 };
        assert_eq!(budget.budget(), Some(19));
        assert!(budget.check(11).is_ok());
        let error = budget.check(12).unwrap_err().to_string();
        assert!(error.contains("20 queues") && error.contains("19 of the GPU's 24"), "{error}");
    }

    #[test]
    fn an_unknown_budget_refuses_nothing() {
        assert!(QueueBudget { hardware: None, others: 0, runtime: 2, ours: 500 }.check(500).is_ok());
    }
}
