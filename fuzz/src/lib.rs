//! The parts that the fuzz targets share: the checks that every host must pass, the plain readings that are compared with
//! the library's, and small file trees.

pub mod attributes;
mod expectations;
mod measured;
pub mod numbers;
pub mod readings;
mod small;
mod system;
mod tree;

use std::fmt::Debug;
use std::hash::Hash;

use nearfab::instances::GroupSize;
use nearfab::{Basis, Evidence, Host, Near};
pub use small::thin;
pub use tree::{describe, write};

/// The content of a file beside each tree. It must never be in a reading.
pub const OUTSIDE: &str = "this-is-outside-of-the-tree";

/// Panics if a host contradicts itself.
pub fn check(host: &Host) {
    let read_back = Host::from_json(&host.to_json()).expect("a written host is readable");
    assert_eq!(&read_back, host);
    assert_eq!(host.diff(&read_back), [], "a host differs from its copy");
    for basis in [Basis::Pairing, Basis::Place] {
        for device in host.neuron_devices() {
            let near = host.near_device(device.index, basis).expect("a device that the host has");
            check_ranks(&near.entries, host.efa_interfaces().len());
            for core in device.cores().take(3) {
                let near = host.near_core(core, basis).expect("a core that the host has");
                check_ranks(&near.entries, host.efa_interfaces().len());
            }
        }
        for efa in host.efa_interfaces() {
            let near = host.near_efa(efa.address(), basis).expect("an interface that the host has");
            check_ranks(&near.entries, host.neuron_devices().len());
        }
    }
    for gpu in host.gpus() {
        check_ranks(
            &host.near_function(gpu.address()).expect("a GPU that the host has").entries,
            host.efa_interfaces().len(),
        );
    }
    check_numbers(host);
}

fn check_ranks<T: Debug + Clone + Eq + Hash>(entries: &[Near<T>], candidates: usize) {
    assert!(entries.len() <= candidates, "{entries:?}");
    assert!(entries.first().is_none_or(|first| first.rank == 1), "{entries:?}");
    for pair in entries.windows(2) {
        assert!(pair[1].rank == pair[0].rank || pair[1].rank == pair[0].rank + 1, "{entries:?}");
        let by_place = pair.iter().all(|near| matches!(near.evidence, Evidence::Place { .. }));
        assert!(!by_place || pair[0].proximity <= pair[1].proximity, "{entries:?}");
    }
}

/// Checks that cores, container devices, links and groups belong to devices of the host, and that no core has two numbers.
fn check_numbers(host: &Host) {
    let numbering = host.numbering();
    for (position, row) in numbering.rows.iter().enumerate() {
        assert_eq!(row.logical.0 as usize, position);
        let cores = host.find_neuron(row.device).expect("a device that the host has").cores;
        assert!(row.physical.iter().all(|core| core.0 < cores), "{row:?} of {cores} cores");
        assert_eq!(host.container_device(row.device), Some(row.container));
        assert_eq!(host.host_device(row.container), Some(row.device));
    }
    for row in numbering.rows.iter().take(20) {
        let core = nearfab::Core { device: row.device, core: row.physical[0] };
        assert_eq!(numbering.logical(core), Some(row.logical));
    }
    for links in host.links() {
        host.find_neuron(links.device).expect("a device that the host has");
    }
    for &size in GroupSize::ALL {
        let neuron = host.neuron_devices().iter().filter_map(|device| host.device_group(device.index, size));
        let efa = host.efa_interfaces().iter().filter_map(|efa| host.efa_group(efa.address(), size));
        assert!(neuron.chain(efa).all(|id| !id.is_empty()));
    }
}
