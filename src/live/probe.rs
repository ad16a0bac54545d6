//! Asks the Neuron driver for facts that only the driver knows. A probe happens on request only.
//!
//! A probe opens device nodes. Discovery of a [`Host`] opens no node, because opening and closing a node has effects.
//! [`ProbeOptions`] lists the effects.

use std::env;
use std::path::Path;
use std::time::Duration;

use nix::libc;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::live::neuron_driver::{Driver, Machine};
use crate::scan::neuron::NeuronDevice;
use crate::scan::root::HostRoot;
use crate::system::{asks_for_fork_safety, is_fork_safe};
use crate::tables::version_rules::Version;
use crate::types::HostDevice;
use crate::types::probe::{DeviceAnswers, DeviceProbe, DeviceUsers, Probe};

pub(crate) mod open_node;
pub(crate) mod platform;
#[cfg(test)]
pub(crate) mod tests;

use open_node::OpenNode;

/// How to probe. The default asks the questions with the least effect, and refuses to probe members of UltraServers and
/// pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeOptions {
    processes: bool,
    on_pods: bool,
    deadline: Duration,
}

impl Default for ProbeOptions {
    /// Opens each node write-only, for questions, and keeps it open until the process ends. The driver cannot be
    /// unloaded before then.
    fn default() -> Self {
        Self { processes: false, on_pods: false, deadline: Duration::from_secs(5) }
    }
}

impl ProbeOptions {
    /// Asks for the attached processes too.
    ///
    /// A child process then opens each node for reading, as users of the device do. For a moment the child takes one of
    /// the device's sixteen places for processes. While the device is in reset, the child waits, up to the deadline.
    #[must_use]
    pub fn with_processes(self) -> Self {
        Self { processes: true, ..self }
    }

    /// Probes members of UltraServers and pods too.
    ///
    /// On a member, closing a node makes the driver forget, for all processes, that the member was set to work alone.
    /// Nodes are closed at the latest when this process ends.
    #[must_use]
    pub fn even_on_pods(self) -> Self {
        Self { on_pods: true, ..self }
    }

