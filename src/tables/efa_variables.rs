//! The environment variables of libfabric's efa provider.

/// The variables that the efa provider of at least one libfabric up to 2.6 reads, without the prefix `FI_EFA_`. The
/// provider ignores any other variable and does not report it. Source: `prov/efa/src/efa_env.c` of libfabric, and the
/// other files of the provider that read variables.
#[rustfmt::skip]
pub const EFA_VARIABLES: &[&str] = &[
    "CQ_SIZE", "DIRECT_CQ_OPS", "EFA_CQ_READ_SIZE", "ENABLE_SAS_ORDERING", "ENABLE_SHM_TRANSFER", "FORK_SAFE", "HOST_ID_FILE", "IFACE",
    "IMPLICIT_AV_SIZE", "INTERNAL_RX_REFILL_THRESHOLD", "INTER_MAX_GDRCOPY_MESSAGE_SIZE", "INTER_MAX_MEDIUM_MESSAGE_SIZE",
    "INTER_MIN_READ_MESSAGE_SIZE", "INTER_MIN_READ_WRITE_SIZE", "INTER_READ_SEGMENT_SIZE", "MAX_MEMCPY_SIZE", "MAX_TIMEOUT",
    "MR_CACHE_ENABLE", "MR_MAX_CACHED_COUNT", "MR_MAX_CACHED_SIZE", "MTU_SIZE", "READCOPY_POOL_SIZE", "RECVWIN_SIZE", "RUNT_SIZE",
    "RX_COPY_OOO", "RX_COPY_UNEXP", "RX_IOV_LIMIT", "RX_SIZE", "RX_WINDOW_SIZE", "SET_CUDA_SYNC_MEMOPS", "SHM_AV_SIZE",
    "SHM_CQ_READ_SIZE", "SHM_MAX_MEDIUM_SIZE", "TIMEOUT_INTERVAL", "TRACK_MR", "TX_IOV_LIMIT", "TX_MIN_CREDITS", "TX_QUEUE_SIZE",
    "TX_SIZE", "USE_DATA_PATH_DIRECT", "USE_DEVICE_RDMA", "USE_HUGE_PAGE", "USE_HW_CNTR", "USE_SM2", "USE_SQ_REQ_ID_64_BIT",
    "USE_UNSOLICITED_WRITE_RECV", "USE_ZCPY_RX", "WRITE_SEGMENT_SIZE", "ZCPY_RX_SEED",
];
