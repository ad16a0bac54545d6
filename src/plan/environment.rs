//! Chooses the environment variables of a rank's process from the table of `data/variables.toml`.

use std::collections::BTreeMap;

use super::{PlanOptions, Share};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::neuron::{Lnc, LncEvidence};
use crate::tables::variables::{Accelerators, Selection, VARIABLES, Value, Variable};
use crate::types::Bdf;

/// Returns true if a value that the user has already set for this variable is kept.
pub(super) fn is_default(name: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.name == name && variable.is_default())
}

/// Returns the variable of this name on hosts with these accelerators.
pub(super) fn find(name: &str, accelerators: Accelerators) -> Option<&'static Variable> {
    let is_for = |variable: &Variable| variable.accelerators.is_none_or(|needed| needed == accelerators);
    VARIABLES.iter().find(|variable| variable.name == name && is_for(variable))
}

/// Returns the variables that this host needs.
pub(super) fn variables(host: &Host, options: &PlanOptions) -> Vec<&'static Variable> {
    let accelerators = match (host.neuron_devices().is_empty(), host.gpus().is_empty()) {
        (false, _) => Some(Accelerators::Neuron),
        (true, false) => Some(Accelerators::Gpu),
        (true, true) => None,
    };
    let product = host.neuron_devices().first().and_then(|device| device.product.as_deref());
    let needed = |variable: &&Variable| {
        (variable.accelerators.is_none() || variable.accelerators == accelerators)
            && (!variable.efa || !host.efa_interfaces().is_empty())
            && (variable.products.is_empty() || product.is_some_and(|product| variable.products.contains(&product)))
            && variable.kernel.has(options.kernel.as_ref())
            && (options.narrowed || variable.value != Value::Selection(Selection::Interfaces))
    };
    VARIABLES.iter().filter(needed).collect()
}

/// The resources of a rank, which determine the values of the rank's variables.
pub(super) struct Resources<'a> {
    pub(super) host: &'a Host,
    pub(super) share: &'a Share,
    pub(super) lnc: Option<&'a Lnc>,
    pub(super) interfaces: &'a [Bdf],
}

impl Resources<'_> {
    pub(super) fn environment(&self, rank: u32, variables: &[&Variable]) -> Result<BTreeMap<String, String>> {
        let mut environment = BTreeMap::new();
        for variable in variables {
            let value = match variable.value {
                Value::Text(text) => Some(text.to_owned()),
                Value::Selection(Selection::Cores | Selection::Gpus) => Some(self.share.numbers()),
                Value::Selection(Selection::Lnc) => self.lnc.and_then(choice),
                Value::Selection(Selection::Interfaces) => Some(self.names(rank)?),
            };
            environment.extend(value.map(|value| (variable.name.to_owned(), value)));
        }
        Ok(environment)
    }

    /// Returns the RDMA names of the interfaces. libfabric selects interfaces by these names.
    fn names(&self, rank: u32) -> Result<String> {
        let name = |&address: &Bdf| {
            self.host.find_efa(address)?.rdma.clone().ok_or_else(|| Error::NoPlan {
                reason: format!(
                    "rank {rank} cannot be restricted to {address}: the RDMA name of this interface is unknown; only a host \
                     with the efa driver has RDMA names"
                ),
            })
        };
        let names: Result<Vec<String>> = self.interfaces.iter().map(name).collect();
        match names? {
            // libfabric aborts if the variable is empty.
            names if names.is_empty() => Err(Error::NoPlan {
                reason: format!(
                    "rank {rank} cannot be restricted to its near interfaces: no interface is known to be near"
                ),
            }),
            names => Ok(names.join(",")),
        }
    }
}

/// Returns the LNC to set, or `None` for a product that has only one LNC.
fn choice(lnc: &Lnc) -> Option<String> {
    (lnc.evidence != LncEvidence::Product).then(|| lnc.size.to_string())
}
