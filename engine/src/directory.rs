//! A server's directory: accounts, tickets, tokens, and which namespaces there are.
//!
//! A stream like any other, of a namespace of its own, to which only the server writes; its first event
//! names the key that devices pin. [`Directory`] is the fold of it and decides what may be appended next.
//! Secrets are drawn, and passwords hashed and compared, by the shell: here are hashes alone, and whoever
//! reads the log learns no secret. Comparing is looking up by SHA-256, so it tells nothing by its time.
//!
//! What must always hold: a ticket links one device; nothing is told apart for those who show no valid secret
//! beyond what they may know (a wrong name and a wrong password are one answer).

use crate::{namespace::Issued, protocol::Code};
use annals_events::{
    Batch, Body, Chain, DeviceId, DotSet, Draft, Fact, Hash, HlcClock, NamespaceId, PublicKey, Record, Seq,
    UserId, VersionVector, epoch, log::Head,
};
use ed25519_dalek::SigningKey;
use std::collections::BTreeMap;

/// Longest account name, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// The directory at some place of its stream.
#[derive(Clone, Debug)]
pub struct Directory {
    id: NamespaceId,
    head: Head,
    /// The key that the stream began with.
    key: Option<PublicKey>,
    /// The key of the server that goes on now.
    server: Option<PublicKey>,
    last_counter: u64,
    last_batch: Option<Hash>,
    clock: HlcClock,
    accounts: BTreeMap<UserId, AccountState>,
    names: BTreeMap<String, UserId>,
    tickets: BTreeMap<Hash, TicketState>,
    tokens: BTreeMap<Hash, TokenState>,
    namespaces: BTreeMap<NamespaceId, NamespaceState>,
}

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountState {
    /// What people call it.
    pub name: String,
    /// The password's argon2 hash (PHC string); none for an account that nobody logs in to.
    pub password: Option<String>,
    /// Bytes that it may store; none for no limit.
    pub quota: Option<u64>,
}

/// A ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TicketState {
    /// For whom.
    pub user: UserId,
    /// To which namespace.
    pub namespace: NamespaceId,
    /// Until when, in milliseconds since 1970.
    pub expires: u64,
    /// Why it is good for nothing any more, if so: it was used, or ended.
    pub over: Option<Code>,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenState {
    /// For whom.
    pub user: UserId,
    /// Which device shows it.
    pub device: DeviceId,
    /// Until when, in milliseconds since 1970; 0 for no end.
    pub expires: u64,
    /// Whether it is worth nothing any more.
    pub revoked: bool,
}

/// A namespace, as far as the directory knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceState {
    /// Whose.
    pub owner: UserId,
    /// What people call it.
    pub label: String,
}

/// A record that is no part of this directory's stream, or not the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} does not belong into the directory's stream after {after}")]
pub struct DirectoryError {
    /// Where it claims to be.
    pub seq: Seq,
    /// How far the directory is.
    pub after: Seq,
}

impl Directory {
    /// Nothing known yet; `id` names its stream.
    #[must_use]
    pub fn new(id: NamespaceId) -> Self {
        Self {
            id,
            head: Head::default(),
            key: None,
            server: None,
            last_counter: 0,
            last_batch: None,
            clock: HlcClock::default(),
            accounts: BTreeMap::new(),
            names: BTreeMap::new(),
            tickets: BTreeMap::new(),
            tokens: BTreeMap::new(),
            namespaces: BTreeMap::new(),
        }
    }

    /// Its stream's id: what devices know the whole log by.
    #[must_use]
    pub fn id(&self) -> NamespaceId {
        self.id
    }

    /// How far it is.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// The key that devices pin; none before the first record.
    #[must_use]
    pub fn key(&self) -> Option<PublicKey> {
        self.key
    }

    /// The key that the server goes on with; none before the first record.
    #[must_use]
    pub fn server(&self) -> Option<PublicKey> {
        self.server
    }

