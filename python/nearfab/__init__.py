"""Find the AWS EFA interfaces near each Neuron (Trainium, Inferentia) core, and whether this process may use them.

>>> import nearfab
>>> host = nearfab.Host.from_instance("trn2.48xlarge")  # on a Trainium instance: Host.discover()
>>> for near in host.near_core(5, 0).nearest:
...     print(near.address, near.evidence)
0000:57:00.0 table trn2.48xlarge
"""

from enum import IntEnum

from nearfab._native import (
    Efa,
    EfaAttributes,
    EfaInterface,
    Host,
    NearEfa,
    NearfabError,
    NearNeuron,
    NeuronDevice,
    __version__,
)
from nearfab._near_list import NearList

__all__ = [
    "Efa",
    "EfaAttributes",
    "EfaInterface",
    "ErrorCode",
    "Host",
    "NearEfa",
    "NearList",
    "NearNeuron",
    "NearfabError",
    "NeuronDevice",
    "__version__",
]


class ErrorCode(IntEnum):
    """The numbers in ``NearfabError.code``. Rust and C have the same numbers. No number is reused."""

    READ = 1
    """A file or folder cannot be read."""
    MALFORMED = 2
    """A file, or an answer of a driver, has unexpected content."""
    UNKNOWN_INSTANCE = 3
    """nearfab has no table of this instance type."""
    RECORD = 4
    """A text is not a recorded host, or a host recorded in another format."""
    NO_SUCH_DEVICE = 5
    """The host has no such device, core or interface."""
    BAD_NAME = 6
    """A text is not a device, core, interface or list of them."""
    NOT_LIVE = 7
    """The caller asked to open a device of a host that is not this machine."""
    NODE_REFUSED = 8
    """A device node cannot be opened."""
    LIBRARY = 9
    """A vendor library cannot be loaded."""
    MISSING_SYMBOL = 10
    """A vendor library lacks a function that nearfab needs."""
    CALL = 11
    """A function of a vendor library failed."""
    FORKED = 12
    """A forked child used a handle that its parent had opened."""
    DRIVER = 13
    """The Neuron driver refused a command, or its answer is incomplete."""
    DEADLINE = 14
    """A device did not answer in time."""
    PROBE_REFUSED = 15
    """nearfab did not probe, because a probe could affect other machines or the open devices of this process."""
    NO_TREE = 16
    """The caller asked for telemetry, or for a process, of a host without a file tree."""
    MEMORY = 17
    """Memory cannot be registered with an interface."""
    SEVERAL_LIBRARIES = 18
    """Several copies of a vendor library are loaded in this process."""
    ABORTS = 19
    """An environment variable of this process would make a vendor library abort the process."""
    NO_PLAN = 20
    """The ranks cannot be placed on this host as the caller wants."""
    INVALID_ARGUMENT = 64
    """A C caller passed a null pointer, a text that is not UTF-8, or a number out of range."""
    INVALID_HANDLE = 65
    """A C caller passed a handle that is zero, closed or of another type."""
    INTERNAL = 66
    """nearfab itself failed: please report it."""
