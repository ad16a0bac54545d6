/*
 * A stand-in for libnrt.so.1 on a machine without Neuron devices. The stand-in answers as version 2.34 does on a
 * trn2.48xlarge with all cores free, and logs each call. The stand-in aborts on calls with undefined behaviour: a
 * second nrt_init, nrt_close before nrt_init, and any call in a process that was forked after nrt_init.
 *
 *   cc -shared -fPIC -o libnrt.so.1 nrt.c
 *
 * STUB_NRT_HELD      how often nrt_init finds the cores held before they are free
 * STUB_NRT_STRUCT    size of the instance structure in the library: 8 in older libraries, which refuse every other size; 64 in a
 *                    newer one; 32 if not set
 * STUB_NRT_INSTANCE  family and size: "5:7" if not set
 * STUB_NRT_EFA       the interface attached to every device: "0000:57:00.0" if not set
 * STUB_NRT_WORDS     the name of every status; "" for no name
 */
#define _GNU_SOURCE
#include "called.h"
#include <stddef.h>
#include <stdint.h>

typedef uint32_t NRT_STATUS;

enum { SUCCESS = 0, FAILURE = 1, INVALID = 2, RESOURCE = 4, UNINITIALIZED = 13, CLOSED = 14 };

static enum { LOADED, OPEN, ENDED } state = LOADED;
static pid_t initializer;

/* Logs the call. Returns the status with which the function has to fail, or 0. */
static int log_call(const char *function)
{
	int status = called(function, NULL);
	if (initializer && initializer != getpid())
		abort();
	return status;
}

/* Logs the call of a function that works only between nrt_init and nrt_close. Returns the status of the call. */
static int log_call_while_open(const char *function)
{
	int status = log_call(function);
	if (status)
		return status;
	return state == OPEN ? SUCCESS : state == ENDED ? CLOSED : UNINITIALIZED;
}

NRT_STATUS nrt_init(uint32_t framework, const char *fw_version, const char *fal_version)
{
	static int refused;
	const char *held = getenv("STUB_NRT_HELD");
	int status = log_call("nrt_init");

	if (status)
		return status;
	if (framework != 1 || *fw_version || *fal_version || state != LOADED)
		abort();
	if (held && refused++ < atoi(held))
		return RESOURCE;
	state = OPEN;
	initializer = getpid();
	return SUCCESS;
}

void nrt_close(void)
{
	log_call("nrt_close");
	if (state != OPEN)
		abort();
	state = ENDED;
}

struct version {
	uint64_t major, minor, patch, maintenance;
	char detail[128], git_hash[64];
};

NRT_STATUS nrt_get_version(struct version *version, size_t size)
{
	struct version own = { 2, 34, 10, 0, "2.34.10.0-release", "" };
	int status = log_call("nrt_get_version");

	if (status)
		return status;
	memset(own.git_hash, 'c', sizeof(own.git_hash)); /* The full field has no zero byte. */
	memcpy(version, &own, size < sizeof(own) ? size : sizeof(own));
	return SUCCESS;
}

const char *nrt_get_status_as_str(NRT_STATUS status)
{
	const char *words = getenv("STUB_NRT_WORDS");

	log_call("nrt_get_status_as_str");
	if (words)
		return *words ? words : NULL;
	switch (status) {
	case SUCCESS:
		return "NRT_SUCCESS";
	case RESOURCE:
		return "NRT_RESOURCE";
	default:
		return "UNKNOWN";
	}
}

struct instance {
	uint32_t family, size;
	char arch_name[16], device_revision[8];
	char newer[32];
};

NRT_STATUS nrt_get_instance_info(struct instance *info, size_t length)
{
	struct instance own = { 5, 7, "trn2", "a0", "not for old callers" };
	const char *known = getenv("STUB_NRT_STRUCT");
	const char *instance = getenv("STUB_NRT_INSTANCE");
	size_t size = known ? (size_t)atoi(known) : 32;
	int status = log_call("nrt_get_instance_info");

	if (status)
		return status;
	if (size == 8 && length != 8)
		return INVALID;
	if (instance && sscanf(instance, "%u:%u", &own.family, &own.size) != 2)
		abort();
	memcpy(info, &own, length < size ? length : size);
	return SUCCESS;
}

static NRT_STATUS count(const char *function, uint32_t *out, uint32_t value)
{
	int status = log_call(function);
	if (!status)
		*out = value;
	return status;
}

NRT_STATUS nrt_get_total_vnc_count(uint32_t *vnc_count)
{
	return count("nrt_get_total_vnc_count", vnc_count, 64);
}

NRT_STATUS nrt_get_total_nc_count(uint32_t *nc_count)
{
	return count("nrt_get_total_nc_count", nc_count, 64);
}

NRT_STATUS nrt_get_visible_vnc_count(uint32_t *vnc_count)
{
	return count("nrt_get_visible_vnc_count", vnc_count, 8);
}

NRT_STATUS nrt_get_visible_nc_count(uint32_t *nc_count)
{
	return count("nrt_get_visible_nc_count", nc_count, 8);
}

NRT_STATUS nrt_host_device_id_get(int neuron_dev, uint32_t *host_device_id)
{
	int status = log_call_while_open("nrt_host_device_id_get");

	if (!status && (neuron_dev < 0 || neuron_dev > 3))
		status = INVALID;
	if (!status)
		*host_device_id = neuron_dev + 12;
	return status;
}

NRT_STATUS nrt_get_attached_efa_bdf(const void *va, char *efa_bdf, size_t *len)
{
	const char *efa = getenv("STUB_NRT_EFA");
	int status = log_call("nrt_get_attached_efa_bdf");

	if (status)
		return status;
	if (!va)
		return FAILURE;
	efa = efa ? efa : "0000:57:00.0";
	if (*len < strlen(efa) + 1)
		return RESOURCE;
	strcpy(efa_bdf, efa);
	*len = strlen(efa);
	return SUCCESS;
}

int nec_get_device_pci_bdf(int neuron_dev, uint32_t *domain, uint32_t *bus_num, uint8_t *pci_slot, uint8_t *dev_func)
{
	int status = log_call_while_open("nec_get_device_pci_bdf");

	if (status)
		return -status;
	*domain = 0;
	*bus_num = neuron_dev == 3 ? 0x100 : 0xcc; /* The fourth device has an invalid bus. */
	*pci_slot = 0;
	*dev_func = 0;
	return 0;
}

NRT_STATUS nec_get_virtual_core_size(uint32_t *virtual_core_size)
{
	int status = log_call_while_open("nec_get_virtual_core_size");

	if (!status)
		*virtual_core_size = 2;
	return status;
}
