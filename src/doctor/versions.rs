//! Checks of the versions of driver, runtime and kernel.

use crate::host::Host;
use crate::system::Library;
use crate::system::SystemInfo;
use crate::tables::instances::products;
use crate::tables::version_rules::{Rule, Version, Versions, rules};

use super::finding::{Check, Finding, FindingKind};
use super::input::{Input, Skip};

const NOT_RELOADED: FindingKind = FindingKind {
    id: "driver-not-reloaded",
    means: "The package of the driver was updated, but the kernel still runs the old module: a module stays loaded while a \
            process uses it. Runtimes that were updated with the package may refuse the old module.",
    action: "Stop the processes that use the devices (lsmod shows how many there are) and reload the module, or reboot.",
    source: "AWS Neuron documentation: updating the driver.",
};

pub(super) const PAIRS: Check =
    Check { name: "compatible versions", kinds: || rules().iter().map(kind).collect(), run: pairs };
pub(super) const RELOAD: Check = Check { name: "driver updates", kinds: || vec![NOT_RELOADED], run: reload };

fn kind(rule: &Rule) -> FindingKind {
    FindingKind { id: rule.id, means: rule.means, action: rule.action, source: rule.source }
}

fn pairs(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let host = input.machine()?;
    if host.neuron_devices().is_empty() && host.driverless().is_empty() {
        return Err(Skip::NotApplicable("no Neuron device"));
    }
    let system = input.system()?;
    let mut found: Vec<Finding> = Vec::new();
    let runtimes = runtimes(system);
    for runtime in if runtimes.is_empty() { vec![None] } else { runtimes.into_iter().map(Some).collect() } {
        let versions = Versions {
            neuron_driver: driver(host, system),
            runtime: runtime.as_deref().and_then(|version| version.parse().ok()),
            // A loaded driver was built for this kernel.
            kernel: system
                .kernel
                .as_deref()
                .filter(|_| host.neuron_driver().is_none())
                .and_then(|text| text.parse().ok()),
            product: product(host),
        };
        for rule in rules().iter().filter(|rule| rule.holds(&versions)) {
            found.push(kind(rule).problem(Vec::new(), describe(&versions)));
        }
    }
    Ok(found)
}

/// Returns the version of the loaded driver, or else of the newest driver whose source is installed.
fn driver(host: &Host, system: &SystemInfo) -> Option<Version> {
    let loaded = host.neuron_driver().and_then(|driver| driver.version.as_deref()?.parse().ok());
    loaded.or_else(|| newest_source(system, "aws-neuronx"))
}

fn newest_source(system: &SystemInfo, driver: &str) -> Option<Version> {
    let version = |name: &String| name.strip_prefix(driver)?.strip_prefix('-')?.parse::<Version>().ok();
    system.driver_sources.iter().filter_map(version).max()
}

/// Returns the runtimes that the process has mapped, or else all that are installed.
fn runtimes(system: &SystemInfo) -> Vec<String> {
    let mapped = system.process.iter().flat_map(|process| process.libraries.iter().flatten());
    let mapped = mapped.filter(|library| library.library == Library::Libnrt).filter_map(|library| library.version());
    let mapped: Vec<String> = mapped.map(str::to_owned).collect();
    if !mapped.is_empty() {
        return mapped;
    }
    let installed = system.libraries.iter().filter(|library| library.library == Library::Libnrt);
    installed.filter_map(|library| library.version()).map(str::to_owned).collect()
}

fn product(host: &Host) -> Option<String> {
    let shown = host.neuron_devices().first().and_then(|device| device.product.clone());
    shown.or_else(|| {
        let id = host.driverless().first()?.id.device;
        products().iter().find(|product| product.device_ids.contains(&id)).map(|product| product.name.to_owned())
    })
}

fn describe(versions: &Versions) -> String {
    let part = |name: &str, version: &Option<Version>| version.as_ref().map(|version| format!("{name} {version}"));
    let parts = [
        part("driver", &versions.neuron_driver),
        part("runtime", &versions.runtime),
        part("kernel", &versions.kernel),
        versions.product.clone(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn reload(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let host = input.machine()?;
    let system = input.system()?;
    let neuron = host.neuron_driver().and_then(|driver| driver.version.as_deref());
    let efa = host.efa_driver().and_then(|driver| driver.version.as_deref());
    if neuron.is_none() && efa.is_none() {
        return Err(Skip::NotApplicable("no driver of known version"));
    }
    let mut found = Vec::new();
    for (module, package, loaded) in [("neuron", "aws-neuronx", neuron), ("efa", "efa", efa)] {
        let (Some(loaded), Some(newest)) = (loaded, newest_source(system, package)) else { continue };
        if loaded.parse::<Version>().is_ok_and(|loaded| loaded < newest) {
            let seen = format!("version {loaded} is loaded, and /usr/src has {package}-{newest}");
            found.push(NOT_RELOADED.warning(vec![format!("module {module}")], seen));
        }
    }
    Ok(found)
}
