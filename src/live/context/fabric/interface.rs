//! What libfabric finds: interfaces by provider and domain, and which of a host's EFA interfaces they are.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use nearfab_sys::Fabric;
use nearfab_sys::fabric::{
    FI_BUS_PCI, FI_CONTEXT, FI_CONTEXT2, FI_ENODATA, FI_MR_ALLOCATED, FI_MR_HMEM, FI_MR_LOCAL, FI_MR_PROV_KEY,
    FI_MR_VIRT_ADDR, fi_info, fid_nic,
};
use nix::libc;

use super::domain::{FabricKey, Key};
use super::{call, failed};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::live::context::c_values::numbers;
use crate::live::context::{Owned, PerProcess};
use crate::live::vendor;
use crate::scan::efa::EfaInterface;
use crate::system::aborting;
use crate::types::Bdf;

/// Whether this process has asked libfabric. What it opens then is no child's to use.
static ASKED: PerProcess<()> = PerProcess::new();

/// For messages, where no domain is meant.
const MACHINE: &str = "this machine";

/// The newest interface of libfabric that nearfab knows: 1.17.
const NEWEST: u32 = 1 << 16 | 17;
/// What programs of nearfab's kind can live with: keys, addresses and buffers as the provider wants them.
const MEMORY_MODES: c_int = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_HMEM;

/// What is wanted of libfabric; without a word, everything.
///
/// ```
/// use nearfab::context::fabric::Query;
/// let query = Query { provider: Some("efa".to_owned()), ..Query::default() };
/// assert_eq!(query.domain, None);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// Of this provider: `efa`, `tcp`, `shm`.
    pub provider: Option<String>,
    /// Of this domain: for EFA the name of the RDMA device with an end such as `-rdm`.
    pub domain: Option<String>,
}

/// One of the ways to communicate that libfabric finds. An EFA interface has one or, since libfabric 2.1, two.
/// Its datagram entries need a prefix before each message, and are not asked for.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Interface {
    /// The provider's name.
    pub provider: String,
    /// The fabric's name.
    pub fabric: String,
    /// The domain's name.
    pub domain: String,
    /// The kind of endpoints.
    pub endpoint: EndpointKind,
    /// The PCI address of what it is on, where the provider tells: EFA's does, those of TCP and of shared memory do not.
    pub address: Option<Bdf>,
    /// The longest message, in bytes.
    pub max_message: usize,
    /// What it can do, by the bits of fi_getinfo(3).
    pub capabilities: u64,
    /// Whether what is sent, and what is received into, must be in a [`MemoryRegion`](super::MemoryRegion).
    pub needs_regions: bool,
    entry: Entry,
}

/// An entry of libfabric's list, which it keeps.
#[derive(Debug, Clone)]
struct Entry {
    list: Arc<List>,
    info: NonNull<fi_info>,
    key: Arc<Key>,
}

// SAFETY: a list is written by nobody, from when libfabric gave it until it is given back.
unsafe impl Send for Entry {}
// SAFETY: as above.
unsafe impl Sync for Entry {}

numbers! {
    /// A kind of endpoint, by the numbers of `fi_ep_type`.
    pub enum EndpointKind: u32;

    /// Not said.
    Unspecified = 0,
    /// Connected.
    Message = 1,
    /// Unreliable datagrams.
    Datagram = 2,
    /// Reliable datagrams, as MPI, NCCL and NIXL use them.
    ReliableDatagram = 3,
}

