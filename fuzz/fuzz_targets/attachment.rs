//! What a probe's child tells its parent: a driver answers as the input says, and what the parent reads is what the driver
//! said, or nothing where some of it is missing.

#![no_main]

use std::cell::RefCell;
use std::ffi::c_int;
use std::io::{self, Write};

use attached::{Attachment, put, put_record};
use libfuzzer_sys::fuzz_target;
use nearfab_sys::neuron::{AppInfo, AppsInfo, DatastoreInfo, MAX_PROCESSES};

#[expect(dead_code, reason = "its parent module uses all of it")]
#[path = "../../src/runtime/neuron/attached.rs"]
mod attached;

/// The questions of the module, as its parent module has them.
pub(crate) enum Question<'a> {
    HostDevice(&'a mut u32),
    Processes(&'a mut AppsInfo),
    AcquireDatastore(&'a mut DatastoreInfo),
    ReleaseDatastore(&'a mut DatastoreInfo),
}

/// What the module asks.
pub(crate) trait Node {
    fn ask(&self, question: Question<'_>) -> c_int;
    fn put_memory(&self, offset: u64, length: u32, out: &mut dyn Write) -> io::Result<()>;
}

fuzz_target!(|input: &[u8]| {
    let _ = Attachment::read(1, input);
    let driver = Driver { rest: RefCell::new(input), said: RefCell::default() };
    let mut written = Vec::new();
    put(&driver, &mut written).expect("memory takes all");
    let cut = usize::from(driver.number::<2>() as u16);
    let said = driver.said.into_inner();
    let read = Attachment::read(7, &written).expect("it is whole").expect("it was opened");
    assert_eq!(read.child, 7);
    assert_eq!(read.host_device, said.host_device);
    assert_eq!(read.processes.as_ref().err(), said.refusal.as_ref());
    let processes = read.processes.unwrap_or_default();
    assert_eq!(processes.len(), said.processes.len());
    for (read, (app, datastore)) in processes.iter().zip(&said.processes) {
        let shown = (read.pid, read.locked_cores, read.host_memory, read.device_memory);
        assert_eq!(shown, (app.pid, app.nc_lock_map, app.host_mem_size, app.device_mem_size));
        assert_eq!(&read.datastore, datastore);
    }
    assert_eq!(said.kept, 0, "a datastore was not given back");
    if cut < written.len() {
        assert!(Attachment::read(7, &written[..cut]).is_none(), "of {} bytes {cut} are not whole", written.len());
    }
});

/// A driver that says what the input has next, zeroes after its end.
struct Driver<'a> {
    rest: RefCell<&'a [u8]>,
    said: RefCell<Said>,
}

struct Said {
    host_device: Result<u32, c_int>,
    refusal: Option<c_int>,
    processes: Vec<(AppInfo, Result<Vec<u8>, c_int>)>,
    /// Of how many of them the datastore was asked for, or none is.
    asked: usize,
    /// Datastores that were acquired and not released.
    kept: i32,
}

impl Default for Said {
    fn default() -> Self {
        Self { host_device: Err(0), refusal: None, processes: Vec::new(), asked: 0, kept: 0 }
    }
}

impl Driver<'_> {
    /// A number of so many bytes.
    fn number<const BYTES: usize>(&self) -> u64 {
        let mut rest = self.rest.borrow_mut();
        let (taken, left) = rest.split_at(BYTES.min(rest.len()));
        *rest = left;
        taken.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    /// Most answers are good.
    fn status(&self) -> c_int {
        let byte = self.number::<1>() as u8;
        if byte < 0xf0 { 0 } else { c_int::from(byte as i8) }
    }
}

impl Node for Driver<'_> {
    fn ask(&self, question: Question<'_>) -> c_int {
        let status = self.status();
        let mut said = self.said.borrow_mut();
        match question {
            Question::HostDevice(device) => {
                *device = self.number::<4>() as u32;
                said.host_device = if status == 0 { Ok(*device) } else { Err(status) };
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
                said.refusal = Some(status).filter(|status| *status != 0);
                if status == 0 {
                    // What is said of those that are not asked about.
                    said.processes.extend(apps.apps[..count].iter().map(|app| (*app, Err(-2))));
                }
            }
            Question::AcquireDatastore(datastore) => {
                let short = self.number::<1>() < 0xf0;
                datastore.size = if short { self.number::<1>() as u32 } else { self.number::<4>() as u32 };
                datastore.mmap_offset = self.number::<8>();
                let Said { processes, asked, .. } = &mut *said;
                let next = processes[*asked..].iter().position(|(app, _)| app.pid > 0).expect("one to ask about");
                *asked += next + 1;
                let (app, store) = &mut processes[*asked - 1];
                assert_eq!(app.pid, datastore.pid, "out of order");
                *store = match (status, datastore.size) {
                    (0, size @ ..=0x40_0000) => Ok(memory(datastore.mmap_offset, size)),
                    (0, _) => Err(-27), // EFBIG
                    (status, _) => Err(status),
                };
                said.kept += i32::from(status == 0);
            }
            Question::ReleaseDatastore(datastore) => {
                assert!(said.processes.iter().any(|(app, _)| app.pid == datastore.pid), "never acquired");
                said.kept -= 1;
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
