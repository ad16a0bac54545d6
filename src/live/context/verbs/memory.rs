//! Protection domains, and memory regions that an interface may read and write.

use std::ffi::c_void;
use std::io;
use std::ops::BitOr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::Arc;

use nearfab_sys::verbs::ibv_mr;
use nearfab_sys::{ibv_pd, verbs};
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};

use super::Efa;
use super::device::Device;
use crate::error::{Error, Result};
use crate::live::context::object::{Closed, Destroy, Object};
use crate::live::vendor;

/// A protection domain: only its queue pairs can use its memory regions.
///
/// Clones are handles of one domain. Each queue pair and memory region of the domain holds the domain, so the domain is
/// closed after them.
///
/// ```no_run
/// use nearfab::Host;
/// use nearfab::context::{Access, Efa, QueuePairOptions};
///
/// let host = Host::discover()?;
/// let efa = Efa::open(&host, host.efa_interfaces()[0].address())?;
/// let domain = efa.protection_domain()?;
/// let queue = efa.completion_queue(64)?;
/// let pair = domain.queue_pair(&QueuePairOptions::srd(), &queue, &queue)?;
/// println!("queue pair {} at {}", pair.number()?, efa.gid()?);
/// # Ok::<(), nearfab::Error>(())
/// ```
#[doc(alias = "ibv_pd")]
#[derive(Debug, Clone)]
pub struct ProtectionDomain {
    pub(super) object: Arc<Object<ibv_pd, Efa>>,
}

/// Registered memory, which an interface may read and write.
///
/// Clones are handles of one region.
#[doc(alias = "ibv_mr")]
#[derive(Debug, Clone)]
pub struct MemoryRegion {
    object: Arc<Object<ibv_mr, Efa, ProtectionDomain>>,
}

/// The ways in which the interface and its peers may use a memory region: a set.
///
/// ```
/// use nearfab::context::Access;
/// let access = Access::LOCAL_WRITE | Access::REMOTE_READ;
/// assert_eq!(access.bits(), 5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Access(u32);

impl Access {
    /// The interface may read the memory. Every region has this access.
    pub const LOCAL_READ: Self = Self(0);
    /// The interface may write received messages and the results of RDMA reads.
    pub const LOCAL_WRITE: Self = Self(verbs::IBV_ACCESS_LOCAL_WRITE);
    /// Peers may write the memory. Requires [`LOCAL_WRITE`](Self::LOCAL_WRITE) too.
    pub const REMOTE_WRITE: Self = Self(verbs::IBV_ACCESS_REMOTE_WRITE);
    /// Peers may read the memory.
    pub const REMOTE_READ: Self = Self(verbs::IBV_ACCESS_REMOTE_READ);

    /// Returns the bits of `ibv_access_flags`.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl BitOr for Access {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl ProtectionDomain {
    pub(super) fn new(efa: &Efa) -> Result<Self> {
        let raw = efa.device()?.alloc_pd()?;
        let destroy = Destroy { name: "ibv_dealloc_pd", function: vendor::verbs()?.ibv_dealloc_pd };
        // SAFETY: `alloc_pd` made the domain on this interface just now, and nothing else destroys it. The domain
        // depends on the context only, which the handle `efa` keeps open. libibverbs is thread-safe.
        Ok(Self { object: unsafe { Object::new(raw, destroy, (), efa.clone()) } })
    }

    /// Registers memory of this process.
    ///
    /// The pages are locked, so the process's limit on locked memory (`RLIMIT_MEMLOCK`) must be high enough.
    ///
    /// # Safety
    ///
    /// The memory stays mapped until the region is closed. While the interface may write the memory, or a peer may
    /// write it by `access`, no Rust reference to the memory is used.
    ///
    /// # Errors
    /// [`Error::Memory`]: the memory cannot be registered; the error has the limits that may be the reason.
    /// [`Error::Forked`]: in a forked child.
    #[doc(alias = "ibv_reg_mr")]
    pub unsafe fn register(&self, memory: NonNull<[u8]>, access: Access) -> Result<MemoryRegion> {
        let (domain, device, verbs) = (self.object.get()?, self.object.parent.device()?, vendor::verbs()?);
        let (start, length) = (memory.cast::<c_void>().as_ptr(), memory.len());
        // SAFETY: the domain is open, because this handle holds it. `start` and `length` describe the caller's memory,
        // which the caller promises to keep mapped and not to use by reference while the interface writes it. The
        // kernel refuses unknown access flags.
        let raw = unsafe { (verbs.ibv_reg_mr)(domain, start, length, access.0.cast_signed()) };
        self.region(raw, device, length)
    }

