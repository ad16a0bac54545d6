//! What only the Neuron driver can tell, asked explicitly.
//!
//! A [`Host`] is seen, a probe asks: it opens device nodes, which discovery never does, because opening and closing them
//! is not free of effects. [`ProbeOptions`] says which there are.

use std::env;
use std::path::Path;
use std::time::Duration;

use nix::libc;

use crate::error::{Error, Result};
use crate::host::Host;
use crate::live::neuron_driver::{Driver, Machine};
use crate::scan::neuron::NeuronDevice;
use crate::scan::root::HostRoot;
use crate::system::is_fork_safe;
use crate::types::HostDevice;

pub(crate) mod open_node;
pub(crate) mod platform;
#[cfg(test)]
pub(crate) mod tests;

use open_node::OpenNode;

use crate::types::probe::{DeviceAnswers, DeviceProbe, DeviceUsers, Probe};

/// How to probe. The default asks what has the least effect, and not on UltraServers and pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeOptions {
    processes: bool,
    on_pods: bool,
    deadline: Duration,
}

impl Default for ProbeOptions {
    /// Opens each node for questions only and keeps it open until the process ends, so that the driver cannot be unloaded
    /// before.
    fn default() -> Self {
        Self { processes: false, on_pods: false, deadline: Duration::from_secs(5) }
    }
}

impl ProbeOptions {
    /// Asks for attached processes as well.
    ///
    /// For that a child process opens each node like a user of the device: it takes one of the sixteen places for
    /// processes for a moment, and waits while the device is in reset, up to the deadline.
    #[must_use]
    pub fn with_processes(self) -> Self {
        Self { processes: true, ..self }
    }

    /// Probes on UltraServers and pods too.
    ///
    /// There, closing a node, which happens at the latest when this process ends, makes the driver forget that the machine
    /// was to stay on its own, for everybody on it.
    #[must_use]
    pub fn even_on_pods(self) -> Self {
        Self { on_pods: true, ..self }
    }

    /// How long each device may take to answer the child process; 5 s if not given.
    #[must_use]
    pub fn deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }
}

/// Asks the Neuron driver of this machine about each device of the host.
///
/// It needs no privilege but the right to open the nodes. What it changes is said at [`ProbeOptions`]; no core is ever
/// reserved by it.
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
/// - [`Error::ProbeRefused`]: the machine has devices and is an UltraServer or a pod, or may be one; or attached processes are wanted and
///   this process has a Neuron node open itself, as the Neuron runtime does, or an EFA interface on a kernel with which it must not
///   [fork](crate::system::is_fork_safe).
/// - [`Error::Read`]: what the refusals are decided by could not be read.
///
/// What goes wrong with a device, or with one question, is in its place: [`Error::NodeRefused`], [`Error::Driver`],
/// [`Error::Malformed`], [`Error::Deadline`].
pub fn probe(host: &Host, options: ProbeOptions) -> Result<Probe> {
    let machine = may_open(host, options)?;
    if options.processes {
        check_own_nodes(&machine)?;
    }
    let names = knows_names(&machine)?;
    Ok(ask(host.neuron(), options, &Machine, names.then_some(&machine)))
}

/// The machine that a host is of, where its nodes may be opened.
pub(crate) fn may_open(host: &Host, options: ProbeOptions) -> Result<HostRoot> {
    if !host.is_live() {
        return Err(Error::NotLive { origin: host.origin().to_string() });
    }
    let root = HostRoot::open(Path::new("/"))?;
    // Where there is no device no node is opened, and nobody can feel it.
    if !options.on_pods && !host.neuron().is_empty() {
        platform::check(&root, host.instance_type())?;
    }
    Ok(root)
}

/// Who has a device of this machine open, asked in a child process.
pub(crate) fn users(device: HostDevice, node: &OpenNode<'_>, options: ProbeOptions) -> Result<DeviceUsers> {
    let machine = HostRoot::open(Path::new("/"))?;
    check_own_nodes(&machine)?;
    let names = knows_names(&machine)?;
    Ok(node.users(Machine.attachment(device, options.deadline)?, names.then_some(&machine)))
}

/// Whether this process sees processes by the numbers that the driver uses.
fn knows_names(machine: &HostRoot) -> Result<bool> {
    Ok(machine.link("proc/self/ns/pid")?.as_deref() == Some(INITIAL_PID_NAMESPACE))
}

/// The kernel gives it this number since it has namespaces.
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// A child inherits what is open here. When it ends, the driver of a Neuron device would take that for the end of the use that an
/// open node belongs to, and before that an old kernel moves memory away from an EFA interface.
fn check_own_nodes(root: &HostRoot) -> Result<()> {
    let kernel = root.read("proc/sys/kernel/osrelease")?.and_then(|release| release.trim().parse().ok());
    let moves_memory = kernel.is_some_and(|kernel| !is_fork_safe(&kernel, |name| env::var_os(name).is_some()));
    for descriptor in root.list("proc/self/fd")? {
        // What has a name that is not text is no node.
        let Ok(Some(target)) = root.link(&format!("proc/self/fd/{descriptor}")) else { continue };
        let Some(node) = target.strip_prefix("/dev/") else { continue };
        let harm = if node.parse::<HostDevice>().is_ok() && !is_for_questions(root, &descriptor)? {
            "as the Neuron runtime does, and the child that would ask for attached processes could end that use"
        } else if node.starts_with("infiniband/uverbs") && moves_memory {
            "on a kernel before 5.13 without FI_EFA_FORK_SAFE, and a fork to ask for attached processes would move registered \
             memory away from the device"
        } else {
            continue;
        };
        return Err(Error::ProbeRefused {
            reason: format!("this process has {target} open, {harm}: ask from another process"),
        });
    }
    Ok(())
}

/// Whether an open node is only for questions: of such a one the driver looks at who closes it.
fn is_for_questions(root: &HostRoot, descriptor: &str) -> Result<bool> {
    let info = root.read(&format!("proc/self/fdinfo/{descriptor}"))?.unwrap_or_default();
    let flags = info.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    Ok(flags.is_some_and(|flags| flags & libc::O_ACCMODE == libc::O_WRONLY))
}

fn ask(devices: &[NeuronDevice], options: ProbeOptions, driver: &dyn Driver, names: Option<&HostRoot>) -> Probe {
    let mut core_map = Err(Error::NoSuchDevice {
        wanted: "Neuron device that tells the cores' map".to_owned(),
        present: "none that answers".to_owned(),
    });
    let devices = devices.iter().map(|device| {
        let answers = driver.identity(device.index).map(|node| {
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
