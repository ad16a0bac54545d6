//! Asynchronous events of an interface.

use nearfab_sys::verbs::{self, ibv_async_event};

use crate::live::context::c_values::numbers;

/// An event of an open interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AsyncEvent {
    /// The kind of the event.
    pub kind: AsyncEventKind,
    /// The queue pair or port that the event is about; `None` for an event about anything else.
    pub subject: Option<AsyncEventSubject>,
}

/// The queue pair or port that an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AsyncEventSubject {
    /// The queue pair with this number.
    QueuePair(u32),
    /// The port with this number.
    Port(u32),
}

numbers! {
    /// The kind of an event, by the numbers of `ibv_event_type`. EFA's driver has sent no event so far. The events of
    /// other drivers and of the kernel are listed too.
    pub enum AsyncEventKind: u32;

    /// A completion queue overran or broke.
    CompletionQueueError = 0,
    /// A queue pair broke.
    QueuePairFatal = 1,
    /// A queue pair received a request that it cannot execute.
    QueuePairRequestError = 2,
    /// A queue pair received a request without the right to execute it.
    QueuePairAccessError = 3,
    /// A message arrived before the connection was established.
    CommunicationEstablished = 4,
    /// A send queue ran empty.
    SendQueueDrained = 5,
    /// A connection moved to its other path.
    PathMigrated = 6,
    /// A connection failed to move to its other path.
    PathMigrationError = 7,
    /// The device broke: close all objects on it.
    DeviceFatal = 8,
    /// A port came up.
    PortActive = 9,
    /// A port went down.
    PortError = 10,
    /// A port's LID changed.
    LidChange = 11,
    /// A port's partition keys changed.
    PkeyChange = 12,
    /// A port has another subnet manager.
    SubnetManagerChange = 13,
    /// A shared receive queue broke.
    SharedReceiveQueueError = 14,
    /// A shared receive queue runs empty.
    SharedReceiveQueueLimit = 15,
    /// A queue pair took its last receive request.
    LastReceiveReached = 16,
    /// The subnet manager asks its clients to register again.
    ClientReregister = 17,
    /// A port's GIDs changed.
    GidChange = 18,
    /// A work queue broke.
    WorkQueueFatal = 19,
}

impl AsyncEvent {
    /// # Safety
    ///
    /// libibverbs returned the event, and the event is not acknowledged yet. libibverbs keeps the event's queue pair
    /// until the event is acknowledged.
    pub(super) unsafe fn from_raw(raw: &ibv_async_event) -> Self {
        let subject = match raw.event_type {
            verbs::IBV_EVENT_QP_FATAL..=verbs::IBV_EVENT_PATH_MIG_ERR | verbs::IBV_EVENT_QP_LAST_WQE_REACHED => {
                // SAFETY: for events of these kinds libibverbs sets the union's member `qp`.
                let pair = unsafe { raw.element.qp };
                // SAFETY: `pair` is the event's queue pair. Destroying the queue pair waits until the event is
                // acknowledged. The caller promises that the event is acknowledged later.
                Some(AsyncEventSubject::QueuePair(unsafe { (*pair).qp_num }))
            }
            verbs::IBV_EVENT_PORT_ACTIVE..=verbs::IBV_EVENT_SM_CHANGE
            | verbs::IBV_EVENT_CLIENT_REREGISTER
            | verbs::IBV_EVENT_GID_CHANGE => {
                // SAFETY: for events of these kinds libibverbs sets the union's member `port_num`.
                Some(AsyncEventSubject::Port(unsafe { raw.element.port_num }.cast_unsigned()))
            }
            _ => None,
        };
        Self { kind: raw.event_type.into(), subject }
    }
}
