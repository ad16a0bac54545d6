//! Hosts with one problem each.

use std::fs;
use std::path::Path;

use nearfab::instances::InstanceTable;

use crate::trees::{bind_elsewhere, limit, remove, set, variables, write};

/// A change of a tree, and the finding that it causes.
pub(crate) struct Defect {
    pub(crate) id: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) instance_type: &'static str,
    pub(crate) make: fn(&Path),
}

pub(crate) const fn on_trn2(id: &'static str, severity: &'static str, make: fn(&Path)) -> Defect {
    Defect { id, severity, instance_type: "trn2.48xlarge", make }
}

pub(crate) const LIBFABRIC: &str = "7f00-7f01 r-xp 0 103:01 7  /opt/amazon/efa/lib64/libfabric.so.1.32.0\n";
pub(crate) const EFA_RDMA: &str = "sys/class/infiniband/rdmap201s0";

pub(crate) const DEFECTS: &[Defect] = &[
    on_trn2("efa-no-driver", "problem", |root| {
        bind_elsewhere(root, "0000:c9:00.0");
        without_rdma(root);
    }),
    on_trn2("efa-no-rdma-device", "problem", without_rdma),
    on_trn2("efa-no-verbs-node", "problem", |root| {
        let verbs = root.join("sys/class/infiniband_verbs");
        fs::remove_dir_all(verbs).unwrap();
    }),
    on_trn2("efa-node-missing", "warning", |root| remove(root, "dev/infiniband/uverbs3")),
    on_trn2("efa-node-missing", "problem", |root| fs::remove_dir_all(root.join("dev/infiniband")).unwrap()),
    on_trn2("efa-port-not-active", "problem", |root| {
        write(root, "sys/class/infiniband/rdmap202s0/ports/1/state", "1: DOWN\n")
    }),
    on_trn2("neuron-reset-failed", "problem", |root| write(root, "sys/class/neuron_device/neuron6/reset", "2\n")),
    on_trn2("neuron-in-reset", "warning", |root| write(root, "sys/class/neuron_device/neuron6/reset", "0\n")),
    on_trn2("near-efa-not-usable", "warning", |root| remove(root, "dev/infiniband/uverbs3")),
    on_trn2("efa-not-all-attached", "note", without_efa),
    on_trn2("neuron-pair-missing", "note", without_efa),
    Defect { id: "rdma-foreign", severity: "warning", instance_type: "p6-b200.48xlarge", make: |_| {} },
    on_trn2("rdma-namespaces-exclusive", "warning", |root| {
        write(root, "sys/module/ib_core/parameters/netns_mode", "N\n");
    }),
    on_trn2("memlock-low", "problem", |root| limit(root, "65536")),
    on_trn2("memlock-low", "problem", |root| limit(root, "8388608")),
    on_trn2("memlock-low", "warning", |root| limit(root, "8589934592")),
    on_trn2("memlock-low", "note", |root| {
        limit(root, "65536");
        write(root, "proc/4711/status", "CapEff:\t000001ffffffffff\n");
    }),
    on_trn2("huge-pages-none", "note", |root| huge_pages(root, 0, 0)),
    on_trn2("huge-pages-used-up", "warning", |root| huge_pages(root, 5128, 0)),
    on_trn2("fork-unsafe", "warning", |root| {
        write(root, "proc/sys/kernel/osrelease", "5.10.240-238.955.amzn2.x86_64\n")
    }),
    on_trn2("ptrace-protected", "note", |root| write(root, "proc/sys/kernel/yama/ptrace_scope", "1\n")),
    on_trn2("neuron-no-driver", "problem", |root| {
        bind_elsewhere(root, "0000:cc:00.0");
        remove(root, "sys/class/neuron_device/neuron0");
    }),
    on_trn2("neuron-fewer-than-type", "warning", |root| remove(root, "sys/class/neuron_device/neuron0")),
    on_trn2("neuron-node-missing", "warning", |root| remove(root, "dev/neuron15")),
    on_trn2("neuron-node-missing", "problem", |root| {
        (0..16).for_each(|number| remove(root, &format!("dev/neuron{number}")));
    }),
    Defect { id: "numa-unknown", severity: "note", instance_type: "g5.48xlarge", make: |_| {} },
    on_trn2("neuron-ids-not-contiguous", "problem", |root| remove(root, "dev/neuron5")),
    on_trn2("ids-sorted-as-text", "problem", |root| set(root, "NEURON_RT_VISIBLE_CORES=0,1,10,11,2,3")),
    on_trn2("ids-sorted-as-text", "problem", |root| set(root, "AWS_NEURON_VISIBLE_DEVICES=0,1,10,2")),
    on_trn2("visible-cores-malformed", "problem", |root| set(root, "NEURON_RT_VISIBLE_CORES=0-3,8-11")),
    on_trn2("visible-cores-beyond", "problem", |root| set(root, "NEURON_RT_VISIBLE_CORES=0-127")),
    on_trn2("lnc-disagrees", "warning", |root| {
        variables(root, &["NEURON_LOGICAL_NC_CONFIG=1", "NEURON_RT_VIRTUAL_CORE_SIZE=2"]);
    }),
    on_trn2("runtime-too-old-for-driver", "problem", |root| runtime(root, "2.32.31.0")),
    on_trn2("driver-too-old-for-runtime", "problem", |root| {
        write(root, "sys/module/neuron/version", "2.26.5.0\n");
        write(root, "usr/src/aws-neuronx-2.26.5.0/x", "");
    }),
    Defect {
        id: "driver-without-inferentia1",
        severity: "problem",
        instance_type: "inf1.24xlarge",
        make: |root| write(root, "sys/module/neuron/version", "2.30.2.0\n"),
    },
    on_trn2("driver-does-not-build-on-kernel", "problem", |root| {
        write(root, "proc/sys/kernel/osrelease", "6.18.2-1.amzn2027.x86_64\n");
        without_neuron_driver(root);
        fs::rename(root.join("usr/src/aws-neuronx-2.30.2.0"), root.join("usr/src/aws-neuronx-2.28.0.0")).unwrap();
    }),
    on_trn2("driver-not-reloaded", "warning", |root| write(root, "sys/module/neuron/version", "2.30.1.0\n")),
    on_trn2("libfabric-missing", "note", |root| fs::remove_dir_all(root.join("opt/amazon")).unwrap()),
    on_trn2("libfabric-several", "note", |root| write(root, "usr/lib64/libfabric.so.1.20.0", "")),
    on_trn2("runtime-missing", "note", |root| fs::remove_dir_all(root.join("opt/aws/neuron/lib")).unwrap()),
    on_trn2("collectives-missing", "warning", |root| remove(root, "opt/aws/neuron/lib/libnccom.so.2.34.10.0")),
    on_trn2("runtime-not-on-loader-path", "warning", |root| remove(root, "etc/ld.so.conf.d/aws-neuron.conf")),
    on_trn2("tools-not-on-path", "note", |root| variables(root, &["PATH=/usr/bin"])),
    on_trn2("library-mapped-twice", "problem", |root| {
        let other = "7f02-7f03 r-xp 0 103:01 8  /venv/x.libs/libfabric-1a2b3c4d.so.1.25.0\n";
        write(root, "proc/4711/maps", &format!("{LIBFABRIC}{other}"));
    }),
    on_trn2("library-symbols-missing", "problem", |root| {
        remove(root, "usr/lib64/libefa.so.1.4.61.0");
        install_libefa(root, "usr/lib64/libefa.so.1.2.44.0", &["EFA_1.0", "EFA_1.1", "EFA_1.2"]);
    }),
    on_trn2("library-symbols-missing", "warning", |root| {
        install_libefa(root, "usr/lib/libefa.so.1.2.44.0", &["EFA_1.0", "EFA_1.1", "EFA_1.2"]);
    }),
    on_trn2("library-replaced", "warning", |root| {
        write(root, "proc/4711/maps", &LIBFABRIC.replace('\n', " (deleted)\n"));
    }),
    on_trn2("environment-aborts", "problem", |root| set(root, "FI_EFA_MTU_SIZE=8760")),
    on_trn2("environment-aborts", "problem", |root| set(root, "FI_EFA_IFACE=")),
    on_trn2("environment-aborts", "problem", |root| set(root, "FI_EFA_TX_MIN_CREDITS=0")),
    on_trn2("environment-aborts", "problem", |root| {
        variables(root, &["PATH=/opt/aws/neuron/bin", "RDMAV_FORK_SAFE=1", "FI_EFA_USE_HUGE_PAGE=1"]);
    }),
    on_trn2("fi-provider-without-efa", "problem", |root| set(root, "FI_PROVIDER=eaf")),
    on_trn2("fi-provider-without-efa", "warning", |root| set(root, "FI_PROVIDER=tcp;ofi_rxm")),
    on_trn2("fi-provider-without-efa", "warning", |root| set(root, "FI_PROVIDER=^efa")),
    on_trn2("fi-efa-iface-unknown", "problem", |root| set(root, "FI_EFA_IFACE=efa_0")),
    on_trn2("fi-efa-iface-unknown", "warning", |root| set(root, "FI_EFA_IFACE=rdmap201s0,efa_0")),
    on_trn2("fi-efa-variable-unknown", "warning", |root| set(root, "FI_EFA_USE_DEVICE_RMDA=1")),
    on_trn2("variable-removed", "warning", |root| set(root, "NEURONCORE_GROUP_SIZES=1,2")),
    on_trn2("device-rdma-off", "warning", |root| set(root, "FI_EFA_USE_DEVICE_RDMA=0")),
    on_trn2("device-rdma-off", "warning", |root| set(root, "FI_HMEM=cuda")),
    on_trn2("device-plugin-beside-dra", "problem", |root| {
        let checkpoint = r#"{"Data": {"RegisteredDevices": {"aws.amazon.com/neuron": ["0"]}}}"#;
        write(root, "var/lib/kubelet/device-plugins/kubelet_internal_checkpoint", checkpoint);
        write(root, "var/lib/kubelet/plugins_registry/neuron.aws.com-reg.sock", "");
    }),
    on_trn2("device-plugin-beside-dra", "problem", |root| {
        write(root, "var/lib/kubelet/device-plugins/aws-efa-device-plugin.sock", "");
        write(root, "var/lib/kubelet/plugins_registry/dra.net-reg.sock", "");
    }),
    on_trn2("dra-drivers-several", "problem", |root| {
        write(root, "var/lib/kubelet/plugins_registry/neuron.aws.com-reg.sock", "");
        write(root, "var/lib/kubelet/plugins_registry/nearfab.dev-reg.sock", "");
    }),
    on_trn2("efa-driver-refused", "problem", |root| {
        unbind(root, "0000:c9:00.0");
        without_rdma(root);
    }),
    on_trn2("rdma-stack-foreign", "problem", |root| {
        write(root, "sys/module/mlx_compat/version", "5.8-3.0.7\n");
        fs::remove_dir_all(root.join("sys/module/efa")).unwrap();
        for row in InstanceTable::find("trn2.48xlarge").unwrap().efa {
            unbind(root, &row.address.to_string());
        }
    }),
    on_trn2("efa-none-attached", "warning", |root| {
        for row in InstanceTable::find("trn2.48xlarge").unwrap().efa {
            remove(root, &format!("sys/bus/pci/devices/{}", row.address));
        }
        fs::remove_dir_all(root.join("sys/class/infiniband")).unwrap();
        fs::remove_dir_all(root.join("sys/class/infiniband_verbs")).unwrap();
    }),
    on_trn2("neuron-unhealthy", "problem", |root| hardware(root, "health_status/unhealthy_components", "hbm")),
    on_trn2("neuron-unhealthy", "problem", |root| hardware(root, "health_status/hw_error_event", "2")),
    on_trn2("neuron-unhealthy", "problem", |root| hardware(root, "mem_ecc_uncorrected", "1")),
    on_trn2("neuron-unhealthy", "problem", |root| hardware(root, "sram_ecc_uncorrected", "1")),
    on_trn2("neuron-unhealthy", "problem", |root| {
        let core = "sys/class/neuron_device/neuron3/neuron_core0/stats/status";
        write(root, &format!("{core}/hw_dma_abort_error/total"), "1\n");
    }),
    on_trn2("neuron-memory-repairable", "warning", |root| hardware(root, "mem_ecc_repairable_uncorrected", "1")),
    on_trn2("neuron-off-bus", "problem", |root| {
        write(root, "sys/class/neuron_device/neuron3/info/serial_number", "ffffffffffffffff\n");
        hardware(root, "sram_ecc_uncorrected", "65535");
    }),
    on_trn2("num-cores-beyond", "problem", |root| set(root, "NEURON_RT_NUM_CORES=65")),
    on_trn2("num-cores-malformed", "warning", |root| set(root, "NEURON_RT_NUM_CORES=-1")),
    on_trn2("core-variables-disagree", "note", |root| {
        variables(root, &["NEURON_RT_VISIBLE_CORES=0-3", "NEURON_RT_NUM_CORES=2"]);
    }),
    Defect {
        id: "device-rdma-aborts",
        severity: "warning",
        instance_type: "p4d.24xlarge",
        make: |root| {
            write(root, "sys/devices/virtual/dmi/id/product_name", "i3en.24xlarge\n");
            set(root, "FI_EFA_USE_DEVICE_RDMA=1");
        },
    },
    on_trn2("nccl-plugin-missing", "warning", |root| {
        write(root, "proc/4711/maps", "7f00-7f01 r-xp 0 103:01 7  /usr/lib64/libnccl.so.2.27.3\n");
    }),
    Defect {
        id: "gpu-memory-not-reached",
        severity: "warning",
        instance_type: "p5.48xlarge",
        make: |root| {
            write(root, "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.90\n")
        },
    },
    on_trn2("huge-pages-refused", "warning", |root| write(root, "sys/fs/cgroup/hugetlb.2MB.max", "0\n")),
    on_trn2("nodes-unexplained", "warning", |root| {
        for class in ["sys/class/infiniband", "sys/class/infiniband_verbs"] {
            fs::remove_dir_all(root.join(class)).unwrap();
        }
    }),
    on_trn2("host-incomplete", "warning", |root| {
        write(root, "sys/bus/pci/devices/0000:cc:00.0/numa_node", "first\n");
    }),
];

