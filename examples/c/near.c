/*
 * Which EFA interface is near each NeuronCore, and how nearfab knows.
 *
 *     near                           this machine
 *     near --root DIR                the tree below a folder, such as /host in a container
 *     near --instance trn2.48xlarge  what nearfab knows of an instance type
 *
 * Compile: cc -std=c99 near.c -lnearfab
 */
#include <nearfab.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failed(const char *what)
{
    fprintf(stderr, "%s: %s\n", what, nearfab_error_text());
    return EXIT_FAILURE;
}

/* One line: the core, its nearest interfaces (several are a tie), and the evidence. */
static int print_core(nearfab_host_t host, uint32_t device, uint32_t core, nearfab_near_efa_t *near, size_t count)
{
    size_t i;

    if (nearfab_near_core(host, device, core, NEARFAB_BASIS_PAIRING, near, sizeof *near, &count) != 0) {
        return failed("near");
    }
    printf("neuron%u:%u", (unsigned)device, (unsigned)core);
    for (i = 0; i < count && near[i].rank == 1; i++) {
        char address[NEARFAB_BDF_SIZE];
        if (nearfab_bdf_to_text(near[i].address, address, sizeof address) != 0) {
            return failed("address");
        }
        printf("%s%s", i == 0 ? "\t" : " = ", address);
    }
    printf("\t%s\n", count == 0 ? "no EFA interface" : near[0].evidence_text);
    return EXIT_SUCCESS;
}

static int print_host(nearfab_host_t host)
{
    size_t devices, efas, position;
    nearfab_near_efa_t *near;
    int status = EXIT_SUCCESS;

    if (nearfab_neuron_count(host, &devices) != 0 || nearfab_efa_count(host, &efas) != 0) {
        return failed("count");
    }
    near = calloc(efas + 1, sizeof *near);
    if (near == NULL) {
        perror("near");
        return EXIT_FAILURE;
    }
    for (position = 0; position < devices && status == EXIT_SUCCESS; position++) {
        nearfab_neuron_info_t device;
        uint32_t core;
        if (nearfab_neuron_get(host, position, &device, sizeof device) != 0) {
            status = failed("device");
            break;
        }
        for (core = 0; core < device.cores && status == EXIT_SUCCESS; core++) {
            status = print_core(host, device.index, core, near, efas);
        }
    }
    free(near);
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
        return failed("host");
    }
    status = print_host(host);
    if (nearfab_host_free(host) != 0) {
        return failed("free");
    }
    return status;
}
