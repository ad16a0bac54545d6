//! Compares plans with values that were worked out by hand.

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
fn refusal_names_the_numbers_of_ranks_that_fit() {
    let fits = "numbers of ranks that fit: 1, 2, 4, 8, 16, 32, 64";
    for ranks in [0, 3, 128] {
        let text = refused(&host("trn2.48xlarge"), &PlanOptions::ranks(ranks));
        assert!(text.starts_with(&format!("no plan: 64 logical cores cannot be divided evenly among {ranks} ranks")));
        assert!(text.ends_with(fits), "{text}");
    }
    assert!(
        refused(&host("p5.48xlarge"), &PlanOptions::ranks(16))
            .ends_with("8 GPUs cannot be divided evenly among 16 ranks; numbers of ranks that fit: 1, 2, 4, 8")
    );
    assert!(refused(&host("c7gn.16xlarge"), &PlanOptions::ranks(65)).contains("give 1 to 64 ranks"));
}

/// Twelve devices of two cores give each of eight ranks one and a half devices.
#[test]
fn a_rank_may_end_within_a_device() {
    let plan = planned("inf2.48xlarge", 8);
    let devices = |rank: usize| plan.ranks[rank].share.devices().iter().map(|device| device.0).collect::<Vec<_>>();
    assert_eq!((devices(0), devices(1), devices(7)), (vec![0, 1], vec![1, 2], vec![10, 11]));
    assert_eq!(plan.ranks[1].environment["NEURON_RT_VISIBLE_CORES"], "3-5");
}

/// NUMA node 0 has the CPUs 0-47, their second threads 96-143 and the devices 4 to 11. Node 1 has the other CPUs and
/// devices: the first half of the cores of node 1 is for neuron0 to neuron3, the second half for neuron12 to neuron15.
#[test]
fn nodes_are_divided_by_whole_cores() {
    let plan = planned("trn2.48xlarge", 4);
    assert_eq!(cpus(&plan), ["48-71,144-167", "0-23,96-119", "24-47,120-143", "72-95,168-191"]);
    let divided = CpuReason::Divided { threads: ThreadEvidence::Assumed };
    assert!(plan.ranks.iter().all(|rank| rank.cpus.reason == divided));

    // Each node has 48 cores for 32 ranks: one or two cores for each rank.
    let plan = planned("trn2.48xlarge", 64);
    assert_eq!(cpus(&plan)[16..20], ["0,96", "1-2,97-98", "3,99", "4-5,100-101"]);

    // Each rank is on both nodes and gets half of each node.
    let plan = planned("trn2.48xlarge", 2);
    assert_eq!(cpus(&plan), ["0-23,48-71,96-119,144-167", "24-47,72-95,120-143,168-191"]);
    assert_eq!(plan.ranks[0].cpus.numa, [0, 1]);

    let plan = planned("trn2.48xlarge", 1);
    assert_eq!((cpus(&plan), plan.ranks[0].cpus.reason), (vec!["0-191".to_owned()], CpuReason::Alone));
}

#[test]
fn threads_reported_by_the_kernel_are_used() {
    // Some machines number the threads of a core consecutively.
    let cores = (0..96).map(|core| format!("{}-{}", 2 * core, 2 * core + 1).parse().unwrap());
    let threads = CpuCores::from_cores(cores);
    let plan = plan(&host("trn2.48xlarge"), &PlanOptions::ranks(4).with_threads(threads)).unwrap();
    assert_eq!(cpus(&plan)[1..3], ["0-47", "96-143"]);
    assert_eq!(plan.ranks[1].cpus.reason, CpuReason::Divided { threads: ThreadEvidence::Kernel });

    // Cores of another machine do not cover the NUMA nodes and are not used.
    let other = CpuCores::from_cores([CpuList::default()].into_iter());
    let plan = super::plan(&host("trn2.48xlarge"), &PlanOptions::ranks(4).with_threads(other)).unwrap();
    assert_eq!(plan.ranks[1].cpus.reason, CpuReason::Divided { threads: ThreadEvidence::Assumed });
}

