//! Neuron devices, as the Neuron driver shows them.

use crate::class::{self, Node};
use crate::driver::NeuronDriver;
use crate::function::NEURON_DRIVER;
use crate::plan::{Neuron, Plan};
use crate::tree::{Error, Tree};

pub(crate) const DEVICES: &str = "sys/devices/virtual/neuron_device";
const CLASS: &str = "sys/class/neuron_device";
const MODULE: &str = "sys/module/neuron";
/// The major number of the Neuron nodes. The kernel assigns the number when the driver is loaded. This value was
/// captured.
const MAJOR: u32 = 239;

/// The product names, with the names of the device's architecture, its cores' architecture and the instance family.
const ARCHITECTURES: [(&str, &str, &str, &str); 5] = [
    ("Inferentia", "NDv1", "NCv1", "Inf1"),
    ("Trainium1", "NDv2", "NCv2", "Trn1"),
    ("Inferentia2", "NDv3", "NCv2", "Inf2"),
    ("Trainium2", "NDv3", "NCv3", "Trn2"),
    ("Trainium3", "NDv4", "NCv4", "Trn3"),
];

/// The parameters of the module and their defaults, as captured with 2.24.7.
const PARAMETERS: [(&str, u32); 15] = [
    ("dev_nc_map", 1),
    ("dup_helper_enable", 1),
    ("force_die_flip", 0),
    ("force_userver", 0),
    ("mempool_host_memory_size", 32 << 20),
    ("mempool_min_alloc_size", 4096),
    ("mempool_small_alloc_max", 512 << 10),
    ("mempool_small_pool_size", 1 << 30),
    ("nc_per_dev_param", 1),
    ("nmetric_log_posts", 0),
    ("nmetric_metric_post_delay", 150_000),
    ("no_reset", 0),
    ("userver_ctl", 0),
    ("userver_etimeout", 600),
    ("wc_enable", 1),
];
/// Parameters of later releases. The source is modinfo of the build 2.x.7693, which is no release of [`NeuronDriver`].
const PARAMETERS_LATER: [(&str, u32); 2] = [("userver_pds_node_cnt", 0), ("userver_pds_server_id", 0)];

type Values = &'static [(&'static str, &'static str)];

/// Attributes of the class on a server outside of an UltraServer, as captured with 2.24.7.
const ULTRASERVER: Values = &[
    ("node_id_2", "-1"),
    ("node_id_4", "-1"),
    ("server_id_2", "0000000000000000"),
    ("server_id_4", "0000000000000000"),
    ("ultraserver_mode", ""),
];
/// Attributes of the class from 2.30 on, on platforms without NeuronSwitches.
const PERFORMANCE: Values = &[("hbm_7200_capable", "0"), ("current_perf_profile", "0")];
/// Attributes of the class from 2.30 on, on platforms with NeuronSwitches. The values of these attributes outside of a
/// reservation are not captured.
const SWITCHED: Values =
    &[("node_id", "-1"), ("node_cnt", "0"), ("reservation_id", "0000000000000000"), ("ultraserver_mode", "")];

/// The product names that driver 2.30.2 treats as UltraServers.
const ULTRASERVER_TYPES: [&str; 5] =
    ["trn2p.48xlarge", "trn2eu.48xlarge", "trn2u.48xlarge", "trn2u-ac.24xlarge", "trn3p.48xlarge"];
/// The product names that driver 2.30.2 treats as platforms with NeuronSwitches.
const SWITCHED_TYPES: [&str; 10] = [
    "trn2es.48xlarge",
    "trn3.48xlarge",
    "trn3-dev0.48xlarge",
    "trn3-dev1.48xlarge",
    "trn3s-es.48xlarge",
    "trn3sn.48xlarge",
    "trn3sn-es.48xlarge",
    "trn2en.24xlarge",
    "trn3e.24xlarge",
    "trn3e-dev0",
];

