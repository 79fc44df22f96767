//! Who may wait for submitted work: what its completion signal and its release fence are made for.

/// Who may wait for submitted work and read what it wrote.
///
/// What a later waiter will need is unknown when work is submitted, so the submission says it. Less reach is cheaper: no signal,
/// or one without a driver event, and a release fence that does not write back the GPU's L2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visibility {
    /// Only its own queue: no signal. Later work on the same queue can be ordered after it.
    Queue,
    /// The queues of its GPU. The host cannot wait for it.
    Agent,
    /// Every queue of every GPU, and the host.
    #[default]
    System,
}
