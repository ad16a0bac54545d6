//! Removes values that identify the machine or its owner from [`SystemInfo`].

use super::process::LAUNCHERS;
use super::symbols::is_known;
use super::{
    InstalledLibrary, Kubelet, Launcher, MODULES, Module, NeededVersion, Parent, Process, SymbolVersions, SystemInfo,
    driver_source,
};
use crate::redact::Redactor;
use crate::telemetry::{DeviceState, NeuronHealth, Reading};

/// The components whose health the Neuron driver 2.30 reports.
const COMPONENTS: [&str; 11] = [
    "hbm",
    "firmware_service_api",
    "firmware_service_processor",
    "sram",
    "link_intraserver",
    "link_host",
    "link_efa",
    "link_interserver",
    "link_switch",
    "axi_fabric",
    "device_unreachable",
];

impl SystemInfo {
    /// Returns a redacted copy. `names` are the names of RDMA devices in the redacted host.
    pub(crate) fn redacted(&self, redactor: &mut Redactor, names: &[&str]) -> Self {
        // The pattern names every field, so the compiler reports a new field that is not redacted.
        let Self {
            kernel,
            modules,
            driver_sources,
            huge_pages,
            rdma_namespaces,
            ptrace_scope,
            libraries,
            programs,
            loader_folders,
            kubelet,
            container,
            process,
            nvidia_open,
            huge_page_limit,
            neuron_health,
            problems,
        } = self.clone();
        let module = |Module { name, version }, redactor: &mut Redactor| Module {
            version: version.map(|version| redactor.version(&version)),
            name: module_name(&name, redactor),
        };
        Self {
            kernel: kernel.map(|release| redactor.version(&release)),
            modules: modules.into_iter().map(|each| module(each, redactor)).collect(),
            driver_sources: driver_sources.iter().map(|name| driver_source_name(name, redactor)).collect(),
            huge_pages,
            rdma_namespaces,
            ptrace_scope,
            libraries: libraries
                .into_iter()
                .map(|InstalledLibrary { library, path, symbols }| InstalledLibrary {
                    library,
                    path: redactor.path(&path),
                    symbols: symbols.map(|symbols| symbols.redacted(redactor)),
                })
                .collect(),
            programs: programs.iter().map(|program| redactor.path(program)).collect(),
            loader_folders: loader_folders.iter().map(|folder| redactor.path(folder)).collect(),
            kubelet: kubelet.map(|kubelet| kubelet.redacted(redactor)),
            container: container.map(|mark| if super::is_mark(&mark) { mark } else { redactor.path(&mark) }),
            process: process.map(|process| process.redacted(redactor, names)),
            nvidia_open,
            huge_page_limit,
            neuron_health: neuron_health
                .map(|all| all.into_iter().map(|device| redacted_health(device, redactor)).collect()),
            problems: problems.iter().map(|problem| redactor.sentence(problem)).collect(),
        }
    }
}

impl SymbolVersions {
    fn redacted(self, redactor: &mut Redactor) -> Self {
        let mut name = |version: String| if is_known(&version) { version } else { redactor.word(&version) };
        let Self { defined, needed } = self;
        Self {
            defined: defined.into_iter().map(&mut name).collect(),
            needed: needed
                .into_iter()
                .map(|NeededVersion { library, version }| NeededVersion { library, version: name(version) })
                .collect(),
        }
    }
}

impl Kubelet {
    fn redacted(self, redactor: &mut Redactor) -> Self {
        let mut names = |names: Vec<String>| names.iter().map(|name| redactor.name(name)).collect();
        let Self { device_plugins, resources, plugins, registered } = self;
        Self {
            device_plugins: names(device_plugins),
            resources: resources.map(&mut names),
            plugins: names(plugins),
            registered: names(registered),
        }
    }
}

impl Process {
    fn redacted(self, redactor: &mut Redactor, names: &[&str]) -> Self {
        let Self { pid, name, locked_memory, may_exceed, parent, launcher, huge_page_limit, environment, libraries } =
            self;
        let environment = environment.map(|variables| {
            let redacted = variables.into_iter().map(|(name, value)| {
                let value = redactor.value(&name, &value, names);
                (name, value)
            });
            redacted.collect()
        });
        let libraries = libraries.map(|libraries| {
            let redacted = libraries.into_iter().map(|mut library| {
                library.path = redactor.path(&library.path);
                library
            });
            redacted.collect()
        });
        Self {
            pid: pid.map(|pid| redactor.number(&pid.to_string())),
            name: name.map(|name| redactor.name(&name)),
            locked_memory,
            may_exceed,
            parent: parent.map(|Parent { name, locked_memory }| Parent {
                name: name.map(|name| if LAUNCHERS.contains(&&name[..]) { name } else { redactor.name(&name) }),
                locked_memory,
            }),
            launcher: launcher.map(|launcher| match launcher {
                Launcher::Service(unit) => Launcher::Service(redactor.name(&unit)),
                other => other,
            }),
            huge_page_limit,
            environment,
            libraries,
        }
    }
}

/// Keeps numbers and the names of components, and replaces other texts.
fn redacted_health(mut health: NeuronHealth, redactor: &mut Redactor) -> NeuronHealth {
    let NeuronHealth { state, ecc, components, dma_aborts, .. } = &mut health;
    let unread = if let Some(DeviceState::Unread(reading)) = state { Some(reading) } else { None };
    let readings = unread
        .into_iter()
        .chain(ecc.values.values_mut())
        .chain(components.values.values_mut())
        .chain(dma_aborts.values_mut());
    for reading in readings {
        match reading {
            Reading::Text(text) => {
                *text = text.split(',').map(|name| component(name, redactor)).collect::<Vec<_>>().join(",");
            }
            Reading::Failed(reason) => *reason = redactor.sentence(reason),
            Reading::Number(_) | Reading::Refused => {}
        }
    }
    health
}

/// Keeps the name of a component that the Neuron driver knows.
fn component(name: &str, redactor: &mut Redactor) -> String {
    if COMPONENTS.contains(&name) || name.is_empty() { name.to_owned() } else { redactor.name(name) }
}

/// Keeps the name of a module that nearfab looks for.
fn module_name(name: &str, redactor: &mut Redactor) -> String {
    if MODULES.contains(&name) { name.to_owned() } else { redactor.word(name) }
}

/// Keeps the driver's name in the name of a source folder such as `aws-neuronx-2.30.2.0`.
fn driver_source_name(name: &str, redactor: &mut Redactor) -> String {
    match driver_source(name) {
        Some((driver, version)) => format!("{driver}-{}", redactor.version(version)),
        None => redactor.word(name),
    }
}
