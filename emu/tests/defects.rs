//! Tests of defects: their texts, their combinations, and the error for a defect that does not apply.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use nearfab::instances::{InstanceTable, tables};
use nearfab::{Host, NodeAccess};
use nearfab_emu::{Defect, NeuronDriver, write_tree_with};

const EMU: &str = env!("CARGO_BIN_EXE_nearfab-emu");

/// Returns the part of a defect's text before its value.
fn name(form: &str) -> &str {
    form.split('=').next().unwrap()
}

#[test]
fn every_defect_parses_from_its_text_and_every_form_occurs() {
    let all: Vec<Defect> = tables().iter().flat_map(Defect::all).collect();
    let texts: BTreeSet<String> = all.iter().map(Defect::to_string).collect();
    for defect in &all {
        assert_eq!(defect.to_string().parse().as_ref(), Ok(defect));
    }
    let written: BTreeSet<&str> = texts.iter().map(|text| name(text)).collect();
    let forms: BTreeSet<&str> = Defect::FORMS.iter().map(|(form, _)| name(form)).collect();
    assert_eq!(written, forms);
    for wrong in
        ["", "no-numa=1", "efa-attached", "efa-attached=many", "container=", "efa-without-rdma=here", "surprise"]
    {
        let error = wrong.parse::<Defect>().unwrap_err().to_string();
        assert!(error.contains(&format!("{wrong:?}")) && error.contains("efa-attached=N"), "{error}");
    }
}

#[test]
fn defect_that_does_not_apply_is_an_error_and_writes_nothing() {
    let bdf = |text: &str| text.parse().unwrap();
    for (instance_type, defect) in [
        ("p5.48xlarge", Defect::NeuronDriverUnbound),
        ("p5.48xlarge", Defect::NeuronDriver(NeuronDriver::V2_31)),
        ("inf2.48xlarge", Defect::EfaAttached(1)),
        ("trn2.48xlarge", Defect::EfaAttached(16)),
        ("trn2.48xlarge", Defect::EfaAttached(0)),
        ("trn2.48xlarge", Defect::NeuronNodeMissing(16)),
        ("trn2.48xlarge", Defect::VerbsNodeRefused(16)),
        ("trn2.48xlarge", Defect::Container((0..16).collect())),
        ("trn2.48xlarge", Defect::EfaWithoutRdma(bdf("0000:cc:00.0"))),
        ("trn2.48xlarge", Defect::Garbage("sys/../../etc/passwd".to_owned())),
        ("trn2.48xlarge", Defect::Garbage("/etc/passwd".to_owned())),
        ("trn3.48xlarge", Defect::NeuronDriver(NeuronDriver::V2_24)),
        ("inf1.24xlarge", Defect::NeuronDriver(NeuronDriver::V2_30)),
        ("p6-b200.48xlarge", Defect::Mlx5First),
        ("trn2.48xlarge", Defect::ContainerGpus(vec![0])),
        ("p5.48xlarge", Defect::ContainerGpus((0..8).collect())),
        ("p5.48xlarge", Defect::ContainerGpusUnmasked(vec![8])),
        ("p5.48xlarge", Defect::EfaVfio(bdf("0000:53:00.0"))),
        ("p5.48xlarge", Defect::GpuVfio(bdf("0000:4f:00.0"))),
        ("p5.48xlarge", Defect::NeuronResetFailed(0)),
        ("trn2.48xlarge", Defect::NeuronResetHanging(16)),
        ("inf1.24xlarge", Defect::NeuronOffBus(0)),
    ] {
        let table = InstanceTable::find(instance_type).unwrap();
        assert!(!defect.applies(table) && !Defect::all(table).contains(&defect), "{defect}");
        let dir = tempfile::tempdir().unwrap();
        let error = write_tree_with(table, std::slice::from_ref(&defect), dir.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("the defect {defect} does not apply to {instance_type}"));
        assert_eq!(dir.path().read_dir().unwrap().count(), 0);
    }
}

