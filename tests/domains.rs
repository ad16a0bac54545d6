//! Tests of objects in domains of libfabric. Some tests use a stand-in that aborts if an object is closed before its
//! children. Other tests use the real library, over TCP and shared memory.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[path = "support/child.rs"]
mod child;
#[expect(dead_code, reason = "the example and the benchmark print the figures")]
#[path = "../examples/ping/side.rs"]
mod side;
#[expect(dead_code, reason = "the tests of opening use the rest")]
mod support;

use std::env;
use std::process::Command;
use std::ptr::{self, NonNull};

use child::in_a_child;
use nearfab::context::fabric::{
    AddressVector, Completion, Domain, Endpoint, FabricCompletionQueue, FabricMemoryRegion, Finished, Interface,
    Operation, Posted, Query,
};
use nearfab::context::{Access, Closed};
use nearfab::{Error, Result};
use support::{Ends, Machine, calls, check_ends, log, on_machine, orders};

/// An object of each kind, and the other domain of the same fabric.
struct All {
    domain: Option<Domain>,
    other: Option<Domain>,
    peers: Option<AddressVector>,
    queue: Option<FabricCompletionQueue>,
    region: Option<FabricMemoryRegion>,
    endpoint: Option<Endpoint>,
}

const ENDS: Ends<'_> = &[
    ("fi_endpoint", "fi_close(ep)", &[]),
    ("fi_av_open", "fi_close(av)", &["fi_close(ep)"]),
    ("fi_cq_open", "fi_close(cq)", &["fi_close(ep)"]),
    ("fi_mr_reg", "fi_close(mr)", &[]),
    ("fi_domain", "fi_close(domain)", &[]),
    ("fi_fabric", "fi_close(fabric)", &["fi_close(domain)"]),
];

static MEMORY: [u8; 64] = [0; 64];

fn found() -> Vec<Interface> {
    Interface::find(&Query::default()).unwrap()
}

fn memory() -> NonNull<[u8]> {
    NonNull::from(&MEMORY[..])
}

fn register(domain: &Domain) -> Result<FabricMemoryRegion> {
    // SAFETY: the memory is static, and the stand-in writes nothing.
    unsafe { domain.register(memory(), Access::LOCAL_READ) }
}

impl All {
    fn new() -> Result<Self> {
        let interfaces = found();
        let (domain, other) = (interfaces[0].open()?, interfaces[3].open()?);
        let (peers, queue) = (domain.address_vector()?, domain.completion_queue(16)?);
        Ok(Self {
            region: Some(register(&domain)?),
            endpoint: Some(domain.endpoint(&peers, &queue, &queue)?),
            domain: Some(domain),
            other: Some(other),
            peers: Some(peers),
            queue: Some(queue),
        })
    }

    /// Drops one of the objects.
    fn drop_one(&mut self, which: usize) {
        match which {
            0 => drop(self.domain.take()),
            1 => drop(self.other.take()),
            2 => drop(self.peers.take()),
            3 => drop(self.queue.take()),
            4 => drop(self.region.take()),
            _ => drop(self.endpoint.take()),
        }
    }
}

#[test]
fn children_are_closed_before_their_parents_in_every_order_of_drops() {
    let name = "children_are_closed_before_their_parents_in_every_order_of_drops";
    on_machine(name, Machine::add_fabric, || {
        for order in orders(6) {
            let start = log().len();
            let mut all = All::new().unwrap();
            order.iter().for_each(|&which| all.drop_one(which));
            check_ends(ENDS, start, order);
        }
    });
}

