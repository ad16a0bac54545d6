//! Divides the EFA interfaces among the accelerators that are near them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Anchor, Basis, Near, NearList};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::types::{Bdf, Usability};

/// An EFA interface that an accelerator should use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rail {
    /// The interface, with its rank among all interfaces near the accelerator.
    #[serde(flatten)]
    pub near: Near<Bdf>,
    /// The number of accelerators that have the interface as a rail; more than 1 if there are fewer interfaces than
    /// accelerators, or if the rails are [shared](RailOptions::shared).
    pub shared_by: u32,
}

/// The EFA interfaces that one accelerator, or the memory of a NUMA node, should use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rails {
    /// The Neuron device, the PCI function of the GPU, or the NUMA node.
    pub of: Anchor,
    /// The interfaces in ascending order of their addresses. The list is empty if no interface is known to be near, or
    /// if none can be used.
    pub rails: Vec<Rail>,
    /// The interfaces that are at least as near and that this process cannot use.
    pub passed_over: Vec<Near<Bdf>>,
    /// The interface that the table pairs with the device, if this host does not have that interface.
    pub missing_pair: Option<Bdf>,
}

/// How the interfaces are divided among accelerators.
///
/// ```
/// use nearfab::{Host, RailOptions};
/// let host = Host::from_instance("p5en.48xlarge")?; // four interfaces and two GPUs behind each switch
/// let gpu = host.anchor("0000:59:00.0")?;
/// assert_eq!(host.rails(gpu, RailOptions::default())?.rails.len(), 2);
/// assert_eq!(host.rails(gpu, RailOptions::default().shared())?.rails.len(), 4);
/// # Ok::<(), nearfab::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RailOptions {
    is_shared: bool,
    is_uniform: bool,
    basis: Basis,
}

impl RailOptions {
    /// Gives each accelerator all of its nearest interfaces, also those that are as near to another accelerator.
    #[must_use]
    pub fn shared(self) -> Self {
        Self { is_shared: true, ..self }
    }

    /// Gives each accelerator the same number of interfaces: the least number of all. Collectives of NCCL fail if the
    /// numbers differ.
    #[must_use]
    pub fn uniform(self) -> Self {
        Self { is_uniform: true, ..self }
    }

    /// Chooses by PCI path and NUMA node alone, and ignores the vendor's pairing.
    #[must_use]
    pub fn by_place(self) -> Self {
        Self { basis: Basis::Place, ..self }
    }
}

impl Host {
    /// Returns the rails of one accelerator: the interface of the vendor's pairing, or the accelerator's part of the
    /// nearest interfaces. The rails of a core are those of its device. The rails of a NUMA node, for buffers in host
    /// memory, are all usable interfaces of the node; or of the other nodes if the node has none; or of no known node.
    ///
    /// Accelerators with the same nearest interfaces divide the interfaces: each gets a contiguous block, in ascending
    /// order of addresses, as NCCL's plugin of AWS and NIXL divide. If there are fewer interfaces than accelerators,
    /// accelerators share an interface. Only interfaces that this process can use are rails.
    ///
    /// The division is the same in each process of a container, because it covers all accelerators that the container
    /// can open, whatever `CUDA_VISIBLE_DEVICES` and `NEURON_RT_VISIBLE_CORES` say.
    ///
    /// ```
    /// use nearfab::{Host, RailOptions};
    /// let host = Host::from_instance("trn1.32xlarge")?;
    /// let rails = host.rails(host.anchor("neuron4")?, RailOptions::default())?;
    /// assert_eq!(rails.rails[0].near.target, "0000:20:19.0".parse()?);
    /// assert_eq!(rails.rails[0].shared_by, 2); // with neuron5
    ///
    /// let rails = host.rails(host.anchor("numa1")?, RailOptions::default())?;
    /// assert_eq!(rails.rails.len(), 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSuchDevice`] if the host has no such accelerator, core or node, or if this process cannot use the
    /// accelerator. [`Error::BadName`] for an EFA interface.
    pub fn rails(&self, of: Anchor, options: RailOptions) -> Result<Rails> {
        let of = match of {
            Anchor::Core { core } => Anchor::Device { device: core.device },
            Anchor::LogicalCore { logical } => Anchor::Device { device: self.logical_core(logical)?.device },
            other => other,
        };
        let list = self.near(of, options.basis)?;
        if let Anchor::Numa { .. } = of {
            let mut nearest: Vec<&Near<Bdf>> = list.nearest().collect();
            if nearest.is_empty() {
                // The node of each usable interface is unknown.
                nearest = list.entries.iter().filter(|near| near.usability.is_possible()).collect();
            }
            let rails = nearest.into_iter().map(|near| Rail { near: near.clone(), shared_by: 1 }).collect();
            let passed_over = list.passed_over().cloned().collect();
            return Ok(Rails { of, rails, passed_over, missing_pair: None });
        }
        let mut all = self.all_rails(options);
        if let Some(position) = all.iter().position(|rails| rails.of == of) {
            return Ok(all.swap_remove(position));
        }
        let present: Vec<String> = all.iter().map(|rails| rails.of.to_string()).collect();
        let state = self.anchor_usability(of);
        Err(Error::NoSuchDevice {
            wanted: format!("accelerator {of} that this process can use ({state})"),
            present: if present.is_empty() { "no such accelerator".to_owned() } else { present.join(", ") },
        })
    }

