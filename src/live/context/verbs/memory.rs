//! Protection domains, and memory that an interface may read and write.

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

/// What belongs together on an interface: only queue pairs of a domain reach its memory.
///
/// Clones are uses of one domain. What was made of it holds it, so it is closed after the last of that.
///
/// ```no_run
/// use nearfab::Host;
/// use nearfab::context::{Access, Efa, QueuePairOptions};
///
/// let host = Host::discover()?;
/// let efa = Efa::open(&host, host.efa()[0].address())?;
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

/// Memory that an interface may read and write.
#[doc(alias = "ibv_mr")]
#[derive(Debug, Clone)]
pub struct MemoryRegion {
    object: Arc<Object<ibv_mr, Efa, ProtectionDomain>>,
}

/// Who may do what with a memory region: a set.
///
/// ```
/// use nearfab::context::Access;
/// let access = Access::LOCAL_WRITE | Access::REMOTE_READ;
/// assert_eq!(access.bits(), 5);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Access(u32);

impl Access {
    /// The interface may read it, as it always may.
    pub const LOCAL_READ: Self = Self(0);
    /// The interface may write what it receives or reads from others.
    pub const LOCAL_WRITE: Self = Self(verbs::IBV_ACCESS_LOCAL_WRITE);
    /// Peers may write it; takes [`LOCAL_WRITE`](Self::LOCAL_WRITE) as well.
    pub const REMOTE_WRITE: Self = Self(verbs::IBV_ACCESS_REMOTE_WRITE);
    /// Peers may read it.
    pub const REMOTE_READ: Self = Self(verbs::IBV_ACCESS_REMOTE_READ);

    /// The bits of `ibv_access_flags`.
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
        // SAFETY: it was made on this interface just now, and hangs on nothing else.
        Ok(Self { object: unsafe { Object::new(raw, destroy, (), efa.clone()) } })
    }

    /// Registers memory of this process.
    ///
    /// The pages are locked, which the limit of the process on locked memory must allow.
    ///
    /// # Safety
    ///
    /// The memory stays mapped until the region is closed, and while the interface, or a peer by `access`, may write it, no
    /// reference of Rust's to it is used.
    ///
    /// # Errors
    /// [`Error::Memory`] where it cannot be registered, with the limits that may be the reason; [`Error::Forked`] in a forked
    /// child.
    #[doc(alias = "ibv_reg_mr")]
    pub unsafe fn register(&self, memory: NonNull<[u8]>, access: Access) -> Result<MemoryRegion> {
        let (domain, device, verbs) = (self.object.get()?, self.object.home.device()?, vendor::verbs()?);
        let (start, length) = (memory.cast::<c_void>().as_ptr(), memory.len());
        // SAFETY: the domain is open; the caller promises the rest.
        let raw = unsafe { (verbs.ibv_reg_mr)(domain, start, length, access.0.cast_signed()) };
        self.region(raw, device, length)
    }

    /// Registers a part of a dma-buf: memory of another device, as an accelerator's driver exports it.
    ///
    /// `address` is what work requests and peers call its first byte. The kernel holds the dma-buf until the region is closed;
    /// the descriptor may be closed before.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`] where libibverbs is older than rdma-core 34, [`Error::Memory`] where the memory cannot be
    /// registered, [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_reg_dmabuf_mr")]
    pub fn register_dmabuf(
        &self,
        dmabuf: BorrowedFd<'_>,
        offset: u64,
        length: usize,
        address: u64,
        access: Access,
    ) -> Result<MemoryRegion> {
        let (domain, device, verbs) = (self.object.get()?, self.object.home.device()?, vendor::verbs_dmabuf()?);
        let (fd, access) = (dmabuf.as_raw_fd(), access.0.cast_signed());
        // SAFETY: the domain is open, and the kernel checks the rest.
        let raw = unsafe { (verbs.ibv_reg_dmabuf_mr)(domain, offset, length, address, fd, access) };
        self.region(raw, device, length)
    }

    fn region(&self, raw: *mut ibv_mr, device: &Device, length: usize) -> Result<MemoryRegion> {
        let Some(raw) = NonNull::new(raw) else { return Err(refused(io::Error::last_os_error(), device, length)) };
        let destroy = Destroy { name: "ibv_dereg_mr", function: vendor::verbs()?.ibv_dereg_mr };
        // SAFETY: it was made in this domain just now.
        Ok(MemoryRegion { object: unsafe { Object::new(raw, destroy, self.clone(), self.object.home.clone()) } })
    }

    /// The `ibv_pd`, to be used by others as long as this is there, and not to be given back by them.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.object.get()?.cast())
    }

    /// Ends this use of the domain.
    ///
    /// # Errors
    /// [`Error::Call`] where it was the last use and libibverbs reports a failure, [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_dealloc_pd")]
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}

impl MemoryRegion {
    /// The key by which work requests of this process name it.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    pub fn local_key(&self) -> Result<u32> {
        // SAFETY: the region is open, and its keys never change.
        Ok(unsafe { (*self.object.get()?).lkey })
    }

    /// The key by which peers name it.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    pub fn remote_key(&self) -> Result<u32> {
        // SAFETY: as for the local one.
        Ok(unsafe { (*self.object.get()?).rkey })
    }

    /// The domain that it is in.
    #[must_use]
    pub fn domain(&self) -> &ProtectionDomain {
        &self.object.parents
    }

    /// The `ibv_mr`, to be used by others as long as this is there, and not to be given back by them.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.object.get()?.cast())
    }

    /// Ends this use of the region.
    ///
    /// # Errors
    /// [`Error::Call`] where it was the last use and libibverbs reports a failure, [`Error::Forked`] in a forked child.
    #[doc(alias = "ibv_dereg_mr")]
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}

/// What may stand against a registration, by its errno.
fn refused(source: io::Error, device: &Device, length: usize) -> Error {
    let hint = match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOMEM | Errno::EAGAIN | Errno::EPERM) => {
            format!("this process may lock memory {}{}", lockable(), limits(device))
        }
        Some(Errno::EINVAL | Errno::E2BIG) => {
            format!("the access may be one that this interface does not give{}", limits(device))
        }
        Some(Errno::EFAULT) => "not all of it is mapped with the rights that are asked for".to_owned(),
        Some(Errno::EOPNOTSUPP) => "the driver or the library of this machine does not know how to".to_owned(),
        _ => "the system refuses it".to_owned(),
    };
    Error::Memory { device: device.name().to_owned(), length, hint, source }
}

fn lockable() -> String {
    match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((RLIM_INFINITY, _)) => "without limit".to_owned(),
        Ok((bytes, _)) => {
            format!("up to {bytes} bytes (ulimit -l; of a service LimitMEMLOCK, of containers that of containerd)")
        }
        Err(error) => format!("as far as nobody knows ({error})"),
    }
}

/// Large memory in small pages can be too many pages for the device, whatever its length.
fn limits(device: &Device) -> String {
    let Ok(limits) = device.query_device() else { return String::new() };
    let page = limits.page_size_cap & limits.page_size_cap.wrapping_neg();
    let (regions, longest) = (limits.max_mr, limits.max_mr_size);
    format!(
        "; the interface has {regions} regions for all processes, each of at most {longest} bytes, in pages of {page} bytes \
         or more: huge pages make fewer of them"
    )
}
