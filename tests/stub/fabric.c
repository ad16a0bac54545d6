/*
 * A stand-in for libfabric.so.1 on a machine without EFA, compiled by the tests against the installed headers.
 * fi_getinfo returns two EFA interfaces, an interface without a bus, and an interface on a bus that is not PCI. The
 * first EFA interface has three entries. Only one thread at a time may use the objects of the third entry. Objects move
 * no data: a send completes at once, and so does a receive.
 *
 * The stand-in aborts if an object is closed before its children, and if a function gets invalid arguments.
 *
 * "completion:265" in STUB_FAIL makes accepted operations fail. Keys below STUB_FABRIC_TAKEN are in use.
 * STUB_FABRIC_SHORT names a table of functions that ends after its size, as in an older library; "all" means every table.
 */
#define _GNU_SOURCE
#include "called.h"
#include "kept.h"

#include <rdma/fabric.h>
#include <rdma/fi_cm.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>
#include <rdma/fi_eq.h>

static struct fi_info *entry(const char *provider, const char *domain, enum fi_ep_type type)
{
	struct fi_info *info = calloc(1, sizeof(*info));
	info->ep_attr = calloc(1, sizeof(*info->ep_attr));
	info->domain_attr = calloc(1, sizeof(*info->domain_attr));
	info->fabric_attr = calloc(1, sizeof(*info->fabric_attr));
	info->caps = FI_MSG;
	info->ep_attr->type = type;
	info->ep_attr->max_msg_size = 8928;
	info->domain_attr->name = domain ? strdup(domain) : NULL;
	info->domain_attr->threading = type == FI_EP_DGRAM ? FI_THREAD_DOMAIN : FI_THREAD_SAFE;
	info->domain_attr->mr_mode = FI_MR_LOCAL;
	info->fabric_attr->prov_name = provider ? strdup(provider) : NULL;
	info->fabric_attr->name = provider ? strdup(provider) : NULL;
	info->fabric_attr->api_version = FI_VERSION(1, 17);
	return info;
}

static struct fi_info *on_bus(struct fi_info *info, enum fi_bus_type type, uint8_t bus, uint8_t device)
{
	struct fid_nic *nic = calloc(1, sizeof(*nic));
	nic->bus_attr = calloc(1, sizeof(*nic->bus_attr));
	nic->bus_attr->bus_type = type;
	nic->bus_attr->attr.pci.bus_id = bus;
	nic->bus_attr->attr.pci.device_id = device;
	info->nic = nic;
	return info;
}

/* Adds a capability, for a second entry of the same interface. */
static struct fi_info *direct(struct fi_info *info)
{
	info->caps |= FI_RMA;
	return info;
}

uint32_t fi_version(void)
{
	return FI_VERSION(2, 3);
}

struct fi_info *fi_dupinfo(const struct fi_info *info)
{
	if (info)
		abort();
	return called("fi_dupinfo", NULL) ? NULL : entry(NULL, NULL, FI_EP_UNSPEC);
}

void fi_freeinfo(struct fi_info *info)
{
	called("fi_freeinfo", NULL);
	while (info) {
		struct fi_info *next = info->next;
		if (info->nic) {
			free(info->nic->bus_attr);
			free(info->nic);
		}
		free(info->domain_attr->name);
		free(info->domain_attr);
		free(info->fabric_attr->name);
		free(info->fabric_attr->prov_name);
		free(info->fabric_attr);
		free(info->ep_attr);
		free(info);
		info = next;
	}
}

int fi_getinfo(uint32_t version, const char *node, const char *service, uint64_t flags, const struct fi_info *hints,
	       struct fi_info **info)
{
	int error = called("fi_getinfo", NULL);
	if (error)
		return -error;
	/* nearfab requests the version that it knows, though the library is newer. */
	if (version != FI_VERSION(1, 17) || node || service || flags || !(hints->domain_attr->mr_mode & FI_MR_HMEM))
		abort();
	struct fi_info *all[] = {
		on_bus(direct(entry("efa", "rdmap201s0-rdm", FI_EP_RDM)), FI_BUS_PCI, 0xc9, 0),
		on_bus(entry("efa", "rdmap201s0-rdm", FI_EP_RDM), FI_BUS_PCI, 0xc9, 0),
		on_bus(entry("efa", "rdmap201s0-dgrm", FI_EP_DGRAM), FI_BUS_PCI, 0xc9, 0),
		on_bus(entry("efa", "rdmap202s0-rdm", FI_EP_RDM), FI_BUS_PCI, 0xca, 0),
		on_bus(entry("efa", "odd", 77), FI_BUS_PCI, 0xca, 99),
		on_bus(entry("other", "no-pci", FI_EP_RDM), FI_BUS_UNKNOWN, 1, 1),
		entry("tcp", NULL, FI_EP_MSG),
	};
	const char *provider = hints->fabric_attr->prov_name;
	*info = NULL;
	for (int i = sizeof(all) / sizeof(*all) - 1; i >= 0; i--) {
		if (provider && strcmp(provider, all[i]->fabric_attr->prov_name)) {
			all[i]->next = NULL;
			fi_freeinfo(all[i]);
			continue;
		}
		all[i]->next = *info;
		*info = all[i];
	}
	return *info ? 0 : -FI_ENODATA;
}

