//! Rails in the forms of other programs, read by the rules of those programs' parsers.

use std::collections::BTreeMap;

use nearfab::instances::{InstanceTable, tables};
use nearfab::plan::{PlanOptions, RailFormat};
use nearfab::{Bdf, CpuList, Host, RailOptions, Rails, plan};
use nearfab_emu::Defect;
use serde_json::Value;

use crate::tree::tree_of;

fn host(instance_type: &str, defects: &[Defect]) -> Host {
    let tree = tree_of(InstanceTable::find(instance_type).unwrap(), defects);
    Host::from_root(tree.path()).unwrap()
}

fn written(host: &Host, format: RailFormat) -> nearfab::Result<String> {
    host.rails_as(format, &host.all_rails(RailOptions::default()), &host.cuda_gpus(None, None)?)
}

fn names(host: &Host, rails: &Rails) -> Vec<String> {
    rails.rails.iter().map(|rail| host.find_efa(rail.near.target).unwrap().rdma.clone().unwrap()).collect()
}

/// Mooncake, `Topology::parse`: an object of keys with exactly two lists of names. Each name must be a device of
/// sys/class/infiniband, or the transport disables it.
fn mooncake(host: &Host, text: &str) -> BTreeMap<String, [Vec<String>; 2]> {
    let matrix: BTreeMap<String, [Vec<String>; 2]> = serde_json::from_str(text).unwrap();
    let known: Vec<&String> = host.efa_interfaces().iter().filter_map(|efa| efa.rdma.as_ref()).collect();
    for [preferred, others] in matrix.values() {
        assert!(preferred.iter().chain(others).all(|name| known.contains(&name)), "{preferred:?} {others:?}");
        assert!(preferred.iter().all(|name| !others.contains(name)), "{preferred:?} {others:?}");
    }
    matrix
}

#[test]
fn mooncake_reads_the_rails_of_every_accelerator_and_node() {
    for table in tables().iter().filter(|table| !table.efa.is_empty()) {
        let host = host(table.instance_type, &[]);
        let all = host.all_rails(RailOptions::default());
        let text = written(&host, RailFormat::Mooncake);
        if all.iter().any(|rails| rails.rails.is_empty()) {
            assert!(text.is_err(), "{}", table.instance_type);
            continue;
        }
        let matrix = mooncake(&host, &text.unwrap());
        for (number, rails) in all.iter().enumerate() {
            let kind = if table.gpu.is_empty() { "neuron" } else { "cuda" };
            assert_eq!(matrix[&format!("{kind}:{number}")][0], names(&host, rails), "{}", table.instance_type);
        }
        let nodes = host.numa_nodes().iter().filter(|node| !node.cpus.is_empty());
        assert!(nodes.clone().all(|node| matrix.contains_key(&format!("cpu:{}", node.node))));
        assert_eq!(matrix.len(), all.len() + nodes.count());
    }
}

/// SGLang, `parse_ib_device_config`: an object with texts of digits as keys and texts as values; an entry for each GPU.
#[test]
fn sglang_reads_an_entry_for_each_gpu() {
    let host = host("p5en.48xlarge", &[]);
    let mapping: BTreeMap<String, Value> = serde_json::from_str(&written(&host, RailFormat::Sglang).unwrap()).unwrap();
    for (number, rails) in host.all_rails(RailOptions::default()).iter().enumerate() {
        let value = mapping[&number.to_string()].as_str().unwrap();
        assert_eq!(value.split(',').collect::<Vec<_>>(), names(&host, rails));
    }
    assert_eq!(mapping.len(), 8);
}

/// vLLM, `parse_gpu_nic_mapping` and `set_worker_net_device`: GPU=NIC pairs of addresses, one for each GPU; both variables.
#[test]
fn vllm_reads_one_interface_for_each_gpu() {
    let host = host("p5.48xlarge", &[]);
    let text = written(&host, RailFormat::Vllm).unwrap();
    let variables: BTreeMap<&str, &str> = text.lines().map(|line| line.split_once('=').unwrap()).collect();
    assert_eq!(variables["VLLM_NIC_SELECTION_VARS"], "UCX_NET_DEVICES:1");
    let pairs: Vec<(Bdf, Bdf)> = variables["VLLM_GPU_NIC_PCIE_MAPPING"]
        .split(',')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(gpu, nic)| (gpu.parse().unwrap(), nic.parse().unwrap()))
        .collect();
    let expected = host.all_rails(RailOptions::default());
    let expected = expected.iter().map(|rails| (rails.of.to_string().parse().unwrap(), rails.rails[0].near.target));
    assert!(expected.eq(pairs));
}