    /// What the server that holds `former` begins an epoch with, as the one that holds `server`.
    #[must_use]
    pub fn epoch(&self, former: &SigningKey, server: PublicKey) -> Vec<Issued> {
        vec![Issued { fact: epoch::open(former, self.id, server), body: None }]
    }

    /// Folds the next record.
    ///
    /// # Errors
    /// [`DirectoryError`] if it is not the next.
    pub fn fold(&mut self, record: &Record) -> Result<(), DirectoryError> {
        let (admission, batch) = (record.admission(), record.batch());
        let wrong = DirectoryError { seq: admission.seq, after: self.head.seq };
        let next = admission.namespace == self.id && admission.seq.0 == self.head.seq.0 + 1;
        if !next || record.check_chain(self.head.chain).is_err() {
            return Err(wrong);
        }
        for (index, event) in batch.events().iter().enumerate() {
            self.clock.observe(event.hlc);
            self.apply(&event.fact, batch.body(index).ok().flatten().unwrap_or_default());
        }
        self.last_counter = batch.last();
        self.last_batch = Some(batch.hash());
        self.head = Head { seq: record.last_seq(), chain: admission.chain, epoch: admission.epoch };
        Ok(())
    }

    fn apply(&mut self, fact: &Fact, body: Body) {
        match *fact {
            Fact::NamespaceCreated { server, .. } => {
                self.key.get_or_insert(server);
                self.server.get_or_insert(server);
            }
            Fact::EpochOpened { server, .. } => self.server = Some(server),
            Fact::AccountCreated { user } => {
                let name = body.user_name.unwrap_or_default();
                self.names.insert(name.clone(), user);
                let password = body.password.filter(|hash| !hash.is_empty());
                self.accounts.insert(user, AccountState { name, password, quota: body.quota });
            }
            Fact::AccountChanged { user } => {
                if let Some(account) = self.accounts.get_mut(&user) {
                    account.password = body.password.filter(|hash| !hash.is_empty());
                    account.quota = body.quota;
                }
            }
            Fact::NamespaceOpened { namespace, owner } => {
                let label = body.label.unwrap_or_default();
                self.namespaces.insert(namespace, NamespaceState { owner, label });
            }
            Fact::TicketIssued { ticket, user, namespace, expires } => {
                self.tickets.insert(ticket, TicketState { user, namespace, expires, over: None });
            }
            Fact::TicketRedeemed { ticket } => self.end_ticket(ticket, Code::TicketUsed),
            Fact::TicketEnded { ticket } => self.end_ticket(ticket, Code::TicketEnded),
            Fact::TokenIssued { token, user, device, expires } => {
                self.tokens.insert(token, TokenState { user, device, expires, revoked: false });
            }
            Fact::TokenRevoked { token } => {
                if let Some(token) = self.tokens.get_mut(&token) {
                    token.revoked = true;
                }
            }
            _ => {}
        }
    }

    /// What came first says why.
    fn end_ticket(&mut self, ticket: Hash, why: Code) {
        if let Some(ticket) = self.tickets.get_mut(&ticket) {
            ticket.over.get_or_insert(why);
        }
    }

    /// The next record of the stream, holding `events`, signed with the server's key.
    #[must_use]
    pub fn record(&self, key: &SigningKey, now_ms: u64, events: Vec<Issued>) -> Record {
        let mut clock = self.clock;
        let drafts = events
            .into_iter()
            .map(|Issued { fact, body }| Draft { hlc: clock.tick(now_ms), at: now_ms, fact, body })
            .collect();
        let none = VersionVector::new();
        // Another key is another device, which has said nothing yet.
        let (first, prev) = match self.server {
            Some(server) if server != PublicKey(key.verifying_key().to_bytes()) => (1, None),
            _ => (self.last_counter + 1, self.last_batch),
        };
        let batch = Batch::sign(key, self.id, first, prev, &none, &none, DotSet::new(), drafts)
            .expect("the directory appends a few small events at a time");
        let (seq, chain): (Seq, Chain) = (Seq(self.head.seq.0 + 1), self.head.chain);
        let epoch = epoch::after(self.head.epoch, &batch, batch.header().device);
        Record::admit(batch, key, epoch, seq, chain, now_ms)
    }

