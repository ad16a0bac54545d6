//! Tests of domains, regions and queues of an open EFA interface, through a stand-in for libibverbs. The stand-in
//! aborts if an object is destroyed before its children.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[path = "support/child.rs"]
mod child;
#[expect(dead_code, reason = "the tests of opening use the rest")]
mod support;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use child::in_a_child;
use nearfab::context::{
    Access, AsyncEventKind, AsyncEventSubject, Closed, CompletionQueue, Efa, MemoryRegion, ProtectionDomain, QueuePair,
    QueuePairOptions,
};
use nearfab::{Error, Host, Result};
use support::{Machine, calls, check_ends, log, on_machine, orders};

/// An object of each kind.
struct All {
    efa: Option<Efa>,
    domain: Option<ProtectionDomain>,
    region: Option<MemoryRegion>,
    dmabuf: Option<MemoryRegion>,
    queue: Option<CompletionQueue>,
    srd: Option<QueuePair>,
    ud: Option<QueuePair>,
}

/// The functions of libibverbs that create an object, in the form of [`support::Ends`].
const ENDS: [(&str, &str, &[&str]); 7] = [
    ("ibv_create_qp", "ibv_destroy_qp", &[]),
    ("efadv_create_driver_qp", "ibv_destroy_qp", &[]),
    ("ibv_create_cq", "ibv_destroy_cq", &["ibv_destroy_qp"]),
    ("ibv_reg_mr", "ibv_dereg_mr", &[]),
    ("ibv_reg_dmabuf_mr", "ibv_dereg_mr", &[]),
    ("ibv_alloc_pd", "ibv_dealloc_pd", &["ibv_destroy_qp", "ibv_dereg_mr"]),
    ("ibv_open_device", "ibv_close_device", &["ibv_dealloc_pd", "ibv_destroy_cq"]),
];

static MEMORY: [u8; 8192] = [0; 8192];

fn host_and_first() -> Result<(Host, Efa)> {
    let host = Host::discover()?;
    let efa = Efa::open(&host, host.efa_interfaces()[0].address())?;
    Ok((host, efa))
}

fn register(domain: &ProtectionDomain) -> Result<MemoryRegion> {
    // SAFETY: the memory is static, and neither the test nor the stand-in writes it.
    unsafe { domain.register(NonNull::from(&MEMORY[..]), Access::LOCAL_READ) }
}

impl All {
    fn new() -> Result<Self> {
        let (_, efa) = host_and_first()?;
        let domain = efa.protection_domain()?;
        let queue = efa.completion_queue(16)?;
        let zero = File::open("/dev/zero").unwrap();
        Ok(Self {
            region: Some(register(&domain)?),
            dmabuf: Some(domain.register_dmabuf(zero.as_fd(), 0, 4096, 0, Access::LOCAL_WRITE)?),
            srd: Some(domain.queue_pair(&QueuePairOptions::srd(), &queue, &queue)?),
            ud: Some(domain.queue_pair(&QueuePairOptions::ud(), &queue, &queue)?),
            efa: Some(efa),
            domain: Some(domain),
            queue: Some(queue),
        })
    }

    /// Drops one of the objects.
    fn drop_one(&mut self, which: usize) {
        match which {
            0 => drop(self.efa.take()),
            1 => drop(self.domain.take()),
            2 => drop(self.region.take()),
            3 => drop(self.queue.take()),
            4 => drop(self.srd.take()),
            5 => drop(self.ud.take()),
            _ => drop(self.dmabuf.take()),
        }
    }
}

fn close_in_every_order() -> Result<()> {
    for order in orders(6) {
        let start = log().len();
        let mut all = All::new()?;
        order.iter().for_each(|&which| all.drop_one(which));
        drop(all); // Drops the second region. No object depends on the second region.
        check_ends(&ENDS, start, order);
    }
    Ok(())
}

#[test]
fn children_are_destroyed_before_their_parents_in_every_order_of_drops() {
    let name = "children_are_destroyed_before_their_parents_in_every_order_of_drops";
    on_machine(name, Machine::add_stub, || close_in_every_order().unwrap());
}

fn closed_now<T>(of: Option<T>, close: fn(T) -> Result<Closed>) {
    assert_eq!(of.map(close).unwrap().unwrap(), Closed::Now);
}

