//! The expected readings of the system and its processes: limits, huge pages, libraries. The plain readings compute them.

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::expectations::{Attribute, Expect, NAMED, NONE, Reader};
use crate::readings;
use crate::small::{Kind, PROCESS};

/// The folder with the libraries of an emulated trn2.48xlarge.
const LIBRARIES: &str = "usr/lib64";

/// Returns the attributes of the system and of its process.
pub(crate) fn all() -> Vec<Attribute> {
    let mut all = Vec::new();
    add_kernel(&mut all);
    add_files(&mut all);
    add_process(&mut all);
    all
}

fn add(all: &mut Vec<Attribute>, path: &str, kind: Kind, seeds: &'static [&'static str], expect: Expect) {
    all.push(Attribute { path: path.to_owned(), kind, reader: Reader::System, seeds, expect });
}

fn add_kernel(all: &mut Vec<Attribute>) {
    let release: Expect = Box::new(|text, found| {
        found["system"]["kernel"] = text.into();
        if text.is_some() { NONE } else { NAMED }
    });
    add(all, "proc/sys/kernel/osrelease", Kind::File, &["6.1.102-111.182.amzn2023.x86_64\n"], release);
    let scope = field("/system/ptrace_scope", |text| readings::number(text).map(Value::from));
    add(all, "proc/sys/kernel/yama/ptrace_scope", Kind::File, &["0\n", "1\n", "3\n"], scope);
    let mode = field("/system/rdma_namespaces", |text| match text {
        "Y" | "1" => Some("shared".into()),
        "N" | "0" => Some("exclusive".into()),
        _ => None,
    });
    add(all, "sys/module/ib_core/parameters/netns_mode", Kind::File, &["Y\n", "N\n", "0", "1"], mode);

    let folder = "sys/kernel/mm/hugepages/hugepages-2048kB";
    for (file, member) in [("nr_hugepages", "total"), ("free_hugepages", "free")] {
        let count: Expect = Box::new(move |text, found| {
            let count = text.and_then(|text| readings::number_up_to(u64::MAX, text));
            match count {
                Some(count) => pages(found)[0][member] = count.into(),
                None => drop(pages(found).remove(0)),
            }
            if count.is_some() { NONE } else { NAMED }
        });
        add(all, &format!("{folder}/{file}"), Kind::File, &["21121\n", "0\n", "18446744073709551615"], count);
    }
    let size: Expect = Box::new(|text, found| {
        let mut renamed = pages(found).remove(0);
        let kilobytes = text.and_then(|text| readings::number_up_to(u64::MAX / 1024, text.strip_suffix("kB")?));
        if let Some(kilobytes) = kilobytes {
            renamed["size"] = (kilobytes * 1024).into();
            pages(found).push(renamed);
            pages(found).sort_by_key(|pages| pages["size"].as_u64());
        }
        NONE
    });
    let sizes = &["64kB", "2048kB", "524288kB", "2048MB", "18014398509481984kB"];
    add(all, folder, Kind::Renamed { begin: "hugepages-" }, sizes, size);
}

