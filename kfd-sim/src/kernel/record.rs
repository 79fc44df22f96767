//! What tests and people may ask of the kernel interface: a log of its calls, and calls made to fail.
//!
//! Any thread. The logs keep the latest entries and count what they dropped. `KFD_SIM_LOG=1` also writes each entry to
//! standard error; `KFD_SIM_FAIL="SET_CU_MASK=EINVAL:once"` makes calls fail in a program that cannot be changed.

use super::Node;
use super::uapi::{Answer, Errno, Request, kfd_name, kfd_nr};
use crate::journal::{Event, Journal};
use crate::plan::{Fault, FaultPlan, Followed, PlanError};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Entries that a log keeps.
const KEPT: usize = 16 << 10;

/// In [`Failure::nr`], opening `/dev/kfd` (`OPEN` in `KFD_SIM_FAIL`). KFD has no ioctl of this number.
pub const OPEN: u32 = 0;

/// When an injected failure strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// The next call only.
    Once,
    /// Only the n-th call from now, counted from 1.
    Nth(u64),
    /// Every call.
    Always,
}

/// An ioctl made to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// KFD ioctl number, for example 0x1a for SET_CU_MASK; or [`OPEN`].
    pub nr: u32,
    /// What it answers.
    pub errno: i32,
    /// When.
    pub when: When,
}

impl Failure {
    /// Reads `NAME=ERRNO[:once|:always|:N]`, for example `SET_CU_MASK=EINVAL:once`. NAME may be a number, too.
    pub fn parse(text: &str) -> Result<Self, String> {
        let usage = "expected NAME=ERRNO[:once|:always|:N], such as SET_CU_MASK=EINVAL:once";
        let (name, rest) = text.trim().split_once('=').ok_or_else(|| format!("{text:?}: {usage}"))?;
        let (errno, when) = rest.split_once(':').unwrap_or((rest, "always"));
        let number = |text: &str| match text.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => text.parse().ok(),
        };
        let nr = (name == "OPEN")
            .then_some(OPEN)
            .or_else(|| kfd_nr(name))
            .or_else(|| number(name))
            .ok_or_else(|| format!("{name:?} is no KFD ioctl; {usage}"))?;
        let errno = (ERRNOS.iter().find(|(n, _)| *n == errno).map(|(_, value)| *value))
            .or_else(|| number(errno).map(|n| n as i32))
            .ok_or_else(|| format!("{errno:?} is no errno known here; {usage}"))?;
        let when = match when {
            "once" => When::Once,
            "always" => When::Always,
            n => When::Nth(n.parse().ok().filter(|n| *n > 0).ok_or_else(|| format!("{n:?}: {usage}"))?),
        };
        Ok(Self { nr, errno, when })
    }
}

/// An errno by its name in `<errno.h>`, or as a number.
pub(crate) fn errno_by_name(name: &str) -> Option<i32> {
    ERRNOS
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, value)| *value)
        .or_else(|| name.parse().ok().filter(|n| *n > 0))
}

const ERRNOS: &[(&str, i32)] = &[
    ("EPERM", libc::EPERM),
    ("EINTR", libc::EINTR),
    ("EIO", libc::EIO),
    ("EBADF", libc::EBADF),
    ("EAGAIN", libc::EAGAIN),
    ("ENOMEM", libc::ENOMEM),
    ("EACCES", libc::EACCES),
    ("EFAULT", libc::EFAULT),
    ("EBUSY", libc::EBUSY),
    ("ENODEV", libc::ENODEV),
    ("EINVAL", libc::EINVAL),
    ("ENOSPC", libc::ENOSPC),
    ("ENOTTY", libc::ENOTTY),
    ("ETIME", libc::ETIME),
];

/// One ioctl that was answered.
#[derive(Clone, Debug)]
pub struct IoctlRecord {
    /// Time since the device was made.
    pub at: Duration,
    /// Device file.
    pub node: Node,
    /// Number.
    pub nr: u32,
    /// Header's name, for KFD.
    pub name: &'static str,
    /// 0, or the errno.
    pub errno: i32,
}

/// One CU mask that was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskRecord {
    /// Time since the device was made.
    pub at: Duration,
    /// Queue.
    pub queue_id: u32,
    /// Bits, in KFD's order, 32 to a word.
    pub mask: Vec<u32>,
}

#[derive(Debug, Default)]
struct State {
    failures: Vec<(Failure, u64)>,
    ioctls: VecDeque<IoctlRecord>,
    ioctls_dropped: u64,
    masks: VecDeque<MaskRecord>,
    plan: Followed,
}

/// Logs and failures of one device.
#[derive(Debug)]
pub struct Recorder {
    made: Instant,
    verbose: bool,
    journal: OnceLock<Arc<Journal>>,
    state: Mutex<State>,
}

impl Default for Recorder {
    fn default() -> Self {
        Self { made: Instant::now(), verbose: false, journal: OnceLock::new(), state: Mutex::default() }
    }
}

