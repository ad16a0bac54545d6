//! Replaces one attribute of an emulated host: see `nearfab_fuzz::attributes`.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use nearfab_fuzz::attributes::Attributes;
use nearfab_fuzz::numbers;

thread_local! {
    static ATTRIBUTES: Attributes = Attributes::new();
}

fuzz_target!(|input: &[u8]| ATTRIBUTES.with(|attributes| attributes.check(input)));

// Reading a host takes long, so most inputs should be close to valid texts. Half of the inputs begin from a seed, so that each
// attribute is tested even if libFuzzer keeps many inputs of another attribute. The first byte chooses the attribute and stays.
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
