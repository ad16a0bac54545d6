//! libnrt in this process: loaded, and initialized on request.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use nearfab_sys::nrt::{
    MissingSymbol, NRT_FRAMEWORK_TYPE_NO_FW, NRT_INVALID, NRT_STATUS, Nrt, OLD_INSTANCE_INFO, nrt_instance_info_t,
    nrt_version_t,
};

use super::instance::NeuronInstance;
use super::status::{NeuronFailure, NeuronStatus};
use crate::error::{Error, Result};
use crate::live::context::c_values::text;
use crate::live::process::{Owned, PerProcess};
use crate::live::vendor;
use crate::tables::version_rules::Version;
use crate::types::{Bdf, ContainerDevice, HostDevice};

/// The device in errors that are not about a device.
const PROCESS: &str = "this process";

/// libnrt, loaded but not initialized by this handle. libnrt answers the questions of this type at any time.
///
/// Loading libnrt opens no device and reserves no core. nearfab uses the copy of libnrt that the process has loaded,
/// else the copy that [`crate::vendor`] finds. nearfab never unloads libnrt.
#[derive(Debug, Clone, Copy)]
pub struct NeuronRuntime {
    library: &'static Nrt,
    state: &'static Owned<State>,
}

/// The state of libnrt in a process, as nearfab has changed it.
#[derive(Debug)]
struct State {
    /// Whether nearfab has begun to initialize libnrt. In a child forked after that, nothing in libnrt works.
    begun: AtomicBool,
    /// Locked for writing while nearfab initializes or closes libnrt, and for reading during each other call: no call
    /// of nearfab runs while nearfab closes libnrt.
    phase: RwLock<Phase>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Loaded,
    Initialized,
    Closed,
}

static STATE: PerProcess<State> = PerProcess::new();

impl State {
    fn new(inherited: Option<&Owned<Self>>) -> Result<Self> {
        match inherited {
            Some(parent) if parent.value.begun.load(Ordering::SeqCst) => Err(Error::Forked { owner: parent.owner }),
            _ => Ok(Self { begun: AtomicBool::new(false), phase: RwLock::new(Phase::Loaded) }),
        }
    }

    fn change(&self) -> RwLockWriteGuard<'_, Phase> {
        self.phase.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A version of libnrt.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RuntimeVersion {
    /// The number, with four parts.
    pub number: Version,
    /// The library's description of the version.
    pub detail: String,
    /// The commit that the library was built from.
    pub commit: String,
}

impl NeuronRuntime {
    /// Loads libnrt, unless the process has loaded it.
    ///
    /// ```
    /// use nearfab::context::neuron::NeuronRuntime;
    /// match NeuronRuntime::load() {
    ///     Ok(libnrt) => println!("libnrt {}, {} logical cores", libnrt.version()?.number, libnrt.total_cores()?),
    ///     Err(missing) => println!("{missing}"),
    /// }
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Library`]: libnrt cannot be loaded. [`Error::SeveralLibraries`]: the process has loaded several copies.
    /// [`Error::Forked`]: nearfab had begun to initialize libnrt in the parent before this process was forked.
    pub fn load() -> Result<Self> {
        let state = STATE.get(State::new)?;
        Ok(Self { library: vendor::nrt()?, state })
    }

    /// Returns the libnrt that the process has loaded; `None` if the process has not loaded libnrt.
    pub(super) fn mapped() -> Result<Option<Self>> {
        if vendor::is_nrt_mapped() { Self::load().map(Some) } else { Ok(None) }
    }

    /// Calls libnrt. Fails in a forked child; waits while nearfab initializes or closes libnrt.
    fn call<T>(&self, call: impl FnOnce(&Nrt) -> Result<T>) -> Result<T> {
        let state = self.state.get()?;
        let _unchanged = state.phase.read().unwrap_or_else(PoisonError::into_inner);
        call(self.library)
    }

    /// Returns the library's version.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`]: libnrt is too old to answer. [`Error::Call`]: libnrt fails. [`Error::Forked`]: in a
    /// forked child.
    #[doc(alias = "nrt_get_version")]
    pub fn version(&self) -> Result<RuntimeVersion> {
        self.call(|nrt| {
            let function = present(nrt.nrt_get_version())?;
            let mut raw = nrt_version_t {
                rt_major: 0,
                rt_minor: 0,
                rt_patch: 0,
                rt_maintenance: 0,
                rt_detail: [0; 128],
                git_hash: [0; 64],
            };
            // SAFETY: `raw` is a local structure of the function's type. The function writes at most the given size,
            // which is the size of the structure. The documentation of libnrt allows the call at any time, also before
            // `nrt_init`.
            let status = unsafe { function(&raw mut raw, size_of::<nrt_version_t>()) };
            check(nrt, "nrt_get_version", status, PROCESS)?;
            let numbers = [raw.rt_major, raw.rt_minor, raw.rt_patch, raw.rt_maintenance];
            let number = Version::of(numbers.map(|number| u32::try_from(number).unwrap_or(u32::MAX)));
            Ok(RuntimeVersion { number, detail: text(&raw.rt_detail), commit: text(&raw.git_hash) })
        })
    }

