//! The driver's answers as JSON. A failed answer is null, and its error is in the list of errors.

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use super::{Architecture, CoreProbe, CoreState, DeviceAnswers, DeviceProbe, DeviceUser, DeviceUsers, Probe};
use crate::error::{Error, Result};
use crate::types::{Bdf, Core, HostDevice, PhysicalCore};

/// Serializes the answers without the [`Datastore`](super::Datastore) of each process, because the form of a datastore
/// is not public.
impl Serialize for Probe {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut errors = Errors::default();
        let core_map: Option<&Vec<Core>> = errors.take(self.core_map.as_ref()).and_then(Option::as_ref);
        let devices: Vec<Device> = self.devices.iter().map(Device::of).collect();
        let mut probe = serializer.serialize_struct("Probe", 3)?;
        probe.serialize_field("devices", &devices)?;
        probe.serialize_field("core_map", &core_map)?;
        probe.serialize_field("errors", &errors.0)?;
        probe.end()
    }
}

impl DeviceProbe {
    /// Returns the errors of the answers that failed, one sentence each.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        Device::of(self).errors
    }
}

/// The errors of failed answers, one sentence each.
#[derive(Default)]
struct Errors(Vec<String>);

impl Errors {
    /// Returns the answer, or `None` after adding the error of the answer.
    fn take<T>(&mut self, answer: std::result::Result<T, &Error>) -> Option<T> {
        answer.map_err(|error| self.0.push(error.to_string())).ok()
    }
}

#[derive(Serialize)]
struct Device {
    device: HostDevice,
    address: Option<Bdf>,
    architecture: Option<u32>,
    revision: Option<u32>,
    features: Option<u64>,
    cores: Vec<CoreView>,
    users: Option<Users>,
    errors: Vec<String>,
}

#[derive(Serialize)]
struct CoreView {
    core: PhysicalCore,
    state: Option<CoreState>,
}

#[derive(Serialize)]
struct Users {
    host_device: Option<HostDevice>,
    processes: Vec<User>,
    includes_probe: bool,
}

#[derive(Serialize)]
struct User {
    pid: i32,
    name: Option<String>,
    locked_cores: u8,
    host_memory: u64,
    device_memory: u64,
}

impl Device {
    fn of(probe: &DeviceProbe) -> Self {
        let mut errors = Errors::default();
        let answers = errors.take(probe.answers.as_ref());
        let driver = answers.and_then(|answers| errors.take(answers.driver.as_ref()));
        let address = answers.and_then(|answers| errors.take(answers.address.as_ref())).copied();
        let cores = answers.map_or(&[][..], |answers| &answers.cores);
        let cores = cores.iter().map(|core| CoreView::of(core, &mut errors)).collect();
        let users = answers.and_then(|answers| Users::of(answers, &mut errors));
        let mut errors = errors.0;
        errors.dedup(); // A driver that does not know the question refuses the question for each core.
        Self {
            device: probe.device,
            address,
            architecture: driver.map(|driver| driver.architecture.into()),
            revision: driver.map(|driver| driver.revision),
            features: driver.and_then(|driver| driver.features),
            cores,
            users,
            errors,
        }
    }
}

impl CoreView {
    fn of(core: &CoreProbe, errors: &mut Errors) -> Self {
        Self { core: core.core, state: errors.take(core.state.as_ref()).copied() }
    }
}

impl Users {
    fn of(answers: &DeviceAnswers, errors: &mut Errors) -> Option<Self> {
        let attachment: &Result<DeviceUsers> = answers.attachment.as_ref()?;
        let users = errors.take(attachment.as_ref())?;
        let host_device = errors.take(users.host_device.as_ref()).copied();
        let processes = errors.take(users.processes.as_ref())?;
        Some(Self {
            host_device,
            processes: processes.iter().map(User::of).collect(),
            includes_probe: users.includes_probe,
        })
    }
}

impl User {
    fn of(user: &DeviceUser) -> Self {
        let &DeviceUser { pid, ref name, locked_cores, host_memory, device_memory, .. } = user;
        Self { pid, name: name.clone(), locked_cores, host_memory, device_memory }
    }
}

impl From<Architecture> for u32 {
    fn from(architecture: Architecture) -> Self {
        match architecture {
            Architecture::V1 => 1,
            Architecture::V2 => 2,
            Architecture::V3 => 3,
            Architecture::V4 => 4,
            Architecture::Unknown(raw) => raw,
        }
    }
}
