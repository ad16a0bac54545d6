//! One of two processes that send a number to and fro.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::ptr::{self, NonNull};
use std::time::{Duration, Instant};

use nearfab::context::Access;
use nearfab::context::fabric::{
    Completion, CompletionQueue, Domain, Endpoint, EndpointKind, Finished, Interface, MemoryRegion, Operation, Peer,
    Posted, Query,
};

/// What may go wrong: with libfabric, or with the other process.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Round trips until connections are there.
const WARM_UP: u64 = 100;

/// What it came to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    /// How long a round trip took, without the warm-up.
    pub(crate) round_trip: Duration,
    /// The calls of this process, the warm-up's included.
    pub(crate) calls: Calls,
}

/// How often the library was called.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Calls {
    /// Sends.
    pub(crate) sends: u64,
    /// Receives.
    pub(crate) receives: u64,
    /// Reads of the completion queue, most of which found nothing.
    pub(crate) reads: u64,
}

/// Sends `rounds` numbers to `other`, which is to call [`answer`], and has each sent back as the next.
pub(crate) fn ask(provider: &str, rounds: u64, mut other: Command) -> Result<Report> {
    let (mut line, theirs) = UnixStream::pair()?;
    let mut other = other.stdin(Stdio::from(OwnedFd::from(theirs))).spawn()?;
    let mut side = Side::open(provider, &mut line)?;
    (0..WARM_UP).try_for_each(|number| side.round(number))?;
    let start = Instant::now();
    (0..rounds).try_for_each(|number| side.round(number))?;
    let report = Report { round_trip: start.elapsed() / u32::try_from(rounds)?, calls: side.calls };
    drop(line); // The other process waits for that, or it might end while its last message is under way.
    if other.wait()?.success() { Ok(report) } else { Err("the other process failed".into()) }
}

/// The other process, by the socket that is its standard input.
pub(crate) fn answer(provider: &str, rounds: u64) -> Result<()> {
    let mut line = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut side = Side::open(provider, &mut line)?;
    side.receive()?;
    (0..WARM_UP + rounds).try_for_each(|_| side.answer())?;
    side.finish(Operations { sent: true, received: false })?;
    line.read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Tells the other process an address, and learns its own.
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
    // Closed before the memory that it uses goes, as fields are dropped in their order.
    endpoint: Endpoint,
    queue: CompletionQueue,
    peer: Peer,
    outgoing: Message,
    incoming: Message,
    under_way: Operations,
    calls: Calls,
    room: [Completion; 1],
}

/// Which of the two operations.
#[derive(Debug, Clone, Copy, Default)]
struct Operations {
    sent: bool,
    received: bool,
}

/// Memory for a number, and for the operation that sends or receives it.
struct Message {
    region: Option<MemoryRegion>,
    number: NonNull<u64>,
    operation: NonNull<Operation>,
}

impl Side {
    /// Opens the provider's first way, and meets the other side on the line.
    fn open(provider: &str, line: &mut UnixStream) -> Result<Self> {
        let query = Query { provider: Some(provider.to_owned()), domain: None };
        let found = Interface::find(&query)?;
        let interface = found.iter().find(|found| found.endpoint == EndpointKind::ReliableDatagram);
        let domain = interface.ok_or_else(|| format!("libfabric finds no way of {provider}"))?.open()?;
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
        if answer == number + 1 { Ok(()) } else { Err(format!("{answer} came back for {number}").into()) }
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

    /// Waits until those of `which` that are under way are not.
    fn finish(&mut self, which: Operations) -> Result<()> {
        while which.sent && self.under_way.sent || which.received && self.under_way.received {
            self.read_some()?;
        }
        Ok(())
    }

    // Each library call in a function of its own, so that a profiler tells one from the other.

    #[inline(never)]
    fn send_one(&mut self) -> nearfab::Result<Posted> {
        self.calls.sends += 1;
        let Message { region, operation, .. } = &self.outgoing;
        // SAFETY: memory and operation are this message's, and left alone until it is sent; the peer is of this endpoint.
        unsafe { self.endpoint.send(self.outgoing.memory(), region.as_ref(), self.peer, *operation) }
    }

    #[inline(never)]
    fn receive_one(&mut self) -> nearfab::Result<Posted> {
        self.calls.receives += 1;
        let Message { region, operation, .. } = &self.incoming;
        // SAFETY: as for the other message, until this is received.
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
            // SAFETY: the memory is freed after the region is closed, and no reference to it is kept.
            message.region = Some(unsafe { domain.register(message.memory(), Access::LOCAL_WRITE)? });
        }
        Ok(message)
    }

    fn memory(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.number.cast(), size_of::<u64>())
    }

    fn number(&self) -> u64 {
        // SAFETY: it is this message's, and nothing is under way.
        unsafe { self.number.read() }
    }

    fn set(&mut self, number: u64) {
        // SAFETY: as above.
        unsafe { self.number.write(number) }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        self.region = None;
        // SAFETY: made by a box, and the endpoint that used it is closed.
        drop(unsafe { Box::from_raw(self.number.as_ptr()) });
        // SAFETY: as above.
        drop(unsafe { Box::from_raw(self.operation.as_ptr()) });
    }
}
