/*
 * records TREE FILE: writes the host of TREE to FILE as JSON and reads FILE back. The interface paired with device 5
 * must be missing.
 */
#include <nearfab.h>
#include <string.h>

#include "check.h"

static void write_record(nearfab_host_t host, const char *path)
{
    size_t length;
    char *text;
    FILE *file;

    CHECK_OK(nearfab_host_to_json(host, NULL, 0, &length));
    text = malloc(length + 1);
    CHECK(text != NULL);
    CHECK_OK(nearfab_host_to_json(host, text, length + 1, NULL));
    CHECK(strlen(text) == length);
    file = fopen(path, "w");
    CHECK(file != NULL && fwrite(text, 1, length, file) == length && fclose(file) == 0);
    free(text);
}

int main(int argc, char **argv)
{
    nearfab_host_t host, recorded;
    nearfab_near_efa_t nearest;
    nearfab_bdf_t address;
    size_t efas, count = 1;
    bool missing;

    CHECK(argc == 3);
    CHECK_OK(nearfab_host_from_root(argv[1], &host));
    write_record(host, argv[2]);
    CHECK_OK(nearfab_host_free(host));

    CHECK_OK(nearfab_host_from_file(argv[2], &recorded));
    CHECK_OK(nearfab_efa_count(recorded, &efas));
    CHECK(efas == 15);
    CHECK_OK(nearfab_missing_pair(recorded, 5, &missing, &address));
    CHECK(missing && address.bus == 0x57);
    CHECK_OK(nearfab_nearest_to_core(recorded, 5, 0, NEARFAB_BASIS_PAIRING, &nearest, sizeof nearest, &count));
    CHECK(count == 1 && nearest.evidence == NEARFAB_EVIDENCE_PLACE && nearest.address.bus == 0x56);
    CHECK_OK(nearfab_missing_pair(recorded, 4, &missing, &address));
    CHECK(!missing);
    CHECK_OK(nearfab_host_free(recorded));
    return 0;
}
