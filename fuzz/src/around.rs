//! What each reading around the devices should give, by the plain readings: limits, pages, libraries, processes.

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::expectations::{Attribute, Expect, NAMED, NONE, Of};
use crate::readings;
use crate::small::{Kind, PROCESS};

/// Libraries of an emulated trn2.48xlarge in `usr/lib64`.
const LIBRARIES: &str = "usr/lib64";

pub(crate) fn all() -> Vec<Attribute> {
    let mut all = Vec::new();
    of_kernel(&mut all);
    of_files(&mut all);
    of_process(&mut all);
    all
}

fn add(all: &mut Vec<Attribute>, path: &str, kind: Kind, says: &'static [&'static str], expect: Expect) {
    all.push(Attribute { path: path.to_owned(), kind, of: Of::SystemInfo, says, expect });
}

fn of_kernel(all: &mut Vec<Attribute>) {
    let release: Expect = Box::new(|text, around| {
        around["surroundings"]["kernel"] = text.into();
        if text.is_some() { NONE } else { NAMED }
    });
    add(all, "proc/sys/kernel/osrelease", Kind::File, &["6.1.102-111.182.amzn2023.x86_64\n"], release);
    let scope = field("/surroundings/ptrace_scope", |text| readings::number(text).map(Value::from));
    add(all, "proc/sys/kernel/yama/ptrace_scope", Kind::File, &["0\n", "1\n", "3\n"], scope);
    let mode = field("/surroundings/rdma_namespaces", |text| match text {
        "Y" | "1" => Some("shared".into()),
        "N" | "0" => Some("exclusive".into()),
        _ => None,
    });
    add(all, "sys/module/ib_core/parameters/netns_mode", Kind::File, &["Y\n", "N\n", "0", "1"], mode);

    let folder = "sys/kernel/mm/hugepages/hugepages-2048kB";
    for (file, member) in [("nr_hugepages", "total"), ("free_hugepages", "free")] {
        let count: Expect = Box::new(move |text, around| {
            let count = text.and_then(|text| readings::number_up_to(u64::MAX, text));
            match count {
                Some(count) => pages(around)[0][member] = count.into(),
                None => drop(pages(around).remove(0)),
            }
            if count.is_some() { NONE } else { NAMED }
        });
        add(all, &format!("{folder}/{file}"), Kind::File, &["21121\n", "0\n", "18446744073709551615"], count);
    }
    let size: Expect = Box::new(|text, around| {
        let mut moved = pages(around).remove(0);
        let kilobytes = text.and_then(|text| readings::number_up_to(u64::MAX / 1024, text.strip_suffix("kB")?));
        if let Some(kilobytes) = kilobytes {
            moved["size"] = (kilobytes * 1024).into();
            pages(around).push(moved);
            pages(around).sort_by_key(|pages| pages["size"].as_u64());
        }
        NONE
    });
    let sizes = &["64kB", "2048kB", "524288kB", "2048MB", "18014398509481984kB"];
    add(all, folder, Kind::Renamed { begin: "hugepages-" }, sizes, size);
}