#[test]
fn only_the_same_key_shares_a_domain() {
    on_machine("only_the_same_key_shares_a_domain", Machine::add_fabric, || {
        let (first, second) = (found(), found());
        let domain = first[0].open().unwrap();
        let same = second[0].open().unwrap();
        assert_eq!((domain.as_raw().unwrap(), domain.users().unwrap()), (same.as_raw().unwrap(), 2));
        assert_eq!((calls("fi_fabric"), calls("fi_domain")), (1, 1));
        // The second entry has the same name and PCI address, and other capabilities.
        let differs = first[1].open().unwrap();
        assert_eq!((&differs.interface().domain, differs.users().unwrap()), (&domain.interface().domain, 1));
        assert_ne!(differs.as_raw().unwrap(), domain.as_raw().unwrap());
        assert_eq!((calls("fi_fabric"), calls("fi_domain")), (1, 2), "both on one fabric");
        let other = first[5].open().unwrap();
        assert_eq!((calls("fi_fabric"), calls("fi_domain")), (2, 3));

        // A list is freed with its last interface. An open domain keeps its interface.
        drop((first, second));
        assert_eq!((same.clone().close().unwrap(), same.users().unwrap()), (Closed::Later, 2));
        assert_eq!((domain.close().unwrap(), same.close().unwrap()), (Closed::Later, Closed::Now));
        assert_eq!((calls("fi_close(domain)"), calls("fi_close(fabric)")), (1, 0));
        drop(differs);
        assert_eq!((calls("fi_close(domain)"), calls("fi_close(fabric)")), (2, 1));
        assert_eq!(other.close().unwrap(), Closed::Now);
        check_ends(&[("fi_domain", "fi_close(domain)", &[]), ("fi_fabric", "fi_close(fabric)", &[])], 0, "all");
    });
}

#[test]
fn close_returns_whether_the_object_was_closed() {
    on_machine("close_returns_whether_the_object_was_closed", Machine::add_fabric, || {
        let All { domain, peers, queue, region, endpoint, .. } = All::new().unwrap();
        let (domain, queue) = (domain.unwrap(), queue.unwrap());
        assert_eq!(domain.users().unwrap(), 5, "each object in the domain uses it");
        assert_eq!(queue.close().unwrap(), Closed::Later, "the endpoint holds it");
        assert_eq!(endpoint.clone().unwrap().close().unwrap(), Closed::Later);
        assert_eq!(endpoint.unwrap().close().unwrap(), Closed::Now);
        assert_eq!(calls("fi_close(cq)"), 1);
        assert_eq!(peers.unwrap().close().unwrap(), Closed::Now);
        assert_eq!(region.unwrap().close().unwrap(), Closed::Now);
        assert_eq!(domain.close().unwrap(), Closed::Now);
    });
}

#[test]
fn a_borrowed_handle_is_used_and_left_open() {
    let prepare = |machine: &mut Machine| {
        machine.set("STUB_FABRIC_TAKEN", "3");
        machine.add_fabric()
    };
    on_machine("a_borrowed_handle_is_used_and_left_open", prepare, || {
        let interface = &found()[0];
        let lent = interface.open().unwrap();
        let raw = NonNull::new(lent.as_raw().unwrap()).unwrap();
        // SAFETY: the domain stays open to the end of the test.
        let borrowed = unsafe { Domain::borrow_raw(interface, raw) }.unwrap();
        assert_eq!((borrowed.users().unwrap(), lent.users().unwrap()), (1, 1));
        let (peers, queue) = (borrowed.address_vector().unwrap(), lent.completion_queue(1).unwrap());
        borrowed.endpoint(&peers, &queue, &queue).unwrap();
        assert_eq!(register(&borrowed).unwrap().key().unwrap(), 3, "the keys below are taken");
        assert_eq!(register(&borrowed).unwrap().key().unwrap(), 4);
        in_a_child(|| forked(borrowed.as_raw()) && forked(peers.as_raw()));
        drop(peers);
        assert_eq!(borrowed.clone().close().unwrap(), Closed::Later);
        drop(borrowed);
        assert_eq!((calls("fi_close(domain)"), lent.users().unwrap()), (0, 2));
    });
}

fn failed<T>(result: Result<T>, name: &str, errno: i32) {
    let Some(Error::Call { function, device, cause, .. }) = result.err() else { panic!("{name} did not fail") };
    assert_eq!((function, cause.raw_os_error()), (name, Some(errno)));
    assert!(device.starts_with("rdmap201s0") || device == "efa", "{device}");
}

