/*
 * nearfab: which AWS EFA interface is near which Neuron (Trainium, Inferentia) core, and who may use them now.
 *
 * Made from the sources in capi/ by cbindgen; changes go there.
 *
 * Functions return 0 or a NEARFAB_ERROR_ number; nearfab_error_text() then says for people what happened. A function
 * that fails has written nothing through its pointers.
 *
 * Handles (nearfab_host_t, nearfab_efa_t) are numbers, not addresses: one that is zero, freed, or of another kind is
 * NEARFAB_ERROR_INVALID_HANDLE and does no harm. The caller frees each with its own function; everything else is
 * copied into the caller's memory. A handle belongs to the process that made it, and is NEARFAB_ERROR_FORKED in a forked
 * child: look and open again there.
 *
 * A null pointer is NEARFAB_ERROR_INVALID_ARGUMENT unless a function says that it may be one. Texts are UTF-8, paths
 * are whatever bytes the file system has. Every function may be called from every thread at any time.
 *
 * Structures grow at their ends in later versions. Functions that fill some are told the size that the caller was
 * compiled with: an older program gets the beginning that it knows, and in a newer one what the library does not know
 * is zero.
 */

#ifndef NEARFAB_H
#define NEARFAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * Bytes of a name in a structure, the NUL included. Longer names are cut.
 */
#define NEARFAB_NAME_SIZE 64

/**
 * Bytes that the text of any PCI address fits into, the NUL included.
 */
#define NEARFAB_BDF_SIZE 17

/**
 * The numbers that the functions return. They are the same in Rust (`nearfab::ErrorCode`) and Python
 * (`nearfab.ErrorCode`), and no number is reused.
 */
typedef enum {
  /**
   * The call succeeded.
   */
  NEARFAB_ERROR_NONE = 0,
  /**
   * A file or folder could not be read.
   */
  NEARFAB_ERROR_READ = 1,
  /**
   * A file was read and does not hold what it should.
   */
  NEARFAB_ERROR_MALFORMED = 2,
  /**
   * There is no table of this instance type.
   */
  NEARFAB_ERROR_UNKNOWN_INSTANCE = 3,
  /**
   * A recorded host could not be understood.
   */
  NEARFAB_ERROR_RECORD = 4,
  /**
   * The host has no such device or interface.
   */
  NEARFAB_ERROR_NO_SUCH_DEVICE = 5,
  /**
   * A text that names a device, core or interface could not be understood.
   */
  NEARFAB_ERROR_BAD_NAME = 6,
  /**
   * A device of a host that is not this machine was to be opened.
   */
  NEARFAB_ERROR_NOT_LIVE = 7,
  /**
   * A device node could not be opened.
   */
  NEARFAB_ERROR_NODE_REFUSED = 8,
  /**
   * A vendor library could not be loaded.
   */
  NEARFAB_ERROR_LIBRARY = 9,
  /**
   * A vendor library lacks a function that is needed.
   */
  NEARFAB_ERROR_MISSING_SYMBOL = 10,
  /**
   * A function of a vendor library failed.
   */
  NEARFAB_ERROR_CALL = 11,
  /**
   * A handle of the parent process was used in a forked child.
   */
  NEARFAB_ERROR_FORKED = 12,
  /**
   * The Neuron driver did not answer a question as it should.
   */
  NEARFAB_ERROR_DRIVER = 13,
  /**
   * A device did not answer in time.
   */
  NEARFAB_ERROR_DEADLINE = 14,
  /**
   * A probe was not made, because of what it could change.
   */
  NEARFAB_ERROR_PROBE_REFUSED = 15,
  /**
   * Telemetry, or a process, was wanted of a host that is no file tree.
   */
  NEARFAB_ERROR_NO_TREE = 16,
  /**
   * Memory could not be registered with an interface.
   */
  NEARFAB_ERROR_MEMORY = 17,
  /**
   * A vendor library is in the process more than once.
   */
  NEARFAB_ERROR_SEVERAL_LIBRARIES = 18,
  /**
   * A variable of this process makes a vendor library end it.
   */
  NEARFAB_ERROR_ABORTS = 19,
  /**
   * Ranks cannot be placed as was asked.
   */
  NEARFAB_ERROR_NO_PLAN = 20,
  /**
   * A C caller passed a null pointer, a text that is not UTF-8, or a number out of range.
   */
  NEARFAB_ERROR_INVALID_ARGUMENT = 64,
  /**
   * A C caller passed a handle that is zero, closed or of another kind.
   */
  NEARFAB_ERROR_INVALID_HANDLE = 65,
  /**
   * nearfab itself failed; please report it.
   */
  NEARFAB_ERROR_INTERNAL = 66,
} nearfab_error;

