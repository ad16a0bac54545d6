//! Domains, which are shared, and the fabrics that they hang on.

use std::ffi::{c_int, c_void};
use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfab_sys::Fabric;
use nearfab_sys::fabric::{FI_THREAD_SAFE, fi_info, fid, fid_domain, fid_fabric};
use nearfab_sys::operations::{fi_close, fi_domain};

use super::{Interface, call, failed};
use crate::error::Result;
use crate::live::context::object::{Destroy, Home, Object};
use crate::live::context::registry::{Lease, Registry, Shared};
use crate::live::context::usage::Use;
use crate::live::vendor;
use crate::types::Bdf;

/// One each for the process. Who opens a domain may open a fabric meanwhile, and never the other way round.
static DOMAINS: Registry<OpenDomain> = Registry::new();
static FABRICS: Registry<OpenFabric> = Registry::new();

/// An open domain: one of its users.
///
/// Clones are uses of one domain, and so is what is made in it.
#[doc(alias = "fid_domain")]
#[derive(Debug, Clone)]
pub struct Domain {
    /// What endpoints are made of. Of two users of one domain, each has its own.
    pub(super) interface: Interface,
    usage: Use<OpenDomain>,
}

/// What two users must have in common to share a domain.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) fabric: FabricKey,
    pub(super) address: Option<Bdf>,
    pub(super) domain: String,
    /// The kind of endpoint: the tcp provider makes a domain for one.
    pub(super) endpoint: u32,
    pub(super) capabilities: u64,
    pub(super) memory_mode: c_int,
    pub(super) threading: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FabricKey {
    pub(super) provider: String,
    pub(super) name: String,
    /// The version of libfabric's interface that it was asked by.
    pub(super) version: u32,
}

#[derive(Debug)]
struct OpenFabric {
    raw: NonNull<fid_fabric>,
    name: String,
}

#[derive(Debug)]
pub(super) struct OpenDomain {
    raw: NonNull<fid_domain>,
    name: String,
    /// The next key for a memory region, where the provider makes none.
    next_key: AtomicU64,
    /// Given back after the domain is closed. Of a borrowed domain it is its owner's.
    _fabric: Option<Lease<OpenFabric>>,
}

// SAFETY: libfabric lets any thread open domains of a fabric at any time; the pointer never changes.
unsafe impl Send for OpenFabric {}
// SAFETY: as above.
unsafe impl Sync for OpenFabric {}
// SAFETY: only a domain that any thread may use at any time is opened or borrowed; the pointer never changes.
unsafe impl Send for OpenDomain {}
// SAFETY: as above.
unsafe impl Sync for OpenDomain {}

impl Interface {
    /// Opens the domain, or shares it where this process has it open for the same [key](crate::context::fabric).
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where libfabric fails, and where not any thread may use what is in the domain at any
    /// time; [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "fi_domain")]
    #[doc(alias = "fi_fabric")]
    pub fn open(&self) -> Result<Domain> {
        let (library, info, key) = (vendor::fabric()?, self.info()?, self.key());
        self.check_threading(&key)?;
        let open = || {
            let fabric = FABRICS.lease(key.fabric.clone(), || OpenFabric::open(library, info, &self.fabric))?;
            OpenDomain::open(fabric, info, &self.domain)
        };
        let lease = DOMAINS.lease(Arc::clone(&key), open)?;
        Ok(Domain { interface: self.clone(), usage: Use::Leased(lease) })
    }

    fn check_threading(&self, key: &Key) -> Result<()> {
        if key.threading == FI_THREAD_SAFE {
            return Ok(());
        }
        let reason = format!("one thread at a time may use its objects (threading model {})", key.threading);
        Err(call("fi_domain", &self.domain, io::Error::new(io::ErrorKind::Unsupported, reason)))
    }
}

impl OpenFabric {
    fn open(library: &Fabric, info: NonNull<fi_info>, name: &str) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: an entry of libfabric's list lives as long as its interface, and has this.
        let attributes = unsafe { (*info.as_ptr()).fabric_attr };
        // SAFETY: the attributes are libfabric's own.
        let status = unsafe { (library.fi_fabric)(attributes, &raw mut raw, ptr::null_mut()) };
        Ok(Self { raw: made("fi_fabric", name, status, raw)?, name: name.to_owned() })
    }
}

