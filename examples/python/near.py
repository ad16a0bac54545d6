"""Which EFA interface is near each NeuronCore, and how nearfab knows.

near.py                           this machine
near.py --root DIR                the tree below a folder, such as /host in a container
near.py --instance trn2.48xlarge  what nearfab knows of an instance type
"""

import argparse
import sys

import nearfab


def look(arguments: argparse.Namespace) -> nearfab.Host:
    if arguments.root:
        return nearfab.Host.from_root(arguments.root)
    if arguments.instance:
        return nearfab.Host.from_instance(arguments.instance)
    return nearfab.Host.discover()


def print_host(host: nearfab.Host) -> None:
    for device in host.neuron:
        for core in range(device.cores):
            near = host.near_core(device.index, core)
            nearest = " = ".join(n.address for n in near if n.rank == 1)
            evidence = near[0].evidence if near else "no EFA interface"
            print(f"neuron{device.index}:{core}", nearest, evidence, sep="\t")


def main() -> int:
    parser = argparse.ArgumentParser(description="Which EFA interface is near each NeuronCore, and how nearfab knows.")
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--root", metavar="DIR")
    source.add_argument("--instance", metavar="TYPE")
    try:
        print_host(look(parser.parse_args()))
    except nearfab.NearfabError as error:
        print(f"near.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
