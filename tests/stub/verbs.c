/*
 * A stand-in for libibverbs.so.1 and libefa.so.1 on a machine without RDMA, compiled by the tests against the installed
 * headers. The stand-in finds devices in the kernel's folders (/sys/class/infiniband_verbs, /dev/infiniband). The
 * stand-in returns attributes that were captured of an EFA interface of the second generation (p5, trn1), and logs each
 * call.
 *
 *   cc -shared -fPIC -o libibverbs.so.1 verbs.c && ln -s libibverbs.so.1 libefa.so.1
 *
 * The port query of the headers is an operation of the context, as in the real library, and returns more than the exported
 * function. STUB_VERBS_OLD makes the contexts of a library without that operation.
 *
 * Asynchronous events are read from the pipe STUB_VERBS_EVENTS: the number of a kind on each line. Events of a queue
 * pair name the queue pair that was created last.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <infiniband/efadv.h>
#include <infiniband/verbs.h>

#include "called.h"
#include "kept.h"

/* The library exports the old function. The header has a macro of the same name. */
#undef ibv_query_port

#define VERBS_CLASS "/sys/class/infiniband_verbs"
#define MOST_DEVICES 64

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
	errno = ENOENT; /* The real library leaves this after success. */
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

static const struct ibv_port_attr port = {
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
	.port_cap_flags2 = 7,
};

/* Like the real function, this function writes only the old structure, which ends before port_cap_flags2. */
int ibv_query_port(struct ibv_context *context, uint8_t port_num, struct _compat_ibv_port_attr *port_attr)
{
	int error = called("ibv_query_port", context->device->name);
	if (error)
		return error;
	if (port_num != 1)
		return EINVAL;
	memcpy(port_attr, &port, offsetof(struct ibv_port_attr, port_cap_flags2));
	return 0;
}

/* The operation gets the size of the caller's structure. */
static int query_port(struct ibv_context *context, uint8_t port_num, struct ibv_port_attr *port_attr, size_t length)
{
	int error = called("query_port", context->device->name);
	if (error)
		return error;
	if (port_num != 1)
		return EINVAL;
	memset(port_attr, 0, length);
	memcpy(port_attr, &port, length < sizeof(port) ? length : sizeof(port));
	return 0;
}

/*
 * STUB_VERBS_ALONE: the process aborts if a device has two contexts, or if a context is closed while it is used.
 */
static struct {
	_Atomic int contexts, users;
} alone[MOST_DEVICES];

static void count(_Atomic int *of, int change, int least, int most)
{
	int now = (*of += change);
	if (getenv("STUB_VERBS_ALONE") && (now < least || now > most))
		abort();
}

static int number(const struct ibv_device *device)
{
	return atoi(device->dev_name + strlen("uverbs")) % MOST_DEVICES;
}

/*
 * The beginning of each context, by its descriptor. Callers have only pointers into the middle of a context. Leak
 * checkers may report a context without a pointer to its beginning.
 */
static void *begins[1024];

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
	count(&alone[number(device)].contexts, 1, 1, 1);

	struct verbs_context *whole = calloc(1, sizeof(*whole));
	struct ibv_device *copy = malloc(sizeof(*copy));
	if (!whole || !copy)
		abort();
	struct ibv_context *context = &whole->context;
	*copy = *device;
	context->device = copy;
	context->cmd_fd = fd;
	const char *events = getenv("STUB_VERBS_EVENTS");
	context->async_fd = events ? open(events, O_RDWR | O_CLOEXEC) : open("/dev/null", O_WRONLY | O_CLOEXEC);
	context->num_comp_vectors = 1;
	context->abi_compat = __VERBS_ABI_IS_EXTENDED;
	whole->sz = sizeof(*whole);
	begins[fd % 1024] = whole;
	whole->query_port = query_port;
	const char *old = getenv("STUB_VERBS_OLD");
	if (old && !strcmp(old, "size"))
		whole->sz -= sizeof(void *);
	if (old && !strcmp(old, "operation"))
		whole->query_port = NULL;
	if (old && !strcmp(old, "context"))
		context->abi_compat = NULL;
	errno = ENOSPC; /* The real library leaves this after success. */
	return context;
}

int ibv_close_device(struct ibv_context *context)
{
	int error = called("ibv_close_device", context->device->name);
	void **begin = &begins[context->cmd_fd % 1024];
	sched_yield(); /* Lets another thread try to open the device now. */
	count(&alone[number(context->device)].contexts, -1, 0, 0);
	count(&alone[number(context->device)].users, 0, 0, 0);
	close(context->cmd_fd);
	close(context->async_fd);
	free(context->device);
	free(*begin);
	*begin = NULL;
	return error ? failed(error) : 0;
}

int ibv_query_device(struct ibv_context *context, struct ibv_device_attr *attr)
{
	int error = called("ibv_query_device", context->device->name), device = number(context->device);
	if (error)
		return error;
	count(&alone[device].users, 1, 1, INT_MAX);
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
	count(&alone[device].contexts, 0, 1, 1);
	count(&alone[device].users, -1, 0, INT_MAX);
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
	/* The last bit has no meaning yet. nearfab has to keep bits of newer libraries. */
	attr->device_caps = 0xf | 1u << 31;
	attr->max_rdma_size = 1 << 30;
	return 0;
}

