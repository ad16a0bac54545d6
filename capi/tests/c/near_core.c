/*
 * near_core TREE DEVICE CORE: prints the rank, address, proximity and evidence of each EFA interface, tab-separated, then
 * "nearest" and the address of each nearest interface.
 */
#include <nearfab.h>

#include "check.h"

static const char *proximity(uint32_t number)
{
    switch (number) {
    case NEARFAB_PROXIMITY_SAME_FUNCTION: return "same_function";
    case NEARFAB_PROXIMITY_SAME_SWITCH: return "same_switch";
    case NEARFAB_PROXIMITY_SAME_ROOT: return "same_root";
    case NEARFAB_PROXIMITY_SAME_NUMA: return "same_numa";
    case NEARFAB_PROXIMITY_OTHER_NUMA: return "other_numa";
    case NEARFAB_PROXIMITY_UNKNOWN: return "unknown";
    default: return "a number that is not in the header";
    }
}

int main(int argc, char **argv)
{
    nearfab_near_efa_t entries[64];
    char address[NEARFAB_BDF_SIZE];
    size_t i, count = 64;
    nearfab_host_t host;
    uint32_t device, core;

    CHECK(argc == 4);
    device = (uint32_t)strtoul(argv[2], NULL, 10);
    core = (uint32_t)strtoul(argv[3], NULL, 10);
    CHECK_OK(nearfab_host_from_root(argv[1], &host));
    CHECK_OK(nearfab_near_core(host, device, core, NEARFAB_BASIS_PAIRING, entries, sizeof *entries, &count));
    for (i = 0; i < count; i++) {
        CHECK_OK(nearfab_bdf_to_text(entries[i].address, address, sizeof address));
        printf("%u\t%s\t%s\t%s\n", (unsigned)entries[i].rank, address, proximity(entries[i].proximity),
               entries[i].evidence_text);
    }
    count = 64;
    CHECK_OK(nearfab_nearest_to_core(host, device, core, NEARFAB_BASIS_PAIRING, entries, sizeof *entries, &count));
    for (i = 0; i < count; i++) {
        CHECK_OK(nearfab_bdf_to_text(entries[i].address, address, sizeof address));
        printf("nearest\t%s\n", address);
    }
    CHECK_OK(nearfab_host_free(host));
    return 0;
}
