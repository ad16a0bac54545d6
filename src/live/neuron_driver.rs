//! Nodes of the Neuron driver: opened, asked, and closed only where closing does no harm.
//!
//! A node can be opened in two ways, and they differ in what else happens.
//!
//! - *Write-only*, for questions: it answers at once, also while the device is in reset. But closing one, in whatever way,
//!   frees all cores that the process has reserved on all devices, those of the Neuron runtime included. So each is kept
//!   until the process ends.
//! - *For reading*, in a child process: it waits while the device is in reset, takes one of sixteen places for processes,
//!   and closing one gives back what the process has there.

use std::convert::Infallible;
use std::ffi::{CString, c_int, c_long, c_void};
use std::fs::File;
use std::io::{self, Write};
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use memmap2::MmapOptions;
use nearfab_sys::neuron::{
    ACQUIRE_NEURON_DS, AppsInfo, BasicInfo, BdfExt, DEVICE_BASIC_INFO, DEVICE_BDF_EXT, DEVICE_GET_ALL_APPS_INFO,
    DRIVER_INFO_GET, DatastoreInfo, DriverInfo, GET_LOGICAL_TO_PHYSICAL_NC_MAP, GET_VA_PLACEMENT, HOST_DEVICE_ID,
    MAX_NC_MAP, NC_MAP_AS_WIRED, NC_RANGE_MARK_EXT0, NC_RANGE_UNMARK_EXT0, NcMap, NcMapRequest, NcRange,
    RELEASE_NEURON_DS, VaPlacement,
};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::libc;
use nix::sys::stat::Mode;

use crate::error::{Error, Result};
use crate::live::process::child::{Said, ask_in_child};
use crate::live::process::{Owned, PerProcess};
use crate::types::HostDevice;

pub(crate) mod attached;

use attached::Attachment;

