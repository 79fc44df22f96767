#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| eclip_fuzz_targets::ioctl(data));
