/*
 * Prints the EFA interfaces that are nearest to each NeuronCore, and the evidence.
 *
 *     near                           of this machine
 *     near --root DIR                of the file tree below a folder, such as /host in a container
 *     near --instance trn2.48xlarge  of an instance type, from nearfab's table
 *
 * Compile: cc -std=c99 near.c -lnearfab
 */
#include <nearfab.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, nearfab_error_text());
    return EXIT_FAILURE;
}

/* Prints one line: the core, its nearest interfaces (several are equally near), and the evidence. */
static int print_core(nearfab_host_t host, uint32_t device, uint32_t core, nearfab_near_efa_t *nearest, size_t count)
{
    const char *evidence = "no EFA interface is known to be near";
    size_t i;

    if (nearfab_nearest_to_core(host, device, core, NEARFAB_BASIS_PAIRING, nearest, sizeof *nearest, &count) != 0) {
        return fail("near");
    }
    printf("neuron%u:%u\t%s", (unsigned)device, (unsigned)core, count == 0 ? "-" : "");
    for (i = 0; i < count; i++) {
        char address[NEARFAB_BDF_SIZE];
        if (nearfab_bdf_to_text(nearest[i].address, address, sizeof address) != 0) {
            return fail("address");
        }
        printf("%s%s", i == 0 ? "" : " = ", address);
        evidence = nearest[i].evidence_text;
    }
    printf("\t%s\n", evidence);
    return EXIT_SUCCESS;
}

static int print_host(nearfab_host_t host)
{
    size_t devices, efas, position;
    nearfab_near_efa_t *nearest;
    int status = EXIT_SUCCESS;

    if (nearfab_neuron_count(host, &devices) != 0 || nearfab_efa_count(host, &efas) != 0) {
        return fail("count");
    }
    nearest = calloc(efas + 1, sizeof *nearest);
    if (nearest == NULL) {
        perror("calloc");
        return EXIT_FAILURE;
    }
    for (position = 0; position < devices && status == EXIT_SUCCESS; position++) {
        nearfab_neuron_info_t device;
        uint32_t core;
        if (nearfab_neuron_get(host, position, &device, sizeof device) != 0) {
            status = fail("device");
            break;
        }
        for (core = 0; core < device.cores && status == EXIT_SUCCESS; core++) {
            status = print_core(host, device.index, core, nearest, efas);
        }
    }
    free(nearest);
    return status;
}

int main(int argc, char **argv)
{
    nearfab_host_t host;
    int32_t error;
    int status;

    if (argc == 1) {
        error = nearfab_host_discover(&host);
    } else if (argc == 3 && strcmp(argv[1], "--root") == 0) {
        error = nearfab_host_from_root(argv[2], &host);
    } else if (argc == 3 && strcmp(argv[1], "--instance") == 0) {
        error = nearfab_host_from_instance(argv[2], &host);
    } else {
        fprintf(stderr, "usage: near [--root DIR | --instance TYPE]\n");
        return 2;
    }
    if (error != 0) {
        return fail("host");
    }
    status = print_host(host);
    if (nearfab_host_free(host) != 0) {
        return fail("free");
    }
    return status;
}
