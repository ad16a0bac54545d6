//! The files that the components read, written into the bed's state folder before a component starts.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::image::{self, Entry};
use crate::run::{output, workspace};

/// The names of the fixed files, and their texts from tests/cluster/config.
const FILES: &[(&str, &str)] = &[
    ("containerd.toml", include_str!("../../../tests/cluster/config/containerd.toml")),
    ("kubelet.yaml", include_str!("../../../tests/cluster/config/kubelet.yaml")),
    ("tokens.csv", include_str!("../../../tests/cluster/config/tokens.csv")),
    ("cni/10-bed.conflist", include_str!("../../../tests/cluster/config/cni.conflist")),
    // The bed reaches no other network, so no name is resolved.
    ("resolv.conf", "nameserver 127.0.0.1\n"),
];

/// Container images, by the archive's file name.
pub(crate) const IMAGES: [&str; 2] = ["pause.tar", "box.tar"];

/// Writes all files below `state`.
///
/// # Errors
/// If a file cannot be written, or openssl or the C compiler fails.
pub(crate) fn write(state: &Path) -> Result<()> {
    let config = state.join("config");
    fs::create_dir_all(config.join("cni"))?;
    for (name, text) in FILES {
        fs::write(config.join(name), text)?;
    }
    keys(&state.join("pki"))?;
    kubeconfigs(state)?;
    images(&state.join("images"))
}

fn keys(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let openssl = |arguments: &[&str]| output(Command::new("openssl").current_dir(folder).args(arguments)).map(drop);
    const NEW: [&str; 8] = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj"];
    openssl(&[&NEW[..], &["/CN=bed", "-keyout", "ca.key", "-out", "ca.crt"]].concat())?;
    // The certificate that the API server makes lacks 127.0.0.1. Clients that use neither OpenSSL nor Go refuse a
    // certificate that is also its authority.
    openssl(
        &[
            &NEW[..],
            &["/CN=kube-apiserver", "-CA", "ca.crt", "-CAkey", "ca.key"],
            &["-addext", "basicConstraints=critical,CA:FALSE"],
            &["-addext", "subjectAltName=IP:127.0.0.1,IP:10.123.0.1,IP:10.96.0.1,DNS:kubernetes.default.svc"],
            &["-keyout", "apiserver.key", "-out", "apiserver.crt"],
        ]
        .concat(),
    )?;
    openssl(&["genrsa", "-out", "service-accounts.key", "2048"])?;
    openssl(&["rsa", "-in", "service-accounts.key", "-pubout", "-out", "service-accounts.pub"])
}

/// Writes a kubeconfig for each user in tokens.csv. A user's token is the user's name.
fn kubeconfigs(state: &Path) -> Result<()> {
    let (_, tokens) = FILES.iter().find(|(name, _)| *name == "tokens.csv").context("tokens.csv")?;
    for user in tokens.lines().filter_map(|line| line.split(',').next()) {
        kubeconfig(state, user, user)?;
    }
    Ok(())
}

/// Writes the kubeconfig that a user with a token needs to reach the API server from inside the bed's network.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn kubeconfig(state: &Path, user: &str, token: &str) -> Result<()> {
    // The certificate's path is relative to this file, because the file's paths inside and outside of the bed differ.
    let text = format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: bed, cluster: {{server: 'https://127.0.0.1:443', certificate-authority: pki/ca.crt}}}}]
users: [{{name: {user}, user: {{token: {token}}}}}]
contexts: [{{name: bed, context: {{cluster: bed, user: {user}}}}}]
current-context: bed
"
    );
    let file = state.join(format!("{user}.kubeconfig"));
    fs::write(&file, text).with_context(|| file.display().to_string())
}

fn images(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    let pause = folder.join("pause");
    let source = workspace().join("tests/cluster/pause.c");
    output(Command::new("gcc").args(["-static", "-Os", "-s", "-o"]).args([&pause, &source]))?;
    let [pause_archive, box_archive] = IMAGES.map(|name| folder.join(name));
    image::write(&pause_archive, "bed.local/pause:1", &[Entry::Program("pause", &pause)])?;

    let busybox = Path::new("/bin/busybox");
    ensure!(
        !fs::read(busybox)?.windows(4).any(|bytes| bytes == b"/ld-"),
        "{} is not a static program, and a container with no other file cannot run it: apt-get install busybox-static",
        busybox.display()
    );
    let entries = [
        Entry::Program("bin/busybox", busybox),
        Entry::Link("bin/sh", "busybox"),
        Entry::Link("bin/sleep", "busybox"),
        Entry::Link("bin/env", "busybox"),
        Entry::Link("bin/find", "busybox"),
    ];
    image::write(&box_archive, "bed.local/box:1", &entries)
}