impl OpenDomain {
    fn open(fabric: Lease<OpenFabric>, info: NonNull<fi_info>, name: &str) -> Result<Self> {
        let mut raw = ptr::null_mut();
        let parent = fabric.shared()?.raw.as_ptr();
        // SAFETY: the fabric is open, and the entry is of it.
        let status = unsafe { fi_domain(parent, info.as_ptr(), &raw mut raw, ptr::null_mut()) };
        let raw = made("fi_domain", name, status, raw)?;
        Ok(Self { raw, name: name.to_owned(), next_key: AtomicU64::new(0), _fabric: Some(fabric) })
    }
}

impl Shared for OpenFabric {
    type Key = FabricKey;

    unsafe fn close(&self) -> Result<()> {
        // SAFETY: it is open, and as our caller promises, nothing uses it from here on.
        let status = unsafe { fi_close(self.raw.as_ptr().cast()) };
        if status == 0 { Ok(()) } else { Err(failed("fi_close", &self.name, status)) }
    }
}

impl Shared for OpenDomain {
    type Key = Arc<Key>;

    unsafe fn close(&self) -> Result<()> {
        // SAFETY: it is open, and as our caller promises, nothing uses it from here on.
        let status = unsafe { fi_close(self.raw.as_ptr().cast()) };
        if status == 0 { Ok(()) } else { Err(failed("fi_close", &self.name, status)) }
    }
}

impl Domain {
    /// Uses a domain that another runtime of this process has opened. It is that runtime's to close; who opens the domain by
    /// [`Interface::open`] does not share it.
    ///
    /// # Safety
    ///
    /// `domain` is an open `fid_domain` of what `interface` describes, opened through the same libfabric, and stays open until
    /// this and all that is made of it is dropped.
    ///
    /// # Errors
    /// As those of [`Interface::open`].
    #[doc(alias = "fid_domain")]
    pub unsafe fn borrow_raw(interface: &Interface, domain: NonNull<c_void>) -> Result<Self> {
        let key = interface.key();
        interface.info()?;
        interface.check_threading(&key)?;
        let (raw, name) = (domain.cast(), interface.domain.clone());
        let domain = OpenDomain { raw, name, next_key: AtomicU64::new(0), _fabric: None };
        Ok(Self { interface: interface.clone(), usage: Use::borrowed(key, domain) })
    }

    /// What it was opened of.
    #[must_use]
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// How many users the domain has in this process, this one included. What is made in it is a user as well.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn users(&self) -> Result<usize> {
        self.usage.users()
    }

    /// The `fid_domain`, to be used by others as long as this is there, and not to be closed by them.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.raw()?.cast())
    }

    /// Ends this use, and tells how many other users the domain has in this process; at none, it has been closed.
    ///
    /// Dropping does the same, and logs what goes wrong.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where it was the last use and libfabric reports a failure: the domain counts as
    /// closed all the same. [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "fi_close")]
    pub fn close(self) -> Result<usize> {
        self.usage.close()
    }

    /// The domain, in the process that opened it.
    pub(super) fn raw(&self) -> Result<*mut fid_domain> {
        Ok(self.usage.get()?.raw.as_ptr())
    }

    /// Its name for messages.
    pub(super) fn name(&self) -> &str {
        &self.interface.domain
    }

    /// A key that no other region of ours in this domain has.
    pub(super) fn next_key(&self) -> Result<u64> {
        Ok(self.usage.get()?.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// What a function made in the domain, to be closed once, and before `parents`.
    ///
    /// # Safety
    ///
    /// `raw` is null, or an object of libfabric's that was made in this domain just now and hangs on no more than `parents`.
    pub(super) unsafe fn object<T, P>(
        &self,
        function: &'static str,
        status: c_int,
        raw: *mut T,
        parents: P,
    ) -> Result<Arc<Object<fid, Self, P>>> {
        let raw = made(function, self.name(), status, raw)?;
        let destroy = Destroy { name: "fi_close", function: fi_close };
        // SAFETY: as our caller promises; every object of libfabric begins with its `fid`. Any thread may use it, or the domain
        // would not be open.
        Ok(unsafe { Object::new(raw.cast(), destroy, parents, self.clone()) })
    }
}

impl Home for Domain {
    fn check(&self, function: &'static str, status: c_int) -> Result<()> {
        if status == 0 { Ok(()) } else { Err(failed(function, self.name(), status)) }
    }
}

/// What a function made, or why it did not.
fn made<T>(function: &'static str, device: &str, status: c_int, raw: *mut T) -> Result<NonNull<T>> {
    match NonNull::new(raw) {
        Some(raw) if status == 0 => Ok(raw),
        _ if status == 0 => Err(call(function, device, io::Error::other("it succeeded and made nothing"))),
        _ => Err(failed(function, device, status)),
    }
}
