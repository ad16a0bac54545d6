//! The hosts and modes that the tests of the device model share.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

use nearfab::Host;
use nearfab::instances::InstanceTable;
use nearfab_dra::model::Model;
use nearfab_dra::model::options::{EfaForm, Form, Options, Published, ServerVersion};
use nearfab_emu::{Defect, write_tree_with};

/// The name of the node of every host.
pub(crate) const NODE: &str = "node1";

/// The name of a host that has the devices of a trn2.48xlarge and a type without a table.
pub(crate) const WITHOUT_TABLE: &str = "trn9.48xlarge";

/// The flags of the driver, by the name of the files in `golden/` and of `mode` in a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Flat,
    EfaSets,
    Shared,
    Partitions,
    PartitionsShared,
    Aws,
}

impl Mode {
    pub(crate) const ALL: [Self; 6] =
        [Self::Flat, Self::EfaSets, Self::Shared, Self::Partitions, Self::PartitionsShared, Self::Aws];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::EfaSets => "efa-sets",
            Self::Shared => "shared",
            Self::Partitions => "partitions",
            Self::PartitionsShared => "partitions-shared",
            Self::Aws => "aws",
        }
    }

    pub(crate) fn options(self) -> Options {
        let own = |partitions, efa| Form::Own { partitions, efa };
        let form = match self {
            Self::Flat => own(false, EfaForm::Single),
            Self::EfaSets => own(false, EfaForm::Sets),
            Self::Shared => own(false, EfaForm::Shared),
            Self::Partitions => own(true, EfaForm::Single),
            Self::PartitionsShared => own(true, EfaForm::Shared),
            Self::Aws => Form::Aws,
        };
        Options { hardware: Published::Both, form }
    }

    /// Returns what the driver publishes of a host for the newest server.
    pub(crate) fn model(self, host: &Host) -> Model {
        Model::new(host, NODE, self.options(), ServerVersion::OVERLAPPING)
    }
}

/// Returns a host of an instance type, from the files that the kernel shows on it. The files are written once.
pub(crate) fn host(instance_type: &str) -> Host {
    static HOSTS: Mutex<BTreeMap<String, Host>> = Mutex::new(BTreeMap::new());
    if let Some(host) = HOSTS.lock().unwrap().get(instance_type) {
        return host.clone();
    }
    let host = host_with(instance_type, &[]);
    HOSTS.lock().unwrap().insert(instance_type.to_owned(), host.clone());
    host
}

/// Returns a host of an instance type with defects.
pub(crate) fn host_with(instance_type: &str, defects: &[Defect]) -> Host {
    host_edited(instance_type, defects, |_| {})
}

/// Returns a host of an instance type with defects, after a change of its files.
pub(crate) fn host_edited(instance_type: &str, defects: &[Defect], edit: impl FnOnce(&Path)) -> Host {
    let of = if instance_type == WITHOUT_TABLE { "trn2.48xlarge" } else { instance_type };
    let dir = tempfile::tempdir().unwrap();
    let table = InstanceTable::find(of).unwrap();
    // The statistics of cores are thousands of files, which the driver does not read.
    let small = (!table.neuron.is_empty()).then_some(Defect::NoCoreStatistics);
    let defects: Vec<Defect> = defects.iter().cloned().chain(small).collect();
    write_tree_with(table, &defects, dir.path()).unwrap();
    if of != instance_type {
        let product_name = dir.path().join("sys/devices/virtual/dmi/id/product_name");
        fs::remove_file(&product_name).unwrap();
        fs::write(product_name, format!("{instance_type}\n")).unwrap();
    }
    edit(dir.path());
    Host::from_root(dir.path()).unwrap()
}