/// The findings that no tree can cause if the tests run as root. Findings about `fi_getinfo` have unit tests. Findings
/// about refused files need another user.
pub(crate) const WITHOUT_DEFECT: [&str; 11] = [
    "cores-held",
    "cores-held-by-nobody",
    "efa-node-refused",
    "fi-info-failed",
    "fi-info-missing",
    "libfabric-finds-fewer",
    "libfabric-finds-none",
    "neuron-no-answer",
    "neuron-node-refused",
    "processes-attached",
    "rdma-foreign-refused",
];

/// A change of a tree that does not cause a finding.
pub(crate) struct Harmless {
    pub(crate) id: &'static str,
    pub(crate) instance_type: &'static str,
    pub(crate) make: fn(&Path),
}

const fn harmless(id: &'static str, make: fn(&Path)) -> Harmless {
    Harmless { id, instance_type: "trn2.48xlarge", make }
}

/// Hosts that just do not have a problem.
pub(crate) const HARMLESS: &[Harmless] = &[
    harmless("efa-driver-refused", |root| {
        bind_elsewhere(root, "0000:c9:00.0");
        without_rdma(root);
    }),
    harmless("rdma-stack-foreign", |root| write(root, "sys/module/mlx_compat/version", "5.8-3.0.7\n")),
    harmless("efa-none-attached", without_efa),
    harmless("neuron-unhealthy", |root| {
        hardware(root, "health_status/unhealthy_components", "");
        hardware(root, "mem_ecc_corrected", "12");
    }),
    harmless("neuron-memory-repairable", |root| hardware(root, "mem_ecc_repairable_uncorrected", "0")),
    harmless("neuron-off-bus", |root| hardware(root, "sram_ecc_corrected", "65535")),
    harmless("num-cores-beyond", |root| set(root, "NEURON_RT_NUM_CORES=64")),
    harmless("num-cores-malformed", |root| set(root, "NEURON_RT_NUM_CORES=0")),
    harmless("core-variables-disagree", |root| {
        variables(root, &["NEURON_RT_VISIBLE_CORES=0-3", "NEURON_RT_NUM_CORES=4"]);
    }),
    Harmless {
        id: "device-rdma-aborts",
        instance_type: "p4d.24xlarge",
        make: |root| set(root, "FI_EFA_USE_DEVICE_RDMA=1"),
    },
    harmless("nccl-plugin-missing", |root| {
        write(root, "proc/4711/maps", "7f00-7f01 r-xp 0 103:01 7  /usr/lib64/libnccl.so.2.27.3\n");
        variables(root, &["PATH=/usr/bin", "NCCL_NET=Socket"]);
    }),
    Harmless {
        id: "gpu-memory-not-reached",
        instance_type: "p5.48xlarge",
        make: |root| {
            write(
                root,
                "proc/driver/nvidia/version",
                "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.90\n",
            );
        },
    },
    harmless("library-symbols-missing", |root| {
        remove(root, "usr/lib64/libefa.so.1.4.61.0");
        install_libefa(root, "usr/lib64/libefa.so.1.3.50.0", &["EFA_1.0", "EFA_1.1", "EFA_1.2", "EFA_1.3"]);
    }),
    harmless("library-symbols-missing", |root| write(root, "usr/lib/libefa.so.1.2.44.0", "not an ELF file")),
    harmless("huge-pages-refused", |root| write(root, "sys/fs/cgroup/hugetlb.2MB.max", "2097152\n")),
    harmless("nodes-unexplained", |root| write(root, "dev/infiniband/rdma_cm", "")),
];

