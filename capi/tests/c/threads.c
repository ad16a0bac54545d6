/* Threads share a host, make and free hosts, and race to free one host. Each thread has its own error text. */
#include <nearfab.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include "check.h"

enum { THREADS = 8, ROUNDS = 50 };

static nearfab_host_t shared, raced;
static pthread_barrier_t start;

static void *work(void *argument)
{
    uint32_t device = (uint32_t)(uintptr_t)argument;
    uintptr_t freed;
    int round;

    CHECK(strcmp(nearfab_error_text(), "") == 0);
    pthread_barrier_wait(&start);
    /* All threads try to free this host: one thread succeeds. */
    freed = nearfab_host_free(raced) == NEARFAB_ERROR_NONE;
    for (round = 0; round < ROUNDS; round++) {
        char expected[32];
        nearfab_host_t own;
        nearfab_near_efa_t nearest;
        size_t count = 1;

        CHECK_OK(nearfab_near_core(shared, device, 0, NEARFAB_BASIS_PAIRING, &nearest, sizeof nearest, &count));
        CHECK(count == 1 && nearest.evidence == NEARFAB_EVIDENCE_TABLE);
        CHECK_CODE(nearfab_near_core(shared, 100 + device, 0, NEARFAB_BASIS_PAIRING, &nearest, sizeof nearest, &count),
                   NEARFAB_ERROR_NO_SUCH_DEVICE);
        snprintf(expected, sizeof expected, "Neuron device neuron%u;", (unsigned)(100 + device));
        CHECK(strstr(nearfab_error_text(), expected) != NULL);

        CHECK_OK(nearfab_host_from_instance("trn1.32xlarge", &own));
        CHECK_OK(nearfab_host_free(own));
        CHECK_CODE(nearfab_host_free(own), NEARFAB_ERROR_INVALID_HANDLE);
    }
    return (void *)freed;
}

int main(void)
{
    pthread_t threads[THREADS];
    uintptr_t i, frees = 0;

    CHECK_OK(nearfab_host_from_instance("trn2.48xlarge", &shared));
    CHECK_OK(nearfab_host_from_instance("trn2.48xlarge", &raced));
    CHECK(pthread_barrier_init(&start, NULL, THREADS) == 0);
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_create(&threads[i], NULL, work, (void *)i) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        void *freed;
        CHECK(pthread_join(threads[i], &freed) == 0);
        frees += (uintptr_t)freed;
    }
    CHECK(frees == 1);
    CHECK(pthread_barrier_destroy(&start) == 0);
    CHECK_OK(nearfab_host_free(shared));
    return 0;
}
