//! The cluster's programs, built from Go modules and kept by version in the user's cache folder.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use tempfile::TempDir;

use super::versions::Versions;
use crate::run::{output, say, visibly};
use crate::{go, tools};

/// Returns the folders of all programs of the bed. A program that is not in the cache is built.
///
/// # Errors
/// If Go is missing or too old, or a build fails.
pub(crate) fn binaries(versions: &Versions) -> Result<Vec<PathBuf>> {
    let cache = tools::cache()?.join("cluster");
    let modules = [kubernetes(versions), etcd(versions), containerd(versions)];
    let folders = modules.iter().map(|module| {
        let folder = cache.join(format!("{}-{}", module.name, module.version));
        if !folder.exists() {
            go::require(&versions.go)?;
            module.build(&folder, &versions.go)?;
        }
        Ok(folder)
    });
    folders.collect()
}

/// Commands of a Go module at a version.
struct Module<'a> {
    name: &'static str,
    version: &'a str,
    path: &'static str,
    commands: &'static [&'static str],
    /// The name of the program, if it is not the last part of the package's path.
    rename: Option<&'static str>,
    linker_flags: String,
    tags: &'static str,
}

fn kubernetes(versions: &Versions) -> Module<'_> {
    let version = &versions.kubernetes;
    let minor = version.split('.').nth(1).unwrap_or_default();
    // Without these flags the server reports v0.0.0, and the feature gates of that version.
    let package = "k8s.io/component-base/version";
    let linker_flags = format!(
        "-s -w -X {package}.gitVersion=v{version} -X {package}.gitMajor=1 -X {package}.gitMinor={minor} -X {package}.gitTreeState=clean"
    );
    Module {
        name: "kubernetes",
        version,
        path: "k8s.io/kubernetes",
        commands: &[
            "k8s.io/kubernetes/cmd/kube-apiserver",
            "k8s.io/kubernetes/cmd/kube-scheduler",
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "k8s.io/kubernetes/cmd/kubelet",
            "k8s.io/kubernetes/cmd/kubectl",
        ],
        rename: None,
        linker_flags,
        tags: "",
    }
}

fn etcd(versions: &Versions) -> Module<'_> {
    Module {
        name: "etcd",
        version: &versions.etcd,
        path: "go.etcd.io/etcd/server/v3",
        commands: &["go.etcd.io/etcd/server/v3"],
        rename: Some("etcd"),
        linker_flags: "-s -w".to_owned(),
        tags: "",
    }
}

fn containerd(versions: &Versions) -> Module<'_> {
    let version = &versions.containerd;
    Module {
        name: "containerd",
        version,
        path: "github.com/containerd/containerd/v2",
        commands: &[
            "github.com/containerd/containerd/v2/cmd/containerd",
            "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            "github.com/containerd/containerd/v2/cmd/ctr",
        ],
        rename: None,
        linker_flags: format!("-s -w -X github.com/containerd/containerd/v2/version.Version={version}"),
        tags: "no_btrfs no_devmapper no_zfs",
    }
}

impl Module<'_> {
    /// Builds beside `folder` and moves the result to `folder`, so that an interrupted build does not look finished.
    fn build(&self, folder: &Path, go: &str) -> Result<()> {
        let Self { name, version, .. } = self;
        say(format_args!("building {name} {version} from Go modules"));
        let parent = folder.parent().context("the cache folder is the root")?;
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        let work = TempDir::with_prefix_in(format!(".{name}-{version}-"), parent)
            .with_context(|| parent.display().to_string())?;
        let source = work.path().join("source");
        let binaries = work.path().join("binaries");
        fs::create_dir(&source)?;
        fs::create_dir(&binaries)?;
        fs::write(source.join("go.mod"), self.go_mod(&source, go)?)?;
        let target = binaries.join(self.rename.unwrap_or_default());
        visibly(
            go::command(&source)
                .args(["build", "-mod=mod", "-trimpath", "-tags", self.tags])
                .args(["-ldflags", &self.linker_flags, "-o"])
                .arg(target)
                .args(self.commands),
        )?;
        match fs::rename(&binaries, folder) {
            // Another run built the same version meanwhile.
            Err(_) if folder.exists() => Ok(()),
            moved => moved.with_context(|| folder.display().to_string()),
        }
    }

    /// Returns the text of a Go module that requires this module.
    fn go_mod(&self, source: &Path, go: &str) -> Result<String> {
        let Self { path, version, .. } = self;
        let mut text = format!("module bed\n\ngo {go}\n\nrequire {path} v{version}\n");
        for staging in self.staging_modules(source)? {
            let version = format!("v0.{}", version.trim_start_matches("1."));
            writeln!(text, "require {staging} {version}")?;
            writeln!(text, "replace {staging} => {staging} {version}")?;
        }
        Ok(text)
    }

    /// Returns the modules that Kubernetes publishes from its tree. Kubernetes requires these modules as v0.0.0 and
    /// replaces the modules by folders.
    /// Go uses replacements of the main module only, so the module of the bed must name the published versions.
    fn staging_modules(&self, source: &Path) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Download {
            go_mod: PathBuf,
        }
        let module = format!("{}@v{}", self.path, self.version);
        let answer = output(go::command(source).args(["mod", "download", "-json", &module]))?;
        let Download { go_mod } =
            serde_json::from_str(&answer).with_context(|| format!("go mod download -json {module}"))?;
        let text = fs::read_to_string(&go_mod).with_context(|| go_mod.display().to_string())?;
        let required = text.lines().filter_map(|line| {
            let line = line.trim().trim_start_matches("require ");
            let (path, version) = line.split_once(' ')?;
            (version == "v0.0.0").then(|| path.to_owned())
        });
        Ok(required.collect())
    }
}
