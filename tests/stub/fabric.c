/*
 * A stand-in for libfabric.so.1 on a machine without EFA, compiled by the tests against the installed headers: fi_getinfo gives
 * what a host with two EFA interfaces gives, three entries for each, an interface of no bus, and one whose bus is no PCI.
 *
 * STUB_FABRIC_FAIL  a number that fi_getinfo fails with
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include <rdma/fabric.h>
#include <rdma/fi_domain.h>
#include <rdma/fi_endpoint.h>

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
	info->fabric_attr->prov_name = provider ? strdup(provider) : NULL;
	info->fabric_attr->name = provider ? strdup(provider) : NULL;
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

uint32_t fi_version(void)
{
	return FI_VERSION(2, 3);
}

struct fi_info *fi_dupinfo(const struct fi_info *info)
{
	if (info)
		abort();
	return entry(NULL, NULL, FI_EP_UNSPEC);
}

void fi_freeinfo(struct fi_info *info)
{
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
	const char *fail = getenv("STUB_FABRIC_FAIL");
	if (fail)
		return -atoi(fail);
	/* What nearfab knows, though the library is newer. */
	if (version != FI_VERSION(1, 17) || node || service || flags || !(hints->domain_attr->mr_mode & FI_MR_HMEM))
		abort();
	struct fi_info *all[] = {
		on_bus(entry("efa", "rdmap201s0-rdm", FI_EP_RDM), FI_BUS_PCI, 0xc9, 0),
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
			fi_freeinfo(all[i]);
			continue;
		}
		all[i]->next = *info;
		*info = all[i];
	}
	return *info ? 0 : -FI_ENODATA;
}

int fi_fabric(struct fi_fabric_attr *attr, struct fid_fabric **fabric, void *context)
{
	(void)attr, (void)fabric, (void)context;
	return -FI_ENOSYS;
}

const char *fi_strerror(int error)
{
	return error == FI_EINVAL ? "Invalid argument" : "something else";
}