fn add_files(all: &mut Vec<Attribute>) {
    let source: Expect = Box::new(|text, found| {
        let version = text.filter(|text| text.starts_with(|c: char| c.is_ascii_digit()) && !text.contains('-'));
        if let Some(version) = version {
            let sources = found["system"]["driver_sources"].as_array_mut().expect("sources");
            sources.push(format!("aws-neuronx-{version}").into());
            sources.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
        NONE
    });
    add(all, "usr/src", Kind::Name { begin: "aws-neuronx-" }, &["2.29.0.0", "dkms", "2-3"], source);
    let library: Expect = Box::new(|text, found| {
        if let Some((library, file)) = text.and_then(|text| Some((readings::library(&format!("lib{text}"))?, text))) {
            let path = format!("/{LIBRARIES}/lib{file}");
            let libraries = found["system"]["libraries"].as_array_mut().expect("libraries");
            let position = libraries.iter().position(|other| {
                rank(&other["library"]) > rank(&library.into())
                    || (other["library"] == library && other["path"].as_str() > Some(&path))
            });
            libraries.insert(
                position.unwrap_or(libraries.len()),
                json!({"library": library, "path": path, "symbols": null}),
            );
        }
        NONE
    });
    let names =
        &["fabric.so", "fabric-1a2b3c4d.so.1.25.0", "nrt.so.2.34.10.0", "efa-rdmav34.so", "efa.so1", "ibverbs.a"];
    add(all, LIBRARIES, Kind::Name { begin: "lib" }, names, library);
    let folders: Expect = Box::new(|text, found| {
        let folders = found["system"]["loader_folders"].as_array_mut().expect("folders");
        let mut added: Vec<Value> = Vec::new();
        for folder in text.map(readings::loader_folders).unwrap_or_default() {
            if !added.contains(&folder.clone().into()) {
                added.push(folder.into());
            }
        }
        folders.retain(|folder| !added.contains(folder));
        folders.splice(0..0, added);
        if text.is_some() { NONE } else { NAMED }
    });
    let lines = &[
        "include ld.so.conf.d/*.conf\n",
        "# own\n/opt/own/lib/ # more\n\n  /opt/aws/neuron/lib\n",
        "/\nhwcap 0 nosegneg\n//\n",
    ];
    add(all, "etc/ld.so.conf", Kind::File, lines, folders);
    let resources: Expect = Box::new(|text, found| {
        let resources = match text.map(registered) {
            Some(Registered::Ambiguous) => return None,
            Some(Registered::Names(names)) => json!(names),
            Some(Registered::Garbage) | None => Value::Null,
        };
        let problems = if resources.is_null() { NAMED } else { NONE };
        found["system"]["kubelet"]["resources"] = resources;
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

fn add_process(all: &mut Vec<Attribute>) {
    let mut add = |file: &str, seeds, member: &'static str, read: fn(&str) -> Value| {
        // nearfab reports no problem for an attribute of a process that it cannot read: another user may own the process.
        let expect: Expect = Box::new(move |text, found| {
            found["process"][member] = text.map_or(Value::Null, read);
            NONE
        });
        add(all, &format!("proc/{PROCESS}/{file}"), Kind::File, seeds, expect);
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

/// Returns the huge pages, the smallest size first.
fn pages(found: &mut Value) -> &mut Vec<Value> {
    found["system"]["huge_pages"].as_array_mut().expect("pages")
}

/// Returns the expectation of a field that is null, with a problem, if the text has no reading.
fn field(pointer: &'static str, read: fn(&str) -> Option<Value>) -> Expect {
    Box::new(move |text, found| {
        let value = text.and_then(read);
        let problems = if value.is_some() { NONE } else { NAMED };
        *found.pointer_mut(pointer).expect(pointer) = value.unwrap_or_default();
        problems
    })
}

/// Returns the position of a library in the order in which nearfab lists libraries.
fn rank(library: &Value) -> Option<usize> {
    readings::LIBRARIES.iter().position(|name| library == name)
}

/// The resources in a checkpoint of the kubelet.
enum Registered {
    Names(Vec<String>),
    Garbage,
    /// JSON that two correct readers may read differently.
    Ambiguous,
}

/// Returns the resources that have devices, from a generic JSON value.
fn registered(text: &str) -> Registered {
    let twice = ["\"Data\"", "\"RegisteredDevices\""].iter().any(|key| text.matches(key).count() > 1);
    let value = match serde_json::from_str::<Value>(text) {
        Ok(_) if twice || text.contains('\\') => return Registered::Ambiguous,
        Ok(value) => value,
        // A number that fits no type, in a member that nearfab skips.
        Err(_) if serde_json::from_str::<IgnoredAny>(text).is_ok() => return Registered::Ambiguous,
        Err(_) => return Registered::Garbage,
    };
    let Some(data) = value.get("Data").and_then(Value::as_object) else {
        // serde also reads a structure from a list of its fields.
        return if text.contains('[') { Registered::Ambiguous } else { Registered::Garbage };
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
