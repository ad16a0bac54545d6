//! The kubelet's protocols, generated from `proto/`.

/// How a plugin makes itself known to the kubelet.
pub mod registration {
    tonic::include_proto!("pluginregistration");
}

/// What the kubelet asks of a DRA driver.
pub mod dra {
    tonic::include_proto!("k8s.io.kubelet.pkg.apis.dra.v1");
}