impl Interface {
    /// The EFA interface of a host that it is on.
    ///
    /// By the PCI address, as libfabric and the kernel tell it; never by a name.
    #[must_use]
    pub fn efa<'a>(&self, host: &'a Host) -> Option<&'a EfaInterface> {
        host.find_efa(self.address?).ok()
    }

    /// Asks libfabric for interfaces.
    ///
    /// The first call of a process is no small thing: it opens every EFA interface, may make a CUDA context, reads the
    /// environment, and what it finds then is what later calls find. A program that only wants to know what there is asks a
    /// [`Host`], or makes this call in a child process. It is refused where the environment has what makes libfabric end the process.
    ///
    /// ```no_run
    /// use nearfab::context::fabric::{Interface, Query};
    /// let query = Query { provider: Some("efa".to_owned()), ..Query::default() };
    /// for interface in Interface::find(&query)? {
    ///     println!("{} at {:?}", interface.domain, interface.address);
    /// }
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Aborts`]: a variable of this process makes libfabric abort. [`Error::Library`], [`Error::SeveralLibraries`],
    /// [`Error::MissingSymbol`]: there is no libfabric, or more than one, or one that is too old. [`Error::Call`]: it fails.
    /// [`Error::BadName`]: a name has a zero byte. [`Error::Forked`]: a parent of this process has asked before. That nothing
    /// fits is no error.
    #[doc(alias = "fi_getinfo")]
    pub fn find(query: &Query) -> Result<Vec<Self>> {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned())
        };
        let environment: BTreeMap<String, String> = std::env::vars_os().map(text).collect();
        if let Some((variable, reason)) = aborting(&environment).into_iter().next() {
            return Err(Error::Aborts { variable, reason });
        }
        let fabric = vendor::fabric()?;
        ASKED.get(|parents| parents.map_or(Ok(()), |parent| Err(Error::Forked { owner: parent.owner })))?;
        Ok(List::get(fabric, &List::hints(fabric, query)?)?.map_or_else(Vec::new, List::interfaces))
    }

    /// The entry, in the process that asked for it.
    pub(super) fn info(&self) -> Result<NonNull<fi_info>> {
        self.entry.list.first.get()?;
        Ok(self.entry.info)
    }

    /// What its domain is shared by.
    pub(super) fn key(&self) -> Arc<Key> {
        Arc::clone(&self.entry.key)
    }

    fn of(list: &Arc<List>, info: &fi_info) -> Self {
        // SAFETY: an entry of libfabric's list has this, or null, and it lives as long.
        let fabric = unsafe { info.fabric_attr.as_ref() };
        // SAFETY: as above.
        let domain = unsafe { info.domain_attr.as_ref() };
        // SAFETY: as above.
        let endpoint = unsafe { info.ep_attr.as_ref() };
        // SAFETY: as above.
        let address = unsafe { info.nic.as_ref() }.and_then(address);
        let key = Arc::new(Key {
            fabric: FabricKey {
                provider: text(fabric.map(|fabric| fabric.prov_name)),
                name: text(fabric.map(|fabric| fabric.name)),
                version: fabric.map_or(0, |fabric| fabric.api_version),
            },
            address,
            domain: text(domain.map(|domain| domain.name)),
            endpoint: endpoint.map_or(0, |endpoint| endpoint.type_),
            capabilities: info.caps,
            memory_mode: domain.map_or(0, |domain| domain.mr_mode),
            threading: domain.map_or(0, |domain| domain.threading),
        });
        Self {
            provider: key.fabric.provider.clone(),
            fabric: key.fabric.name.clone(),
            domain: key.domain.clone(),
            endpoint: key.endpoint.into(),
            address,
            max_message: endpoint.map_or(0, |endpoint| endpoint.max_msg_size),
            capabilities: info.caps,
            needs_regions: key.memory_mode & FI_MR_LOCAL != 0,
            entry: Entry { list: Arc::clone(list), info: info.into(), key },
        }
    }
}

fn address(nic: &fid_nic) -> Option<Bdf> {
    // SAFETY: an interface's bus is there or null, and lives as long.
    let bus = unsafe { nic.bus_attr.as_ref() }?;
    if bus.bus_type != FI_BUS_PCI {
        return None;
    }
    // SAFETY: of that type of bus this is the member.
    let pci = unsafe { bus.attr.pci };
    let fits = pci.device_id < 32 && pci.function_id < 8;
    fits.then(|| Bdf::new(pci.domain_id.into(), pci.bus_id, pci.device_id, pci.function_id))
}

fn text(name: Option<*mut c_char>) -> String {
    let name = name.filter(|name| !name.is_null());
    // SAFETY: names of an entry end with a zero byte, and live as long as it.
    name.map(|name| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()).unwrap_or_default()
}

/// What libfabric made: a list of what it found, or hints.
#[derive(Debug)]
struct List {
    fabric: &'static Fabric,
    first: Owned<NonNull<fi_info>>,
}

impl List {
    fn new(fabric: &'static Fabric, first: NonNull<fi_info>) -> Self {
        Self { fabric, first: Owned::new(first) }
    }

    /// Hints are made by libfabric too: the structure grows with it.
    fn hints(fabric: &'static Fabric, query: &Query) -> Result<Self> {
        let copy = |name: &Option<String>| {
            let bad = |text: &String| Error::BadName { text: text.clone(), expected: "a name without a zero byte" };
            name.as_ref().map(|text| CString::new(text.as_str()).map_err(|_| bad(text))).transpose()
        };
        let (provider, domain) = (copy(&query.provider)?, copy(&query.domain)?);
        // SAFETY: a copy of nothing is an empty one.
        let made = unsafe { (fabric.fi_dupinfo)(ptr::null()) };
        let first = NonNull::new(made).ok_or_else(|| call("fi_dupinfo", MACHINE, io::ErrorKind::OutOfMemory.into()))?;
        let hints = Self::new(fabric, first);
        // SAFETY: the entry is ours alone, and whole.
        let info = unsafe { &mut *first.as_ptr() };
        info.mode = FI_CONTEXT | FI_CONTEXT2;
        // SAFETY: an empty entry has all of its parts.
        let of_domain = unsafe { &mut *info.domain_attr };
        // SAFETY: as above.
        let of_fabric = unsafe { &mut *info.fabric_attr };
        of_domain.mr_mode = MEMORY_MODES;
        of_fabric.prov_name = provider.as_deref().map_or(ptr::null_mut(), copy_of);
        of_domain.name = domain.as_deref().map_or(ptr::null_mut(), copy_of);
        Ok(hints)
    }

    fn get(fabric: &'static Fabric, hints: &Self) -> Result<Option<Self>> {
        // SAFETY: it takes nothing and may be called at any time.
        let version = unsafe { (fabric.fi_version)() }.min(NEWEST);
        let (hints, mut first) = (hints.first.get()?.as_ptr(), ptr::null_mut());
        // SAFETY: the hints are an entry of libfabric's own, and the list is given back when it is dropped.
        let status = unsafe { (fabric.fi_getinfo)(version, ptr::null(), ptr::null(), 0, hints, &raw mut first) };
        match (status, NonNull::new(first)) {
            (0, first) => Ok(first.map(|first| Self::new(fabric, first))),
            (error, _) if error == -FI_ENODATA => Ok(None),
            (error, _) => Err(failed("fi_getinfo", MACHINE, error)),
        }
    }

    fn interfaces(self) -> Vec<Interface> {
        let list = Arc::new(self);
        // SAFETY: the first entry of a list, which lives as long as what is made of it here.
        let first = unsafe { list.first.value.as_ref() };
        // SAFETY: the last entry is followed by null.
        let entries = std::iter::successors(Some(first), |info| unsafe { info.next.as_ref() });
        entries.map(|info| Interface::of(&list, info)).collect()
    }
}

impl Drop for List {
    fn drop(&mut self) {
        // In a forked child it is left: its strings are of an allocator that libfabric may have been inside of.
        if let Ok(first) = self.first.get() {
            // SAFETY: libfabric made it, and nothing uses it any more.
            unsafe { (self.fabric.fi_freeinfo)(first.as_ptr()) };
        }
    }
}

// SAFETY: it is written by nobody, from when libfabric gave it until it is given back.
unsafe impl Send for List {}
// SAFETY: as above.
unsafe impl Sync for List {}

/// As libfabric makes its names, which it frees.
fn copy_of(name: &CStr) -> *mut c_char {
    // SAFETY: the name ends with a zero byte.
    unsafe { libc::strdup(name.as_ptr()) }
}
