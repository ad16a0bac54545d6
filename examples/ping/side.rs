//! One of two processes that send a number to each other.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use nearfab::context::Access;
use nearfab::context::fabric::{
    Completion, Domain, Endpoint, EndpointKind, FabricCompletionQueue, FabricMemoryRegion, Finished, Interface,
    Operation, Peer, Posted, Query,
};

/// A result with an error of libfabric or of the other process.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The number of round trips before the measurement. These round trips make all connections.
const WARM_UP: u64 = 100;

/// The result of the measurement.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    /// The mean time of a round trip, without the warm-up.
    pub(crate) round_trip: Duration,
    /// The library calls of this process, with the warm-up.
    pub(crate) calls: Calls,
}

/// How often a process called each function of the library.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Calls {
    /// Sends.
    pub(crate) sends: u64,
    /// Receives.
    pub(crate) receives: u64,
    /// Reads of the completion queue. Most reads find an empty queue.
    pub(crate) reads: u64,
}

/// Starts `other` and sends `rounds` numbers to `other`. `other` must call [`answer`], which returns each number plus
/// one.
pub(crate) fn ask(provider: &str, rounds: u64, mut other: Command) -> Result<Report> {
    let (mut line, remote) = UnixStream::pair()?;
    let mut process = other.stdin(Stdio::from(OwnedFd::from(remote))).spawn()?;
    drop(other); // Closes this process's copy of the remote end: if the other process ends early, the line ends too.
    let mut side = Side::open(provider, &mut line)?;
    (0..WARM_UP).try_for_each(|number| side.round(number))?;
    let start = Instant::now();
    (0..rounds).try_for_each(|number| side.round(number))?;
    let report = Report { round_trip: start.elapsed() / u32::try_from(rounds)?, calls: side.calls };
    drop(line); // The other process ends only after this drop, so the last message arrives.
    if process.wait()?.success() { Ok(report) } else { Err("the other process failed".into()) }
}