const char *fi_strerror(int error)
{
	return error == FI_ETRUNC ? "Truncation error" : "something else";
}

/* Any object: the structure of the object's kind, and the object's parents. */
#define MOST_PARENTS 4
struct object {
	union {
		struct fid fid;
		struct fid_fabric fabric;
		struct fid_domain domain;
		struct fid_av av;
		struct fid_cq cq;
		struct fid_ep ep;
		struct fid_mr mr;
	};
	const char *close;
	_Atomic int children;
	struct object *parents[MOST_PARENTS];
	int is_enabled;
	/* Completions of a queue. */
	int count;
	struct fi_cq_msg_entry done[8];
};

static struct object *add_parent(struct object *object, struct fid *parent)
{
	int at = 0;
	while (object->parents[at])
		if (++at == MOST_PARENTS)
			abort();
	object->parents[at] = (struct object *)parent;
	object->parents[at]->children++;
	return object;
}

static int close_object(struct fid *fid)
{
	struct object *object = (struct object *)fid;
	int error = called(object->close, NULL);
	if (object->children)
		abort();
	for (int i = 0; i < MOST_PARENTS && object->parents[i]; i++)
		object->parents[i]->children--;
	unmake(object);
	return -error;
}

static int bind(struct fid *fid, struct fid *to, uint64_t flags)
{
	int error = called("fi_ep_bind", NULL);
	if (error)
		return -error;
	if (to->fclass == FI_CLASS_CQ ? flags != FI_TRANSMIT && flags != FI_RECV : to->fclass != FI_CLASS_AV || flags)
		abort();
	add_parent((struct object *)fid, to);
	return 0;
}

static int control(struct fid *fid, int command, void *argument)
{
	struct object *object = (struct object *)fid;
	int error = called("fi_enable", NULL);
	if (error)
		return -error;
	/* The parents are a domain, an address vector and two queues. */
	if (command != FI_ENABLE || argument || !object->parents[3])
		abort();
	object->is_enabled = 1;
	return 0;
}

/* Returns the size of a table: the full size, or the size in an older library. */
static size_t size_of(const char *table, size_t size)
{
	const char *old = getenv("STUB_FABRIC_SHORT");
	return old && (!strcmp(old, table) || !strcmp(old, "all")) ? sizeof(size_t) : size;
}

