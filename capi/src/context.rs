//! Open devices.

use std::ffi::c_char;
use std::sync::Arc;

use nearfab::context::{Efa, PortState};

use crate::bdf::NearfabBdf;
use crate::boundary::{Outcome, guard};
use crate::device::NEARFAB_NAME_SIZE;
use crate::handle::{Kind, Table};
use crate::host::NearfabHost;
use crate::pointer::{self, Array, Place};

/// Shared with the calls that are at work on it, which are not users of the interface.
static EFAS: Table<Arc<Efa>> = Table::new(Kind::Efa);

/// An open EFA interface: one of its users in this process, who share one context. Close it with nearfab_efa_close. In
/// a forked child it is NEARFAB_ERROR_FORKED: open the interface again there.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabEfa {
    /// Zero is never an open interface.
    pub raw: u64,
}

/// What an open EFA interface says about itself.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct NearfabEfaAttributes {
    /// The node's GUID, in host order; 0 from drivers before 2.12.
    pub node_guid: u64,
    /// The largest memory region, in bytes.
    pub max_memory_region_size: u64,
    /// Memory regions at a time, of all processes.
    pub max_memory_regions: u32,
    /// Protection domains at a time, of all processes.
    pub max_protection_domains: u32,
    /// Queue pairs at a time, of all processes.
    pub max_queue_pairs: u32,
    /// Completion queues at a time, of all processes.
    pub max_completion_queues: u32,
    /// Outstanding work requests of a send queue.
    pub max_send_requests: u32,
    /// Outstanding work requests of a receive queue.
    pub max_receive_requests: u32,
    /// Bytes that a send may carry inside the work request.
    pub max_inline: u32,
    /// The longest message that one packet carries, in bytes.
    pub max_message_size: u32,
    /// The longest RDMA read or write, in bytes.
    pub max_rdma_size: u32,
    /// What it can do: the bits of EFADV_DEVICE_ATTR_CAPS_* in infiniband/efadv.h.
    pub capabilities: u32,
    /// The GID of its port, which peers address it by.
    pub gid: [u8; 16],
    /// Whether its port carries traffic.
    pub port_active: bool,
    /// Zero.
    pub reserved: [u8; 7],
    /// The firmware's version; "0.0.0.0" from every driver so far.
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

/// Opens the EFA interface at an address, or shares it where this process has it open. Only interfaces of the live
/// machine (nearfab_host_discover) can be opened.
///
/// # Errors
/// NEARFAB_ERROR_NOT_LIVE; NEARFAB_ERROR_NO_SUCH_DEVICE where the host has no such interface, or one without a driver;
/// NEARFAB_ERROR_NODE_REFUSED where its node cannot be opened; NEARFAB_ERROR_LIBRARY or NEARFAB_ERROR_MISSING_SYMBOL
/// where libibverbs is not installed, or too old; NEARFAB_ERROR_CALL where libibverbs fails; NEARFAB_ERROR_FORKED where
/// the host is the parent's, or this process was forked while another thread was opening or closing an interface;
/// NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `efa` points to a nearfab_efa_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_efa_open(host: NearfabHost, address: NearfabBdf, efa: *mut NearfabEfa) -> i32 {
    guard(|| {
        // SAFETY: as our caller promises.
        let place = unsafe { Place::new("efa", efa) }?;
        let efa = Efa::open(&host.get()?, address.to_rust()?)?;
        place.set(NearfabEfa { raw: EFAS.insert(Arc::new(efa))? });
        Ok(())
    })
}

/// Ends this use of an interface. `users` may be NULL and else gets the number of users that are left in this process;
/// at 0 it has been closed. The handle is an error from then on, in every thread; calls that have begun on it end well,
/// and until the last of them does, this use is one of those left.
///
/// # Errors
/// NEARFAB_ERROR_CALL where libibverbs reports a failure: the interface counts as closed all the same.
/// NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE.
///
/// # Safety
/// `users` is NULL or points to a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_efa_close(efa: NearfabEfa, users: *mut usize) -> i32 {
    guard(|| {
        let efa = EFAS.remove(efa.raw)?;
        let left = efa.users()?;
        // Where a call is at work on it, the use is left to that one, and ends with it.
        let left = Arc::into_inner(efa).map_or(Ok(left), Efa::close)?;
        if !users.is_null() {
            // SAFETY: not null, and our caller promises the rest.
            unsafe { users.write(left) };
        }
        Ok(())
    })
}

/// The number of users that the interface has in this process, this one included.
///
/// # Errors
/// NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `users` points to a size_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_efa_users(efa: NearfabEfa, users: *mut usize) -> i32 {
    guard(|| {
        // SAFETY: as our caller promises.
        let users = unsafe { Place::new("users", users) }?;
        users.set(efa.get()?.users()?);
        Ok(())
    })
}

/// Asks an open interface for its attributes and limits. `size` is sizeof *attributes.
///
/// # Errors
/// NEARFAB_ERROR_LIBRARY or NEARFAB_ERROR_MISSING_SYMBOL where libefa is not installed, or too old; NEARFAB_ERROR_CALL
/// where it or libibverbs fails; NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
///
/// # Safety
/// `attributes` points to `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nearfab_efa_query(efa: NearfabEfa, attributes: *mut NearfabEfaAttributes, size: usize) -> i32 {
    guard(|| {
        // SAFETY: as our caller promises.
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
    fn a_forked_child_does_not_wait_for_what_threads_of_its_parent_held() {
        const FORKED: i32 = ErrorCode::Forked as i32;
        const NOT_LIVE: i32 = ErrorCode::NotLive as i32;
        let address = NearfabBdf { bus: 0xc9, ..NearfabBdf::default() };
        let inherited = host();
        let (tell_held, held) = mpsc::channel();
        let (tell_done, done) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                let _tables = (HOSTS.hold(), EFAS.hold());
                tell_held.send(()).unwrap();
                done.recv().unwrap_err();
            });
            held.recv().unwrap();
            let _until_it_returns_or_panics = tell_done;
            in_a_child(|| {
                let (mut users, mut efa) = (0, NearfabEfa { raw: (Kind::Efa as u64) << 56 });
                // SAFETY: a place for a number.
                let users = unsafe { nearfab_efa_users(efa, &raw mut users) };
                // SAFETY: a place for a handle.
                let opened = [inherited, host()].map(|host| unsafe { nearfab_efa_open(host, address, &raw mut efa) });
                users == ErrorCode::InvalidHandle as i32 && opened == [FORKED, NOT_LIVE]
            });
        });
    }

    fn host() -> NearfabHost {
        let mut host = NearfabHost { raw: 0 };
        // SAFETY: a text, and a place for a handle.
        assert_eq!(unsafe { nearfab_host_from_instance(c"trn2.48xlarge".as_ptr(), &raw mut host) }, 0);
        host
    }
}