impl Recorder {
    /// Reads `KFD_SIM_LOG` and `KFD_SIM_FAIL` (entries separated by commas). A bad entry is reported and left out.
    pub fn from_env() -> Self {
        let verbose = std::env::var_os("KFD_SIM_LOG").is_some_and(|v| !v.is_empty() && v != "0");
        let recorder = Self { verbose, ..Self::default() };
        if let Ok(list) = std::env::var("KFD_SIM_FAIL") {
            for entry in list.split(',').filter(|e| !e.trim().is_empty()) {
                match Failure::parse(entry) {
                    Ok(failure) => recorder.fail(failure),
                    Err(why) => eprintln!("kfd-sim: KFD_SIM_FAIL: {why}"),
                }
            }
        }
        recorder
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a KFD ioctl fail from now on.
    pub fn fail(&self, failure: Failure) {
        self.lock().failures.push((failure, 0));
    }

    /// Follows a fault plan from now on, instead of an earlier one. Its ioctls are those of KFD. An empty plan ends it.
    pub fn follow(&self, plan: FaultPlan) -> Result<(), PlanError> {
        plan.check()?;
        self.lock().plan = Followed::new(plan);
        Ok(())
    }

    pub(super) fn planned(&self, queue: u32, kernel: Option<&str>) -> Option<Fault> {
        self.lock().plan.dispatch(queue, kernel)
    }

    /// Where ioctls are written down, too.
    pub(super) fn tell(&self, journal: Arc<Journal>) {
        // Set once, when the device is made.
        let _ = self.journal.set(journal);
    }

    fn journal(&self) -> Option<&Journal> {
        self.journal.get().map(|journal| &**journal).filter(|journal| journal.listens())
    }

    /// Forgets every injected failure.
    pub fn clear_failures(&self) {
        self.lock().failures.clear();
    }

    pub(super) fn injected(&self, node: Node, nr: u32) -> Option<Errno> {
        if node != Node::Kfd {
            return None;
        }
        let mut state = self.lock();
        let mut strikes = None;
        for (failure, seen) in state.failures.iter_mut().filter(|(f, _)| f.nr == nr) {
            *seen += 1;
            let due = match failure.when {
                When::Once => *seen == 1,
                When::Nth(n) => *seen == n,
                When::Always => true,
            };
            if due && strikes.is_none() {
                strikes = Some(Errno(failure.errno));
            }
        }
        strikes.or_else(|| state.plan.ioctl(nr).map(Errno))
    }

    pub(super) fn log_ioctl(&self, node: Node, request: Request, answer: Answer) {
        let name = if node == Node::Kfd { kfd_name(request.nr) } else { "DRM" };
        let errno = answer.err().map_or(0, |e| e.0);
        self.note(|| {
            format!("{node:?} ioctl {:#04x} {name} ({} bytes): errno {errno}", request.nr, request.size)
        });
        if let Some(journal) = self.journal() {
            let (node, nr) = (if node == Node::Kfd { "kfd" } else { "render" }, request.nr);
            journal.add(Event::Ioctl { node, nr, name, errno });
        }
        let record = IoctlRecord { at: self.made.elapsed(), node, nr: request.nr, name, errno };
        let mut state = self.lock();
        if state.ioctls.len() == KEPT {
            state.ioctls.pop_front();
            state.ioctls_dropped += 1;
        }
        state.ioctls.push_back(record);
    }

    pub(super) fn log_mask(&self, queue_id: u32, mask: Vec<u32>) {
        self.note(|| format!("queue {queue_id}: CU mask {mask:08x?}"));
        if let Some(journal) = self.journal() {
            journal.add(Event::CuMask { queue: queue_id, mask: mask.clone() });
        }
        let record = MaskRecord { at: self.made.elapsed(), queue_id, mask };
        let mut state = self.lock();
        if state.masks.len() == KEPT {
            state.masks.pop_front();
        }
        state.masks.push_back(record);
    }

    /// Writes a line to standard error if `KFD_SIM_LOG` asks for it.
    pub fn note(&self, line: impl FnOnce() -> String) {
        if self.verbose {
            eprintln!("kfd-sim: {}", line());
        }
    }

    /// The latest ioctls, oldest first, and how many older ones were dropped.
    pub fn ioctls(&self) -> (Vec<IoctlRecord>, u64) {
        let state = self.lock();
        (state.ioctls.iter().cloned().collect(), state.ioctls_dropped)
    }

    /// The CU masks that were set, oldest first.
    pub fn masks(&self) -> Vec<MaskRecord> {
        self.lock().masks.iter().cloned().collect()
    }

    /// Empties both logs.
    pub fn clear_logs(&self) {
        let mut state = self.lock();
        state.ioctls.clear();
        state.ioctls_dropped = 0;
        state.masks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_read_from_text() {
        let of = |text| Failure::parse(text).unwrap();
        assert_eq!(
            of("SET_CU_MASK=EINVAL:once"),
            Failure { nr: 0x1a, errno: libc::EINVAL, when: When::Once }
        );
        assert_eq!(of(" 0x02=ENOMEM:3"), Failure { nr: 2, errno: libc::ENOMEM, when: When::Nth(3) });
        assert_eq!(of("CREATE_EVENT=5").when, When::Always);
        for bad in
            ["", "SET_CU_MASK", "NOPE=EINVAL", "SET_EVENT=EWHAT", "SET_EVENT=EIO:0", "SET_EVENT=EIO:later"]
        {
            assert!(Failure::parse(bad).unwrap_err().contains("expected NAME=ERRNO"), "{bad}");
        }
    }

    #[test]
    fn once_nth_and_always_strike_when_they_say() {
        let recorder = Recorder::default();
        let strikes = |nr| (0..4).map(|_| recorder.injected(Node::Kfd, nr).is_some()).collect::<Vec<_>>();
        recorder.fail(Failure { nr: 1, errno: libc::EIO, when: When::Once });
        recorder.fail(Failure { nr: 2, errno: libc::EIO, when: When::Nth(3) });
        recorder.fail(Failure { nr: 3, errno: libc::EIO, when: When::Always });
        assert_eq!(strikes(1), [true, false, false, false]);
        assert_eq!(strikes(2), [false, false, true, false]);
        assert_eq!(strikes(3), [true; 4]);
        assert_eq!(recorder.injected(Node::Render, 3), None);
        recorder.clear_failures();
        assert_eq!(strikes(3), [false; 4]);
    }
}
