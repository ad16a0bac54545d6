//! Checks of device and core numbers: gaps, lists sorted as text, numbers that no core has.

use crate::scan::root::NodeAccess;
use crate::types::number;

use super::finding::{Check, Finding, FindingKind};
use super::input::{Input, Skip};

const GAPS: FindingKind = FindingKind {
    id: "neuron-ids-not-contiguous",
    means: "Inside a container, the Neuron runtime opens the node with the lowest number, then the next number, and so on. \
            The runtime stops at the first number without a node and reports that it could not open a device, or that cores are not \
            contiguous.",
    action: "Give the container devices with consecutive host numbers: whole groups from the device plugin with its \
             scheduler extension, or a resource claim for a device group.",
    source: "aws-neuron-sdk issue 110; AWS Neuron documentation: devices of a container must be contiguous.",
};
const AS_TEXT: FindingKind = FindingKind {
    id: "ids-sorted-as-text",
    means: "The numbers are sorted as text (1, 10, 2), as a tool that sorts names does. The Neuron runtime expects \
            increasing numbers: it takes other devices, or refuses the list.",
    action: "Sort the list by number: 9 comes before 10.",
    source: "amazon-ecs-agent, device order; AWS Neuron documentation: NEURON_RT_VISIBLE_CORES is increasing.",
};
const MALFORMED: FindingKind = FindingKind {
    id: "visible-cores-malformed",
    means: "The Neuron runtime accepts one number, one range, or a list of both (0-3,4) that increases without gaps. It \
            refuses any other value.",
    action: "Correct NEURON_RT_VISIBLE_CORES, or use NEURON_RT_NUM_CORES.",
    source: "AWS Neuron runtime configuration: NEURON_RT_VISIBLE_CORES.",
};
const BEYOND: FindingKind = FindingKind {
    id: "visible-cores-beyond",
    means: "The numbers count the logical cores of the devices that are visible here. The numbers count neither physical cores nor \
            devices. With two physical cores in a logical core (LNC 2, the default on Trainium2 and Trainium3), the host has \
            half as many numbers as physical cores.",
    action: "nearfab near nc5 and nearfab list -o wide show the cores of a number. Use lower numbers, or set \
             NEURON_LOGICAL_NC_CONFIG=1 if the model was compiled for LNC 1.",
    source: "AWS Neuron runtime configuration: NEURON_RT_VISIBLE_CORES, NEURON_LOGICAL_NC_CONFIG; aws-neuron-sdk issues 392, \
             581.",
};
const COUNT_MALFORMED: FindingKind = FindingKind {
    id: "num-cores-malformed",
    means: "AWS documents an integer: the number of cores that the process needs. The effect of any other value on the runtime is \
            not documented. Only AWS's page on frameworks for Inferentia1 shows a list (1,1).",
    action: "Set NEURON_RT_NUM_CORES to a number, or unset it: the runtime then takes all cores.",
    source: "AWS Neuron documentation, Neuron runtime configuration; Parallel execution using NEURON_RT_NUM_CORES.",
};
const COUNT_BEYOND: FindingKind = FindingKind {
    id: "num-cores-beyond",
    means: "The process asks for more logical cores than are visible here. The Neuron runtime reserves this number of free cores, \
            and fails if fewer cores are free. With two physical \
            cores in a logical core (LNC 2, the default on Trainium2 and Trainium3), the host has half as many logical cores as \
            physical cores.",
    action: "Set NEURON_RT_NUM_CORES to a lower number, or unset it: the runtime then takes all cores.",
    source: "AWS Neuron documentation, Neuron runtime configuration: NEURON_RT_NUM_CORES.",
};
const CORES_DISAGREE: FindingKind = FindingKind {
    id: "core-variables-disagree",
    means: "Two variables say which cores the process uses, and they say different numbers of cores. NEURON_RT_VISIBLE_CORES \
            takes precedence: the process gets all cores of this list.",
    action: "Unset NEURON_RT_NUM_CORES, or give it the number of cores in NEURON_RT_VISIBLE_CORES.",
    source: "AWS Neuron documentation, Neuron runtime configuration: NEURON_RT_VISIBLE_CORES takes precedence over \
             NEURON_RT_NUM_CORES.",
};
const LNC_DISAGREES: FindingKind = FindingKind {
    id: "lnc-disagrees",
    means: "Two names of one setting have different values. Libraries that read different names see different cores.",
    action: "Unset NEURON_RT_VIRTUAL_CORE_SIZE, the older name.",
    source: "AWS Neuron runtime configuration: NEURON_LOGICAL_NC_CONFIG.",
};

pub(super) const DEVICES: Check = Check { name: "device numbers", kinds: || vec![GAPS], run: devices };
pub(super) const VARIABLES: Check =
    Check { name: "visible cores and devices", kinds: || vec![AS_TEXT, MALFORMED, BEYOND], run: variables };
pub(super) const COUNT: Check =
    Check { name: "number of cores", kinds: || vec![COUNT_MALFORMED, COUNT_BEYOND, CORES_DISAGREE], run: count };
pub(super) const LNC: Check = Check { name: "logical core configuration", kinds: || vec![LNC_DISAGREES], run: lnc };

const NUM_CORES: &str = "NEURON_RT_NUM_CORES";
const VISIBLE_CORES: &str = "NEURON_RT_VISIBLE_CORES";
const LISTS: [&str; 3] = [VISIBLE_CORES, "NEURON_VISIBLE_DEVICES", "AWS_NEURON_VISIBLE_DEVICES"];
const LNC_NAMES: [&str; 2] = ["NEURON_LOGICAL_NC_CONFIG", "NEURON_RT_VIRTUAL_CORE_SIZE"];

