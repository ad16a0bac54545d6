//! Publishing: the devices of this node as a ResourceSlice, kept as it should be.
//!
//! One slice holds the node's whole pool. Others delete it in the normal course of things: the kubelet when it
//! starts, the garbage collector with the node. So the driver watches its own slices and puts them right.

use std::convert::Infallible;
use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::resource::v1::{
    Device as ApiDevice, DeviceAttribute, ResourcePool, ResourceSlice, ResourceSliceSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, ResourceExt as _};
use tokio::time::Instant;
use tokio_stream::StreamExt as _;
use tracing::{info, warn};

use crate::device::{Device, Inventory, Value};
use crate::error::{Error, Result, with_causes};
use crate::{DRIVER, api};

/// Kubernetes' limit for devices without taints and counters.
const DEVICES_PER_SLICE: usize = 128;

/// How long to wait after a failed attempt, and after a write: with someone who keeps changing the slice, the driver
/// takes turns and does not race.
const RETRY: Duration = Duration::from_secs(5);

/// What the slice of `node` says about its devices, apart from the pool's generation. Devices that could not be
/// handed out are left out.
///
/// # Errors
/// When there are more devices than a slice can hold.
pub fn slice_spec(node: &str, inventory: &Inventory) -> Result<ResourceSliceSpec> {
    let devices: Vec<_> = inventory.devices.iter().filter(|device| device.node.is_ok()).map(api_device).collect();
    if devices.len() > DEVICES_PER_SLICE {
        return Err(Error::TooManyDevices { count: devices.len(), limit: DEVICES_PER_SLICE });
    }
    Ok(ResourceSliceSpec {
        driver: DRIVER.to_owned(),
        node_name: Some(node.to_owned()),
        pool: ResourcePool { name: node.to_owned(), generation: 1, resource_slice_count: 1 },
        // A host without devices has a slice all the same: it says that the driver is there and found none.
        devices: (!devices.is_empty()).then_some(devices),
        ..Default::default()
    })
}

fn api_device(device: &Device) -> ApiDevice {
    let attribute = |value: &Value| match value.clone() {
        Value::Int(int) => DeviceAttribute { int: Some(int), ..Default::default() },
        Value::Text(string) => DeviceAttribute { string: Some(string), ..Default::default() },
    };
    let attributes = device.attributes.iter().map(|(name, value)| ((*name).to_owned(), attribute(value))).collect();
    ApiDevice { name: device.name.clone(), attributes: Some(attributes), ..Default::default() }
}

/// Keeps this node's slice in the API server equal to `spec`.
pub struct Publisher {
    slices: Api<ResourceSlice>,
    nodes: Api<Node>,
    node: String,
    /// What the slice is to say.
    wanted: ResourceSliceSpec,
    /// What the server made of it, where it did not keep it as it was. Writing it again would change nothing.
    kept: Option<ResourceSliceSpec>,
    /// When it was written last.
    written: Option<Instant>,
}

impl Publisher {
    /// Publishes `wanted` as the slice of `node`.
    pub fn new(client: Client, node: String, wanted: ResourceSliceSpec) -> Self {
        Self { slices: Api::all(client.clone()), nodes: Api::all(client), node, wanted, kept: None, written: None }
    }

