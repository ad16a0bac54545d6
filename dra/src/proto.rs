//! The kubelet's gRPC interfaces, generated from `dra/proto` by `cargo xtask generate`.

/// The kubelet's plugin registration interface.
pub mod registration {
    include!("proto/registration.rs");
}

/// The kubelet's interface for DRA drivers.
pub mod dra {
    include!("proto/dra.rs");
}