    /// Returns the number of logical cores of the machine, or of this container.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`]: libnrt is too old to answer. [`Error::Call`]: libnrt fails. [`Error::Forked`]: in a
    /// forked child.
    #[doc(alias = "nrt_get_total_vnc_count")]
    #[doc(alias = "nrt_get_total_nc_count")]
    pub fn total_cores(&self) -> Result<u32> {
        self.call(|nrt| {
            let newer = ("nrt_get_total_vnc_count", nrt.nrt_get_total_vnc_count());
            count(nrt, newer, ("nrt_get_total_nc_count", nrt.nrt_get_total_nc_count()))
        })
    }

    /// Returns the number of logical cores that this process's environment allows it to use.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`]: libnrt is too old to answer. [`Error::Call`]: libnrt fails. [`Error::Forked`]: in a
    /// forked child.
    #[doc(alias = "nrt_get_visible_vnc_count")]
    #[doc(alias = "nrt_get_visible_nc_count")]
    pub fn visible_cores(&self) -> Result<u32> {
        self.call(|nrt| {
            let newer = ("nrt_get_visible_vnc_count", nrt.nrt_get_visible_vnc_count());
            count(nrt, newer, ("nrt_get_visible_nc_count", nrt.nrt_get_visible_nc_count()))
        })
    }

    /// Returns the instance type that libnrt detects.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`]: libnrt is too old to answer. [`Error::Call`]: libnrt fails. [`Error::Forked`]: in a
    /// forked child.
    #[doc(alias = "nrt_get_instance_info")]
    pub fn instance(&self) -> Result<NeuronInstance> {
        self.call(|nrt| {
            let function = present(nrt.nrt_get_instance_info())?;
            let mut raw = nrt_instance_info_t::default();
            // SAFETY: `raw` is a local structure of the function's type. The function writes at most the given size,
            // which is the size of the structure.
            let mut status = unsafe { function(&raw mut raw, size_of::<nrt_instance_info_t>()) };
            if status == NRT_INVALID {
                raw = nrt_instance_info_t::default();
                // SAFETY: `raw` is longer than `OLD_INSTANCE_INFO`, the size of the structure in older libraries, and
                // the function writes at most the given size.
                status = unsafe { function(&raw mut raw, OLD_INSTANCE_INFO) };
            }
            check(nrt, "nrt_get_instance_info", status, PROCESS)?;
            Ok(NeuronInstance::of(&raw))
        })
    }

    /// Describes a status: the library's text, the status's name in C, and its number.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    #[doc(alias = "nrt_get_status_as_str")]
    pub fn describe(&self, status: NeuronStatus) -> Result<String> {
        self.call(|nrt| Ok(failure(nrt, status).to_string()))
    }

    /// Returns the EFA interface that libnrt assigns to the Neuron device whose memory is at `address`.
    pub(super) fn attached_efa(&self, address: *const c_void) -> Result<Bdf> {
        const NAME: &str = "nrt_get_attached_efa_bdf";
        self.call(|nrt| {
            let function = present(nrt.nrt_get_attached_efa_bdf())?;
            let device = || format!("address {address:p}");
            let mut buffer: [c_char; 64] = [0; 64];
            let mut length = buffer.len();
            // SAFETY: the function writes at most `length` bytes to `buffer`, which has that many. The function
            // compares the address with the device allocations of the process, and does not dereference the address.
            let status = unsafe { function(address, buffer.as_mut_ptr(), &raw mut length) };
            check(nrt, NAME, status, &device())?;
            let text = text(&buffer);
            let none = || io::Error::other(format!("it returned {text:?}, which is no PCI address"));
            text.parse().map_err(|_| Error::Call { function: NAME, device: device(), cause: none() })
        })
    }

