//! Asynchronous events: what happens to an interface without being asked for.

use nearfab_sys::verbs::{self, ibv_async_event};

use crate::live::context::c_values::numbers;

/// Something that happened to an open interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct AsyncEvent {
    /// What.
    pub kind: AsyncEventKind,
    /// Where: only events of a queue pair or a port say so here.
    pub subject: Option<AsyncEventSubject>,
}

/// What an event happened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AsyncEventSubject {
    /// The queue pair with this number.
    QueuePair(u32),
    /// The port with this number.
    Port(u32),
}

numbers! {
    /// What happened, by the numbers of `ibv_event_type`. EFA's driver has sent none so far: that of other drivers and of the
    /// kernel itself is here as well.
    pub enum AsyncEventKind: u32;

    /// A completion queue overran or broke.
    CompletionQueueError = 0,
    /// A queue pair broke.
    QueuePairFatal = 1,
    /// A queue pair got a request that it cannot do.
    QueuePairRequestError = 2,
    /// A queue pair got a request that it may not do.
    QueuePairAccessError = 3,
    /// A message came in before the connection was said to be there.
    CommunicationEstablished = 4,
    /// A send queue ran empty.
    SendQueueDrained = 5,
    /// A connection moved to its other path.
    PathMigrated = 6,
    /// It could not.
    PathMigrationError = 7,
    /// The device broke: everything on it has to be closed.
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
    /// A queue pair took the last receive that it will.
    LastReceiveReached = 16,
    /// The subnet manager asks to be told all again.
    ClientReregister = 17,
    /// A port's GIDs changed.
    GidChange = 18,
    /// A work queue broke.
    WorkQueueFatal = 19,
}

impl AsyncEvent {
    /// # Safety
    ///
    /// The event is one that the library gave and that is not acknowledged yet: what it happened to is still there.
    pub(super) unsafe fn from_raw(raw: &ibv_async_event) -> Self {
        let subject = match raw.event_type {
            verbs::IBV_EVENT_QP_FATAL..=verbs::IBV_EVENT_PATH_MIG_ERR | verbs::IBV_EVENT_QP_LAST_WQE_REACHED => {
                // SAFETY: events of these kinds are of a queue pair.
                let pair = unsafe { raw.element.qp };
                // SAFETY: it is not destroyed before they are acknowledged.
                Some(AsyncEventSubject::QueuePair(unsafe { (*pair).qp_num }))
            }
            verbs::IBV_EVENT_PORT_ACTIVE..=verbs::IBV_EVENT_SM_CHANGE
            | verbs::IBV_EVENT_CLIENT_REREGISTER
            | verbs::IBV_EVENT_GID_CHANGE => {
                // SAFETY: events of these kinds are of a port, by its number.
                Some(AsyncEventSubject::Port(unsafe { raw.element.port_num }.cast_unsigned()))
            }
            _ => None,
        };
        Self { kind: raw.event_type.into(), subject }
    }
}
