from collections.abc import Iterable
from typing import TypeVar

_Near = TypeVar("_Near")


class NearList(list[_Near]):
    """All interfaces or devices of a host in the order of nearness. near_core and near_efa return a NearList.

    Rank 1 alone does not mean near: if nothing is known, every entry has rank 1. ``nearest`` has the nearest
    entries that this process can use.
    """

    __slots__ = ("_nearest",)

    def __init__(self, entries: Iterable[_Near], nearest: Iterable[_Near]) -> None:
        super().__init__(entries)
        self._nearest = tuple(nearest)

    @property
    def nearest(self) -> tuple[_Near, ...]:
        """The nearest entries that this process can use: several if equally near, none if nothing is known or usable."""
        return self._nearest
