//! Finished operations.

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

/// Where finished operations of endpoints are told. Reading it is what makes a provider without threads of its own go on.
///
/// Clones are uses of one queue; endpoints hold it.
#[doc(alias = "fid_cq")]
#[derive(Debug, Clone)]
pub struct CompletionQueue {
    pub(super) object: Arc<Object<fid, Domain>>,
}

/// What a queue answers that has nothing.
const NONE: isize = -(FI_EAGAIN as isize);

/// An operation that is finished.
#[doc(alias = "fi_cq_msg_entry")]
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Completion(fi_cq_msg_entry);

/// What was read of a queue.
#[derive(Debug)]
pub enum Finished<'a> {
    /// These; none where no more are finished.
    Done(&'a [Completion]),
    /// One that failed. There may be more of either kind.
    Failed(Failure),
}

/// An operation that failed.
#[doc(alias = "fi_cq_err_entry")]
#[derive(Debug)]
pub struct Failure {
    /// Which one it was.
    pub operation: *mut Operation,
    /// Why, in libfabric's words.
    pub error: io::Error,
    /// The provider's own number for why.
    pub provider_error: i32,
    /// How much of a message too long for its buffer was left out, in bytes.
    pub left_out: usize,
}

impl Domain {
    /// Makes a completion queue, for at least so many completions.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where libfabric fails, [`Error::Forked`](crate::Error::Forked) in a forked child.
    #[doc(alias = "fi_cq_open")]
    pub fn completion_queue(&self, entries: usize) -> Result<CompletionQueue> {
        let (format, wait_obj) = (FI_CQ_FORMAT_MSG, FI_WAIT_NONE);
        let mut attributes = fi_cq_attr { size: entries, format, wait_obj, ..fi_cq_attr::default() };
        let mut queue: *mut fid_cq = ptr::null_mut();
        // SAFETY: the domain is open.
        let status = unsafe { fi_cq_open(self.raw()?, &raw mut attributes, &raw mut queue, ptr::null_mut()) };
        // SAFETY: it was made just now, and hangs on nothing else.
        Ok(CompletionQueue { object: unsafe { self.object("fi_cq_open", status, queue, ())? } })
    }
}

impl CompletionQueue {
    /// Reads what is finished, as much as there is room for, and waits for nothing.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where the queue itself cannot be read, [`Error::Forked`](crate::Error::Forked) in a
    /// forked child.
    #[doc(alias = "fi_cq_read")]
    #[inline]
    pub fn read<'a>(&self, room: &'a mut [Completion]) -> Result<Finished<'a>> {
        let queue = self.object.get()?.cast();
        // SAFETY: the queue is open, of the format of the entries, and writes no more of them than there is room for.
        let status = unsafe { fi_cq_read(queue, room.as_mut_ptr().cast(), room.len()) };
        match usize::try_from(status) {
            Ok(count) => Ok(Finished::Done(&room[..count])),
            Err(_) if status == NONE => Ok(Finished::Done(&[])),
            Err(_) => self.read_failed(queue, status),
        }
    }

    #[cold]
    fn read_failed<'a>(&self, queue: *mut fid_cq, status: isize) -> Result<Finished<'a>> {
        /// An entry that may have grown.
        #[repr(C)]
        #[derive(Default)]
        struct Room(fi_cq_err_entry, [u64; 8]);

        const FAILED: isize = -(FI_EAVAIL as isize);
        let device = self.object.home.name();
        if status != FAILED {
            return Err(failed("fi_cq_read", device, status));
        }
        let mut room = Room::default();
        // SAFETY: the queue is open; without room for more, the provider tells what it knows in the entry alone.
        match unsafe { fi_cq_readerr(queue, (&raw mut room).cast(), 0) } {
            NONE => Ok(Finished::Done(&[])), // Another thread has it.
            status if status < 0 => Err(failed("fi_cq_readerr", device, status)),
            _ => Ok(Finished::Failed(Failure {
                operation: room.0.op_context.cast(),
                error: reason(room.0.err),
                provider_error: room.0.prov_errno,
                left_out: room.0.olen,
            })),
        }
    }

    /// The `fid_cq`, to be used by others as long as this is there, and not to be closed by them. Its format is
    /// `FI_CQ_FORMAT_MSG`.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn as_raw(&self) -> Result<*mut c_void> {
        Ok(self.object.get()?.cast())
    }

    /// Ends this use of the queue.
    ///
    /// # Errors
    /// [`Error::Call`](crate::Error::Call) where it was the last use and libfabric reports a failure,
    /// [`Error::Forked`](crate::Error::Forked) in a forked child.
    pub fn close(self) -> Result<Closed> {
        Object::close(self.object)
    }
}

impl Completion {
    /// Room for one.
    pub const EMPTY: Self = Self(fi_cq_msg_entry { op_context: ptr::null_mut(), flags: 0, len: 0 });

    /// Which operation it was.
    #[must_use]
    pub fn operation(&self) -> *mut Operation {
        self.0.op_context.cast()
    }

    /// Whether something was received, and not sent.
    #[must_use]
    pub fn is_received(&self) -> bool {
        self.0.flags & FI_RECV != 0
    }

    /// How many bytes were received.
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
