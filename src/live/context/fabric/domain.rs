//! Domains, which are shared, and their fabrics.

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
use crate::live::context::handle::Handle;
use crate::live::context::object::{Closed, Destroy, Object, Parent};
use crate::live::context::registry::{Lease, Registry, Shared};
use crate::live::vendor;
use crate::types::Bdf;

/// The open domains and fabrics of this process. Opening a domain may lock `FABRICS` while `DOMAINS` is locked; no code
/// locks the two in the other order, so there is no deadlock.
static DOMAINS: Registry<OpenDomain> = Registry::new();
static FABRICS: Registry<OpenFabric> = Registry::new();

/// A handle of an open domain. Clones are further handles of the same domain. Each object made in the domain holds the
/// domain.
#[doc(alias = "fid_domain")]
#[derive(Debug, Clone)]
pub struct Domain {
    /// The interface that endpoints are made from. Two handles of one domain can come from different answers of
    /// libfabric.
    pub(super) interface: Interface,
    handle: Handle<OpenDomain>,
}

/// The properties that must be equal to share a domain.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) fabric: FabricKey,
    pub(super) address: Option<Bdf>,
    pub(super) domain: String,
    /// The kind of endpoint: the tcp provider's domains are made for one kind.
    pub(super) endpoint: u32,
    pub(super) capabilities: u64,
    pub(super) memory_mode: c_int,
    pub(super) threading: u32,
}

/// The properties that must be equal to share a fabric.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FabricKey {
    pub(super) provider: String,
    pub(super) name: String,
    /// The API version that nearfab requested from libfabric.
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
    /// The next key for a memory region, for providers that do not choose keys.
    next_key: AtomicU64,
    /// A lease of the fabric, dropped after the domain is closed. `None` for a borrowed domain: its owner holds the
    /// fabric.
    _fabric: Option<Lease<OpenFabric>>,
}

// SAFETY: a fabric is tied to no thread: libfabric lets any thread open domains on it and close it. The pointer never
// changes.
unsafe impl Send for OpenFabric {}
// SAFETY: libfabric locks the state of a fabric: any threads may open domains on it at the same time. The pointer never
// changes.
unsafe impl Sync for OpenFabric {}
// SAFETY: `check_threading` passes domains with FI_THREAD_SAFE only, which any thread may use and close. The pointer
// never changes.
unsafe impl Send for OpenDomain {}
// SAFETY: `check_threading` passes domains with FI_THREAD_SAFE only, which any threads may use at the same time. The
// pointer never changes.
unsafe impl Sync for OpenDomain {}

impl Interface {
    /// Opens the domain, or shares it if this process has it open with equal [properties](crate::context::fabric).
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): libfabric fails, or the domain's threading model does not let all threads
    /// use the domain at the same time. [`Error::Forked`](crate::Error::Forked): in a forked child.
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
        Ok(Domain { interface: self.clone(), handle: Handle::Leased(lease) })
    }

    /// Fails unless all threads may use the domain at the same time.
    fn check_threading(&self, key: &Key) -> Result<()> {
        if key.threading == FI_THREAD_SAFE {
            return Ok(());
        }
        let reason = format!("only one thread at a time may use the domain (threading model {})", key.threading);
        Err(call("fi_domain", &self.domain, io::Error::new(io::ErrorKind::Unsupported, reason)))
    }
}

impl OpenFabric {
    fn open(library: &Fabric, info: NonNull<fi_info>, name: &str) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: `info` is an entry of libfabric's list. The caller's interface keeps the list alive, and nothing
        // changes the list.
        let attributes = unsafe { (*info.as_ptr()).fabric_attr };
        // SAFETY: the attributes belong to an entry that libfabric made, as the function requires. The function writes
        // one pointer.
        let status = unsafe { (library.fi_fabric)(attributes, &raw mut raw, ptr::null_mut()) };
        Ok(Self { raw: made("fi_fabric", name, status, raw)?, name: name.to_owned() })
    }
}

impl OpenDomain {
    fn open(fabric: Lease<OpenFabric>, info: NonNull<fi_info>, name: &str) -> Result<Self> {
        let mut raw = ptr::null_mut();
        let parent = fabric.shared()?.raw.as_ptr();
        // SAFETY: the fabric is open, because the lease holds it. `info` is an entry of libfabric's list, with this
        // fabric's attributes. The caller's interface keeps the list alive. The function writes one pointer.
        let status = unsafe { fi_domain(parent, info.as_ptr(), &raw mut raw, ptr::null_mut()) };
        let raw = made("fi_domain", name, status, raw)?;
        Ok(Self { raw, name: name.to_owned(), next_key: AtomicU64::new(0), _fabric: Some(fabric) })
    }
}

impl Shared for OpenFabric {
    type Key = FabricKey;