pub(crate) fn write(tree: &Tree, plan: &Plan) -> Result<(), Error> {
    let Some(neuron) = &plan.neuron else { return Ok(()) };
    write_module(tree, neuron.driver)?;
    for (name, value) in class_attributes(neuron.driver, plan.product_name.as_deref()) {
        // The class has these files beside its devices.
        tree.attribute(&format!("{CLASS}/{name}"), 0o444, value)?;
    }
    for row in neuron.rows {
        let path = format!("{DEVICES}/{}", row.index);
        if neuron.driver < NeuronDriver::V2_31 {
            write_identity(tree, neuron, &path, row)?;
        }
        let name = row.index.to_string();
        class::device(tree, CLASS, &path, Some(&Node { major: MAJOR, minor: row.index.0, name: &name }))?;
    }
    Ok(())
}

fn write_module(tree: &Tree, driver: NeuronDriver) -> Result<(), Error> {
    tree.attribute(&format!("{MODULE}/version"), 0o444, driver.version())?;
    // The srcversion of 2.24.7. The srcversion of every other release is not public.
    tree.attribute(&format!("{MODULE}/srcversion"), 0o444, "581D17543E4AA798F2CC707")?;
    let later = PARAMETERS_LATER.iter().filter(|_| driver >= NeuronDriver::V2_30);
    for (name, value) in PARAMETERS.iter().chain(later) {
        tree.attribute(&format!("{MODULE}/parameters/{name}"), 0o660, value)?;
    }
    tree.link(&format!("sys/bus/pci/drivers/{NEURON_DRIVER}/module"), MODULE)
}

/// Returns the attributes of the class. The driver derives the platform from the product name.
fn class_attributes(
    driver: NeuronDriver,
    product_name: Option<&str>,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let is_of = |types: &[&str]| product_name.is_some_and(|name| types.contains(&name));
    let sets: &[Values] = match driver {
        NeuronDriver::V2_31 => &[],
        NeuronDriver::V2_30 if is_of(&SWITCHED_TYPES) => &[SWITCHED],
        NeuronDriver::V2_30 if is_of(&ULTRASERVER_TYPES) => &[PERFORMANCE, ULTRASERVER],
        NeuronDriver::V2_30 => &[PERFORMANCE],
        // Captured with 2.24 and read in the source of 2.26. Releases 2.27 to 2.29 are assumed to have the same
        // attributes.
        _ => &[ULTRASERVER],
    };
    sets.iter().flat_map(|set| set.iter().copied())
}

/// Writes the attributes of a device that do not change.
fn write_identity(tree: &Tree, neuron: &Neuron, path: &str, row: &nearfab::instances::NeuronRow) -> Result<(), Error> {
    let Neuron { driver, product, .. } = neuron;
    let mode = if *driver < NeuronDriver::V2_28 { 0o400 } else { 0o444 };
    tree.bytes(&format!("{path}/core_count"), mode, product.cores.to_string().as_bytes())?;
    // A real driver always has this file. The tree lacks the file if the table does not know the links.
    if let Some(links) = row.links {
        let links = links.iter().map(|link| link.0.to_string()).collect::<Vec<_>>().join(", ");
        tree.attribute(&format!("{path}/connected_devices"), mode, links)?;
    }
    tree.attribute(&format!("{path}/info/notify_delay"), 0o644, -1)?;
    if product.name != "Inferentia" {
        let serial = 0x5e71_a100_u64 + u64::from(row.index.0);
        tree.attribute(&format!("{path}/info/serial_number"), 0o644, format_args!("{serial:016x}"))?;
    }
    let Some((name, device_arch, core_arch, family)) = ARCHITECTURES.iter().find(|(name, ..)| *name == product.name)
    else {
        return Ok(());
    };
    for (file, value) in [("arch_type", device_arch), ("device_name", name), ("instance_type", family)] {
        tree.attribute(&format!("{path}/info/architecture/{file}"), 0o644, value)?;
    }
    for core in 0..product.cores {
        tree.attribute(&format!("{path}/neuron_core{core}/info/architecture/arch_type"), 0o644, core_arch)?;
    }
    Ok(())
}
