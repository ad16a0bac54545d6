//! libnrt in this process: loaded, and by request initialized.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockWriteGuard};

use nearfab_sys::nrt::{MissingSymbol, NRT_FRAMEWORK_TYPE_NO_FW, NRT_INVALID, NRT_STATUS, Nrt};
use nearfab_sys::nrt::{OLD_INSTANCE_INFO, nrt_instance_info_t, nrt_version_t};

use super::instance::NeuronInstance;
use super::status::{NeuronFailure, NeuronStatus};
use crate::error::{Error, Result};
use crate::live::context::c_values::text;
use crate::live::process::{Owned, PerProcess};
use crate::live::vendor;
use crate::tables::version_rules::Version;
use crate::types::{Bdf, ContainerDevice, HostDevice};

/// What is asked about where it is no device.
const PROCESS: &str = "this process";

/// libnrt, loaded and no more: what can be asked of it at any time.
///
/// Loading it opens no device and reserves no core. The library is the one that the process has already, or else the one that
/// [`crate::runtime`] finds. It is never unloaded.
#[derive(Debug, Clone, Copy)]
pub struct NeuronRuntime {
    library: &'static Nrt,
    state: &'static Owned<State>,
}

/// What libnrt went through in a process, as far as nearfab did it.
#[derive(Debug)]
struct State {
    /// Whether initializing was begun. A child that is forked after that has a library in which nothing works.
    begun: AtomicBool,
    /// Written by who initializes or closes, read by all who call: a call and the closing never meet.
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
    /// The number, of four parts.
    pub number: Version,
    /// More about it, as the library says it.
    pub detail: String,
    /// The commit that it was made from.
    pub commit: String,
}

impl NeuronRuntime {
    /// Loads libnrt, unless the process has it.
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
    /// [`Error::Library`], [`Error::SeveralLibraries`]: there is none, or more than one. [`Error::Forked`]: this process was forked
    /// from one in which nearfab had initialized it, or had begun to.
    pub fn load() -> Result<Self> {
        let state = STATE.get(State::new)?;
        Ok(Self { library: vendor::nrt()?, state })
    }

    /// The libnrt that the process has already, loaded by whomever.
    pub(super) fn mapped() -> Result<Option<Self>> {
        if vendor::is_nrt_mapped() { Self::load().map(Some) } else { Ok(None) }
    }

    /// Calls the library, in the process that loaded it and not while it is initialized or closed.
    fn call<T>(&self, call: impl FnOnce(&Nrt) -> Result<T>) -> Result<T> {
        let state = self.state.get()?;
        let _unchanged = state.phase.read().unwrap_or_else(PoisonError::into_inner);
        call(self.library)
    }

    /// The library's version.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`], [`Error::Call`] where the library cannot tell, [`Error::Forked`] in a forked child.
    #[doc(alias = "nrt_get_version")]
    pub fn version(&self) -> Result<RuntimeVersion> {
        self.call(|nrt| {
            let function = there(nrt.nrt_get_version())?;
            let mut raw = nrt_version_t {
                rt_major: 0,
                rt_minor: 0,
                rt_patch: 0,
                rt_maintenance: 0,
                rt_detail: [0; 128],
                git_hash: [0; 64],
            };
            // SAFETY: the structure may be written, as far as its size says.
            let status = unsafe { function(&raw mut raw, size_of::<nrt_version_t>()) };
            check(nrt, "nrt_get_version", status, PROCESS)?;
            let numbers = [raw.rt_major, raw.rt_minor, raw.rt_patch, raw.rt_maintenance];
            let number = Version::of(numbers.map(|number| u32::try_from(number).unwrap_or(u32::MAX)));
            Ok(RuntimeVersion { number, detail: text(&raw.rt_detail), commit: text(&raw.git_hash) })
        })
    }

    /// How many logical cores the machine has, or this container.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`], [`Error::Call`] where the library cannot tell, [`Error::Forked`] in a forked child.
    #[doc(alias = "nrt_get_total_vnc_count")]
    #[doc(alias = "nrt_get_total_nc_count")]
    pub fn total_cores(&self) -> Result<u32> {
        self.call(|nrt| {
            let newer = ("nrt_get_total_vnc_count", nrt.nrt_get_total_vnc_count());
            count(nrt, newer, ("nrt_get_total_nc_count", nrt.nrt_get_total_nc_count()))
        })
    }

    /// How many of them this process may use, by its environment.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`], [`Error::Call`] where the library cannot tell, [`Error::Forked`] in a forked child.
    #[doc(alias = "nrt_get_visible_vnc_count")]
    #[doc(alias = "nrt_get_visible_nc_count")]
    pub fn visible_cores(&self) -> Result<u32> {
        self.call(|nrt| {
            let newer = ("nrt_get_visible_vnc_count", nrt.nrt_get_visible_vnc_count());
            count(nrt, newer, ("nrt_get_visible_nc_count", nrt.nrt_get_visible_nc_count()))
        })
    }

