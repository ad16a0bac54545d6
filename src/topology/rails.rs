//! Divides the EFA interfaces among the accelerators that are near them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Basis, Near, NearList};
use crate::error::Result;
use crate::host::Host;
use crate::types::{Bdf, HostDevice};

/// An EFA interface that an accelerator should use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rail {
    /// The interface, with its rank among all interfaces near the accelerator.
    #[serde(flatten)]
    pub near: Near<Bdf>,
    /// The number of accelerators that have the interface as a rail; more than 1 if there are fewer interfaces than
    /// accelerators.
    pub shared_by: u32,
}

/// The EFA interfaces that one accelerator should use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rails<T> {
    /// The accelerator: the number of a Neuron device, or the PCI address of a GPU.
    pub of: T,
    /// The interfaces in ascending order of their addresses. The list is empty if no interface is known to be near, or
    /// if none can be used.
    pub rails: Vec<Rail>,
    /// The interfaces that are at least as near and that this process cannot use.
    pub passed_over: Vec<Near<Bdf>>,
    /// The interface that the table pairs with the device, if this host does not have that interface.
    pub missing_pair: Option<Bdf>,
}

impl Host {
    /// Returns the rails of each Neuron device that this process can use: the interface of the vendor's pairing, or the
    /// device's part of the nearest interfaces.
    ///
    /// Devices with the same nearest interfaces divide the interfaces: each device gets a contiguous block, in ascending
    /// order of addresses. If there are fewer interfaces than devices, devices share an interface. The division is the
    /// same in each process of a container, because it covers all devices that the container can open, whatever
    /// `NEURON_RT_VISIBLE_CORES` says.
    ///
    /// ```
    /// use nearfab::Host;
    /// let host = Host::from_instance("trn1.32xlarge")?;
    /// let rails = host.neuron_rails();
    /// assert_eq!((rails[4].of.0, rails[4].rails[0].near.target), (4, "0000:20:19.0".parse()?));
    /// assert_eq!(rails[4].rails[0].shared_by, 2); // with neuron5
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn neuron_rails(&self) -> Vec<Rails<HostDevice>> {
        let usable = self.neuron_devices().iter().filter(|device| self.neuron_usability(device).is_possible());
        divided(usable.map(|device| (device.index, device.address(), self.near_device(device.index, Basis::Pairing))))
    }

    /// Returns the rails of each GPU that this process can use: the GPU's part of the nearest interfaces. The division is
    /// as for Neuron devices and does not depend on `CUDA_VISIBLE_DEVICES`; see [`Host::neuron_rails`]. NCCL's plugin of
    /// AWS and NIXL divide in the same way.
    ///
    /// ```
    /// use nearfab::Host;
    /// let host = Host::from_instance("p5en.48xlarge")?;
    /// let rails = host.gpu_rails();
    /// let names = |gpu: usize| rails[gpu].rails.iter().map(|rail| rail.near.target.to_string()).collect::<Vec<_>>();
    /// assert_eq!(names(0), ["0000:55:00.0", "0000:56:00.0"]);
    /// assert_eq!(names(1), ["0000:57:00.0", "0000:58:00.0"]);
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn gpu_rails(&self) -> Vec<Rails<Bdf>> {
        divided(self.visible_gpus().map(|gpu| (gpu.address(), Some(gpu.address()), self.near_function(gpu.address()))))
    }

    /// Returns the usable interfaces that are no rail of any accelerator.
    #[must_use]
    pub fn interfaces_without_accelerator(&self) -> Vec<Bdf> {
        let (neuron, gpus) = (self.neuron_rails(), self.gpu_rails());
        let rails = neuron.iter().flat_map(|rails| &rails.rails).chain(gpus.iter().flat_map(|rails| &rails.rails));
        let used: Vec<Bdf> = rails.map(|rail| rail.near.target).collect();
        let usable = self.efa_interfaces().iter().filter(|efa| self.efa_usability(efa).is_possible());
        usable.map(|efa| efa.address()).filter(|address| !used.contains(address)).collect()
    }
}

/// Divides the nearest interfaces among accelerators. The accelerators come with their addresses and rankings; the result
/// has the order of their numbers or addresses.
fn divided<T: Ord>(accelerators: impl Iterator<Item = (T, Option<Bdf>, Result<NearList<Bdf>>)>) -> Vec<Rails<T>> {
    // A ranking fails only for an accelerator that the host does not have.
    let mut all: Vec<(T, Option<Bdf>, NearList<Bdf>)> =
        accelerators.filter_map(|(of, address, list)| Some((of, address, list.ok()?))).collect();
    // Positions are by address, so that they do not depend on how a driver numbers its devices.
    all.sort_by_key(|(_, address, _)| *address);
    let targets = |list: &NearList<Bdf>| list.nearest().map(|near| near.target).collect::<Vec<_>>();
    let mut members: BTreeMap<Vec<Bdf>, usize> = BTreeMap::new();
    for (_, _, list) in &all {
        *members.entry(targets(list)).or_default() += 1;
    }
    let mut seen: BTreeMap<Vec<Bdf>, usize> = BTreeMap::new();
    let mut divided = Vec::with_capacity(all.len());
    for (of, _, list) in all {
        let group = targets(&list);
        let position = seen.entry(group.clone()).or_default();
        let block = block(*position, members[&group], group.len());
        *position += 1;
        let nearest: Vec<&Near<Bdf>> = list.nearest().collect();
        let rails = nearest.get(block).unwrap_or_default().iter();
        divided.push(Rails {
            of,
            rails: rails.map(|near| Rail { near: (*near).clone(), shared_by: 0 }).collect(),
            passed_over: list.passed_over().cloned().collect(),
            missing_pair: list.missing_pair,
        });
    }
    count_users(&mut divided);
    divided.sort_by(|a, b| a.of.cmp(&b.of));
    divided
}

/// Returns the part of `interfaces` interfaces that the accelerator at this position gets, of `accelerators`.
fn block(position: usize, accelerators: usize, interfaces: usize) -> std::ops::Range<usize> {
    if interfaces >= accelerators {
        position * interfaces / accelerators..(position + 1) * interfaces / accelerators
    } else {
        let interface = position * interfaces / accelerators;
        interface..(interface + 1).min(interfaces)
    }
}

/// Sets the number of accelerators of each rail. Groups of accelerators can overlap: an accelerator whose paired interface
/// is missing has the interfaces of its neighbours.
fn count_users<T>(all: &mut [Rails<T>]) {
    let mut users: BTreeMap<Bdf, u32> = BTreeMap::new();
    for rail in all.iter().flat_map(|rails| &rails.rails) {
        *users.entry(rail.near.target).or_default() += 1;
    }
    for rail in all.iter_mut().flat_map(|rails| &mut rails.rails) {
        rail.shared_by = users[&rail.near.target];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_are_contiguous_and_use_every_interface(accelerators in 1..20_usize, interfaces in 0..40_usize) {
            let blocks: Vec<_> = (0..accelerators).map(|position| block(position, accelerators, interfaces)).collect();
            let mut used = vec![0; interfaces];
            for block in &blocks {
                block.clone().for_each(|interface| used[interface] += 1);
                prop_assert_eq!(block.is_empty(), interfaces == 0);
            }
            let at_most = if interfaces >= accelerators { 1 } else { accelerators.div_ceil(interfaces.max(1)) };
            prop_assert!(used.iter().all(|&users| (1..=at_most).contains(&users)), "{:?}", used);
            let sizes: Vec<usize> = blocks.iter().map(ExactSizeIterator::len).collect();
            prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{:?}", sizes);
        }
    }
}