/// Makes functions of the stand-in fail.
fn fail(what: &str) {
    // SAFETY: this process has one thread.
    unsafe { env::set_var("STUB_FAIL", what) }
}

#[test]
fn a_failed_creation_is_reported_and_leaves_no_object() {
    on_machine("a_failed_creation_is_reported_and_leaves_no_object", Machine::add_fabric, || {
        fail("fi_dupinfo:1");
        let error = Interface::find(&Query::default()).unwrap_err();
        assert!(matches!(error, Error::Call { function: "fi_dupinfo", .. }), "{error}");
        for (function, errno) in [("fi_fabric", 38), ("fi_domain", 12)] {
            fail("");
            let interface = &found()[0];
            fail(&format!("{function}:{errno}"));
            failed(interface.open(), function, errno);
        }
        for (function, errno) in [
            ("fi_mr_reg", 12),
            ("fi_av_open", 22),
            ("fi_cq_open", 22),
            ("fi_endpoint", 12),
            ("fi_ep_bind", 22),
            ("fi_enable", 12),
        ] {
            fail(&format!("{function}:{errno}"));
            failed(All::new(), function, errno);
        }
        fail("fi_getname:5,fi_av_insert:12");
        let all = All::new().unwrap();
        failed(all.endpoint.as_ref().unwrap().address(), "fi_getname", 5);
        failed(all.peers.as_ref().unwrap().insert(b"fi_stub"), "fi_av_insert", 12);
        drop(all);
        // The log has failed calls too.
        let made = |function: &str, failures: usize| calls(function) - failures;
        assert_eq!(made("fi_endpoint", 1), calls("fi_close(ep)"));
        assert_eq!(made("fi_av_open", 1), calls("fi_close(av)"));
        assert_eq!(made("fi_cq_open", 1), calls("fi_close(cq)"));
        assert_eq!(made("fi_mr_reg", 1), calls("fi_close(mr)"));
        assert_eq!(made("fi_domain", 1), calls("fi_close(domain)"));
        assert_eq!(made("fi_fabric", 1), calls("fi_close(fabric)"));
    });
}

#[test]
fn objects_of_different_domains_are_refused() {
    on_machine("objects_of_different_domains_are_refused", Machine::add_fabric, || {
        let interfaces = found();
        let refused = |result: Result<Endpoint>, why: &str| {
            let text = result.unwrap_err().to_string();
            assert!(text.contains("fi_endpoint") && text.contains(why), "{text}");
        };
        let text = interfaces[2].open().unwrap_err().to_string();
        assert!(text.contains("rdmap201s0-dgrm") && text.contains("one thread at a time"), "{text}");
        let message = interfaces[6].open().unwrap();
        let (peers, queue) = (message.address_vector().unwrap(), message.completion_queue(1).unwrap());
        refused(message.endpoint(&peers, &queue, &queue), "connected");

        let All { domain, peers, queue, other, .. } = All::new().unwrap();
        let (domain, peers, queue, other) = (domain.unwrap(), peers.unwrap(), queue.unwrap(), other.unwrap());
        let (their_peers, lent) = (other.address_vector().unwrap(), other.completion_queue(1).unwrap());
        refused(domain.endpoint(&their_peers, &queue, &queue), "address vector is of another domain, rdmap202s0-rdm");
        refused(domain.endpoint(&peers, &lent, &queue), "completion queue is of another domain, rdmap202s0-rdm");
        refused(domain.endpoint(&peers, &queue, &lent), "completion queue is of another domain, rdmap202s0-rdm");
        for (address, why) in
            [(&[1; 512][..], "addresses of 512 bytes"), (b"nowhere", "does not accept"), (b"", "does not accept")]
        {
            let text = peers.insert(address).unwrap_err().to_string();
            assert!(text.contains("fi_av_insert") && text.contains(why), "{text}");
        }
    });
}