    /// Registers a part of a dma-buf: memory of another device, which an accelerator's driver exported.
    ///
    /// `address` is the address by which work requests and peers name the first byte. The kernel holds the dma-buf
    /// until the region is closed; the descriptor may be closed earlier.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`]: libibverbs is older than rdma-core 34. [`Error::Memory`]: the memory cannot be
    /// registered. [`Error::Forked`]: in a forked child.
    #[doc(alias = "ibv_reg_dmabuf_mr")]
    pub fn register_dmabuf(
        &self,
        dmabuf: BorrowedFd<'_>,
        offset: u64,
        length: usize,
        address: u64,
        access: Access,
    ) -> Result<MemoryRegion> {
        let (domain, device, verbs) = (self.object.get()?, self.object.parent.device()?, vendor::verbs_dmabuf()?);
        let (fd, access) = (dmabuf.as_raw_fd(), access.0.cast_signed());
        // SAFETY: the domain is open, because this handle holds it, and the descriptor is open, because it is borrowed.
        // libibverbs follows no address: it passes `offset`, `length`, `address` and `access` to the kernel as numbers.
        // The kernel fails unless the descriptor is a dma-buf that contains the range, and takes `address` as a name
        // only. The interface therefore reaches only the memory behind the descriptor, and no other memory of this
        // process. Memory behind a descriptor can change at any time, like the content of a file. Safe code has no
        // reference to such memory, and the unsafe contract of a mapping excludes such changes.
        let raw = unsafe { (verbs.ibv_reg_dmabuf_mr)(domain, offset, length, address, fd, access) };
        self.region(raw, device, length)
    }

    fn region(&self, raw: *mut ibv_mr, device: &Device, length: usize) -> Result<MemoryRegion> {
        let Some(raw) = NonNull::new(raw) else { return Err(refused(io::Error::last_os_error(), device, length)) };
        let destroy = Destroy { name: "ibv_dereg_mr", function: vendor::verbs()?.ibv_dereg_mr };
        // SAFETY: libibverbs made the region in this domain just now, and nothing else destroys it. The region depends
        // on the domain and the context only, which the two handles keep open. libibverbs is thread-safe.
        Ok(MemoryRegion { object: unsafe { Object::new(raw, destroy, self.clone(), self.object.parent.clone()) } })
    }

    /// Returns the `ibv_pd` for other code, which must not destroy it. The pointer is valid as long as this handle
    /// exists.
    ///
    /// # Errors
    /// [`Error::Forked`]: in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.object.get()?.cast())
    }

    /// Closes this handle, and the domain if this was the last handle.
    ///
    /// # Errors
    /// [`Error::Call`]: this was the last handle and libibverbs fails to destroy the object. [`Error::Forked`]: in a
    /// forked child.
    #[doc(alias = "ibv_dealloc_pd")]
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}

impl MemoryRegion {
    /// Returns the key by which work requests of this process name the region.
    ///
    /// # Errors
    /// [`Error::Forked`]: in a forked child.
    pub fn local_key(&self) -> Result<u32> {
        // SAFETY: the region is open, because this handle holds it, so the pointer is valid. libibverbs never changes
        // `lkey`.
        Ok(unsafe { (*self.object.get()?).lkey })
    }

    /// Returns the key by which peers name the region.
    ///
    /// # Errors
    /// [`Error::Forked`]: in a forked child.
    pub fn remote_key(&self) -> Result<u32> {
        // SAFETY: the region is open, because this handle holds it, so the pointer is valid. libibverbs never changes
        // `rkey`.
        Ok(unsafe { (*self.object.get()?).rkey })
    }

    /// Returns the protection domain of the region.
    #[must_use]
    pub fn domain(&self) -> &ProtectionDomain {
        &self.object.dependencies
    }

    /// Returns the `ibv_mr` for other code, which must not destroy it. The pointer is valid as long as this handle
    /// exists.
    ///
    /// # Errors
    /// [`Error::Forked`]: in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.object.get()?.cast())
    }

    /// Closes this handle, and the region if this was the last handle.
    ///
    /// # Errors
    /// [`Error::Call`]: this was the last handle and libibverbs fails to destroy the object. [`Error::Forked`]: in a
    /// forked child.
    #[doc(alias = "ibv_dereg_mr")]
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}

/// Makes the error of a failed registration, with the meaning of its errno.
fn refused(cause: io::Error, device: &Device, length: usize) -> Error {
    let hint = match cause.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOMEM | Errno::EAGAIN | Errno::EPERM) => {
            format!("{}{}", lockable(), limits(device))
        }
        Some(Errno::EINVAL | Errno::E2BIG) => {
            format!("this interface may not support the access{}", limits(device))
        }
        Some(Errno::EFAULT) => "a part of the memory is not mapped, or not with the rights of the access".to_owned(),
        Some(Errno::EOPNOTSUPP) => "the driver or libibverbs of this machine does not support it".to_owned(),
        _ => "the system refused it".to_owned(),
    };
    Error::Memory { device: device.name().to_owned(), length, hint, cause }
}

/// Returns how much memory this process may lock.
fn lockable() -> String {
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((RLIM_INFINITY, _)) => "this process may lock memory without limit".to_owned(),
        Ok((bytes, _)) => format!(
            "this process may lock {bytes} bytes of memory: raise the limit (ulimit -l; in a service LimitMEMLOCK, in \
             containers containerd's LimitMEMLOCK)"
        ),
        Err(error) => format!("RLIMIT_MEMLOCK could not be read ({error})"),
    }
}

/// Returns the device's limits on regions. Large memory in small pages can have too many pages for the device.
fn limits(device: &Device) -> String {
    let Ok(limits) = device.query_device() else { return String::new() };
    let page = limits.page_size_cap & limits.page_size_cap.wrapping_neg();
    let (regions, longest) = (limits.max_mr, limits.max_mr_size);
    format!(
        "; the interface has {regions} regions for all processes, each of at most {longest} bytes, in pages of {page} \
         bytes or more: with huge pages, memory has fewer pages"
    )
}
