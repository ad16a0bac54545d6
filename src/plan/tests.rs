//! Plans against what was worked out by hand, the variables' file, and cores that are held.

use proptest::prelude::*;

use super::*;
use crate::error::Error;

fn host(instance_type: &str) -> Host {
    Host::from_instance(instance_type).unwrap()
}

fn planned(instance_type: &str, ranks: u32) -> Plan {
    plan(&host(instance_type), &PlanOptions::ranks(ranks)).unwrap()
}

fn refused(host: &Host, options: &PlanOptions) -> String {
    let error = plan(host, options).unwrap_err();
    assert!(matches!(error, Error::NoPlan { .. }), "{error}");
    error.to_string()
}

fn cpus(plan: &Plan) -> Vec<String> {
    plan.ranks.iter().map(|rank| rank.cpus.cpus.to_string()).collect()
}

#[test]
fn what_does_not_divide_is_told_what_fits() {
    let fits = "numbers that fit: 1, 2, 4, 8, 16, 32, 64";
    for ranks in [0, 3, 128] {
        let text = refused(&host("trn2.48xlarge"), &PlanOptions::ranks(ranks));
        assert!(text.starts_with(&format!("no plan: 64 logical cores cannot be divided evenly among {ranks} ranks")));
        assert!(text.ends_with(fits), "{text}");
    }
    assert!(
        refused(&host("p5.48xlarge"), &PlanOptions::ranks(16))
            .ends_with("8 GPUs cannot be divided evenly among 16 ranks; numbers that fit: 1, 2, 4, 8")
    );
    assert!(refused(&host("c7gn.16xlarge"), &PlanOptions::ranks(1)).contains("this host has neither"));
}

/// Twelve devices of two cores: eight ranks have one and a half.
#[test]
fn a_rank_may_end_within_a_device() {
    let plan = planned("inf2.48xlarge", 8);
    let devices = |rank: usize| plan.ranks[rank].share.devices().iter().map(|device| device.0).collect::<Vec<_>>();
    assert_eq!((devices(0), devices(1), devices(7)), (vec![0, 1], vec![1, 2], vec![10, 11]));
    assert_eq!(plan.ranks[1].environment["NEURON_RT_VISIBLE_CORES"], "3-5");
}

/// Node 0 has the CPUs 0-47 and their second threads 96-143 for the devices 4 to 11, node 1 the rest. The first half of its
/// cores is for neuron0 to neuron3, the second for neuron12 to neuron15.
#[test]
fn nodes_are_divided_by_whole_cores() {
    let plan = planned("trn2.48xlarge", 4);
    assert_eq!(cpus(&plan), ["48-71,144-167", "0-23,96-119", "24-47,120-143", "72-95,168-191"]);
    let divided = CpuReason::Divided { threads: ThreadEvidence::Assumed };
    assert!(plan.ranks.iter().all(|rank| rank.cpus.reason == divided));

    // 48 cores for 32 ranks on each node: one, or one and another one.
    let plan = planned("trn2.48xlarge", 64);
    assert_eq!(cpus(&plan)[16..20], ["0,96", "1-2,97-98", "3,99", "4-5,100-101"]);

    // Each on both nodes, with half of each.
    let plan = planned("trn2.48xlarge", 2);
    assert_eq!(cpus(&plan), ["0-23,48-71,96-119,144-167", "24-47,72-95,120-143,168-191"]);
    assert_eq!(plan.ranks[0].cpus.numa, [0, 1]);

    let plan = planned("trn2.48xlarge", 1);
    assert_eq!((cpus(&plan), plan.ranks[0].cpus.reason), (vec!["0-191".to_owned()], CpuReason::Alone));
}

#[test]
fn what_the_kernel_says_of_threads_counts() {
    // As on machines that number the threads of a core one after the other.
    let cores = (0..96).map(|core| format!("{}-{}", 2 * core, 2 * core + 1).parse().unwrap());
    let threads = CpuCores::from_cores(cores);
    let plan = plan(&host("trn2.48xlarge"), &PlanOptions::ranks(4).with_threads(threads)).unwrap();
    assert_eq!(cpus(&plan)[1..3], ["0-47", "96-143"]);
    assert_eq!(plan.ranks[1].cpus.reason, CpuReason::Divided { threads: ThreadEvidence::Kernel });

    // Of another machine: it does not cover the nodes.
    let other = CpuCores::from_cores([CpuList::default()].into_iter());
    let plan = super::plan(&host("trn2.48xlarge"), &PlanOptions::ranks(4).with_threads(other)).unwrap();
    assert_eq!(plan.ranks[1].cpus.reason, CpuReason::Divided { threads: ThreadEvidence::Assumed });
}

#[test]
fn given_cpus_are_all_that_is_divided() {
    let given = |list: &str| PlanOptions::ranks(4).on_cpus(list.parse().unwrap());
    let plan = plan(&host("trn2.48xlarge"), &given("0-3,48-51,96-98,144")).unwrap();
    assert_eq!(cpus(&plan), ["48-49,144", "0-1,96-97", "2-3,98", "50-51"]);

    // One core for two ranks on each node.
    let plan = super::plan(&host("trn2.48xlarge"), &given("0,50")).unwrap();
    assert_eq!(cpus(&plan), ["50", "0", "0", "50"]);
    assert!(plan.ranks.iter().all(|rank| rank.cpus.reason == CpuReason::Shared));

    let text = refused(&host("trn2.48xlarge"), &given("0-47"));
    assert!(text.contains("NUMA node 1 (48-95,144-191) none is among those given (0-47)"), "{text}");
    assert!(text.contains("--bind-to none"), "{text}");
}

