//! The twin of the way to the server: messages that get lost, arrive twice, late, or after their sender has given
//! up.
//!
//! ```text
//!   request ──► lost? ──► late? ──► server ──► again? ──► reply lost? ──► reply
//! ```
//!
//! What befalls a message is drawn from its number on its link alone. A request whose reply is lost was done; a late
//! one is done when the world says so, after its sender was told that nobody answered.

mod server;

pub use server::{Backup, TwinServer, public};

use crate::{
    faults::LinkFaults,
    point::{Moment, Point},
    random::Seed,
    trace::Trace,
};
use annals_engine::{
    flow::WINDOW_BYTES_MAX,
    protocol::{
        Batches, Challenge, ChunksStored, ChunksWanted, Code, HandBack, HandedBack, MissingAnswer,
        MissingQuestion, Outcomes, Problem, Records, RecordsQuery, Signatures, SignaturesWanted,
        frame::Framed,
    },
    transport::{Arrived, Transport, TransportError, Underway, opened},
};
use annals_events::{DeviceId, NamespaceId};
use std::{cell::Cell, cell::RefCell, rc::Rc};

/// One device's way to the server. Clones are the same way.
#[derive(Clone)]
pub struct TwinTransport {
    server: Rc<RefCell<TwinServer>>,
    device: DeviceId,
    point: Point,
    trace: Trace,
    link: Rc<Link>,
}

struct Link {
    seed: Seed,
    faults: Cell<LinkFaults>,
    cut: Cell<bool>,
    window: Cell<u64>,
    messages: Cell<u64>,
    changes: Cell<u64>,
    late: RefCell<Vec<Request>>,
}

#[derive(Clone)]
enum Request {
    Submit(Batches),
    Store(Vec<Framed>),
}

impl TwinTransport {
    /// A way that works, until it is told otherwise.
    #[must_use]
    pub fn new(
        server: Rc<RefCell<TwinServer>>,
        device: DeviceId,
        seed: Seed,
        point: Point,
        trace: Trace,
    ) -> Self {
        let link = Link {
            seed,
            faults: Cell::default(),
            cut: Cell::default(),
            window: Cell::new(WINDOW_BYTES_MAX),
            messages: Cell::default(),
            changes: Cell::default(),
            late: RefCell::default(),
        };
        Self { server, device, point, trace, link: Rc::new(link) }
    }

    /// The machine's points.
    #[must_use]
    pub fn point(&self) -> &Point {
        &self.point
    }

    /// What befalls messages from now on.
    pub fn set_faults(&self, faults: LinkFaults) {
        self.link.faults.set(faults);
    }

    /// How many bytes go together from now on.
    pub fn set_window(&self, bytes: u64) {
        self.link.window.set(bytes);
    }

    /// Cuts the link, or joins it again.
    pub fn set_cut(&self, cut: bool) {
        self.link.cut.set(cut);
    }

