//! An API server in memory: objects by path, lists and watches with field selectors, resource versions.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use http_body::Frame;
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::{OwnedRwLockWriteGuard, RwLock, mpsc};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::codegen::http::{Method, Request, Response};
use tonic::codegen::{BoxFuture, Bytes};

pub(crate) const SLICES: &str = "/apis/resource.k8s.io/v1/resourceslices";

#[derive(Clone, Default)]
pub(crate) struct ApiServer {
    state: Arc<Mutex<State>>,
    /// The server sends no answer while a test holds this lock for writing.
    gate: Arc<RwLock<()>>,
}

#[derive(Default)]
struct State {
    version: u64,
    objects: BTreeMap<String, Value>,
    /// Each change with its version, for watches that begin at an earlier version.
    changes: Vec<(u64, Value)>,
    watches: Vec<(Selector, mpsc::UnboundedSender<Value>)>,
    requests: Vec<String>,
    /// The device attribute that this server drops.
    dropped_attribute: Option<&'static str>,
}

/// JSON pointers and the texts that an object must have there.
type Selector = Vec<(String, String)>;

type Answer = Response<Either<Full<Bytes>, StreamBody<Events>>>;
type Events = std::pin::Pin<Box<dyn tokio_stream::Stream<Item = Result<Frame<Bytes>, Infallible>> + Send>>;

impl ApiServer {
    pub(crate) fn with_node(name: &str) -> Self {
        let server = Self::default();
        server.put(&format!("/api/v1/nodes/{name}"), json!({"metadata": {"name": name, "uid": "node-uid"}}));
        server
    }

    pub(crate) fn client(&self) -> Client {
        let server = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| -> BoxFuture<Answer, Infallible> {
            let server = server.clone();
            Box::pin(async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let path = parts.uri.path().to_owned();
                server.state().requests.push(format!("{} {path}", parts.method));
                let _answering = server.gate.read().await;
                Ok(server.state().answer(&parts.method, &path, parts.uri.query().unwrap_or_default(), &body))
            })
        });
        Client::new(service, "default")
    }

    /// Drops this attribute from all objects that the client writes after this call. An older server also drops fields
    /// that it does not know.
    pub(crate) fn drop_attribute(&self, attribute: &'static str) {
        self.state().dropped_attribute = Some(attribute);
    }

    /// Stores an object as if another client had written it.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.state().store(path, object);
    }

    pub(crate) fn delete(&self, path: &str) {
        self.state().remove(path).unwrap();
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// Returns the client's requests so far, as "METHOD path".
    pub(crate) fn requests(&self) -> Vec<String> {
        self.state().requests.clone()
    }

    /// Returns the client's requests that write.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.requests().into_iter().filter(|request| !request.starts_with("GET ")).collect()
    }

    /// Makes the server accept requests and answer none until the guard is dropped.
    pub(crate) async fn hold_answers(&self) -> OwnedRwLockWriteGuard<()> {
        Arc::clone(&self.gate).write_owned().await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn answer(&mut self, method: &Method, path: &str, query: &str, body: &[u8]) -> Answer {
        let dropped = self.dropped_attribute.unwrap_or_default();
        let sent = || {
            let mut object: Value = serde_json::from_slice(body).unwrap();
            let devices = object.pointer_mut("/spec/devices").and_then(Value::as_array_mut);
            for device in devices.into_iter().flatten() {
                device["attributes"].as_object_mut().unwrap().remove(dropped);
            }
            object
        };
        match *method {
            Method::GET if path == SLICES => self.list(query),
            Method::GET => match self.objects.get(path) {
                Some(object) => reply(200, object),
                None => failure(404, "NotFound", path),
            },
            Method::POST => {
                let mut object = sent();
                let path = format!("{path}/{}", object["metadata"]["name"].as_str().unwrap());
                if self.objects.contains_key(&path) {
                    return failure(409, "AlreadyExists", &path);
                }
                object["metadata"]["uid"] = json!(format!("uid-{}", self.version));
                reply(201, &self.store(&path, object))
            }
            Method::PUT => {
                let object = sent();
                let present = self.objects.get(path).map(|present| &present["metadata"]["resourceVersion"]);
                if present != Some(&object["metadata"]["resourceVersion"]) {
                    return failure(409, "Conflict", path);
                }
                reply(200, &self.store(path, object))
            }
            Method::DELETE => match self.remove(path) {
                Some(object) => reply(200, &object),
                None => failure(404, "NotFound", path),
            },
            _ => failure(405, "MethodNotAllowed", path),
        }
    }

    fn list(&mut self, query: &str) -> Answer {
        let parameters: BTreeMap<String, String> = query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=").replace("%2C", ",")))
            .collect();
        let selector: Selector = parameters
            .get("fieldSelector")
            .map(String::as_str)
            .unwrap_or_default()
            .split(',')
            .filter_map(|field| field.split_once('='))
            .map(|(field, value)| (format!("/{}", field.replace('.', "/")), value.to_owned()))
            .collect();
        assert_eq!(selector.len(), 2, "a driver must select its own slices only: {query}");
        if !parameters.contains_key("watch") {
            let slices =
                self.objects.iter().filter(|(path, object)| path.starts_with(SLICES) && matches(object, &selector));
            let items: Vec<&Value> = slices.map(|(_, object)| object).collect();
            let version = self.version.to_string();
            return reply(200, &json!({"metadata": {"resourceVersion": version}, "items": items}));
        }
        let since: u64 = parameters["resourceVersion"].parse().unwrap();
        let (events, stream) = mpsc::unbounded_channel();
        for (version, event) in &self.changes {
            if *version > since && matches(&event["object"], &selector) {
                events.send(event.clone()).unwrap();
            }
        }
        self.watches.push((selector, events));
        let lines =
            UnboundedReceiverStream::new(stream).map(|event| Ok(Frame::data(Bytes::from(format!("{event}\n")))));
        Response::new(Either::Right(StreamBody::new(Box::pin(lines))))
    }

    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let replaced = self.objects.insert(path.to_owned(), object.clone()).is_some();
        self.change(path, if replaced { "MODIFIED" } else { "ADDED" }, &object);
        object
    }

    fn remove(&mut self, path: &str) -> Option<Value> {
        let object = self.objects.remove(path)?;
        self.version += 1;
        self.change(path, "DELETED", &object);
        Some(object)
    }

    fn change(&mut self, path: &str, kind: &str, object: &Value) {
        if !path.starts_with(SLICES) {
            return;
        }
        let event = json!({"type": kind, "object": object});
        self.changes.push((self.version, event.clone()));
        self.watches.retain(|(selector, events)| !matches(object, selector) || events.send(event.clone()).is_ok());
    }
}

fn matches(object: &Value, selector: &Selector) -> bool {
    selector.iter().all(|(field, value)| object.pointer(field).and_then(Value::as_str) == Some(value))
}

fn reply(code: u16, object: &Value) -> Answer {
    let body = Either::Left(Full::from(object.to_string()));
    Response::builder().status(code).body(body).unwrap()
}

fn failure(code: u16, reason: &str, path: &str) -> Answer {
    let message = format!("{path}: {reason}");
    let status = json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message});
    reply(code, &status)
}
