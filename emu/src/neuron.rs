//! Neuron devices as the Neuron driver shows them.

use crate::class::{self, Node};
use crate::driver::NeuronDriver;
use crate::function::NEURON_DRIVER;
use crate::plan::{Neuron, Plan};
use crate::tree::{Error, Tree};

pub(crate) const DEVICES: &str = "sys/devices/virtual/neuron_device";
const CLASS: &str = "sys/class/neuron_device";
const MODULE: &str = "sys/module/neuron";
/// The driver's node numbers are given out at load time; this is one that was seen.
const MAJOR: u32 = 239;

/// The names of the architectures: of the device, of its cores, and of the instance family.
const ARCHITECTURES: [(&str, &str, &str, &str); 5] = [
    ("Inferentia", "NDv1", "NCv1", "Inf1"),
    ("Trainium1", "NDv2", "NCv2", "Trn1"),
    ("Inferentia2", "NDv3", "NCv2", "Inf2"),
    ("Trainium2", "NDv3", "NCv3", "Trn2"),
    ("Trainium3", "NDv4", "NCv4", "Trn3"),
];

/// Parameters of the module and their defaults, as captured with 2.24.7.
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
/// Not of one of the releases here, but of a build between them (modinfo of 2.x.7693).
const PARAMETERS_LATER: [(&str, u32); 2] = [("userver_pds_node_cnt", 0), ("userver_pds_server_id", 0)];

type Values = &'static [(&'static str, &'static str)];

/// Attributes of the class on a server that is in no UltraServer, as captured with 2.24.7.
const ULTRASERVER: Values = &[
    ("node_id_2", "-1"),
    ("node_id_4", "-1"),
    ("server_id_2", "0000000000000000"),
    ("server_id_4", "0000000000000000"),
    ("ultraserver_mode", ""),
];
/// From 2.30 on of every platform but those with NeuronSwitches.
const PERFORMANCE: Values = &[("hbm_7200_capable", "0"), ("current_perf_profile", "0")];
/// From 2.30 on of those with NeuronSwitches. What they say outside of a reservation was not seen.
const SWITCHED: Values =
    &[("node_id", "-1"), ("node_cnt", "0"), ("reservation_id", "0000000000000000"), ("ultraserver_mode", "")];

/// The instance types of the platforms, as the driver (2.30.2) compares the product name.
const ULTRASERVER_TYPES: [&str; 5] =
    ["trn2p.48xlarge", "trn2eu.48xlarge", "trn2u.48xlarge", "trn2u-ac.24xlarge", "trn3p.48xlarge"];
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
        // They stand beside the devices.
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
    // That of 2.24.7; no other is public.
    tree.attribute(&format!("{MODULE}/srcversion"), 0o444, "581D17543E4AA798F2CC707")?;
    let later = PARAMETERS_LATER.iter().filter(|_| driver >= NeuronDriver::V2_30);
    for (name, value) in PARAMETERS.iter().chain(later) {
        tree.attribute(&format!("{MODULE}/parameters/{name}"), 0o660, value)?;
    }
    tree.link(&format!("sys/bus/pci/drivers/{NEURON_DRIVER}/module"), MODULE)
}

/// The platform is what the driver makes of the product name.
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
        // Captured of 2.24, read in the source of 2.26, and taken to hold until they were divided.
        _ => &[ULTRASERVER],
    };
    sets.iter().flat_map(|set| set.iter().copied())
}

/// What a device says of itself and does not change.
fn write_identity(tree: &Tree, neuron: &Neuron, path: &str, row: &nearfab::instances::NeuronRow) -> Result<(), Error> {
    let Neuron { driver, product, .. } = neuron;
    let who = if *driver < NeuronDriver::V2_28 { 0o400 } else { 0o444 };
    tree.bytes(&format!("{path}/core_count"), who, product.cores.to_string().as_bytes())?;
    // The driver always says so; where the table does not know, there is nothing to say.
    if let Some(links) = row.links {
        let links = links.iter().map(|link| link.0.to_string()).collect::<Vec<_>>().join(", ");
        tree.attribute(&format!("{path}/connected_devices"), who, links)?;
    }
    tree.attribute(&format!("{path}/info/notify_delay"), 0o644, -1)?;
    if product.name != "Inferentia" {
        let serial = 0x5e71_a100_u64 + u64::from(row.index.0);
        tree.attribute(&format!("{path}/info/serial_number"), 0o644, format_args!("{serial:016x}"))?;
    }
    let Some((name, of_device, of_core, family)) = ARCHITECTURES.iter().find(|(name, ..)| *name == product.name) else {
        return Ok(());
    };
    for (file, value) in [("arch_type", of_device), ("device_name", name), ("instance_type", family)] {
        tree.attribute(&format!("{path}/info/architecture/{file}"), 0o644, value)?;
    }
    for core in 0..product.cores {
        tree.attribute(&format!("{path}/neuron_core{core}/info/architecture/arch_type"), 0o644, of_core)?;
    }
    Ok(())
}
