//! Counters and measurements of devices, with the values that a machine has directly after its start.

use crate::driver::NeuronDriver;
use crate::efa::rdma_folder;
use crate::function::is_efa;
use crate::neuron::DEVICES;
use crate::plan::{Neuron, Plan};
use crate::tree::{Error, Tree};

/// The counters of an EFA interface (driver 3.1).
const EFA_COUNTERS: &str = "submitted_cmds completed_cmds cmds_err no_completion_cmds keep_alive_rcvd alloc_pd_err \
    create_qp_err create_cq_err reg_mr_err alloc_ucontext_err create_ah_err mmap_err";
/// The counters of an EFA interface's port (driver 3.1).
const PORT_COUNTERS: &str = "tx_bytes tx_pkts rx_bytes rx_pkts rx_drops send_bytes send_wrs recv_bytes recv_wrs rdma_read_wrs \
    rdma_read_bytes rdma_read_wr_err rdma_read_resp_bytes rdma_write_wrs rdma_write_bytes rdma_write_wr_err \
    rdma_write_recv_bytes retrans_bytes retrans_pkts retrans_timeout_events unresponsive_remote_events \
    impaired_remote_conn_events";
/// The time in milliseconds for which the kernel caches counters.
const LIFESPAN: u32 = 12;

/// Files of a Neuron device or core with the same content and mode.
struct Statistics {
    folder: &'static str,
    /// The subfolders of `folder` that have the files, one per counted item; empty if `folder` itself has the files.
    subfolders: &'static str,
    files: &'static str,
    content: &'static str,
    mode: u32,
    /// The first driver that shows the files.
    since: NeuronDriver,
    /// The first later driver that does not show the files.
    until: NeuronDriver,
    /// True if the first Inferentia has the files too.
    on_inferentia: bool,
}

use NeuronDriver::{V2_24, V2_27, V2_29, V2_30, V2_31};

/// The files of a Neuron device. The source of 2.30.2 has `fw_api_version` and `fw_build`. The driver release after
/// 2.26 that added these two files is not known.
const DEVICE_FILES: [Statistics; 10] = [
    files("", "fw_api_version fw_build", "0").mode(0o444).since(V2_30),
    files("", "reset", "1").mode(0o600),
    files("stats/hardware", ECC, "0").not_on_inferentia(),
    files("stats/hardware", "sram_ecc_corrected mem_ecc_corrected", "0").since(V2_30),
    files("stats/hardware/health_status", HEALTH_COUNTS, "0").mode(0o444).since(V2_27).until(V2_30),
    files("stats/hardware/health_status", "healthcheck_heartbeat hw_error_event", "0").mode(0o444).since(V2_30),
    files("stats/hardware/health_status", "unhealthy_components", "").mode(0o444).since(V2_30),
    files("stats/memory_usage/host_mem", SIZES, "0").subfolders(HOST_MEMORY),
    files("stats/power", "utilization", POWER),
    // `utilization_raw` has one value per die. The form of this file is not captured.
    files("stats/power", "utilization_raw", POWER).since(V2_29),
];
/// The files of a NeuronCore.
const CORE_FILES: [Statistics; 7] = [
    files("stats/status", COUNTS, "0").subfolders(STATUS),
    files("stats/memory_usage/device_mem", SIZES, "0"),
    files("stats/memory_usage/device_mem", SIZES, "0").subfolders(DEVICE_MEMORY),
    files("stats/memory_usage/host_mem", SIZES, "0"),
    files("stats/other_info", COUNTS, "0").subfolders(OTHER),
    // The driver resets each device once, when it finds the device.
    files("stats/other_info/reset_req_count", COUNTS, "1"),
    files("stats/tensor_engine", "pe_cntrs", TENSOR_ENGINE).not_on_inferentia(),
];
const SIZES: &str = "present peak total";
const COUNTS: &str = "present total";
const POWER: &str = "POWER_STATUS_NO_DATA,0,0.00,0.00,0.00";
const TENSOR_ENGINE: &str = "xrow_grp,mm_active,wl_active,idle\n0,0,0,0\n1,0,0,0\n2,0,0,0\n3,0,0,0";
const OTHER: &str = "flop_count inference_count model_load_count nc_time_in_use reset_fail_count";
const ECC: &str = "sram_ecc_uncorrected mem_ecc_uncorrected mem_ecc_repairable_uncorrected";
const HEALTH_COUNTS: &str = "hbm_ecc_err_count repairable_hbm_ecc_err_count sram_ecc_err_count hw_error_event";
const HOST_MEMORY: &str =
    "dma_buffers tensors constants application_memory driver_memory notifications dma_rings uncategorized";

