/*
 * nearfab: which AWS EFA interface is near which Neuron (Trainium, Inferentia) core, and who may use them now.
 *
 * cbindgen makes this file from the sources in capi/: change the sources, not this file.
 *
 * Functions return 0 or a NEARFAB_ERROR_ number. After an error nearfab_error_text() returns a text for people. A function
 * that fails has written nothing through its pointers.
 *
 * Handles (nearfab_host_t, nearfab_efa_t) are numbers, not addresses. A handle that is zero, freed, or of another kind is
 * NEARFAB_ERROR_INVALID_HANDLE and does no harm. The caller frees each handle with the function for its kind; every other
 * result is copied into the caller's memory. A handle belongs to the process that made it. In a forked child it is
 * NEARFAB_ERROR_FORKED: make a new handle in the child.
 *
 * A null pointer is NEARFAB_ERROR_INVALID_ARGUMENT unless the function's description allows it. Texts are UTF-8. Paths
 * may have any bytes that the file system allows. Every thread may call every function at any time.
 *
 * Structures grow at their ends in later versions. Functions that fill structures take the size that the caller was
 * compiled with. A program that is older than the library gets the fields that it knows. In a program that is newer than
 * the library, the fields that the library does not know are zero.
 *
 * libnearfab.so.0 stays loaded after dlclose(3): handles stay valid and interfaces stay open for the next dlopen(3). Link
 * a shared library that contains libnearfab.a with -Wl,-z,nodelete for the same effect.
 */

#ifndef NEARFAB_H
#define NEARFAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The size of a name in a structure, in bytes, including the NUL. Longer names are cut.
 */
#define NEARFAB_NAME_SIZE 64

/**
 * How many bytes the text of a PCI address needs at most, including the NUL.
 */
#define NEARFAB_BDF_SIZE 17

/**
 * The numbers that the functions return. Rust (`nearfab::ErrorCode`) and Python (`nearfab.ErrorCode`) have the same
 * numbers. No number is reused.
 */
typedef enum {
  /**
   * The call succeeded.
   */
  NEARFAB_ERROR_NONE = 0,
  /**
   * A file or folder cannot be read.
   */
  NEARFAB_ERROR_READ = 1,
  /**
   * A file, or an answer of a driver, has unexpected content.
   */
  NEARFAB_ERROR_MALFORMED = 2,
  /**
   * nearfab has no table of this instance type.
   */
  NEARFAB_ERROR_UNKNOWN_INSTANCE = 3,
  /**
   * A text is not a recorded host, or a host recorded in another format.
   */
  NEARFAB_ERROR_RECORD = 4,
  /**
   * The host has no such device, core or interface.
   */
  NEARFAB_ERROR_NO_SUCH_DEVICE = 5,
  /**
   * A text is not a device, core, interface or list of them.
   */
  NEARFAB_ERROR_BAD_NAME = 6,
  /**
   * The caller asked to open a device of a host that is not this machine.
   */
  NEARFAB_ERROR_NOT_LIVE = 7,
  /**
   * A device node cannot be opened.
   */
  NEARFAB_ERROR_NODE_REFUSED = 8,
  /**
   * A vendor library cannot be loaded.
   */
  NEARFAB_ERROR_LIBRARY = 9,
  /**
   * A vendor library lacks a function that nearfab needs.
   */
  NEARFAB_ERROR_MISSING_SYMBOL = 10,
  /**
   * A function of a vendor library failed.
   */
  NEARFAB_ERROR_CALL = 11,
  /**
   * A forked child used a handle that its parent had opened.
   */
  NEARFAB_ERROR_FORKED = 12,
  /**
   * The Neuron driver refused a command, or its answer is incomplete.
   */
  NEARFAB_ERROR_DRIVER = 13,
  /**
   * A device did not answer in time.
   */
  NEARFAB_ERROR_DEADLINE = 14,
  /**
   * nearfab did not probe, because a probe could affect other machines or the open devices of this process.
   */
  NEARFAB_ERROR_PROBE_REFUSED = 15,
  /**
   * The caller asked for telemetry, or for a process, of a host without a file tree.
   */
  NEARFAB_ERROR_NO_TREE = 16,
  /**
   * Memory cannot be registered with an interface.
   */
  NEARFAB_ERROR_MEMORY = 17,
  /**
   * Several copies of a vendor library are loaded in this process.
   */
  NEARFAB_ERROR_SEVERAL_LIBRARIES = 18,
  /**
   * An environment variable of this process would make a vendor library abort the process.
   */
  NEARFAB_ERROR_ABORTS = 19,
  /**
   * The ranks cannot be placed on this host as the caller wants.
   */
  NEARFAB_ERROR_NO_PLAN = 20,
  /**
   * A C caller passed a null pointer, a text that is not UTF-8, or a number out of range.
   */
  NEARFAB_ERROR_INVALID_ARGUMENT = 64,
  /**
   * A C caller passed a handle that is zero, closed or of another type.
   */
  NEARFAB_ERROR_INVALID_HANDLE = 65,
  /**
   * nearfab itself failed: please report it.
   */
  NEARFAB_ERROR_INTERNAL = 66,
} nearfab_error;

