//! Operations on sets of CPUs. They are apart from [`CpuList`] because the build script includes the list alone.

use super::CpuList;

/// What is done with sets of CPUs; the build script, which reads them, needs none of it.
impl CpuList {
    /// The CPUs that are in both.
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

    /// The CPUs that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        self.iter().filter(|&cpu| !other.contains(cpu)).collect()
    }

    /// The CPUs of all of them.
    pub(crate) fn union<'a>(lists: impl IntoIterator<Item = &'a Self>) -> Self {
        lists.into_iter().flat_map(Self::iter).collect()
    }
}
