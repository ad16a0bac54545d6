/* Handles that are zero, closed or made up are errors, and do no harm to valid handles. */
#include <nearfab.h>
#include <string.h>

#include "check.h"

static void check_refused(nearfab_host_t host, const char *reason)
{
    size_t count = 77;
    nearfab_neuron_info_t info;
    CHECK_CODE(nearfab_neuron_count(host, &count), NEARFAB_ERROR_INVALID_HANDLE);
    CHECK(count == 77);
    CHECK(strstr(nearfab_error_text(), reason) != NULL);
    CHECK_CODE(nearfab_neuron_get(host, 0, &info, sizeof info), NEARFAB_ERROR_INVALID_HANDLE);
    CHECK_CODE(nearfab_host_free(host), NEARFAB_ERROR_INVALID_HANDLE);
}

int main(void)
{
    nearfab_host_t zero = {0}, first, second, foreign;
    size_t count = 0;

    check_refused(zero, "is zero");

    CHECK_OK(nearfab_host_from_instance("trn2.48xlarge", &first));
    CHECK_OK(nearfab_host_free(first));
    check_refused(first, "closed already");

    /* The next host may reuse the slot of the first one; the first handle stays an error. */
    CHECK_OK(nearfab_host_from_instance("trn1.32xlarge", &second));
    CHECK(second.raw != first.raw);
    check_refused(first, "closed already");

    foreign.raw = second.raw ^ (UINT64_C(3) << 56);
    check_refused(foreign, "not a handle of a host");
    foreign.raw = ~UINT64_C(0);
    check_refused(foreign, "not a handle of a host");

    CHECK_OK(nearfab_efa_count(second, &count));
    CHECK(count == 8);
    CHECK_OK(nearfab_host_free(second));
    return 0;
}
