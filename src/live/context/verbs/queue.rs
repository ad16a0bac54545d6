//! Completion queues and queue pairs.

use std::ffi::c_void;
use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use nearfab_sys::verbs::{EFADV_QP_DRIVER_TYPE_SRD, IBV_QPT_DRIVER, IBV_QPT_UD, ibv_qp_cap, ibv_qp_init_attr};
use nearfab_sys::{ibv_cq, ibv_qp};

use super::Efa;
use super::device::failed;
use super::memory::ProtectionDomain;
use crate::error::Result;
use crate::live::context::object::{Closed, Destroy, Object};
use crate::live::vendor;

/// Where finished work of queue pairs is told.
///
/// Clones are uses of one queue; queue pairs hold it.
#[doc(alias = "ibv_cq")]
#[derive(Debug, Clone)]
pub struct CompletionQueue {
    object: Arc<Object<ibv_cq, Efa>>,
}

/// A send queue and a receive queue.
#[doc(alias = "ibv_qp")]
#[derive(Debug, Clone)]
pub struct QueuePair {
    object: Arc<Object<ibv_qp, Efa, (ProtectionDomain, CompletionQueue, CompletionQueue)>>,
}

/// The kind of a queue pair. EFA has no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueuePairKind {
    /// Scalable reliable datagrams, EFA's own: any length, in any order, RDMA.
    Srd,
    /// Unreliable datagrams of one packet.
    Ud,
}

/// What a queue pair is to be.
///
/// ```
/// use nearfab::context::QueuePairOptions;
/// let options = QueuePairOptions { send_requests: 256, ..QueuePairOptions::srd() };
/// assert_eq!(options.receive_requests, 64);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuePairOptions {
    /// The kind.
    pub kind: QueuePairKind,
    /// Sends that may be under way.
    pub send_requests: u32,
    /// Receives that may wait.
    pub receive_requests: u32,
    /// Memory segments of a send.
    pub send_segments: u32,
    /// Memory segments of a receive.
    pub receive_segments: u32,
    /// Bytes that a send may carry inside its work request.
    pub inline: u32,
}

impl QueuePairOptions {
    /// Scalable reliable datagrams, 64 requests of one segment each way.
    #[must_use]
    pub fn srd() -> Self {
        Self { kind: QueuePairKind::Srd, ..Self::ud() }
    }

    /// Unreliable datagrams, 64 requests of one segment each way.
    #[must_use]
    pub fn ud() -> Self {
        Self {
            kind: QueuePairKind::Ud,
            send_requests: 64,
            receive_requests: 64,
            send_segments: 1,
            receive_segments: 1,
            inline: 0,
        }
    }

    fn attributes(&self, send_cq: *mut ibv_cq, recv_cq: *mut ibv_cq) -> ibv_qp_init_attr {
        ibv_qp_init_attr {
            qp_context: ptr::null_mut(),
            send_cq,
            recv_cq,
            srq: ptr::null_mut(),
            cap: ibv_qp_cap {
                max_send_wr: self.send_requests,
                max_recv_wr: self.receive_requests,
                max_send_sge: self.send_segments,
                max_recv_sge: self.receive_segments,
                max_inline_data: self.inline,
            },
            qp_type: match self.kind {
                QueuePairKind::Srd => IBV_QPT_DRIVER,
                QueuePairKind::Ud => IBV_QPT_UD,
            },
            // The driver knows no sends without a completion.
            sq_sig_all: 1,
        }
    }
}

impl CompletionQueue {
    pub(super) fn new(efa: &Efa, entries: u32) -> Result<Self> {
        let raw = efa.device()?.create_cq(entries)?;
        let destroy = Destroy { name: "ibv_destroy_cq", function: vendor::verbs()?.ibv_destroy_cq };
        // SAFETY: it was made on this interface just now, and hangs on nothing else.
        Ok(Self { object: unsafe { Object::new(raw, destroy, (), efa.clone()) } })
    }

    /// The `ibv_cq`, to be used by others as long as this is there, and not to be destroyed by them.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.object.get()?.cast())
    }

    /// Ends this use of the queue.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where it was the last use and libibverbs reports a failure,
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "ibv_destroy_cq")]
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}

impl ProtectionDomain {
    /// Makes a queue pair, whose sends and receives complete on these queues.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where it cannot be made, and where a completion queue is of another interface;
    /// [`Error::Library`](crate::Error::Library) and [`Error::MissingSymbol`](crate::Error::MissingSymbol) where libefa is
    /// missing or too old; [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "ibv_create_qp")]
    #[doc(alias = "efadv_create_driver_qp")]
    pub fn queue_pair(
        &self,
        options: &QueuePairOptions,
        send: &CompletionQueue,
        receive: &CompletionQueue,
    ) -> Result<QueuePair> {
        let efa = &self.object.home;
        let device = efa.device()?;
        let function = match options.kind {
            QueuePairKind::Srd => "efadv_create_driver_qp",
            QueuePairKind::Ud => "ibv_create_qp",
        };
        // libibverbs would take the number of the queue for one of its own interface's.
        for queue in [send, receive] {
            if !queue.object.home.is_same(efa)? {
                let other = queue.object.home.address();
                let reason = format!("a completion queue is of another interface, {other}");
                return Err(failed(function, device.name(), io::Error::new(io::ErrorKind::InvalidInput, reason)));
            }
        }
        let mut attributes = options.attributes(send.object.get()?, receive.object.get()?);
        let raw = match options.kind {
            QueuePairKind::Ud => {
                // SAFETY: domain and queues are open and of one device.
                unsafe { (vendor::verbs()?.ibv_create_qp)(self.object.get()?, &raw mut attributes) }
            }
            QueuePairKind::Srd => {
                let (create, domain) = (vendor::efadv()?.efadv_create_driver_qp, self.object.get()?);
                // SAFETY: as above.
                unsafe { create(domain, &raw mut attributes, EFADV_QP_DRIVER_TYPE_SRD) }
            }
        };
        let Some(raw) = NonNull::new(raw) else {
            return Err(failed(function, device.name(), io::Error::last_os_error()));
        };
        let destroy = Destroy { name: "ibv_destroy_qp", function: vendor::verbs()?.ibv_destroy_qp };
        let parents = (self.clone(), send.clone(), receive.clone());
        // SAFETY: it was made in this domain and with these queues just now, and hangs on nothing else.
        Ok(QueuePair { object: unsafe { Object::new(raw, destroy, parents, efa.clone()) } })
    }
}

impl QueuePair {
    /// Its number, by which peers address it together with the interface's GID.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn number(&self) -> Result<u32> {
        // SAFETY: the queue pair is open, and its number never changes.
        Ok(unsafe { (*self.object.get()?).qp_num })
    }

    /// The `ibv_qp`, to be used by others as long as this is there, and not to be destroyed by them.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.object.get()?.cast())
    }

    /// Ends this use of the queue pair.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where it was the last use and libibverbs reports a failure,
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "ibv_destroy_qp")]
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}
