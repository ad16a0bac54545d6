//! Writes rails and CPUs in the forms that other programs read.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::json;

use super::Plan;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::topology::{Anchor, RailOptions, Rails};
use crate::types::{Bdf, CpuList};

/// The most interfaces of a process that UCCL accepts (`kNICContextNumber` in p2p/util/common.h).
const MOST_OF_UCCL: usize = 4;

/// A program that reads which interfaces accelerators should use, and the form that it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RailFormat {
    /// The file of `MC_CUSTOM_TOPO_JSON`, for all accelerators and NUMA nodes: the preferred and the other interfaces of
    /// `cuda:0`, `neuron:0` and `cpu:0`. Mooncake refuses a file in which one of the two lists is missing. Builds of Mooncake for EFA ignore the file
    /// if Python starts the engine.
    Mooncake,
    /// The value of SGLang's option `--disaggregation-ib-device`, for all GPUs: a JSON object with the numbers of the GPUs.
    Sglang,
    /// The variables `VLLM_GPU_NIC_PCIE_MAPPING` and `VLLM_NIC_SELECTION_VARS`, for all GPUs. vLLM takes one interface for
    /// each GPU: the first rail.
    Vllm,
    /// The variable `UCX_NET_DEVICES` of one process: names with the number of the port.
    Ucx,
    /// The variable `UCCL_P2P_RDMA_DEV` of one process. UCCL aborts with more than four interfaces.
    Uccl,
    /// The variable `FI_EFA_IFACE` of one process. libfabric 2.0 and newer read it, and abort if it is empty.
    Libfabric,
}

