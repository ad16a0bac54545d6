"""Which AWS EFA interface is near which Neuron (Trainium, Inferentia) core, and who may use them now.

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
    """The numbers in ``NearfabError.code``. They are the same in Rust and C, and no number is reused."""

    READ = 1
    """A file or folder could not be read."""
    MALFORMED = 2
    """A file was read and does not hold what it should."""
    UNKNOWN_INSTANCE = 3
    """There is no table of this instance type."""
    RECORD = 4
    """A recorded host could not be understood."""
    NO_SUCH_DEVICE = 5
    """The host has no such device or interface."""
    BAD_NAME = 6
    """A text that names a device, core or interface could not be understood."""
    NOT_LIVE = 7
    """A device of a host that is not this machine was to be opened."""
    NODE_REFUSED = 8
    """A device node could not be opened."""
    LIBRARY = 9
    """A vendor library could not be loaded."""
    MISSING_SYMBOL = 10
    """A vendor library lacks a function that is needed."""
    CALL = 11
    """A function of a vendor library failed."""
    FORKED = 12
    """A handle of the parent process was used in a forked child."""
    DRIVER = 13
    """The Neuron driver did not answer a question as it should."""
    DEADLINE = 14
    """A device did not answer in time."""
    PROBE_REFUSED = 15
    """A probe was not made, because of what it could change."""
    NO_TREE = 16
    """Telemetry, or a process, was wanted of a host that is no file tree."""
    MEMORY = 17
    """Memory could not be registered with an interface."""
    SEVERAL_LIBRARIES = 18
    """A vendor library is in the process more than once."""
    ABORTS = 19
    """A variable of this process makes a vendor library end it."""
    NO_PLAN = 20
    """Ranks cannot be placed as was asked."""
    INVALID_ARGUMENT = 64
    """A C caller passed a null pointer, a text that is not UTF-8, or a number out of range."""
    INVALID_HANDLE = 65
    """A C caller passed a handle that is zero, closed or of another kind."""
    INTERNAL = 66
    """nearfab itself failed; please report it."""
