//! Finds the EFA interfaces that are near to device memory.

use std::ffi::c_void;

use super::NeuronRuntime;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::live::neuron_driver::{Driver, Machine};
use crate::live::probe::open_node::OpenNode;
use crate::live::probe::{self, ProbeOptions};
use crate::topology::{Basis, NearList};
use crate::types::{Bdf, HostDevice};

/// The EFA interfaces, ordered by their nearness to memory of a Neuron device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearAddress {
    /// The device of the memory, if the driver was asked. `None`: libnrt named the interface, so the driver was not
    /// asked.
    pub device: Option<HostDevice>,
    /// The interfaces, each with its evidence.
    pub near: NearList<Bdf>,
}

/// Returns the EFA interfaces, ordered by their nearness to the memory at an address of this process; `None` if the
/// address is not in the memory of a Neuron device.
///
/// If this process has loaded libnrt 2.31 or newer, nearfab asks libnrt. The answer of libnrt has the evidence
/// [`Evidence::Runtime`](crate::Evidence::Runtime) and takes precedence over a table. nearfab never loads libnrt for
/// this question.
///
/// Without libnrt, or if libnrt does not answer, nearfab asks the driver for the device of the memory, through a node
/// that stays open, like the node of a [`Neuron`](super::Neuron). The answer then has the interfaces that are near to
/// this device ([`Host::near_device`]).
///
/// The memory is not accessed, so any address is allowed.
///
/// ```
/// use nearfab::context::neuron::near_address;
/// use nearfab::probe::ProbeOptions;
/// use nearfab::{Error, Host};
///
/// let memory = 0;
/// let host = Host::from_instance("trn2.48xlarge")?; // On an instance: Host::discover()?
/// match near_address(&host, (&raw const memory).cast(), ProbeOptions::default()) {
///     Ok(None) => println!("host memory"),
///     Ok(Some(found)) => {
///         for near in found.near.nearest() {
///             println!("{} by {}", near.target, near.evidence);
///         }
///     }
///     Err(error) => assert!(matches!(error, Error::NotLive { .. }), "a table has no memory"),
/// }
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// - [`Error::NotLive`]: the host is not this machine.
/// - [`Error::ProbeRefused`]: libnrt does not answer, and the machine is a member of an UltraServer or pod, or may be
///   one; see [`ProbeOptions::even_on_pods`].
/// - [`Error::NodeRefused`]: no node can be opened. [`Error::Driver`], [`Error::Malformed`]: the driver does not
///   answer; old drivers do not know the question.
/// - [`Error::NoSuchDevice`]: the memory belongs to a device that this host or container does not have.
/// - [`Error::Forked`]: nearfab had begun to initialize libnrt in the parent before this process was forked.
#[doc(alias = "nrt_get_attached_efa_bdf")]
pub fn near_address(host: &Host, address: *const c_void, options: ProbeOptions) -> Result<Option<NearAddress>> {
    if !host.is_live() {
        return Err(Error::NotLive { origin: host.origin().to_string() });
    }
    let by_libnrt = ask_libnrt(address)?;
    if let Some(interface) = by_libnrt.filter(|interface| host.find_efa(*interface).is_ok()) {
        return Ok(Some(NearAddress { device: None, near: host.near_by_runtime(interface) }));
    }
    probe::may_open(host, options)?;
    let mut found = ask_driver(host, address, &Machine)?;
    if let Some(found) = &mut found {
        found.near.missing_pair = by_libnrt.or(found.near.missing_pair);
    }
    Ok(found)
}

/// Returns the interface that libnrt names; `None` if the process has not loaded libnrt, or libnrt does not answer.
fn ask_libnrt(address: *const c_void) -> Result<Option<Bdf>> {
    let answer = match NeuronRuntime::mapped() {
        Ok(Some(libnrt)) => libnrt.attached_efa(address),
        Ok(None) => return Ok(None),
        Err(error) => Err(error),
    };
    match answer {
        Ok(interface) => Ok(Some(interface)),
        Err(error @ Error::Forked { .. }) => Err(error),
        Err(error) => {
            tracing::debug!(error = %error, "libnrt does not answer; asking the driver");
            Ok(None)
        }
    }
}

