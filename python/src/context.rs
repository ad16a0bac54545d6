//! Open EFA interfaces.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nearfab::PortState;
use nearfab::context::Efa as OpenEfa;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::raise;
use crate::host::{Host, to_address};

/// A user of an open EFA interface. All users in this process share one ibv_context. Call close, or use the object in a
/// with statement. In a forked child the object's methods raise NearfabError: open the interface again in the child.
#[pyclass(frozen, module = "nearfab")]
pub(crate) struct Efa {
    address: String,
    /// The open interface, or `None` after close. A running call holds a clone of the `Arc`. The lock is not held
    /// during calls.
    open: Mutex<Option<Arc<OpenEfa>>>,
}

/// The attributes and limits of an open EFA interface.
#[pyclass(frozen, eq, hash, get_all, module = "nearfab")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct EfaAttributes {
    /// The firmware version. Every driver so far reports "0.0.0.0".
    firmware: String,
    /// The node GUID: 0 with drivers before 2.12.
    node_guid: u64,
    /// The GID of the port. Peers address the interface by this GID.
    gid: String,
    /// Whether the port is active and carries traffic.
    port_active: bool,
    /// The size of the largest message that fits into one packet, in bytes.
    max_message_size: u32,
    /// The size of the largest RDMA read or write, in bytes.
    max_rdma_size: u32,
    /// The size of the largest possible memory region, in bytes.
    max_memory_region_size: u64,
    /// How many memory regions all processes together can have at one time.
    max_memory_regions: u32,
    /// How many protection domains all processes together can have at one time.
    max_protection_domains: u32,
    /// How many queue pairs all processes together can have at one time.
    max_queue_pairs: u32,
    /// How many completion queues all processes together can have at one time.
    max_completion_queues: u32,
    /// How many work requests can be outstanding on one send queue.
    max_send_requests: u32,
    /// How many work requests can be outstanding on one receive queue.
    max_receive_requests: u32,
    /// How many bytes a send can carry inside its work request.
    max_inline: u16,
    /// The capabilities of the device, such as "rdma_read rnr_retry".
    capabilities: String,
}

#[pymethods]
impl Efa {
    /// Opens the EFA interface at a PCI address. If this process has the interface open already, the new object shares
    /// the open context. Only interfaces of the live machine (Host.discover) can be opened.
    #[staticmethod]
    fn open(py: Python<'_>, host: &Host, address: &str) -> PyResult<Self> {
        let address = to_address(py, address)?;
        let efa = py.detach(|| OpenEfa::open(&host.0, address)).map_err(|error| raise(py, &error))?;
        Ok(Self { address: address.to_string(), open: Mutex::new(Some(Arc::new(efa))) })
    }

    /// The PCI address.
    #[getter]
    fn address(&self) -> &str {
        &self.address
    }

    /// Whether close was called on this object.
    #[getter]
    fn closed(&self) -> bool {
        self.lock().is_none()
    }

    /// Returns the number of users of the interface in this process, including this object.
    fn users(&self, py: Python<'_>) -> PyResult<usize> {
        self.call(py, OpenEfa::users)
    }

    /// Queries the attributes and limits of the interface.
    fn attributes(&self, py: Python<'_>) -> PyResult<EfaAttributes> {
        self.call(py, EfaAttributes::query)
    }

    /// Closes this object. The interface is closed when its last user in this process is closed. If another thread's
    /// call on this object is running, the object is closed when that call ends. Closing an object again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let open = self.lock().take();
        // If another thread's call still holds the interface, the drop of that call's clone closes the interface.
        match open.and_then(Arc::into_inner) {
            Some(efa) => py.detach(|| efa.close()).map(drop).map_err(|error| raise(py, &error)),
            None => Ok(()),
        }
    }

    fn __enter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __exit__(
        &self,
        py: Python<'_>,
        _class: &Bound<'_, PyAny>,
        _error: &Bound<'_, PyAny>,
        _traceback: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        self.close(py)
    }

    fn __repr__(&self) -> String {
        let state = if self.closed() { "closed" } else { "open" };
        format!("<nearfab.Efa {}: {state}>", self.address)
    }
}

impl Efa {
    /// Calls a function of the open interface while other Python threads run.
    fn call<T: Send>(&self, py: Python<'_>, call: impl FnOnce(&OpenEfa) -> nearfab::Result<T> + Send) -> PyResult<T> {
        let open = self.lock().clone();
        let closed = || PyValueError::new_err(format!("{} is closed: open the interface again", self.address));
        let open = open.ok_or_else(closed)?;
        py.detach(move || call(&open)).map_err(|error| raise(py, &error))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<OpenEfa>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes an object that Python collects before close was called.
impl Drop for Efa {
    fn drop(&mut self) {
        if let Some(efa) = self.lock().take() {
            // Closing can wait for another thread that opens or closes an interface, so other Python threads run
            // meanwhile. If the interpreter is ending, `try_attach` drops the closure. The drop of the closure closes
            // the interface too.
            let _ = Python::try_attach(|py| py.detach(|| drop(efa)));
        }
    }
}

impl EfaAttributes {
    fn query(efa: &OpenEfa) -> nearfab::Result<Self> {
        let device = efa.device_attributes()?;
        let port = efa.port_attributes()?;
        let own = efa.efa_attributes()?;
        Ok(Self {
            gid: efa.gid()?.to_string(),
            firmware: device.firmware,
            node_guid: device.node_guid,
            port_active: port.state == PortState::Active,
            max_message_size: port.max_message_size,
            max_rdma_size: own.max_rdma_size,
            max_memory_region_size: device.max_memory_region_size,
            max_memory_regions: device.max_memory_regions,
            max_protection_domains: device.max_protection_domains,
            max_queue_pairs: device.max_queue_pairs,
            max_completion_queues: device.max_completion_queues,
            max_send_requests: own.max_send_requests,
            max_receive_requests: own.max_receive_requests,
            max_inline: own.max_inline,
            capabilities: own.capabilities.to_string(),
        })
    }
}