fn read(queue: &FabricCompletionQueue) -> Result<Vec<Completion>> {
    match queue.read(&mut [Completion::EMPTY; 3])? {
        Finished::Done(done) => Ok(done.to_vec()),
        Finished::Failed(failure) => panic!("{failure:?}"),
    }
}

#[test]
fn completions_name_their_operations() {
    on_machine("completions_name_their_operations", Machine::add_fabric, || {
        let all = All::new().unwrap();
        let (endpoint, queue) = (all.endpoint.as_ref().unwrap(), all.queue.as_ref().unwrap());
        let peer = all.peers.as_ref().unwrap().insert(&endpoint.address().unwrap()).unwrap();
        let operations: [Operation; 9] = Default::default();
        let at = |which: usize| NonNull::from(&operations[which]);
        // SAFETY: the memory is static, nothing writes it, and the operations live to the end of the test.
        let send = |which, region| unsafe { endpoint.send(memory(), region, peer, at(which)) };
        // SAFETY: the memory is static, the stand-in receives nothing into it, and the operations live to the end of
        // the test.
        let receive = |which| unsafe { endpoint.receive(memory(), all.region.as_ref(), at(which)) };

        assert_eq!(send(0, None).unwrap(), Posted::Yes);
        assert_eq!(receive(1).unwrap(), Posted::Yes);
        let done = read(queue).unwrap();
        let shown: Vec<_> = done.iter().map(|done| (done.operation(), done.is_received(), done.length())).collect();
        assert_eq!(shown, [(at(0).as_ptr(), false, 64), (at(1).as_ptr(), true, 32)]);
        assert!(read(queue).unwrap().is_empty());
        assert!(log().contains(&"fi_send".to_owned()) && log().contains(&"fi_recv with a region".to_owned()));

        for which in 0..8 {
            assert_eq!(send(which, all.region.as_ref()).unwrap(), Posted::Yes);
        }
        assert_eq!((send(8, None).unwrap(), receive(8).unwrap()), (Posted::QueueFull, Posted::QueueFull));
        assert_eq!((0..3).map(|_| read(queue).unwrap().len()).collect::<Vec<_>>(), [3, 3, 2]);

        fail("fi_send:19,fi_recv:22,fi_cq_read:5");
        failed(send(0, None), "fi_send", 19);
        failed(receive(0), "fi_recv", 22);
        failed(read(queue), "fi_cq_read", 5);

        fail("completion:265");
        assert_eq!(receive(5).unwrap(), Posted::Yes);
        let mut room = [Completion::EMPTY];
        let Finished::Failed(failure) = queue.read(&mut room).unwrap() else { panic!("the operation succeeded") };
        assert_eq!((failure.operation, failure.provider_error, failure.left_out), (at(5).as_ptr(), 4105, 7));
        assert_eq!(failure.error.to_string(), "Truncation error");
        fail("completion:265,fi_cq_readerr:11");
        assert_eq!(send(6, None).unwrap(), Posted::Yes);
        assert!(read(queue).unwrap().is_empty(), "another thread has read the failure");
        fail("completion:265,fi_cq_readerr:22");
        failed(read(queue), "fi_cq_readerr", 22);
        fail("completion:5");
        let Finished::Failed(failure) = queue.read(&mut room).unwrap() else { panic!("the operation succeeded") };
        assert_eq!((failure.error.raw_os_error(), failure.operation), (Some(5), at(6).as_ptr()));
    });
}

/// libfabric and verbs have different flags for the uses of memory.
#[test]
fn access_flags_are_those_of_libfabric() {
    on_machine("access_flags_are_those_of_libfabric", Machine::add_fabric, || {
        let domain = found()[0].open().unwrap();
        let all = Access::LOCAL_WRITE | Access::REMOTE_READ | Access::REMOTE_WRITE;
        for access in [Access::LOCAL_READ, Access::LOCAL_WRITE, all] {
            // SAFETY: the memory is static, and the stand-in writes nothing.
            unsafe { domain.register(memory(), access) }.unwrap();
        }
        let registered: Vec<String> = log().into_iter().filter(|line| line.starts_with("fi_mr_reg")).collect();
        assert_eq!(registered, ["fi_mr_reg 0xa00", "fi_mr_reg 0xf00", "fi_mr_reg 0x3f00"]);
    });
}

