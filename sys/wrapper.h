/* The headers that the bindings of libibverbs and libefa are generated from. */
#include <infiniband/verbs.h>
#include <infiniband/efadv.h>
