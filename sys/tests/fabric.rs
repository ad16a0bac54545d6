//! Compares the bindings of libfabric with the installed headers by C compilers. Calls the functions that the headers
//! define inline, through tables of the sizes that older and newer libraries have.

#[macro_use]
#[expect(unused_macros, reason = "the test declares all fields of its structures")]
mod c;

use std::ffi::{c_int, c_void};
use std::mem::{align_of, offset_of, size_of};
use std::ptr::{null, null_mut};

use c::{Compiler, must};
use nearfab_sys::fabric::{self, *};
use nearfab_sys::operations;

const HEADERS: &str = "#include <stddef.h>\n#include <rdma/fabric.h>\n#include <rdma/fi_cm.h>\n#include <rdma/fi_domain.h>\n\
    #include <rdma/fi_endpoint.h>\n#include <rdma/fi_eq.h>\n#include <rdma/fi_errno.h>\n";

macro_rules! constants {
    ($c:ident, $($name:ident)*) => {
        $(must(&mut $c, &format!("{} == {}", stringify!($name), fabric::$name), stringify!($name));)*
    };
}

fn assertions() -> String {
    let mut c = String::from(HEADERS);
    structure!(
        c,
        fi_info {
            next,
            caps,
            mode,
            addr_format,
            src_addrlen,
            dest_addrlen,
            src_addr,
            dest_addr,
            handle,
            tx_attr,
            rx_attr,
            ep_attr,
            domain_attr,
            fabric_attr,
            nic
        }
    );
    structure!(
        c,
        fi_tx_attr { caps, mode, op_flags, msg_order, comp_order, inject_size, size, iov_limit, rma_iov_limit, tclass }
    );
    structure!(c, fi_rx_attr { caps, mode, op_flags, msg_order, comp_order, total_buffered_recv, size, iov_limit });
    structure!(
        c,
        fi_ep_attr {
            type_,
            protocol,
            protocol_version,
            max_msg_size,
            msg_prefix_size,
            max_order_raw_size,
            max_order_war_size,
            max_order_waw_size,
            mem_tag_format,
            tx_ctx_cnt,
            rx_ctx_cnt,
            auth_key_size,
            auth_key
        }
    );
    structure!(
        c,
        fi_domain_attr {
            domain,
            name,
            threading,
            control_progress,
            data_progress,
            resource_mgmt,
            av_type,
            mr_mode,
            mr_key_size,
            cq_data_size,
            cq_cnt,
            ep_cnt,
            tx_ctx_cnt,
            rx_ctx_cnt,
            max_ep_tx_ctx,
            max_ep_rx_ctx,
            max_ep_stx_ctx,
            max_ep_srx_ctx,
            cntr_cnt,
            mr_iov_limit,
            caps,
            mode,
            auth_key,
            auth_key_size,
            max_err_data,
            mr_cnt,
            tclass
        }
    );
    structure!(c, fi_fabric_attr { fabric, name, prov_name, prov_version, api_version });
    structure!(c, fi_device_attr { name, device_id, device_version, vendor_id, driver, firmware });
    structure!(c, fi_pci_attr { domain_id, bus_id, device_id, function_id });
    structure!(c, fi_link_attr { address, mtu, speed, state, network_type });
    structure!(c, fi_ops { size, close, bind, control, ops_open, tostr, ops_set });
    structure!(c, fid { fclass, context, ops });
    structure!(c, fi_ops_fabric { size, domain, passive_ep, eq_open, wait_open, trywait, domain2 });
    structure!(c, fid_fabric { fid, ops, api_version });
    structure!(c, fid_nic { fid, device_attr, bus_attr, link_attr, prov_attr });
    structure!(c, fi_cq_msg_entry { op_context, flags, len });
    structure!(
        c,
        fi_cq_err_entry { op_context, flags, len, buf, data, tag, olen, err, prov_errno, err_data, err_data_size }
    );
    structure!(c, fi_cq_attr { size, flags, format, wait_obj, signaling_vector, wait_cond, wait_set });
    structure!(c, fi_ops_cq { size, read, readfrom, readerr, sread, sreadfrom, signal, strerror });
    structure!(c, fid_cq { fid, ops });
    structure!(c, fi_av_attr { type_, rx_ctx_bits, count, ep_per_node, name, map_addr, flags });
    structure!(c, fi_ops_av { size, insert, insertsvc, insertsym, remove, lookup, straddr, av_set });
    structure!(c, fid_av { fid, ops });
    structure!(c, fid_mr { fid, mem_desc, key });
    structure!(
        c,
        fi_ops_domain {
            size,
            av_open,
            cq_open,
            endpoint,
            scalable_ep,
            cntr_open,
            poll_open,
            stx_ctx,
            srx_ctx,
            query_atomic,
            query_collective,
            endpoint2
        }
    );
    structure!(c, fi_ops_mr { size, reg, regv, regattr });
    structure!(c, fid_domain { fid, ops, mr });
    structure!(c, fi_ops_msg { size, recv, recvv, recvmsg, send, sendv, sendmsg, inject, senddata, injectdata });
    structure!(c, fid_ep { fid, ops, cm, msg, rma, tagged, atomic, collective });
    structure!(c, fi_ops_cm { size, setname, getname, getpeer, connect, listen, accept, reject, shutdown, join });
    structure!(c, fi_bus_attr { bus_type, attr });
    structure!(c, fi_context2 { internal });
    constants!(c, FI_MSG FI_RMA FI_TAGGED FI_READ FI_WRITE FI_RECV FI_SEND FI_TRANSMIT
        FI_REMOTE_READ FI_REMOTE_WRITE FI_HMEM FI_CONTEXT FI_CONTEXT2 FI_MR_LOCAL FI_MR_VIRT_ADDR FI_MR_ALLOCATED
        FI_MR_PROV_KEY FI_MR_ENDPOINT FI_MR_HMEM FI_EAGAIN FI_EAVAIL FI_ENODATA FI_ENOSYS FI_ENABLE
        FI_BUS_PCI FI_EP_DGRAM FI_EP_RDM FI_AV_TABLE FI_CQ_FORMAT_MSG FI_THREAD_SAFE FI_THREAD_DOMAIN FI_PROGRESS_MANUAL
        FI_WAIT_NONE);
    c
}

