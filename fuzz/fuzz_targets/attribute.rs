//! One attribute of an emulated host replaced: see `nearfab_fuzz::attributes`.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use nearfab_fuzz::attributes::Attributes;

thread_local! {
    static ATTRIBUTES: Attributes = Attributes::new();
}

fuzz_target!(|input: &[u8]| ATTRIBUTES.with(|attributes| attributes.check(input)));

// Reading a host takes long, so inputs have to be good ones. Attributes are texts with numbers: in half of the cases a digit
// becomes another one or is put in, else bytes change as in other targets. Which attribute it is mostly stays.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = seed;
    let mut below = move |most: usize| {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) as usize % most
    };
    if size < 2 || max_size <= size || below(16) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let digit = b"0123456789"[below(10)];
    let digits: Vec<usize> = (1..size).filter(|&at| data[at].is_ascii_digit()).collect();
    match below(4) {
        0 if !digits.is_empty() => {
            data[digits[below(digits.len())]] = digit;
            size
        }
        1 => {
            let at = 1 + below(size);
            data.copy_within(at..size, at + 1);
            data[at] = digit;
            size + 1
        }
        _ => 1 + fuzzer_mutate(&mut data[1..], size - 1, max_size - 1),
    }
});
