//! What devices count and measure: on a machine that was just started, nothing yet.

use nearfab::instances::InstanceTable;

use crate::efa::efa_name;
use crate::neuron::DEVICES;
use crate::pci;
use crate::tree::{Error, Tree};

/// Counters of an EFA interface (driver 3.1) and of its port.
const OF_DEVICE: &str = "submitted_cmds completed_cmds cmds_err no_completion_cmds keep_alive_rcvd alloc_pd_err \
    create_qp_err create_cq_err reg_mr_err alloc_ucontext_err create_ah_err mmap_err";
const OF_PORT: &str = "tx_bytes tx_pkts rx_bytes rx_pkts rx_drops send_bytes send_wrs recv_bytes recv_wrs rdma_read_wrs \
    rdma_read_bytes rdma_read_wr_err rdma_read_resp_bytes rdma_write_wrs rdma_write_bytes rdma_write_wr_err \
    rdma_write_recv_bytes retrans_bytes retrans_pkts retrans_timeout_events unresponsive_remote_events \
    impaired_remote_conn_events";
/// For how many milliseconds the kernel keeps what it read.
const LIFESPAN: u32 = 12;

/// What a Neuron device counts (driver 2.30), and what its memory is used for.
const ECC: &str = "sram_ecc_uncorrected mem_ecc_uncorrected mem_ecc_repairable_uncorrected sram_ecc_corrected \
    mem_ecc_corrected";
const HOST_MEMORY: &str =
    "dma_buffers tensors constants application_memory driver_memory notifications dma_rings uncategorized";
const DEVICE_MEMORY: &str = "model_code tensors constants model_shared_scratchpad runtime_memory driver_memory \
    collectives nonshared_scratchpad notifications dma_rings uncategorized";

pub(crate) fn write(tree: &Tree, table: &InstanceTable) -> Result<(), Error> {
    for row in table.efa {
        let device = format!("{}/infiniband/{}", pci::folder(row.address, row.bridges), efa_name(row.address));
        for (folder, counters) in [("hw_counters", OF_DEVICE), ("ports/1/hw_counters", OF_PORT)] {
            zeroes(tree, &format!("{device}/{folder}"), counters)?;
            tree.attribute(&format!("{device}/{folder}/lifespan"), LIFESPAN)?;
        }
    }
    let cores = table.product().map_or(0, |product| product.cores);
    for row in table.neuron {
        let device = format!("{DEVICES}/{}", row.index);
        tree.attribute(&format!("{device}/reset"), 1)?;
        tree.attribute(&format!("{device}/stats/power/utilization"), "POWER_STATUS_NO_DATA,0,0.00,0.00,0.00")?;
        zeroes(tree, &format!("{device}/stats/hardware"), ECC)?;
        memory_by_use(tree, &format!("{device}/stats/memory_usage/host_mem"), HOST_MEMORY)?;
        for core in 0..cores {
            let folder = format!("{device}/neuron_core{core}/stats/memory_usage");
            memory(tree, &format!("{folder}/host_mem"))?;
            memory(tree, &format!("{folder}/device_mem"))?;
        }
        // Of the first core only: for all of them it would be most of the tree's files.
        memory_by_use(tree, &format!("{device}/neuron_core0/stats/memory_usage/device_mem"), DEVICE_MEMORY)?;
    }
    Ok(())
}

fn memory_by_use(tree: &Tree, folder: &str, uses: &str) -> Result<(), Error> {
    uses.split_whitespace().try_for_each(|name| memory(tree, &format!("{folder}/{name}")))
}

fn memory(tree: &Tree, folder: &str) -> Result<(), Error> {
    zeroes(tree, folder, "present peak total")
}

fn zeroes(tree: &Tree, folder: &str, names: &str) -> Result<(), Error> {
    names.split_whitespace().try_for_each(|name| tree.attribute(&format!("{folder}/{name}"), 0))
}
