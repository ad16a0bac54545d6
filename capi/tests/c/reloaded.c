/*
 * reloaded LIBRARY [open]: loads the library, closes the library, and loads it again. Handles that were made before the
 * close stay valid. With "open", on a machine that has EFA interfaces, an interface that was opened before the close is
 * shared after the second load.
 */
#include <dlfcn.h>
#include <nearfab.h>
#include <stddef.h>
#include <string.h>

/* Pointers to the functions of the library, which this program is not linked with. All are null until load(). */
static struct {
    const char *(*error_text)(void);
    int32_t (*host_discover)(nearfab_host_t *);
    int32_t (*host_from_instance)(const char *, nearfab_host_t *);
    int32_t (*neuron_count)(nearfab_host_t, size_t *);
    int32_t (*efa_get)(nearfab_host_t, size_t, nearfab_efa_info_t *, size_t);
    int32_t (*efa_open)(nearfab_host_t, nearfab_bdf_t, nearfab_efa_t *);
    int32_t (*efa_users)(nearfab_efa_t, size_t *);
    int32_t (*efa_close)(nearfab_efa_t, size_t *);
} nearfab;

static const char *error_text(void)
{
    return nearfab.error_text == NULL ? "the library is closed" : nearfab.error_text();
}

#define nearfab_error_text error_text
#include "check.h"

static void resolve(void *library, const char *name, void *function)
{
    void *address = dlsym(library, name);
    CHECK(address != NULL);
    memcpy(function, &address, sizeof address);
}

static void *load(const char *path)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    resolve(library, "nearfab_error_text", &nearfab.error_text);
    resolve(library, "nearfab_host_discover", &nearfab.host_discover);
    resolve(library, "nearfab_host_from_instance", &nearfab.host_from_instance);
    resolve(library, "nearfab_neuron_count", &nearfab.neuron_count);
    resolve(library, "nearfab_efa_get", &nearfab.efa_get);
    resolve(library, "nearfab_efa_open", &nearfab.efa_open);
    resolve(library, "nearfab_efa_users", &nearfab.efa_users);
    resolve(library, "nearfab_efa_close", &nearfab.efa_close);
    return library;
}

static void reload(void *library, const char *path)
{
    memset(&nearfab, 0, sizeof nearfab);
    CHECK(dlclose(library) == 0);
    load(path);
}

static void a_host_survives(const char *path)
{
    nearfab_host_t host;
    size_t count = 0;
    void *library = load(path);

    CHECK_OK(nearfab.host_from_instance("trn2.48xlarge", &host));
    reload(library, path);
    CHECK_OK(nearfab.neuron_count(host, &count));
    CHECK(count == 16);
}

static void an_open_interface_is_shared(const char *path)
{
    nearfab_host_t host;
    nearfab_efa_info_t info;
    nearfab_efa_t first, second;
    size_t users = 0;
    void *library = load(path);

    CHECK_OK(nearfab.host_discover(&host));
    CHECK_OK(nearfab.efa_get(host, 0, &info, sizeof info));
    CHECK_OK(nearfab.efa_open(host, info.address, &first));
    reload(library, path);
    CHECK_OK(nearfab.host_discover(&host));
    CHECK_OK(nearfab.efa_open(host, info.address, &second));
    CHECK_OK(nearfab.efa_users(second, &users));
    CHECK(users == 2);
    CHECK_OK(nearfab.efa_close(first, &users));
    CHECK(users == 1);
    CHECK_OK(nearfab.efa_close(second, &users));
    CHECK(users == 0);
}

int main(int argc, char **argv)
{
    CHECK(argc == 2 || (argc == 3 && strcmp(argv[2], "open") == 0));
    if (argc == 2) {
        a_host_survives(argv[1]);
    } else {
        an_open_interface_is_shared(argv[1]);
    }
    return 0;
}
