//! CPU lists: the library's list is compared with a plain set that is made from the same text.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use nearfab::CpuList;

fuzz_target!(|text: &str| {
    let Ok(list) = text.parse::<CpuList>() else { return };
    assert_eq!(list.to_string().parse::<CpuList>().as_ref(), Ok(&list));
    // Large sets take long and test nothing more.
    if text.len() > 40 {
        return;
    }
    let mut set = BTreeSet::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u32>().expect("the library parsed the list");
        let (first, last) = (number(first), number(last));
        if last - first > 4096 {
            return;
        }
        set.extend(first..=last);
    }
    assert_eq!(list.iter().collect::<Vec<_>>(), set.iter().copied().collect::<Vec<_>>());
    assert_eq!((list.len(), list.is_empty()), (set.len(), set.is_empty()));
    let singly = set.iter().map(u32::to_string).collect::<Vec<_>>().join(",");
    assert_eq!(singly.parse().as_ref(), Ok(&list), "equal sets give unequal lists");
    assert!(set.iter().all(|&cpu| list.contains(cpu)));
});