/// Returns the interfaces near to the device that the driver reports for the memory. Any node of the driver can answer.
fn ask_driver(host: &Host, address: *const c_void, driver: &dyn Driver) -> Result<Option<NearAddress>> {
    let mut first_refusal = None;
    for device in host.neuron_devices() {
        let node = match driver.write_only_node(device.index) {
            Ok(node) => node,
            Err(error) => {
                first_refusal.get_or_insert(error);
                continue;
            }
        };
        let Some(device) = OpenNode::new(device.index, node).placement(address)? else { return Ok(None) };
        return Ok(Some(NearAddress { device: Some(device), near: host.near_device(device, Basis::Pairing)? }));
    }
    first_refusal.map_or(Ok(None), Err)
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use nix::libc::{EINVAL, ENOTTY};

    use super::*;
    use crate::live::probe::tests::{FakeDriver, FakeNode};

    fn at(address: usize) -> *const c_void {
        ptr::without_provenance(address)
    }

    fn ask(address: usize, nodes: impl IntoIterator<Item = (u32, FakeNode)>) -> Result<Option<NearAddress>> {
        let host = Host::from_instance("trn2.48xlarge").unwrap();
        let nodes = nodes.into_iter().map(|(number, node)| (HostDevice(number), node));
        ask_driver(&host, at(address), &FakeDriver(nodes.collect()))
    }

    fn two_devices() -> FakeNode {
        FakeNode::with_memory([(0x1000..0x2000, 5), (0x2000..0x3000, 13), (0x3000..0x4000, 64)])
    }

    #[test]
    fn memory_is_near_to_the_interfaces_of_its_device() {
        for (address, device, interface) in
            [(0x1000, 5, "0000:57:00.0"), (0x1fff, 5, "0000:57:00.0"), (0x2000, 13, "0000:e0:00.0")]
        {
            let found = ask(address, [(0, two_devices())]).unwrap().unwrap();
            assert_eq!(found.device, Some(HostDevice(device)));
            let nearest: Vec<_> = found.near.nearest().collect();
            let [near] = &nearest[..] else { panic!("{nearest:?}") };
            assert_eq!(
                (near.target.to_string(), near.evidence.to_string()),
                (interface.into(), "table trn2.48xlarge".into())
            );
        }
        assert_eq!(ask(0xfff, [(0, two_devices())]).unwrap(), None, "host memory");
    }

    #[test]
    fn the_first_node_that_opens_answers() {
        let found = ask(0x1000, [(7, two_devices()), (9, FakeNode::default())]).unwrap().unwrap();
        assert_eq!(found.device, Some(HostDevice(5)));
        let error = ask(0x1000, []).unwrap_err();
        assert!(matches!(&error, Error::NodeRefused { path, .. } if path.ends_with("neuron0")), "{error}");
    }

    #[test]
    fn a_driver_that_does_not_answer_is_an_error() {
        for status in [-EINVAL, -ENOTTY, 16] {
            let error = ask(0x1000, [(0, FakeNode::failing("GET_VA_PLACEMENT", status))]).unwrap_err();
            assert!(matches!(error, Error::Driver { command: "GET_VA_PLACEMENT", .. }), "{error}");
        }
        let error = ask(0x3000, [(0, two_devices())]).unwrap_err();
        assert!(matches!(error, Error::NoSuchDevice { .. }), "{error}");
        let error = ask(0, [(0, FakeNode::with_memory([(0..0x1000, -1)]))]).unwrap_err();
        assert!(matches!(&error, Error::Malformed { found, .. } if found == "-1"), "{error}");
    }

    #[test]
    fn a_host_without_devices_has_no_device_memory() {
        let host = Host::from_instance("p5.48xlarge").unwrap();
        assert_eq!(ask_driver(&host, at(0x1000), &FakeDriver([].into())).unwrap(), None);
    }
}