/// The tables of an older library end before the tested function.
#[test]
fn a_function_that_an_older_library_lacks_is_reported() {
    on_machine("a_function_that_an_older_library_lacks_is_reported", Machine::add_fabric, || {
        let operation = Operation::default();
        // SAFETY: the call fails, so the operation is not used after the call.
        let receive = |endpoint: &Endpoint| unsafe { endpoint.receive(memory(), None, NonNull::from(&operation)) };
        let without = |table: &str, function: &str, call: &dyn Fn() -> Result<()>| {
            // SAFETY: this process has one thread.
            unsafe { env::set_var("STUB_FABRIC_SHORT", table) };
            failed(call(), function, 38);
        };
        without("fi_ops_fabric", "fi_domain", &|| All::new().map(drop));
        without("fi_ops_domain", "fi_av_open", &|| All::new().map(drop));
        without("fi_ops_mr", "fi_mr_reg", &|| All::new().map(drop));
        without("fi_ops_cm", "fi_getname", &|| All::new()?.endpoint.unwrap().address().map(drop));
        without("fi_ops_av", "fi_av_insert", &|| All::new()?.peers.unwrap().insert(b"fi_stub").map(drop));
        without("fi_ops_msg", "fi_recv", &|| receive(&All::new()?.endpoint.unwrap()).map(drop));
        without("fi_ops_cq", "fi_cq_read", &|| read(&All::new()?.queue.unwrap()).map(drop));
        without("fi_ops", "fi_ep_bind", &|| All::new().map(drop));
        without("fi_ops", "fi_close", &|| found()[0].open()?.close().map(drop));
    });
}

#[test]
fn a_failed_close_is_reported_and_never_repeated() {
    on_machine("a_failed_close_is_reported_and_never_repeated", Machine::add_fabric, || {
        let All { domain, other, peers, queue, region, endpoint } = All::new().unwrap();
        fail("fi_close(ep):16,fi_close(av):16,fi_close(cq):16,fi_close(mr):16,fi_close(domain):16,fi_close(fabric):16");
        failed(endpoint.unwrap().close(), "fi_close", 16);
        failed(peers.unwrap().close(), "fi_close", 16);
        failed(queue.unwrap().close(), "fi_close", 16);
        failed(region.unwrap().close(), "fi_close", 16);
        failed(domain.unwrap().close(), "fi_close", 16);
        drop(other);
        check_ends(ENDS, 0, "all");
    });
}

fn forked<T>(result: Result<T>) -> bool {
    matches!(result, Err(Error::Forked { owner, .. }) if owner == std::os::unix::process::parent_id())
}