#[test]
fn only_given_cpus_are_divided() {
    let given = |list: &str| PlanOptions::ranks(4).on_cpus(list.parse().unwrap());
    let plan = plan(&host("trn2.48xlarge"), &given("0-3,48-51,96-98,144")).unwrap();
    assert_eq!(cpus(&plan), ["48-49,144", "0-1,96-97", "2-3,98", "50-51"]);

    // Each node has one core for two ranks.
    let plan = super::plan(&host("trn2.48xlarge"), &given("0,50")).unwrap();
    assert_eq!(cpus(&plan), ["50", "0", "0", "50"]);
    assert!(plan.ranks.iter().all(|rank| rank.cpus.reason == CpuReason::Shared));

    let text = refused(&host("trn2.48xlarge"), &given("0-47"));
    assert!(text.contains("none of the CPUs of NUMA node 1 (48-95,144-191) is among the given CPUs (0-47)"), "{text}");
    assert!(text.contains("--bind-to none"), "{text}");
}

#[test]
fn rank_with_unknown_numa_node_gets_all_cpus() {
    let plan = planned("g5.48xlarge", 8);
    assert!(plan.ranks.iter().all(|rank| rank.cpus.reason == CpuReason::NodeUnknown));
    assert!(cpus(&plan).iter().all(|cpus| *cpus == "0-191"), "{:?}", cpus(&plan));
    assert_eq!(plan.ranks[0].cpus.numa, [0; 0]);
}

/// A NUMA node without CPUs has only memory, as on GB200.
#[test]
fn rank_near_a_node_without_cpus_gets_all_cpus() {
    let mut record: serde_json::Value = serde_json::from_str(&host("p5.48xlarge").to_json()).unwrap();
    record["numa"][1]["cpus"] = "".into();
    let host = Host::from_json(&record.to_string()).unwrap();
    let plan = plan(&host, &PlanOptions::ranks(8)).unwrap();
    let reasons: Vec<CpuReason> = plan.ranks.iter().map(|rank| rank.cpus.reason).collect();
    assert!(reasons[..4].iter().all(|reason| matches!(reason, CpuReason::Divided { .. })), "{reasons:?}");
    assert_eq!(reasons[4..], [CpuReason::NodeUnknown; 4]);
    assert_eq!(plan.ranks[4].cpus.cpus, host.numa_nodes()[0].cpus);
}

#[test]
fn share_is_restricted_to_the_cpus_of_a_launcher() {
    let host = host("trn2.48xlarge");
    let plan = planned("trn2.48xlarge", 16);
    let within = |given: &str| plan.ranks[5].cpus.within(&host, &given.parse().unwrap());
    assert_eq!(within("0-7,96").unwrap().cpus.to_string(), "6-7");
    let elsewhere = within("0-1,90").unwrap();
    assert_eq!((elsewhere.cpus.to_string().as_str(), elsewhere.reason), ("0-1", CpuReason::Shared));
    let text = within("48-95").unwrap_err().to_string();
    assert!(text.contains("none of the CPUs of NUMA node 0 (0-47,96-143) is among the given CPUs (48-95)"), "{text}");
}

#[test]
fn only_given_cores_are_divided() {
    let host = host("trn2.48xlarge");
    let on = |text: &str, ranks| PlanOptions::ranks(ranks).on_cores(visible_cores(text).unwrap());
    let plan = plan(&host, &on("8-11", 2)).unwrap();
    assert_eq!(plan.ranks[1].environment["NEURON_RT_VISIBLE_CORES"], "10-11");
    assert!(refused(&host, &on("60-64", 1)).contains("this host has no logical core 64; it has the cores 0 to 63"));
    for odd in ["", "3-1", "1,3", "a", "0-4294967295", "+1", "4294967295,0"] {
        assert!(visible_cores(odd).is_err(), "{odd}");
    }
    assert_eq!(visible_cores("0-65535").unwrap().len(), 65536);
    assert!(visible_cores("0-65536").is_err(), "no host has so many cores");
}

