//! The interfaces that libfabric finds, and the host's EFA interface that each belongs to.

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

/// Set in a process that has called `fi_getinfo`. A forked child must not use the devices that libfabric opened during
/// that call.
static GETINFO_CALLED: PerProcess<()> = PerProcess::new();

/// The device in errors that are not about a domain.
const MACHINE: &str = "this machine";

/// The newest API version of libfabric that nearfab knows: 1.17.
const NEWEST: u32 = 1 << 16 | 17;
/// The memory modes that nearfab supports: the provider may choose keys and require registered, allocated buffers.
const MEMORY_MODES: c_int = FI_MR_LOCAL | FI_MR_VIRT_ADDR | FI_MR_ALLOCATED | FI_MR_PROV_KEY | FI_MR_HMEM;

/// The interfaces to ask libfabric for; by default all.
///
/// ```
/// use nearfab::context::fabric::Query;
/// let query = Query::default().provider("efa");
/// assert_eq!((query.provider.as_deref(), query.domain), (Some("efa"), None));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Query {
    /// The provider, such as `efa`, `tcp` or `shm`; `None` for any.
    pub provider: Option<String>,
    /// The domain; `None` for any. The domain of an EFA interface is the name of the RDMA device with a suffix such as
    /// `-rdm`.
    pub domain: Option<String>,
}

impl Query {
    /// Asks for the interfaces of this provider.
    #[must_use]
    pub fn provider(self, name: impl Into<String>) -> Self {
        Self { provider: Some(name.into()), ..self }
    }

    /// Asks for the interfaces of this domain.
    #[must_use]
    pub fn domain(self, name: impl Into<String>) -> Self {
        Self { domain: Some(name.into()), ..self }
    }
}

/// An interface that libfabric found. An EFA interface has one entry or, since libfabric 2.1, two.
/// [`Interface::find`] does not ask for EFA's datagram entries, which need a prefix before each message.
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
    /// The PCI address of the device, if the provider reports it. The EFA provider reports it. The providers of TCP and
    /// shared memory do not.
    pub address: Option<Bdf>,
    /// The longest message, in bytes.
    pub max_message: usize,
    /// The capabilities, by the bits of fi_getinfo(3).
    pub capabilities: u64,
    /// Whether the memory of each send and receive must be in a [`FabricMemoryRegion`](super::FabricMemoryRegion).
    pub needs_regions: bool,
    entry: InfoEntry,
}

/// An entry of libfabric's list. The entry keeps the list alive.
#[derive(Debug, Clone)]
struct InfoEntry {
    list: Arc<InfoList>,
    info: NonNull<fi_info>,
    key: Arc<Key>,
}

// SAFETY: the entry points into a list that its `Arc` keeps alive. libfabric ties the list to no thread.
unsafe impl Send for InfoEntry {}
// SAFETY: nothing writes a list between `fi_getinfo` and `fi_freeinfo`: libfabric and nearfab only read it.
unsafe impl Sync for InfoEntry {}

numbers! {
    /// The kind of an endpoint, by the numbers of `fi_ep_type`.
    pub enum EndpointKind: u32;

    /// Not specified.
    Unspecified = 0,
    /// Connected.
    Message = 1,
    /// Unreliable datagrams.
    Datagram = 2,
    /// Reliable datagrams. MPI, NCCL and NIXL use this kind.
    ReliableDatagram = 3,
}

