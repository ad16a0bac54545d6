//! Reads the kernel's files of one host: PCI, NUMA, RDMA, EFA, Neuron and GPUs.
//!
//! All scanners read through [`root::HostRoot`].

pub(crate) mod efa;
pub(crate) mod gpu;
pub(crate) mod neuron;
pub(crate) mod numa;
pub(crate) mod pci;
pub(crate) mod rdma;
pub(crate) mod root;