/// Answers the process that called [`ask`]. The standard input of this process is a socket to that process.
pub(crate) fn answer(provider: &str, rounds: u64) -> Result<()> {
    let mut line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut side = Side::open(provider, &mut line)?;
    side.receive()?;
    (0..WARM_UP + rounds).try_for_each(|_| side.answer())?;
    side.finish(Operations { sent: true, received: false })?;
    line.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Sends an address to the other process, and returns the address of the other process.
fn exchange(line: &mut UnixStream, address: &[u8]) -> Result<Vec<u8>> {
    line.write_all(&[u8::try_from(address.len())?])?;
    line.write_all(address)?;
    let mut length = [0];
    line.read_exact(&mut length)?;
    let mut address = vec![0; length[0].into()];
    line.read_exact(&mut address)?;
    Ok(address)
}

struct Side {
    // The first field is dropped first, so the endpoint is closed before the memory that it uses is freed.
    endpoint: Endpoint,
    queue: FabricCompletionQueue,
    peer: Peer,
    outgoing: Message,
    incoming: Message,
    under_way: Operations,
    calls: Calls,
    room: [Completion; 1],
}

/// A value for each of the two operations.
#[derive(Debug, Clone, Copy, Default)]
struct Operations {
    sent: bool,
    received: bool,
}

/// The memory of a number and of the operation that sends or receives the number.
struct Message {
    region: Option<FabricMemoryRegion>,
    number: NonNull<u64>,
    operation: NonNull<Operation>,
}

impl Side {
    /// Opens the first interface that libfabric finds for the provider, and exchanges addresses over the line.
    fn open(provider: &str, line: &mut UnixStream) -> Result<Self> {
        let query = Query::default().provider(provider);
        let found = Interface::find(&query)?;
        let interface = found.iter().find(|found| found.endpoint == EndpointKind::ReliableDatagram);
        let missing = || format!("libfabric finds no reliable datagram endpoint of {provider}: install that provider");
        let domain = interface.ok_or_else(missing)?.open()?;
        let (peers, queue) = (domain.address_vector()?, domain.completion_queue(16)?);
        let endpoint = domain.endpoint(&peers, &queue, &queue)?;
        Ok(Self {
            peer: peers.insert(&exchange(line, &endpoint.address()?)?)?,
            endpoint,
            queue,
            outgoing: Message::new(&domain)?,
            incoming: Message::new(&domain)?,
            under_way: Operations::default(),
            calls: Calls::default(),
            room: [Completion::EMPTY],
        })
    }

    fn round(&mut self, number: u64) -> Result<()> {
        self.receive()?;
        self.send(number)?;
        self.finish(Operations { sent: true, received: true })?;
        let answer = self.incoming.number();
        let expected = number + 1;
        if answer == expected { Ok(()) } else { Err(format!("expected the answer {expected}, found {answer}").into()) }
    }

    fn answer(&mut self) -> Result<()> {
        self.finish(Operations { sent: true, received: true })?;
        let number = self.incoming.number();
        self.receive()?;
        self.send(number + 1)
    }

    fn send(&mut self, number: u64) -> Result<()> {
        self.outgoing.set(number);
        while self.send_one()? == Posted::QueueFull {
            self.read_some()?;
        }
        self.under_way.sent = true;
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        while self.receive_one()? == Posted::QueueFull {
            self.read_some()?;
        }
        self.under_way.received = true;
        Ok(())
    }

    /// Waits until the operations that `which` names have finished.
    fn finish(&mut self, which: Operations) -> Result<()> {
        while which.sent && self.under_way.sent || which.received && self.under_way.received {
            self.read_some()?;
        }
        Ok(())
    }

    // Each library call has its own function, so that a profiler shows the calls separately.

    #[inline(never)]
    fn send_one(&mut self) -> nearfab::Result<Posted> {
        self.calls.sends += 1;
        let Message { region, operation, .. } = &self.outgoing;
        // SAFETY: memory and operation belong to the outgoing message and are not touched until the message is sent.
        // The peer was inserted into this endpoint's address vector.
        unsafe { self.endpoint.send(self.outgoing.memory(), region.as_ref(), self.peer, *operation) }
    }

    #[inline(never)]
    fn receive_one(&mut self) -> nearfab::Result<Posted> {
        self.calls.receives += 1;
        let Message { region, operation, .. } = &self.incoming;
        // SAFETY: memory and operation belong to the incoming message and are not touched until a message is received.
        unsafe { self.endpoint.receive(self.incoming.memory(), region.as_ref(), *operation) }
    }

    #[inline(never)]
    fn read_some(&mut self) -> Result<()> {
        self.calls.reads += 1;
        match self.queue.read(&mut self.room)? {
            Finished::Done([]) => Ok(()),
            Finished::Done([done, ..]) => {
                if ptr::eq(done.operation(), self.outgoing.operation.as_ptr()) {
                    self.under_way.sent = false;
                } else {
                    self.under_way.received = false;
                }
                Ok(())
            }
            Finished::Failed(failure) => Err(failure.error.into()),
        }
    }
}

impl Message {
    fn new(domain: &Domain) -> Result<Self> {
        let (number, operation) = (Box::into_raw(Box::new(0)), Box::into_raw(Box::default()));
        let mut message = Self {
            region: None,
            number: NonNull::new(number).ok_or("no memory")?,
            operation: NonNull::new(operation).ok_or("no memory")?,
        };
        if domain.interface().needs_regions {
            // SAFETY: `drop` closes the region before it frees the memory, and nothing keeps a reference to the memory.
            message.region = Some(unsafe { domain.register(message.memory(), Access::LOCAL_WRITE)? });
        }
        Ok(message)
    }

    fn memory(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.number.cast(), size_of::<u64>())
    }

    fn number(&self) -> u64 {
        // SAFETY: the number belongs to this message, and no operation uses it when this is called.
        unsafe { self.number.read() }
    }

    fn set(&mut self, number: u64) {
        // SAFETY: the number belongs to this message, and no operation uses it when this is called.
        unsafe { self.number.write(number) }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.region = None;
        // SAFETY: the number comes from `Box::into_raw`, and the endpoint that used it is closed.
        drop(unsafe { Box::from_raw(self.number.as_ptr()) });
        // SAFETY: the operation comes from `Box::into_raw`, and the endpoint that used it is closed.
        drop(unsafe { Box::from_raw(self.operation.as_ptr()) });
    }
}
