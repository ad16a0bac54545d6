"""On a machine with EFA interfaces, two users of one interface share one context. The second close closes the context.

The tests in capi/ start this program and count the calls of libibverbs.
"""

import os

from nearfab import Efa, ErrorCode, Host, NearfabError

host = Host.discover()
address = host.efa[0].address
assert host.efa[0].access == "granted"

first = Efa.open(host, address)
with Efa.open(host, address) as second:
    assert first.users() == second.users() == 2
    attributes = second.attributes()
    assert attributes == first.attributes()
    assert attributes.port_active
    assert attributes.max_message_size == 8928
    assert attributes.gid.startswith("fe80:")
    assert "rdma_read" in attributes.capabilities

    child = os.fork()
    if child == 0:
        try:
            first.users()
        except NearfabError as error:
            os._exit(error.code)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == ErrorCode.FORKED

assert second.closed and not first.closed
try:
    second.users()
except ValueError as error:
    assert address in str(error)
else:
    raise AssertionError("a closed object still answers")
assert first.users() == 1
first.close()
first.close()
assert repr(first) == f"<nearfab.Efa {address}: closed>"
