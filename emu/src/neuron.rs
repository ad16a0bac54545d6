//! Neuron devices as the Neuron driver shows them (version 2.30).

use nearfab::instances::{InstanceTable, Product};

use crate::tree::{Error, Tree};

pub(crate) const DEVICES: &str = "sys/devices/virtual/neuron_device";
const CLASS: &str = "sys/class/neuron_device";
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

pub(crate) fn write(tree: &Tree, table: &InstanceTable) -> Result<(), Error> {
    let Some(product) = table.product() else { return Ok(()) };
    tree.attribute("sys/module/neuron/version", "2.30.2.0")?;
    // Attributes of the class stand beside the devices.
    tree.attribute(&format!("{CLASS}/hbm_7200_capable"), 0)?;
    tree.attribute(&format!("{CLASS}/current_perf_profile"), 0)?;
    for row in table.neuron {
        let path = format!("{DEVICES}/{}", row.index);
        tree.attribute(&format!("{path}/dev"), format!("{MAJOR}:{}", row.index.0))?;
        tree.bytes(&format!("{path}/core_count"), product.cores.to_string().as_bytes())?;
        if let Some(links) = row.links {
            let links = links.iter().map(|link| link.0.to_string()).collect::<Vec<_>>().join(", ");
            tree.attribute(&format!("{path}/connected_devices"), links)?;
        }
        tree.attribute(&format!("{path}/info/notify_delay"), -1)?;
        tree.attribute(
            &format!("{path}/info/serial_number"),
            format!("{:016x}", 0x5e71_a100_u64 + u64::from(row.index.0)),
        )?;
        for (name, value) in [("unhealthy_components", ""), ("healthcheck_heartbeat", "0"), ("hw_error_event", "0")] {
            tree.attribute(&format!("{path}/stats/hardware/health_status/{name}"), value)?;
        }
        write_architecture(tree, &path, product)?;
        tree.link(&format!("{path}/subsystem"), CLASS)?;
        tree.link(&format!("{CLASS}/{}", row.index), &path)?;
        tree.device_node(&format!("dev/{}", row.index))?;
    }
    Ok(())
}

fn write_architecture(tree: &Tree, device: &str, product: &Product) -> Result<(), Error> {
    let Some((name, of_device, of_core, family)) = ARCHITECTURES.iter().find(|(name, ..)| *name == product.name) else {
        return Ok(());
    };
    let path = format!("{device}/info/architecture");
    tree.attribute(&format!("{path}/arch_type"), of_device)?;
    tree.attribute(&format!("{path}/device_name"), name)?;
    tree.attribute(&format!("{path}/instance_type"), family)?;
    for core in 0..product.cores {
        tree.attribute(&format!("{device}/neuron_core{core}/info/architecture/arch_type"), of_core)?;
    }
    Ok(())
}
