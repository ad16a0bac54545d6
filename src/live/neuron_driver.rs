//! Device nodes of the Neuron driver: opens them, asks the driver through them, and closes them only if closing does no
//! harm.
//!
//! A node can be opened in two ways, which have different effects.
//!
//! - *Write-only*: the node answers at once, even while the device is in reset. But closing such a descriptor in any
//!   way frees all cores that the process has reserved on all devices, including the cores of the Neuron runtime. So
//!   nearfab keeps each write-only descriptor open until the process ends.
//! - *Read-only*, in a child process: opening waits while the device is in reset and takes one of the device's sixteen
//!   places for processes. Closing the node releases the resources that the child has on the device.

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
use crate::live::process::child::{ChildOutput, run_in_child};
use crate::live::process::{Owned, PerProcess};
use crate::types::HostDevice;

pub(crate) mod attached;

use attached::Attachment;

/// A question to the driver (an ioctl), with memory for the answer.
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
    /// Returns the command's name in the driver's header.
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

/// An open device node, or a fake one in tests.
pub(crate) trait Node {
    /// Asks the driver. Returns 0 on success. Returns minus errno, or the number of bytes that the driver could not
    /// copy, on failure.
    fn ask(&self, question: Question<'_>) -> c_int;

    /// Copies `length` bytes of the driver's memory at `offset` to `out`, as one record of an [`Attachment`].
    fn copy_memory(&self, offset: u64, length: u32, out: &mut dyn Write) -> io::Result<()>;
}

/// The driver of a machine, or a fake one in tests.
pub(crate) trait Driver {
    /// Returns the device's write-only node. Every call returns the same node.
    fn write_only_node(&self, device: HostDevice) -> Result<&dyn Node>;

    /// Returns the answers that the driver gives only to a process that is attached to the device. A child process
    /// asks.
    fn attachment(&self, device: HostDevice, deadline: Duration) -> Result<Attachment>;
}

/// Returns the path of a device's node.
pub(crate) fn node_path(device: HostDevice) -> PathBuf {
    Path::new("/dev").join(device.to_string())
}

/// The driver of this machine.
#[derive(Debug)]
pub(crate) struct Machine;

/// The greatest number of devices that the driver makes nodes for.
const MAX_DEVICES: usize = 64;

/// The write-only nodes of each process, which are never closed. A forked child does not use the nodes of its parent.
/// The child opens its own nodes.
static OPEN_NODES: PerProcess<OpenNodes> = PerProcess::new();

/// The write-only nodes of one process.
#[derive(Debug)]
struct OpenNodes {
    nodes: [OnceLock<ManuallyDrop<Descriptor>>; MAX_DEVICES],
    /// Held while a thread opens a node, so that each node is opened once.
    opening: Mutex<()>,
}

impl OpenNodes {
    fn of_process() -> &'static Owned<Self> {
        // The parent's descriptors are open in the child too, but a child cannot use them: the driver acts on the
        // process that closes a descriptor.
        let make = |_: Option<&Owned<Self>>| {
            let nodes = [const { OnceLock::new() }; MAX_DEVICES];
            Ok::<_, Infallible>(Self { nodes, opening: Mutex::new(()) })
        };
        match OPEN_NODES.get(make) {
            Ok(open_nodes) => open_nodes,
        }
    }
}

/// A device's write-only node. The node stays open until the process ends and cannot be closed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WriteOnlyNode {
    open_nodes: &'static Owned<OpenNodes>,
    node: &'static Descriptor,
}

impl WriteOnlyNode {
    /// Opens the node, unless this process has it open.
    pub(crate) fn open(device: HostDevice) -> Result<Self> {
        let open_nodes = OpenNodes::of_process();
        let Some(place) = usize::try_from(device.0).ok().and_then(|index| open_nodes.value.nodes.get(index)) else {
            return Err(Error::NoSuchDevice {
                wanted: device.to_string(),
                present: format!("at most {MAX_DEVICES} devices, the most for which the driver makes nodes"),
            });
        };
        let _one_at_a_time = open_nodes.value.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(node) = place.get() {
            return Ok(Self { open_nodes, node });
        }
        let path = node_path(device);
        let opened = open(&path, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty());
        let opened = opened.map_err(|errno| refused(path, errno))?;
        Ok(Self { open_nodes, node: place.get_or_init(|| ManuallyDrop::new(Descriptor(opened))) })
    }

    /// Returns the open node. Fails outside the process that opened the node.
    pub(crate) fn node(&self) -> Result<&'static dyn Node> {
        self.open_nodes.get()?;
        Ok(self.node)
    }
}

impl Driver for Machine {
    fn write_only_node(&self, device: HostDevice) -> Result<&dyn Node> {
        WriteOnlyNode::open(device)?.node()
    }

    fn attachment(&self, device: HostDevice, deadline: Duration) -> Result<Attachment> {
        attach(node_path(device), deadline)
    }
}

