//! The kubelet's protocols, made from `dra/proto` by `cargo xtask generate`.

/// How a plugin makes itself known to the kubelet.
pub mod registration {
    include!("proto/registration.rs");
}

/// What the kubelet asks of a DRA driver.
pub mod dra {
    include!("proto/dra.rs");
}