fn of_files(all: &mut Vec<Attribute>) {
    let source: Expect = Box::new(|text, around| {
        let version = text.filter(|text| text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains('-'));
        if let Some(version) = version {
            let sources = around["surroundings"]["driver_sources"].as_array_mut().expect("sources");
            sources.push(format!("aws-neuronx-{version}").into());
            sources.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
        NONE
    });
    add(all, "usr/src", Kind::Name { begin: "aws-neuronx-" }, &["2.29.0.0", "dkms", "2-3"], source);
    let library: Expect = Box::new(|text, around| {
        if let Some((library, file)) = text.and_then(|text| Some((readings::library(&format!("lib{text}"))?, text))) {
            let path = format!("/{LIBRARIES}/lib{file}");
            let libraries = around["surroundings"]["libraries"].as_array_mut().expect("libraries");
            let same = libraries.iter().position(|other| {
                rank(&other["library"]) > rank(&library.into())
                    || (other["library"] == library && other["path"].as_str() > Some(&path))
            });
            libraries.insert(same.unwrap_or(libraries.len()), json!({"library": library, "path": path}));
        }
        NONE
    });
    let names =
        &["fabric.so", "fabric-1a2b3c4d.so.1.25.0", "nrt.so.2.34.10.0", "efa-rdmav34.so", "efa.so1", "ibverbs.a"];
    add(all, LIBRARIES, Kind::Name { begin: "lib" }, names, library);
    let folders: Expect = Box::new(|text, around| {
        let folders = around["surroundings"]["loader_folders"].as_array_mut().expect("folders");
        let mut own: Vec<Value> = Vec::new();
        for folder in text.map(readings::loader_folders).unwrap_or_default() {
            if !own.contains(&folder.clone().into()) {
                own.push(folder.into());
            }
        }
        folders.retain(|folder| !own.contains(folder));
        folders.splice(0..0, own);
        if text.is_some() { NONE } else { NAMED }
    });
    let lines = &[
        "include ld.so.conf.d/*.conf\n",
        "# own\n/opt/own/lib/ # more\n\n  /opt/aws/neuron/lib\n",
        "/\nhwcap 0 nosegneg\n//\n",
    ];
    add(all, "etc/ld.so.conf", Kind::File, lines, folders);
    let resources: Expect = Box::new(|text, around| {
        let resources = match text.map(registered) {
            Some(Registered::Untold) => return None,
            Some(Registered::Names(names)) => json!(names),
            Some(Registered::Garbage) | None => Value::Null,
        };
        let problems = if resources.is_null() { NAMED } else { NONE };
        around["surroundings"]["kubelet"]["resources"] = resources;
        problems
    });
    let checkpoints = &[
        r#"{"Data":{"PodDeviceEntries":null,"RegisteredDevices":{"vpc.amazonaws.com/efa":["a"],"b/c":[],"d/e":null}}}"#,
        r#"{"Data":{"RegisteredDevices":null},"Checksum":7}"#,
        r#"{"Data":{}}"#,
    ];
    let path = "var/lib/kubelet/device-plugins/kubelet_internal_checkpoint";
    add(all, path, Kind::File, checkpoints, resources);
}

fn of_process(all: &mut Vec<Attribute>) {
    let mut add = |file: &str, says, member: &'static str, read: fn(&str) -> Value| {
        // What of a process cannot be read is left out without a word: it may belong to somebody else.
        let expect: Expect = Box::new(move |text, around| {
            around["process"][member] = text.map_or(Value::Null, read);
            NONE
        });
        add(all, &format!("proc/{PROCESS}/{file}"), Kind::File, says, expect);
    };
    add("comm", &["python3\n"], "name", |text| text.into());
    let limits = &[
        "Max locked memory         65536                unlimited            bytes     \n",
        "Max cpu time 1 2 seconds\nMax locked memory         unlimited            unlimited            bytes\n",
        "Max locked memory         18446744073709551616 0 bytes\n",
    ];
    add("limits", limits, "locked_memory", |text| match readings::locked_memory(text) {
        Some(None) => "unlimited".into(),
        Some(Some(bytes)) => json!({"bytes": bytes}),
        None => Value::Null,
    });
    let states = &["CapEff:\t000001ffffffffff\n", "Name:\tx\nCapEff:\t0000000000004000\n", "CapEff: bfff\n"];
    add("status", states, "may_exceed", |text| json!(readings::may_lock(text)));
    let environments = &["FI_PROVIDER=efa\0PATH=/bin\0HOME=/root\0", "FI_X=1\0FI_X=2\0", "NEURON_RT_NUM_CORES==2\0"];
    add("environ", environments, "environment", |text| json!(readings::environment(text)));
    let maps = &[
        "7f00-7f01 r--p 00000000 103:01 22                       /usr/lib/libfabric.so.1.20.0\n\
         7f01-7f02 r-xp 00001000 103:01 22                       /usr/lib/libfabric.so.1.20.0\n\
         7f05-7f06 rw-p 00000000 00:00 0                         [heap]\n",
        "7f00-7f01 r-xp 00000000 103:01 22    /a b/libnrt-1a2b3c4d.so.1 (deleted)\n7f00-7f01 r-xp 0 103:01 23 /libnrt.so\n",
        "7f00-7f01 r-xp 00000000 103:01 22 /libefa.so.1\n7f00-7f01 r-xp 0 103:02 22 /b/libefa.so.1\n",
    ];
    add("maps", maps, "libraries", |text| json!(readings::mapped(text)));
}

/// Huge pages, the smaller first.
fn pages(around: &mut Value) -> &mut Vec<Value> {
    around["surroundings"]["huge_pages"].as_array_mut().expect("pages")
}

/// A field that is null where there is no reading, which is a problem.
fn field(pointer: &'static str, read: fn(&str) -> Option<Value>) -> Expect {
    Box::new(move |text, around| {
        let value = text.and_then(read);
        let problems = if value.is_some() { NONE } else { NAMED };
        *around.pointer_mut(pointer).expect(pointer) = value.unwrap_or_default();
        problems
    })
}

/// The place of a library in the order in which they are listed.
fn rank(library: &Value) -> Option<usize> {
    readings::LIBRARIES.iter().position(|name| library == name)
}

enum Registered {
    Names(Vec<String>),
    Garbage,
    /// JSON that two readers may take in two ways.
    Untold,
}

/// The resources with devices, by a look at any JSON.
fn registered(text: &str) -> Registered {
    let twice = ["\"Data\"", "\"RegisteredDevices\""].iter().any(|key| text.matches(key).count() > 1);
    let value = match serde_json::from_str::<Value>(text) {
        Ok(_) if twice || text.contains('\\') => return Registered::Untold,
        Ok(value) => value,
        // Numbers that fit nowhere, where nobody looks.
        Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() => return Registered::Untold,
        Err(_) => return Registered::Garbage,
    };
    let Some(data) = value.get("Data").and_then(Value::as_object) else {
        // A list is taken for the fields in their order.
        return if text.contains('[') { Registered::Untold } else { Registered::Garbage };
    };
    let registered = match data.get("RegisteredDevices") {
        None | Some(Value::Null) => return Registered::Names(Vec::new()),
        Some(Value::Object(registered)) => registered,
        Some(_) => return Registered::Garbage,
    };
    let mut names = Vec::new();
    for (name, devices) in registered {
        match devices {
            Value::Null => {}
            Value::Array(ids) if ids.iter().all(Value::is_string) => names.extend((!ids.is_empty()).then_some(name)),
            _ => return Registered::Garbage,
        }
    }
    names.sort();
    Registered::Names(names.into_iter().cloned().collect())
}
