//! Which host a command reads, and whether the Neuron driver is queried.

use std::cell::OnceCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;

use clap::{Args, ValueEnum};
use nearfab::probe::{Probe, ProbeOptions};
use nearfab::{Host, Record, system};

use crate::failure::print_message;

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
    #[arg(long, global = true)]
    processes: bool,
}

/// The options that name a host: at most one of them is given. [`Source::conflict`] checks this, because clap checks the
/// options before the name of a command and those after the name apart.
#[derive(Args, Clone, PartialEq, Eq, Hash)]
struct Origin {
    /// Read the host from the folders sys, proc and dev below this folder, instead of below /.
    #[arg(long, global = true, value_name = "DIR", overrides_with = "root")]
    root: Option<PathBuf>,
    /// Use nearfab's table for this instance type, such as trn2.48xlarge, instead of this machine.
    #[arg(long, global = true, value_name = "TYPE", overrides_with = "instance")]
    instance: Option<String>,
    /// Read a host that `nearfab record` or `nearfab list -o json` wrote, instead of this machine.
    #[arg(long, global = true, value_name = "FILE", overrides_with = "host")]
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

    /// Returns this input with the details of the devices: a device that is off the bus gets no rank.
    pub(crate) fn with_details(self) -> nearfab::Result<Self> {
        Ok(Self { host: self.host.with_details()?, ..self })
    }

    /// Returns true for this machine, and for the folder of `--root`, which can be this machine seen from a container. The
    /// environment of this process says nothing about the other hosts.
    pub(crate) fn has_this_environment(&self) -> bool {
        self.file.is_none() && !matches!(self.host.origin(), nearfab::Origin::Table { .. })
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

    /// Returns why the options contradict each other, wherever in the command line they are.
    pub(crate) fn conflict(&self, words: &[OsString]) -> Option<&'static str> {
        let given = self.origin.options().count();
        if given > 1 || ["--root", "--instance", "--host"].into_iter().any(|option| has_two_values(words, option)) {
            return Some("--root, --instance and --host each name the host to read: give one of them, with one value");
        }
        if self.processes && self.probe.is_none() {
            return Some("--processes asks the driver for more than --probe does: give --probe too");
        }
        if has_two_values(words, "--probe") {
            return Some("--probe and --probe=even-on-pods set different limits: give one of them");
        }
        if self.probe.is_some() && self.other_host().is_some() {
            return Some(
                "--probe asks the Neuron driver of this machine, and --instance and --host name another host: leave --probe out",
            );
        }
        None
    }

    /// Returns the first option that names a host or queries its driver.
    pub(crate) fn option(&self) -> Option<&'static str> {
        self.origin.options().next().or(self.probe.map(|_| "--probe"))
    }

    /// Returns the option that names a table or a recorded host. A process can be bound only to CPUs and devices of this
    /// machine.
    pub(crate) fn other_host(&self) -> Option<&'static str> {
        self.origin.options().find(|&option| option != "--root")
    }
}

/// Returns true if the words give an option two different values. clap keeps the value after the name of the command, and drops
/// the value before it.
fn has_two_values(words: &[OsString], option: &str) -> bool {
    let needs_value = option != "--probe";
    let mut words = words.iter().map(|word| word.as_encoded_bytes()).take_while(|&word| word != b"--");
    let mut values = Vec::new();
    while let Some(word) = words.next() {
        match word.strip_prefix(option.as_bytes()) {
            Some([]) if needs_value => values.extend(words.next()),
            Some([]) => values.push(b"alone"),
            Some([b'=', value @ ..]) => values.push(value),
            _ => {}
        }
    }
    values.windows(2).any(|pair| pair[0] != pair[1])
}

impl Origin {
    /// Returns the options that are given.
    fn options(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            self.root.as_ref().map(|_| "--root"),
            self.instance.as_ref().map(|_| "--instance"),
            self.host.as_ref().map(|_| "--host"),
        ];
        given.into_iter().flatten()
    }

    fn host(&self) -> nearfab::Result<Host> {
        match (&self.root, &self.instance, &self.host) {
            (Some(root), ..) => Host::from_root(root),
            (_, Some(instance_type), _) => Host::from_instance(instance_type),
            (.., Some(file)) => Host::from_file(file),
            _ => Host::discover(),
        }
    }
}
