//! The answers of the driver to a child process that is attached to a device, and how the child sends the answers to
//! its parent.
//!
//! The child is forked from a process with many threads, so the functions that it runs make system calls and do not
//! allocate. The child writes records in a fixed order. A record is a status, a length, and as many bytes as the length
//! says.

use std::ffi::c_int;
use std::io::{self, Write};

use nearfab_sys::neuron::{APPS_ALL, AppInfo, AppsInfo, DatastoreInfo, MAX_PROCESSES};
use nix::errno::Errno;
use nix::libc;

use super::{Node, Question};

/// The driver's datastores have 256 KiB. A much greater size is treated as an error.
const LONGEST_DATASTORE: u32 = 4 << 20;

/// The answers; a failure is the status that [`Node::ask`] returned.
#[derive(Debug)]
pub(crate) struct Attachment {
    /// The child's PID in this process's PID namespace.
    pub(crate) child: i32,
    pub(crate) host_device: Result<u32, c_int>,
    pub(crate) processes: Result<Vec<AttachedProcess>, c_int>,
}

/// A process that is attached to the device. The child itself is such a process.
#[derive(Debug)]
pub(crate) struct AttachedProcess {
    pub(crate) pid: i32,
    pub(crate) locked_cores: u8,
    pub(crate) host_memory: u64,
    pub(crate) device_memory: u64,
    pub(crate) datastore: Result<Vec<u8>, c_int>,
}

/// Writes the record that ends the answers.
pub(crate) fn write_end(out: &mut dyn Write) -> io::Result<()> {
    write_record(out, 0, &[])
}

/// Asks the driver and writes the answers.
pub(crate) fn write_answers(node: &impl Node, out: &mut dyn Write) -> io::Result<()> {
    write_record(out, 0, &[])?; // The node was opened.

    let mut device = 0;
    let status = node.ask(Question::HostDevice(&mut device));
    write_record(out, status, &device.to_ne_bytes())?;

    let mut apps = AppsInfo { flags: APPS_ALL, capacity: CAPACITY, ..AppsInfo::default() };
    let status = node.ask(Question::Processes(&mut apps));
    let count = apps.size.min(CAPACITY);
    write_record(out, status, &count.to_ne_bytes())?;
    if status != 0 {
        return Ok(());
    }
    for app in apps.apps.iter().take(count as usize) {
        write_process(node, app, out)?;
    }
    Ok(())
}

const CAPACITY: u32 = {
    assert!(MAX_PROCESSES == 16);
    16
};

/// Writes the record of a node that could not be opened.
pub(super) fn write_refusal(errno: Errno, out: &mut dyn Write) -> io::Result<()> {
    write_record(out, -(errno as c_int), &[])
}

fn write_process(node: &impl Node, app: &AppInfo, out: &mut dyn Write) -> io::Result<()> {
    write_record(out, 0, &app.pid.to_ne_bytes())?;
    write_record(out, 0, &[app.nc_lock_map])?;
    write_record(out, 0, &app.host_mem_size.to_ne_bytes())?;
    write_record(out, 0, &app.device_mem_size.to_ne_bytes())?;
    if app.pid <= 0 {
        return write_record(out, -libc::ENOENT, &[]); // Asking for PID 0 would make a datastore.
    }
    let mut datastore = DatastoreInfo { pid: app.pid, ..DatastoreInfo::default() };
    let status = node.ask(Question::AcquireDatastore(&mut datastore));
    if status != 0 {
        return write_record(out, status, &[]);
    }
    let written = match datastore.size {
        0 => write_record(out, 0, &[]),
        size if size > LONGEST_DATASTORE => write_record(out, -libc::EFBIG, &[]),
        size => node.copy_memory(datastore.mmap_offset, size, out),
    };
    // A failure here does no harm: closing the node releases the datastore too.
    node.ask(Question::ReleaseDatastore(&mut datastore));
    written
}

pub(crate) fn write_record(out: &mut dyn Write, status: c_int, bytes: &[u8]) -> io::Result<()> {
    write_header(out, status, bytes.len())?;
    out.write_all(bytes)
}

pub(super) fn write_header(out: &mut dyn Write, status: c_int, length: usize) -> io::Result<()> {
    out.write_all(&status.to_ne_bytes())?;
    out.write_all(&length.to_ne_bytes())
}

impl Attachment {
    /// Reads the child's output: `None` if it is incomplete, an error if the child could not open the node.
    pub(crate) fn read(child: i32, bytes: &[u8]) -> Option<Result<Self, Errno>> {
        let mut records = Records(bytes);
        let (status, _) = records.next()?;
        if status != 0 {
            return Some(Err(Errno::from_raw(status.wrapping_neg())));
        }
        let host_device = records.number()?.map(u32::from_ne_bytes);
        let processes = match records.number()?.map(u32::from_ne_bytes) {
            Err(status) => Err(status),
            Ok(count) => Ok((0..count).map(|_| records.process()).collect::<Option<_>>()?),
        };
        records.next()?; // The end.
        Some(Ok(Self { child, host_device, processes }))
    }
}

/// The records that are left to read.
struct Records<'a>(&'a [u8]);

impl<'a> Records<'a> {
    fn next(&mut self) -> Option<(c_int, &'a [u8])> {
        let (status, rest) = self.0.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (bytes, rest) = rest.split_at_checked(usize::from_ne_bytes(*length))?;
        self.0 = rest;
        Some((c_int::from_ne_bytes(*status), bytes))
    }

    fn bytes(&mut self) -> Option<Result<&'a [u8], c_int>> {
        let (status, bytes) = self.next()?;
        Some(if status == 0 { Ok(bytes) } else { Err(status) })
    }

    fn number<const N: usize>(&mut self) -> Option<Result<[u8; N], c_int>> {
        Some(match self.bytes()? {
            Ok(bytes) => Ok(bytes.try_into().ok()?),
            Err(status) => Err(status),
        })
    }

    fn process(&mut self) -> Option<AttachedProcess> {
        Some(AttachedProcess {
            pid: i32::from_ne_bytes(self.number()?.ok()?),
            locked_cores: u8::from_ne_bytes(self.number()?.ok()?),
            host_memory: u64::from_ne_bytes(self.number()?.ok()?),
            device_memory: u64::from_ne_bytes(self.number()?.ok()?),
            datastore: self.bytes()?.map(<[u8]>::to_vec),
        })
    }
}