/**
 * Whether this process may use a device node, as access(2) tells. A container's device rules can still refuse what
 * is granted here; only opening shows that.
 */
typedef enum {
  /**
   * Not known: the host is no machine, or the question failed.
   */
  NEARFAB_ACCESS_UNKNOWN = 0,
  /**
   * The node is there, readable and writable.
   */
  NEARFAB_ACCESS_GRANTED = 1,
  /**
   * The node is there and this user may not read and write it.
   */
  NEARFAB_ACCESS_REFUSED = 2,
  /**
   * There is no node.
   */
  NEARFAB_ACCESS_MISSING = 3,
} nearfab_access;

/**
 * What nearness is judged by.
 */
typedef enum {
  /**
   * The vendor's pairing first, if the instance type has a table and the paired interface is attached. All other
   * devices by their places.
   */
  NEARFAB_BASIS_PAIRING = 0,
  /**
   * The places on PCI and the NUMA nodes only. The vendor's pairing is ignored.
   */
  NEARFAB_BASIS_PLACE = 1,
} nearfab_basis;

/**
 * How far apart two devices are.
 */
typedef enum {
  /**
   * Unknown: the host shows no place on PCI or no NUMA node for one of the two devices.
   */
  NEARFAB_PROXIMITY_UNKNOWN = 0,
  /**
   * Both are the same PCI function.
   */
  NEARFAB_PROXIMITY_SAME_FUNCTION = 1,
  /**
   * Both are below a common PCIe bridge.
   */
  NEARFAB_PROXIMITY_SAME_SWITCH = 2,
  /**
   * Both are below the same PCI root, without a common bridge. This is the closest level on hosts that show no
   * bridges.
   */
  NEARFAB_PROXIMITY_SAME_ROOT = 3,
  /**
   * Both are on the same NUMA node, below different PCI roots.
   */
  NEARFAB_PROXIMITY_SAME_NUMA = 4,
  /**
   * They are on different NUMA nodes.
   */
  NEARFAB_PROXIMITY_OTHER_NUMA = 5,
} nearfab_proximity;

/**
 * The kind of evidence for a rank.
 */
typedef enum {
  /**
   * Evidence that has no number in this header: read evidence_text.
   */
  NEARFAB_EVIDENCE_OTHER = 0,
  /**
   * The vendor's pairing, from the table of the instance type.
   */
  NEARFAB_EVIDENCE_TABLE = 1,
  /**
   * The places on PCI or the NUMA nodes.
   */
  NEARFAB_EVIDENCE_PLACE = 2,
} nearfab_evidence;

/**
 * A host: one snapshot of EFA interfaces and Neuron devices, where they are, and who may use them. It never changes;
 * to look again, make a new one. Free it with nearfab_host_free.
 */
typedef struct {
  /**
   * Zero is never a host.
   */
  uint64_t raw;
} nearfab_host_t;

/**
 * The address of a PCI function, written 0000:cc:00.0.
 */
typedef struct {
  /**
   * The PCI domain, 0 on every known EC2 instance.
   */
  uint32_t domain;
  /**
   * The bus.
   */
  uint8_t bus;
  /**
   * The device, 0 to 31.
   */
  uint8_t device;
  /**
   * The function, 0 to 7.
   */
  uint8_t function;
  /**
   * Zero from nearfab; not read.
   */
  uint8_t reserved;
} nearfab_bdf_t;

/**
 * A Neuron device.
 */
