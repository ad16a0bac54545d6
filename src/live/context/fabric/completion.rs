//! Completion queues: reports of finished operations.

use std::ffi::c_void;
use std::fmt;
use std::io;
use std::ptr;
use std::sync::Arc;

use nearfab_sys::fabric::{
    FI_CQ_FORMAT_MSG, FI_EAGAIN, FI_EAVAIL, FI_RECV, FI_WAIT_NONE, fi_cq_attr, fi_cq_err_entry, fi_cq_msg_entry, fid,
    fid_cq,
};
use nearfab_sys::operations::{fi_cq_open, fi_cq_read, fi_cq_readerr};

use super::{Domain, Operation, failed, reason};
use crate::error::Result;
use crate::live::context::object::{Closed, Object};

/// A completion queue, which reports the finished operations of endpoints. A provider without threads makes progress
/// only while the queue is read.
///
/// Clones are handles of one queue. Each endpoint holds its queues.
#[doc(alias = "fid_cq")]
#[derive(Debug, Clone)]
pub struct FabricCompletionQueue {
    pub(super) object: Arc<Object<fid, Domain>>,
}

/// The answer of an empty queue.
const NONE: isize = -(FI_EAGAIN as isize);

/// The report of a finished operation.
#[doc(alias = "fi_cq_msg_entry")]
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Completion(fi_cq_msg_entry);

/// The result of reading a completion queue.
#[derive(Debug)]
pub enum Finished<'a> {
    /// Finished operations; empty if no more are finished.
    Done(&'a [Completion]),
    /// A failed operation. Read again: further operations may be finished or failed.
    Failed(Failure),
}

/// The report of a failed operation.
#[doc(alias = "fi_cq_err_entry")]
#[derive(Debug)]
#[non_exhaustive]
pub struct Failure {
    /// The operation.
    pub operation: *mut Operation,
    /// The reason, with libfabric's text.
    pub error: io::Error,
    /// The provider's own number for the reason.
    pub provider_error: i32,
    /// The number of bytes that did not fit the buffer, for a message that is too long.
    pub left_out: usize,
}

impl Domain {
    /// Makes a completion queue with room for at least `entries` completions.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): libfabric fails. [`Error::Forked`](crate::Error::Forked): in a forked
    /// child.
    #[doc(alias = "fi_cq_open")]
    pub fn completion_queue(&self, entries: usize) -> Result<FabricCompletionQueue> {
        let (format, wait_obj) = (FI_CQ_FORMAT_MSG, FI_WAIT_NONE);
        let mut attributes = fi_cq_attr { size: entries, format, wait_obj, ..fi_cq_attr::default() };
        let mut queue: *mut fid_cq = ptr::null_mut();
        // SAFETY: the domain is open, because this handle holds it. The attributes are a local structure, and the
        // function writes one pointer.
        let status = unsafe { fi_cq_open(self.raw()?, &raw mut attributes, &raw mut queue, ptr::null_mut()) };
        // SAFETY: `queue` is null, or the completion queue that libfabric made in this domain just now, which depends
        // on the domain only.
        Ok(FabricCompletionQueue { object: unsafe { self.object("fi_cq_open", status, queue, ())? } })
    }
}

impl FabricCompletionQueue {
    /// Reads finished operations into `room`, at most as many as fit. Does not wait.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): the queue cannot be read. [`Error::Forked`](crate::Error::Forked): in a
    /// forked child.
    #[doc(alias = "fi_cq_read")]
    #[inline]
    pub fn read<'a>(&self, room: &'a mut [Completion]) -> Result<Finished<'a>> {
        let queue = self.object.get()?.cast();
        // SAFETY: the queue is open, because this handle holds it. The queue was opened with FI_CQ_FORMAT_MSG, and
        // `Completion` wraps an entry of this format. The function writes at most `room.len()` entries.
        let status = unsafe { fi_cq_read(queue, room.as_mut_ptr().cast(), room.len()) };
        match usize::try_from(status) {
            Ok(count) => Ok(Finished::Done(&room[..count])),
            Err(_) if status == NONE => Ok(Finished::Done(&[])),
            Err(_) => self.read_failed(queue, status),
        }
    }

    #[cold]
    fn read_failed<'a>(&self, queue: *mut fid_cq, status: isize) -> Result<Finished<'a>> {
        /// An error entry, with space for members that newer versions of libfabric append.
        #[repr(C)]
        #[derive(Default)]
        struct ErrorBuffer(fi_cq_err_entry, [u64; 8]);

        const FAILED: isize = -(FI_EAVAIL as isize);
        let device = self.object.parent.name();
        if status != FAILED {
            return Err(failed("fi_cq_read", device, status));
        }
        let mut buffer = ErrorBuffer::default();
        // SAFETY: the queue is open, because this handle holds it. The entry has the layout of the domain's API
        // version, at most 1.17, and fits `buffer`. With a null `err_data` of size 0, the provider writes no error data
        // elsewhere.
        match unsafe { fi_cq_readerr(queue, (&raw mut buffer).cast(), 0) } {
            NONE => Ok(Finished::Done(&[])), // Another thread took the entry.
            status if status < 0 => Err(failed("fi_cq_readerr", device, status)),
            _ => Ok(Finished::Failed(Failure {
                operation: buffer.0.op_context.cast(),
                error: reason(buffer.0.err),
                provider_error: buffer.0.prov_errno,
                left_out: buffer.0.olen,
            })),
        }
    }

    /// Returns the `fid_cq` for other code, which must not close it. The pointer is valid as long as this handle
    /// exists. The format of the queue is `FI_CQ_FORMAT_MSG`.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.object.get()?.cast())
    }

    /// Closes this handle, and the queue if this was the last handle.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call): this was the last handle and libfabric fails to close the object.
    /// [`Error::Forked`](crate::Error::Forked): in a forked child.
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}

impl Completion {
    /// An empty entry, for the room that [`FabricCompletionQueue::read`] fills.
    pub const EMPTY: Self = Self(fi_cq_msg_entry { op_context: ptr::null_mut(), flags: 0, len: 0 });

    /// Returns the operation.
    #[must_use]
    pub fn operation(&self) -> *mut Operation {
        self.0.op_context.cast()
    }

    /// Returns whether the operation received a message; otherwise it sent one.
    #[must_use]
    pub fn is_received(&self) -> bool {
        self.0.flags & FI_RECV != 0
    }

    /// Returns the number of received bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.0.len
    }
}

impl fmt::Debug for Completion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion")
            .field("operation", &self.operation())
            .field("is_received", &self.is_received())
            .field("length", &self.length())
            .finish()
    }
}