    /// What instance the library takes this machine for.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`], [`Error::Call`] where the library cannot tell, [`Error::Forked`] in a forked child.
    #[doc(alias = "nrt_get_instance_info")]
    pub fn instance(&self) -> Result<NeuronInstance> {
        self.call(|nrt| {
            let function = there(nrt.nrt_get_instance_info())?;
            let mut raw = nrt_instance_info_t::default();
            // SAFETY: the structure may be written, as far as its size says.
            let mut status = unsafe { function(&raw mut raw, size_of::<nrt_instance_info_t>()) };
            if status == NRT_INVALID {
                raw = nrt_instance_info_t::default();
                // SAFETY: as above; an older library knows the structure's beginning alone.
                status = unsafe { function(&raw mut raw, OLD_INSTANCE_INFO) };
            }
            check(nrt, "nrt_get_instance_info", status, PROCESS)?;
            Ok(NeuronInstance::of(&raw))
        })
    }

    /// What a status means: in the library's words and by its name, as far as there are any.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    #[doc(alias = "nrt_get_status_as_str")]
    pub fn describe(&self, status: NeuronStatus) -> Result<String> {
        self.call(|nrt| Ok(failure(nrt, status).to_string()))
    }

    /// The EFA interface that is attached to the device whose memory is at an address.
    pub(super) fn attached_efa(&self, address: *const c_void) -> Result<Bdf> {
        const NAME: &str = "nrt_get_attached_efa_bdf";
        self.call(|nrt| {
            let function = there(nrt.nrt_get_attached_efa_bdf())?;
            let device = || format!("address {address:p}");
            let mut buffer: [c_char; 64] = [0; 64];
            let mut length = buffer.len();
            // SAFETY: so much of the buffer may be written as the length says. The address is compared with those of the
            // process's device memory, and not followed.
            let status = unsafe { function(address, buffer.as_mut_ptr(), &raw mut length) };
            check(nrt, NAME, status, &device())?;
            let text = text(&buffer);
            let none = || io::Error::other(format!("it answers {text:?}, which is no PCI address"));
            text.parse().map_err(|_| Error::Call { function: NAME, device: device(), source: none() })
        })
    }

    /// Initializes libnrt: it reads the environment, opens the devices and reserves the cores that this process may use, for
    /// itself alone, until [`InitializedRuntime`] is closed or dropped. That works once in a process, for nearfab as for
    /// everybody: where something else in the process uses libnrt, a framework for one, it initializes it itself, and this is not
    /// to be called. After a failure, as when the cores are held, it can be called again.
    ///
    /// The process is not to fork after it: a child has a library in which nothing works. nearfab does not call it there.
    ///
    /// # Errors
    /// [`Error::Call`]: it fails, see [`NeuronStatus::of`], or this process has initialized it before. [`Error::MissingSymbol`]: it is
    /// no libnrt. [`Error::Forked`] in a forked child.
    #[doc(alias = "nrt_init")]
    pub fn init(&self) -> Result<InitializedRuntime> {
        const NAME: &str = "nrt_init";
        let state = self.state.get()?;
        let mut phase = state.change();
        let refused = match *phase {
            Phase::Loaded => None,
            Phase::Initialized => Some("it is initialized"),
            Phase::Closed => Some("it was initialized and closed"),
        };
        if let Some(already) = refused {
            let reason = format!("{already} in this process, which works once");
            let source = io::Error::new(io::ErrorKind::AlreadyExists, reason);
            return Err(Error::Call { function: NAME, device: PROCESS.to_owned(), source });
        }
        let init = there(self.library.nrt_init())?;
        let close = there(self.library.nrt_close())?;
        state.begun.store(true, Ordering::SeqCst);
        // SAFETY: both texts end with a zero byte; no other call of nearfab's is in the library, as the lock shows.
        let status = unsafe { init(NRT_FRAMEWORK_TYPE_NO_FW, c"".as_ptr(), c"".as_ptr()) };
        check(self.library, NAME, status, PROCESS)?;
        *phase = Phase::Initialized;
        Ok(InitializedRuntime { loaded: *self, close, is_open: true })
    }
}