    /// Initializes libnrt (`nrt_init`). libnrt then reads the environment, opens the devices, and reserves the cores
    /// that this process may use, until the [`InitializedRuntime`] is closed or dropped.
    ///
    /// libnrt can be initialized once in a process. After a failure, such as held cores, call `init` again to retry.
    ///
    /// Do not fork after `init`: nothing in libnrt works in the child, and nearfab does not call libnrt there.
    ///
    /// # Safety
    ///
    /// Nothing else in this process uses libnrt: not before the call, and not until the returned runtime is closed or
    /// dropped (or until the process ends, if the runtime is never closed or dropped). A framework such as PyTorch, JAX
    /// or vLLM initializes libnrt itself; do not call `init` in its process. The reason: the state of libnrt belongs to
    /// the whole process, some of its functions expect no second user, and `nrt_close` frees the memory, models and
    /// cores of every user.
    ///
    /// Safe code cannot initialize libnrt:
    ///
    /// ```compile_fail,E0133
    /// # fn main() -> Result<(), nearfab::Error> {
    /// let runtime = nearfab::context::neuron::NeuronRuntime::load()?.init()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Error::Call`]: `nrt_init` fails (see [`NeuronStatus::of`]), or nearfab has initialized libnrt in this process
    /// before. [`Error::MissingSymbol`]: the library is no libnrt. [`Error::Forked`]: in a forked child.
    #[doc(alias = "nrt_init")]
    pub unsafe fn init(&self) -> Result<InitializedRuntime> {
        const NAME: &str = "nrt_init";
        let state = self.state.get()?;
        let mut phase = state.change();
        let reason = match *phase {
            Phase::Loaded => None,
            Phase::Initialized => Some("it is initialized"),
            Phase::Closed => Some("it was initialized and closed"),
        };
        if let Some(already) = reason {
            let reason = format!("{already} in this process; libnrt can be initialized once in a process");
            let cause = io::Error::new(io::ErrorKind::AlreadyExists, reason);
            return Err(Error::Call { function: NAME, device: PROCESS.to_owned(), cause });
        }
        let init = present(self.library.nrt_init())?;
        let close = present(self.library.nrt_close())?;
        state.begun.store(true, Ordering::SeqCst);
        // SAFETY: both texts end with a zero byte and are static. No other call runs in libnrt: the write lock excludes
        // the calls of nearfab, and the caller promises that there are no other calls.
        let status = unsafe { init(NRT_FRAMEWORK_TYPE_NO_FW, c"".as_ptr(), c"".as_ptr()) };
        check(self.library, NAME, status, PROCESS)?;
        *phase = Phase::Initialized;
        Ok(InitializedRuntime { loaded: *self, close, is_open: true })
    }
}

/// libnrt, initialized by [`NeuronRuntime::init`]. The initialized libnrt holds the cores of this process. A process
/// can make one such value, once.
///
/// [`close`](Self::close) closes libnrt (`nrt_close`), and so does dropping the value. nearfab closes libnrt once, and
/// only in the process in which `init` initialized it. nearfab never closes a libnrt that a framework initialized. In a
/// forked child, dropping does nothing.
///
/// ```compile_fail,E0382
/// # fn main() -> Result<(), nearfab::Error> {
/// use nearfab::context::neuron::NeuronRuntime;
/// // SAFETY: nothing else in this process uses libnrt.
/// let libnrt = unsafe { NeuronRuntime::load()?.init() }?;
/// libnrt.close()?;
/// libnrt.logical_core_size()?; // A closed runtime cannot be used.
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct InitializedRuntime {
    loaded: NeuronRuntime,
    close: unsafe extern "C" fn(),
    is_open: bool,
}

impl InitializedRuntime {
    /// Returns the loaded library, for the questions that need no initialization.
    #[must_use]
    pub fn loaded(&self) -> NeuronRuntime {
        self.loaded
    }

    /// Returns the host's number of a device.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`]: libnrt is too old to answer. [`Error::Call`]: libnrt fails. [`Error::Forked`]: in a
    /// forked child.
    #[doc(alias = "nrt_host_device_id_get")]
    pub fn host_device(&self, device: ContainerDevice) -> Result<HostDevice> {
        const NAME: &str = "nrt_host_device_id_get";
        self.loaded.call(|nrt| {
            let function = present(nrt.nrt_host_device_id_get())?;
            let mut host = 0;
            // SAFETY: the function writes one `u32` to `host`. libnrt is initialized, as the function requires: this
            // value exists, and the read lock excludes closing.
            let status = unsafe { function(number(NAME, device)?, &raw mut host) };
            check(nrt, NAME, status, &named(device))?;
            Ok(HostDevice(host))
        })
    }