fn compilers(test: &str) -> Vec<Compiler> {
    c::compilers(test, HEADERS, "libfabric-dev")
}

#[test]
fn the_headers_agree_with_the_bindings() {
    for compiler in compilers("layouts of libfabric") {
        compiler.accepts(&assertions());
    }
}

#[test]
fn a_wrong_offset_is_refused() {
    for compiler in compilers("wrong offset of libfabric") {
        let wrong = assertions().replace("fi_info, nic) == 112", "fi_info, nic) == 120");
        assert_ne!(wrong, assertions());
        compiler.refuses(&wrong, "offset of fi_info.nic");
    }
}

const MISSING: c_int = -38;

unsafe extern "C" fn close(_: *mut fid) -> c_int {
    -16
}

unsafe extern "C" fn send(
    _: *mut fid_ep,
    _: *const c_void,
    length: usize,
    _: *mut c_void,
    to: fi_addr_t,
    _: *mut c_void,
) -> isize {
    length.cast_signed() + isize::from(to == 2) * 2
}

/// Calls an operation of tables with several sizes. A table of an older library ends before the operation. For such a
/// table the result is `-FI_ENOSYS`.
#[test]
fn an_operation_beyond_the_size_of_its_table_is_missing() {
    let mut ops = fi_ops { size: size_of::<fi_ops>(), close: Some(close), ..Default::default() };
    let mut object = fid { ops: &raw mut ops, ..Default::default() };
    for (size, answer) in [
        (size_of::<fi_ops>(), -16),
        (size_of::<fi_ops>() + 64, -16),
        (offset_of!(fi_ops, bind), -16),
        (offset_of!(fi_ops, close), MISSING),
        (0, MISSING),
    ] {
        ops.size = size;
        object.ops = &raw mut ops;
        // SAFETY: `object` and its table `ops` are local variables that outlive the call, and `close` has the type that
        // the table declares.
        assert_eq!(unsafe { operations::fi_close(&raw mut object) }, answer, "{size}");
    }
    object.ops = null_mut();
    // SAFETY: `object` is a local variable that outlives the call, and a null table is not read.
    assert_eq!(unsafe { operations::fi_close(&raw mut object) }, MISSING);
}

#[test]
fn arguments_and_results_are_passed_through() {
    let mut msg = fi_ops_msg { size: size_of::<fi_ops_msg>(), send: Some(send), ..Default::default() };
    let mut endpoint = fid_ep { msg: &raw mut msg, ..Default::default() };
    let endpoint = &raw mut endpoint;
    // SAFETY: the endpoint and its table `msg` are local variables that outlive the call, and `send` dereferences no
    // argument.
    assert_eq!(unsafe { operations::fi_send(endpoint, null(), 40, null_mut(), 2, null_mut()) }, 42);
    // SAFETY: the endpoint and its table are local variables that outlive the call, and the null operation is not
    // called.
    assert_eq!(unsafe { operations::fi_recv(endpoint, null_mut(), 40, null_mut(), 2, null_mut()) }, MISSING as isize);
    // SAFETY: the endpoint is a local variable that outlives the call, and its null table is not read.
    assert_eq!(unsafe { operations::fi_enable(endpoint) }, MISSING);
}
