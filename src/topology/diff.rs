//! Compares two snapshots of a host.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::host::Host;
use crate::types::{Bdf, HostDevice};

/// A difference between two snapshots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Change {
    /// The part of the host that differs.
    pub subject: Subject,
    /// The difference.
    #[serde(flatten)]
    pub what: WhatChanged,
}

/// The part of a host that a difference is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Subject {
    /// The host as a whole.
    Host,
    /// A NUMA node.
    Numa {
        /// The number of the node.
        node: u32,
    },
    /// An EFA interface.
    Efa {
        /// The PCI address.
        address: Bdf,
    },
    /// A Neuron device.
    Neuron {
        /// The number of the device.
        index: HostDevice,
    },
    /// A Neuron PCI function without a driver.
    Driverless {
        /// The PCI address.
        address: Bdf,
    },
    /// A Neuron PCI function whose device number is unknown.
    Unnumbered {
        /// The PCI address.
        address: Bdf,
    },
    /// A GPU.
    Gpu {
        /// The PCI address.
        address: Bdf,
    },
    /// An RDMA device that is not an EFA interface.
    OtherRdma {
        /// The name of the device.
        name: String,
    },
    /// A sentence of [`Host::problems`].
    Problem {
        /// The sentence.
        text: String,
    },
}

/// A kind of difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "snake_case")]
#[non_exhaustive]
pub enum WhatChanged {
    /// Only the newer snapshot has the part.
    Appeared,
    /// Only the older snapshot has the part.
    Vanished,
    /// Both snapshots have the part, with different values of one field.
    Changed {
        /// The field, named as in the JSON form. Inner fields follow a point: `port.state`.
        field: String,
        /// The older value as in the JSON form. A text has no quotes.
        before: String,
        /// The newer value, in the same form.
        after: String,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => write!(f, "the host"),
            Self::Numa { node } => write!(f, "NUMA node {node}"),
            Self::Efa { address } => write!(f, "EFA interface {address}"),
            Self::Neuron { index } => write!(f, "{index}"),
            Self::Driverless { address } => write!(f, "driverless Neuron function {address}"),
            Self::Unnumbered { address } => write!(f, "Neuron function {address} of unknown number"),
            Self::Gpu { address } => write!(f, "GPU {address}"),
            Self::OtherRdma { name } => write!(f, "RDMA device {name}"),
            Self::Problem { text } => write!(f, "problem {text:?}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            WhatChanged::Appeared => write!(f, "{} appeared", self.subject),
            WhatChanged::Vanished => write!(f, "{} vanished", self.subject),
            WhatChanged::Changed { field, before, after } => {
                write!(f, "{}: {field} was {before}, is {after}", self.subject)
            }
        }
    }
}

impl Host {
    /// Returns the differences to a newer snapshot, in the order host, NUMA nodes, EFA interfaces, Neuron devices,
    /// other parts.
    ///
    /// A host holds no counters and no other values that change by themselves, so each entry is news. The origin of the
    /// two snapshots is not compared. [Details](Host::with_details) are compared if both snapshots have them.
    ///
    /// ```
    /// use nearfab::Host;
    /// let host = Host::from_instance("trn2.48xlarge")?;
    /// let newer = Host::from_json(&host.to_json().replace("0-47,96-143", "0-46,96-143"))?;
    /// let changes: Vec<String> = host.diff(&newer).iter().map(ToString::to_string).collect();
    /// assert_eq!(changes[0], "NUMA node 0: cpus was 0-47,96-143, is 0-46,96-143");
    /// # Ok::<(), nearfab::Error>(())
    /// ```
    #[must_use]
    pub fn diff(&self, newer: &Self) -> Vec<Change> {
        let (older, mut newer) = (parts(self), parts(newer));
        let mut changes = Vec::new();
        for (subject, before) in older {
            match newer.remove(&subject) {
                None => changes.push(Change { subject, what: WhatChanged::Vanished }),
                Some(after) => compare(&subject, "", &before, &after, &mut changes),
            }
        }
        changes.extend(newer.into_keys().map(|subject| Change { subject, what: WhatChanged::Appeared }));
        // The sort is stable: the fields of one subject keep their order.
        changes.sort_by(|a, b| a.subject.cmp(&b.subject));
        changes
    }
}

/// Splits a host into the parts that have an identity, each in its JSON form.
fn parts(host: &Host) -> BTreeMap<Subject, Value> {
    let mut parts = BTreeMap::new();
    let mut add = |subject, value: Value| parts.insert(subject, value);
    let whole = Map::from_iter([
        ("instance_type".to_owned(), value(&host.instance_type())),
        ("efa_driver".to_owned(), value(&host.efa_driver())),
        ("neuron_driver".to_owned(), value(&host.neuron_driver())),
        ("lnc".to_owned(), value(&host.lnc())),
    ]);
    add(Subject::Host, Value::Object(whole));
    for node in host.numa_nodes() {
        add(Subject::Numa { node: node.node }, value(node));
    }
    for efa in host.efa_interfaces() {
        add(Subject::Efa { address: efa.address() }, value(efa));
    }
    for device in host.neuron_devices() {
        add(Subject::Neuron { index: device.index }, value(device));
    }
    for function in host.driverless() {
        add(Subject::Driverless { address: function.address }, value(function));
    }
    for function in host.unnumbered() {
        add(Subject::Unnumbered { address: function.address }, value(function));
    }
    for gpu in host.gpus() {
        add(Subject::Gpu { address: gpu.address() }, value(gpu));
    }
    for device in host.other_rdma() {
        add(Subject::OtherRdma { name: device.name.clone() }, value(device));
    }
    for problem in host.problems() {
        add(Subject::Problem { text: problem.clone() }, Value::Null);
    }
    parts
}

/// Returns the JSON form of a part.
fn value(part: &impl Serialize) -> Value {
    serde_json::to_value(part).expect("a part has text keys and no type whose serialization fails")
}

fn compare(subject: &Subject, field: &str, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    if before == after {
        return;
    }
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        let (before, after) = (text(before), text(after));
        let what = WhatChanged::Changed { field: field.to_owned(), before, after };
        changes.push(Change { subject: subject.clone(), what });
        return;
    };
    let mut names: Vec<&String> = old.keys().collect();
    names.extend(new.keys().filter(|name| !old.contains_key(*name)));
    for name in names {
        if is_detail(name) && [old, new].iter().any(|fields| is_unread(fields.get(name))) {
            continue;
        }
        let inner = if field.is_empty() { name.clone() } else { format!("{field}.{name}") };
        let of = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
        compare(subject, &inner, &of(old), &of(new), changes);
    }
}

/// Returns true for the members that [`Host::with_details`] reads.
fn is_detail(name: &str) -> bool {
    ["serial", "link"].contains(&name)
}

/// Returns true if a detail has no value.
fn is_unread(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(members)) => members.values().all(Value::is_null),
        Some(_) => false,
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
