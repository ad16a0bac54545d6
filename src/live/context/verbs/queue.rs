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

/// A completion queue, which reports the finished work of queue pairs.
///
/// Clones are handles of one queue. Each queue pair holds its completion queues.
#[doc(alias = "ibv_cq")]
#[derive(Debug, Clone)]
pub struct CompletionQueue {
    object: Arc<Object<ibv_cq, Efa>>,
}

/// A queue pair: a send queue and a receive queue.
///
/// Clones are handles of one queue pair.
#[doc(alias = "ibv_qp")]
#[derive(Debug, Clone)]
pub struct QueuePair {
    object: Arc<Object<ibv_qp, Efa, (ProtectionDomain, CompletionQueue, CompletionQueue)>>,
}

/// The kind of a queue pair. EFA has these two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum QueuePairKind {
    /// Scalable reliable datagrams, an EFA protocol: messages of any length, delivered in any order, and RDMA.
    Srd,
    /// Unreliable datagrams of one packet.
    Ud,
}

/// The kind and the sizes of a new queue pair.
///
/// ```
/// use nearfab::context::QueuePairOptions;
/// let options = QueuePairOptions::srd().send_requests(256).inline(32);
/// assert_eq!((options.send_requests, options.receive_requests, options.inline), (256, 64, 32));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueuePairOptions {
    /// The kind.
    pub kind: QueuePairKind,
    /// Sends that may be in progress at a time.
    pub send_requests: u32,
    /// Receives that may wait at a time.
    pub receive_requests: u32,
    /// Memory segments of a send.
    pub send_segments: u32,
    /// Memory segments of a receive.
    pub receive_segments: u32,
    /// Bytes that a send may carry inside its work request.
    pub inline: u32,
}

impl QueuePairOptions {
    /// Returns options for scalable reliable datagrams: 64 requests of one segment in each direction.
    #[must_use]
    pub fn srd() -> Self {
        Self { kind: QueuePairKind::Srd, ..Self::ud() }
    }

    /// Returns options for unreliable datagrams: 64 requests of one segment in each direction.
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

    /// Sets how many sends may be in progress at a time.
    #[must_use]
    pub fn send_requests(self, count: u32) -> Self {
        Self { send_requests: count, ..self }
    }

    /// Sets how many receives may wait at a time.
    #[must_use]
    pub fn receive_requests(self, count: u32) -> Self {
        Self { receive_requests: count, ..self }
    }

    /// Sets how many memory segments a send may have.
    #[must_use]
    pub fn send_segments(self, count: u32) -> Self {
        Self { send_segments: count, ..self }
    }

    /// Sets how many memory segments a receive may have.
    #[must_use]
    pub fn receive_segments(self, count: u32) -> Self {
        Self { receive_segments: count, ..self }
    }

    /// Sets how many bytes a send may carry inside its work request.
    #[must_use]
    pub fn inline(self, bytes: u32) -> Self {
        Self { inline: bytes, ..self }
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
            // EFA's driver has no sends without a completion.
            sq_sig_all: 1,
        }
    }
}

impl CompletionQueue {
    pub(super) fn new(efa: &Efa, entries: u32) -> Result<Self> {
        let raw = efa.device()?.create_cq(entries)?;
        let destroy = Destroy { name: "ibv_destroy_cq", function: vendor::verbs()?.ibv_destroy_cq };
        // SAFETY: `create_cq` made the queue on this interface just now, and nothing else destroys it. The queue
        // depends on the context only, which the handle `efa` keeps open. libibverbs is thread-safe.
        Ok(Self { object: unsafe { Object::new(raw, destroy, (), efa.clone()) } })
    }

    /// Returns the `ibv_cq` for other code, which must not destroy it. The pointer is valid as long as this handle
    /// exists.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.object.get()?.cast())
    }

    /// Closes this handle, and the queue if this was the last handle.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): this was the last handle and libibverbs fails to destroy the object.
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    #[doc(alias = "ibv_destroy_cq")]
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}

impl ProtectionDomain {
    /// Makes a queue pair. `send` reports the finished sends of the queue pair, and `receive` reports its finished
    /// receives.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): libibverbs or libefa fails, or a completion queue belongs to another
    /// interface. [`Error::Library`](crate::Error::Library), [`Error::MissingSymbol`](crate::Error::MissingSymbol):
    /// libefa is not installed, or too old. [`Error::Forked`](crate::Error::Forked): in a forked child.
    #[doc(alias = "ibv_create_qp")]
    #[doc(alias = "efadv_create_driver_qp")]
    pub fn queue_pair(
        &self,
        options: &QueuePairOptions,
        send: &CompletionQueue,
        receive: &CompletionQueue,
    ) -> Result<QueuePair> {
        let efa = &self.object.parent;
        let device = efa.device()?;
        let function = match options.kind {
            QueuePairKind::Srd => "efadv_create_driver_qp",
            QueuePairKind::Ud => "ibv_create_qp",
        };
        // libibverbs does not check the interface of a queue: it would use the queue's number on the wrong interface.
        for queue in [send, receive] {
            if !queue.object.parent.is_same(efa)? {
                let other = queue.object.parent.address();
                let reason = format!("a completion queue is of another interface, {other}");
                return Err(failed(function, device.name(), io::Error::new(io::ErrorKind::InvalidInput, reason)));
            }
        }
        let mut attributes = options.attributes(send.object.get()?, receive.object.get()?);
        let raw = match options.kind {
            QueuePairKind::Ud => {
                // SAFETY: the domain and the queues are open, because their handles hold them, and belong to one
                // context, as checked above. The attributes are a local structure, which the function reads and writes.
                unsafe { (vendor::verbs()?.ibv_create_qp)(self.object.get()?, &raw mut attributes) }
            }
            QueuePairKind::Srd => {
                let (create, domain) = (vendor::efadv()?.efadv_create_driver_qp, self.object.get()?);
                // SAFETY: the domain and the queues are open, because their handles hold them, and belong to one
                // context, as checked above. The attributes are a local structure, which the function reads and writes.
                // For a context that does not belong to an EFA interface, the function fails.
                unsafe { create(domain, &raw mut attributes, EFADV_QP_DRIVER_TYPE_SRD) }
            }
        };
        let Some(raw) = NonNull::new(raw) else {
            return Err(failed(function, device.name(), io::Error::last_os_error()));
        };
        let destroy = Destroy { name: "ibv_destroy_qp", function: vendor::verbs()?.ibv_destroy_qp };
        let dependencies = (self.clone(), send.clone(), receive.clone());
        // SAFETY: the library made the queue pair in this domain and with these queues just now, and nothing else
        // destroys it. The queue pair depends on the domain, the queues and the context only, which the handles keep
        // open. libibverbs is thread-safe.
        Ok(QueuePair { object: unsafe { Object::new(raw, destroy, dependencies, efa.clone()) } })
    }
}

impl QueuePair {
    /// Returns the number of the queue pair. Peers address a queue pair by the interface's GID and this number.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn number(&self) -> Result<u32> {
        // SAFETY: the queue pair is open, because this handle holds it, so the pointer is valid. libibverbs never
        // changes `qp_num`.
        Ok(unsafe { (*self.object.get()?).qp_num })
    }

    /// Returns the `ibv_qp` for other code, which must not destroy it. The pointer is valid as long as this handle
    /// exists.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.object.get()?.cast())
    }

    /// Closes this handle, and the queue pair if this was the last handle.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): this was the last handle and libibverbs fails to destroy the object.
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    #[doc(alias = "ibv_destroy_qp")]
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}
