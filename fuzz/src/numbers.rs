//! Changes to the numbers in texts, which random bytes rarely make.

/// The largest numbers of 8, 16, 32 and 64 bits, their successors, and a decimal beyond the range of f64.
const LIMITS: [&str; 9] = [
    "255",
    "256",
    "65535",
    "65536",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "1e999",
];

/// Returns a generator of pseudorandom numbers. Each number is below the generator's argument.
pub fn random(seed: u32) -> impl FnMut(usize) -> usize {
    let mut state = seed;
    move |limit| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as usize % limit
    }
}

/// Changes the first `size` bytes of `data`, and returns the new size, which is at most the length of `data`. It replaces a
/// digit, mostly by the next or previous digit; or replaces a number by a limit of [`LIMITS`]; or inserts a digit or a sign;
/// or, in half of the cases, calls `otherwise`, which is libFuzzer's own mutation.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    below: &mut dyn FnMut(usize) -> usize,
    otherwise: fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    let room = data.len();
    let digits: Vec<usize> = (0..size).filter(|&at| data[at].is_ascii_digit()).collect();
    match below(6) {
        0 if !digits.is_empty() => {
            let at = digits[below(digits.len())];
            let by = [1, 9, 1, 9, below(10) as u8][below(5)];
            data[at] = b'0' + (data[at] - b'0' + by) % 10;
            size
        }
        1 if !digits.is_empty() => {
            let mut from = digits[below(digits.len())];
            while from > 0 && data[from - 1].is_ascii_digit() {
                from -= 1;
            }
            let rest = data[from..size].iter().position(|byte| !byte.is_ascii_digit()).map_or(size, |end| from + end);
            let changed = [&data[..from], LIMITS[below(LIMITS.len())].as_bytes(), &data[rest..size]].concat();
            let size = changed.len().min(room);
            data[..size].copy_from_slice(&changed[..size]);
            size
        }
        2 if size < room => {
            let at = below(size + 1);
            data.copy_within(at..size, at + 1);
            data[at] = b"0123456789+-"[below(12)];
            size + 1
        }
        _ => otherwise(data, size, room),
    }
}