#[test]
fn combined_defects_all_take_effect() {
    let dir = tempfile::tempdir().unwrap();
    let table = InstanceTable::find("trn2.48xlarge").unwrap();
    let defects = [
        Defect::NoCoreStatistics,
        Defect::EfaAttached(15),
        Defect::Mlx5First,
        Defect::Container(vec![13, 14]),
        Defect::VerbsNodeMissing(2),
        Defect::NoNuma,
    ];
    write_tree_with(table, &defects, dir.path()).unwrap();
    let host = Host::from_root(dir.path()).unwrap();
    assert_eq!(host.problems(), [""; 0]);
    assert_eq!((host.efa_interfaces().len(), host.other_rdma().len()), (15, 2));
    // The first interface by address is not attached. The number of the next interface follows the numbers of the two
    // ConnectX functions.
    assert_eq!(host.efa_interfaces()[0].address().to_string(), "0000:57:00.0");
    assert_eq!((host.efa_interfaces()[0].uverbs, host.efa_interfaces()[0].access), (Some(2), NodeAccess::Missing));
    let granted = host.neuron_devices().iter().filter(|device| device.access == NodeAccess::Granted);
    assert_eq!(granted.map(|device| device.index.0).collect::<Vec<_>>(), [13, 14]);
    assert!(host.efa_interfaces().iter().all(|efa| efa.function.numa.is_none()));
}

#[test]
fn defect_that_removes_a_file_of_another_defect_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let table = InstanceTable::find("trn2.48xlarge").unwrap();
    let defects = [Defect::NoCoreStatistics, Defect::EfaAttached(1), Defect::VerbsNodeMissing(9)];
    let error = write_tree_with(table, &defects, dir.path()).unwrap_err();
    assert!(error.to_string().contains("dev/infiniband/uverbs9"), "{error}");
}

#[test]
fn program_accepts_and_lists_defects() {
    let help = String::from_utf8(Command::new(EMU).arg("--help").output().unwrap().stdout).unwrap();
    for (form, about) in Defect::FORMS {
        assert!(help.contains(form) && help.contains(about), "{form}: {help}");
    }
    let dir = tempfile::tempdir().unwrap();
    let run = |defects: &[&str]| {
        let mut command = Command::new(EMU);
        command.arg("trn1.2xlarge").arg(dir.path().join("tree"));
        command.args(defects.iter().flat_map(|defect| ["--defect", defect])).output().unwrap()
    };
    for (wrong, reason) in [("surprise", "invalid defect"), ("efa-attached=1", "does not apply to trn1.2xlarge")] {
        let output = run(&[wrong]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && stderr.contains(reason), "{stderr}");
    }
    assert!(run(&["unknown-product", "neuron-driver=2.28"]).status.success());
    let host = Host::from_root(dir.path().join("tree")).unwrap();
    assert_eq!(host.instance_type(), Some("trn9.48xlarge"));
    assert_eq!(host.neuron_driver().unwrap().version.as_deref(), Some("2.28.0.0"));
}

/// Writes the tree of a type with one defect.
fn host_with(instance_type: &str, defect: &str) -> (tempfile::TempDir, Host) {
    let dir = tempfile::tempdir().unwrap();
    let table = InstanceTable::find(instance_type).unwrap();
    let defects = [Some(Defect::NoCoreStatistics).filter(|_| !table.neuron.is_empty()), Some(defect.parse().unwrap())];
    write_tree_with(table, &defects.into_iter().flatten().collect::<Vec<_>>(), dir.path()).unwrap();
    let host = Host::from_root(dir.path()).unwrap();
    (dir, host)
}

/// Returns the number and the access of each GPU.
fn gpus(host: &Host) -> Vec<(Option<u32>, NodeAccess)> {
    host.gpus().iter().map(|gpu| (gpu.minor, gpu.access)).collect()
}

#[test]
fn gpus_of_a_container_are_those_with_nodes() {
    let granted = |number| (Some(number), NodeAccess::Granted);
    let (_tree, host) = host_with("p4d.24xlarge", "cgroup-limits");
    assert_eq!(gpus(&host), (0..8).map(granted).collect::<Vec<_>>());

    let (tree, host) = host_with("p4d.24xlarge", "container-gpus=0,3");
    let hidden = || (None, NodeAccess::Missing);
    assert_eq!(gpus(&host)[..4], [granted(0), hidden(), hidden(), granted(3)]);
    assert!(gpus(&host)[4..].iter().all(|gpu| *gpu == hidden()));
    let mut nodes: Vec<_> = fs::read_dir(tree.path().join("dev")).unwrap().map(|e| e.unwrap().file_name()).collect();
    nodes.sort();
    assert_eq!(nodes, ["infiniband", "nvidia-uvm", "nvidia0", "nvidia3", "nvidiactl"]);

    let (_tree, host) = host_with("p4d.24xlarge", "container-gpus-unmasked=0,3");
    assert_eq!(gpus(&host)[..2], [granted(0), (Some(1), NodeAccess::Missing)]);

    let (_tree, host) = host_with("p4d.24xlarge", "proc-masked");
    assert!(gpus(&host).iter().all(|gpu| *gpu == (None, NodeAccess::Unknown)));
}