fn devices(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    let with_node = input.neuron()?.iter().filter(|device| device.access != NodeAccess::Missing);
    let numbers: Vec<u32> = with_node.map(|device| device.index.0).collect();
    let gap = numbers.windows(2).find(|pair| pair[1] - pair[0] > 1);
    let Some(&[before, after]) = gap else { return Ok(Vec::new()) };
    let subjects = numbers.iter().map(|number| format!("neuron{number}")).collect();
    Ok(vec![GAPS.problem(subjects, format!("neuron{after} follows neuron{before}"))])
}

fn variables(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.neuron()?;
    let environment = input.environment()?;
    let mut found = Vec::new();
    for name in LISTS {
        let Some(value) = environment.get(name) else { continue };
        let subject = || vec![name.to_owned()];
        let items = items(value);
        if items.as_deref().is_some_and(is_sorted_as_text) {
            found.push(AS_TEXT.problem(subject(), format!("its value is {value}")));
        } else if name == VISIBLE_CORES {
            let rows = input.host.numbering().rows.len();
            match items.as_deref().and_then(last_of_run) {
                None => found.push(MALFORMED.problem(subject(), format!("its value is {value:?}"))),
                Some(last) if usize::try_from(last).is_ok_and(|last| last >= rows) => {
                    let lnc = input.host.lnc().map_or(1, |lnc| lnc.size);
                    let seen = format!("its value is {value}, and {rows} logical cores are visible here (LNC {lnc})");
                    found.push(BEYOND.problem(subject(), seen));
                }
                Some(_) => {}
            }
        }
    }
    Ok(found)
}

fn count(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.neuron()?;
    let environment = input.environment()?;
    let Some(value) = environment.get(NUM_CORES) else { return Ok(Vec::new()) };
    let subject = || vec![NUM_CORES.to_owned()];
    let Some(count) = number::<u32>(value.trim()) else {
        return Ok(vec![COUNT_MALFORMED.warning(subject(), format!("its value is {value:?}"))]);
    };
    let visible = environment.get(VISIBLE_CORES);
    let named = visible.and_then(|list| items(list)).filter(|items| last_of_run(items).is_some());
    let rows = input.host.numbering().rows.len();
    Ok(match (visible, named) {
        // AWS documents 0 as the default, which means all cores.
        _ if count == 0 => Vec::new(),
        (_, Some(items)) => {
            let named: u64 = items.iter().map(|(first, last)| u64::from(last - first) + 1).sum();
            let seen = format!("{VISIBLE_CORES} names {named} logical cores, and {NUM_CORES} is {count}");
            let subjects = vec![VISIBLE_CORES.to_owned(), NUM_CORES.to_owned()];
            if named == u64::from(count) { Vec::new() } else { vec![CORES_DISAGREE.note(subjects, seen)] }
        }
        (None, None) if usize::try_from(count).is_ok_and(|count| count > rows) => {
            let lnc = input.host.lnc().map_or(1, |lnc| lnc.size);
            let seen = format!("its value is {count}, and {rows} logical cores are visible here (LNC {lnc})");
            vec![COUNT_BEYOND.problem(subject(), seen)]
        }
        _ => Vec::new(),
    })
}

/// Parses a list of numbers and ranges such as `0-3,8`; returns `None` for anything else.
fn items(list: &str) -> Option<Vec<(u32, u32)>> {
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let item = |text: &str| match text.split_once('-') {
        Some((first, last)) => Some((number(first)?, number(last)?)).filter(|(first, last)| first <= last),
        None => number(text).map(|one| (one, one)),
    };
    list.split(',').map(item).collect()
}

fn is_sorted_as_text(items: &[(u32, u32)]) -> bool {
    let by_number = items.windows(2).all(|pair| pair[0] <= pair[1]);
    let by_text = items.windows(2).all(|pair| pair[0].0.to_string() <= pair[1].0.to_string());
    by_text && !by_number
}

/// Returns the last number of the ranges if the ranges increase without gaps.
fn last_of_run(items: &[(u32, u32)]) -> Option<u32> {
    let run = items.windows(2).all(|pair| pair[0].1.checked_add(1) == Some(pair[1].0));
    items.last().filter(|_| run).map(|item| item.1)
}

fn lnc(input: &Input<'_>) -> Result<Vec<Finding>, Skip> {
    input.neuron()?;
    let environment = input.environment()?;
    let [new, old] = LNC_NAMES.map(|name| environment.get(name).map(|value| value.trim()));
    match (new, old) {
        (Some(new), Some(old)) if new != old => {
            let subjects = LNC_NAMES.map(str::to_owned).to_vec();
            Ok(vec![LNC_DISAGREES.warning(subjects, format!("the values are {new} and {old}"))])
        }
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers_and_ranges_are_parsed() {
        assert_eq!(items("0-3,4"), Some(vec![(0, 3), (4, 4)]));
        assert_eq!(items("3-0"), None);
        assert_eq!(items("ALL"), None);
        assert_eq!(items(""), None);
        assert_eq!(last_of_run(&[(0, 3), (4, 4)]), Some(4));
        assert_eq!(last_of_run(&[(0, 3), (5, 5)]), None);
        assert!(is_sorted_as_text(&[(0, 0), (1, 1), (10, 10), (2, 2)]));
        assert!(!is_sorted_as_text(&[(0, 0), (1, 1), (2, 2)]));
        assert!(!is_sorted_as_text(&[(2, 2), (1, 1)]), "neither the order of numbers nor that of text");
    }
}