typedef struct {
  /**
   * The host's number of the device: the N of /dev/neuronN.
   */
  uint32_t index;
  /**
   * The number of physical NeuronCores.
   */
  uint32_t cores;
  /**
   * A NEARFAB_ACCESS_ number, for /dev/neuronN.
   */
  uint32_t access;
  /**
   * The NUMA node, -1 where it is not known.
   */
  int32_t numa_node;
  /**
   * The PCI address, where known.
   */
  nearfab_bdf_t address;
  /**
   * Whether the PCI address is known.
   */
  bool address_known;
  /**
   * Zero.
   */
  uint8_t reserved[3];
  /**
   * The product as the driver names it, such as "Trainium2"; empty where the driver does not say.
   */
  char product[NEARFAB_NAME_SIZE];
} nearfab_neuron_info_t;

/**
 * An EFA interface.
 */
typedef struct {
  /**
   * The PCI address, which identifies it.
   */
  nearfab_bdf_t address;
  /**
   * The NUMA node, -1 where it is not known.
   */
  int32_t numa_node;
  /**
   * The N of /dev/infiniband/uverbsN, -1 where the driver made none.
   */
  int32_t uverbs;
  /**
   * A NEARFAB_ACCESS_ number, for that node.
   */
  uint32_t access;
  /**
   * The RDMA device's name, such as "rdmap201s0"; empty where the driver made none.
   */
  char rdma[NEARFAB_NAME_SIZE];
} nearfab_efa_info_t;

/**
 * An EFA interface in a list by nearness to a core.
 */
typedef struct {
  /**
   * The PCI address of the interface.
   */
  nearfab_bdf_t address;
  /**
   * The place in the order of nearness, from 1. Interfaces of the same rank are equally near: their order means
   * nothing. Rank 1 alone does not mean near: if nothing is known, every interface has rank 1.
   */
  uint32_t rank;
  /**
   * A NEARFAB_PROXIMITY_ number: how far the interface is from the core's device.
   */
  uint32_t proximity;
  /**
   * With NEARFAB_PROXIMITY_SAME_SWITCH, the number of bridges between the two that they do not have in common;
   * otherwise 0.
   */
  uint32_t bridges;
  /**
   * A NEARFAB_EVIDENCE_ number: why the interface has its rank.
   */
  uint32_t evidence;
  /**
   * The evidence as text for people, such as "table trn2.48xlarge" or "same PCIe switch".
   */
  char evidence_text[NEARFAB_NAME_SIZE];
} nearfab_near_efa_t;

/**
 * A Neuron device in a list by nearness to an EFA interface.
 */
typedef struct {
  /**
   * The host's number of the device: N in /dev/neuronN.
   */
  uint32_t index;
  /**
   * The place in the order of nearness, from 1. Devices of the same rank are equally near: their order means
   * nothing. Rank 1 alone does not mean near: if nothing is known, every device has rank 1.
   */
  uint32_t rank;
  /**
   * A NEARFAB_PROXIMITY_ number: how far the device is from the interface.
   */
  uint32_t proximity;
  /**
   * With NEARFAB_PROXIMITY_SAME_SWITCH, the number of bridges between the two that they do not have in common;
   * otherwise 0.
   */
  uint32_t bridges;
  /**
   * A NEARFAB_EVIDENCE_ number: why the device has its rank.
   */
  uint32_t evidence;
  /**
   * The evidence as text for people, such as "table trn2.48xlarge" or "same PCIe switch".
   */
  char evidence_text[NEARFAB_NAME_SIZE];
} nearfab_near_neuron_t;

/**
 * An open EFA interface: one of its users in this process, who share one context. Close it with nearfab_efa_close. In
 * a forked child it is NEARFAB_ERROR_FORKED: open the interface again there.
 */
typedef struct {
  /**
   * Zero is never an open interface.
   */
  uint64_t raw;
} nearfab_efa_t;

/**
 * What an open EFA interface says about itself.
 */
