//! Open EFA interfaces.

use std::ffi::c_char;
use std::sync::Arc;

use nearfab::PortState;
use nearfab::context::{Closed, Efa};

use crate::bdf::NearfabBdf;
use crate::boundary::{Outcome, guard};
use crate::device::NEARFAB_NAME_SIZE;
use crate::handle::{Kind, Table};
use crate::host::NearfabHost;
use crate::pointer::{self, Array, Place};

/// The open interfaces. A running call holds a clone of the `Arc`, which does not count as a user of the interface.
static EFAS: Table<Arc<Efa>> = Table::new(Kind::Efa);

/// A handle of one user of an open EFA interface. All users in this process share one ibv_context. Close the handle
/// with nearfab_efa_close. In a forked child the handle is NEARFAB_ERROR_FORKED: open the interface again in the child.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabEfa {
    /// The number of the handle, never 0 for an open interface.
    pub raw: u64,
}

/// The attributes and limits of an open EFA interface.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabEfaAttributes {
    /// The node GUID in host byte order: 0 with drivers before 2.12.
    pub node_guid: u64,
    /// The size of the largest possible memory region, in bytes.
    pub max_memory_region_size: u64,
    /// How many memory regions all processes together can have at one time.
    pub max_memory_regions: u32,
    /// How many protection domains all processes together can have at one time.
    pub max_protection_domains: u32,
    /// How many queue pairs all processes together can have at one time.
    pub max_queue_pairs: u32,
    /// How many completion queues all processes together can have at one time.
    pub max_completion_queues: u32,
    /// How many work requests can be outstanding on one send queue.
    pub max_send_requests: u32,
    /// How many work requests can be outstanding on one receive queue.
    pub max_receive_requests: u32,
    /// How many bytes a send can carry inside its work request.
    pub max_inline: u32,
    /// The size of the largest message that fits into one packet, in bytes.
    pub max_message_size: u32,
    /// The size of the largest RDMA read or write, in bytes.
    pub max_rdma_size: u32,
    /// The capabilities of the device: the bits EFADV_DEVICE_ATTR_CAPS_* of infiniband/efadv.h.
    pub capabilities: u32,
    /// The GID of the port. Peers address the interface by this GID.
    pub gid: [u8; 16],
    /// Whether the port is active and carries traffic.
    pub port_active: bool,
    /// Always 0.
    pub reserved: [u8; 7],
    /// The firmware version. Every driver so far reports "0.0.0.0".
    pub firmware: [c_char; NEARFAB_NAME_SIZE],
}

pointer::growing!(NearfabEfaAttributes, first: 144, last: firmware);

impl NearfabEfa {
    fn get(self) -> Outcome<Arc<Efa>> {
        EFAS.get(self.raw)
    }
}

impl NearfabEfaAttributes {
    fn query(efa: &Efa) -> Outcome<Self> {
        let device = efa.device_attributes()?;
        let port = efa.port_attributes()?;
        let own = efa.efa_attributes()?;
        Ok(Self {
            node_guid: device.node_guid,
            max_memory_region_size: device.max_memory_region_size,
            max_memory_regions: device.max_memory_regions,
            max_protection_domains: device.max_protection_domains,
            max_queue_pairs: device.max_queue_pairs,
            max_completion_queues: device.max_completion_queues,
            max_send_requests: own.max_send_requests,
            max_receive_requests: own.max_receive_requests,
            max_inline: own.max_inline.into(),
            max_message_size: port.max_message_size,
            max_rdma_size: own.max_rdma_size,
            capabilities: own.capabilities.bits(),
            gid: efa.gid()?.octets(),
            port_active: port.state == PortState::Active,
            reserved: [0; 7],
            firmware: pointer::name(&device.firmware),
        })
    }
}

/// Opens the EFA interface at a PCI address. If this process has the interface open already, the new handle shares the
/// open context. Only interfaces of the live machine (nearfab_host_discover) can be opened.
///
/// # Errors
/// - NEARFAB_ERROR_NOT_LIVE if the host is not the live machine.
/// - NEARFAB_ERROR_NO_SUCH_DEVICE if the host has no such interface, if the interface has no driver, or if the
///   interface changed since the host was discovered.
/// - NEARFAB_ERROR_NODE_REFUSED if the device node of the interface cannot be opened.
/// - NEARFAB_ERROR_LIBRARY or NEARFAB_ERROR_MISSING_SYMBOL if libibverbs is not installed or too old.
/// - NEARFAB_ERROR_CALL if libibverbs fails.
/// - NEARFAB_ERROR_FORKED if the host belongs to the parent process, or if this process was forked while another thread
///   was opening or closing an interface.
/// - NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `efa` points to a nearfab_efa_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_efa_open(host: NearfabHost, address: NearfabBdf, efa: *mut NearfabEfa) -> i32 {
    guard(|| {
        // SAFETY: the caller guarantees that `efa` is null or points to a nearfab_efa_t that this call may write.
        let place = unsafe { Place::new("efa", efa) }?;
        let efa = Efa::open(&host.get()?, address.to_rust()?)?;
        place.set(NearfabEfa { raw: EFAS.insert(Arc::new(efa))? });
        Ok(())
    })
}