fn ask_and_close() -> Result<()> {
    let All { efa, domain, region, dmabuf, queue, srd, ud } = All::new()?;
    let (first, second) = (srd.as_ref().unwrap(), ud.as_ref().unwrap());
    assert_eq!(second.number()?, first.number()? + 1);
    let keys = region.as_ref().unwrap();
    assert_eq!((keys.local_key()?, keys.remote_key()?), (0x1001, 0x2002));
    assert_eq!(keys.domain().as_raw()?, domain.as_ref().unwrap().as_raw()?);
    let users = efa.as_ref().unwrap().users()?;
    assert_eq!(users, 7, "each object on the interface uses it");

    // A domain with objects, and an object with a second user, are closed later.
    assert_eq!(domain.clone().unwrap().close()?, Closed::Later);
    assert_eq!(domain.unwrap().close()?, Closed::Later);
    assert_eq!(srd.clone().unwrap().close()?, Closed::Later);
    assert_eq!(calls("ibv_dealloc_pd") + calls("ibv_destroy_qp"), 0);
    closed_now(srd, QueuePair::close);
    closed_now(ud, QueuePair::close);
    closed_now(queue, CompletionQueue::close);
    closed_now(dmabuf, MemoryRegion::close);
    closed_now(region, MemoryRegion::close);
    assert_eq!(calls("ibv_dealloc_pd"), 1);
    assert_eq!(efa.unwrap().close()?, Closed::Now);
    Ok(())
}

#[test]
fn close_returns_whether_the_object_was_closed() {
    on_machine("close_returns_whether_the_object_was_closed", Machine::add_stub, || ask_and_close().unwrap());
}

fn failed<T>(result: Result<T>, name: &str, errno: i32) {
    let Some(Error::Call { function, device, cause, .. }) = result.err() else { panic!("{name} did not fail") };
    assert_eq!((function, cause.raw_os_error()), (name, Some(errno)));
    assert!(device.starts_with("rdmap") && device.contains(" (0000:"), "{device}");
}

#[test]
fn a_failed_creation_is_reported_and_leaves_no_object() {
    let prepare = |machine: &mut Machine| {
        let functions = ["ibv_alloc_pd:12", "ibv_create_cq:22"];
        machine.set("STUB_FAIL", &functions.join(","));
        machine.add_stub()
    };
    on_machine("a_failed_creation_is_reported_and_leaves_no_object", prepare, || {
        let (_, efa) = host_and_first().unwrap();
        failed(efa.protection_domain(), "ibv_alloc_pd", 12);
        failed(efa.completion_queue(16), "ibv_create_cq", 22);
        let error = efa.completion_queue(u32::MAX).unwrap_err();
        assert!(error.to_string().contains("out of range"), "{error}");
        assert_eq!(efa.users().unwrap(), 1);
        assert_eq!(efa.close().unwrap(), Closed::Now);
        assert_eq!(calls("ibv_close_device"), 1);
    });
}

#[test]
fn refused_queue_pairs_and_memory_regions_have_a_reason() {
    let prepare = |machine: &mut Machine| {
        let functions = ["efadv_create_driver_qp:12", "ibv_create_qp:95", "ibv_reg_mr:12", "ibv_reg_dmabuf_mr:22"];
        machine.set("STUB_FAIL", &functions.join(","));
        machine.add_stub()
    };
    on_machine("refused_queue_pairs_and_memory_regions_have_a_reason", prepare, || {
        let (host, efa) = host_and_first().unwrap();
        let (domain, queue) = (efa.protection_domain().unwrap(), efa.completion_queue(16).unwrap());
        failed(domain.queue_pair(&QueuePairOptions::srd(), &queue, &queue), "efadv_create_driver_qp", 12);
        failed(domain.queue_pair(&QueuePairOptions::ud(), &queue, &queue), "ibv_create_qp", 95);

        let (soft, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_MEMLOCK).unwrap();
        let limit =
            if soft == nix::sys::resource::RLIM_INFINITY { "without limit".to_owned() } else { soft.to_string() };
        let error = register(&domain).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("8192 bytes") && text.contains(&limit) && text.contains("262144 regions"), "{text}");
        assert!(text.contains("in pages of 4096 bytes or more"), "{text}");
        assert!(matches!(error, Error::Memory { length: 8192, ref cause, .. } if cause.raw_os_error() == Some(12)));
        let zero = File::open("/dev/zero").unwrap();
        let error = domain.register_dmabuf(zero.as_fd(), 0, 1 << 40, 0, Access::LOCAL_WRITE).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("at most 103079215104 bytes, in pages of 4096 bytes or more"), "{text}");

        // The numbers of another interface's queues are valid numbers on this interface too.
        let other = Efa::open(&host, host.efa_interfaces()[1].address()).unwrap().completion_queue(16).unwrap();
        for (send, receive) in [(&other, &queue), (&queue, &other)] {
            let error = domain.queue_pair(&QueuePairOptions::srd(), send, receive).unwrap_err();
            assert!(error.to_string().contains("is of another interface, 0000:"), "{error}");
        }
    });
}