impl Host {
    /// Returns rails as the text of a program's file or variable. `gpus` are the GPUs that CUDA shows the process, in
    /// CUDA's order: see [`Host::cuda_gpus`].
    ///
    /// ```
    /// use nearfab::plan::RailFormat;
    /// use nearfab::{Host, RailOptions};
    ///
    /// let host = Host::from_instance("p5en.48xlarge")?; // on an instance: Host::discover()?
    /// let gpus = host.cuda_gpus(None, None)?;
    /// let rails = host.all_rails(RailOptions::default());
    /// let text = host.rails_as(RailFormat::Vllm, &rails, &gpus)?;
    /// assert!(text.starts_with("VLLM_GPU_NIC_PCIE_MAPPING=0000:59:00.0=0000:55:00.0,0000:5a:00.0=0000:57:00.0,"));
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoPlan`] if an accelerator has no rail, if the RDMA name of an interface is unknown (only a host with the efa
    /// driver has RDMA names), or if a variable of one process would need the rails of several accelerators.
    pub fn rails_as(&self, format: RailFormat, rails: &[Rails], gpus: &[Bdf]) -> Result<String> {
        match format {
            RailFormat::Mooncake => self.mooncake(rails, gpus),
            RailFormat::Sglang => self.sglang(rails, gpus),
            RailFormat::Vllm => vllm(rails, gpus),
            RailFormat::Ucx => Ok(format!("UCX_NET_DEVICES={}", self.of_one(rails, ":1")?)),
            RailFormat::Uccl => self.uccl(rails),
            RailFormat::Libfabric => Ok(format!("FI_EFA_IFACE={}", self.of_one(rails, "")?)),
        }
    }

    fn mooncake(&self, rails: &[Rails], gpus: &[Bdf]) -> Result<String> {
        let mut all = Vec::new();
        for efa in self.efa_interfaces().iter().filter(|efa| self.efa_usability(efa).is_possible()) {
            all.push(self.rdma_name(efa.address())?);
        }
        let entry = |rails: &Rails| -> Result<serde_json::Value> {
            let preferred = self.names(rails)?;
            let others: Vec<&String> = all.iter().filter(|name| !preferred.contains(*name)).collect();
            Ok(json!([preferred, others]))
        };
        let mut matrix = BTreeMap::new();
        for (number, rails) in of_gpus(rails, gpus)? {
            matrix.insert(format!("cuda:{number}"), entry(rails)?);
        }
        for rails in rails {
            if let Anchor::Device { device } = rails.of
                && let Some(number) = self.container_device(device)
            {
                matrix.insert(format!("neuron:{number}"), entry(rails)?);
            }
        }
        for node in self.numa_nodes().iter().filter(|node| !node.cpus.is_empty()) {
            let rails = self.rails(Anchor::Numa { node: node.node }, RailOptions::default())?;
            matrix.insert(format!("cpu:{}", node.node), entry(&rails)?);
        }
        Ok(json!(matrix).to_string())
    }

    fn sglang(&self, rails: &[Rails], gpus: &[Bdf]) -> Result<String> {
        let mut mapping = BTreeMap::new();
        for (number, rails) in of_gpus(rails, gpus)? {
            mapping.insert(number.to_string(), self.names(rails)?.join(","));
        }
        if mapping.is_empty() {
            return Err(refused("this process has no GPU, and the form is for GPUs"));
        }
        Ok(json!(mapping).to_string())
    }

    fn uccl(&self, rails: &[Rails]) -> Result<String> {
        let names = self.of_one(rails, "")?;
        match names.split(',').count() {
            0..=MOST_OF_UCCL => Ok(format!("UCCL_P2P_RDMA_DEV={names}")),
            more => Err(refused(format!("UCCL takes at most {MOST_OF_UCCL} interfaces, and these are {more}"))),
        }
    }

    /// Returns the names of one accelerator's rails, each with this suffix, for a variable of one process.
    fn of_one(&self, rails: &[Rails], suffix: &str) -> Result<String> {
        let [rails] = rails else {
            return Err(refused("the variable is for one process: name its accelerator"));
        };
        Ok(self.names(rails)?.iter().map(|name| format!("{name}{suffix}")).collect::<Vec<_>>().join(","))
    }

    /// Returns the RDMA names of the rails; fails if there is none.
    fn names(&self, rails: &Rails) -> Result<Vec<String>> {
        if rails.rails.is_empty() {
            return Err(refused(format!("{} has no interface that is known to be near and can be used", rails.of)));
        }
        rails.rails.iter().map(|rail| self.rdma_name(rail.near.target)).collect()
    }

    /// Returns an RDMA name without the characters that separate names in variables.
    fn rdma_name(&self, address: Bdf) -> Result<String> {
        let is_plain = |name: &&String| name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
        let name = self.find_efa(address)?.rdma.as_ref().filter(is_plain);
        name.cloned().ok_or_else(|| {
            refused(format!("the RDMA name of {address} is unknown; only a host with the efa driver has RDMA names"))
        })
    }
}

fn vllm(rails: &[Rails], gpus: &[Bdf]) -> Result<String> {
    let mut pairs = Vec::new();
    for (_, rails) in of_gpus(rails, gpus)? {
        let first = rails.rails.first().ok_or_else(|| {
            refused(format!("{} has no interface that is known to be near and can be used", rails.of))
        })?;
        pairs.push(format!("{}={}", rails.of, first.near.target));
    }
    if pairs.is_empty() {
        return Err(refused("this process has no GPU, and the form is for GPUs"));
    }
    let mapping = pairs.join(",");
    Ok(format!("VLLM_GPU_NIC_PCIE_MAPPING={mapping}\nVLLM_NIC_SELECTION_VARS=UCX_NET_DEVICES:1"))
}

/// Returns the rails of each GPU with the number that CUDA gives the GPU.
fn of_gpus<'a>(rails: &'a [Rails], gpus: &[Bdf]) -> Result<Vec<(usize, &'a Rails)>> {
    let of = |address: Bdf| {
        rails.iter().find(|rails| rails.of == Anchor::Function { address }).ok_or_else(|| {
            refused(format!("the form is for all GPUs of a process, and the rails of {address} are not given"))
        })
    };
    gpus.iter().enumerate().map(|(number, &address)| Ok((number, of(address)?))).collect()
}

fn refused(reason: impl Into<String>) -> Error {
    Error::NoPlan { reason: reason.into() }
}

impl Plan {
    /// Returns the CPUs of the ranks as the value of the option `--cpu-bind` of Slurm's srun: one mask for each rank.
    ///
    /// ```
    /// use nearfab::Host;
    /// use nearfab::plan::{PlanOptions, plan};
    /// let plan = plan(&Host::from_instance("trn1.2xlarge")?, &PlanOptions::ranks(1))?;
    /// assert_eq!(plan.cpu_masks()?, "mask_cpu:0xff");
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoPlan`] if the host shows no CPUs for a rank.
    pub fn cpu_masks(&self) -> Result<String> {
        let mut masks = Vec::with_capacity(self.ranks.len());
        for rank in &self.ranks {
            if rank.cpus.cpus.is_empty() {
                return Err(refused(format!("the CPUs of rank {} are unknown", rank.rank)));
            }
            masks.push(mask(&rank.cpus.cpus));
        }
        Ok(format!("mask_cpu:{}", masks.join(",")))
    }
}

/// Returns the CPUs as a hexadecimal number with one bit for each CPU.
fn mask(cpus: &CpuList) -> String {
    let mut digits = vec![0_u8; cpus.iter().max().map_or(1, |last| last as usize / 4 + 1)];
    for cpu in cpus.iter() {
        digits[cpu as usize / 4] |= 1 << (cpu % 4);
    }
    let mut text = String::from("0x");
    for digit in digits.iter().rev() {
        // Writing to a String cannot fail.
        let _ = write!(text, "{digit:x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn mask_has_one_bit_for_each_cpu(cpus in proptest::collection::btree_set(0..128_u32, 1..20)) {
            let text = mask(&cpus.iter().copied().collect());
            let number = u128::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap();
            prop_assert_eq!(number, cpus.iter().map(|cpu| 1_u128 << cpu).sum::<u128>());
            prop_assert!(!text.starts_with("0x0"));
        }
    }
}