    /// Publishes, watches and repairs, for ever. What fails is logged and tried again.
    pub async fn run(mut self) -> Infallible {
        let ours = watcher::Config::default().fields(&self.selector());
        let mut events = pin!(watcher::watcher(self.slices.clone(), ours).default_backoff());
        loop {
            match events.next().await {
                // Of a list that is not complete yet.
                Some(Ok(Event::Init | Event::InitApply(_))) => {}
                Some(Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_))) => {
                    if let Some(written) = self.written {
                        tokio::time::sleep_until(written + RETRY).await;
                    }
                    while let Err(error) = self.reconcile().await {
                        warn!(error = with_causes(&error), "the node's devices could not be published; trying again");
                        tokio::time::sleep(RETRY).await;
                    }
                }
                // The watcher waits before it tries again.
                Some(Err(error)) => warn!(error = with_causes(&error), "cannot watch this node's ResourceSlices"),
                None => unreachable!("a watcher goes on for ever"),
            }
        }
    }

    /// Makes the API server's slices of this node what they should be. Writes nothing when they are.
    ///
    /// # Errors
    /// When the API server refuses or does not answer.
    pub async fn reconcile(&mut self) -> Result<()> {
        let ours = ListParams::default().fields(&self.selector());
        let found = api::ask(format!("list the ResourceSlices of {}", self.node), self.slices.list(&ours)).await?;
        let name = self.slice_name();
        let (mine, strays): (Vec<_>, Vec<_>) = found.into_iter().partition(|slice| slice.name_any() == name);
        for stray in strays {
            self.delete(&stray).await?;
        }
        let owner = self.owner().await?;
        match mine.into_iter().next() {
            None => self.create(owner).await,
            Some(present) if self.says_it(&present.spec) && is_owned(&present, &owner) => Ok(()),
            Some(present) => self.update(present, owner).await,
        }
    }

    /// One of another version of this driver: two slices in a pool that says it has one make the pool invalid.
    async fn delete(&self, stray: &ResourceSlice) -> Result<()> {
        let name = stray.name_any();
        let unchanged = Preconditions { uid: stray.uid(), resource_version: stray.resource_version() };
        let parameters = DeleteParams::default().preconditions(unchanged);
        api::ask(format!("delete ResourceSlice {name}"), self.slices.delete(&name, &parameters)).await?;
        info!(slice = name, "deleted a slice of another version of this driver");
        Ok(())
    }

    async fn create(&mut self, owner: OwnerReference) -> Result<()> {
        let name = self.slice_name();
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
        let made = api::ask(format!("create ResourceSlice {name}"), request).await?;
        self.remember(made, "created");
        Ok(())
    }

    async fn update(&mut self, present: ResourceSlice, owner: OwnerReference) -> Result<()> {
        let name = self.slice_name();
        let mut slice = ResourceSlice { spec: self.wanted.clone(), ..present };
        slice.metadata.owner_references = Some(vec![owner]);
        slice.spec.pool.generation = present.spec.pool.generation + 1;
        let parameters = PostParams::default();
        let request = self.slices.replace(&name, &parameters, &slice);
        let made = api::ask(format!("update ResourceSlice {name}"), request).await?;
        self.remember(made, "updated");
        Ok(())
    }

    /// Takes note of what the server made of a slice. A field that it does not know or that someone changes on the
    /// way would otherwise be written again and again.
    fn remember(&mut self, made: ResourceSlice, done: &str) {
        let devices = made.spec.devices.as_ref().map_or(0, Vec::len);
        info!(slice = made.name_any(), devices, "{done} the node's slice");
        self.written = Some(Instant::now());
        self.kept = (!same(&made.spec, &self.wanted)).then_some(made.spec);
        if self.kept.is_some() {
            warn!("the API server did not keep the slice as it was sent: some devices may lack attributes");
        }
    }

    fn says_it(&self, present: &ResourceSliceSpec) -> bool {
        same(present, &self.wanted) || self.kept.as_ref().is_some_and(|kept| same(present, kept))
    }

    /// The node owns its slice, so that the slice goes when the node goes.
    async fn owner(&self) -> Result<OwnerReference> {
        let node = api::ask(format!("get node {}", self.node), self.nodes.get(&self.node)).await?;
        Ok(OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: self.node.clone(),
            uid: node.uid().unwrap_or_default(),
            controller: Some(true),
            block_owner_deletion: None,
        })
    }

    fn slice_name(&self) -> String {
        format!("{DRIVER}-{}", self.node)
    }

    fn selector(&self) -> String {
        format!("spec.driver={DRIVER},spec.nodeName={}", self.node)
    }
}

/// By this node and not by an earlier one of its name, with which the slice would go.
fn is_owned(slice: &ResourceSlice, owner: &OwnerReference) -> bool {
    slice.owner_references().iter().any(|present| present.uid == owner.uid)
}

/// Equal but for the generation, which only counts the changes.
fn same(a: &ResourceSliceSpec, b: &ResourceSliceSpec) -> bool {
    let mut a = a.clone();
    a.pool.generation = b.pool.generation;
    a == *b
}