#[test]
fn a_failed_destruction_is_reported_and_never_repeated() {
    let prepare = |machine: &mut Machine| {
        let functions =
            ["ibv_dealloc_pd:16", "ibv_dereg_mr:22", "ibv_destroy_cq:16", "ibv_destroy_qp:22", "ibv_close_device:5"];
        machine.set("STUB_FAIL", &functions.join(","));
        machine.add_stub()
    };
    on_machine("a_failed_destruction_is_reported_and_never_repeated", prepare, || {
        let (_, efa) = host_and_first().unwrap();
        failed(efa.protection_domain().unwrap().close(), "ibv_dealloc_pd", 16);
        failed(efa.completion_queue(16).unwrap().close(), "ibv_destroy_cq", 16);
        assert_eq!((calls("ibv_dealloc_pd"), calls("ibv_destroy_cq"), efa.users().unwrap()), (1, 1, 1));
        drop((efa.protection_domain().unwrap(), efa.completion_queue(16).unwrap()));
        assert_eq!((calls("ibv_dealloc_pd"), calls("ibv_destroy_cq")), (2, 2));
        failed(efa.close(), "ibv_close_device", 5);
    });
}

fn forked<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::Forked { owner, .. }) if owner == std::os::unix::process::parent_id())
}

#[test]
fn in_a_forked_child_every_call_is_refused_and_nothing_is_destroyed() {
    on_machine("in_a_forked_child_every_call_is_refused_and_nothing_is_destroyed", Machine::add_stub, || {
        let mut all = All::new().unwrap();
        let before = log().len();
        in_a_child(|| {
            let All { efa, domain, region, dmabuf, queue, srd, ud } = &mut all;
            let (efa, domain, queue) = (efa.as_ref().unwrap(), domain.as_ref().unwrap(), queue.as_ref().unwrap());
            let refused = forked(efa.protection_domain())
                && forked(efa.completion_queue(1))
                && forked(efa.next_event())
                && forked(efa.event_fd())
                && forked(efa.as_raw())
                && forked(register(domain))
                && forked(domain.queue_pair(&QueuePairOptions::srd(), queue, queue))
                && forked(domain.as_raw())
                && forked(queue.as_raw())
                && forked(domain.register_dmabuf(std::io::stdin().as_fd(), 0, 1, 0, Access::LOCAL_READ))
                && forked(domain.clone().close())
                && forked(queue.clone().close())
                && forked(efa.clone().close())
                && forked(srd.as_ref().unwrap().number())
                && forked(srd.as_ref().unwrap().as_raw())
                && forked(region.as_ref().unwrap().local_key())
                && forked(region.as_ref().unwrap().remote_key())
                && forked(region.as_ref().unwrap().as_raw())
                && forked(dmabuf.take().unwrap().close())
                && forked(ud.take().unwrap().close())
                && forked(region.take().unwrap().close());
            (0..7).for_each(|which| all.drop_one(which));
            refused
        });
        assert_eq!(log().len(), before, "the child called the library");
        all.srd.as_ref().unwrap().number().unwrap();
        (0..7).rev().for_each(|which| all.drop_one(which));
        for (make, end, _) in ENDS.iter().filter(|(make, ..)| make.contains("alloc") || make.contains("open")) {
            assert_eq!(calls(make), calls(end));
        }
        assert_eq!((calls("ibv_destroy_qp"), calls("ibv_dereg_mr")), (2, 2));
    });
}

#[test]
fn an_older_library_without_dmabufs_does_everything_else() {
    let prepare = |machine: &mut Machine| {
        machine.add_stub()?;
        let without = format!("#define STUB_VERBS_WITHOUT_DMABUF\n{}", support::STUB);
        machine.compile("libibverbs.so.1", &without).unwrap_or_else(|errors| panic!("{errors}"));
        Ok(())
    };
    on_machine("an_older_library_without_dmabufs_does_everything_else", prepare, || {
        let (_, efa) = host_and_first().unwrap();
        let domain = efa.protection_domain().unwrap();
        register(&domain).unwrap();
        let zero = File::open("/dev/zero").unwrap();
        let error = domain.register_dmabuf(zero.as_fd(), 0, 4096, 0, Access::LOCAL_WRITE).unwrap_err();
        let Error::MissingSymbol { library, symbol, .. } = error else { panic!("{error}") };
        assert_eq!((library, symbol), ("libibverbs.so.1", "ibv_reg_dmabuf_mr"));
    });
}