    unsafe fn close(&self) -> Result<()> {
        // SAFETY: the object is open, because only this function closes it. The caller promises to call this function
        // once, in the process that opened the object. The caller also promises that nothing uses the object from here
        // on. Each object of libfabric begins with its `fid`.
        let status = unsafe { fi_close(self.raw.as_ptr().cast()) };
        if status == 0 { Ok(()) } else { Err(failed("fi_close", &self.name, status)) }
    }
}

impl Shared for OpenDomain {
    type Key = Arc<Key>;

    unsafe fn close(&self) -> Result<()> {
        // SAFETY: the object is open, because only this function closes it. The caller promises to call this function
        // once, in the process that opened the object. The caller also promises that nothing uses the object from here
        // on. Each object of libfabric begins with its `fid`.
        let status = unsafe { fi_close(self.raw.as_ptr().cast()) };
        if status == 0 { Ok(()) } else { Err(failed("fi_close", &self.name, status)) }
    }
}

impl Domain {
    /// Makes a handle of a domain that another runtime of this process opened. nearfab does not close the domain, and
    /// [`Interface::open`] does not share it.
    ///
    /// # Safety
    ///
    /// `domain` is an open `fid_domain` of `interface`, opened through the same libfabric. The domain stays open until
    /// this handle, its clones and all objects made in the domain are dropped.
    ///
    /// # Errors
    /// The errors of [`Interface::open`].
    #[doc(alias = "fid_domain")]
    pub unsafe fn borrow_raw(interface: &Interface, domain: NonNull<c_void>) -> Result<Self> {
        let key = interface.key();
        interface.info()?;
        interface.check_threading(&key)?;
        let (raw, name) = (domain.cast(), interface.domain.clone());
        let domain = OpenDomain { raw, name, next_key: AtomicU64::new(0), _fabric: None };
        Ok(Self { interface: interface.clone(), handle: Handle::borrowed(key, domain) })
    }

    /// Returns the interface that the domain was opened from.
    #[must_use]
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Returns the number of users that the domain has in this process, this handle included. Each handle and each
    /// object made in the domain is a user.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn users(&self) -> Result<usize> {
        self.handle.users()
    }

    /// Returns the `fid_domain` for other code, which must not close it. The pointer is valid as long as this handle
    /// exists.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.raw()?.cast())
    }

    /// Closes this handle, and the domain if this was its last user.
    ///
    /// Dropping the handle does the same, and logs a failure.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): this was the last user and libfabric fails to close the domain. The domain
    /// counts as closed nevertheless. [`Error::Forked`](crate::Error::Forked): in a forked child.
    #[doc(alias = "fi_close")]
    pub fn close(self) -> Result<Closed> {
        self.handle.close()
    }

    /// Returns the domain. Fails outside the process that opened the domain.
    pub(super) fn raw(&self) -> Result<*mut fid_domain> {
        Ok(self.handle.get()?.raw.as_ptr())
    }

    /// Returns the domain's name for messages.
    pub(super) fn name(&self) -> &str {
        &self.interface.domain
    }

    /// Returns a key that no other region of nearfab in this domain has.
    pub(super) fn next_key(&self) -> Result<u64> {
        Ok(self.handle.get()?.next_key.fetch_add(1, Ordering::Relaxed))
    }

    /// Wraps the object that a function made in the domain. The object is closed once, and before `dependencies`.
    ///
    /// # Safety
    ///
    /// `raw` is null, or an object that libfabric made in this domain just now, which depends on the domain and
    /// `dependencies` only.
    pub(super) unsafe fn object<T, P>(
        &self,
        function: &'static str,
        status: c_int,
        raw: *mut T,
        dependencies: P,
    ) -> Result<Arc<Object<fid, Self, P>>> {
        let raw = made(function, self.name(), status, raw)?;
        let destroy = Destroy { name: "fi_close", function: fi_close };
        // SAFETY: the caller promises that libfabric made the object in this domain just now, and that the object
        // depends on the domain and `dependencies` only. Each object of libfabric begins with its `fid`. Only
        // `fi_close` closes the object. Any thread may use the object, because the domain passed `check_threading`.
        Ok(unsafe { Object::new(raw.cast(), destroy, dependencies, self.clone()) })
    }
}

impl Parent for Domain {
    fn check(&self, function: &'static str, status: c_int) -> Result<()> {
        if status == 0 { Ok(()) } else { Err(failed(function, self.name(), status)) }
    }
}

/// Returns the object that a function made, or the error if the function made none.
fn made<T>(function: &'static str, device: &str, status: c_int, raw: *mut T) -> Result<NonNull<T>> {
    match NonNull::new(raw) {
        Some(raw) if status == 0 => Ok(raw),
        _ if status == 0 => Err(call(function, device, io::Error::other("it succeeded but returned no object"))),
        _ => Err(failed(function, device, status)),
    }
}
