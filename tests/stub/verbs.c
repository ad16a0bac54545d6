/*
 * A stand-in for libibverbs.so.1 and libefa.so.1 on a machine without RDMA, compiled by the tests against the installed
 * headers. It finds devices where the kernel would show them (/sys/class/infiniband_verbs, /dev/infiniband), answers with
 * what an EFA interface of the second generation (p5, trn1) has answered, and writes down each call.
 *
 *   cc -shared -fPIC -o libibverbs.so.1 verbs.c && ln -s libibverbs.so.1 libefa.so.1
 *
 * STUB_VERBS_LOG   file that gets a line for each call: the function, and the device if there is one
 * STUB_VERBS_FAIL  functions that fail, each with its errno: "ibv_query_device:5,ibv_close_device:16"
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <infiniband/efadv.h>
#include <infiniband/verbs.h>

/* The library exports the old function, which the header hides behind a macro. */
#undef ibv_query_port

#define VERBS_CLASS "/sys/class/infiniband_verbs"
#define MOST_DEVICES 64

/* Writes the call down; gives the errno with which it is to fail, or 0. */
static int called(const char *function, const char *device)
{
	const char *log = getenv("STUB_VERBS_LOG");
	if (log) {
		char line[256];
		int length = snprintf(line, sizeof(line), "%s%s%s\n", function, device ? " " : "", device ? device : "");
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
		/* A log that cannot be written would prove that nothing was called. */
		if (fd < 0 || write(fd, line, length) != length)
			abort();
		close(fd);
	}

	char wanted[64];
	int length = snprintf(wanted, sizeof(wanted), "%s:", function);
	const char *fail = getenv("STUB_VERBS_FAIL");
	const char *found = fail ? strstr(fail, wanted) : NULL;
	return found ? atoi(found + length) : 0;
}

static int failed(int error)
{
	errno = error;
	return -1;
}

static struct ibv_device *make_device(const char *uverbs)
{
	struct ibv_device *device = calloc(1, sizeof(*device));
	char path[512];

	snprintf(path, sizeof(path), VERBS_CLASS "/%s/ibdev", uverbs);
	FILE *file = fopen(path, "re");
	if (!device || !file || fscanf(file, "%63s", device->name) != 1)
		abort();
	fclose(file);
	snprintf(device->dev_name, sizeof(device->dev_name), "%s", uverbs);
	snprintf(device->dev_path, sizeof(device->dev_path), VERBS_CLASS "/%.200s", uverbs);
	snprintf(device->ibdev_path, sizeof(device->ibdev_path), "/sys/class/infiniband/%.200s", device->name);
	device->node_type = IBV_NODE_UNSPECIFIED;
	device->transport_type = IBV_TRANSPORT_UNSPECIFIED;
	return device;
}

struct ibv_device **ibv_get_device_list(int *num_devices)
{
	int error = called("ibv_get_device_list", NULL);
	DIR *folder = error ? NULL : opendir(VERBS_CLASS);
	if (!folder) {
		errno = error ? error : ENOSYS;
		return NULL;
	}

	struct ibv_device **list = calloc(MOST_DEVICES + 1, sizeof(*list));
	int count = 0;
	for (struct dirent *entry; (entry = readdir(folder)) && count < MOST_DEVICES;)
		if (!strncmp(entry->d_name, "uverbs", 6))
			list[count++] = make_device(entry->d_name);
	closedir(folder);
	if (num_devices)
		*num_devices = count;
	errno = ENOENT; /* As the real one leaves it after success. */
	return list;
}

void ibv_free_device_list(struct ibv_device **list)
{
	called("ibv_free_device_list", NULL);
	for (struct ibv_device **device = list; *device; device++)
		free(*device);
	free(list);
}

const char *ibv_get_device_name(struct ibv_device *device)
{
	return device->name;
}

struct ibv_context *ibv_open_device(struct ibv_device *device)
{
	errno = called("ibv_open_device", device->name);
	if (errno)
		return NULL;

	char path[512];
	snprintf(path, sizeof(path), "/dev/infiniband/%s", device->dev_name);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return NULL;

	struct ibv_context *context = calloc(1, sizeof(*context));
	struct ibv_device *copy = malloc(sizeof(*copy));
	if (!context || !copy)
		abort();
	*copy = *device;
	context->device = copy;
	context->cmd_fd = fd;
	context->async_fd = -1;
	context->num_comp_vectors = 1;
	errno = ENOSPC; /* As the real one leaves it after success. */
	return context;
}

int ibv_close_device(struct ibv_context *context)
{
	int error = called("ibv_close_device", context->device->name);
	close(context->cmd_fd);
	free(context->device);
	free(context);
	return error ? failed(error) : 0;
}

int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attr)
{
	int error = called("ibv_query_device", context->device->name);
	if (error)
		return error;
	*attr = (struct ibv_device_attr){
		.fw_ver = "0.0.0.0",
		.node_guid = htobe64(0x0102030405060708),
		.max_mr_size = 103079215104,
		.page_size_cap = 0xfffff000,
		.vendor_id = 0x1d0f,
		.vendor_part_id = 0xefa1,
		.hw_ver = 0xefa1,
		.max_qp = 256,
		.max_qp_wr = 4096,
		.max_sge = 2,
		.max_sge_rd = 1,
		.max_cq = 512,
		.max_cqe = 32768,
		.max_mr = 262144,
		.max_pd = 256,
		.max_ah = 1024,
		.max_pkeys = 1,
		.phys_port_cnt = 1,
	};
	return 0;
}

/* Like the real one, it writes the old structure only, which ends before port_cap_flags2. */
int ibv_query_port(struct ibv_context *context, uint8_t port_num, struct _compat_ibv_port_attr *port_attr)
{
	int error = called("ibv_query_port", context->device->name);
	if (error)
		return error;
	if (port_num != 1)
		return EINVAL;
	struct ibv_port_attr attr = {
		.state = IBV_PORT_ACTIVE,
		.max_mtu = IBV_MTU_4096,
		.active_mtu = IBV_MTU_4096,
		.gid_tbl_len = 1,
		.max_msg_sz = 8928,
		.pkey_tbl_len = 1,
		.lmc = 1,
		.max_vl_num = 1,
		.active_width = 2,
		.active_speed = 32,
		.phys_state = 5,
		.link_layer = IBV_LINK_LAYER_UNSPECIFIED,
	};
	memcpy(port_attr, &attr, offsetof(struct ibv_port_attr, port_cap_flags2));
	return 0;
}

int ibv_query_gid(struct ibv_context *context, uint8_t port_num, int index, union ibv_gid *gid)
{
	int error = called("ibv_query_gid", context->device->name);
	if (!error && (port_num != 1 || index != 0))
		error = EINVAL;
	if (error)
		return failed(error);
	inet_pton(AF_INET6, "fe80::8ff:fe01:203:405", gid->raw);
	return 0;
}

int efadv_query_device(struct ibv_context *context, struct efadv_device_attr *attr, uint32_t inlen)
{
	int error = called("efadv_query_device", context->device->name);
	if (error)
		return error;
	if (inlen < sizeof(*attr))
		return EINVAL;
	memset(attr, 0, inlen);
	attr->max_sq_wr = 4096;
	attr->max_rq_wr = 32768;
	attr->max_sq_sge = 2;
	attr->max_rq_sge = 3;
	attr->inline_buf_size = 32;
	/* The last bit means nothing yet: what a newer library says is to be kept. */
	attr->device_caps = 0xf | 1u << 31;
	attr->max_rdma_size = 1 << 30;
	return 0;
}
