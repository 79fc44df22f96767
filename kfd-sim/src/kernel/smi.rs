//! System management events: what SMI_EVENTS (KFD 1.3) hands out.
//!
//! The caller gets a descriptor. It writes a 64-bit mask of the events that it wants, eight bytes, and reads lines of text: the event's number
//! in hexadecimal, a space, and what belongs to it. Here that is one end of a socket pair; the device keeps the other. Of the events only memory
//! faults occur (number 1, `pid:name`). Any thread.

use super::uapi::Errno;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{IntoRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

/// `KFD_SMI_EVENT_VMFAULT`.
const MEMORY_FAULT: u32 = 1;
/// Most descriptors that one process may have open.
const MOST: usize = 64;

#[derive(Debug)]
struct Listener {
    end: UnixStream,
    mask: u64,
}

/// Everyone who listens.
#[derive(Debug, Default)]
pub struct Listeners {
    all: Mutex<Vec<Listener>>,
}

impl Listeners {
    /// A new descriptor for the caller. EMFILE when there are too many, and what the host refuses.
    pub fn open(&self) -> Result<RawFd, Errno> {
        let errno = |why: std::io::Error| Errno(why.raw_os_error().unwrap_or(libc::EIO));
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain_mut(Listener::refresh);
        if all.len() >= MOST {
            return Err(Errno(libc::EMFILE));
        }
        let (end, theirs) = UnixStream::pair().map_err(errno)?;
        end.set_nonblocking(true).map_err(errno)?;
        all.push(Listener { end, mask: 0 });
        Ok(OwnedFd::from(theirs).into_raw_fd())
    }

    /// A memory fault happened.
    pub fn memory_fault(&self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain_mut(|listener| {
            if !listener.refresh() {
                return false;
            }
            if listener.mask >> (MEMORY_FAULT - 1) & 1 != 0 {
                let line = format!("{MEMORY_FAULT:x} {:x}:kfd-sim\n", std::process::id());
                // Nobody reads and the buffer is full: the event is lost, as in the driver.
                let _ = listener.end.write(line.as_bytes());
            }
            true
        });
    }
}

impl Listener {
    /// Takes over the newest mask; false if the caller has closed its end.
    fn refresh(&mut self) -> bool {
        let mut mask = [0; 8];
        loop {
            match self.end.read(&mut mask) {
                Ok(0) => return false,
                Ok(8) => self.mask = u64::from_ne_bytes(mask),
                Ok(_) => {}
                Err(why) => {
                    return why.kind() == ErrorKind::WouldBlock || why.kind() == ErrorKind::Interrupted;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::fd::FromRawFd;

    #[test]
    fn faults_reach_those_who_asked_and_closed_ends_are_forgotten() {
        let listeners = Listeners::default();
        // SAFETY: new descriptors that nobody else owns.
        let [mut asked, silent] = [(); 2].map(|()| unsafe { File::from_raw_fd(listeners.open().unwrap()) });
        asked.write_all(&1u64.to_ne_bytes()).unwrap();
        listeners.memory_fault();
        let mut line = [0; 64];
        let read = asked.read(&mut line).unwrap();
        assert_eq!(&line[..read], format!("1 {:x}:kfd-sim\n", std::process::id()).as_bytes());
        drop(silent);
        listeners.memory_fault();
        assert_eq!(listeners.all.lock().unwrap().len(), 1);
        drop(asked);
        let fds: Vec<_> = (0..MOST).map(|_| listeners.open().unwrap()).collect();
        assert_eq!(listeners.open(), Err(Errno(libc::EMFILE)));
        // SAFETY: as above.
        fds.into_iter().for_each(|fd| drop(unsafe { File::from_raw_fd(fd) }));
        assert!(listeners.open().is_ok());
    }
}
