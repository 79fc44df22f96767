//! The hash modes that are run: for each the published example of its kind, whose password is "hashcat".

/// How a digest's bytes become the words that a kernel compares, and which of these it compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// Words of a digest.
    pub words: usize,
    /// Which words are compared first.
    pub compared: [u32; 4],
    /// Bytes of a word that is stored with its most significant byte first: 4, 8, or 0 for none.
    big_endian: usize,
    /// The initial state, which optimized kernels do not add at the end.
    initial: &'static [u64],
}

const SHA384: [u64; 8] = [
    0xcbbb_9d5d_c105_9ed8,
    0x629a_292a_367c_d507,
    0x9159_015a_3070_dd17,
    0x152f_ecd8_f70e_5939,
    0x6733_2667_ffc0_0b31,
    0x8eb4_4a87_6858_1511,
    0xdb0c_2e0d_64f9_8fa7,
    0x47b5_481d_befa_4fa4,
];
const SHA512: [u64; 8] = [
    0x6a09_e667_f3bc_c908,
    0xbb67_ae85_84ca_a73b,
    0x3c6e_f372_fe94_f82b,
    0xa54f_f53a_5f1d_36f1,
    0x510e_527f_ade6_82d1,
    0x9b05_688c_2b3e_6c1f,
    0x1f83_d9ab_fb41_bd6b,
    0x5be0_cd19_137e_2179,
];
const SHA256: [u64; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
const SHA224: [u64; 8] =
    [0xc105_9ed8, 0x367c_d507, 0x3070_dd17, 0xf70e_5939, 0xffc0_0b31, 0x6858_1511, 0x64f9_8fa7, 0xbefa_4fa4];
const SHA1: [u64; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

impl Family {
    fn named(name: &str) -> Family {
        let family = |words, compared, big_endian, initial| Family { words, compared, big_endian, initial };
        match name {
            "md5" => family(4, [0, 3, 2, 1], 0, &SHA1[..4]),
            "sha1" => family(5, [3, 4, 2, 1], 4, &SHA1),
            "sha224" => family(7, [3, 5, 2, 6], 4, &SHA224),
            "sha256" => family(8, [3, 7, 2, 6], 4, &SHA256),
            "sha384" => family(16, [6, 7, 4, 5], 8, &SHA384),
            "sha512" => family(16, [14, 15, 6, 7], 8, &SHA512),
            "blake2b" => family(16, [1, 0, 3, 2], 0, &[]),
            "keccak" => family(50, [6, 7, 4, 5], 0, &[]),
            "ripemd160" => family(5, [0, 1, 2, 3], 0, &[]),
            "streebog256" => family(8, [0, 1, 2, 3], 0, &[]),
            "streebog512" => family(16, [0, 1, 2, 3], 0, &[]),
            "whirlpool" => family(16, [0, 1, 2, 3], 4, &[]),
            "crypt4" => family(4, [0, 1, 2, 3], 0, &[]),
            "crypt8" => family(8, [0, 1, 2, 3], 0, &[]),
            "crypt16" => family(16, [0, 1, 2, 3], 0, &[]),
            _ => panic!("no family {name}"),
        }
    }
}

/// One hash mode and its example.
#[derive(Clone, Debug)]
pub struct Mode {
    /// hashcat's number, which is in the names of its kernels.
    pub number: u32,
    /// Form of its digests.
    pub family: Family,
    flags: String,
    digest: Vec<u8>,
    /// Salt, empty if the mode has none.
    pub salt: Vec<u8>,
}

impl Mode {
    /// All modes of the table.
    pub fn all() -> Vec<Mode> {
        include_str!("modes.txt").lines().filter(|line| !line.starts_with('#')).map(Mode::parse).collect()
    }

    /// `number family flags hexdigest[:salt]`. Flags say what hashcat's host program does: `p` leaves the initial state out
    /// of digests for optimized kernels, `b` most significant byte first, `8` `6` `1` padding byte, `l` `h` length in word 14
    /// or 15, `u` UTF-16, `n` more than that for optimized kernels.
    pub fn parse(line: &str) -> Mode {
        let fields: Vec<&str> = line.split(' ').collect();
        let [number, family, flags, hash] = fields[..] else { panic!("{line}") };
        let (digest, salt) = hash.split_once(':').unwrap_or((hash, ""));
        let byte = |at| u8::from_str_radix(&digest[at..at + 2], 16).unwrap();
        Mode {
            number: number.parse().unwrap(),
            family: Family::named(family),
            flags: flags.to_owned(),
            digest: (0..digest.len()).step_by(2).map(byte).collect(),
            salt: salt.as_bytes().to_vec(),
        }
    }

    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    /// Whether a mask's candidates are made with the most significant byte of a word first.
    pub fn mask_big_endian(&self) -> bool {
        self.has('b')
    }

    /// Whether optimized kernels want a mask's candidates in UTF-16.
    pub fn utf16(&self) -> bool {
        self.has('u')
    }

    /// Whether optimized kernels need no more than what the other flags say.
    pub fn optimized(&self) -> bool {
        !self.has('n')
    }

    /// The byte that hashcat's host program puts behind candidates for optimized kernels.
    pub fn padding(&self) -> Option<u8> {
        [('8', 0x80), ('6', 6), ('1', 1)].into_iter().find(|(flag, _)| self.has(*flag)).map(|(_, byte)| byte)
    }

    /// The word into which it puts the length in bits.
    pub fn length_word(&self) -> Option<usize> {
        [('l', 14), ('h', 15)].into_iter().find(|(flag, _)| self.has(*flag)).map(|(_, word)| word)
    }

    /// The digest as the kernels hold it.
    pub fn words(&self, optimized: bool) -> Vec<u32> {
        let mut bytes = self.digest.clone();
        if self.family.big_endian > 0 {
            bytes.chunks_mut(self.family.big_endian).for_each(<[u8]>::reverse);
        }
        if optimized && self.has('p') {
            if self.family.big_endian == 8 {
                for (chunk, initial) in bytes.chunks_exact_mut(8).zip(self.family.initial) {
                    let value = u64::from_le_bytes((&*chunk).try_into().unwrap()).wrapping_sub(*initial);
                    chunk.copy_from_slice(&value.to_le_bytes());
                }
            } else {
                for (chunk, initial) in bytes.chunks_exact_mut(4).zip(self.family.initial) {
                    let value =
                        u32::from_le_bytes((&*chunk).try_into().unwrap()).wrapping_sub(*initial as u32);
                    chunk.copy_from_slice(&value.to_le_bytes());
                }
            }
        }
        bytes.resize(self.family.words * 4, 0);
        bytes.chunks_exact(4).map(|chunk| u32::from_le_bytes(chunk.try_into().unwrap())).collect()
    }
}
