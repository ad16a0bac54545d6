/* Null pointers, invalid texts and numbers, and wrong sizes are errors. Nothing is written beyond a short buffer. */
#include <nearfab.h>
#include <stdint.h>
#include <string.h>

#include "check.h"

#define BAD NEARFAB_ERROR_INVALID_ARGUMENT

static void hosts(void)
{
    nearfab_host_t host = {42};
    CHECK_CODE(nearfab_host_discover(NULL), BAD);
    CHECK(strcmp(nearfab_error_text(), "host is a null pointer") == 0);
    CHECK_CODE(nearfab_host_from_root(NULL, &host), BAD);
    CHECK_CODE(nearfab_host_from_root("/", NULL), BAD);
    CHECK_CODE(nearfab_host_from_instance(NULL, &host), BAD);
    CHECK_CODE(nearfab_host_from_instance("\xff", &host), BAD);
    CHECK_CODE(nearfab_host_from_file(NULL, &host), BAD);

    CHECK_CODE(nearfab_host_from_root("/no/such/folder\xff", &host), NEARFAB_ERROR_READ);
    CHECK(strstr(nearfab_error_text(), "/no/such/folder") != NULL);
    CHECK_CODE(nearfab_host_from_file("/dev/null", &host), NEARFAB_ERROR_RECORD);
    CHECK_CODE(nearfab_host_from_instance("trn9.large", &host), NEARFAB_ERROR_UNKNOWN_INSTANCE);
    CHECK(host.raw == 42);
}

static void texts(nearfab_host_t host)
{
    char text[16];
    size_t length = 0;

    CHECK_OK(nearfab_host_instance_type(host, NULL, 0, &length));
    CHECK(length == strlen("trn2.48xlarge"));
    CHECK_CODE(nearfab_host_instance_type(host, NULL, 1, NULL), BAD);
    memset(text, '#', sizeof text);
    CHECK_OK(nearfab_host_instance_type(host, text, 5, NULL));
    CHECK(memcmp(text, "trn2\0#", 6) == 0);
    CHECK_OK(nearfab_host_instance_type(host, text, sizeof text, &length));
    CHECK(strcmp(text, "trn2.48xlarge") == 0);
}

static void devices(nearfab_host_t host)
{
    struct {
        nearfab_efa_info_t known;
        char later[8];
    } newer;
    nearfab_neuron_info_t neuron;
    nearfab_efa_info_t efa;
    size_t count;

    CHECK_CODE(nearfab_neuron_count(host, NULL), BAD);
    CHECK_OK(nearfab_neuron_count(host, &count));
    CHECK(count == 16);
    CHECK_CODE(nearfab_neuron_get(host, 0, NULL, sizeof neuron), BAD);
    CHECK_CODE(nearfab_neuron_get(host, 0, &neuron, sizeof neuron - 1), BAD);
    CHECK_CODE(nearfab_neuron_get(host, 16, &neuron, sizeof neuron), BAD);
    CHECK_CODE(nearfab_neuron_get(host, SIZE_MAX, &neuron, sizeof neuron), BAD);
    CHECK_OK(nearfab_neuron_get(host, 15, &neuron, sizeof neuron));
    CHECK(neuron.index == 15 && neuron.cores == 8 && neuron.address_known);
    CHECK(strcmp(neuron.product, "Trainium2") == 0);

    CHECK_CODE(nearfab_efa_count(host, NULL), BAD);
    CHECK_CODE(nearfab_efa_get(host, 16, &efa, sizeof efa), BAD);
    CHECK_OK(nearfab_efa_get(host, 0, &efa, sizeof efa));
    CHECK(efa.uverbs == -1 && efa.access == NEARFAB_ACCESS_UNKNOWN && efa.rdma[0] == '\0');

    /* In a program that was compiled with a later header, the fields that this library does not know are zero. */
    memset(&newer, '#', sizeof newer);
    CHECK_OK(nearfab_efa_get(host, 0, &newer.known, sizeof newer));
    CHECK(newer.known.address.bus == efa.address.bus);
    CHECK(memcmp(newer.later, "\0\0\0\0\0\0\0", sizeof newer.later) == 0);
}

