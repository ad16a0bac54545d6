//! NVIDIA GPUs, as the NVIDIA driver shows them in `proc` and `dev`.

use nearfab::Bdf;

use crate::function::{Function, NVIDIA_DRIVER};
use crate::plan::{GpuView, Plan};
use crate::tree::{Error, Tree};

const DRIVER: &str = "proc/driver/nvidia";
const VERSION: &str = "580.65.06";

/// The names that the driver gives to the GPUs of the instance types.
const MODELS: [(u16, &str); 10] = [
    (0x1db5, "Tesla V100-SXM2-32GB"),
    (0x20b0, "NVIDIA A100-SXM4-40GB"),
    (0x20b2, "NVIDIA A100-SXM4-80GB"),
    (0x2237, "NVIDIA A10G"),
    (0x27b8, "NVIDIA L4"),
    (0x2330, "NVIDIA H100 80GB HBM3"),
    (0x2335, "NVIDIA H200"),
    (0x2901, "NVIDIA B200"),
    (0x2941, "NVIDIA GB200"),
    (0x3182, "NVIDIA B300 SXM6 AC"),
];

/// Returns the GPUs that the NVIDIA driver has bound, with their numbers. The driver numbers GPUs in the order of their
/// addresses.
pub(crate) fn bound(plan: &Plan) -> Vec<(u32, &Function)> {
    let mut functions: Vec<&Function> =
        plan.functions.iter().filter(|function| function.driver == Some(NVIDIA_DRIVER)).collect();
    functions.sort_unstable_by_key(|function| function.address);
    (0..).zip(functions).collect()
}

pub(crate) fn write(tree: &Tree, plan: &Plan) -> Result<(), Error> {
    let gpus = bound(plan);
    if gpus.is_empty() {
        return Ok(());
    }
    tree.attribute("sys/module/nvidia/version", 0o444, VERSION)?;
    tree.link("sys/bus/pci/drivers/nvidia/module", "sys/module/nvidia")?;
    tree.attribute(
        &format!("{DRIVER}/version"),
        0o444,
        format_args!("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {VERSION}"),
    )?;
    for name in ["nvidiactl", "nvidia-uvm"] {
        tree.device_node(&format!("dev/{name}"))?;
    }
    let GpuView { nodes, listed } = &plan.gpus;
    let is_shown = |numbers: &Option<Vec<u32>>, number| numbers.as_ref().is_none_or(|shown| shown.contains(&number));
    for (number, function) in gpus {
        if is_shown(listed, number) {
            let file = format!("{DRIVER}/gpus/{}/information", function.address);
            tree.bytes(&file, 0o444, information(number, function).as_bytes())?;
        }
        if is_shown(nodes, number) {
            tree.device_node(&format!("dev/nvidia{number}"))?;
        }
    }
    Ok(())
}

/// Returns the driver's description of a GPU, in the form captured on a host with H100 GPUs (landontclipp.github.io, notes
/// about GPUs; driver 535). The driver prints question marks for the version of the video BIOS of a GPU that is not
/// initialized.
fn information(number: u32, function: &Function) -> String {
    let model = MODELS.iter().find(|(id, _)| *id == function.id.device).map_or("Unknown", |(_, model)| model);
    let address = function.address;
    format!(
        "Model: \t\t {model}\n\
         IRQ:   \t\t 10\n\
         GPU UUID: \t {}\n\
         Video BIOS: \t ??.??.??.??.??\n\
         Bus Type: \t PCIe\n\
         DMA Size: \t 52 bits\n\
         DMA Mask: \t 0xfffffffffffff\n\
         Bus Location: \t {address}\n\
         Device Minor: \t {number}\n\
         GPU Firmware: \t {VERSION}\n\
         GPU Excluded:\t No\n",
        uuid(address)
    )
}

/// Returns a UUID that is made up from the address.
fn uuid(address: Bdf) -> String {
    let place = (u64::from(address.domain()) << 16) | (u64::from(address.bus()) << 8) | u64::from(address.device());
    format!("GPU-{:08x}-6e66-4e75-8a62-{place:012x}", place.wrapping_mul(0x9e37_79b9) & 0xffff_ffff)
}
