//! What the device did, as structured events: kept in memory, and written to a file as JSON lines if one is named.
//!
//! Ioctls, CU masks and packets are taken up only while the journal listens: when a file is named, or after [`Journal::listen`]. The rest is
//! rare and always taken up. Each entry has the host's time since the device was made and the GPU's time, both ns, and an `event` that says what it is; the other
//! fields are those of [`Event`]. Any thread; one mutex, held while a line is written.

use crate::caches::Race;
use crate::cp::{DispatchRecord, GpuClock, HardwareQueue};
use crate::plan::Fault;
use serde::Serialize;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Entries kept; older ones are dropped and counted.
const KEPT: usize = 65_536;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An ioctl was answered.
    Ioctl {
        /// `kfd` or `render`.
        node: &'static str,
        /// Number.
        nr: u32,
        /// The header's name, for KFD.
        name: &'static str,
        /// 0, or the errno.
        errno: i32,
    },
    /// A CU mask was set.
    CuMask {
        /// Queue id.
        queue: u32,
        /// Bits, in KFD's order, 32 to a word.
        mask: Vec<u32>,
    },
    /// A queue was made.
    QueueCreated {
        /// Queue id.
        queue: u32,
        /// Where it sits; queues beyond the hardware's number share a place and take turns.
        hardware: HardwareQueue,
        /// KFD priority, 0 to 15.
        priority: u32,
    },
    /// A queue was destroyed.
    QueueDestroyed {
        /// Queue id.
        queue: u32,
    },
    /// A queue stopped for good.
    QueueStopped {
        /// Queue id.
        queue: u32,
        /// Why.
        why: String,
    },
    /// A memory fault was raised.
    MemoryFault {
        /// Queue id.
        queue: u32,
        /// Faulting address.
        address: u64,
        /// What was attempted, and why it failed.
        what: String,
    },
    /// An AQL packet completed.
    Packet(DispatchRecord),
    /// Two dispatches touched the same bytes without order between them.
    Race(Race),
    /// A fault plan struck a dispatch.
    Injected {
        /// Queue id.
        queue: u32,
        /// Index of the packet in its queue.
        index: u64,
        /// What was done to it.
        fault: Fault,
    },
}

/// An event and when it happened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Host time since the device was made, ns.
    pub host_ns: u64,
    /// GPU time, ns (simulated).
    pub gpu_ns: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

#[derive(Debug, Default)]
struct State {
    kept: VecDeque<Entry>,
    dropped: u64,
    file: Option<BufWriter<File>>,
}

/// See the module's description.
#[derive(Debug)]
pub struct Journal {
    made: Instant,
    clock: Arc<GpuClock>,
    listens: AtomicBool,
    state: Mutex<State>,
}

impl Journal {
    /// Nothing has happened yet. A file that cannot be opened is reported and left out.
    pub fn new(clock: Arc<GpuClock>, file: Option<&Path>) -> Self {
        let open = |path: &Path| {
            File::options()
                .create(true)
                .append(true)
                .open(path)
                .inspect_err(|why| {
                    eprintln!("kfd-sim: KFD_SIM_EVENTS: cannot write {}: {why}", path.display())
                })
                .ok()
        };
        let file = file.and_then(open).map(BufWriter::new);
        let listens = AtomicBool::new(file.is_some());
        let state = Mutex::new(State { file, ..State::default() });
        Self { made: Instant::now(), clock, listens, state }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something happened now.
    pub fn add(&self, event: Event) {
        let entry =
            Entry { host_ns: self.made.elapsed().as_nanos() as u64, gpu_ns: self.clock.now_ns(), event };
        let mut state = self.lock();
        if let Some(file) = &mut state.file {
            let line = serde_json::to_string(&entry).unwrap_or_else(|why| format!("{{\"error\":\"{why}\"}}"));
            // A line at a time: whoever follows the file sees it, and a crash loses nothing.
            if let Err(why) = writeln!(file, "{line}").and_then(|()| file.flush()) {
                eprintln!("kfd-sim: KFD_SIM_EVENTS: {why}; no more events are written");
                state.file = None;
            }
        }
        if state.kept.len() == KEPT {
            state.kept.pop_front();
            state.dropped += 1;
        }
        state.kept.push_back(entry);
    }

    /// The latest entries, oldest first, and how many older ones were dropped.
    pub fn entries(&self) -> (Vec<Entry>, u64) {
        let state = self.lock();
        (state.kept.iter().cloned().collect(), state.dropped)
    }

    /// Forgets what was kept. The file stays as it is.
    pub fn clear(&self) {
        let mut state = self.lock();
        state.kept.clear();
        state.dropped = 0;
    }

    /// Takes up ioctls, CU masks and packets from now on, or no more.
    pub fn listen(&self, on: bool) {
        // Relaxed: what happens at the same time may go either way.
        self.listens.store(on, Ordering::Relaxed);
    }

    /// Whether ioctls, CU masks and packets are taken up.
    pub fn listens(&self) -> bool {
        // Relaxed: as above.
        self.listens.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_kept_and_written_as_lines_of_json() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events");
        let journal = Journal::new(Arc::new(GpuClock::new(25_000_000)), Some(&path));
        journal.add(Event::CuMask { queue: 3, mask: vec![0xff] });
        journal.add(Event::Ioctl { node: "kfd", nr: 0x1a, name: "SET_CU_MASK", errno: 22 });
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        assert_eq!(
            (lines.len(), &lines[0]["event"], &lines[0]["mask"][0]),
            (2, &"cu_mask".into(), &255.into())
        );
        assert_eq!((&lines[1]["name"], &lines[1]["errno"]), (&"SET_CU_MASK".into(), &22.into()));
        assert!(lines[1]["host_ns"].as_u64() >= lines[0]["host_ns"].as_u64());
        assert_eq!(journal.entries().0.len(), 2);
        journal.clear();
        assert!(journal.entries().0.is_empty());
        assert!(
            Journal::new(Arc::new(GpuClock::new(1)), Some(Path::new("/nonexistent/x"))).lock().file.is_none()
        );
    }
}