    /// Whether nothing gets through.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.link.cut.get()
    }

    /// How many requests that change something were made.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.link.changes.get()
    }

    /// What was on its way arrives. Nobody hears the answers.
    pub fn deliver_late(&self) {
        for request in self.link.late.take() {
            let mut server = self.server.borrow_mut();
            let done = match request {
                Request::Submit(batches) => server.submit(self.device, &batches).map(drop),
                Request::Store(chunks) => server.store(&chunks).map(drop),
            };
            self.trace.note(format_args!("late {:?} {}", self.device, done.is_ok()));
        }
    }

    fn unreachable(what: &str) -> TransportError {
        TransportError::Unreachable { server: "the server".into(), what: what.into() }
    }

    /// Sends a message. `again` is what a second arrival of it does.
    fn call<T>(
        &self,
        what: &str,
        late: Option<Request>,
        mut done: impl FnMut(&mut TwinServer) -> Result<T, Problem>,
    ) -> Result<T, TransportError> {
        self.point.pass(Moment::Request);
        let link = &self.link;
        let number = link.messages.get();
        link.messages.set(number + 1);
        link.changes.set(link.changes.get() + u64::from(late.is_some()));
        let befalls = |nth: u64, percent: u64| link.seed.nth(number).draw(nth) % 100 < percent;
        let faults = link.faults.get();
        let answer = if !self.point.has_power() {
            Err(Self::unreachable("no power"))
        } else if link.cut.get() {
            Err(Self::unreachable("the link is cut"))
        } else if self.server.borrow().is_down() {
            Err(Self::unreachable("connection refused"))
        } else if befalls(0, faults.request_lost) {
            Err(Self::unreachable("the request was lost"))
        } else if late.is_some() && befalls(1, faults.late) {
            link.late.borrow_mut().extend(late);
            Err(Self::unreachable("no answer in time"))
        } else {
            if befalls(2, faults.doubled) {
                drop(done(&mut self.server.borrow_mut()));
            }
            let reply = done(&mut self.server.borrow_mut());
            if befalls(3, faults.reply_lost) {
                Err(Self::unreachable("the reply was lost"))
            } else {
                reply.map_err(TransportError::Refused)
            }
        };
        let heard = match &answer {
            Ok(_) => "done".to_owned(),
            Err(error) => error.to_string(),
        };
        self.trace.note(format_args!("{:?} {what} {number}: {heard}", self.device));
        answer
    }

    fn is_short(&self) -> bool {
        let link = &self.link;
        link.seed.nth(link.messages.get()).draw(4) % 100 < link.faults.get().short
    }
}

impl Transport for TwinTransport {
    fn window(&self) -> u64 {
        self.link.window.get()
    }

    fn records(&self, namespace: NamespaceId, query: &RecordsQuery) -> Result<Records, TransportError> {
        let limit = if self.is_short() { Some(1) } else { query.limit };
        let query = RecordsQuery { limit, ..*query };
        self.call("records", None, |server| {
            assert_eq!(namespace, server.id(), "there is one namespace");
            server.records(&query)
        })
    }

    fn submit(&self, _: NamespaceId, batches: &Batches) -> Result<Outcomes, TransportError> {
        self.call("submit", Some(Request::Submit(batches.clone())), |server| {
            server.submit(self.device, batches)
        })
    }

    fn hand_back(&self, _: NamespaceId, lost: &HandBack) -> Result<HandedBack, TransportError> {
        self.call("hand back", None, |server| server.hand_back(lost))
    }

    fn challenge(&self) -> Result<Challenge, TransportError> {
        Err(Problem::plain(Code::NotFound).into()) // This server forgets nobody.
    }

    fn missing(&self, _: NamespaceId, question: &MissingQuestion) -> Result<MissingAnswer, TransportError> {
        self.call("missing", None, |server| server.missing(question))
    }

    fn send_chunks(&self, _: NamespaceId, chunks: &[Framed]) -> Result<ChunksStored, TransportError> {
        self.call("store", Some(Request::Store(chunks.to_vec())), |server| server.store(chunks))
    }

    fn begin_sending(&self, namespace: NamespaceId, chunks: Vec<Framed>) -> Underway<ChunksStored> {
        // Nothing of it is there before somebody waits for it: whoever counts on that is found out.
        let twin = self.clone();
        Box::new(move || twin.send_chunks(namespace, &chunks))
    }

    fn begin_fetching(&self, namespace: NamespaceId, wanted: ChunksWanted) -> Underway<Vec<Arrived>> {
        let twin = self.clone();
        Box::new(move || twin.fetch_chunks(namespace, &wanted).map(opened))
    }

    fn fetch_chunks(&self, _: NamespaceId, wanted: &ChunksWanted) -> Result<Vec<Framed>, TransportError> {
        let count_max = if self.is_short() { 1 } else { usize::MAX };
        self.call("fetch", None, |server| server.fetch(wanted, count_max))
    }

    fn signatures(&self, _: NamespaceId, wanted: &SignaturesWanted) -> Result<Signatures, TransportError> {
        self.call("signatures", None, |server| server.signatures(wanted))
    }
}