    /// Returns the PCI address of a device.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`]: libnrt is too old to answer. [`Error::Call`]: libnrt fails. [`Error::Forked`]: in a
    /// forked child.
    #[doc(alias = "nec_get_device_pci_bdf")]
    pub fn address(&self, device: ContainerDevice) -> Result<Bdf> {
        const NAME: &str = "nec_get_device_pci_bdf";
        self.loaded.call(|nrt| {
            let function = present(nrt.nec_get_device_pci_bdf())?;
            let (mut domain, mut bus, mut slot, mut part) = (0, 0, 0, 0);
            let device_number = number(NAME, device)?;
            // SAFETY: the function writes one `u32` to each of the four numbers. libnrt is initialized, as the function
            // requires: this value exists, and the read lock excludes closing.
            let status =
                unsafe { function(device_number, &raw mut domain, &raw mut bus, &raw mut slot, &raw mut part) };
            let failed =
                |text: String| Error::Call { function: NAME, device: named(device), cause: io::Error::other(text) };
            if status != 0 {
                return Err(failed(format!("it returned {status}")));
            }
            let text = format!("{domain:04x}:{bus:02x}:{slot:02x}.{part:x}");
            text.parse().map_err(|_| failed(format!("it returned {text}, which is no PCI address")))
        })
    }

    /// Returns how many physical cores form one logical core in this process (LNC).
    ///
    /// # Errors
    /// [`Error::MissingSymbol`]: libnrt is too old to answer. [`Error::Call`]: libnrt fails. [`Error::Forked`]: in a
    /// forked child.
    #[doc(alias = "nec_get_virtual_core_size")]
    pub fn logical_core_size(&self) -> Result<u32> {
        self.loaded.call(|nrt| count_by(nrt, "nec_get_virtual_core_size", present(nrt.nec_get_virtual_core_size())?))
    }

    /// Closes libnrt (`nrt_close`) and releases the cores. libnrt cannot be initialized again in this process.
    ///
    /// # Errors
    /// [`Error::Forked`]: in a forked child. Nothing is closed there.
    #[doc(alias = "nrt_close")]
    pub fn close(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.is_open = false;
        let state = self.loaded.state.get()?;
        let mut phase = state.change();
        *phase = Phase::Closed;
        // SAFETY: `init` of this value succeeded in this process, as `state.get` shows, and `end` runs once: `close`
        // takes the value, and `is_open` keeps `drop` from a second call. No other call runs in libnrt: the write lock
        // excludes the calls of nearfab, and the caller of `init` promised that there are no other calls and that
        // nothing uses libnrt's objects.
        unsafe { (self.close)() };
        Ok(())
    }
}

impl Drop for InitializedRuntime {
    fn drop(&mut self) {
        if self.is_open {
            // `end` fails in a forked child only. The parent's libnrt stays open.
            let _ = self.end();
        }
    }
}

fn present<F>(function: std::result::Result<F, MissingSymbol>) -> Result<F> {
    function.map_err(|MissingSymbol { library, name }| Error::MissingSymbol { library, symbol: name })
}

type Count = unsafe extern "C" fn(*mut u32) -> NRT_STATUS;
type NamedCount = (&'static str, std::result::Result<Count, MissingSymbol>);

/// Calls a counting function by its newer name, or by its older name if the library lacks the newer.
fn count(nrt: &Nrt, newer: NamedCount, older: NamedCount) -> Result<u32> {
    match (newer, older) {
        ((_, Err(_)), (name, Ok(function))) => count_by(nrt, name, function),
        ((name, function), _) => count_by(nrt, name, present(function)?),
    }
}

fn count_by(nrt: &Nrt, name: &'static str, function: Count) -> Result<u32> {
    let mut count = 0;
    // SAFETY: each function of this type writes one `u32` to `count`. libnrt's headers allow the counting of cores
    // before `nrt_init`; `nec_get_virtual_core_size` is called by an initialized runtime only.
    let status = unsafe { function(&raw mut count) };
    check(nrt, name, status, PROCESS)?;
    Ok(count)
}

fn check(nrt: &Nrt, function: &'static str, status: NRT_STATUS, device: &str) -> Result<()> {
    let status = NeuronStatus(status);
    if status == NeuronStatus::SUCCESS {
        return Ok(());
    }
    let cause = io::Error::other(failure(nrt, status));
    Err(Error::Call { function, device: device.to_owned(), cause })
}

/// Returns a status with the library's text for this status, if the library has such a text.
fn failure(nrt: &Nrt, status: NeuronStatus) -> NeuronFailure {
    let text = nrt.nrt_get_status_as_str().ok().and_then(|function| {
        // SAFETY: the function takes any number and returns a text or null.
        let text = unsafe { function(status.0) };
        // SAFETY: the text is not null, ends with a zero byte, and is a constant of the library, which is never
        // unloaded.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    });
    NeuronFailure { status, text }
}

fn number(function: &'static str, device: ContainerDevice) -> Result<c_int> {
    c_int::try_from(device.0).map_err(|_| {
        let cause = io::Error::from(io::ErrorKind::InvalidInput);
        Error::Call { function, device: named(device), cause }
    })
}

fn named(device: ContainerDevice) -> String {
    format!("device {device} (this process's number)")
}