    /// What the stream begins with.
    #[must_use]
    pub fn opening(key: &SigningKey, salt: [u8; 16]) -> Vec<Issued> {
        let server = PublicKey(key.verifying_key().to_bytes());
        let fact = Fact::NamespaceCreated { owner: UserId::default(), server };
        vec![Issued { fact, body: Some(Body { salt, label: Some("directory".into()), ..Body::default() }) }]
    }
}

/// Questions.
impl Directory {
    /// The account of that id.
    #[must_use]
    pub fn account(&self, user: UserId) -> Option<&AccountState> {
        self.accounts.get(&user)
    }

    /// Every account.
    pub fn users(&self) -> impl Iterator<Item = UserId> {
        self.accounts.keys().copied()
    }

    /// The account that people call `name`.
    #[must_use]
    pub fn account_named(&self, name: &str) -> Option<(UserId, &AccountState)> {
        let user = *self.names.get(name)?;
        Some((user, self.accounts.get(&user)?))
    }

    /// Who shows the token with this SHA-256.
    ///
    /// # Errors
    /// The code to refuse with.
    pub fn token(&self, token: Hash, now_ms: u64) -> Result<&TokenState, Code> {
        match self.tokens.get(&token) {
            None => Err(Code::TokenUnknown),
            Some(state) if state.revoked => Err(Code::TokenRevoked),
            Some(state) if state.expires != 0 && state.expires <= now_ms => Err(Code::TokenExpired),
            Some(state) => Ok(state),
        }
    }

    /// What the ticket with this SHA-256 is good for.
    ///
    /// # Errors
    /// The code to refuse with.
    pub fn ticket(&self, ticket: Hash, now_ms: u64) -> Result<&TicketState, Code> {
        match self.tickets.get(&ticket) {
            None => Err(Code::TicketUnknown),
            Some(TicketState { over: Some(why), .. }) => Err(*why),
            Some(state) if state.expires <= now_ms => Err(Code::TicketExpired),
            Some(state) => Ok(state),
        }
    }

    /// The tickets of an account that somebody may still link a device with, by the SHA-256 of their secrets.
    pub fn open_tickets(&self, user: UserId, now_ms: u64) -> impl Iterator<Item = Hash> {
        let is_open = move |ticket: &TicketState| {
            ticket.user == user && ticket.over.is_none() && ticket.expires > now_ms
        };
        self.tickets.iter().filter(move |(_, ticket)| is_open(ticket)).map(|(hash, _)| *hash)
    }

    /// Whether a device of that id was ever given a token.
    #[must_use]
    pub fn knows_device(&self, device: DeviceId) -> bool {
        self.tokens.values().any(|token| token.device == device)
    }

    /// For whom a device acts by a token of its own that was not revoked; none for one that is cut off.
    #[must_use]
    pub fn user_of(&self, device: DeviceId) -> Option<UserId> {
        let live = self.tokens.values().find(|token| token.device == device && !token.revoked);
        live.map(|token| token.user)
    }

    /// Every namespace, by id.
    pub fn namespaces(&self) -> impl Iterator<Item = (NamespaceId, &NamespaceState)> {
        self.namespaces.iter().map(|(id, state)| (*id, state))
    }

    /// One namespace.
    #[must_use]
    pub fn namespace(&self, id: NamespaceId) -> Option<&NamespaceState> {
        self.namespaces.get(&id)
    }

    /// The namespace that `owner` calls `label`.
    #[must_use]
    pub fn namespace_named(&self, owner: UserId, label: &str) -> Option<NamespaceId> {
        self.namespaces().find(|(_, state)| state.owner == owner && state.label == label).map(|(id, _)| id)
    }
}

