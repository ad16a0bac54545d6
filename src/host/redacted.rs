//! A host without anything that identifies its machine.

use std::sync::Arc;

use super::{Host, Origin, Snapshot};
use crate::redact::Redactor;

impl Host {
    /// Returns this host with everything that identifies the machine replaced. The result is not live.
    pub(crate) fn redacted(&self, redactor: &mut Redactor) -> Self {
        // The pattern names every field, so the compiler reports a new field that is not redacted.
        let Snapshot {
            format,
            origin,
            instance_type,
            numa,
            mut efa,
            mut neuron,
            driverless,
            problems,
            mut efa_driver,
            mut neuron_driver,
            lnc,
            mut gpus,
            mut other_rdma,
            rdma_namespaces,
            unnumbered,
            unexplained_nodes,
            pci_functions,
        } = (*self.snapshot).clone();
        let origin = match origin {
            Origin::Tree { root } => Origin::Tree { root: redactor.root(&root).into() },
            other => other,
        };
        for interface in &mut efa {
            interface.firmware = interface.firmware.as_deref().map(|version| redactor.version(version));
            interface.p2p = interface.p2p.as_deref().map(|name| redactor.name(name));
            interface.node_guid = interface.node_guid.map(|guid| redactor.guid(guid));
            if let Some(port) = &mut interface.port {
                port.gid = port.gid.map(|gid| redactor.gid(gid));
            }
        }
        for device in &mut neuron {
            device.serial = device.serial.as_deref().map(|serial| redactor.word(serial));
        }
        for gpu in &mut gpus {
            gpu.uuid = gpu.uuid.as_deref().map(|uuid| redactor.word(uuid));
        }
        for device in &mut other_rdma {
            device.name = redactor.rdma_name(&device.name);
        }
        for interface in &mut efa {
            interface.rdma = interface.rdma.as_deref().map(|name| redactor.rdma_name(name));
        }
        if let Some(driver) = &mut efa_driver {
            driver.version = driver.version.as_deref().map(|version| redactor.version(version));
        }
        if let Some(driver) = &mut neuron_driver {
            driver.version = driver.version.as_deref().map(|version| redactor.version(version));
        }
        let problems = problems.iter().map(|problem| redactor.sentence(problem)).collect();
        let snapshot = Snapshot {
            format,
            origin,
            instance_type,
            numa,
            efa,
            neuron,
            driverless,
            problems,
            efa_driver,
            neuron_driver,
            lnc,
            gpus,
            other_rdma,
            rdma_namespaces,
            unnumbered,
            unexplained_nodes,
            pci_functions,
        };
        Self { snapshot: Arc::new(snapshot), root: None }
    }
}
