//! The allocator program of one version of Kubernetes, from `tests/allocator/`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::resource::v1::{DeviceClass, DeviceRequestAllocationResult, ResourceClaim, ResourceSlice};
use serde::Deserialize;
use serde_json::{Value, json};

/// A running allocator.
pub(crate) struct Judge {
    program: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    last_attempt: Duration,
}

/// What a claim gets.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// The devices, in the order of the requests.
    Allocated(Vec<DeviceRequestAllocationResult>),
    /// The claim does not fit.
    Refused,
    /// The allocator failed, which stops the pod on all nodes.
    Error(String),
}

/// What a selector gives on the devices of a driver.
#[derive(Debug, PartialEq)]
pub(crate) struct Evaluation {
    /// The number of devices.
    pub(crate) evaluated: usize,
    /// The devices on which the evaluation failed, with the reason.
    pub(crate) errors: Vec<String>,
}

/// A line that the program writes.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Answer {
    error: Option<String>,
    refused: bool,
    devices: Vec<DeviceRequestAllocationResult>,
    micros: u64,
    evaluated: usize,
    errors: Vec<String>,
}

impl Judge {
    pub(crate) fn start(program: &Path) -> Self {
        let mut program = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (program.stdin.take().unwrap(), BufReader::new(program.stdout.take().unwrap()));
        Self { program, input, output, last_attempt: Duration::ZERO }
    }

    /// Forgets all slices, classes and claims.
    pub(crate) fn reset(&mut self) {
        self.ask(&json!({"op": "reset"}));
    }

    /// Replaces all slices.
    pub(crate) fn slices(&mut self, slices: &[ResourceSlice]) {
        self.ask(&json!({"op": "slices", "slices": slices}));
    }

    /// Replaces all classes.
    pub(crate) fn classes(&mut self, classes: &[DeviceClass]) {
        self.ask(&json!({"op": "classes", "classes": classes}));
    }

    /// Makes one attempt for a node. The devices stay with the claim until it is freed.
    pub(crate) fn allocate(&mut self, claim: &ResourceClaim, node: &str) -> Outcome {
        let answer = self.raw(&json!({"op": "allocate", "claim": claim, "node": node}));
        self.last_attempt = Duration::from_micros(answer.micros);
        match answer {
            Answer { error: Some(error), .. } => Outcome::Error(error),
            Answer { refused: true, .. } => Outcome::Refused,
            Answer { devices, .. } => Outcome::Allocated(devices),
        }
    }

    /// Returns how long the last attempt took.
    pub(crate) fn last_attempt(&self) -> Duration {
        self.last_attempt
    }

    /// Forgets a claim.
    pub(crate) fn free(&mut self, uid: &str) {
        self.ask(&json!({"op": "free", "uid": uid}));
    }

    /// Evaluates a selector on every device of a driver.
    pub(crate) fn evaluate(&mut self, expression: &str, driver: &str) -> Evaluation {
        let answer = self.ask(&json!({"op": "evaluate", "expression": expression, "driver": driver}));
        Evaluation { evaluated: answer.evaluated, errors: answer.errors }
    }

    /// Sends a request that cannot fail.
    fn ask(&mut self, request: &Value) -> Answer {
        let answer = self.raw(request);
        assert_eq!(answer.error, None, "{}", request["op"]);
        answer
    }

    fn raw(&mut self, request: &Value) -> Answer {
        writeln!(self.input, "{request}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: the allocator wrote {line:?}"))
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
