//! Asks the driver questions through an open node, and interprets the answers.

use std::ffi::c_void;
use std::io;
use std::path::PathBuf;

use nearfab_sys::neuron::{
    BasicInfo, BdfExt, DriverInfo as RawDriverInfo, ENOTSUPP, FEATURE_BIG_CORE_MAPS, NcMap, NcMapEntry, NcRange,
    VaPlacement,
};
use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::live::neuron_driver::attached::{AttachedProcess, Attachment};
use crate::live::neuron_driver::{self, Node, Question};
use crate::scan::root::HostRoot;
use crate::types::probe::{CoreProbe, CoreState, Datastore, DeviceUser, DeviceUsers, DriverInfo};
use crate::types::{Bdf, Core, HostDevice, PhysicalCore};

/// An open /dev/neuronN and its path, for messages.
pub(crate) struct OpenNode<'a> {
    node: &'a dyn Node,
    path: PathBuf,
}

impl<'a> OpenNode<'a> {
    pub(crate) fn new(device: HostDevice, node: &'a dyn Node) -> Self {
        Self { node, path: neuron_driver::node_path(device) }
    }
}

impl OpenNode<'_> {
    /// Asks the driver. Every status other than 0 is a failure, also a positive status.
    fn ask(&self, question: Question<'_>) -> Result<()> {
        let command = question.command();
        match self.node.ask(question) {
            0 => Ok(()),
            status => Err(self.failed(command, status)),
        }
    }

    /// Makes the error of a failed question.
    fn failed(&self, command: &'static str, status: i32) -> Error {
        let errno = status.wrapping_neg();
        let hint = match Errno::from_raw(errno) {
            _ if status > 0 => "the driver could not copy its answer to this process",
            Errno::ENOTTY => "the driver of this node is not the Neuron driver",
            Errno::EINVAL => {
                "this driver does not know the command, or not for this device; the kernel's log may say which"
            }
            Errno::EACCES | Errno::EPERM => "the driver refuses to answer this process",
            Errno::ENODEV | Errno::ENXIO => "the device or its driver was removed",
            _ => "see the kernel's log for more",
        };
        let cause = match status {
            1.. => io::Error::other(format!("{status} bytes were not copied")),
            _ => io::Error::from_raw_os_error(errno),
        };
        Error::Driver { command, node: self.path.clone(), hint, cause }
    }

    /// Asks for the device's PCI address.
    pub(crate) fn address(&self) -> Result<Bdf> {
        // The driver adds the descriptor's device to the index: 0 is this device, in containers too.
        let mut answer = BdfExt { nd_index: 0, ..BdfExt::default() };
        self.ask(Question::Address(&mut answer))?;
        let BdfExt { domain, bus, slot, func, .. } = answer;
        format!("{domain:04x}:{bus:02x}:{slot:02x}.{func:x}").parse().map_err(|_| Error::Malformed {
            path: self.path.clone(),
            expected: "a PCI address from DEVICE_BDF_EXT",
            found: format!("domain {domain:#x}, bus {bus:#x}, device {slot:#x}, function {func:#x}"),
        })
    }

    /// Asks for the device's architecture and the driver's features.
    pub(crate) fn driver_info(&self) -> Result<DriverInfo> {
        const SIZE: u32 = {
            assert!(size_of::<RawDriverInfo>() == 24);
            24
        };
        let mut info = RawDriverInfo { size: SIZE, ..RawDriverInfo::default() };
        if self.ask(Question::DriverInfo(&mut info)).is_ok() {
            let (architecture, revision) = (info.architecture.into(), info.revision);
            return Ok(DriverInfo { architecture, revision, features: Some(info.feature_flags1) });
        }
        // Older drivers lack DRIVER_INFO_GET.
        let mut info = BasicInfo::default();
        self.ask(Question::BasicInfo(&mut info))?;
        Ok(DriverInfo { architecture: info.architecture.into(), revision: info.revision, features: None })
    }

    /// Asks for the order of all cores; `None` if the architecture has no such order.
    pub(crate) fn core_map(&self) -> Result<Option<Vec<Core>>> {
        let mut map = NcMap::default();
        match self.node.ask(Question::CoreMap(&mut map)) {
            0 => {}
            status if status == -ENOTSUPP || status == -(Errno::EOPNOTSUPP as i32) => return Ok(None),
            status => return Err(self.failed(Question::CoreMap(&mut map).command(), status)),
        }
        let entries = usize::try_from(map.count).ok().and_then(|count| map.entries.get(..count));
        let entries = entries.ok_or_else(|| Error::Malformed {
            path: self.path.clone(),
            expected: "at most 128 cores from GET_LOGICAL_TO_PHYSICAL_NC_MAP",
            found: map.count.to_string(),
        })?;
        let core = |entry: &NcMapEntry| Core { device: HostDevice(entry.device_id), core: PhysicalCore(entry.nc) };
        Ok(Some(entries.iter().map(core).collect()))
    }

    /// Asks for each of the device's `count` cores whether it is held.
    pub(crate) fn cores(&self, count: u32, driver: &Result<DriverInfo>) -> Vec<CoreProbe> {
        let known =
            driver.as_ref().is_ok_and(|info| info.features.is_some_and(|bits| bits & FEATURE_BIG_CORE_MAPS != 0));
        let state = |core: PhysicalCore| if known { self.core_state(core) } else { Err(self.cannot_tell_cores()) };
        (0..count).map(PhysicalCore).map(|core| CoreProbe { core, state: state(core) }).collect()
    }

    fn cannot_tell_cores(&self) -> Error {
        Error::Driver {
            command: "CRWL_NC_RANGE_MARK_EXT0",
            node: self.path.clone(),
            hint: "this driver is older than the command, or did not report the feature",
            cause: io::ErrorKind::Unsupported.into(),
        }
    }

    /// Asks for a run of two cores in a range of one core. No such run exists, so the driver reserves nothing. The
    /// refusal reports the length of the longest free run: 0 if the core is held, 1 if it is free.
    fn core_state(&self, core: PhysicalCore) -> Result<CoreState> {
        let mut range = NcRange { nc_count: 2, start: core.0, end: core.0, ..NcRange::default() };
        let status = self.node.ask(Question::MarkCores(&mut range));
        let found = match (status, range.max_nc_available) {
            (0, _) => {
                // No known driver reserves cores here. Free exactly the cores that this driver may have reserved.
                self.ask(Question::UnmarkCores(&mut range))?;
                "a reservation, which was released".to_owned()
            }
            (status, available) if status == -(Errno::EBUSY as i32) => match available {
                0 => return Ok(CoreState::Held),
                1 => return Ok(CoreState::Free),
                more => format!("{more} cores"),
            },
            (status, _) => return Err(self.failed(Question::MarkCores(&mut range).command(), status)),
        };
        let expected = "no or one free core from CRWL_NC_RANGE_MARK_EXT0";
        Err(Error::Malformed { path: self.path.clone(), expected, found })
    }

    /// Converts the answers of the attached child. `names` is the machine if its `/proc` has the PIDs that the driver
    /// reports.
    pub(crate) fn users(&self, attachment: Attachment, names: Option<&HostRoot>) -> DeviceUsers {
        let Attachment { child, host_device, processes } = attachment;
        let is_probe = |process: &AttachedProcess| names.is_some() && process.pid == child;
        let processes = processes.map(|processes| {
            processes
                .into_iter()
                .filter(|process| !is_probe(process))
                .map(|process| self.user(process, names))
                .collect()
        });
        DeviceUsers {
            host_device: host_device.map(HostDevice).map_err(|status| self.failed("HOST_DEVICE_ID", status)),
            processes: processes.map_err(|status| self.failed("DEVICE_GET_ALL_APPS_INFO", status)),
            includes_probe: names.is_none(),
        }
    }

    fn user(&self, process: AttachedProcess, names: Option<&HostRoot>) -> DeviceUser {
        let AttachedProcess { pid, locked_cores, host_memory, device_memory, datastore } = process;
        let datastore = match datastore {
            Ok(bytes) => Ok(Some(Datastore(bytes))),
            Err(status) if status == -(Errno::ENOENT as i32) => Ok(None),
            Err(status) => Err(self.failed("ACQUIRE_NEURON_DS", status)),
        };
        // `None` if the process has ended since.
        let name = names.and_then(|machine| machine.read(&format!("proc/{pid}/comm")).ok().flatten());
        DeviceUser { pid, name, locked_cores, host_memory, device_memory, datastore }
    }

    /// Asks for the device whose memory is at an address of this process; `None` if the address is not in device
    /// memory.
    pub(crate) fn placement(&self, address: *const c_void) -> Result<Option<HostDevice>> {
        let mut placement = VaPlacement { va: address.addr() as u64, ..VaPlacement::default() };
        let question = Question::Placement(&mut placement);
        let command = question.command();
        match self.node.ask(question) {
            0 => {}
            status if status == -(Errno::ENXIO as i32) => return Ok(None),
            status => return Err(self.failed(command, status)),
        }
        let device = u32::try_from(placement.device_index).map_err(|_| Error::Malformed {
            path: self.path.clone(),
            expected: "a device's number from GET_VA_PLACEMENT",
            found: placement.device_index.to_string(),
        })?;
        Ok(Some(HostDevice(device)))
    }
}