/**
 * Whether this process may use a device node, as access(2) reports. The device rules of a container can refuse a node
 * that access(2) grants. Only opening the node shows such a refusal.
 */
typedef enum {
  /**
   * Unknown: the host is not a machine, or access(2) failed.
   */
  NEARFAB_ACCESS_UNKNOWN = 0,
  /**
   * The node exists, and this user may read and write the node.
   */
  NEARFAB_ACCESS_GRANTED = 1,
  /**
   * The node exists, and this user may not read and write the node.
   */
  NEARFAB_ACCESS_REFUSED = 2,
  /**
   * The node does not exist.
   */
  NEARFAB_ACCESS_MISSING = 3,
} nearfab_access;

/**
 * The evidence that decides nearness.
 */
typedef enum {
  /**
   * The vendor's pairing decides first, if the instance type has a table and the paired interface is attached. The
   * places decide for all other devices.
   */
  NEARFAB_BASIS_PAIRING = 0,
  /**
   * Only the places on PCI and the NUMA nodes decide. The vendor's pairing is ignored.
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
   * Both devices are the same PCI function.
   */
  NEARFAB_PROXIMITY_SAME_FUNCTION = 1,
  /**
   * Both devices are below a common PCIe bridge.
   */
  NEARFAB_PROXIMITY_SAME_SWITCH = 2,
  /**
   * Both devices are below the same PCI root, without a common bridge. On hosts that show no bridges, SAME_ROOT is
   * the closest level.
   */
  NEARFAB_PROXIMITY_SAME_ROOT = 3,
  /**
   * Both devices are on the same NUMA node, below different PCI roots.
   */
  NEARFAB_PROXIMITY_SAME_NUMA = 4,
  /**
   * The devices are on different NUMA nodes.
   */
  NEARFAB_PROXIMITY_OTHER_NUMA = 5,
} nearfab_proximity;

/**
 * The kind of evidence for a rank.
 */
