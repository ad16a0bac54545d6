"""Tests of the Python module, as installed from the wheel."""

import doctest
import json
import re
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from importlib.metadata import metadata, version
from pathlib import Path

import nearfab
import pytest
from nearfab import Efa, ErrorCode, Host, NearfabError

TOP = Path(__file__).parents[2]


@pytest.fixture
def trn2() -> Host:
    return Host.from_instance("trn2.48xlarge")


def test_the_installed_wheel_is_tested() -> None:
    assert not Path(nearfab.__file__).is_relative_to(TOP / "python")
    assert nearfab.__version__ == version("nearfab")


def test_the_wheel_describes_itself() -> None:
    fields = metadata("nearfab")
    assert fields["License-Expression"] == "Apache-2.0"
    assert fields["License-File"] == "LICENSE"
    assert fields["Requires-Python"] == ">=3.10"
    assert fields["Summary"] and fields["Keywords"] and fields["Description"].startswith("# nearfab for Python")
    links = dict(link.split(", ", 1) for link in fields.get_all("Project-URL") or [])
    assert set(links) == {"Changelog", "Documentation", "Issues", "Source"}
    assert all(link.startswith("https://github.com/nearfab/nearfab") for link in links.values())


def test_the_examples_in_the_documentation_work() -> None:
    pages = ("docs/reference/python.md", "python/README.md")
    in_pages = [doctest.testfile(str(TOP / page), module_relative=False) for page in pages]
    for outcome in (doctest.testmod(nearfab), *in_pages):
        assert outcome.attempted > 0
        assert outcome.failed == 0


def test_discovery_works_on_any_machine() -> None:
    host = Host.discover()
    assert host.is_live
    assert host.origin == "this machine"


def test_an_empty_tree_is_an_empty_host(tmp_path: Path) -> None:
    for root in (tmp_path, str(tmp_path)):
        host = Host.from_root(root)
        assert (host.efa, host.neuron, host.problems) == ((), (), ())
        assert host.instance_type is None
        assert not host.is_live


def test_devices_have_the_values_of_the_table(trn2: Host) -> None:
    assert (len(trn2.neuron), len(trn2.efa)) == (16, 16)
    device = trn2.neuron[5]
    assert (device.index, device.product, device.cores, device.node) == (5, "Trainium2", 8, "/dev/neuron5")
    assert device.links is not None and len(device.links) == 4
    assert device.address_evidence == "table trn2.48xlarge"
    assert device.access == "unknown"
    assert trn2.efa[0].node is None


def test_the_paired_interface_is_nearest(trn2: Host) -> None:
    near = trn2.near_core(5, 0)
    (nearest,) = near.nearest
    assert nearest.address == "0000:57:00.0"
    assert nearest.evidence == "table trn2.48xlarge"
    assert nearest.proximity == "same_switch"
    assert nearest.bridges is not None
    assert nearest == near[0]
    assert len(near) == len(trn2.efa)
    assert near == trn2.near_core(device=5, core=7, basis="pairing")
    assert trn2.missing_pair(5) is None


def test_by_place_two_interfaces_are_equally_near(trn2: Host) -> None:
    nearest = trn2.near_core(5, 0, basis="place").nearest
    assert [near.address for near in nearest] == ["0000:56:00.0", "0000:57:00.0"]
    assert {near.evidence for near in nearest} == {"same PCIe switch"}


def test_two_devices_share_an_interface_on_trn1() -> None:
    near = Host.from_instance("trn1.32xlarge").near_efa("20:19.0")
    assert [device.index for device in near.nearest] == [4, 5]


def test_nothing_is_nearest_if_nothing_is_known(trn2: Host) -> None:
    record = trn2.to_dict()
    del record["instance_type"]
    record["efa"] = [{**efa, "numa": None, "root": None, "bridges": []} for efa in record["efa"]]
    near = Host.from_json(json.dumps(record)).near_core(5, 0)
    assert [(entry.rank, entry.evidence) for entry in near] == [(1, "unknown")] * 16
    assert near.nearest == ()


def test_nothing_is_nearest_on_a_host_without_interfaces() -> None:
    near = Host.from_instance("trn1.2xlarge").near_core(0, 0)
    assert near == []
    assert near.nearest == ()


def test_a_list_by_nearness_is_a_list(trn2: Host) -> None:
    near = trn2.near_core(5, 0)
    assert isinstance(near, list)
    assert near == list(near) == copy(near)
    assert copy(near).nearest == near.nearest
    assert [entry.rank for entry in near] == sorted(entry.rank for entry in near)


def test_json_round_trip(trn2: Host, tmp_path: Path) -> None:
    text = trn2.to_json()
    assert trn2.to_dict() == json.loads(text)
    assert Host.from_json(text) == trn2
    file = tmp_path / "host.json"
    file.write_text(text)
    assert Host.from_file(file) == trn2
    assert trn2 != Host.from_instance("trn1.32xlarge")


def test_a_missing_pair_is_reported(trn2: Host) -> None:
    record = trn2.to_dict()
    record["efa"] = [efa for efa in record["efa"] if efa["address"] != "0000:57:00.0"]
    host = Host.from_json(json.dumps(record))
    assert host.missing_pair(5) == "0000:57:00.0"
    assert {near.evidence for near in host.near_core(5, 0).nearest} == {"same PCIe switch"}


@pytest.mark.parametrize(
    ("call", "code", "part"),
    [
        (lambda host: Host.from_instance("trn9.large"), ErrorCode.UNKNOWN_INSTANCE, "trn2.48xlarge"),
        (lambda host: Host.from_root("/no/such/folder"), ErrorCode.READ, "/no/such/folder"),
        (lambda host: Host.from_file("/dev/null"), ErrorCode.RECORD, "/dev/null"),
        (lambda host: Host.from_json("{}"), ErrorCode.RECORD, "format"),
        (lambda host: host.near_core(16, 0), ErrorCode.NO_SUCH_DEVICE, "neuron16"),
        (lambda host: host.near_core(0, 8), ErrorCode.NO_SUCH_DEVICE, "neuron0:8"),
        (lambda host: host.near_efa("ff:00.0"), ErrorCode.NO_SUCH_DEVICE, "0000:ff:00.0"),
        (lambda host: host.near_efa("eth0"), ErrorCode.BAD_NAME, "eth0"),
        (lambda host: Efa.open(host, "57:00.0"), ErrorCode.NOT_LIVE, "trn2.48xlarge"),
        (lambda host: host.missing_pair(99), ErrorCode.NO_SUCH_DEVICE, "neuron99"),
    ],
)
def test_errors_have_a_code_and_a_text(call, code, part, trn2: Host) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(NearfabError, match=re.escape(part)) as caught:
        call(trn2)
    assert caught.value.code == code


def test_a_wrong_basis_is_a_value_error(trn2: Host) -> None:
    with pytest.raises(ValueError, match="magic"):
        trn2.near_core(0, 0, basis="magic")  # type: ignore[arg-type]


def test_objects_are_frozen_values(trn2: Host) -> None:
    assert trn2.efa[0] == trn2.efa[0]
    assert len({*trn2.neuron, *trn2.neuron}) == 16
    for value in (trn2, trn2.efa[0], trn2.neuron[0], trn2.near_core(0, 0)[0]):
        with pytest.raises(AttributeError):
            value.rank = 7  # type: ignore[union-attr, misc]


def test_threads_share_a_host(trn2: Host) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda core: trn2.near_core(5, core % 8), range(200)))
    assert all(answer == answers[0] for answer in answers)
