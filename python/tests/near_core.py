"""near_core.py TREE DEVICE CORE: print rank, address, proximity and evidence of each neighbour, tab-separated."""

import sys

import nearfab

tree, device, core = sys.argv[1:]
for near in nearfab.Host.from_root(tree).near_core(int(device), int(core)):
    print(near.rank, near.address, near.proximity, near.evidence, sep="\t")
