//! What hashcat's host program gives to its kernels: the buffers of `KERN_ATTR` in its `inc_common.h` and the structures of
//! its `inc_types.h`, laid out for the interpreter.

use crate::isa_support::{CodeObject, Dispatch, Gpu};
use kfd_sim::isa::ExecStats;

/// Bytes of `pw_t`: 64 words and a length.
const PW_BYTES: usize = 65 * 4;
/// Candidates of a dispatch; the rest of the grid has none.
pub const CANDIDATES: usize = 70;
const GRID: u32 = 128;
/// `COMBINATOR_MODE_BASE_LEFT`.
const BASE_LEFT: u32 = 10001;

/// Where a kernel says that a candidate has a digest that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Index of the candidate.
    pub candidate: u64,
    /// Index in the inner loop: the rule, the right half, or the first word.
    pub inner: u32,
    /// Index of the digest.
    pub digest: u32,
}

/// The inner loop of a dispatch.
pub enum Inner {
    /// Rules, as the bytes of hashcat's rule language.
    Rules(Vec<Vec<u8>>),
    /// Right halves of candidates.
    Right(Vec<Vec<u8>>),
    /// First words of candidates.
    First(Vec<u32>),
}

/// All that a dispatch reads.
pub struct Input<'a> {
    /// Candidates.
    pub words: Vec<Vec<u8>>,
    /// Whether the words of candidates are stored with the most significant byte first.
    pub big_endian: bool,
    /// A byte behind each candidate.
    pub padding: Option<u8>,
    /// Where a candidate's length in bits is.
    pub length_word: Option<usize>,
    /// The inner loop.
    pub inner: Inner,
    /// Salt.
    pub salt: &'a [u8],
    /// Iterations that the salt asks for.
    pub iterations: u32,
    /// All digests.
    pub digests: &'a [Vec<u32>],
}

/// The buffers of one dispatch, on the GPU.
pub struct Buffers {
    pointers: [u64; 25],
    inner_count: u32,
    digests: usize,
}

fn words_of(bytes: &[u8], count: usize, big_endian: bool) -> Vec<u32> {
    let mut padded = bytes.to_vec();
    padded.resize(count * 4, 0);
    let word = |chunk: &[u8]| {
        let bytes = chunk.try_into().unwrap();
        if big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    };
    padded.chunks_exact(4).map(word).collect()
}

fn password(bytes: &[u8], big_endian: bool, padding: Option<u8>) -> Vec<u32> {
    let mut padded = bytes.to_vec();
    padded.extend(padding);
    let mut words = words_of(&padded, 64, big_endian);
    words.push(bytes.len() as u32);
    words
}

impl Buffers {
    /// Uploads everything; `state_bytes` is what a candidate of a slow hash needs between kernels.
    pub fn new(gpu: &mut Gpu, input: &Input, state_bytes: usize) -> Buffers {
        let candidate = |bytes: &Vec<u8>| {
            // Only a mask's candidates are complete before the inner loop.
            let padding = input.padding.filter(|_| matches!(input.inner, Inner::First(_)));
            let mut words = password(bytes, input.big_endian, padding);
            if let Some(at) = input.length_word.filter(|_| padding.is_some()) {
                words[at] = 8 * bytes.len() as u32;
            }
            words
        };
        let candidates: Vec<u32> = input.words.iter().flat_map(candidate).collect();
        assert_eq!(candidates.len() * 4, input.words.len() * PW_BYTES);
        let (mut rules, mut right, mut first) = (vec![0u32; 32], vec![0u32; 65], vec![0u32; 1]);
        let inner_count = match &input.inner {
            Inner::Rules(all) => {
                rules = all.iter().flat_map(|rule| words_of(rule, 32, false)).collect();
                all.len()
            }
            Inner::Right(all) => {
                right = all.iter().flat_map(|half| password(half, false, input.padding)).collect();
                all.len()
            }
            Inner::First(all) => {
                first.clone_from(all);
                all.len()
            }
        };
        let mut salt = words_of(input.salt, 64, false);
        salt.resize(142, 0);
        salt[128] = input.salt.len() as u32;
        salt[130] = input.iterations;
        salt[136] = input.digests.len() as u32;
        let digests: Vec<u32> = input.digests.concat();
        let all_ones = gpu.upload(&[u32::MAX]);
        let mut pointers = [0; 25];
        pointers[0] = gpu.upload(&candidates);
        // Rules, right halves and first words may be read ahead of the loop's end.
        for (at, data) in [(1, &mut rules), (2, &mut right), (3, &mut first)] {
            data.resize(data.len() + 1024, 0);
            pointers[at] = gpu.upload(data);
        }
        pointers[4] = gpu.alloc(state_bytes.max(64) * GRID as usize);
        pointers[5] = gpu.alloc(4096);
        pointers[6..14].fill(all_ones);
        pointers[14] = gpu.alloc(32 * 64);
        pointers[15] = gpu.upload(&digests);
        pointers[16] = gpu.alloc(4 * input.digests.len());
        pointers[17] = gpu.upload(&salt);
        pointers[18] = gpu.alloc(4096);
        pointers[19] = gpu.alloc(4096);
        for pointer in &mut pointers[20..24] {
            *pointer = gpu.alloc(4096);
        }
        pointers[24] = gpu.alloc(64);
        Buffers { pointers, inner_count: inner_count as u32, digests: input.digests.len() }
    }

    /// Runs one kernel with the digests `first .. first + count` and the iterations `from .. from + iterations`.
    pub fn run(
        &self,
        gpu: &mut Gpu,
        (code, base): (&CodeObject, u64),
        kernel: &str,
        (first, count): (u32, u32),
        (from, iterations): (u32, u32),
    ) -> ExecStats {
        let mut parameters = [0u32; 16];
        parameters[4] = from;
        parameters[5] = iterations;
        parameters[6] = self.inner_count;
        parameters[7] = count;
        parameters[8] = first;
        parameters[9] = BASE_LEFT;
        parameters[14] = CANDIDATES as u32;
        gpu.write(self.pointers[24], parameters.map(u32::to_le_bytes).as_flattened());
        let mut dispatch = Dispatch::new(code, base, kernel, GRID, 64);
        for pointer in self.pointers {
            dispatch = dispatch.arg(pointer);
        }
        dispatch.run(gpu).unwrap_or_else(|fault| panic!("{kernel}: {fault:?}"))
    }

    /// What the kernels have found, and forgets it.
    pub fn take_found(&self, gpu: &mut Gpu) -> Vec<Found> {
        let count = gpu.read::<u32>(self.pointers[19], 1)[0] as usize;
        let plains = gpu.read::<u32>(self.pointers[14], 8 * count.min(64));
        gpu.write(self.pointers[19], &[0; 4]);
        gpu.write(self.pointers[16], &vec![0; 4 * self.digests]);
        let found = |plain: &[u32]| Found {
            candidate: u64::from(plain[0]) | u64::from(plain[1]) << 32,
            inner: plain[2],
            digest: plain[5],
        };
        plains.chunks_exact(8).map(found).collect()
    }
}