/// Decisions: what to append, or why not.
impl Directory {
    /// A new account.
    ///
    /// # Errors
    /// [`Code::BadName`], [`Code::AccountExists`].
    pub fn create_account(
        &self,
        salt: [u8; 16],
        user: UserId,
        name: &str,
        password: Option<String>,
        quota: Option<u64>,
    ) -> Result<Vec<Issued>, Code> {
        if !is_account_name(name) {
            return Err(Code::BadName);
        }
        if self.names.contains_key(name) {
            return Err(Code::AccountExists);
        }
        let body = Body { salt, user_name: Some(name.into()), password, quota, ..Body::default() };
        Ok(vec![Issued { fact: Fact::AccountCreated { user }, body: Some(body) }])
    }

    /// A new namespace.
    ///
    /// # Errors
    /// [`Code::UnknownUser`], [`Code::NamespaceExists`].
    pub fn open_namespace(
        &self,
        salt: [u8; 16],
        namespace: NamespaceId,
        owner: UserId,
        label: &str,
    ) -> Result<Vec<Issued>, Code> {
        if self.account(owner).is_none() {
            return Err(Code::UnknownUser);
        }
        if self.namespace_named(owner, label).is_some() || self.namespaces.contains_key(&namespace) {
            return Err(Code::NamespaceExists);
        }
        let body = Body { salt, label: Some(label.into()), ..Body::default() };
        Ok(vec![Issued { fact: Fact::NamespaceOpened { namespace, owner }, body: Some(body) }])
    }

    /// Another password (its hash) and quota for an account; both as they are from now on.
    ///
    /// # Errors
    /// [`Code::UnknownUser`].
    pub fn change_account(
        &self,
        salt: [u8; 16],
        user: UserId,
        password: Option<String>,
        quota: Option<u64>,
    ) -> Result<Vec<Issued>, Code> {
        if self.account(user).is_none() {
            return Err(Code::UnknownUser);
        }
        let body = Body { salt, password, quota, ..Body::default() };
        Ok(vec![Issued { fact: Fact::AccountChanged { user }, body: Some(body) }])
    }

    /// A new ticket, by the SHA-256 of its secret.
    ///
    /// # Errors
    /// [`Code::UnknownUser`].
    pub fn issue_ticket(
        &self,
        ticket: Hash,
        user: UserId,
        namespace: NamespaceId,
        expires: u64,
    ) -> Result<Vec<Issued>, Code> {
        if self.account(user).is_none() {
            return Err(Code::UnknownUser);
        }
        Ok(vec![Issued { fact: Fact::TicketIssued { ticket, user, namespace, expires }, body: None }])
    }

    /// These tickets are good for nothing any more.
    #[must_use]
    pub fn end_tickets(&self, tickets: impl IntoIterator<Item = Hash>) -> Vec<Issued> {
        let ended = |ticket| Issued { fact: Fact::TicketEnded { ticket }, body: None };
        tickets.into_iter().map(ended).collect()
    }

    /// A token for a device that is linked for the first time; with the ticket that is used up by it.
    ///
    /// # Errors
    /// What [`ticket`](Self::ticket) refuses with; [`Code::DeviceKnown`].
    pub fn issue_token(
        &self,
        token: Hash,
        user: UserId,
        device: DeviceId,
        ticket: Option<Hash>,
        now_ms: u64,
    ) -> Result<Vec<Issued>, Code> {
        if self.knows_device(device) {
            return Err(Code::DeviceKnown);
        }
        let mut events = Vec::new();
        if let Some(ticket) = ticket {
            self.ticket(ticket, now_ms)?;
            events.push(Issued { fact: Fact::TicketRedeemed { ticket }, body: None });
        }
        events.push(Issued { fact: Fact::TokenIssued { token, user, device, expires: 0 }, body: None });
        Ok(events)
    }

