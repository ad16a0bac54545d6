"""Print the EFA interfaces that are nearest to each NeuronCore, and the evidence.

near.py                           of this machine
near.py --root DIR                of the file tree below a folder, such as /host in a container
near.py --instance trn2.48xlarge  of an instance type, from nearfab's table
"""

import argparse
import sys

import nearfab


def make_host(arguments: argparse.Namespace) -> nearfab.Host:
    if arguments.root:
        return nearfab.Host.from_root(arguments.root)
    if arguments.instance:
        return nearfab.Host.from_instance(arguments.instance)
    return nearfab.Host.discover()


def print_host(host: nearfab.Host) -> None:
    for device in host.neuron:
        for core in range(device.cores):
            nearest = host.near_core(device.index, core).nearest
            addresses = " = ".join(near.address for near in nearest) or "-"
            evidence = ", ".join(sorted({near.evidence for near in nearest}))
            evidence = evidence or "no EFA interface is known to be near"
            print(f"neuron{device.index}:{core}", addresses, evidence, sep="\t")


def main() -> int:
    parser = argparse.ArgumentParser(description="Print the EFA interfaces that are nearest to each NeuronCore.")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--root", metavar="DIR")
    source.add_argument("--instance", metavar="TYPE")
    try:
        print_host(make_host(parser.parse_args()))
    except nearfab.NearfabError as error:
        print(f"near.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
