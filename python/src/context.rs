//! Open devices.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nearfab::context::{Efa as OpenEfa, PortState};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::error::raise;
use crate::host::{Host, to_address};

/// An open EFA interface: one of its users in this process, who share one context. Close it, or use it in a with
/// statement. In a forked child its methods raise NearfabError: open the interface again there.
#[pyclass(frozen, module = "nearfab")]
pub(crate) struct Efa {
    address: String,
    /// Shared with the calls that are at work on it; `None` once closed. The lock is never held for a call.
    open: Mutex<Option<Arc<OpenEfa>>>,
}

/// What an open EFA interface says about itself.
#[pyclass(frozen, eq, hash, get_all, module = "nearfab")]
#[derive(PartialEq, Eq, Hash)]
pub(crate) struct EfaAttributes {
    /// The firmware's version; "0.0.0.0" from every driver so far.
    firmware: String,
    /// The node's GUID; 0 from drivers before 2.12.
    node_guid: u64,
    /// The GID of its port, which peers address it by.
    gid: String,
    /// Whether its port carries traffic.
    port_active: bool,
    /// The longest message that one packet carries, in bytes.
    max_message_size: u32,
    /// The longest RDMA read or write, in bytes.
    max_rdma_size: u32,
    /// The largest memory region, in bytes.
    max_memory_region_size: u64,
    /// Memory regions at a time, of all processes.
    max_memory_regions: u32,
    /// Protection domains at a time, of all processes.
    max_protection_domains: u32,
    /// Queue pairs at a time, of all processes.
    max_queue_pairs: u32,
    /// Completion queues at a time, of all processes.
    max_completion_queues: u32,
    /// Outstanding work requests of a send queue.
    max_send_requests: u32,
    /// Outstanding work requests of a receive queue.
    max_receive_requests: u32,
    /// Bytes that a send may carry inside the work request.
    max_inline: u16,
    /// What it can do, such as "rdma_read rnr_retry".
    capabilities: String,
}

#[pymethods]
impl Efa {
    /// Open the EFA interface at an address, or share it where this process has it open. Only interfaces of the live
    /// machine (Host.discover) can be opened.
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

    /// Whether this use has ended.
    #[getter]
    fn closed(&self) -> bool {
        self.lock().is_none()
    }

    /// The number of users that the interface has in this process, this one included.
    fn users(&self, py: Python<'_>) -> PyResult<usize> {
        self.call(py, OpenEfa::users)
    }

    /// Ask the interface for its attributes and limits.
    fn attributes(&self, py: Python<'_>) -> PyResult<EfaAttributes> {
        self.call(py, EfaAttributes::query)
    }

    /// End this use; the interface is closed when its last use ends. Where another thread's call is at work on this one,
    /// it ends with that call. Closing again does nothing.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let open = self.lock().take();
        // A call that is at work on it has it closed when it ends.
        match open.and_then(Arc::into_inner) {
            Some(efa) => py.detach(|| efa.close()).map(|_users| ()).map_err(|error| raise(py, &error)),
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
    /// Calls the open interface while other Python threads run.
    fn call<T: Send>(&self, py: Python<'_>, call: impl FnOnce(&OpenEfa) -> nearfab::Result<T> + Send) -> PyResult<T> {
        let open = self.lock().clone();
        let open = open.ok_or_else(|| PyValueError::new_err(format!("the use of {} is closed", self.address)))?;
        py.detach(move || call(&open)).map_err(|error| raise(py, &error))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<OpenEfa>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Collected by Python without having been closed.
impl Drop for Efa {
    fn drop(&mut self) {
        if let Some(efa) = self.lock().take() {
            // Closing may wait for another thread that opens or closes: Python goes on meanwhile, unless it is ending.
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
