//! Which host a command reads, and whether the Neuron driver is queried.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;

use clap::{Args, ValueEnum};
use nearfab::probe::{Probe, ProbeOptions};
use nearfab::{Host, Record, system};

use crate::failure::{Failure, print_message};

#[derive(Args)]
pub(crate) struct Source {
    #[command(flatten)]
    origin: Origin,
    /// Also ask the Neuron driver where each device is and which cores are held, which opens the device nodes. Refused on
    /// members of an UltraServer or pod unless --probe=even-on-pods is given: probing affects the other members.
    #[arg(long, global = true, value_name = "WHERE", num_args = 0..=1, require_equals = true, default_missing_value = "alone")]
    probe: Option<Probing>,
    /// With --probe: also ask the driver which processes have each device open. For a moment, this takes one of the
    /// 16 places that each device has for processes. nearfab waits while a device is in reset.
    #[arg(long, global = true, requires = "probe")]
    processes: bool,
}

/// The options that name a host: at most one of them is given.
#[derive(Args, Clone, PartialEq, Eq, Hash)]
#[group(multiple = false)]
struct Origin {
    /// Read the host from the folders sys, proc and dev below this folder, instead of below /.
    #[arg(long, global = true, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Use nearfab's table for this instance type, such as trn2.48xlarge, instead of this machine.
    #[arg(long, global = true, value_name = "TYPE")]
    instance: Option<String>,
    /// Read a host that `nearfab record` or `nearfab list -o json` wrote, instead of this machine.
    #[arg(long, global = true, value_name = "FILE")]
    host: Option<PathBuf>,
}

/// The machines whose driver may be queried.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Probing {
    /// Machines that are not a member of an UltraServer or pod.
    Alone,
    /// Members of UltraServers and pods too.
    EvenOnPods,
}

/// The host that a command reads, with the answers of its Neuron driver if `--probe` is given.
pub(crate) struct Input {
    pub(crate) host: Host,
    pub(crate) probe: Option<Probe>,
    /// The file of `--host`.
    file: Option<PathBuf>,
    record: Rc<OnceCell<Record>>,
}

impl Input {
    /// Returns the release of the host's kernel: from the file of `--host`, or as it is now.
    pub(crate) fn kernel(&self) -> nearfab::Result<Option<String>> {
        match &self.file {
            Some(_) => Ok(self.record()?.system.and_then(|system| system.kernel)),
            None => system::kernel(&self.host),
        }
    }

    /// Returns the host with its system and details: from the file of `--host`, or from the system at the first call.
    pub(crate) fn record(&self) -> nearfab::Result<Record> {
        if let Some(record) = self.record.get() {
            return Ok(record.clone());
        }
        let record = match &self.file {
            Some(file) => Record::from_file(file)?,
            None => Record::take(&self.host)?,
        };
        Ok(self.record.get_or_init(|| record).clone())
    }
}

/// The hosts that were read, by the options that name them.
#[derive(Default)]
pub(crate) struct Hosts(HashMap<Origin, (Host, Rc<OnceCell<Record>>)>);

impl Hosts {
    /// Returns the host and the place for its record. Reads the host at the first call only.
    fn read(&mut self, origin: &Origin) -> nearfab::Result<(Host, Rc<OnceCell<Record>>)> {
        if let Some(known) = self.0.get(origin) {
            return Ok(known.clone());
        }
        let host = (origin.host()?, Rc::default());
        self.0.insert(origin.clone(), host.clone());
        Ok(host)
    }
}

impl Source {
    pub(crate) fn read(&self, hosts: &mut Hosts) -> nearfab::Result<Input> {
        let (host, record) = hosts.read(&self.origin)?;
        let file = self.origin.host.clone();
        if self.probe.is_none() {
            return Ok(Input { host, probe: None, file, record });
        }
        let options = if self.processes { self.probe_options().with_processes() } else { self.probe_options() };
        let probe = nearfab::probe(&host, options)?;
        Ok(Input { host: host.with_probed_addresses(&probe), probe: Some(probe), file, record: Rc::default() })
    }

    /// Reads the host, and writes a message for each file that could not be read.
    pub(crate) fn read_and_report(&self, hosts: &mut Hosts, err: &mut dyn Write) -> nearfab::Result<Input> {
        let input = self.read(hosts)?;
        // The views show which facts of a table are invented: a message for each fact would repeat them.
        if !matches!(input.host.origin(), nearfab::Origin::Table { .. }) {
            input.host.problems().iter().for_each(|problem| print_message(err, problem));
        }
        Ok(input)
    }

    /// The limits that `--probe` sets for queries of the driver.
    pub(crate) fn probe_options(&self) -> ProbeOptions {
        let options = ProbeOptions::default();
        if self.probe == Some(Probing::EvenOnPods) { options.even_on_pods() } else { options }
    }

    /// Fails for a table or a recorded host: a process can be bound only to CPUs and devices of this machine.
    pub(crate) fn require_machine(&self, command: &str) -> Result<(), Failure> {
        let option = match (&self.origin.instance, &self.origin.host) {
            (None, None) => return Ok(()),
            (Some(_), _) => "--instance",
            _ => "--host",
        };
        Err(Failure::launch(format!(
            "nearfab {command} starts processes on this machine, and {option} names another host: leave {option} out, or use \
             nearfab plan or nearfab run --dry-run"
        )))
    }
}

impl Origin {
    fn host(&self) -> nearfab::Result<Host> {
        match (&self.root, &self.instance, &self.host) {
            (Some(root), ..) => Host::from_root(root),
            (_, Some(instance_type), _) => Host::from_instance(instance_type),
            (.., Some(file)) => Host::from_file(file),
            _ => Host::discover(),
        }
    }
}
