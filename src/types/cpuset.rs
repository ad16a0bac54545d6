//! Operations on sets of CPUs. The operations are in a separate file because the build script includes the file of
//! [`CpuList`].

use super::CpuList;

impl CpuList {
    /// Returns the CPUs that are in both sets.
    ///
    /// ```
    /// use nearfab::CpuList;
    /// let (node, given): (CpuList, CpuList) = ("0-47,96-143".parse()?, "40-99".parse()?);
    /// assert_eq!(node.and(&given).to_string(), "40-47,96-99");
    /// assert_eq!(node.without(&given).to_string(), "0-39,100-143");
    /// # Ok::<(), nearfab::ParseCpuListError>(())
    /// ```
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        self.iter().filter(|&cpu| other.contains(cpu)).collect()
    }

    /// Returns the CPUs of this set that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.iter().filter(|&cpu| !other.contains(cpu)).collect()
    }

    /// Returns the CPUs that are in at least one of the sets.
    pub(crate) fn union<'a>(lists: impl IntoIterator<Item = &'a Self>) -> Self {
        lists.into_iter().flat_map(Self::iter).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_that_is_not_a_cpu_list_is_refused() {
        for text in ["+1", "-1", "1-", "3-1", "1,,2", " 1", "1-2-3", "1234567", "a", "0x1"] {
            assert!(text.parse::<CpuList>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn sets_are_as_sets_of_numbers(
            a in proptest::collection::btree_set(0..99_u32, 0..40), b in proptest::collection::btree_set(0..99_u32, 0..40)
        ) {
            let (first, second): (CpuList, CpuList) = (a.iter().copied().collect(), b.iter().copied().collect());
            prop_assert!(first.and(&second).iter().eq(a.intersection(&b).copied()));
            prop_assert!(first.without(&second).iter().eq(a.difference(&b).copied()));
            prop_assert!(CpuList::union([&first, &second]).iter().eq(a.union(&b).copied()));
            prop_assert_eq!(first.to_string().parse(), Ok(first));
        }
    }
}