static void near(nearfab_host_t host)
{
    nearfab_near_efa_t efas[3];
    nearfab_near_neuron_t neurons[16];
    nearfab_bdf_t address = {0, 0, 0, 0, 0}, impossible = {0, 0x57, 32, 0, 0};
    size_t count = 3;
    bool missing = true;

    CHECK_CODE(nearfab_near_core(host, 5, 0, NEARFAB_BASIS_PAIRING, efas, sizeof *efas, NULL), BAD);
    CHECK_CODE(nearfab_near_core(host, 5, 0, NEARFAB_BASIS_PAIRING, NULL, sizeof *efas, &count), BAD);
    CHECK_CODE(nearfab_near_core(host, 5, 0, NEARFAB_BASIS_PAIRING, efas, sizeof *efas - 1, &count), BAD);
    CHECK_CODE(nearfab_near_core(host, 5, 0, 99, efas, sizeof *efas, &count), BAD);
    CHECK_CODE(nearfab_near_core(host, 16, 0, NEARFAB_BASIS_PAIRING, efas, sizeof *efas, &count),
               NEARFAB_ERROR_NO_SUCH_DEVICE);
    CHECK_CODE(nearfab_near_core(host, 5, 8, NEARFAB_BASIS_PAIRING, efas, sizeof *efas, &count),
               NEARFAB_ERROR_NO_SUCH_DEVICE);
    CHECK(count == 3);

    /* No more entries are written than there is room for. */
    memset(efas, '#', sizeof efas);
    count = 2;
    CHECK_OK(nearfab_near_core(host, 5, 0, NEARFAB_BASIS_PAIRING, efas, sizeof *efas, &count));
    CHECK(count == 2 && efas[0].rank == 1 && efas[0].evidence == NEARFAB_EVIDENCE_TABLE);
    CHECK(efas[0].address.bus == 0x57 && efas[1].rank == 2);
    CHECK(((char *)&efas[2])[0] == '#');
    count = 0;
    CHECK_OK(nearfab_near_core(host, 5, 0, NEARFAB_BASIS_PAIRING, NULL, sizeof *efas, &count));
    CHECK(count == 0);

    CHECK_CODE(nearfab_near_efa(host, impossible, NEARFAB_BASIS_PLACE, neurons, sizeof *neurons, &count), BAD);
    count = 16;
    CHECK_OK(nearfab_near_efa(host, efas[0].address, NEARFAB_BASIS_PLACE, neurons, sizeof *neurons, &count));
    CHECK(count == 16 && neurons[0].proximity == NEARFAB_PROXIMITY_SAME_SWITCH && neurons[0].bridges > 0);
    CHECK(neurons[0].evidence == NEARFAB_EVIDENCE_PLACE);
    CHECK(strcmp(neurons[0].evidence_text, "same PCIe switch") == 0);

    /* By pairing, only the paired interface is nearest. By place, both interfaces of the switch are nearest. */
    CHECK_CODE(nearfab_nearest_to_core(host, 5, 0, NEARFAB_BASIS_PAIRING, efas, sizeof *efas, NULL), BAD);
    count = 3;
    CHECK_CODE(nearfab_nearest_to_core(host, 5, 8, NEARFAB_BASIS_PAIRING, efas, sizeof *efas, &count),
               NEARFAB_ERROR_NO_SUCH_DEVICE);
    CHECK(count == 3);
    CHECK_OK(nearfab_nearest_to_core(host, 5, 0, NEARFAB_BASIS_PAIRING, efas, sizeof *efas, &count));
    CHECK(count == 1 && efas[0].address.bus == 0x57 && efas[0].evidence == NEARFAB_EVIDENCE_TABLE);
    count = 3;
    CHECK_OK(nearfab_nearest_to_core(host, 5, 0, NEARFAB_BASIS_PLACE, efas, sizeof *efas, &count));
    CHECK(count == 2 && efas[0].address.bus == 0x56 && efas[1].address.bus == 0x57 && efas[1].rank == 1);
    count = 1;
    CHECK_OK(nearfab_nearest_to_core(host, 5, 0, NEARFAB_BASIS_PLACE, efas, sizeof *efas, &count));
    CHECK(count == 1);
    CHECK_CODE(nearfab_nearest_to_efa(host, impossible, NEARFAB_BASIS_PAIRING, neurons, sizeof *neurons, &count), BAD);
    count = 16;
    CHECK_OK(nearfab_nearest_to_efa(host, efas[0].address, NEARFAB_BASIS_PAIRING, neurons, sizeof *neurons, &count));
    CHECK(count == 1 && neurons[0].evidence == NEARFAB_EVIDENCE_TABLE);

    CHECK_CODE(nearfab_missing_pair(host, 5, NULL, &address), BAD);
    CHECK_CODE(nearfab_missing_pair(host, 5, &missing, NULL), BAD);
    CHECK_OK(nearfab_missing_pair(host, 5, &missing, &address));
    CHECK(!missing && address.bus == 0);
}

static void addresses(void)
{
    char text[NEARFAB_BDF_SIZE];
    nearfab_bdf_t address = {1, 2, 3, 4, 0};

    CHECK_CODE(nearfab_bdf_from_text(NULL, &address), BAD);
    CHECK_CODE(nearfab_bdf_from_text("cc:00.0", NULL), BAD);
    CHECK_CODE(nearfab_bdf_from_text("cc:00", &address), NEARFAB_ERROR_BAD_NAME);
    CHECK(address.domain == 1);
    CHECK_OK(nearfab_bdf_from_text("ffffffff:ff:1f.7", &address));
    CHECK_CODE(nearfab_bdf_to_text(address, NULL, sizeof text), BAD);
    CHECK_OK(nearfab_bdf_to_text(address, text, sizeof text));
    CHECK(strcmp(text, "ffffffff:ff:1f.7") == 0);
    address.function = 8;
    CHECK_CODE(nearfab_bdf_to_text(address, text, sizeof text), BAD);
}

int main(void)
{
    nearfab_host_t host;
    hosts();
    addresses();
    CHECK_OK(nearfab_host_from_instance("trn2.48xlarge", &host));
    texts(host);
    devices(host);
    near(host);
    CHECK_OK(nearfab_host_free(host));
    return 0;
}
