//! Holding the simulated device while the host's cost is measured.
//!
//! The simulator's command processor is a thread of this process. While it works, it polls doorbells and write indices that the host
//! writes, on a core that the host may need, which no GPU does. So in the timed part its compute queues are stalled and its
//! thread sleeps: the ring has room, and nothing of the work is complete. Hardware cannot be held; it keeps up.
//!
//! Something that waits for the GPU inside the timed part would wait for ever: a watchdog lets the device go on after a
//! second, and that sample is not counted.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use kfd_sim::control::{self, Device};

/// How long the timed part may take.
const LIMIT: Duration = Duration::from_secs(1);
/// Until the command processor's thread, which looks ever less often, sleeps for a millisecond at a time.
const SETTLE: Duration = Duration::from_millis(2);

/// The device, to be held.
pub struct Hold {
    device: Option<Arc<Device>>,
    queues: Vec<u32>,
}

impl Hold {
    /// The simulated device, if that is what is used; on hardware nothing is ever held.
    pub fn new(simulated: bool) -> Result<Self> {
        let device = simulated
            .then(control::device)
            .transpose()
            .map_err(|errno| anyhow!("no control of the simulated GPU: {errno:?}"))?;
        Ok(Self { device, queues: Vec::new() })
    }

    /// Whether the device is held in the timed part.
    pub fn is_possible(&self) -> bool {
        self.device.is_some()
    }

    /// Looks up the compute queues that exist by now. To be called when contenders have made theirs.
    fn find_queues(&mut self) {
        let Some(device) = &self.device else { return };
        // The simulator numbers queues from 1 and shows compute queues on micro engine 1.
        let compute = |id: &u32| device.processor().hardware_queue(*id).is_some_and(|place| place.me == 1);
        self.queues = (1..=256).filter(compute).collect();
    }

    /// Stalls every compute queue, and waits until the command processor is quiet.
    pub fn begin(&mut self) -> Result<Held> {
        self.find_queues();
        let Some(device) = self.device.clone() else { return Ok(Held::nothing()) };
        for &queue in &self.queues {
            device.processor().stall_queue(queue)?;
        }
        let (sender, receiver) = sync_channel::<()>(1);
        let queues = self.queues.clone();
        let watchdog = std::thread::Builder::new().name("let-go".into()).spawn(move || {
            let in_time = !matches!(receiver.recv_timeout(LIMIT), Err(RecvTimeoutError::Timeout));
            for &queue in &queues {
                device.processor().resume_queue(queue)?;
            }
            Ok(in_time)
        })?;
        // Busy, so that this core is as awake as a program's that submits.
        let begin = Instant::now();
        while begin.elapsed() < SETTLE {
            std::hint::spin_loop();
        }
        Ok(Held { watchdog: Some((sender, watchdog)) })
    }
}

/// A device that is held, until [`Held::end`] or the limit.
pub struct Held {
    watchdog: Option<(SyncSender<()>, JoinHandle<Result<bool>>)>,
}

impl Held {
    /// A device that goes on.
    pub fn nothing() -> Self {
        Self { watchdog: None }
    }

    /// Lets the device go on. False if it went on by itself, because the limit was over.
    pub fn end(self) -> Result<bool> {
        let Some((sender, watchdog)) = self.watchdog else { return Ok(true) };
        // It fails only if the watchdog has ended, which its result tells.
        let _ = sender.send(());
        watchdog.join().unwrap_or_else(|_| Err(anyhow!("the watchdog panicked")))
    }
}