#define TABLE(kind, ...)                                    \
	static struct kind table = {.size = sizeof(table), __VA_ARGS__}; \
	table.size = size_of(#kind, sizeof(table))

static struct object *make_object(const char *close, size_t class)
{
	TABLE(fi_ops, .close = close_object, .bind = bind, .control = control);
	struct object *object = make(sizeof(*object));
	object->fid.fclass = class;
	object->fid.ops = &table;
	object->close = close;
	return object;
}

static int getname(struct fid *fid, void *address, size_t *length)
{
	int error = called("fi_getname", NULL);
	if (error)
		return -error;
	if (!((struct object *)fid)->is_enabled || *length < sizeof("fi_stub"))
		abort();
	memcpy(address, "fi_stub", *length = sizeof("fi_stub"));
	return 0;
}

static ssize_t done(struct fid_ep *ep, int queue, void *context, uint64_t flags, size_t length)
{
	struct object *object = (struct object *)ep, *cq = object->parents[queue];
	if (!object->is_enabled || !context)
		abort();
	if (cq->count == sizeof(cq->done) / sizeof(*cq->done))
		return -FI_EAGAIN;
	cq->done[cq->count++] = (struct fi_cq_msg_entry){.op_context = context, .flags = flags, .len = length};
	/* The library may write the context, because the caller requested FI_CONTEXT2. */
	memset(context, 0xa5, sizeof(struct fi_context2));
	return 0;
}

static ssize_t send_memory(struct fid_ep *ep, const void *buf, size_t len, void *desc, fi_addr_t peer, void *context)
{
	int error = called("fi_send", desc ? "with a region" : NULL);
	if (!buf || peer)
		abort();
	return error ? -error : done(ep, 2, context, FI_MSG | FI_SEND, len);
}

static ssize_t receive_memory(struct fid_ep *ep, void *buf, size_t len, void *desc, fi_addr_t peer, void *context)
{
	int error = called("fi_recv", desc ? "with a region" : NULL);
	if (!buf || peer != FI_ADDR_UNSPEC)
		abort();
	return error ? -error : done(ep, 3, context, FI_MSG | FI_RECV, len / 2);
}

static int open_endpoint(struct fid_domain *domain, struct fi_info *info, struct fid_ep **ep, void *context)
{
	TABLE(fi_ops_msg, .send = send_memory, .recv = receive_memory);
	int error = called("fi_endpoint", info->domain_attr->name);
	if (error)
		return -error;
	struct object *object = add_parent(make_object("fi_close(ep)", FI_CLASS_EP), &domain->fid);
	static struct fi_ops_cm cm = {.size = sizeof(cm), .getname = getname};
	cm.size = size_of("fi_ops_cm", sizeof(cm));
	object->ep.msg = &table;
	object->ep.cm = &cm;
	*ep = &object->ep;
	(void)context;
	return 0;
}

static int insert(struct fid_av *av, const void *addr, size_t count, fi_addr_t *peers, uint64_t flags, void *context)
{
	int error = called("fi_av_insert", NULL);
	(void)av, (void)flags, (void)context;
	if (count != 1)
		abort();
	if (strcmp(addr, "fi_stub")) {
		peers[0] = FI_ADDR_NOTAVAIL;
		return 0;
	}
	peers[0] = 0;
	return error ? -error : 1;
}

static int open_av(struct fid_domain *domain, struct fi_av_attr *attr, struct fid_av **av, void *context)
{
	TABLE(fi_ops_av, .insert = insert);
	int error = called("fi_av_open", NULL);
	if (error)
		return -error;
	struct object *object = add_parent(make_object("fi_close(av)", FI_CLASS_AV), &domain->fid);
	if (attr->type != FI_AV_TABLE)
		abort();
	object->av.ops = &table;
	*av = &object->av;
	(void)context;
	return 0;
}

static ssize_t read_queue(struct fid_cq *cq, void *buf, size_t count)
{
	struct object *object = (struct object *)cq;
	int error = called("fi_cq_read", NULL);
	if (error)
		return -error;
	if (!object->count)
		return -FI_EAGAIN;
	if (called("completion", NULL))
		return -FI_EAVAIL;
	if (count > (size_t)object->count)
		count = object->count;
	memcpy(buf, object->done, count * sizeof(*object->done));
	object->count -= count;
	memmove(object->done, object->done + count, object->count * sizeof(*object->done));
	return count;
}

static ssize_t read_failed(struct fid_cq *cq, struct fi_cq_err_entry *entry, uint64_t flags)
{
	struct object *object = (struct object *)cq;
	int error = called("fi_cq_readerr", NULL);
	if (error)
		return -error;
	if (flags || entry->err_data_size)
		abort();
	entry->op_context = object->done[--object->count].op_context;
	entry->err = called("completion", NULL);
	entry->prov_errno = 4105;
	entry->olen = 7;
	/* The source address, the last member of entries since libfabric 1.20. */
	*(fi_addr_t *)(entry + 1) = 0;
	return 1;
}

static int open_queue(struct fid_domain *domain, struct fi_cq_attr *attr, struct fid_cq **cq, void *context)
{
	TABLE(fi_ops_cq, .read = read_queue, .readerr = read_failed);
	int error = called("fi_cq_open", NULL);
	if (error)
		return -error;
	if (attr->format != FI_CQ_FORMAT_MSG || attr->wait_obj != FI_WAIT_NONE)
		abort();
	struct object *object = add_parent(make_object("fi_close(cq)", FI_CLASS_CQ), &domain->fid);
	object->cq.ops = &table;
	*cq = &object->cq;
	(void)context;
	return 0;
}

static int register_memory(struct fid *domain, const void *buf, size_t len, uint64_t access, uint64_t offset, uint64_t key,
			   uint64_t flags, struct fid_mr **mr, void *context)
{
	char bits[32];
	snprintf(bits, sizeof(bits), "%#lx", (unsigned long)access);
	int error = called("fi_mr_reg", bits);
	const char *taken = getenv("STUB_FABRIC_TAKEN");
	if (!buf || !len || offset || flags || context)
		abort();
	if (taken && key < strtoul(taken, NULL, 0))
		return -FI_ENOKEY;
	if (error)
		return -error;
	struct object *object = add_parent(make_object("fi_close(mr)", FI_CLASS_MR), domain);
	object->mr.mem_desc = object;
	object->mr.key = key;
	*mr = &object->mr;
	return 0;
}

static int open_domain(struct fid_fabric *fabric, struct fi_info *info, struct fid_domain **domain, void *context)
{
	TABLE(fi_ops_domain, .av_open = open_av, .cq_open = open_queue, .endpoint = open_endpoint);
	int error = called("fi_domain", info->domain_attr->name);
	if (error)
		return -error;
	struct object *object = add_parent(make_object("fi_close(domain)", FI_CLASS_DOMAIN), &fabric->fid);
	static struct fi_ops_mr mr = {.size = sizeof(mr), .reg = register_memory};
	mr.size = size_of("fi_ops_mr", sizeof(mr));
	object->domain.ops = &table;
	object->domain.mr = &mr;
	*domain = &object->domain;
	(void)context;
	return 0;
}

int fi_fabric(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context)
{
	TABLE(fi_ops_fabric, .domain = open_domain);
	int error = called("fi_fabric", attr->name);
	if (error)
		return -error;
	struct object *object = make_object("fi_close(fabric)", FI_CLASS_FABRIC);
	object->fabric.ops = &table;
	*fabric = &object->fabric;
	(void)context;
	return 0;
}
