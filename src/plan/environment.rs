//! Environment variables of a rank's process: the table of `data/environment.toml`, compiled in.

use std::collections::BTreeMap;

use super::{PlanOptions, Share};
use crate::error::{Error, Result};
use crate::host::Host;
use crate::scan::neuron::{Lnc, LncEvidence};
use crate::tables::variables::{Accelerators, Selection, VARIABLES, Value, Variable};
use crate::types::Bdf;

/// Whether the variable of this name is one that gives way.
pub(super) fn is_default(name: &str) -> bool {
    VARIABLES.iter().any(|variable| variable.name == name && variable.is_default())
}

/// Those that this host needs.
pub(super) fn variables(host: &Host, options: &PlanOptions) -> Vec<&'static Variable> {
    let accelerators = if host.neuron().is_empty() { Accelerators::Gpu } else { Accelerators::Neuron };
    let product = host.neuron().first().and_then(|device| device.product.as_deref());
    let needed = |variable: &&Variable| {
        variable.accelerators.is_none_or(|needed| needed == accelerators)
            && (!variable.efa || !host.efa().is_empty())
            && (variable.products.is_empty() || product.is_some_and(|product| variable.products.contains(&product)))
            && variable.kernel.has(options.kernel.as_ref())
            && (options.narrowed || variable.value != Value::Selection(Selection::Interfaces))
    };
    VARIABLES.iter().filter(needed).collect()
}

/// What a rank is told.
pub(super) struct Told<'a> {
    pub(super) host: &'a Host,
    pub(super) share: &'a Share,
    pub(super) lnc: Option<&'a Lnc>,
    pub(super) interfaces: &'a [Bdf],
}

impl Told<'_> {
    pub(super) fn environment(&self, rank: u32, variables: &[&Variable]) -> Result<BTreeMap<&'static str, String>> {
        let mut environment = BTreeMap::new();
        for variable in variables {
            let value = match variable.value {
                Value::Text(text) => Some(text.to_owned()),
                Value::Selection(Selection::Cores | Selection::Gpus) => Some(self.share.numbers()),
                Value::Selection(Selection::Lnc) => self.lnc.and_then(choice),
                Value::Selection(Selection::Interfaces) => Some(self.names(rank)?),
            };
            environment.extend(value.map(|value| (variable.name, value)));
        }
        Ok(environment)
    }

    /// The names of the interfaces, by which libfabric chooses.
    fn names(&self, rank: u32) -> Result<String> {
        let name = |&address: &Bdf| {
            self.host.find_efa(address)?.rdma.clone().ok_or_else(|| Error::NoPlan {
                reason: format!(
                    "rank {rank} cannot be narrowed to {address}: its RDMA name is not known, which only a machine's efa \
                     driver gives"
                ),
            })
        };
        let names: Result<Vec<String>> = self.interfaces.iter().map(name).collect();
        match names? {
            // libfabric aborts where the variable is empty.
            names if names.is_empty() => Err(Error::NoPlan {
                reason: format!("rank {rank} cannot be narrowed to its near interfaces: none is known to be near"),
            }),
            names => Ok(names.join(",")),
        }
    }
}

/// Where the product leaves no choice, nobody has to be told.
fn choice(lnc: &Lnc) -> Option<String> {
    (lnc.evidence != LncEvidence::Product).then(|| lnc.size.to_string())
}
