//! The messages from a probe's child to its parent. An emulated driver answers with bytes of the input. The parent must read
//! the driver's answers, or nothing if a part of the message is missing.

#![no_main]

use std::cell::RefCell;
use std::ffi::c_int;
use std::io::{self, Write};

use attached::{Attachment, put, put_record};
use libfuzzer_sys::fuzz_target;
use nearfab_sys::neuron::{AppInfo, AppsInfo, DatastoreInfo, MAX_PROCESSES};

#[expect(dead_code, reason = "its parent module uses all of it")]
#[path = "../../src/live/neuron_driver/attached.rs"]
mod attached;

/// The questions that the module asks a driver, as in its parent module.
pub(crate) enum Question<'a> {
    HostDevice(&'a mut u32),
    Processes(&'a mut AppsInfo),
    AcquireDatastore(&'a mut DatastoreInfo),
    ReleaseDatastore(&'a mut DatastoreInfo),
}

/// The interface through which the module asks a driver, as in its parent module.
pub(crate) trait Node {
    fn ask(&self, question: Question<'_>) -> c_int;
    fn put_memory(&self, offset: u64, length: u32, out: &mut dyn Write) -> io::Result<()>;
}

fuzz_target!(|input: &[u8]| {
    let _ = Attachment::read(1, input);
    let driver = Driver { rest: RefCell::new(input), answers: RefCell::default() };
    let mut written = Vec::new();
    put(&driver, &mut written).expect("a write to memory succeeds");
    let cut = usize::from(driver.number::<2>() as u16);
    let answers = driver.answers.into_inner();
    let read = Attachment::read(7, &written).expect("the message is whole").expect("the child opened the node");
    assert_eq!(read.child, 7);
    assert_eq!(read.host_device, answers.host_device);
    assert_eq!(read.processes.as_ref().err(), answers.refusal.as_ref());
    let processes = read.processes.unwrap_or_default();
    assert_eq!(processes.len(), answers.processes.len());
    for (read, (app, datastore)) in processes.iter().zip(&answers.processes) {
        let found = (read.pid, read.locked_cores, read.host_memory, read.device_memory);
        assert_eq!(found, (app.pid, app.nc_lock_map, app.host_mem_size, app.device_mem_size));
        assert_eq!(&read.datastore, datastore);
    }
    assert_eq!(answers.acquired, 0, "a datastore was not released");
    if cut < written.len() {
        assert!(
            Attachment::read(7, &written[..cut]).is_none(),
            "a message of {} bytes was read from its first {cut} bytes",
            written.len()
        );
    }
});

/// A driver that answers with the next bytes of the input, and with zeroes after the end of the input.
struct Driver<'a> {
    rest: RefCell<&'a [u8]>,
    answers: RefCell<Answers>,
}

/// The driver's answers so far.
struct Answers {
    host_device: Result<u32, c_int>,
    refusal: Option<c_int>,
    processes: Vec<(AppInfo, Result<Vec<u8>, c_int>)>,
    /// The number of processes whose datastore was requested, or that have none.
    requested: usize,
    /// The number of datastores that were acquired and not released.
    acquired: i32,
}

impl Default for Answers {
    fn default() -> Self {
        Self { host_device: Err(0), refusal: None, processes: Vec::new(), requested: 0, acquired: 0 }
    }
}

impl Driver<'_> {
    /// Returns a number from the next `BYTES` bytes.
    fn number<const BYTES: usize>(&self) -> u64 {
        let mut rest = self.rest.borrow_mut();
        let (taken, left) = rest.split_at(BYTES.min(rest.len()));
        *rest = left;
        taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Returns the status of an answer. Most answers succeed.
    fn status(&self) -> c_int {
        let byte = self.number::<1>() as u8;
        if byte < 0xf0 { 0 } else { c_int::from(byte as i8) }
    }
}

impl Node for Driver<'_> {
    fn ask(&self, question: Question<'_>) -> c_int {
        let status = self.status();
        let mut answers = self.answers.borrow_mut();
        match question {
            Question::HostDevice(device) => {
                *device = self.number::<4>() as u32;
                answers.host_device = if status == 0 { Ok(*device) } else { Err(status) };
            }
            Question::Processes(apps) => {
                assert_eq!(apps.capacity as usize, MAX_PROCESSES);
                apps.size =
                    if self.number::<1>() < 0xf0 { self.number::<1>() as u32 % 20 } else { self.number::<4>() as u32 };
                let count = apps.size.min(16) as usize;
                for app in &mut apps.apps[..count] {
                    app.pid = self.number::<1>() as i8 as i32 * 1000;
                    app.nc_lock_map = self.number::<1>() as u8;
                    app.host_mem_size = self.number::<8>();
                    app.device_mem_size = self.number::<8>();
                }
                answers.refusal = Some(status).filter(|status| *status != 0);
                if status == 0 {
                    // -2 is the result for a process whose datastore is not requested.
                    answers.processes.extend(apps.apps[..count].iter().map(|app| (*app, Err(-2))));
                }
            }
            Question::AcquireDatastore(datastore) => {
                let short = self.number::<1>() < 0xf0;
                datastore.size = if short { self.number::<1>() as u32 } else { self.number::<4>() as u32 };
                datastore.mmap_offset = self.number::<8>();
                let Answers { processes, requested, .. } = &mut *answers;
                let next = processes[*requested..].iter().position(|(app, _)| app.pid > 0).expect("another process");
                *requested += next + 1;
                let (app, store) = &mut processes[*requested - 1];
                assert_eq!(app.pid, datastore.pid, "the datastores were requested out of order");
                *store = match (status, datastore.size) {
                    (0, size @ ..=0x40_0000) => Ok(memory(datastore.mmap_offset, size)),
                    (0, _) => Err(-27), // EFBIG
                    (status, _) => Err(status),
                };
                answers.acquired += i32::from(status == 0);
            }
            Question::ReleaseDatastore(datastore) => {
                assert!(
                    answers.processes.iter().any(|(app, _)| app.pid == datastore.pid),
                    "a datastore was released that was never acquired"
                );
                answers.acquired -= 1;
            }
        }
        status
    }

    fn put_memory(&self, offset: u64, length: u32, out: &mut dyn Write) -> io::Result<()> {
        put_record(out, 0, &memory(offset, length))
    }
}

fn memory(offset: u64, length: u32) -> Vec<u8> {
    vec![offset as u8; length as usize]
}
