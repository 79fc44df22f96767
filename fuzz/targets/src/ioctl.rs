//! A hostile client of the simulated driver.
//!
//! The input is a program: calls of ioctls on either device file, with any number, size and argument, and words for the client's memory, where
//! the device finds rings, indices, packets, kernels and pointer lists. Pointers are chosen so that they reach something: nowhere, the
//! null page, the client's memory, its end, the end of the address space. Every call must be answered, and the device must shut down.
//!
//! | first byte | does |
//! |---|---|
//! | 0 to 0xdf | ioctl of that number on the KFD file; then its size in words, then the words, each a choice and what belongs to it |
//! | 0xe0 to 0xef | ioctl on the render node, number from the next byte |
//! | 0xf0 to 0xff | a word into the client's memory: 16 bits of place, then as in an argument |

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use kfd_sim::device::DeviceSpec;
use kfd_sim::kernel::uapi::Request;
use kfd_sim::kernel::{Device, GPU_ID, Node};
use kfd_sim::settings::{Settings, set_quiet};

/// Bytes of the client's memory.
const BYTES: usize = 64 << 10;
const PAGE: u64 = 4096;
/// GPU address at which programs like to map it.
const VA: u64 = 0x10_0000;
/// Words of the largest argument.
const MOST_WORDS: usize = 24;
const ACQUIRE_VM: u8 = 0x15;
const WAIT_EVENTS: u8 = 0x0c;
/// Its descriptor belongs to the caller, who cannot close it here.
const SMI_EVENTS: u8 = 0x1f;
/// Bytes behind the client's memory that belong to nobody: more than any answer has that begins inside.
const BEHIND: usize = 17 << 20;

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self, bytes: usize) -> Option<u64> {
        (0..bytes).try_fold(0, |value, n| Some(value | u64::from(self.byte()?) << (8 * n)))
    }
}

/// What the client knows.
struct Client {
    /// Address of its memory, page-aligned.
    memory: u64,
    handle: u64,
    event: u64,
    queue: u64,
}

impl Client {
    /// A word: a choice, and what belongs to it.
    fn word(&self, input: &mut Input) -> Option<u64> {
        Some(match input.byte()? % 16 {
            0 => 0,
            1 => input.number(1)?,
            2 => input.number(4)?,
            3 => input.number(8)?,
            4 => self.memory + input.number(2)?,
            5 => self.memory + (input.number(1)? % 16) * PAGE,
            6 => VA + input.number(2)?,
            7 => VA + (input.number(1)? % 16) * PAGE,
            8 => self.handle,
            9 => u64::from(GPU_ID),
            10 => u64::from(GPU_ID) << 32 | input.number(1)?,
            11 => input.number(1)? | u64::from(GPU_ID) << 32,
            12 => self.event | input.number(1)? << 32,
            13 => self.queue | input.number(1)? << 32,
            14 => 1 << (input.byte()? % 64),
            _ => u64::MAX - input.number(1)?,
        })
    }

    fn learn(&mut self, nr: u8, words: &[u64]) {
        let word = |at: usize| words.get(at).copied();
        match nr {
            0x02 => self.queue = word(6).map_or(self.queue, |w| w >> 32),
            0x08 => self.event = word(3).map_or(self.event, |w| w & 0xffff_ffff),
            0x16 => self.handle = word(2).unwrap_or(self.handle),
            _ => {}
        }
    }
}

/// The client's memory: one for all inputs, because devices keep no pointers into it once they are gone.
fn memory() -> &'static Mutex<Vec<AtomicU64>> {
    static MEMORY: OnceLock<Mutex<Vec<AtomicU64>>> = OnceLock::new();
    MEMORY.get_or_init(|| Mutex::new((0..(BYTES + BEHIND) / 8).map(|_| AtomicU64::new(0)).collect()))
}

fn call(device: &Device, node: Node, nr: u8, words: &mut [u64]) -> bool {
    let letter = if node == Node::Kfd { b'K' } else { b'd' };
    let word = Request::word(letter, nr.into(), size_of_val(words));
    device.ioctl(node, word, words.as_mut_ptr() as u64).is_ok()
}

