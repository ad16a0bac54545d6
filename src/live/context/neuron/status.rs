//! The status codes of libnrt.

use std::fmt;

use nearfab_sys::nrt::NRT_STATUS;

use crate::error::Error;

/// The status that a function of libnrt returned. Newer versions of libnrt have more numbers than are named here.
#[doc(alias = "NRT_STATUS")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NeuronStatus(pub NRT_STATUS);

/// A status other than success, and libnrt's text for it.
#[derive(Debug, Clone)]
pub(super) struct NeuronFailure {
    pub(super) status: NeuronStatus,
    pub(super) text: Option<String>,
}

/// Defines a constant for each status, with its name in C.
macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        impl NeuronStatus {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Returns the status's name in C; `None` for a number that this nearfab does not know.
            ///
            /// ```
            /// use nearfab::context::neuron::NeuronStatus;
            /// assert_eq!(NeuronStatus::RESOURCE.name(), Some("NRT_RESOURCE"));
            /// assert_eq!(NeuronStatus(77).name(), None);
            /// ```
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(concat!("NRT_", stringify!($name))),)*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    /// Success.
    SUCCESS = 0,
    /// A failure that no other number describes.
    FAILURE = 1,
    /// An argument is not valid.
    INVALID = 2,
    /// A handle is not valid.
    INVALID_HANDLE = 3,
    /// A resource is exhausted or too small: for example, other processes hold the cores.
    RESOURCE = 4,
    /// The call timed out.
    TIMEOUT = 5,
    /// The hardware failed.
    HW_ERROR = 6,
    /// A queue is full.
    QUEUE_FULL = 7,
    /// A model needs more cores than there are.
    LOAD_NOT_ENOUGH_NC = 9,
    /// A model is of a version that the library does not know.
    UNSUPPORTED_NEFF_VERSION = 10,
    /// There is no host memory left.
    FAIL_HOST_MEM_ALLOC = 11,
    /// The library is not initialized in this process.
    UNINITIALIZED = 13,
    /// The library was closed in this process.
    CLOSED = 14,
    /// A queue is empty.
    QUEUE_EMPTY = 15,
    /// A core does not recover by itself.
    EXEC_UNIT_UNRECOVERABLE = 101,
    /// The input does not fit the model.
    EXEC_BAD_INPUT = 1002,
    /// The model ran, with numerical errors.
    EXEC_COMPLETED_WITH_NUM_ERR = 1003,
    /// The model ran, with errors.
    EXEC_COMPLETED_WITH_ERR = 1004,
    /// A core is in use.
    EXEC_NC_BUSY = 1005,
    /// An access was out of bounds.
    EXEC_OOB = 1006,
    /// A collective is in progress.
    COLL_PENDING = 1100,
    /// The hardware failed in a collective.
    EXEC_HW_ERR_COLLECTIVES = 1200,
    /// Device memory has an uncorrected error.
    EXEC_HW_ERR_HBM_UE = 1201,
    /// A core's memory has an uncorrected error.
    EXEC_HW_ERR_NC_UE = 1202,
    /// A DMA engine stopped.
    EXEC_HW_ERR_DMA_ABORT = 1203,
    /// A notification queue overflowed.
    EXEC_SW_NQ_OVERFLOW = 1204,
    /// Device memory has an error that a reset repairs.
    EXEC_HW_ERR_REPAIRABLE_HBM_UE = 1205,
    /// The network's proxy failed.
    NETWORK_PROXY_FAILURE = 1206,
}

impl NeuronStatus {
    /// Returns libnrt's status in an [`Error::Call`]; `None` for any other error.
    #[must_use]
    pub fn of(error: &Error) -> Option<Self> {
        let Error::Call { cause, .. } = error else { return None };
        Some(cause.get_ref()?.downcast_ref::<NeuronFailure>()?.status)
    }
}

impl fmt::Display for NeuronFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.status.0;
        match (self.text.as_deref(), self.status.name()) {
            (Some(text), Some(name)) if text != name => write!(f, "{text} ({name}, {number})"),
            (_, Some(name)) => write!(f, "{name} ({number})"),
            (Some(text), None) => write!(f, "{text} ({number})"),
            (None, None) => write!(f, "status {number} of libnrt"),
        }
    }
}

impl std::error::Error for NeuronFailure {}