impl Interface {
    /// Returns the host's EFA interface at this interface's PCI address. Names are not compared.
    #[must_use]
    pub fn efa<'a>(&self, host: &'a Host) -> Option<&'a EfaInterface> {
        host.find_efa(self.address?).ok()
    }

    /// Asks libfabric for interfaces.
    ///
    /// The first call in a process has effects: it opens every EFA interface, may make a CUDA context, and reads the
    /// environment. Later calls find the same interfaces. A program that only lists interfaces should read a [`Host`],
    /// or make this call in a child process. If a variable in the environment would make libfabric abort the process,
    /// this call fails instead.
    ///
    /// ```no_run
    /// use nearfab::context::fabric::{Interface, Query};
    ///
    /// for interface in Interface::find(&Query::default().provider("efa"))? {
    ///     println!("{} at {:?}", interface.domain, interface.address);
    /// }
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Aborts`]: a variable of this process makes libfabric abort. [`Error::Library`],
    /// [`Error::SeveralLibraries`], [`Error::MissingSymbol`]: libfabric cannot be loaded, is loaded more than once, or
    /// is too old. [`Error::Call`]: libfabric fails. [`Error::BadName`]: a name has a zero byte. [`Error::Forked`]: an
    /// ancestor of this process has called `find` before. An empty answer is no error.
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
        GETINFO_CALLED
            .get(|inherited| inherited.map_or(Ok(()), |parent| Err(Error::Forked { owner: parent.owner })))?;
        Ok(InfoList::get(fabric, &InfoList::hints(fabric, query)?)?.map_or_else(Vec::new, InfoList::interfaces))
    }

    /// Returns the entry. Fails outside the process that called [`find`](Self::find).
    pub(super) fn info(&self) -> Result<NonNull<fi_info>> {
        self.entry.list.first.get()?;
        Ok(self.entry.info)
    }

    /// Returns the properties by which the domain is shared.
    pub(super) fn key(&self) -> Arc<Key> {
        Arc::clone(&self.entry.key)
    }

    fn of(list: &Arc<InfoList>, info: &fi_info) -> Self {
        // SAFETY: the pointer is null, or valid as long as the entry. Nothing writes the attributes.
        let fabric = unsafe { info.fabric_attr.as_ref() };
        // SAFETY: the pointer is null, or valid as long as the entry. Nothing writes the attributes.
        let domain = unsafe { info.domain_attr.as_ref() };
        // SAFETY: the pointer is null, or valid as long as the entry. Nothing writes the attributes.
        let endpoint = unsafe { info.ep_attr.as_ref() };
        // SAFETY: the pointer is null, or valid as long as the entry. Nothing writes the attributes.
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
            entry: InfoEntry { list: Arc::clone(list), info: info.into(), key },
        }
    }
}

fn address(nic: &fid_nic) -> Option<Bdf> {
    // SAFETY: the pointer is null or valid as long as the entry of the NIC, and nothing writes the attributes.
    let bus = unsafe { nic.bus_attr.as_ref() }?;
    if bus.bus_type != FI_BUS_PCI {
        return None;
    }
    // SAFETY: for the bus type FI_BUS_PCI libfabric sets the union's member `pci`.
    let pci = unsafe { bus.attr.pci };
    let fits = pci.device_id < 32 && pci.function_id < 8;
    fits.then(|| Bdf::new(pci.domain_id.into(), pci.bus_id, pci.device_id, pci.function_id))
}

fn text(name: Option<*mut c_char>) -> String {
    let name = name.filter(|name| !name.is_null());
    // SAFETY: a name is null, as filtered above, or a text that ends with a zero byte and lives as long as the entry,
    // which the caller holds.
    name.map(|name| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()).unwrap_or_default()
}

/// A list that libfabric made: its answer, or hints.
#[derive(Debug)]
struct InfoList {
    fabric: &'static Fabric,
    first: Owned<NonNull<fi_info>>,
}

impl InfoList {
    fn new(fabric: &'static Fabric, first: NonNull<fi_info>) -> Self {
        Self { fabric, first: Owned::new(first) }
    }

    /// Makes hints. libfabric allocates the hints, because newer versions of libfabric have a longer structure.
    fn hints(fabric: &'static Fabric, query: &Query) -> Result<Self> {
        let copy = |name: &Option<String>| {
            let bad = |text: &String| Error::BadName { text: text.clone(), expected: "a name without a zero byte" };
            name.as_ref().map(|text| CString::new(text.as_str()).map_err(|_| bad(text))).transpose()
        };
        let (provider, domain) = (copy(&query.provider)?, copy(&query.domain)?);
        // SAFETY: the function takes null, for which it returns an empty entry, or null if memory is short.
        let made = unsafe { (fabric.fi_dupinfo)(ptr::null()) };
        let first = NonNull::new(made).ok_or_else(|| call("fi_dupinfo", MACHINE, io::ErrorKind::OutOfMemory.into()))?;
        let hints = Self::new(fabric, first);
        // SAFETY: libfabric allocated the entry just now; `hints` owns it, and no other reference to it exists.
        let info = unsafe { &mut *first.as_ptr() };
        info.mode = FI_CONTEXT | FI_CONTEXT2;
        // SAFETY: `fi_dupinfo(NULL)` allocates all attributes of the entry, and no other reference to them exists.
        let domain_attributes = unsafe { &mut *info.domain_attr };
        // SAFETY: `fi_dupinfo(NULL)` allocates all attributes of the entry, and no other reference to them exists.
        let fabric_attributes = unsafe { &mut *info.fabric_attr };
        domain_attributes.mr_mode = MEMORY_MODES;
        fabric_attributes.prov_name = provider.as_deref().map_or(ptr::null_mut(), duplicate);
        domain_attributes.name = domain.as_deref().map_or(ptr::null_mut(), duplicate);
        Ok(hints)
    }

    fn get(fabric: &'static Fabric, hints: &Self) -> Result<Option<Self>> {
        // SAFETY: the function takes no argument, reads no state, and may be called at any time.
        let version = unsafe { (fabric.fi_version)() }.min(NEWEST);
        let (hints, mut first) = (hints.first.get()?.as_ptr(), ptr::null_mut());
        // SAFETY: the hints are an entry that libfabric allocated and this process may use. The node and service may be
        // null. The function writes one pointer, to a list that `InfoList` frees.
        let status = unsafe { (fabric.fi_getinfo)(version, ptr::null(), ptr::null(), 0, hints, &raw mut first) };
        match (status, NonNull::new(first)) {
            (0, first) => Ok(first.map(|first| Self::new(fabric, first))),
            (error, _) if error == -FI_ENODATA => Ok(None),
            (error, _) => Err(failed("fi_getinfo", MACHINE, error)),
        }
    }

    fn interfaces(self) -> Vec<Interface> {
        let list = Arc::new(self);
        // SAFETY: `first` is the first entry of the list, which `list` keeps alive during this function. Nothing writes
        // the list.
        let first = unsafe { list.first.value.as_ref() };
        // SAFETY: `next` is null, or the next entry of the same list, which `list` keeps alive during this function.
        let entries = std::iter::successors(Some(first), |info| unsafe { info.next.as_ref() });
        entries.map(|info| Interface::of(&list, info)).collect()
    }
}

impl Drop for InfoList {
    fn drop(&mut self) {
        // In a forked child the list is not freed: another thread of the parent may have held a lock of libfabric's
        // allocator.
        if let Ok(first) = self.first.get() {
            // SAFETY: libfabric allocated the list in this process, as `get` shows. The list is freed once, here, and
            // nothing borrows it any more.
            unsafe { (self.fabric.fi_freeinfo)(first.as_ptr()) };
        }
    }
}

// SAFETY: libfabric ties a list to no thread: any thread may read it and free it.
unsafe impl Send for InfoList {}
// SAFETY: nothing writes a list between `fi_getinfo` and `fi_freeinfo`. Hints are written in `hints` only, before they
// are shared.
unsafe impl Sync for InfoList {}

/// Copies a name as libfabric does, with `strdup`. `fi_freeinfo` frees the copy.
fn duplicate(name: &CStr) -> *mut c_char {
    // SAFETY: a `CStr` is a valid text that ends with a zero byte.
    unsafe { libc::strdup(name.as_ptr()) }
}
