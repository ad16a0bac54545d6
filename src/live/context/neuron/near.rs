//! Which EFA interface device memory is near to.

use std::ffi::c_void;

use super::NeuronRuntime;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::live::neuron_driver::{Driver, Machine};
use crate::live::probe::open_node::OpenNode;
use crate::live::probe::{self, ProbeOptions};
use crate::topology::{Basis, NearList};
use crate::types::{Bdf, HostDevice};

/// The EFA interfaces by their nearness to memory of a Neuron device.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NearAddress {
    /// The device whose memory it is, as the driver tells. `None`: it was not asked, as libnrt told the interface.
    pub device: Option<HostDevice>,
    /// The interfaces, each with the reason.
    pub near: NearList<Bdf>,
}

/// The EFA interfaces by their nearness to the memory at an address of this process, which may be a Neuron device's; `None`: it is
/// none.
///
/// Where this process has libnrt, loaded by whomever, libnrt is asked (from 2.31 on): what it tells has
/// [`Evidence::Runtime`](crate::Evidence::Runtime), and stands above a table. Where there is no libnrt, or it does not tell, the
/// driver is asked whose memory it is, through a node that stays open as that of a [`Neuron`](super::Neuron) does, and the
/// interfaces are those that are near to this device ([`Host::near_device`]). libnrt is never loaded for it.
///
/// The memory is not touched: any address can be asked about.
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
/// - [`Error::ProbeRefused`]: libnrt does not tell, and the machine is an UltraServer or a pod, or may be one; see
///   [`ProbeOptions::even_on_pods`].
/// - [`Error::NodeRefused`], [`Error::Driver`], [`Error::Malformed`]: no node can be opened, or the driver does not tell; an
///   old one does not know the question.
/// - [`Error::NoSuchDevice`]: the memory is that of a device which the host does not have, or this container.
/// - [`Error::Forked`]: this process was forked from one in which nearfab had initialized libnrt.
#[doc(alias = "nrt_get_attached_efa_bdf")]
pub fn near_address(host: &Host, address: *const c_void, options: ProbeOptions) -> Result<Option<NearAddress>> {
    if !host.is_live() {
        return Err(Error::NotLive { origin: host.origin().to_string() });
    }
    let told = told(address)?;
    if let Some(interface) = told.filter(|interface| host.find_efa(*interface).is_ok()) {
        return Ok(Some(NearAddress { device: None, near: host.near_by_runtime(interface) }));
    }
    probe::may_open(host, options)?;
    let mut found = placed(host, address, &Machine)?;
    if let Some(found) = &mut found {
        found.near.missing_pair = told.or(found.near.missing_pair);
    }
    Ok(found)
}

/// What libnrt tells, if the process has it and it does.
fn told(address: *const c_void) -> Result<Option<Bdf>> {
    let told = match NeuronRuntime::mapped() {
        Ok(Some(libnrt)) => libnrt.attached_efa(address),
        Ok(None) => return Ok(None),
        Err(error) => Err(error),
    };
    match told {
        Ok(interface) => Ok(Some(interface)),
        Err(error @ Error::Forked { .. }) => Err(error),
        Err(error) => {
            tracing::debug!(error = error.chain(), "libnrt does not tell; the driver is asked");
            Ok(None)
        }
    }
}

/// By the device that the driver says the memory is of; any of the nodes tells it.
fn placed(host: &Host, address: *const c_void, driver: &dyn Driver) -> Result<Option<NearAddress>> {
    let mut refused = None;
    for device in host.neuron() {
        let node = match driver.identity(device.index) {
            Ok(node) => node,
            Err(error) => {
                refused.get_or_insert(error);
                continue;
            }
        };
        let Some(device) = OpenNode::new(device.index, node).placement(address)? else { return Ok(None) };
        return Ok(Some(NearAddress { device: Some(device), near: host.near_device(device, Basis::Pairing)? }));
    }
    refused.map_or(Ok(None), Err)
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use nix::libc::{EINVAL, ENOTTY};

    use super::*;
    use crate::live::probe::tests::{Recorded, Recording};

    fn at(address: usize) -> *const c_void {
        ptr::without_provenance(address)
    }

    fn ask(address: usize, nodes: impl IntoIterator<Item = (u32, Recorded)>) -> Result<Option<NearAddress>> {
        let host = Host::from_instance("trn2.48xlarge").unwrap();
        let nodes = nodes.into_iter().map(|(number, node)| (HostDevice(number), node));
        placed(&host, at(address), &Recording(nodes.collect()))
    }

    fn two_devices() -> Recorded {
        Recorded::with_memory([(0x1000..0x2000, 5), (0x2000..0x3000, 13), (0x3000..0x4000, 64)])
    }

    #[test]
    fn memory_is_near_to_what_its_device_is_near_to() {
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
    fn the_first_node_that_can_be_opened_is_asked() {
        let found = ask(0x1000, [(7, two_devices()), (9, Recorded::default())]).unwrap().unwrap();
        assert_eq!(found.device, Some(HostDevice(5)));
        let error = ask(0x1000, []).unwrap_err();
        assert!(matches!(&error, Error::NodeRefused { path, .. } if path.ends_with("neuron0")), "{error}");
    }

    #[test]
    fn what_the_driver_does_not_tell_is_an_error() {
        for status in [-EINVAL, -ENOTTY, 16] {
            let error = ask(0x1000, [(0, Recorded::failing("GET_VA_PLACEMENT", status))]).unwrap_err();
            assert!(matches!(error, Error::Driver { command: "GET_VA_PLACEMENT", .. }), "{error}");
        }
        let error = ask(0x3000, [(0, two_devices())]).unwrap_err();
        assert!(matches!(error, Error::NoSuchDevice { .. }), "{error}");
        let error = ask(0, [(0, Recorded::with_memory([(0..0x1000, -1)]))]).unwrap_err();
        assert!(matches!(&error, Error::Malformed { found, .. } if found == "-1"), "{error}");
    }

    #[test]
    fn a_host_without_devices_has_no_device_memory() {
        let host = Host::from_instance("p5.48xlarge").unwrap();
        assert_eq!(placed(&host, at(0x1000), &Recording([].into())).unwrap(), None);
    }
}
