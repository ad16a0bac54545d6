/* What the bindings are made from. */
#include <infiniband/verbs.h>
#include <infiniband/efadv.h>
