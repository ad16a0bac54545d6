//! Publishes the devices of this node as a ResourceSlice, and restores the slice when another program changes the
//! slice.
//!
//! A single slice holds the node's whole pool. Other programs delete the slice regularly: the kubelet deletes the slice
//! when the kubelet starts, and the garbage collector deletes the slice with the node. The driver therefore watches its
//! own slices and repairs them.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::resource::v1::{ResourceSlice, ResourceSliceSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tracing::{info, warn};

use crate::error::{Error, Result, with_causes};
use crate::model::Model;
use crate::model::slices::{DEVICES_PER_SLICE, Pool};
use crate::{DRIVER, api};

/// How long to wait after a failed attempt, and after a write. If another program keeps changing the slice, the driver
/// writes at most once in this time.
const RETRY: Duration = Duration::from_secs(5);

/// Returns the only slice of a model.
///
/// # Errors
/// When a slice cannot hold the devices of the model.
pub fn only_slice(model: &Model) -> Result<ResourceSlice> {
    let mut slices = model.pools.iter().flat_map(Pool::slices);
    match (slices.next(), slices.next()) {
        (Some(slice), None) => Ok(slice),
        _ => {
            let count = model.pools.iter().map(|pool| pool.devices.len()).sum();
            Err(Error::TooManyDevices { count, limit: DEVICES_PER_SLICE })
        }
    }
}

/// Keeps this node's slice in the API server equal to the wanted contents.
pub struct Publisher {
    slices: Api<ResourceSlice>,
    nodes: Api<Node>,
    node: String,
    /// The name of the slice.
    name: String,
    /// The contents that the driver writes.
    wanted: ResourceSliceSpec,
    /// The contents that the server stored, if these contents differ from `wanted`. Writing `wanted` again would change
    /// nothing.
    stored: Option<ResourceSliceSpec>,
    /// When the driver wrote the slice last.
    last_write: Option<Instant>,
}

impl Publisher {
    /// Returns a publisher of `wanted` as the slice of `node`.
    pub fn new(client: Client, node: String, wanted: ResourceSlice) -> Self {
        Self {
            slices: Api::all(client.clone()),
            nodes: Api::all(client),
            node,
            name: wanted.name_any(),
            wanted: wanted.spec,
            stored: None,
            last_write: None,
        }
    }