typedef struct {
  /**
   * The node's GUID, in host order; 0 from drivers before 2.12.
   */
  uint64_t node_guid;
  /**
   * The largest memory region, in bytes.
   */
  uint64_t max_memory_region_size;
  /**
   * Memory regions at a time, of all processes.
   */
  uint32_t max_memory_regions;
  /**
   * Protection domains at a time, of all processes.
   */
  uint32_t max_protection_domains;
  /**
   * Queue pairs at a time, of all processes.
   */
  uint32_t max_queue_pairs;
  /**
   * Completion queues at a time, of all processes.
   */
  uint32_t max_completion_queues;
  /**
   * Outstanding work requests of a send queue.
   */
  uint32_t max_send_requests;
  /**
   * Outstanding work requests of a receive queue.
   */
  uint32_t max_receive_requests;
  /**
   * Bytes that a send may carry inside the work request.
   */
  uint32_t max_inline;
  /**
   * The longest message that one packet carries, in bytes.
   */
  uint32_t max_message_size;
  /**
   * The longest RDMA read or write, in bytes.
   */
  uint32_t max_rdma_size;
  /**
   * What it can do: the bits of EFADV_DEVICE_ATTR_CAPS_* in infiniband/efadv.h.
   */
  uint32_t capabilities;
  /**
   * The GID of its port, which peers address it by.
   */
  uint8_t gid[16];
  /**
   * Whether its port carries traffic.
   */
  bool port_active;
  /**
   * Zero.
   */
  uint8_t reserved[7];
  /**
   * The firmware's version; "0.0.0.0" from every driver so far.
   */
  char firmware[NEARFAB_NAME_SIZE];
} nearfab_efa_attributes_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Returns the text of this thread's last failure, for people, in UTF-8: what failed, why, and what to do. The text is
 * empty before the first failure. A call that succeeds does not change it.
 *
 * The text stays valid and unchanged until the next failure on this thread. Do not free it.
 */
const char *nearfab_error_text(void);

/**
 * Returns the version of this library, such as "0.1.0".
 */
const char *nearfab_version(void);

/**
 * Looks at this machine. Opens no device, needs no privilege and no vendor library; a machine without devices is a
 * host without devices.
 *
 * # Errors
 * NEARFAB_ERROR_READ where not even / can be opened, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `host` points to a nearfab_host_t.
 */
int32_t nearfab_host_discover(nearfab_host_t *host);

/**
 * Looks at the file tree below the folder `root`: /host in a container, or a recorded or synthetic sys and dev.
 *
 * # Errors
 * NEARFAB_ERROR_READ where the folder cannot be opened, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `root` is NUL-terminated, `host` points to a nearfab_host_t.
 */
int32_t nearfab_host_from_root(const char *root,
                               nearfab_host_t *host);

/**
 * What a host of an instance type such as "trn2.48xlarge" looks like with every EFA interface attached, by nearfab's
 * table of the type.
 *
 * # Errors
 * NEARFAB_ERROR_UNKNOWN_INSTANCE where there is no table, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `instance_type` is NUL-terminated, `host` points to a nearfab_host_t.
 */
int32_t nearfab_host_from_instance(const char *instance_type,
                                   nearfab_host_t *host);

/**
 * Reads a host recorded as JSON in a file.
 *
 * # Errors
 * NEARFAB_ERROR_READ where the file cannot be read, NEARFAB_ERROR_RECORD where it is no recorded host,
 * NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `path` is NUL-terminated, `host` points to a nearfab_host_t.
 */
int32_t nearfab_host_from_file(const char *path,
                               nearfab_host_t *host);

/**
 * Frees a host. Its handle is an error from then on, in every thread; calls that have begun end well.
 *
 * # Errors
 * NEARFAB_ERROR_INVALID_HANDLE.
 */
int32_t nearfab_host_free(nearfab_host_t host);

/**
 * Writes the instance type as the machine's firmware gives it into `buffer`, which has `size` bytes: an empty text
 * where it does not. A longer text is cut as by snprintf(3); `length` may be NULL and else gets the length of the
 * whole, without the NUL.
 *
 * # Errors
 * NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `buffer` is valid for `size` bytes, `length` is NULL or points to a size_t.
 */
int32_t nearfab_host_instance_type(nearfab_host_t host,
                                   char *buffer,
                                   size_t size,
                                   size_t *length);

