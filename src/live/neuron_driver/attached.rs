//! What a child process attached to a device finds out, and how it tells its parent.
//!
//! The child is forked from a process of many threads: what it runs here makes system calls and nothing that allocates. It
//! writes records in a fixed order; a record is a status, a length and so many bytes.

use std::ffi::c_int;
use std::io::{self, Write};

use nearfab_sys::neuron::{APPS_ALL, AppInfo, AppsInfo, DatastoreInfo, MAX_PROCESSES};
use nix::errno::Errno;
use nix::libc;

use super::{Node, Question};

/// The driver's are 256 KiB; what says that it is much longer is not believed.
const LONGEST_DATASTORE: u32 = 4 << 20;

/// The answers, each with the status that [`Node::ask`] gave.
#[derive(Debug)]
pub(crate) struct Attachment {
    /// The child's number, as this process sees it.
    pub(crate) child: i32,
    pub(crate) host_device: Result<u32, c_int>,
    pub(crate) processes: Result<Vec<Attached>, c_int>,
}

/// A process that is attached to the device; the child is one itself.
#[derive(Debug)]
pub(crate) struct Attached {
    pub(crate) pid: i32,
    pub(crate) locked_cores: u8,
    pub(crate) host_memory: u64,
    pub(crate) device_memory: u64,
    pub(crate) datastore: Result<Vec<u8>, c_int>,
}

/// Says that this was all.
pub(crate) fn put_end(out: &mut dyn Write) -> io::Result<()> {
    put_record(out, 0, &[])
}

/// Asks, and writes the answers.
pub(crate) fn put(node: &impl Node, out: &mut dyn Write) -> io::Result<()> {
    put_record(out, 0, &[])?; // It could be opened.

    let mut device = 0;
    let status = node.ask(Question::HostDevice(&mut device));
    put_record(out, status, &device.to_ne_bytes())?;

    let mut apps = AppsInfo { flags: APPS_ALL, capacity: CAPACITY, ..AppsInfo::default() };
    let status = node.ask(Question::Processes(&mut apps));
    let count = apps.size.min(CAPACITY);
    put_record(out, status, &count.to_ne_bytes())?;
    if status != 0 {
        return Ok(());
    }
    for app in apps.apps.iter().take(count as usize) {
        put_process(node, app, out)?;
    }
    Ok(())
}

const CAPACITY: u32 = {
    assert!(MAX_PROCESSES == 16);
    16
};

/// Says that the node could not be opened.
pub(super) fn put_refusal(errno: Errno, out: &mut dyn Write) -> io::Result<()> {
    put_record(out, -(errno as c_int), &[])
}

fn put_process(node: &impl Node, app: &AppInfo, out: &mut dyn Write) -> io::Result<()> {
    put_record(out, 0, &app.pid.to_ne_bytes())?;
    put_record(out, 0, &[app.nc_lock_map])?;
    put_record(out, 0, &app.host_mem_size.to_ne_bytes())?;
    put_record(out, 0, &app.device_mem_size.to_ne_bytes())?;
    if app.pid <= 0 {
        return put_record(out, -libc::ENOENT, &[]); // Asking for 0 would make one.
    }
    let mut datastore = DatastoreInfo { pid: app.pid, ..DatastoreInfo::default() };
    let status = node.ask(Question::AcquireDatastore(&mut datastore));
    if status != 0 {
        return put_record(out, status, &[]);
    }
    let put = match datastore.size {
        0 => put_record(out, 0, &[]),
        size if size > LONGEST_DATASTORE => put_record(out, -libc::EFBIG, &[]),
        size => node.put_memory(datastore.mmap_offset, size, out),
    };
    // Closing the node gives it back as well.
    node.ask(Question::ReleaseDatastore(&mut datastore));
    put
}

pub(crate) fn put_record(out: &mut dyn Write, status: c_int, bytes: &[u8]) -> io::Result<()> {
    put_header(out, status, bytes.len())?;
    out.write_all(bytes)
}

pub(super) fn put_header(out: &mut dyn Write, status: c_int, length: usize) -> io::Result<()> {
    out.write_all(&status.to_ne_bytes())?;
    out.write_all(&length.to_ne_bytes())
}

impl Attachment {
    /// Reads what the child wrote: `None` if that is not whole, an error if it could not open the node.
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

    fn process(&mut self) -> Option<Attached> {
        Some(Attached {
            pid: i32::from_ne_bytes(self.number()?.ok()?),
            locked_cores: u8::from_ne_bytes(self.number()?.ok()?),
            host_memory: u64::from_ne_bytes(self.number()?.ok()?),
            device_memory: u64::from_ne_bytes(self.number()?.ok()?),
            datastore: self.bytes()?.map(<[u8]>::to_vec),
        })
    }
}