typedef enum {
  /**
   * Evidence without a number in this header: read evidence_text.
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
 * A handle of a host: a snapshot of the EFA interfaces and Neuron devices of one machine. The snapshot has the places
 * of the devices, and whether this process may use each device. A host never changes: to see a change of the machine,
 * make a new host. Free a host with nearfab_host_free.
 */
typedef struct {
  /**
   * The number of the handle, never 0 for a host.
   */
  uint64_t raw;
} nearfab_host_t;

/**
 * The address of a PCI function. Its text is 0000:cc:00.0.
 */
typedef struct {
  /**
   * The PCI domain: 0 on every known EC2 instance.
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
   * nearfab writes 0 and does not read this field.
   */
  uint8_t reserved;
} nearfab_bdf_t;

/**
 * A Neuron device.
 */
typedef struct {
  /**
   * The host's number of the device: N in /dev/neuronN.
   */
  uint32_t index;
  /**
   * The number of physical NeuronCores.
   */
  uint32_t cores;
  /**
   * A NEARFAB_ACCESS_ number for /dev/neuronN.
   */
  uint32_t access;
  /**
   * The NUMA node, or -1 if it is unknown.
   */
  int32_t numa_node;
  /**
   * The PCI address, if address_known is true.
   */
  nearfab_bdf_t address;
  /**
   * Whether the PCI address is known.
   */
  bool address_known;
  /**
   * Always 0.
   */
  uint8_t reserved[3];
  /**
   * The driver's name of the product, such as "Trainium2", or "" if the driver does not name the product.
   */
  char product[NEARFAB_NAME_SIZE];
} nearfab_neuron_info_t;

/**
 * An EFA interface.
 */
typedef struct {
  /**
   * The PCI address, which identifies the interface.
   */
  nearfab_bdf_t address;
  /**
   * The NUMA node, or -1 if it is unknown.
   */
  int32_t numa_node;
  /**
   * N in /dev/infiniband/uverbsN, or -1 if the driver made no such node.
   */
  int32_t uverbs;
  /**
   * A NEARFAB_ACCESS_ number for /dev/infiniband/uverbsN.
   */
  uint32_t access;
  /**
   * The name of the RDMA device, such as "rdmap201s0", or "" if the driver made no RDMA device.
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
 * A handle of one user of an open EFA interface. All users in this process share one ibv_context. Close the handle
 * with nearfab_efa_close. In a forked child the handle is NEARFAB_ERROR_FORKED: open the interface again in the child.
 */
typedef struct {
  /**
   * The number of the handle, never 0 for an open interface.
   */
  uint64_t raw;
} nearfab_efa_t;

/**
 * The attributes and limits of an open EFA interface.
 */
typedef struct {
  /**
   * The node GUID in host byte order: 0 with drivers before 2.12.
   */
  uint64_t node_guid;
  /**
   * The size of the largest possible memory region, in bytes.
   */
  uint64_t max_memory_region_size;
  /**
   * How many memory regions all processes together can have at one time.
   */
  uint32_t max_memory_regions;
  /**
   * How many protection domains all processes together can have at one time.
   */
  uint32_t max_protection_domains;
  /**
   * How many queue pairs all processes together can have at one time.
   */
  uint32_t max_queue_pairs;
  /**
   * How many completion queues all processes together can have at one time.
   */
  uint32_t max_completion_queues;
  /**
   * How many work requests can be outstanding on one send queue.
   */
  uint32_t max_send_requests;
  /**
   * How many work requests can be outstanding on one receive queue.
   */
  uint32_t max_receive_requests;
  /**
   * How many bytes a send can carry inside its work request.
   */
  uint32_t max_inline;
  /**
   * The size of the largest message that fits into one packet, in bytes.
   */
  uint32_t max_message_size;
  /**
   * The size of the largest RDMA read or write, in bytes.
   */
  uint32_t max_rdma_size;
  /**
   * The capabilities of the device: the bits EFADV_DEVICE_ATTR_CAPS_* of infiniband/efadv.h.
   */
  uint32_t capabilities;
  /**
   * The GID of the port. Peers address the interface by this GID.
   */
  uint8_t gid[16];
  /**
   * Whether the port is active and carries traffic.
   */
  bool port_active;
  /**
   * Always 0.
   */
  uint8_t reserved[7];
  /**
   * The firmware version. Every driver so far reports "0.0.0.0".
   */
  char firmware[NEARFAB_NAME_SIZE];
} nearfab_efa_attributes_t;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Returns the text of this thread's last failure, for people, in UTF-8: what failed, why, and what to do. The text is
 * empty before the first failure. A call that succeeds does not change the text.
 *
 * The text stays valid and unchanged until the next failure on this thread. Do not free the text.
 */
const char *nearfab_error_text(void);

/**
 * Returns the version of this library, such as "0.1.0".
 */
const char *nearfab_version(void);

/**
 * Discovers this machine. The discovery opens no device, and needs no privilege and no vendor library. A machine
 * without devices gives a host without devices.
 *
 * # Errors
 * NEARFAB_ERROR_READ if the folder / cannot be opened, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `host` points to a nearfab_host_t.
 */
int32_t nearfab_host_discover(nearfab_host_t *host);

/**
 * Makes a host from the file tree below the folder `root`. `root` can be the machine's root at /host in a container,
 * or a folder with copied or emulated folders sys and dev.
 *
 * # Errors
 * NEARFAB_ERROR_READ if the folder cannot be opened, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `root` is NUL-terminated, `host` points to a nearfab_host_t.
 */
int32_t nearfab_host_from_root(const char *root,
                               nearfab_host_t *host);

/**
 * Makes a host of an instance type such as "trn2.48xlarge" from nearfab's table of the type, with every EFA interface
 * attached.
 *
 * # Errors
 * NEARFAB_ERROR_UNKNOWN_INSTANCE if nearfab has no table of the type, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `instance_type` is NUL-terminated, `host` points to a nearfab_host_t.
 */
int32_t nearfab_host_from_instance(const char *instance_type,
                                   nearfab_host_t *host);

/**
 * Reads a host that was recorded as JSON in a file.
 *
 * # Errors
 * NEARFAB_ERROR_READ if the file cannot be read, NEARFAB_ERROR_RECORD if the file does not contain a recorded host,
 * NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `path` is NUL-terminated, `host` points to a nearfab_host_t.
 */
int32_t nearfab_host_from_file(const char *path,
                               nearfab_host_t *host);

/**
 * Frees a host. After this call the handle is an error in every thread. Calls that other threads have begun on the
 * handle end normally.
 *
 * # Errors
 * NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE.
 */
int32_t nearfab_host_free(nearfab_host_t host);

/**
 * Writes the instance type into `buffer` of `size` bytes. The firmware of the machine reports the instance type. The
 * text is empty if the firmware reports no instance type. If the text is longer than the buffer, the text is cut as by
 * snprintf(3). If `length` is not NULL, `*length` becomes the length of the whole text without the NUL.
 *
 * # Errors
 * NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `buffer` is valid for `size` bytes, `length` is NULL or points to a size_t.
 */
int32_t nearfab_host_instance_type(nearfab_host_t host,
                                   char *buffer,
                                   size_t size,
                                   size_t *length);

/**
 * Writes the whole host as JSON into `buffer` of `size` bytes. nearfab_host_from_file reads a file with this text. If
 * the text is longer than the buffer, the text is cut as by snprintf(3). If `length` is not NULL, `*length` becomes
 * the length of the whole text without the NUL. To get only the length, call this function with a `size` of 0.
 *
 * # Errors
 * NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `buffer` is valid for `size` bytes, `length` is NULL or points to a size_t.
 */
int32_t nearfab_host_to_json(nearfab_host_t host,
                             char *buffer,
                             size_t size,
                             size_t *length);

/**
 * Gets the number of Neuron devices that the Neuron driver shows.
 *
 * # Errors
 * NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `count` points to a size_t.
 */
int32_t nearfab_neuron_count(nearfab_host_t host, size_t *count);

/**
 * Describes the Neuron device at `position`. Positions start at 0 and follow the order of the device numbers. The
 * device numbers may have gaps. `size` is sizeof *info.
 *
 * # Errors
 * NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `info` points to `size` bytes.
 */
int32_t nearfab_neuron_get(nearfab_host_t host,
                           size_t position,
                           nearfab_neuron_info_t *info,
                           size_t size);

/**
 * Gets the number of EFA interfaces.
 *
 * # Errors
 * NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `count` points to a size_t.
 */
int32_t nearfab_efa_count(nearfab_host_t host, size_t *count);

/**
 * Describes the EFA interface at `position`. Positions start at 0 and follow the order of the PCI addresses. `size` is
 * sizeof *info.
 *
 * # Errors
 * NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
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
 * Lists the nearest EFA interfaces to a physical core that this process can use. The list has one interface if the
 * evidence decides, and several interfaces if they are equally near. The list is empty if nothing is known, or if this
 * process can use no interface.
 * The arguments and errors are those of nearfab_near_core.
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
 * Lists the nearest Neuron devices to an EFA interface that this process can use. The list has several devices if they
 * are equally near. The list is empty if nothing is known, or if this process can use no device. The arguments and errors are those of
 * nearfab_near_efa.
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
 * Finds out whether this host lacks the EFA interface that the vendor pairs with a Neuron device. A host lacks paired
 * interfaces if fewer interfaces than possible were attached at launch. Without the paired interface, only the places
 * decide nearness. If the interface is missing, `*address` becomes the PCI address of the interface; otherwise
 * `*address` is not changed.
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
 * Opens the EFA interface at a PCI address. If this process has the interface open already, the new handle shares the
 * open context. Only interfaces of the live machine (nearfab_host_discover) can be opened.
 *
 * # Errors
 * - NEARFAB_ERROR_NOT_LIVE if the host is not the live machine.
 * - NEARFAB_ERROR_NO_SUCH_DEVICE if the host has no such interface, if the interface has no driver, or if the
 *   interface changed since the host was discovered.
 * - NEARFAB_ERROR_NODE_REFUSED if the device node of the interface cannot be opened.
 * - NEARFAB_ERROR_LIBRARY or NEARFAB_ERROR_MISSING_SYMBOL if libibverbs is not installed or too old.
 * - NEARFAB_ERROR_CALL if libibverbs fails.
 * - NEARFAB_ERROR_FORKED if the host belongs to the parent process, or if this process was forked while another thread
 *   was opening or closing an interface.
 * - NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `efa` points to a nearfab_efa_t.
 */
int32_t nearfab_efa_open(nearfab_host_t host,
                         nearfab_bdf_t address,
                         nearfab_efa_t *efa);

/**
 * Closes the handle of one user of an interface. If `users` is not NULL, `*users` becomes the number of users that are
 * left in this process. If `*users` is 0, the interface was closed.
 *
 * After this call the handle is an error in every thread. Calls that other threads have begun on the handle end
 * normally. This user counts as left until the last of these calls has returned.
 *
 * # Errors
 * NEARFAB_ERROR_CALL if libibverbs reports a failure: the interface still counts as closed. NEARFAB_ERROR_FORKED,
 * NEARFAB_ERROR_INVALID_HANDLE.
 *
 * # Safety
 * `users` is NULL or points to a size_t.
 */
int32_t nearfab_efa_close(nearfab_efa_t efa,
                          size_t *users);

/**
 * Gets the number of users of the interface in this process, including the user that owns the handle.
 *
 * # Errors
 * NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `users` points to a size_t.
 */
int32_t nearfab_efa_users(nearfab_efa_t efa,
                          size_t *users);

/**
 * Queries the attributes and limits of an open interface. `size` is sizeof *attributes.
 *
 * # Errors
 * - NEARFAB_ERROR_LIBRARY or NEARFAB_ERROR_MISSING_SYMBOL if libefa is not installed or too old.
 * - NEARFAB_ERROR_CALL if libefa or libibverbs fails.
 * - NEARFAB_ERROR_FORKED, NEARFAB_ERROR_INVALID_HANDLE, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `attributes` points to `size` bytes.
 */
int32_t nearfab_efa_query(nearfab_efa_t efa, nearfab_efa_attributes_t *attributes, size_t size);

/**
 * Writes a PCI address as text into `buffer` of `size` bytes. NEARFAB_BDF_SIZE bytes are enough for every address. If
 * the text is longer than the buffer, the text is cut as by snprintf(3).
 *
 * # Errors
 * NEARFAB_ERROR_INVALID_ARGUMENT if the device or the function of the address is out of range.
 *
 * # Safety
 * `buffer` is valid for `size` bytes.
 */
int32_t nearfab_bdf_to_text(nearfab_bdf_t address,
                            char *buffer,
                            size_t size);

/**
 * Reads a PCI address from a text such as "0000:cc:00.0" or "cc:00.0".
 *
 * # Errors
 * NEARFAB_ERROR_BAD_NAME if the text is not a PCI address, NEARFAB_ERROR_INVALID_ARGUMENT.
 *
 * # Safety
 * `text` is NUL-terminated, `address` points to a nearfab_bdf_t.
 */
int32_t nearfab_bdf_from_text(const char *text, nearfab_bdf_t *address);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* NEARFAB_H */