/**
 * Writes all that is known of the host as JSON into `buffer`, which has `size` bytes: what nearfab_host_from_file
 * reads. A longer text is cut as by snprintf(3): ask for the `length` with a `size` of 0 first.
 *
 * # Errors
 * NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `buffer` is valid for `size` bytes, `length` is NULL or points to a size_t.
 */
int32_t nearfab_host_to_json(nearfab_host_t host,
                             char *buffer,
                             size_t size,
                             size_t *length);

/**
 * The number of Neuron devices that the driver shows.
 *
 * # Errors
 * NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `count` points to a size_t.
 */
int32_t nearfab_neuron_count(nearfab_host_t host, size_t *count);

/**
 * Describes the Neuron device at `position`, from 0 on in the order of the devices' numbers (of which some may be
 * missing). `size` is sizeof *info.
 *
 * # Errors
 * NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `info` points to `size` bytes.
 */
int32_t nearfab_neuron_get(nearfab_host_t host,
                           size_t position,
                           nearfab_neuron_info_t *info,
                           size_t size);

/**
 * The number of EFA interfaces.
 *
 * # Errors
 * NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `count` points to a size_t.
 */
int32_t nearfab_efa_count(nearfab_host_t host, size_t *count);

/**
 * Describes the EFA interface at `position`, from 0 on in the order of the addresses. `size` is sizeof *info.
 *
 * # Errors
 * NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `info` points to `size` bytes.
 */
int32_t nearfab_efa_get(nearfab_host_t host,
                        size_t position,
                        nearfab_efa_info_t *info,
                        size_t size);

/**
 * Lists all EFA interfaces by their nearness to a physical core: core number `core` of the Neuron device that has the
 * number `device` on the host. `basis` is a NEARFAB_BASIS_ number.
 *
 * `entries` has room for `*count` structures of `entry_size` bytes; `entry_size` is sizeof *entries. The nearest
 * interfaces are written first, and `*count` becomes the number of entries written. The whole list has
 * nearfab_efa_count entries. To get only the nearest interfaces, call nearfab_nearest_to_core.
 *
 * # Errors
 * NEARFAB_ERROR_NO_SUCH_DEVICE if the host has no such device or core, NEARFAB_ERROR_FORKED,
 * NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `count` points to a size_t, `entries` points to `*count` times `entry_size` bytes.
 */
int32_t nearfab_near_core(nearfab_host_t host,
                          uint32_t device,
                          uint32_t core,
                          uint32_t basis,
                          nearfab_near_efa_t *entries,
                          size_t entry_size,
                          size_t *count);

/**
 * Lists the EFA interfaces that are nearest to a physical core: one interface if the evidence decides, several if they
 * are equally near, none if nothing is known or the host has no interface. The arguments and errors are those of
 * nearfab_near_core.
 *
 * # Safety
 * `count` points to a size_t, `entries` points to `*count` times `entry_size` bytes.
 */
int32_t nearfab_nearest_to_core(nearfab_host_t host,
                                uint32_t device,
                                uint32_t core,
                                uint32_t basis,
                                nearfab_near_efa_t *entries,
                                size_t entry_size,
                                size_t *count);

/**
 * Lists all Neuron devices by their nearness to the EFA interface at a PCI address. `basis` is a NEARFAB_BASIS_
 * number.
 *
 * `entries` has room for `*count` structures of `entry_size` bytes; `entry_size` is sizeof *entries. The nearest
 * devices are written first, and `*count` becomes the number of entries written. The whole list has
 * nearfab_neuron_count entries. To get only the nearest devices, call nearfab_nearest_to_efa.
 *
 * # Errors
 * NEARFAB_ERROR_NO_SUCH_DEVICE if the host has no such interface, NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE,
 * NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `count` points to a size_t, `entries` points to `*count` times `entry_size` bytes.
 */
int32_t nearfab_near_efa(nearfab_host_t host,
                         nearfab_bdf_t address,
                         uint32_t basis,
                         nearfab_near_neuron_t *entries,
                         size_t entry_size,
                         size_t *count);