/// UCX, UCCL and libfabric split at commas, do not trim, and know whole names only. A process has one value.
#[test]
fn variables_of_one_process_name_its_rails() {
    let host = host("p5en.48xlarge", &[]);
    let of = |format, name: &str| {
        let rails = host.rails(host.anchor(name).unwrap(), RailOptions::default()).unwrap();
        host.rails_as(format, &[rails], &[]).map_err(|error| error.to_string())
    };
    let gpu = "0000:5a:00.0";
    assert_eq!(of(RailFormat::Ucx, gpu).unwrap(), "UCX_NET_DEVICES=rdmap87s0:1,rdmap88s0:1");
    assert_eq!(of(RailFormat::Uccl, gpu).unwrap(), "UCCL_P2P_RDMA_DEV=rdmap87s0,rdmap88s0");
    assert_eq!(of(RailFormat::Libfabric, gpu).unwrap(), "FI_EFA_IFACE=rdmap87s0,rdmap88s0");
    assert!(of(RailFormat::Uccl, "numa0").unwrap_err().contains("at most 4"));
    assert_eq!(of(RailFormat::Libfabric, "numa0").unwrap().split(',').count(), 8);
}

#[test]
fn a_text_that_the_program_would_misread_is_refused() {
    let refused = |host: &Host, format| written(host, format).unwrap_err().to_string();
    let p5 = host("p5.48xlarge", &[]);
    assert!(refused(&p5, RailFormat::Ucx).contains("name its accelerator"));
    let neuron = host("trn2.48xlarge", &[]);
    assert!(refused(&neuron, RailFormat::Sglang).contains("no GPU"));
    assert!(refused(&neuron, RailFormat::Vllm).contains("no GPU"));
    let table = Host::from_instance("p5.48xlarge").unwrap();
    assert!(refused(&table, RailFormat::Mooncake).contains("RDMA name"), "a table has no names");
    let missing: Vec<Defect> = (0..32).map(Defect::VerbsNodeMissing).collect();
    let none = host("p5.48xlarge", &missing);
    for format in [RailFormat::Mooncake, RailFormat::Sglang, RailFormat::Vllm] {
        assert!(refused(&none, format).contains("no interface"), "libfabric aborts if its variable is empty");
    }
}

/// A process that was given GPUs 5 and 4 sees them as 0 and 1.
#[test]
fn numbers_are_those_of_the_process() {
    let host = host("p5.48xlarge", &[]);
    let gpus = host.cuda_gpus(Some("5,4"), None).unwrap();
    let text = host.rails_as(RailFormat::Sglang, &host.all_rails(RailOptions::default()), &gpus).unwrap();
    let mapping: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
    let own =
        |gpu: &Bdf| names(&host, &host.rails(host.anchor(&gpu.to_string()).unwrap(), RailOptions::default()).unwrap());
    assert_eq!((&mapping["0"], &mapping["1"]), (&own(&gpus[0]).join(","), &own(&gpus[1]).join(",")));
    assert_eq!(mapping.len(), 2);
}

/// Slurm reads hexadecimal masks; bit n is CPU n. A mask of 0 would give the task all CPUs.
#[test]
fn masks_are_the_cpus_of_the_ranks() {
    for (instance_type, ranks) in [("trn2.48xlarge", 16), ("p5.48xlarge", 8), ("trn1.2xlarge", 1)] {
        let plan = plan(&Host::from_instance(instance_type).unwrap(), &PlanOptions::ranks(ranks)).unwrap();
        let text = plan.cpu_masks().unwrap();
        let masks: Vec<&str> = text.strip_prefix("mask_cpu:").unwrap().split(',').collect();
        assert_eq!(masks.len(), ranks as usize);
        for (mask, rank) in masks.iter().zip(&plan.ranks) {
            let digits: Vec<u32> =
                mask.strip_prefix("0x").unwrap().chars().rev().map(|digit| digit.to_digit(16).unwrap()).collect();
            let is_set = |cpu: &u32| digits[*cpu as usize / 4] >> (cpu % 4) & 1 == 1;
            let cpus: CpuList = (0..4 * u32::try_from(digits.len()).unwrap()).filter(is_set).collect();
            assert_eq!(cpus, rank.cpus.cpus, "{instance_type}");
        }
    }
}