/// The driver's description of a GPU was captured on a host with H100 GPUs. Its names and their order are the driver's.
#[test]
fn information_of_a_gpu_has_the_lines_of_the_driver() {
    let (tree, _) = host_with("p5.48xlarge", "container-gpus=5");
    let folder = tree.path().join("proc/driver/nvidia/gpus");
    let listed: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(listed, ["0000:a8:00.0"]);
    let text = fs::read_to_string(folder.join("0000:a8:00.0/information")).unwrap();
    let lines: Vec<(&str, &str)> = text.lines().map(|line| line.split_once(':').unwrap()).collect();
    let names: Vec<&str> = lines.iter().map(|(name, _)| *name).collect();
    let captured =
        "Model,IRQ,GPU UUID,Video BIOS,Bus Type,DMA Size,DMA Mask,Bus Location,Device Minor,GPU Firmware,GPU Excluded";
    assert_eq!(names, captured.split(',').collect::<Vec<_>>());
    let value = |name: &str| lines.iter().find(|(other, _)| *other == name).unwrap().1.trim();
    assert_eq!((value("Model"), value("Device Minor")), ("NVIDIA H100 80GB HBM3", "5"));
    assert_eq!((value("Bus Location"), value("GPU UUID").len()), ("0000:a8:00.0", "GPU-".len() + 36));
}

#[test]
fn functions_of_vfio_have_no_device() {
    let (_tree, host) = host_with("p5en.48xlarge", "efa-vfio=0000:57:00.0");
    let efa = host.efa_interfaces().iter().find(|efa| efa.address().to_string() == "0000:57:00.0").unwrap();
    assert_eq!((efa.function.driver.as_deref(), efa.rdma.as_deref(), efa.uverbs), (Some("vfio-pci"), None, None));
    assert_eq!(host.efa_interfaces().iter().filter(|efa| efa.rdma.is_some()).count(), 15);

    // The NVIDIA driver numbers the other GPUs without a gap.
    let (_tree, host) = host_with("p5en.48xlarge", "gpu-vfio=0000:5a:00.0");
    assert_eq!(host.gpus()[1].function.driver.as_deref(), Some("vfio-pci"));
    let numbers: Vec<_> = host.gpus().iter().map(|gpu| gpu.minor).collect();
    assert_eq!(numbers, [Some(0), None, Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)]);
}

#[test]
fn broken_neuron_devices_show_what_the_driver_shows() {
    let read = |tree: &tempfile::TempDir, file: &str| {
        fs::read_to_string(tree.path().join("sys/class/neuron_device/neuron6").join(file)).unwrap()
    };
    let (tree, _) = host_with("trn2.48xlarge", "neuron-reset-failed=6");
    assert_eq!(read(&tree, "reset"), "2\n");
    let (tree, _) = host_with("trn2.48xlarge", "neuron-reset-hanging=6");
    assert_eq!((read(&tree, "reset"), read(&tree, "fw_build")), ("0\n".to_owned(), "busy\n".to_owned()));
    // The captured Trainium1 function could not end a reset.
    let captured = include_str!("../../tests/captured/neuron-sysfs-trn1-driver-2.24.7.txt");
    assert!(captured.contains(r"/neuron0/reset b'0\n'"));
    let (tree, host) = host_with("trn2.48xlarge", "neuron-off-bus=6");
    assert_eq!(read(&tree, "reset"), "1\n");
    assert_eq!(read(&tree, "stats/hardware/sram_ecc_uncorrected"), "65535\n");
    let serial = host.with_details().unwrap().neuron_devices()[6].serial.clone();
    assert_eq!(serial.as_deref(), Some("ffffffffffffffff"));
}

#[test]
fn hosts_without_sysfs_or_with_a_limited_cgroup_are_read() {
    let (tree, host) = host_with("p5en.48xlarge", "no-sysfs");
    assert!(host.efa_interfaces().is_empty() && host.gpus().is_empty());
    assert!(!tree.path().join("sys").exists() && tree.path().join("dev/nvidia7").exists());

    let (tree, host) = host_with("p5en.48xlarge", "cgroup-limits");
    assert_eq!((host.efa_interfaces().len(), host.problems()), (16, &[][..]));
    let limit = |file: &str| fs::read_to_string(tree.path().join("sys/fs/cgroup").join(file)).unwrap();
    assert_eq!((limit("hugetlb.2MB.max").as_str(), limit("cpuset.cpus.effective").as_str()), ("0\n", "0-47,96-143\n"));

    let (tree, host) = host_with("p5en.48xlarge", "proc-masked");
    assert_eq!(fs::read_dir(tree.path().join("proc")).unwrap().count(), 0);
    assert_eq!(host.problems(), [""; 0]);
}