/// Returns the number of calls of the context's port query, and of the older function.
fn port_queries() -> (usize, usize) {
    let (_, efa) = host_and_first().unwrap();
    assert_eq!(efa.port_attributes().unwrap().max_message_size, 8928);
    (calls("query_port"), calls("ibv_query_port"))
}

#[test]
fn a_port_is_queried_by_the_operation_of_its_context() {
    on_machine("a_port_is_queried_by_the_operation_of_its_context", Machine::add_stub, || {
        assert_eq!(port_queries(), (1, 0))
    });
}

fn assert_queried_by_the_function(name: &str, what: &str) {
    let prepare = |machine: &mut Machine| {
        machine.set("STUB_VERBS_OLD", what);
        machine.add_stub()
    };
    on_machine(name, prepare, || assert_eq!(port_queries(), (0, 1)));
}

#[test]
fn a_port_of_a_shorter_context_is_queried_by_the_function() {
    assert_queried_by_the_function("a_port_of_a_shorter_context_is_queried_by_the_function", "size");
}

#[test]
fn a_port_of_a_context_without_the_operation_is_queried_by_the_function() {
    assert_queried_by_the_function("a_port_of_a_context_without_the_operation_is_queried_by_the_function", "operation");
}

#[test]
fn a_port_of_a_plain_context_is_queried_by_the_function() {
    assert_queried_by_the_function("a_port_of_a_plain_context_is_queried_by_the_function", "context");
}

#[test]
fn events_are_returned_and_acknowledged() {
    let prepare = |machine: &mut Machine| {
        let pipe = machine.file("events");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::from_bits_truncate(0o666)).unwrap();
        machine.set("STUB_VERBS_EVENTS", pipe.to_str().unwrap());
        machine.add_stub()
    };
    on_machine("events_are_returned_and_acknowledged", prepare, || {
        let all = All::new().unwrap();
        let efa = all.efa.as_ref().unwrap();
        assert_eq!(efa.next_event().unwrap(), None);
        let mut pipe = OpenOptions::new().write(true).open(std::env::var_os("STUB_VERBS_EVENTS").unwrap()).unwrap();
        pipe.write_all(b"1\n9\n8\n99\n").unwrap();
        let last = all.ud.as_ref().unwrap().number().unwrap();
        let next = || {
            let event = efa.next_event().unwrap().unwrap();
            (event.kind, event.subject)
        };
        assert_eq!(next(), (AsyncEventKind::QueuePairFatal, Some(AsyncEventSubject::QueuePair(last))));
        assert_eq!(next(), (AsyncEventKind::PortActive, Some(AsyncEventSubject::Port(1))));
        assert_eq!(next(), (AsyncEventKind::DeviceFatal, None));
        assert_eq!(next(), (AsyncEventKind::Unknown(99), None));
        assert_eq!(efa.next_event().unwrap(), None);
        assert_eq!(calls("ibv_ack_async_event"), 4);
    });
}

#[test]
fn a_borrowed_handle_is_used_and_left_open() {
    on_machine("a_borrowed_handle_is_used_and_left_open", Machine::add_stub, || {
        let (host, lent) = host_and_first().unwrap();
        let context = NonNull::new(lent.as_raw().unwrap()).unwrap();
        // SAFETY: the context stays open to the end of the test.
        let borrowed = unsafe { Efa::borrow_raw(&host, context) }.unwrap();
        assert_eq!((borrowed.address(), borrowed.users().unwrap()), (lent.address(), 1));
        assert_eq!(borrowed.gid().unwrap(), lent.gid().unwrap());
        let (domain, queue) = (borrowed.protection_domain().unwrap(), lent.completion_queue(16).unwrap());
        domain.queue_pair(&QueuePairOptions::srd(), &queue, &queue).unwrap();
        in_a_child(|| forked(borrowed.gid()) && forked(domain.as_raw()));
        drop(domain);
        assert_eq!(borrowed.clone().close().unwrap(), Closed::Later);
        drop(borrowed);
        assert_eq!(calls("ibv_close_device"), 0);
        assert_eq!(lent.users().unwrap(), 2, "the borrowed handle left no user");
    });
}

#[test]
#[ignore = "cargo xtask valgrind runs it"]
fn valgrind_finds_no_error_in_queues_and_regions() {
    let prepare = |machine: &mut Machine| {
        machine.check_memory()?;
        machine.add_stub()
    };
    on_machine("valgrind_finds_no_error_in_queues_and_regions", prepare, || {
        ask_and_close().unwrap();
        let mut all = All::new().unwrap();
        (0..7).for_each(|which| all.drop_one(which));
    });
}