    /// Returns the rails of each Neuron device and each GPU that this process can use, in the order of the numbers of the
    /// devices and the addresses of the GPUs; see [`Host::rails`].
    ///
    /// ```
    /// use nearfab::{Host, RailOptions};
    /// let rails = Host::from_instance("p5en.48xlarge")?.all_rails(RailOptions::default());
    /// let names = |gpu: usize| rails[gpu].rails.iter().map(|rail| rail.near.target.to_string()).collect::<Vec<_>>();
    /// assert_eq!(names(0), ["0000:55:00.0", "0000:56:00.0"]);
    /// assert_eq!(names(1), ["0000:57:00.0", "0000:58:00.0"]);
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn all_rails(&self, options: RailOptions) -> Vec<Rails> {
        let neuron =
            self.neuron_devices().iter().map(|device| (Anchor::Device { device: device.index }, device.address()));
        let gpus = self.gpus().iter().map(|gpu| (Anchor::Function { address: gpu.address() }, Some(gpu.address())));
        let usable = neuron.chain(gpus).filter(|(of, _)| self.anchor_usability(*of).is_possible());
        // A ranking fails only for an accelerator that the host does not have.
        let near = usable.filter_map(|(of, address)| Some((of, address, self.near(of, options.basis).ok()?)));
        divided(near.collect(), options)
    }

    /// Returns the usable interfaces that are no rail of any accelerator.
    ///
    /// ```
    /// use nearfab::Host;
    /// assert!(Host::from_instance("trn2.48xlarge")?.interfaces_without_accelerator().is_empty());
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn interfaces_without_accelerator(&self) -> Vec<Bdf> {
        let all = self.all_rails(RailOptions::default());
        let used: Vec<Bdf> = all.iter().flat_map(|rails| &rails.rails).map(|rail| rail.near.target).collect();
        let usable = self.efa_interfaces().iter().filter(|efa| self.efa_usability(efa).is_possible());
        usable.map(|efa| efa.address()).filter(|address| !used.contains(address)).collect()
    }

    /// Returns whether this process can use an accelerator.
    fn anchor_usability(&self, of: Anchor) -> Usability {
        let neuron = |index| self.find_neuron(index).ok().map(|device| self.neuron_usability(device));
        let gpu = |address| self.gpus().iter().find(|gpu| gpu.address() == address).map(|gpu| self.gpu_usability(gpu));
        let found = match of {
            Anchor::Device { device } => neuron(device),
            Anchor::Function { address } => gpu(address),
            _ => None,
        };
        found.unwrap_or(Usability::Unknown)
    }
}

/// Divides the nearest interfaces among accelerators, which come with their addresses and rankings. The result has the
/// order of the accelerators.
fn divided(all: Vec<(Anchor, Option<Bdf>, NearList<Bdf>)>, options: RailOptions) -> Vec<Rails> {
    let targets = |list: &NearList<Bdf>| list.nearest().map(|near| near.target).collect::<Vec<_>>();
    // The accelerators with the same nearest interfaces, by address: the order of their parts does not depend on how a
    // driver numbers its devices.
    let mut groups: BTreeMap<Vec<Bdf>, Vec<(Option<Bdf>, Anchor)>> = BTreeMap::new();
    for (of, address, list) in &all {
        groups.entry(targets(list)).or_default().push((*address, *of));
    }
    groups.values_mut().for_each(|members| members.sort_by_key(|(address, _)| *address));
    let mut divided = Vec::with_capacity(all.len());
    for (of, _, list) in all {
        let nearest: Vec<&Near<Bdf>> = list.nearest().collect();
        let members = &groups[&targets(&list)];
        let position = members.iter().position(|(_, member)| *member == of).unwrap_or_default();
        let part = if options.is_shared { 0..nearest.len() } else { block(position, members.len(), nearest.len()) };
        let rails = nearest.get(part).unwrap_or_default().iter();
        divided.push(Rails {
            of,
            rails: rails.map(|near| Rail { near: (*near).clone(), shared_by: 0 }).collect(),
            passed_over: list.passed_over().cloned().collect(),
            missing_pair: list.missing_pair,
        });
    }
    if options.is_uniform {
        let least = divided.iter().map(|rails| rails.rails.len()).min().unwrap_or_default();
        divided.iter_mut().for_each(|rails| rails.rails.truncate(least));
    }
    count_users(&mut divided);
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
fn count_users(all: &mut [Rails]) {
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