const STATUS: &str = "success failure timeout exec_bad_input hw_error execute_completed_with_error \
    execute_completed_with_num_error generic_error resource_error resource_nc_error execute_failed_to_queue \
    invalid_error unsupported_neff_version oob_error hw_collectives_error hw_hbm_ue_error hw_nc_ue_error \
    hw_dma_abort_error execute_sw_nq_overflow execute_sw_semaphore_error execute_sw_event_error \
    execute_sw_psum_collision execute_sw_sequencer_fatal hw_repairable_hbm_ue_error";
const DEVICE_MEMORY: &str = "model_code tensors constants model_shared_scratchpad runtime_memory driver_memory \
    collectives nonshared_scratchpad notifications dma_rings uncategorized";

pub(crate) fn write(tree: &Tree, plan: &Plan) -> Result<(), Error> {
    for function in plan.rdma().filter(|function| is_efa(function.id)) {
        let device = rdma_folder(function);
        for (folder, counters) in [("hw_counters", EFA_COUNTERS), ("ports/1/hw_counters", PORT_COUNTERS)] {
            for name in counters.split_whitespace() {
                tree.attribute(&format!("{device}/{folder}/{name}"), 0o444, 0)?;
            }
            tree.attribute(&format!("{device}/{folder}/lifespan"), 0o644, LIFESPAN)?;
        }
    }
    let Some(neuron) = &plan.neuron else { return Ok(()) };
    for row in neuron.rows {
        let device = format!("{DEVICES}/{}", row.index);
        write_all(tree, neuron, &device, &DEVICE_FILES)?;
        for core in (0..neuron.product.cores).filter(|_| neuron.core_statistics) {
            write_all(tree, neuron, &format!("{device}/neuron_core{core}"), &CORE_FILES)?;
        }
    }
    Ok(())
}

fn write_all(tree: &Tree, neuron: &Neuron, parent: &str, all: &[Statistics]) -> Result<(), Error> {
    let is_inferentia = neuron.product.name == "Inferentia";
    let shown = |statistics: &&Statistics| {
        (statistics.since..statistics.until).contains(&neuron.driver) && (statistics.on_inferentia || !is_inferentia)
    };
    all.iter().filter(shown).try_for_each(|statistics| statistics.write(tree, parent))
}

/// Returns files of these names. Every user may read the files, root resets the files by a write, and all drivers
/// before 2.31 show the files.
const fn files(folder: &'static str, files: &'static str, content: &'static str) -> Statistics {
    Statistics { folder, subfolders: "", files, content, mode: 0o644, since: V2_24, until: V2_31, on_inferentia: true }
}

impl Statistics {
    const fn subfolders(self, subfolders: &'static str) -> Self {
        Self { subfolders, ..self }
    }

    const fn mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    const fn since(self, since: NeuronDriver) -> Self {
        Self { since, ..self }
    }

    const fn until(self, until: NeuronDriver) -> Self {
        Self { until, ..self }
    }

    const fn not_on_inferentia(self) -> Self {
        Self { on_inferentia: false, ..self }
    }

    fn write(&self, tree: &Tree, parent: &str) -> Result<(), Error> {
        let path = format!("{parent}/{}", self.folder);
        let mut subfolders = self.subfolders.split_whitespace().peekable();
        if subfolders.peek().is_none() {
            return self.write_files(tree, &path);
        }
        subfolders.try_for_each(|name| self.write_files(tree, &format!("{path}/{name}")))
    }

    fn write_files(&self, tree: &Tree, folder: &str) -> Result<(), Error> {
        let mut files = self.files.split_whitespace();
        files.try_for_each(|name| tree.attribute(&format!("{folder}/{name}"), self.mode, self.content))
    }
}