    /// An end to every token of `device`; nothing if there is none.
    #[must_use]
    pub fn revoke_tokens(&self, device: DeviceId) -> Vec<Issued> {
        let live = self.tokens.iter().filter(|(_, state)| state.device == device && !state.revoked);
        live.map(|(token, _)| Issued { fact: Fact::TokenRevoked { token: *token }, body: None }).collect()
    }
}

/// Whether people may be called that: 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or digit.
#[must_use]
pub fn is_account_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.starts_with(fits)
        && name.chars().all(|c| fits(c) || matches!(c, '.' | '_' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANA: UserId = UserId([1; 16]);
    const HOME: NamespaceId = NamespaceId([2; 16]);

    struct Server {
        directory: Directory,
        key: SigningKey,
        records: Vec<Record>,
    }

    impl Server {
        fn new() -> Self {
            let key = SigningKey::from_bytes(&[7; 32]);
            let mut server =
                Self { directory: Directory::new(NamespaceId([9; 16])), key, records: Vec::new() };
            server.append(Directory::opening(&server.key.clone(), [0; 16]));
            server
        }

        fn append(&mut self, events: Vec<Issued>) {
            let record = self.directory.record(&self.key, 1000, events);
            self.directory.fold(&record).unwrap();
            self.records.push(record);
        }

        fn with_ana() -> Self {
            let mut server = Self::new();
            let ana = server.directory.create_account([1; 16], ANA, "ana", Some("hash".into()), Some(5));
            server.append(ana.unwrap());
            server
        }
    }

    #[test]
    fn names_of_accounts_are_plain_and_taken_once() {
        let server = Server::with_ana();
        let create = |name: &str| server.directory.create_account([1; 16], UserId([3; 16]), name, None, None);
        for bad in ["", "Ana", "ä", "-ana", "a b", "a/b", &"a".repeat(65)] {
            assert_eq!(create(bad), Err(Code::BadName), "{bad}");
        }
        assert_eq!(create("ana"), Err(Code::AccountExists));
        assert!(create("ana-2").is_ok());
    }

    #[test]
    fn a_ticket_links_one_device_while_it_lasts() {
        let mut server = Server::with_ana();
        let (ticket, token) = (Hash([4; 32]), Hash([5; 32]));
        let (one, two) = (DeviceId([1; 16]), DeviceId([2; 16]));
        server.append(server.directory.issue_ticket(ticket, ANA, HOME, 2000).unwrap());
        assert_eq!(server.directory.ticket(Hash([6; 32]), 1000), Err(Code::TicketUnknown));
        assert_eq!(server.directory.ticket(ticket, 2000), Err(Code::TicketExpired));
        assert_eq!(
            server.directory.issue_token(token, ANA, one, Some(ticket), 2000),
            Err(Code::TicketExpired)
        );
        server.append(server.directory.issue_token(token, ANA, one, Some(ticket), 1999).unwrap());
        assert_eq!(
            server.directory.issue_token(Hash([8; 32]), ANA, two, Some(ticket), 1999),
            Err(Code::TicketUsed)
        );
        assert_eq!(server.directory.issue_token(Hash([8; 32]), ANA, one, None, 1999), Err(Code::DeviceKnown));
        assert_eq!(server.directory.token(token, 1).unwrap().device, one);
    }

    #[test]
    fn a_ticket_that_ended_was_not_used_and_links_nothing() {
        let mut server = Server::with_ana();
        let tickets = [Hash([4; 32]), Hash([6; 32])];
        for ticket in tickets {
            server.append(server.directory.issue_ticket(ticket, ANA, HOME, 2000).unwrap());
        }
        let ended = server.directory.end_tickets([tickets[0]]);
        assert_eq!(ended[0].fact.kind(), "ticket_ended");
        server.append(ended);
        let link =
            |ticket| server.directory.issue_token(Hash([5; 32]), ANA, DeviceId([1; 16]), Some(ticket), 1000);
        assert_eq!(link(tickets[0]), Err(Code::TicketEnded));
        assert!(link(tickets[1]).is_ok());
        assert_eq!(server.directory.open_tickets(ANA, 1000).collect::<Vec<_>>(), [tickets[1]]);
        // As a log of a release has it that knew no other word.
        server.append(vec![Issued { fact: Fact::TicketRedeemed { ticket: tickets[1] }, body: None }]);
        assert_eq!(server.directory.ticket(tickets[1], 1000), Err(Code::TicketUsed));
    }

    #[test]
    fn a_revoked_token_is_told_from_an_unknown_one() {
        let mut server = Server::with_ana();
        let (token, device) = (Hash([5; 32]), DeviceId([1; 16]));
        server.append(server.directory.issue_token(token, ANA, device, None, 1).unwrap());
        assert_eq!(server.directory.token(Hash([0; 32]), 1), Err(Code::TokenUnknown));
        assert_eq!(server.directory.user_of(device), Some(ANA));
        server.append(server.directory.revoke_tokens(device));
        assert_eq!(server.directory.user_of(device), None);
        assert_eq!(server.directory.token(token, 1), Err(Code::TokenRevoked));
        assert_eq!(server.directory.revoke_tokens(device), Vec::new());
    }

    #[test]
    fn an_expired_token_is_worth_nothing() {
        let mut server = Server::with_ana();
        let (token, device) = (Hash([5; 32]), DeviceId([1; 16]));
        let fact = Fact::TokenIssued { token, user: ANA, device, expires: 50 };
        server.append(vec![Issued { fact, body: None }]);
        assert!(server.directory.token(token, 49).is_ok());
        assert_eq!(server.directory.token(token, 50), Err(Code::TokenExpired));
    }

    #[test]
    fn an_owner_calls_two_namespaces_differently() {
        let mut server = Server::with_ana();
        server.append(server.directory.open_namespace([1; 16], HOME, ANA, "home").unwrap());
        let again = server.directory.open_namespace([1; 16], NamespaceId([3; 16]), ANA, "home");
        assert_eq!(again, Err(Code::NamespaceExists));
        assert_eq!(server.directory.namespace_named(ANA, "home"), Some(HOME));
        let nobody = server.directory.open_namespace([1; 16], NamespaceId([3; 16]), UserId([8; 16]), "x");
        assert_eq!(nobody, Err(Code::UnknownUser));
    }

    #[test]
    fn a_server_that_lost_state_goes_on_under_another_key_in_another_epoch() {
        let mut server = Server::with_ana();
        let (former, pinned) = (server.key.clone(), server.directory.key());
        server.key = SigningKey::from_bytes(&[8; 32]);
        let public = PublicKey(server.key.verifying_key().to_bytes());
        server.append(server.directory.epoch(&former, public));
        server.append(server.directory.open_namespace([1; 16], HOME, ANA, "home").unwrap());
        assert_eq!((server.directory.key(), server.directory.server()), (pinned, Some(public)));
        let dots: Vec<_> = server.records[2..].iter().map(|record| record.batch().dot(0)).collect();
        assert_eq!(dots, [1, 2].map(|counter| annals_events::Dot::new(DeviceId::of_key(&public), counter)));
        assert_eq!(server.directory.head().epoch, 1);
        assert!(server.directory.account_named("ana").is_some());
    }

    #[test]
    fn the_directory_is_its_stream_and_takes_nothing_else() {
        let server = Server::with_ana();
        let mut again = Directory::new(server.directory.id());
        assert!(again.fold(&server.records[1]).is_err());
        server.records.iter().for_each(|record| again.fold(record).unwrap());
        assert!(again.fold(&server.records[1]).is_err());
        assert_eq!(format!("{again:?}"), format!("{:?}", server.directory));
        assert_eq!(again.key(), Some(PublicKey(server.key.verifying_key().to_bytes())));
    }
}