/// Opens a node read-only in a child process, asks the driver there, and closes the node.
fn attach(path: PathBuf, deadline: Duration) -> Result<Attachment> {
    let cannot_ask = |cause| Error::Driver {
        command: "open",
        node: path.clone(),
        hint: "the child process that asks the driver could not be started, or died",
        cause,
    };
    let c_path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|e| cannot_ask(e.into()))?;
    // SAFETY: the closure opens, asks, maps, writes and closes by system calls. The closure uses only `c_path`, which
    // exists before the fork, the child's stack, and the driver's mapping. The closure neither allocates nor takes
    // locks.
    let output = unsafe {
        let run = |out: &mut File| match open(c_path.as_c_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()) {
            Ok(node) => {
                attached::write_answers(&Descriptor(node), out)?;
                // The node is closed now. Closing can block too.
                attached::write_end(out)
            }
            Err(errno) => attached::write_refusal(errno, out),
        };
        run_in_child(deadline, run, |bytes| Attachment::read(0, bytes).is_some())
    };
    match output.map_err(cannot_ask)? {
        ChildOutput::TimedOut => Err(Error::Deadline { node: path, deadline }),
        ChildOutput::Bytes { pid, bytes } => match Attachment::read(pid.as_raw(), &bytes) {
            None => Err(cannot_ask(io::ErrorKind::UnexpectedEof.into())),
            Some(Err(errno)) => Err(refused(path, errno)),
            Some(Ok(attachment)) => Ok(attachment),
        },
    }
}

/// Makes the error of a node that could not be opened, with the meaning of its errno.
fn refused(path: PathBuf, errno: Errno) -> Error {
    let hint = match errno {
        Errno::EACCES => "this user may not open it: run as root, or as a member of the group neuron",
        Errno::EPERM => "the device rules of this container forbid it: give the device to the container",
        Errno::ENOENT => "the node does not exist: give the device to this container",
        Errno::ENXIO | Errno::ENODEV => "the node has no driver: the device or its driver was removed",
        Errno::EBUSY => "16 processes have the device open, the most that the driver allows: end one",
        Errno::EINVAL => "the device failed its last reset: see the kernel's log for the reason",
        _ => "the system refused it",
    };
    Error::NodeRefused { path, hint, cause: errno.into() }
}

/// An open node.
#[derive(Debug)]
struct Descriptor(OwnedFd);

impl Descriptor {
    /// # Safety
    ///
    /// `argument` points to the structure that nearfab-sys documents for `number`, valid for reads and writes.
    unsafe fn ioctl<T>(&self, number: std::ffi::c_ulong, argument: *mut T) -> c_int {
        // A system call, because the type of `ioctl` differs between C libraries.
        let argument = argument.cast::<c_void>();
        // SAFETY: the caller promises the structure that the Neuron driver reads and writes for this number. Another
        // driver behind the descriptor answers ENOTTY and touches no memory: no other driver uses these numbers.
        let status: c_long = unsafe { libc::syscall(libc::SYS_ioctl, self.0.as_raw_fd(), number, argument) };
        match status {
            -1 => -Errno::last_raw(),
            status => c_int::try_from(status).unwrap_or(c_int::MAX),
        }
    }
}

impl Node for Descriptor {
    fn ask(&self, question: Question<'_>) -> c_int {
        /// Issues an ioctl with the structure that nearfab-sys documents for its number.
        macro_rules! ask {
            ($number:ident, $argument:expr) => {
                // SAFETY: each use below pairs a number with a pointer to the structure that nearfab-sys documents for
                // the number. The structure is borrowed mutably or local, so it is valid for reads and writes.
                // `NcMapRequest` points to a borrowed map.
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

    fn copy_memory(&self, offset: u64, length: u32, out: &mut dyn Write) -> io::Result<()> {
        let length = length as usize;
        // Read-only and shared: this process never writes the driver's memory.
        let memory = match MmapOptions::new().offset(offset).len(length).map_raw_read_only(self.0.as_raw_fd()) {
            Ok(memory) => memory,
            Err(error) => return attached::write_record(out, -error.raw_os_error().unwrap_or(libc::EIO), &[]),
        };
        attached::write_header(out, 0, length)?;
        let mut chunk = [0; 4096];
        for start in (0..length).step_by(chunk.len()) {
            let count = chunk.len().min(length - start);
            for (at, byte) in (start..).zip(&mut chunk[..count]) {
                let source = memory.as_ptr().wrapping_add(at);
                // SAFETY: `at` is less than `length`, the length of the mapping, which lives until the end of this
                // function. The read is volatile because the memory's owner may write it at the same time; any value of
                // a byte is valid.
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

    /// Opening a node of a device in reset waits. In this test, opening a pipe waits for a writer.
    #[test]
    fn a_device_that_does_not_answer_ends_the_question_at_the_deadline() {
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
        assert!(error.to_string().contains("the node does not exist"), "{error}");
    }

    #[test]
    fn a_node_of_another_driver_answers_enotty() {
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
    fn memory_is_copied_completely_or_refused() {
        let page = 4096;
        let content: Vec<u8> = (0..3 * page + 10).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, &content).unwrap();
        let node = Descriptor(file.reopen().unwrap().into());
        let mut record = Vec::new();
        node.copy_memory(4096, 2 * 4096 + 10, &mut record).unwrap();
        let mut expected = Vec::new();
        attached::write_record(&mut expected, 0, &content[page..]).unwrap();
        assert!(record == expected);

        let null = Descriptor(open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).unwrap());
        let mut record = Vec::new();
        null.copy_memory(0, 4096, &mut record).unwrap();
        let mut expected = Vec::new();
        attached::write_record(&mut expected, -libc::ENODEV, &[]).unwrap();
        assert_eq!(record, expected);
    }
}