    /// Publishes, watches and repairs the slice for ever. Logs each failed attempt and tries again.
    pub async fn run(mut self) -> Infallible {
        let selected = watcher::Config::default().fields(&self.selector());
        let mut events = pin!(watcher::watcher(self.slices.clone(), selected).default_backoff());
        loop {
            match events.next().await {
                // `Init` and `InitApply` are parts of a list. `InitDone` follows when the list is complete.
                Some(Ok(Event::Init | Event::InitApply(_))) => {}
                Some(Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_))) => {
                    if let Some(last_write) = self.last_write {
                        tokio::time::sleep_until(last_write + RETRY).await;
                    }
                    while let Err(error) = self.reconcile().await {
                        warn!(error = with_causes(&error), "cannot publish the node's devices: trying again");
                        tokio::time::sleep(RETRY).await;
                    }
                }
                // The watcher itself waits and tries again.
                Some(Err(error)) => {
                    warn!(error = with_causes(&error), "cannot watch the node's ResourceSlices: trying again")
                }
                None => unreachable!("a watcher's stream never ends"),
            }
        }
    }

    /// Makes this node's slices in the API server equal to the wanted contents. Writes nothing if the slices are
    /// already equal.
    ///
    /// # Errors
    /// When the API server refuses a request or does not answer.
    pub async fn reconcile(&mut self) -> Result<()> {
        let selected = ListParams::default().fields(&self.selector());
        let found =
            api::request(format!("list the ResourceSlices of {}", self.node), self.slices.list(&selected)).await?;
        let name = self.name.clone();
        let (own, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|slice| slice.name_any() == name);
        for other in others {
            self.delete(&other).await?;
        }
        let owner = self.owner().await?;
        match own.into_iter().next() {
            None => self.create(owner).await,
            Some(present) if self.is_up_to_date(&present.spec) && is_owned_by(&present, &owner) => Ok(()),
            Some(present) => self.update(present, owner).await,
        }
    }

    /// Deletes a slice that another version of this driver wrote. A pool with `resourceSliceCount` 1 and two slices is
    /// invalid.
    async fn delete(&self, other: &ResourceSlice) -> Result<()> {
        let name = other.name_any();
        let unchanged = Preconditions { uid: other.uid(), resource_version: other.resource_version() };
        let parameters = DeleteParams::default().preconditions(unchanged);
        api::request(format!("delete ResourceSlice {name}"), self.slices.delete(&name, &parameters)).await?;
        info!(slice = name, "deleted a slice of another version of this driver");
        Ok(())
    }

    async fn create(&mut self, owner: OwnerReference) -> Result<()> {
        let name = self.name.clone();
        let slice = ResourceSlice {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                owner_references: Some(vec![owner]),
                ..Default::default()
            },
            spec: self.wanted.clone(),
        };
        let parameters = PostParams::default();
        let request = self.slices.create(&parameters, &slice);
        let stored = api::request(format!("create ResourceSlice {name}"), request).await?;
        self.note_write(stored, "created");
        Ok(())
    }

    async fn update(&mut self, present: ResourceSlice, owner: OwnerReference) -> Result<()> {
        let name = self.name.clone();
        let mut slice = ResourceSlice { spec: self.wanted.clone(), ..present };
        slice.metadata.owner_references = Some(vec![owner]);
        slice.spec.pool.generation = present.spec.pool.generation + 1;
        let parameters = PostParams::default();
        let request = self.slices.replace(&name, &parameters, &slice);
        let stored = api::request(format!("update ResourceSlice {name}"), request).await?;
        self.note_write(stored, "updated");
        Ok(())
    }

    /// Notes the slice that the server stored. An older server drops fields that it does not know. An admission webhook
    /// can change fields. Without this note the driver would write such fields again and again.
    fn note_write(&mut self, stored: ResourceSlice, action: &str) {
        let devices = stored.spec.devices.as_ref().map_or(0, Vec::len);
        info!(slice = stored.name_any(), devices, "{action} the node's slice");
        self.last_write = Some(Instant::now());
        self.stored = (!equal_but_generation(&stored.spec, &self.wanted)).then_some(stored.spec);
        if self.stored.is_some() {
            warn!("the API server did not store the slice as the driver sent it: devices may lack attributes");
        }
    }

    /// Returns true if writing the slice would change nothing.
    fn is_up_to_date(&self, present: &ResourceSliceSpec) -> bool {
        let is_stored = |stored| equal_but_generation(present, stored);
        equal_but_generation(present, &self.wanted) || self.stored.as_ref().is_some_and(is_stored)
    }

    /// Returns the owner of the slice: the node. With this owner, the garbage collector deletes the slice with the
    /// node.
    async fn owner(&self) -> Result<OwnerReference> {
        let node = api::request(format!("get node {}", self.node), self.nodes.get(&self.node)).await?;
        Ok(OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: self.node.clone(),
            uid: node.uid().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        })
    }

    fn selector(&self) -> String {
        format!("spec.driver={DRIVER},spec.nodeName={}", self.node)
    }
}

/// Returns true if `owner` owns the slice. An earlier node of the same name has another UID. The garbage collector
/// would delete the slice of the earlier node.
fn is_owned_by(slice: &ResourceSlice, owner: &OwnerReference) -> bool {
    slice.owner_references().iter().any(|present| present.uid == owner.uid)
}

/// Returns true if two slices are equal apart from the generation. The generation only counts the changes.
fn equal_but_generation(a: &ResourceSliceSpec, b: &ResourceSliceSpec) -> bool {
    let mut a = a.clone();
    a.pool.generation = b.pool.generation;
    a == *b
}