    /// Sets how long each device may take to answer the child process; the default is 5 s.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}

/// Asks the Neuron driver of this machine about each device of the host.
///
/// The caller needs the right to open the nodes. On trn2 and trn3 with a driver before 2.30, only root can probe
/// without [`ProbeOptions::even_on_pods`], because only root can read whether the driver was configured as a member of
/// an UltraServer. [`ProbeOptions`] lists the effects of a probe. A probe never reserves a core.
///
/// ```
/// use nearfab::probe::ProbeOptions;
/// use nearfab::{Error, Host, probe};
///
/// // On an instance this is Host::discover()?. A table has no driver to ask.
/// let host = Host::from_instance("trn2.48xlarge")?;
/// assert!(matches!(probe(&host, ProbeOptions::default()), Err(Error::NotLive { .. })));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// - [`Error::NotLive`]: the host is not this machine.
/// - [`Error::ProbeRefused`]: the machine has devices and is a member of an UltraServer or pod, or may be one; or
///   attached processes are requested and this process has a Neuron node open itself, as the Neuron runtime does, or
///   has an EFA interface open on a kernel where it must not [fork](crate::system::is_fork_safe).
/// - [`Error::Read`]: a file could not be read that shows whether the probe must be refused.
///
/// A failure of one device or one question is in the answer for that device or question: [`Error::NodeRefused`],
/// [`Error::Driver`], [`Error::Malformed`], [`Error::Deadline`].
pub fn probe(host: &Host, options: ProbeOptions) -> Result<Probe> {
    let machine = may_open(host, options)?;
    if options.processes {
        check_own_nodes(&machine, environment)?;
    }
    let names = knows_names(&machine)?;
    Ok(ask(host.neuron_devices(), options, &Machine, names.then_some(&machine)))
}

/// Returns the root of the machine that `host` describes. Fails if its device nodes must not be opened.
pub(crate) fn may_open(host: &Host, options: ProbeOptions) -> Result<HostRoot> {
    if !host.is_live() {
        return Err(Error::NotLive { origin: host.origin().to_string() });
    }
    let root = HostRoot::open(Path::new("/"))?;
    // On a host without devices no node is opened, so nothing is affected.
    if !options.on_pods && !host.neuron_devices().is_empty() {
        platform::check(&root, host.instance_type())?;
    }
    Ok(root)
}

/// Returns the processes that have a device of this machine open. A child process asks.
pub(crate) fn users(device: HostDevice, node: &OpenNode<'_>, options: ProbeOptions) -> Result<DeviceUsers> {
    let machine = HostRoot::open(Path::new("/"))?;
    check_own_nodes(&machine, environment)?;
    let names = knows_names(&machine)?;
    Ok(node.users(Machine.attachment(device, options.deadline)?, names.then_some(&machine)))
}

/// Returns whether this process is in the initial PID namespace, whose PIDs the driver reports.
fn knows_names(machine: &HostRoot) -> Result<bool> {
    Ok(machine.link("proc/self/ns/pid")?.as_deref() == Some(INITIAL_PID_NAMESPACE))
}

/// The kernel's fixed name of the initial PID namespace.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// Returns the value of an environment variable of this process.
fn environment(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Fails if a child process would harm this process's open devices. The child inherits the open descriptors. When the
/// child ends, the Neuron driver would treat this as the end of this process's use of a device. On an old kernel,
/// forking moves registered memory away from an EFA interface.
fn check_own_nodes(root: &HostRoot, variable: impl Fn(&str) -> Option<String>) -> Result<()> {
    let kernel: Option<Version> =
        root.read("proc/sys/kernel/osrelease")?.and_then(|release| release.trim().parse().ok());
    let is_fork_safe = match &kernel {
        Some(kernel) => is_fork_safe(kernel, variable),
        None => asks_for_fork_safety(variable), // The kernel may be old.
    };
    for descriptor in root.list("proc/self/fd")? {
        let target = match root.link(&format!("proc/self/fd/{descriptor}")) {
            Ok(Some(target)) => target,
            Ok(None) => continue,                     // The descriptor was closed since.
            Err(Error::Malformed { .. }) => continue, // The names of device nodes are ASCII.
            Err(error) => return Err(error),
        };
        let Some(node) = target.strip_prefix("/dev/") else { continue };
        let harm = if node.parse::<HostDevice>().is_ok() && !is_write_only(root, &descriptor)? {
            "as the Neuron runtime does, and the child process that asks for attached processes could end that use"
        } else if node.starts_with("infiniband/uverbs") && !is_fork_safe {
            match kernel {
                Some(_) => {
                    "on a kernel before 5.13 without FI_EFA_FORK_SAFE=1, and forking to ask for attached processes \
                     would move registered memory away from the device"
                }
                None => {
                    "the version of this kernel is unknown, and on kernels before 5.13 without FI_EFA_FORK_SAFE=1, \
                     forking to ask for attached processes moves registered memory away from the device"
                }
            }
        } else {
            continue;
        };
        return Err(Error::ProbeRefused {
            reason: format!("this process has {target} open, {harm}: ask from another process"),
        });
    }
    Ok(())
}

/// Returns whether a descriptor is open write-only. The driver attaches no process to such a descriptor, and closing it
/// affects the closing process alone.
fn is_write_only(root: &HostRoot, descriptor: &str) -> Result<bool> {
    let info = root.read(&format!("proc/self/fdinfo/{descriptor}"))?.unwrap_or_default();
    let flags = info.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    Ok(flags.is_some_and(|flags| flags & libc::O_ACCMODE == libc::O_WRONLY))
}

/// Asks `driver` about each device. `names` is the machine if its `/proc` has the PIDs that the driver reports.
fn ask(devices: &[NeuronDevice], options: ProbeOptions, driver: &dyn Driver, names: Option<&HostRoot>) -> Probe {
    let mut core_map = Err(Error::NoSuchDevice {
        wanted: "Neuron device that reports the map of the cores".to_owned(),
        present: "no device that answers".to_owned(),
    });
    let devices = devices.iter().map(|device| {
        let answers = driver.write_only_node(device.index).map(|node| {
            let node = OpenNode::new(device.index, node);
            if core_map.is_err() {
                core_map = node.core_map();
            }
            let info = node.driver_info();
            DeviceAnswers {
                address: node.address(),
                cores: node.cores(device.cores, &info),
                driver: info,
                attachment: options.processes.then(|| {
                    let attachment = driver.attachment(device.index, options.deadline)?;
                    Ok(node.users(attachment, names))
                }),
            }
        });
        DeviceProbe { device: device.index, answers }
    });
    let devices = devices.collect();
    Probe { devices, core_map }
}