/// A question to the driver, with room for the answer.
#[derive(Debug)]
pub(crate) enum Question<'a> {
    BasicInfo(&'a mut BasicInfo),
    DriverInfo(&'a mut DriverInfo),
    Address(&'a mut BdfExt),
    CoreMap(&'a mut NcMap),
    MarkCores(&'a mut NcRange),
    UnmarkCores(&'a mut NcRange),
    Placement(&'a mut VaPlacement),
    HostDevice(&'a mut u32),
    Processes(&'a mut AppsInfo),
    AcquireDatastore(&'a mut DatastoreInfo),
    ReleaseDatastore(&'a mut DatastoreInfo),
}

impl Question<'_> {
    /// The command, as the driver's header names it.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            Self::BasicInfo(_) => "DEVICE_BASIC_INFO",
            Self::DriverInfo(_) => "DRIVER_INFO_GET",
            Self::Address(_) => "DEVICE_BDF_EXT",
            Self::CoreMap(_) => "GET_LOGICAL_TO_PHYSICAL_NC_MAP",
            Self::MarkCores(_) => "CRWL_NC_RANGE_MARK_EXT0",
            Self::UnmarkCores(_) => "CRWL_NC_RANGE_UNMARK_EXT0",
            Self::Placement(_) => "GET_VA_PLACEMENT",
            Self::HostDevice(_) => "HOST_DEVICE_ID",
            Self::Processes(_) => "DEVICE_GET_ALL_APPS_INFO",
            Self::AcquireDatastore(_) => "ACQUIRE_NEURON_DS",
            Self::ReleaseDatastore(_) => "RELEASE_NEURON_DS",
        }
    }
}

/// What answers questions: an open node, or in tests a recording.
pub(crate) trait Node {
    /// 0, or a failure: minus errno, or the number of bytes that the driver could not copy.
    fn ask(&self, question: Question<'_>) -> c_int;

    /// Writes `length` bytes of the driver's memory at `offset` as a record of an [`Attachment`].
    fn put_memory(&self, offset: u64, length: u32, out: &mut dyn Write) -> io::Result<()>;
}

/// What opens nodes: the machine, or in tests a recording.
pub(crate) trait Driver {
    /// The device's node for questions; every call gives the same.
    fn identity(&self, device: HostDevice) -> Result<&dyn Node>;

    /// What a process has to attach itself to the device for, asked in another process.
    fn attachment(&self, device: HostDevice, deadline: Duration) -> Result<Attachment>;
}

/// The path of a device's node.
pub(crate) fn node(device: HostDevice) -> PathBuf {
    Path::new("/dev").join(device.to_string())
}

/// The driver of this machine.
#[derive(Debug)]
pub(crate) struct Machine;

/// The most devices that the driver makes nodes for.
const MAX_DEVICES: usize = 64;

/// The nodes for questions, which must not be closed: see above. A forked child does without its parent's, and opens its own.
static KEPT: PerProcess<Kept> = PerProcess::new();

#[derive(Debug)]
struct Kept {
    nodes: [OnceLock<ManuallyDrop<Descriptor>>; MAX_DEVICES],
    /// Taken by who opens one, so that there is one of each.
    opening: Mutex<()>,
}

impl Kept {
    fn of_process() -> &'static Owned<Self> {
        // What the parent has open is open here too, and means nothing: the driver looks at who closes it.
        let make = |_: Option<&Owned<Self>>| {
            let nodes = [const { OnceLock::new() }; MAX_DEVICES];
            Ok::<_, Infallible>(Self { nodes, opening: Mutex::new(()) })
        };
        match KEPT.get(make) {
            Ok(kept) => kept,
        }
    }
}

/// A device's node for questions. It is open until the process ends, and there is no way to close it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    kept: &'static Owned<Kept>,
    node: &'static Descriptor,
}

impl Identity {
    /// Opens the node, unless this process has it.
    pub(crate) fn open(device: HostDevice) -> Result<Self> {
        let kept = Kept::of_process();
        let Some(place) = usize::try_from(device.0).ok().and_then(|index| kept.value.nodes.get(index)) else {
            return Err(Error::NoSuchDevice {
                wanted: device.to_string(),
                present: format!("at most {MAX_DEVICES}, as many as the driver makes nodes for"),
            });
        };
        let _one_at_a_time = kept.value.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = place.get() {
            return Ok(Self { kept, node });
        }
        let path = node(device);
        let opened = open(&path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
        let opened = opened.map_err(|errno| refused(path, errno))?;
        Ok(Self { kept, node: place.get_or_init(|| ManuallyDrop::new(Descriptor(opened))) })
    }

    /// What can be asked, in the process that opened it.
    pub(crate) fn node(&self) -> Result<&'static dyn Node> {
        self.kept.get()?;
        Ok(self.node)
    }
}

impl Driver for Machine {
    fn identity(&self, device: HostDevice) -> Result<&dyn Node> {
        Identity::open(device)?.node()
    }

    fn attachment(&self, device: HostDevice, deadline: Duration) -> Result<Attachment> {
        attach(node(device), deadline)
    }
}

/// Opens a node for reading in a child process, asks what there is to ask, and closes it there.
fn attach(path: PathBuf, deadline: Duration) -> Result<Attachment> {
    let cannot_ask = |source| Error::Driver {
        command: "open",
        node: path.clone(),
        hint: "the process that asks could not be started, or was lost",
        source,
    };
    let c_path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|e| cannot_ask(e.into()))?;
    // SAFETY: opening, asking and closing are system calls; the questions are on the stack, and so is what is written.
    let said = unsafe {
        let ask = |out: &mut File| match open(c_path.as_c_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(node) => {
                attached::put(&Descriptor(node), out)?;
                // Closing it has taken its time too.
                attached::put_end(out)
            }
            Err(errno) => attached::put_refusal(errno, out),
        };
        ask_in_child(deadline, ask, |bytes| Attachment::read(0, bytes).is_some())
    };
    match said.map_err(cannot_ask)? {
        Said::TooLate => Err(Error::Deadline { node: path, deadline }),
        Said::This { pid, bytes } => match Attachment::read(pid.as_raw(), &bytes) {
            None => Err(cannot_ask(io::ErrorKind::UnexpectedEof.into())),
            Some(Err(errno)) => Err(refused(path, errno)),
            Some(Ok(attachment)) => Ok(attachment),
        },
    }
}

fn refused(path: PathBuf, errno: Errno) -> Error {
    let hint = match errno {
        Errno::EACCES => "this user may not open it: it is for root, or for the group neuron",
        Errno::EPERM => "the rules of this container forbid it: the device was not given to it",
        Errno::ENOENT => "there is no such node here: the device was not given to this container",
        Errno::ENXIO | Errno::ENODEV => "no driver stands behind the node: the device was removed, or its driver was",
        Errno::EBUSY => "16 processes have the device open already, which is the most",
        Errno::EINVAL => "the device failed its last reset: the kernel's log says why",
        _ => "the system refuses it",
    };
    Error::NodeRefused { path, hint, source: errno.into() }
}

/// An open node.
#[derive(Debug)]
struct Descriptor(OwnedFd);

impl Descriptor {
    /// # Safety
    ///
    /// The argument is what the driver takes for this number, and may be written.
    unsafe fn ioctl<T>(&self, number: std::ffi::c_ulong, argument: *mut T) -> c_int {
        // Not by the function of the C library, whose type differs between libraries.
        let argument = argument.cast::<c_void>();
        // SAFETY: the caller vouches for the argument; a descriptor of something else than the driver answers ENOTTY, as
        // these numbers are of no other driver.
        let status: c_long = unsafe { libc::syscall(libc::SYS_ioctl, self.0.as_raw_fd(), number, argument) };
        match status {
            -1 => -Errno::last_raw(),
            status => c_int::try_from(status).unwrap_or(c_int::MAX),
        }
    }
}

impl Node for Descriptor {
    fn ask(&self, question: Question<'_>) -> c_int {
        /// Each structure is the one that nearfab-sys documents for the number.
        macro_rules! ask {
            ($number:ident, $argument:expr) => {
                // SAFETY: the argument is exclusively borrowed, and of the number's type.
                unsafe { self.ioctl($number, $argument) }
            };
        }
        match question {
            Question::BasicInfo(answer) => ask!(DEVICE_BASIC_INFO, ptr::from_mut(answer)),
            Question::DriverInfo(answer) => ask!(DRIVER_INFO_GET, ptr::from_mut(answer)),
            Question::Address(answer) => ask!(DEVICE_BDF_EXT, ptr::from_mut(answer)),
            Question::CoreMap(map) => {
                const ENTRIES: u32 = {
                    assert!(MAX_NC_MAP == 128);
                    128
                };
                let map = ptr::from_mut(map);
                let mut request = NcMapRequest { map, max_entries: ENTRIES, mapping_version: NC_MAP_AS_WIRED };
                ask!(GET_LOGICAL_TO_PHYSICAL_NC_MAP, &raw mut request)
            }
            Question::MarkCores(range) => ask!(NC_RANGE_MARK_EXT0, ptr::from_mut(range)),
            Question::UnmarkCores(range) => ask!(NC_RANGE_UNMARK_EXT0, ptr::from_mut(range)),
            Question::Placement(answer) => ask!(GET_VA_PLACEMENT, ptr::from_mut(answer)),
            Question::HostDevice(answer) => ask!(HOST_DEVICE_ID, ptr::from_mut(answer)),
            Question::Processes(answer) => ask!(DEVICE_GET_ALL_APPS_INFO, ptr::from_mut(answer)),
            Question::AcquireDatastore(answer) => ask!(ACQUIRE_NEURON_DS, ptr::from_mut(answer)),
            Question::ReleaseDatastore(answer) => ask!(RELEASE_NEURON_DS, ptr::from_mut(answer)),
        }
    }

    fn put_memory(&self, offset: u64, length: u32, out: &mut dyn Write) -> io::Result<()> {
        let length = length as usize;
        // Read-only and shared: nothing is written, whatever the driver keeps there.
        let memory = match MmapOptions::new().offset(offset).len(length).map_raw_read_only(self.0.as_raw_fd()) {
            Ok(memory) => memory,
            Err(error) => return attached::put_record(out, -error.raw_os_error().unwrap_or(libc::EIO), &[]),
        };
        attached::put_header(out, 0, length)?;
        let mut chunk = [0; 4096];
        for start in (0..length).step_by(chunk.len()) {
            let count = chunk.len().min(length - start);
            for (at, byte) in (start..).zip(&mut chunk[..count]) {
                let source = memory.as_ptr().wrapping_add(at);
                // SAFETY: within the mapping. Volatile, because its owner may write it meanwhile.
                *byte = unsafe { source.read_volatile() };
            }
            out.write_all(&chunk[..count])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use nix::unistd::mkfifo;

    use super::*;

    /// As a node of a device in reset: opening it waits, here for a writer that never comes.
    #[test]
    fn a_device_that_does_not_answer_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("neuron0");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let deadline = Duration::from_millis(50);
        let start = Instant::now();
        let error = attach(path.clone(), deadline).unwrap_err();
        assert!(start.elapsed() >= deadline);
        assert!(matches!(&error, Error::Deadline { node, .. } if *node == path), "{error}");
        assert!(error.to_string().contains("within 0.05 s"), "{error}");
    }

    #[test]
    fn a_node_that_cannot_be_opened_in_the_child_is_explained() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("neuron0");
        let error = attach(path.clone(), Duration::from_secs(60)).unwrap_err();
        assert!(matches!(&error, Error::NodeRefused { path: refused, .. } if *refused == path), "{error}");
        assert!(error.to_string().contains("there is no such node here"), "{error}");
    }

    #[test]
    fn a_node_of_another_driver_answers_nothing() {
        let attachment = attach("/dev/null".into(), Duration::from_secs(60)).unwrap();
        assert_eq!(attachment.host_device, Err(-libc::ENOTTY));
        assert_eq!(attachment.processes.unwrap_err(), -libc::ENOTTY);

        let null = Descriptor(open("/dev/null", OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap());
        let mut range = NcRange::default();
        for question in [
            Question::BasicInfo(&mut BasicInfo::default()),
            Question::DriverInfo(&mut DriverInfo::default()),
            Question::Address(&mut BdfExt::default()),
            Question::CoreMap(&mut NcMap::default()),
            Question::MarkCores(&mut range),
            Question::Placement(&mut VaPlacement::default()),
            Question::AcquireDatastore(&mut DatastoreInfo::default()),
        ] {
            let command = question.command();
            assert_eq!(null.ask(question), -libc::ENOTTY, "{command}");
        }
    }

    #[test]
    fn memory_is_copied_whole_or_refused() {
        let page = 4096;
        let content: Vec<u8> = (0..3 * page + 10).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, &content).unwrap();
        let node = Descriptor(file.reopen().unwrap().into());
        let mut record = Vec::new();
        node.put_memory(4096, 2 * 4096 + 10, &mut record).unwrap();
        let mut expected = Vec::new();
        attached::put_record(&mut expected, 0, &content[page..]).unwrap();
        assert!(record == expected);

        let null = Descriptor(open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap());
        let mut record = Vec::new();
        null.put_memory(0, 4096, &mut record).unwrap();
        let mut expected = Vec::new();
        attached::put_record(&mut expected, -libc::ENODEV, &[]).unwrap();
        assert_eq!(record, expected);
    }
}