/// See the module's description.
pub fn ioctl(data: &[u8]) {
    run(data, |_| {});
}

fn run(data: &[u8], look: impl Fn(&Device)) {
    set_quiet(true);
    let memory = memory().lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    // Relaxed: no device uses it now.
    memory[..(BYTES + 2 * PAGE as usize) / 8].iter().for_each(|word| word.store(0, Ordering::Relaxed));
    let device: Arc<Device> =
        Device::with_settings(DeviceSpec::mi50(), Settings::default()).expect("the host has address space");
    let drm = device.file(Node::Render).expect("the host has descriptors");
    let mut acquire = [drm.as_raw_fd() as u64 | u64::from(GPU_ID) << 32];
    assert!(call(&device, Node::Kfd, ACQUIRE_VM, &mut acquire), "the first step of any client");
    drop(drm);
    let base = (memory.as_ptr() as u64).next_multiple_of(PAGE);
    let mut client = Client { memory: base, handle: 0, event: 0, queue: 0 };
    let mut input = Input(data);
    // None: the input ends.
    while one(&device, &mut client, &memory, &mut input).is_some() {}
    if client.queue != 0 {
        // Time for the device to find what is in its queues.
        std::thread::sleep(Duration::from_micros(500));
    }
    look(&device);
    // It still answers, and it ends.
    assert!(call(&device, Node::Kfd, 0x01, &mut [0]));
    device.processor().shut_down();
}

fn one(device: &Device, client: &mut Client, memory: &[AtomicU64], input: &mut Input) -> Option<()> {
    let first = input.byte()?;
    if first >= 0xf0 {
        let place = input.number(2)? as usize / 8;
        let word = client.word(input)?;
        let at = ((client.memory - memory.as_ptr() as u64) / 8) as usize + place % (BYTES / 8);
        // Release: pairs with the device's acquire loads of indices and headers.
        memory[at].store(word, Ordering::Release);
        return Some(());
    }
    let (node, nr) = if first >= 0xe0 { (Node::Render, input.byte()?) } else { (Node::Kfd, first) };
    let count = usize::from(input.byte()?) % (MOST_WORDS + 1);
    let mut words: Vec<u64> = (0..count).map(|_| client.word(input)).collect::<Option<_>>()?;
    if node == Node::Kfd && nr == SMI_EVENTS {
        return Some(());
    }
    if node == Node::Kfd && nr == WAIT_EVENTS && count > 2 {
        // It may wait as long as it likes, but not here.
        words[2] &= 0xffff_ffff_0000_0003;
    }
    if call(device, node, nr, &mut words) {
        client.learn(nr, &words);
    } else {
        let (letter, bytes) = (if node == Node::Kfd { b'K' } else { b'd' }, 8 * count);
        // The same with a pointer that leads nowhere.
        let _ = device.ioctl(node, Request::word(letter, nr.into(), bytes), 0x10);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kfd_sim::cp::CpStats;
    use std::path::Path;

    /// The corpus is of no use if its programs do not come far.
    fn reaches(file: &str, far: impl Fn(&CpStats) -> bool) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus/ioctl").join(file);
        let data = std::fs::read(&path).unwrap();
        run(&data, |device| {
            let end = std::time::Instant::now() + Duration::from_secs(10);
            while !far(&device.processor().stats()) {
                assert!(std::time::Instant::now() < end, "{file}: {:?}", device.processor().stats());
                std::thread::sleep(Duration::from_micros(100));
            }
        });
    }

    #[test]
    fn the_corpus_reaches_packets_kernels_and_dma() {
        let any = |stats: &CpStats, f: fn(&kfd_sim::cp::QueueStats) -> bool| stats.queues.values().any(f);
        reaches("dispatch", |stats| any(stats, |queue| queue.packets.values().sum::<u64>() > 0));
        reaches("spin", |stats| stats.instructions > 1000);
        reaches("bad_packet", |stats| any(stats, |queue| queue.failure.is_some()));
        reaches("sdma", |stats| any(stats, |queue| queue.sdma_packets > 0));
    }
}
