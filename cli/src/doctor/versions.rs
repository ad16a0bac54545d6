//! Versions of driver, runtime and kernel.

use nearfab::instances::products;
use nearfab::system::Library;
use nearfab::version_rules::{Rule, Version, Versions, rules};
use nearfab::{Host, SystemInfo};

use super::case::{Case, Skip};
use super::finding::{Check, Complaint, Finding};

const NOT_RELOADED: Complaint = Complaint {
    id: "driver-not-reloaded",
    means: "The package of the driver was updated and the module in the kernel is still the old one, which does not leave while a \
            process uses it: runtimes that came with the update may refuse it.",
    action: "Stop what uses the devices (lsmod shows how many) and reload the module, or reboot.",
    source: "AWS Neuron documentation: updating the driver.",
};

pub(super) const PAIRS: Check =
    Check { name: "versions that go together", complaints: || rules().iter().map(complaint).collect(), run: pairs };
pub(super) const RELOAD: Check = Check { name: "driver updates", complaints: || vec![NOT_RELOADED], run: reload };

fn complaint(rule: &Rule) -> Complaint {
    Complaint { id: rule.id, means: rule.means, action: rule.action, source: rule.source }
}

fn pairs(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let host = case.machine()?;
    if host.neuron().is_empty() && host.driverless().is_empty() {
        return Err(Skip::NotHere("no Neuron device"));
    }
    let around = case.around()?;
    let mut found: Vec<Finding> = Vec::new();
    let runtimes = runtimes(around);
    for runtime in if runtimes.is_empty() { vec![None] } else { runtimes.into_iter().map(Some).collect() } {
        let versions = Versions {
            neuron_driver: driver(host, around),
            runtime: runtime.as_deref().and_then(|version| version.parse().ok()),
            // A driver that is loaded was built for it.
            kernel: around
                .kernel
                .as_deref()
                .filter(|_| host.neuron_driver().is_none())
                .and_then(|text| text.parse().ok()),
            product: product(host),
        };
        for rule in rules().iter().filter(|rule| rule.holds(&versions)) {
            found.push(complaint(rule).problem(Vec::new(), told(&versions)));
        }
    }
    Ok(found)
}

/// The driver that is loaded, or would be: the newest whose source is installed.
fn driver(host: &Host, around: &SystemInfo) -> Option<Version> {
    let loaded = host.neuron_driver().and_then(|driver| driver.version.as_deref()?.parse().ok());
    loaded.or_else(|| newest_source(around, "aws-neuronx"))
}

fn newest_source(around: &SystemInfo, driver: &str) -> Option<Version> {
    let version = |name: &String| name.strip_prefix(driver)?.strip_prefix('-')?.parse::<Version>().ok();
    around.driver_sources.iter().filter_map(version).max()
}

/// Of the process that is looked at, or else of all that are installed.
fn runtimes(around: &SystemInfo) -> Vec<String> {
    let mapped = around.process.iter().flat_map(|process| process.libraries.iter().flatten());
    let mapped = mapped.filter(|library| library.library == Library::Libnrt).filter_map(|library| library.version());
    let mapped: Vec<String> = mapped.map(str::to_owned).collect();
    if !mapped.is_empty() {
        return mapped;
    }
    let installed = around.libraries.iter().filter(|library| library.library == Library::Libnrt);
    installed.filter_map(|library| library.version()).map(str::to_owned).collect()
}

fn product(host: &Host) -> Option<String> {
    let shown = host.neuron().first().and_then(|device| device.product.clone());
    shown.or_else(|| {
        let id = host.driverless().first()?.id.device;
        products().iter().find(|product| product.device_ids.contains(&id)).map(|product| product.name.to_owned())
    })
}

fn told(versions: &Versions) -> String {
    let part = |what: &str, version: &Option<Version>| version.as_ref().map(|version| format!("{what} {version}"));
    let parts = [
        part("driver", &versions.neuron_driver),
        part("runtime", &versions.runtime),
        part("kernel", &versions.kernel),
        versions.product.clone(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn reload(case: &Case<'_>) -> Result<Vec<Finding>, Skip> {
    let host = case.machine()?;
    let around = case.around()?;
    let neuron = host.neuron_driver().and_then(|driver| driver.version.as_deref());
    let efa = host.efa_driver().and_then(|driver| driver.version.as_deref());
    if neuron.is_none() && efa.is_none() {
        return Err(Skip::NotHere("no driver with a version"));
    }
    let mut found = Vec::new();
    for (module, package, loaded) in [("neuron", "aws-neuronx", neuron), ("efa", "efa", efa)] {
        let (Some(loaded), Some(newest)) = (loaded, newest_source(around, package)) else { continue };
        if loaded.parse::<Version>().is_ok_and(|loaded| loaded < newest) {
            let seen = format!("version {loaded} is loaded, and /usr/src has {package}-{newest}");
            found.push(NOT_RELOADED.warning(vec![format!("module {module}")], seen));
        }
    }
    Ok(found)
}
