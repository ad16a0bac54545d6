/* Zero, stale and made-up handles are errors, and a live one stays what it is. */
#include <nearfab.h>
#include <string.h>

#include "check.h"

static void refused(nearfab_host_t host, const char *because)
{
    size_t count = 77;
    nearfab_neuron_info_t info;
    CHECK_CODE(nearfab_neuron_count(host, &count), NEARFAB_ERROR_INVALID_HANDLE);
    CHECK(count == 77);
    CHECK(strstr(nearfab_error_text(), because) != NULL);
    CHECK_CODE(nearfab_neuron_get(host, 0, &info, sizeof info), NEARFAB_ERROR_INVALID_HANDLE);
    CHECK_CODE(nearfab_host_free(host), NEARFAB_ERROR_INVALID_HANDLE);
}

int main(void)
{
    nearfab_host_t zero = {0}, first, second, foreign;
    size_t count = 0;

    refused(zero, "is zero");

    CHECK_OK(nearfab_host_from_instance("trn2.48xlarge", &first));
    CHECK_OK(nearfab_host_free(first));
    refused(first, "closed already");

    /* The next host is likely to live where the first one did; the first handle stays dead. */
    CHECK_OK(nearfab_host_from_instance("trn1.32xlarge", &second));
    CHECK(second.raw != first.raw);
    refused(first, "closed already");

    foreign.raw = second.raw ^ (UINT64_C(3) << 56);
    refused(foreign, "not one of a host");
    foreign.raw = ~UINT64_C(0);
    refused(foreign, "not one of a host");

    CHECK_OK(nearfab_efa_count(second, &count));
    CHECK(count == 8);
    CHECK_OK(nearfab_host_free(second));
    return 0;
}