fn hardware(root: &Path, file: &str, content: &str) {
    write(root, &format!("sys/class/neuron_device/neuron3/stats/hardware/{file}"), &format!("{content}\n"));
}

/// Installs a libefa that defines these symbol versions. The emulated libfabric needs EFA_1.2 and EFA_1.3.
fn install_libefa(root: &Path, path: &str, defined: &[&str]) {
    fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
    fs::write(root.join(path), nearfab_emu::library_file(defined, &[])).unwrap();
}

/// Takes a function from its driver.
fn unbind(root: &Path, address: &str) {
    let path = root.join(format!("sys/bus/pci/devices/{address}/uevent"));
    let text = fs::read_to_string(&path).unwrap();
    let unbound: Vec<&str> = text.lines().filter(|line| !line.starts_with("DRIVER=")).collect();
    fs::write(&path, unbound.join("\n")).unwrap();
}

pub(crate) fn without_rdma(root: &Path) {
    remove(root, EFA_RDMA);
    remove(root, "sys/class/infiniband_verbs/uverbs10");
}

pub(crate) fn without_efa(root: &Path) {
    remove(root, "sys/bus/pci/devices/0000:c9:00.0");
    without_rdma(root);
}

pub(crate) fn without_neuron_driver(root: &Path) {
    for folder in ["sys/module/neuron", "sys/class/neuron_device"] {
        fs::remove_dir_all(root.join(folder)).unwrap();
    }
    for row in InstanceTable::find("trn2.48xlarge").unwrap().neuron {
        unbind(root, &row.address.to_string());
    }
}

pub(crate) fn huge_pages(root: &Path, total: u32, free: u32) {
    for (file, pages) in [("nr_hugepages", total), ("free_hugepages", free)] {
        write(root, &format!("sys/kernel/mm/hugepages/hugepages-2048kB/{file}"), &format!("{pages}\n"));
    }
}

pub(crate) fn runtime(root: &Path, version: &str) {
    let folder = "opt/aws/neuron/lib";
    remove(root, &format!("{folder}/libnrt.so.2.34.10.0"));
    write(root, &format!("{folder}/libnrt.so.{version}"), "");
}