/// libnrt, initialized here: the cores of this process are reserved as long as this is there. There is one in a process, once.
///
/// Dropping closes it. In a forked child, dropping touches nothing.
///
/// ```compile_fail,E0382
/// # fn main() -> Result<(), nearfab::Error> {
/// use nearfab::context::neuron::NeuronRuntime;
/// let libnrt = NeuronRuntime::load()?.init()?;
/// libnrt.close()?;
/// libnrt.logical_core_size()?; // What is closed cannot be asked.
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
    /// What can be asked at any time.
    #[must_use]
    pub fn loaded(&self) -> NeuronRuntime {
        self.loaded
    }

    /// The host's number of a device.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`], [`Error::Call`] where the library cannot tell, [`Error::Forked`] in a forked child.
    #[doc(alias = "nrt_host_device_id_get")]
    pub fn host_device(&self, device: ContainerDevice) -> Result<HostDevice> {
        const NAME: &str = "nrt_host_device_id_get";
        self.loaded.call(|nrt| {
            let function = there(nrt.nrt_host_device_id_get())?;
            let mut host = 0;
            // SAFETY: the number may be written.
            let status = unsafe { function(number(NAME, device)?, &raw mut host) };
            check(nrt, NAME, status, &named(device))?;
            Ok(HostDevice(host))
        })
    }

    /// The PCI address of a device.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`], [`Error::Call`] where the library cannot tell, [`Error::Forked`] in a forked child.
    #[doc(alias = "nec_get_device_pci_bdf")]
    pub fn address(&self, device: ContainerDevice) -> Result<Bdf> {
        const NAME: &str = "nec_get_device_pci_bdf";
        self.loaded.call(|nrt| {
            let function = there(nrt.nec_get_device_pci_bdf())?;
            let (mut domain, mut bus, mut slot, mut part) = (0, 0, 0, 0);
            let device_number = number(NAME, device)?;
            // SAFETY: each of the numbers may be written.
            let status =
                unsafe { function(device_number, &raw mut domain, &raw mut bus, &raw mut slot, &raw mut part) };
            let failed =
                |text: String| Error::Call { function: NAME, device: named(device), source: io::Error::other(text) };
            if status != 0 {
                return Err(failed(format!("it answers {status}")));
            }
            let text = format!("{domain:04x}:{bus:02x}:{slot:02x}.{part:x}");
            text.parse().map_err(|_| failed(format!("it answers {text}, which is no PCI address")))
        })
    }

    /// How many physical cores are a logical one in this process (LNC).
    ///
    /// # Errors
    /// [`Error::MissingSymbol`], [`Error::Call`] where the library cannot tell, [`Error::Forked`] in a forked child.
    #[doc(alias = "nec_get_virtual_core_size")]
    pub fn logical_core_size(&self) -> Result<u32> {
        self.loaded.call(|nrt| counted(nrt, "nec_get_virtual_core_size", there(nrt.nec_get_virtual_core_size())?))
    }

    /// Closes libnrt and gives the cores back. Its calls fail from then on, and it is not initialized again in this process.
    ///
    /// # Errors
    /// [`Error::Forked`] in a forked child.
    #[doc(alias = "nrt_close")]
    pub fn close(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.is_open = false;
        let state = self.loaded.state.get()?;
        let mut phase = state.change();
        *phase = Phase::Closed;
        // SAFETY: it was initialized, in this process; nobody else closes it, and this is the only time; no other call of nearfab's is
        // in the library, as the lock shows.
        unsafe { (self.close)() };
        Ok(())
    }
}

impl Drop for InitializedRuntime {
    fn drop(&mut self) {
        if self.is_open {
            // The only failure is that of a forked child, and the parent's own lives on.
            let _ = self.end();
        }
    }
}

fn there<F>(function: std::result::Result<F, MissingSymbol>) -> Result<F> {
    function.map_err(|MissingSymbol { library, name }| Error::MissingSymbol { library, symbol: name })
}

type Count = unsafe extern "C" fn(*mut u32) -> NRT_STATUS;
type Named = (&'static str, std::result::Result<Count, MissingSymbol>);

/// By the newer name of a function, or else by its older one.
fn count(nrt: &Nrt, newer: Named, older: Named) -> Result<u32> {
    match (newer, older) {
        ((_, Err(_)), (name, Ok(function))) => counted(nrt, name, function),
        ((name, function), _) => counted(nrt, name, there(function)?),
    }
}

fn counted(nrt: &Nrt, name: &'static str, function: Count) -> Result<u32> {
    let mut count = 0;
    // SAFETY: the number may be written.
    let status = unsafe { function(&raw mut count) };
    check(nrt, name, status, PROCESS)?;
    Ok(count)
}

fn check(nrt: &Nrt, function: &'static str, status: NRT_STATUS, device: &str) -> Result<()> {
    let status = NeuronStatus(status);
    if status == NeuronStatus::SUCCESS {
        return Ok(());
    }
    let source = io::Error::other(failure(nrt, status));
    Err(Error::Call { function, device: device.to_owned(), source })
}

/// A status with the library's words for it, if it has any.
fn failure(nrt: &Nrt, status: NeuronStatus) -> NeuronFailure {
    let words = nrt.nrt_get_status_as_str().ok().and_then(|function| {
        // SAFETY: any number may be asked about.
        let words = unsafe { function(status.0) };
        // SAFETY: not null, it is a text of the library's own that is never freed.
        (!words.is_null()).then(|| unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned())
    });
    NeuronFailure { status, words }
}

fn number(function: &'static str, device: ContainerDevice) -> Result<c_int> {
    c_int::try_from(device.0).map_err(|_| {
        let source = io::Error::from(io::ErrorKind::InvalidInput);
        Error::Call { function, device: named(device), source }
    })
}

fn named(device: ContainerDevice) -> String {
    format!("device {device} of those that this process sees")
}
