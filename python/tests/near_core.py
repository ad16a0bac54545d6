"""near_core.py TREE DEVICE CORE: print the rank, address, proximity and evidence of each EFA interface, tab-separated.

Then print "nearest" and the address of each nearest interface.
"""

import sys

import nearfab

tree, device, core = sys.argv[1:]
near_list = nearfab.Host.from_root(tree).near_core(int(device), int(core))
for near in near_list:
    print(near.rank, near.address, near.proximity, near.evidence, sep="\t")
for near in near_list.nearest:
    print("nearest", near.address, sep="\t")