/* Domains and queues count their children, and cannot be destroyed before their children. */
struct domain {
	struct ibv_pd pd;
	int children;
};

struct queue {
	struct ibv_cq cq;
	int children;
};

static uint32_t pairs;
static struct ibv_qp *last_pair;

struct ibv_pd *ibv_alloc_pd(struct ibv_context *context)
{
	errno = called("ibv_alloc_pd", context->device->name);
	if (errno)
		return NULL;
	struct domain *domain = make(sizeof(*domain));
	domain->pd.context = context;
	return &domain->pd;
}

int ibv_dealloc_pd(struct ibv_pd *pd)
{
	struct domain *domain = (struct domain *)pd;
	int error = called("ibv_dealloc_pd", pd->context->device->name);
	if (domain->children)
		abort();
	if (!error)
		unmake(domain);
	return error;
}

static struct ibv_mr *reg_mr(const char *function, struct ibv_pd *pd, void *addr, size_t length)
{
	errno = called(function, pd->context->device->name);
	if (errno)
		return NULL;
	struct ibv_mr *mr = make(sizeof(*mr));
	mr->context = pd->context;
	mr->pd = pd;
	mr->addr = addr;
	mr->length = length;
	mr->lkey = 0x1001;
	mr->rkey = 0x2002;
	((struct domain *)pd)->children++;
	return mr;
}

#undef ibv_reg_mr
struct ibv_mr *ibv_reg_mr(struct ibv_pd *pd, void *addr, size_t length, int access)
{
	(void)access;
	return reg_mr("ibv_reg_mr", pd, addr, length);
}

#ifndef STUB_VERBS_WITHOUT_DMABUF
struct ibv_mr *ibv_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t offset, size_t length, uint64_t iova, int fd, int access)
{
	(void)offset, (void)fd, (void)access;
	return reg_mr("ibv_reg_dmabuf_mr", pd, (void *)iova, length);
}
#endif

int ibv_dereg_mr(struct ibv_mr *mr)
{
	int error = called("ibv_dereg_mr", mr->context->device->name);
	if (error)
		return error;
	((struct domain *)mr->pd)->children--;
	unmake(mr);
	return 0;
}

struct ibv_cq *ibv_create_cq(struct ibv_context *context, int cqe, void *cq_context, struct ibv_comp_channel *channel,
			     int comp_vector)
{
	(void)cq_context, (void)channel, (void)comp_vector;
	errno = called("ibv_create_cq", context->device->name);
	if (errno)
		return NULL;
	struct queue *queue = make(sizeof(*queue));
	queue->cq.context = context;
	queue->cq.cqe = cqe;
	return &queue->cq;
}

int ibv_destroy_cq(struct ibv_cq *cq)
{
	int error = called("ibv_destroy_cq", cq->context->device->name);
	if (((struct queue *)cq)->children)
		abort();
	if (!error)
		unmake(cq);
	return error;
}

static struct ibv_qp *create_qp(const char *function, struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	errno = called(function, pd->context->device->name);
	if (errno)
		return NULL;
	struct ibv_qp *qp = make(sizeof(*qp));
	qp->context = pd->context;
	qp->pd = pd;
	qp->send_cq = attr->send_cq;
	qp->recv_cq = attr->recv_cq;
	qp->qp_type = attr->qp_type;
	qp->qp_num = ++pairs;
	((struct domain *)pd)->children++;
	((struct queue *)qp->send_cq)->children++;
	((struct queue *)qp->recv_cq)->children++;
	return last_pair = qp;
}

struct ibv_qp *ibv_create_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr)
{
	if (attr->qp_type != IBV_QPT_UD)
		abort();
	return create_qp("ibv_create_qp", pd, attr);
}

struct ibv_qp *efadv_create_driver_qp(struct ibv_pd *pd, struct ibv_qp_init_attr *attr, uint32_t driver_qp_type)
{
	if (attr->qp_type != IBV_QPT_DRIVER || driver_qp_type != EFADV_QP_DRIVER_TYPE_SRD)
		abort();
	return create_qp("efadv_create_driver_qp", pd, attr);
}

int ibv_destroy_qp(struct ibv_qp *qp)
{
	int error = called("ibv_destroy_qp", qp->context->device->name);
	if (error)
		return error;
	((struct domain *)qp->pd)->children--;
	((struct queue *)qp->send_cq)->children--;
	((struct queue *)qp->recv_cq)->children--;
	unmake(qp);
	return 0;
}

int ibv_get_async_event(struct ibv_context *context, struct ibv_async_event *event)
{
	int error = called("ibv_get_async_event", context->device->name);
	char kind[8] = "";

	for (char *end = kind; !error && end < kind + sizeof(kind) - 1; end++)
		if (read(context->async_fd, end, 1) != 1)
			error = EAGAIN;
		else if (*end == '\n')
			break;
	if (error)
		return failed(error);
	*event = (struct ibv_async_event){ .event_type = atoi(kind) };
	if (event->event_type >= IBV_EVENT_PORT_ACTIVE)
		event->element.port_num = 1;
	else if (event->event_type != IBV_EVENT_CQ_ERR)
		event->element.qp = last_pair;
	return 0;
}

void ibv_ack_async_event(struct ibv_async_event *event)
{
	(void)event;
	called("ibv_ack_async_event", NULL);
}
