/* On a machine with EFA interfaces, two users of an interface share one context. The second close closes it. */
#include <nearfab.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

int main(void)
{
    nearfab_host_t host, table;
    nearfab_efa_info_t info;
    nearfab_efa_attributes_t attributes;
    nearfab_efa_t zero = {0}, first, second, foreign;
    size_t users = 0;
    int status;
    pid_t child;

    CHECK_OK(nearfab_host_discover(&host));
    CHECK_OK(nearfab_efa_get(host, 0, &info, sizeof info));
    CHECK(info.uverbs == 0 && info.access == NEARFAB_ACCESS_GRANTED && info.rdma[0] != '\0');

    CHECK_CODE(nearfab_efa_open(host, info.address, NULL), NEARFAB_ERROR_INVALID_ARGUMENT);
    CHECK_OK(nearfab_host_from_instance("trn2.48xlarge", &table));
    CHECK_CODE(nearfab_efa_open(table, info.address, &first), NEARFAB_ERROR_NOT_LIVE);

    CHECK_OK(nearfab_efa_open(host, info.address, &first));
    CHECK_OK(nearfab_efa_open(host, info.address, &second));
    CHECK(first.raw != second.raw);
    CHECK_OK(nearfab_efa_users(second, &users));
    CHECK(users == 2);

    CHECK_CODE(nearfab_efa_query(first, NULL, sizeof attributes), NEARFAB_ERROR_INVALID_ARGUMENT);
    CHECK_OK(nearfab_efa_query(first, &attributes, sizeof attributes));
    CHECK(attributes.port_active && attributes.max_queue_pairs > 0 && attributes.max_message_size == 8928);
    CHECK(attributes.gid[0] == 0xfe && attributes.gid[1] == 0x80);

    /* In the child the inherited handles are errors, and the child's calls change nothing in the parent. */
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_CODE(nearfab_efa_users(first, &users), NEARFAB_ERROR_FORKED);
        CHECK_CODE(nearfab_efa_close(first, NULL), NEARFAB_ERROR_FORKED);
        CHECK_CODE(nearfab_efa_open(host, info.address, &second), NEARFAB_ERROR_FORKED);
        CHECK(strstr(nearfab_error_text(), "was forked") != NULL);
        CHECK_CODE(nearfab_host_free(host), NEARFAB_ERROR_FORKED);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);

    /* The handle of a host is not a handle of an open interface, nor the reverse. */
    foreign.raw = host.raw;
    CHECK_CODE(nearfab_efa_users(foreign, &users), NEARFAB_ERROR_INVALID_HANDLE);
    CHECK_CODE(nearfab_efa_close(foreign, &users), NEARFAB_ERROR_INVALID_HANDLE);
    CHECK_CODE(nearfab_efa_close(zero, &users), NEARFAB_ERROR_INVALID_HANDLE);
    table.raw = first.raw;
    CHECK_CODE(nearfab_host_free(table), NEARFAB_ERROR_INVALID_HANDLE);

    CHECK_OK(nearfab_efa_close(first, &users));
    CHECK(users == 1);
    CHECK_CODE(nearfab_efa_query(first, &attributes, sizeof attributes), NEARFAB_ERROR_INVALID_HANDLE);
    CHECK_OK(nearfab_efa_query(second, &attributes, sizeof attributes));
    CHECK_OK(nearfab_efa_close(second, &users));
    CHECK(users == 0);
    CHECK_CODE(nearfab_efa_close(second, NULL), NEARFAB_ERROR_INVALID_HANDLE);
    CHECK_OK(nearfab_host_free(host));
    return 0;
}
