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