#[test]
fn environment_fits_the_accelerators_and_the_kernel() {
    let environment_of = |instance_type: &str, options: PlanOptions| {
        let plan = plan(&host(instance_type), &options).unwrap();
        let environment = plan.ranks.last().unwrap().environment.clone();
        let named: Vec<&str> = plan.variables.iter().map(|variable| variable.name).collect();
        assert!(environment.keys().all(|name| named.contains(&name.as_str())) && named.len() == environment.len());
        environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
    };
    let trn2 = [
        "FI_EFA_USE_DEVICE_RDMA=1",
        "FI_HMEM=neuron",
        "FI_PROVIDER=efa",
        "NEURON_LOGICAL_NC_CONFIG=2",
        "NEURON_RT_VISIBLE_CORES=60-63",
    ];
    assert_eq!(environment_of("trn2.48xlarge", PlanOptions::ranks(16)), trn2);
    let new = PlanOptions::ranks(16).for_kernel("6.1.102-111".parse().unwrap());
    assert_eq!(environment_of("trn2.48xlarge", new), trn2);
    let old = PlanOptions::ranks(16).for_kernel("5.10.240-238".parse().unwrap());
    assert_eq!(environment_of("trn2.48xlarge", old)[0], "FI_EFA_FORK_SAFE=1");
    // This type has only one LNC and no EFA interface, so no variable for the LNC or for EFA is set.
    assert_eq!(environment_of("inf2.48xlarge", PlanOptions::ranks(24)), ["NEURON_RT_VISIBLE_CORES=23"]);
    let gpus = ["CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=6,7", "FI_HMEM=cuda", "FI_PROVIDER=efa"];
    assert_eq!(environment_of("p5.48xlarge", PlanOptions::ranks(4)), gpus);
}

#[test]
fn defaults_that_the_user_has_set_are_kept() {
    let plan = planned("trn2.48xlarge", 16);
    let is_set = |name: &str| ["FI_PROVIDER", "NEURON_RT_VISIBLE_CORES"].contains(&name);
    let names: Vec<&str> = plan.ranks[0].variables_beside(is_set).map(|(name, _)| name).collect();
    assert_eq!(names, ["FI_EFA_USE_DEVICE_RDMA", "FI_HMEM", "NEURON_LOGICAL_NC_CONFIG", "NEURON_RT_VISIBLE_CORES"]);
}

#[test]
fn restricting_to_interfaces_needs_rdma_names() {
    let text = refused(&host("trn2.48xlarge"), &PlanOptions::ranks(16).narrowed());
    assert!(
        text.contains("rank 0 cannot be restricted to 0000:c9:00.0: the RDMA name of this interface is unknown"),
        "{text}"
    );
    let inf2 = PlanOptions::ranks(1).narrowed();
    let plan = plan(&host("inf2.48xlarge"), &inf2).unwrap();
    assert!(!plan.ranks[0].environment.contains_key("FI_EFA_IFACE"), "the host has no interface");
}

/// A range `first-last` over cores with a gap would include cores that the rank was not given.
#[test]
fn rank_gets_consecutive_cores_or_none() {
    let host = host("trn2.48xlarge");
    let on =
        |cores: &[u32], ranks| PlanOptions::ranks(ranks).on_cores(cores.iter().copied().map(LogicalCore).collect());
    for (cores, ranks) in [(&[0, 7][..], 1), (&[0, 1, 2, 9], 2), (&[0, 2, 4, 6], 2), (&[0, 2, 3, 4], 2)] {
        let text = refused(&host, &on(cores, ranks));
        assert!(text.contains("NEURON_RT_VISIBLE_CORES takes only consecutive cores"), "{text}");
    }
    let plan = plan(&host, &on(&[0, 1, 62, 63], 2)).unwrap();
    let visible = |rank: usize| plan.ranks[rank].environment["NEURON_RT_VISIBLE_CORES"].as_str();
    assert_eq!((visible(0), visible(1)), ("0-1", "62-63"));
}