/// Closes the handle of one user of an interface. If `users` is not NULL, `*users` becomes the number of users that are
/// left in this process. If `*users` is 0, the interface was closed.
///
/// After this call the handle is an error in every thread. Calls that other threads have begun on the handle end
/// normally. This user counts as left until the last of these calls has returned.
///
/// # Errors
/// NEARFAB_ERROR_CALL if libibverbs reports a failure: the interface still counts as closed. NEARFAB_ERROR_FORKED,
/// NEARFAB_ERROR_INVALID_HANDLE.
///
/// # Safety
/// `users` is NULL or points to a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_efa_close(efa: NearfabEfa, users: *mut usize) -> i32 {
    guard(|| {
        let efa = EFAS.remove(efa.raw)?;
        let users_before = efa.users()?;
        let left = match Arc::into_inner(efa).map(Efa::close).transpose()? {
            // Another thread's call still holds the interface. The interface loses this user when that call drops its
            // clone.
            None => users_before,
            Some(Closed::Now) => 0,
            // At least 1: another user may have opened the interface after `users_before` was read.
            Some(Closed::Later) => users_before.saturating_sub(1).max(1),
        };
        if !users.is_null() {
            // SAFETY: `users` is not null, so the caller guarantees that it points to a size_t that this call may
            // write.
            unsafe { users.write(left) };
        }
        Ok(())
    })
}

/// Gets the number of users of the interface in this process, including the user that owns the handle.
///
/// # Errors
/// NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `users` points to a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_efa_users(efa: NearfabEfa, users: *mut usize) -> i32 {
    guard(|| {
        // SAFETY: the caller guarantees that `users` is null or points to a size_t that this call may write.
        let users = unsafe { Place::new("users", users) }?;
        users.set(efa.get()?.users()?);
        Ok(())
    })
}

/// Queries the attributes and limits of an open interface. `size` is sizeof *attributes.
///
/// # Errors
/// - NEARFAB_ERROR_LIBRARY or NEARFAB_ERROR_MISSING_SYMBOL if libefa is not installed or too old.
/// - NEARFAB_ERROR_CALL if libefa or libibverbs fails.
/// - NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `attributes` points to `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_efa_query(efa: NearfabEfa, attributes: *mut NearfabEfaAttributes, size: usize) -> i32 {
    guard(|| {
        // SAFETY: the caller guarantees that `attributes` is null or points to `size` bytes that this call may write.
        let place = unsafe { Array::new("attributes", attributes, size, 1) }?;
        place.fill([NearfabEfaAttributes::query(&*efa.get()?)?]);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use nearfab::ErrorCode;

    use super::*;
    use crate::child::in_a_child;
    use crate::host::{HOSTS, nearfab_host_from_instance};

    #[test]
    fn a_forked_child_does_not_wait_for_locks_of_its_parents_threads() {
        const FORKED: i32 = ErrorCode::Forked as i32;
        const NOT_LIVE: i32 = ErrorCode::NotLive as i32;
        let address = NearfabBdf { bus: 0xc9, ..NearfabBdf::default() };
        let inherited = trn2();
        let (locked_sender, locked) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                let _locks = (HOSTS.lock(), EFAS.lock());
                locked_sender.send(()).unwrap();
                released.recv().unwrap_err();
            });
            locked.recv().unwrap();
            // Dropped when the closure returns or panics, which releases the locks.
            let _release = release;
            in_a_child(|| {
                let (mut users, mut efa) = (0, NearfabEfa { raw: (Kind::Efa as u64) << 56 });
                // SAFETY: `users` is a number that nothing else uses during the call.
                let users_error = unsafe { nearfab_efa_users(efa, &raw mut users) };
                // SAFETY: `efa` is a handle that nothing else uses during the call.
                let open = |host| unsafe { nearfab_efa_open(host, address, &raw mut efa) };
                users_error == ErrorCode::InvalidHandle as i32 && [inherited, trn2()].map(open) == [FORKED, NOT_LIVE]
            });
        });
    }

    fn trn2() -> NearfabHost {
        let mut host = NearfabHost { raw: 0 };
        // SAFETY: the name is NUL-terminated, and `host` is a handle that nothing else uses during the call.
        assert_eq!(unsafe { nearfab_host_from_instance(c"trn2.48xlarge".as_ptr(), &raw mut host) }, 0);
        host
    }
}