#[test]
fn without_a_numa_node_a_rank_has_all_cpus() {
    let plan = planned("g5.48xlarge", 8);
    assert!(plan.ranks.iter().all(|rank| rank.cpus.reason == CpuReason::NodeUnknown));
    assert!(cpus(&plan).iter().all(|cpus| *cpus == "0-191"), "{:?}", cpus(&plan));
    assert_eq!(plan.ranks[0].cpus.numa, [0; 0]);
}

#[test]
fn a_launcher_may_have_given_a_rank_its_cpus() {
    let host = host("trn2.48xlarge");
    let plan = planned("trn2.48xlarge", 16);
    let within = |given: &str| plan.ranks[5].cpus.within(&host, &given.parse().unwrap());
    assert_eq!(within("0-7,96").unwrap().cpus.to_string(), "6-7");
    let elsewhere = within("0-1,90").unwrap();
    assert_eq!((elsewhere.cpus.to_string().as_str(), elsewhere.reason), ("0-1", CpuReason::Shared));
    let text = within("48-95").unwrap_err().to_string();
    assert!(text.contains("NUMA node 0 (0-47,96-143) none is among those given (48-95)"), "{text}");
}

#[test]
fn given_cores_are_all_that_is_divided() {
    let host = host("trn2.48xlarge");
    let on = |text: &str, ranks| PlanOptions::ranks(ranks).on_cores(visible_cores(text).unwrap());
    let plan = plan(&host, &on("8-11", 2)).unwrap();
    assert_eq!(plan.ranks[1].environment["NEURON_RT_VISIBLE_CORES"], "10-11");
    assert!(refused(&host, &on("60-64", 1)).contains("logical core 64 was given, and this host has 0 to 63"));
    for odd in ["", "3-1", "1,3", "a", "0-4294967295", "+1", "4294967295,0"] {
        assert!(visible_cores(odd).is_err(), "{odd}");
    }
}

#[test]
fn each_kind_of_host_is_told_what_it_reads() {
    let told = |instance_type: &str, options: PlanOptions| {
        let plan = plan(&host(instance_type), &options).unwrap();
        let environment = plan.ranks.last().unwrap().environment.clone();
        let named: Vec<&str> = plan.variables.iter().map(|variable| variable.name).collect();
        assert!(environment.keys().all(|name| named.contains(name)) && named.len() == environment.len());
        environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    let trn2 = [
        "FI_EFA_USE_DEVICE_RDMA=1",
        "FI_HMEM=neuron",
        "FI_PROVIDER=efa",
        "NEURON_LOGICAL_NC_CONFIG=2",
        "NEURON_RT_VISIBLE_CORES=60-63",
    ];
    assert_eq!(told("trn2.48xlarge", PlanOptions::ranks(16)), trn2);
    let new = PlanOptions::ranks(16).for_kernel("6.1.102-111".parse().unwrap());
    assert_eq!(told("trn2.48xlarge", new), trn2);
    let old = PlanOptions::ranks(16).for_kernel("5.10.240-238".parse().unwrap());
    assert_eq!(told("trn2.48xlarge", old)[0], "FI_EFA_FORK_SAFE=1");
    // No choice of logical cores; and no EFA interface that a provider could be asked for.
    assert_eq!(told("inf2.48xlarge", PlanOptions::ranks(24)), ["NEURON_RT_VISIBLE_CORES=23"]);
    let gpus = ["CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=6,7", "FI_HMEM=cuda", "FI_PROVIDER=efa"];
    assert_eq!(told("p5.48xlarge", PlanOptions::ranks(4)), gpus);
}

#[test]
fn what_is_set_already_stays_where_it_is_a_default() {
    let plan = planned("trn2.48xlarge", 16);
    let is_set = |name: &str| ["FI_PROVIDER", "NEURON_RT_VISIBLE_CORES"].contains(&name);
    let names: Vec<&str> = plan.ranks[0].variables_beside(is_set).map(|(name, _)| name).collect();
    assert_eq!(names, ["FI_EFA_USE_DEVICE_RDMA", "FI_HMEM", "NEURON_LOGICAL_NC_CONFIG", "NEURON_RT_VISIBLE_CORES"]);
}

#[test]
fn narrowing_needs_names() {
    let text = refused(&host("trn2.48xlarge"), &PlanOptions::ranks(16).narrowed());
    assert!(text.contains("rank 0 cannot be narrowed to 0000:c9:00.0: its RDMA name is not known"), "{text}");
    let inf2 = PlanOptions::ranks(1).narrowed();
    let plan = plan(&host("inf2.48xlarge"), &inf2).unwrap();
    assert!(!plan.ranks[0].environment.contains_key("FI_EFA_IFACE"), "there is no interface to narrow to");
}

proptest! {
    #[test]
    fn no_text_of_cores_panics(text in "\\PC*", numbers in "[0-9,-]{0,24}") {
        let _ = (visible_cores(&text), visible_cores(&numbers));
    }
}
