//! Tests of the driver from outside: its work with an emulated kubelet and API server.

#![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod api_server;
mod calls;
mod handover;
mod kubelet;
mod publishing;
mod recovery;
mod serving;

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use nearfab::instances::InstanceTable;
use nearfab_dra::Config;
use nearfab_dra::error::Result;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use api_server::ApiServer;
use kubelet::Kubelet;

const NODE: &str = "node1";
const POOL: &str = "nearfab.dev/node1";
const BOOT: &str = "boot-1";

/// The tree of a trn2.48xlarge, for all tests that only read the tree. The tree is written once, because it has
/// thousands of files.
static HOST: LazyLock<PathBuf> = LazyLock::new(|| {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("trn2.48xlarge");
    if dir.exists() {
        fs::remove_dir_all(&dir).unwrap();
    }
    write_tree("trn2.48xlarge", &dir);
    dir
});

/// A node with a kubelet, an API server and devices.
struct Bed {
    dir: tempfile::TempDir,
    host: PathBuf,
    api: ApiServer,
}

/// A driver that runs on a bed.
struct Driver {
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<()>>,
}

impl Bed {
    /// Creates a bed with a node of type trn2.48xlarge.
    fn new() -> Self {
        Self::with_host(|_| HOST.clone())
    }

    /// Creates a bed with a node that has its tree at the path that `host` returns. `host` gets the bed's folder.
    fn with_host(host: impl FnOnce(&Path) -> PathBuf) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = host(dir.path());
        Self { dir, host, api: ApiServer::with_node(NODE) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn config(&self) -> Config {
        Config {
            node_name: NODE.to_owned(),
            root: self.host.clone(),
            runtime_root: "/".into(),
            kubelet_dir: self.path("kubelet"),
            cdi_dir: self.path("cdi"),
            state_dir: self.path("claims"),
            boot_id: BOOT.to_owned(),
        }
    }

    fn start(&self) -> Driver {
        self.start_with(self.config())
    }

    fn start_with(&self, config: Config) -> Driver {
        let (stop, stopped) = oneshot::channel();
        let client = self.api.client();
        let ended = tokio::spawn(nearfab_dra::run(config, client, async {
            let _ = stopped.await;
        }));
        Driver { stop, ended }
    }

    fn kubelet(&self) -> Kubelet {
        Kubelet::new(self.path("kubelet"))
    }

    /// Returns the name and text of the only file in a folder.
    fn only_file(&self, folder: &str) -> (String, String) {
        let names = names(&self.path(folder));
        assert_eq!(names.len(), 1, "{folder}: {names:?}");
        let text = fs::read_to_string(self.path(folder).join(&names[0])).unwrap();
        (names[0].clone(), text)
    }
}

impl Driver {
    async fn stop(self) {
        drop(self.stop);
        within("the driver's end", self.ended).await.unwrap().unwrap();
    }

    /// Ends the driver like SIGKILL: the lock is released, and the sockets stay without a process that listens.
    async fn kill(self, kubelet: &Kubelet) {
        self.ended.abort();
        assert!(self.ended.await.unwrap_err().is_cancelled());
        for socket in [kubelet.plugin_socket(), kubelet.registration_socket()] {
            UnixListener::bind(socket).unwrap();
        }
    }
}

fn write_tree(instance_type: &str, dir: &Path) {
    let small = [nearfab_emu::Defect::NoCoreStatistics];
    nearfab_emu::write_tree_with(InstanceTable::find(instance_type).unwrap(), &small, dir).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Waits for a future, and fails the test if the future takes too long.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let limit = Duration::from_secs(20);
    tokio::time::timeout(limit, future).await.unwrap_or_else(|_| panic!("waited {limit:?} in vain for {what}"))
}

/// Waits until a condition holds.
async fn until(what: &str, condition: impl Fn() -> bool) {
    within(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}