/**
 * Lists the Neuron devices that are nearest to an EFA interface: several if they are equally near, none if nothing is
 * known or the host has no Neuron device. The arguments and errors are those of nearfab_near_efa.
 *
 * # Safety
 * `count` points to a size_t, `entries` points to `*count` times `entry_size` bytes.
 */
int32_t nearfab_nearest_to_efa(nearfab_host_t host,
                               nearfab_bdf_t address,
                               uint32_t basis,
                               nearfab_near_neuron_t *entries,
                               size_t entry_size,
                               size_t *count);

/**
 * Finds out whether this host lacks the EFA interface that the vendor pairs with a Neuron device. That happens if
 * fewer interfaces than possible were attached at launch; nearness is then judged by place only. If the interface is
 * missing, `address` gets its PCI address; otherwise `address` is not changed.
 *
 * # Errors
 * NEARFAB_ERROR_NO_SUCH_DEVICE if the host has no such device, NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE,
 * NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `missing` points to a bool, `address` points to a nearfab_bdf_t.
 */
int32_t nearfab_missing_pair(nearfab_host_t host,
                             uint32_t device,
                             bool *missing,
                             nearfab_bdf_t *address);

/**
 * Opens the EFA interface at an address, or shares it where this process has it open. Only interfaces of the live
 * machine (nearfab_host_discover) can be opened.
 *
 * # Errors
 * NEARFAB_ERROR_NOT_LIVE; NEARFAB_ERROR_NO_SUCH_DEVICE where the host has no such interface, or one without a driver;
 * NEARFAB_ERROR_NODE_REFUSED where its node cannot be opened; NEARFAB_ERROR_LIBRARY or NEARFAB_ERROR_MISSING_SYMBOL
 * where libibverbs is not installed, or too old; NEARFAB_ERROR_CALL where libibverbs fails; NEARFAB_ERROR_FORKED where
 * the host is the parent's, or this process was forked while another thread was opening or closing an interface;
 * NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `efa` points to a nearfab_efa_t.
 */
int32_t nearfab_efa_open(nearfab_host_t host,
                         nearfab_bdf_t address,
                         nearfab_efa_t *efa);

/**
 * Ends this use of an interface. `users` may be NULL and else gets the number of users that are left in this process;
 * at 0 it has been closed. The handle is an error from then on, in every thread; calls that have begun on it end well,
 * and until the last of them does, this use is one of those left.
 *
 * # Errors
 * NEARFAB_ERROR_CALL where libibverbs reports a failure: the interface counts as closed all the same.
 * NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE.
 *
 * # Safety
 * `users` is NULL or points to a size_t.
 */
int32_t nearfab_efa_close(nearfab_efa_t efa,
                          size_t *users);

/**
 * The number of users that the interface has in this process, this one included.
 *
 * # Errors
 * NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `users` points to a size_t.
 */
int32_t nearfab_efa_users(nearfab_efa_t efa, size_t *users);

/**
 * Asks an open interface for its attributes and limits. `size` is sizeof *attributes.
 *
 * # Errors
 * NEARFAB_ERROR_LIBRARY or NEARFAB_ERROR_MISSING_SYMBOL where libefa is not installed, or too old; NEARFAB_ERROR_CALL
 * where it or libibverbs fails; NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `attributes` points to `size` bytes.
 */
int32_t nearfab_efa_query(nearfab_efa_t efa,
                          nearfab_efa_attributes_t *attributes,
                          size_t size);

/**
 * Writes an address as text into `buffer`, which has `size` bytes; NEARFAB_BDF_SIZE is enough. A longer text is cut
 * as by snprintf(3).
 *
 * # Errors
 * NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `buffer` is valid for `size` bytes.
 */
int32_t nearfab_bdf_to_text(nearfab_bdf_t address,
                            char *buffer,
                            size_t size);

/**
 * Reads an address from a text such as "0000:cc:00.0" or "cc:00.0".
 *
 * # Errors
 * NEARFAB_ERROR_BAD_NAME where the text is none, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `text` is NUL-terminated, `address` points to a nearfab_bdf_t.
 */
int32_t nearfab_bdf_from_text(const char *text, nearfab_bdf_t *address);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* NEARFAB_H */
