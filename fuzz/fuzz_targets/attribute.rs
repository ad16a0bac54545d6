//! One attribute of an emulated host replaced: see `nearfab_fuzz::attributes`.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use nearfab_fuzz::attributes::Attributes;
use nearfab_fuzz::numbers;

thread_local! {
    static ATTRIBUTES: Attributes = Attributes::new();
}

fuzz_target!(|input: &[u8]| ATTRIBUTES.with(|attributes| attributes.check(input)));

// Reading a host takes long, so inputs have to be good ones. Half of them come from a seed again, so that each attribute
// gets its turn however many inputs are kept of another. The first byte, which chooses the attribute, stays.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut below = numbers::random(seed);
    let mut size = size;
    if size < 2 || below(2) == 0 {
        let seed = ATTRIBUTES.with(|attributes| attributes.seed(below(1 << 16)));
        size = seed.len().min(max_size);
        data[..size].copy_from_slice(&seed[..size]);
    }
    if size == 0 || size > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    1 + numbers::mutate(&mut data[1..max_size], size - 1, &mut below, fuzzer_mutate)
});