#[test]
fn empty_list_of_cores_is_refused() {
    for ranks in [0, 1, 2] {
        let text = refused(&host("trn2.48xlarge"), &PlanOptions::ranks(ranks).on_cores(Vec::new()));
        assert!(text.contains("the given list of logical cores is empty"), "{text}");
    }
}

/// CUDA numbers the GPUs of a container from 0.
#[test]
fn gpus_without_a_node_are_not_planned() {
    let with_nodes = |nodes: &[usize]| {
        let mut record: serde_json::Value = serde_json::from_str(&host("p5.48xlarge").to_json()).unwrap();
        for (i, gpu) in record["gpus"].as_array_mut().unwrap().iter_mut().enumerate() {
            gpu["access"] = if nodes.contains(&i) { "granted" } else { "missing" }.into();
        }
        Host::from_json(&record.to_string()).unwrap()
    };
    let all = host("p5.48xlarge");
    let container = with_nodes(&[4, 5]);
    let plan = plan(&container, &PlanOptions::ranks(2)).unwrap();
    for (rank, gpu) in plan.ranks.iter().zip(&all.gpus()[4..6]) {
        assert_eq!(rank.environment["CUDA_VISIBLE_DEVICES"], rank.rank.to_string());
        assert_eq!(rank.near[0].of, gpu.address().to_string());
    }
    let text = refused(&with_nodes(&[]), &PlanOptions::ranks(1));
    assert!(text.contains("no GPU can be used here (0000:53:00.0: node missing, "), "{text}");
}

#[test]
fn plan_is_read_back_from_json() {
    for (instance_type, ranks) in [("trn2.48xlarge", 16), ("p5.48xlarge", 8), ("inf2.48xlarge", 8), ("g5.48xlarge", 4)]
    {
        let plan = planned(instance_type, ranks);
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan, "{instance_type}");
    }
    let mut other = serde_json::to_value(planned("p5.48xlarge", 8)).unwrap();
    other["variables"][0]["name"] = "FI_NEWER".into();
    let error = serde_json::from_value::<Plan>(other).unwrap_err().to_string();
    assert!(error.contains("FI_NEWER is not of this version"), "{error}");
}

/// Reads a list of cores in the simplest way: every number that the text names, in order.
fn plain_cores(text: &str) -> Option<Vec<u32>> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<u64>().ok().filter(|number| digits && *number <= u64::from(u32::MAX))
    };
    let mut cores = Vec::new();
    for part in text.split(',') {
        let ends: Vec<u64> = part.split('-').map(|end| number(end.trim())).collect::<Option<_>>()?;
        match ends[..] {
            [only] => cores.push(only),
            [first, last] if first <= last && last - first < 65536 => cores.extend(first..=last),
            _ => return None,
        }
    }
    let consecutive = cores.windows(2).all(|pair| pair[1] == pair[0] + 1);
    consecutive.then(|| cores.into_iter().map(|core| u32::try_from(core).unwrap()).collect())
}

proptest! {
    #[test]
    fn lists_of_cores_are_read_as_plainly(text in "\\PC{0,12}", numbers in "[0-9]{1,3}([,-][0-9]{1,3}){0,3}", odd in "[0-9,-]{0,24}") {
        for text in [text, numbers, odd] {
            let read = visible_cores(&text).ok().map(|cores| cores.into_iter().map(|core| core.0).collect::<Vec<_>>());
            prop_assert_eq!(read, plain_cores(&text), "{}", text);
        }
    }

    #[test]
    fn consecutive_cores_are_read(first in 0..u32::MAX - 64, count in 0..64_u32) {
        let cores: Vec<LogicalCore> = (first..=first + count).map(LogicalCore).collect();
        prop_assert_eq!(visible_cores(&format!("{first}-{}", first + count)).unwrap(), cores);
    }
}