#[test]
fn in_a_forked_child_every_call_is_refused_and_nothing_is_closed() {
    on_machine("in_a_forked_child_every_call_is_refused_and_nothing_is_closed", Machine::add_fabric, || {
        let interface = found().swap_remove(0);
        let mut all = All::new().unwrap();
        let before = log().len();
        in_a_child(|| {
            let operation = Operation::default();
            let All { domain, peers, queue, region, endpoint, .. } = &mut all;
            let refused = {
                let (domain, peers, queue) =
                    (domain.as_ref().unwrap(), peers.as_ref().unwrap(), queue.as_ref().unwrap());
                let (region, endpoint) = (region.as_ref().unwrap(), endpoint.as_ref().unwrap());
                let peer = peers.insert(b"fi_stub");
                // SAFETY: the call is refused in a forked child.
                let borrowed = unsafe { Domain::borrow_raw(&interface, NonNull::dangling()) };
                // SAFETY: the call is refused in a forked child.
                let received = unsafe { endpoint.receive(memory(), None, NonNull::from(&operation)) };
                forked(Interface::find(&Query::default()))
                    && forked(interface.open())
                    && forked(borrowed)
                    && forked(received)
                    && forked(peer)
                    && forked(domain.as_raw())
                    && forked(domain.users())
                    && forked(domain.address_vector())
                    && forked(domain.completion_queue(1))
                    && forked(register(domain))
                    && forked(domain.endpoint(peers, queue, queue))
                    && forked(peers.as_raw())
                    && forked(queue.as_raw())
                    && forked(queue.read(&mut []))
                    && forked(region.key())
                    && forked(region.as_raw())
                    && forked(endpoint.address())
                    && forked(endpoint.as_raw())
            };
            let refused = refused
                && forked(endpoint.take().unwrap().close())
                && forked(region.take().unwrap().close())
                && forked(queue.clone().unwrap().close())
                && forked(peers.clone().unwrap().close())
                && forked(domain.clone().unwrap().close());
            (0..6).for_each(|which| all.drop_one(which));
            drop(interface.clone());
            refused
        });
        assert_eq!(log().len(), before, "the child called the library");
        all.endpoint.as_ref().unwrap().address().unwrap();
        (0..6).for_each(|which| all.drop_one(which));
        check_ends(ENDS, 0, "all");
        drop(interface);
        assert_eq!(calls("fi_freeinfo"), 4, "two hints, and two lists");
    });
}

#[test]
fn many_threads_share_one_domain() {
    on_machine("many_threads_share_one_domain", Machine::add_fabric, || {
        let interface = &found()[0];
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let queue = interface.open().unwrap().completion_queue(1).unwrap();
                        assert!(!queue.as_raw().unwrap().is_null());
                    }
                });
            }
        });
        // Opening and closing alternate, so the domain was never open twice at a time.
        let of_domain = |line: &String| line.starts_with("fi_domain") || line == "fi_close(domain)";
        let domains: Vec<String> = log().into_iter().filter(of_domain).collect();
        assert!(domains.chunks(2).all(|pair| pair[0] == "fi_domain rdmap201s0-rdm" && pair[1] == "fi_close(domain)"));
        assert_eq!((calls("fi_close(cq)"), calls("fi_fabric")), (1600, calls("fi_close(fabric)")));
    });
}

/// Exchanges messages between two processes through the real library.
fn ping(name: &str, provider: &str, check_memory: bool) {
    const OTHER: &str = "NEARFAB_TEST_ANSWER";
    const ROUNDS: u64 = 500;
    let prepare = |machine: &mut Machine| if check_memory { machine.check_memory() } else { Ok(()) };
    on_machine(name, prepare, || {
        if env::var_os(OTHER).is_some() {
            return side::answer(provider, ROUNDS).unwrap();
        }
        if let Err(Error::Library { reason, .. }) = Interface::find(&Query::default()) {
            return nearfab_emu::skipped(name, reason);
        }
        let mut other = Command::new(env::current_exe().unwrap());
        other.args([name, "--exact", "--include-ignored", "--nocapture", "--test-threads=1"]).env(OTHER, "1");
        let report = side::ask(provider, ROUNDS, other).unwrap();
        assert!(report.calls.sends >= ROUNDS && report.calls.receives >= ROUNDS && report.calls.reads >= ROUNDS);
    });
}

#[test]
fn two_processes_exchange_messages_over_tcp() {
    ping("two_processes_exchange_messages_over_tcp", "tcp", false);
}

#[test]
fn two_processes_exchange_messages_over_shared_memory() {
    ping("two_processes_exchange_messages_over_shared_memory", "shm", false);
}

#[test]
#[ignore = "cargo xtask valgrind runs it"]
fn valgrind_finds_no_error_in_messages_over_shared_memory() {
    ping("valgrind_finds_no_error_in_messages_over_shared_memory", "shm", true);
}

#[test]
fn an_empty_completion_is_no_operation() {
    assert_eq!((Completion::EMPTY.operation(), Completion::EMPTY.is_received()), (ptr::null_mut(), false));
}
