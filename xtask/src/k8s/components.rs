//! The components' command lines. Paths are those inside the bed.

use std::process::Command;

use super::{NODE, cgroup::Cgroup};

/// The path of the state folder in the bed. This path is short: the path of a socket has at most 107 bytes, and the
/// path of the checkout may have as many.
pub(crate) const BED: &str = "/run/bed";

/// The kubelet's usual folder; a tmpfs in the bed.
pub(crate) const KUBELET: &str = "/var/lib/kubelet";

/// The folder where the runtime reads the CDI files that drivers write.
pub(crate) const CDI: &str = "/run/cdi";

/// The node's address.
pub(crate) const ADDRESS: &str = "10.123.0.1";

/// The address of the service `kubernetes`. The node has this address too, and the API server listens on the service's port, so
/// pods reach it without kube-proxy.
pub(crate) const SERVICE: &str = "10.96.0.1";

const ETCD: &str = "http://127.0.0.1:2379";

pub(crate) fn etcd() -> Command {
    let mut command = Command::new("etcd");
    command
        .args(["--data-dir", "/run/bed/etcd", "--unsafe-no-fsync"])
        .args(["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD])
        .args(["--listen-peer-urls", "http://127.0.0.1:2380"]);
    command
}

pub(crate) fn containerd() -> Command {
    let mut command = Command::new("containerd");
    command.args(["--config", "/run/bed/config/containerd.toml"]);
    command
}

pub(crate) fn apiserver() -> Command {
    let mut command = Command::new("kube-apiserver");
    command.arg(format!("--etcd-servers={ETCD}")).arg(format!("--advertise-address={ADDRESS}")).args([
        "--secure-port=443",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--tls-cert-file=/run/bed/pki/apiserver.crt",
        "--tls-private-key-file=/run/bed/pki/apiserver.key",
        "--cert-dir=/run/bed/pki",
        "--token-auth-file=/run/bed/config/tokens.csv",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--service-account-issuer=https://bed",
        "--service-account-key-file=/run/bed/pki/service-accounts.pub",
        "--service-account-signing-key-file=/run/bed/pki/service-accounts.key",
        // For logs and exec: no name server resolves the node's name.
        "--kubelet-preferred-address-types=InternalIP",
    ]);
    command
}

pub(crate) fn controller_manager() -> Command {
    let mut command = Command::new("kube-controller-manager");
    command.args([
        "--kubeconfig=/run/bed/controller-manager.kubeconfig",
        "--service-account-private-key-file=/run/bed/pki/service-accounts.key",
        "--root-ca-file=/run/bed/pki/ca.crt",
        "--use-service-account-credentials",
        "--leader-elect=false",
        // With the default limits, the controller manager's requests for its many credentials take four seconds.
        "--kube-api-qps=500",
        "--kube-api-burst=500",
    ]);
    command
}

pub(crate) fn scheduler() -> Command {
    let mut command = Command::new("kube-scheduler");
    command.args(["--kubeconfig=/run/bed/scheduler.kubeconfig", "--leader-elect=false"]);
    command
}

pub(crate) fn kubelet(cgroup: &Cgroup) -> Command {
    let mut command = Command::new("kubelet");
    command
        .args(["--kubeconfig=/run/bed/kubelet.kubeconfig", "--config=/run/bed/config/kubelet.yaml"])
        .arg(format!("--root-dir={KUBELET}"))
        .arg(format!("--hostname-override={NODE}"))
        .arg(format!("--node-ip={ADDRESS}"))
        .arg(format!("--cgroup-root={}", cgroup.root()))
        .arg("--v=2");
    command
}

/// Returns the command that loads a container image for the kubelet.
pub(crate) fn import(archive: &str) -> Command {
    let mut command = ctr();
    command.args(["images", "import"]).arg(format!("{BED}/images/{archive}"));
    command
}

/// Returns the command of containerd's client, in the kubelet's namespace.
pub(crate) fn ctr() -> Command {
    let mut command = Command::new("ctr");
    command.args(["--address=/run/containerd/containerd.sock", "--namespace=k8s.io"]);
    command
}

/// Returns the command of kubectl as the cluster's administrator, inside the bed.
pub(crate) fn kubectl() -> Command {
    let mut command = Command::new("kubectl");
    command.args(["--kubeconfig=/run/bed/admin.kubeconfig", "--request-timeout=10s"]);
    command
}
