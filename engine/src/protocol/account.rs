//! Accounts, tickets, and how a device becomes part of one.

use super::{NamespaceInfo, ServerInfo};
use annals_events::{DeviceId, Hash, NamespaceId, PublicKey, UserId};
use serde::{Deserialize, Serialize};

/// `POST /v1/challenges`: something fresh for a device to sign. Good for one link within five minutes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// 32 random bytes.
    pub challenge: Hash,
    /// The server that asks.
    pub server: ServerInfo,
}

/// `POST /v1/accounts`, with the admin's token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewAccount {
    /// What people call it: 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or digit.
    pub name: String,
    /// At least 8 bytes; none for an account that is reached by tickets alone.
    pub password: Option<String>,
    /// Bytes that it may store. Absent: the server's default.
    #[serde(default)]
    pub quota: Quota,
}

/// `PUT /v1/accounts/{name}`, with the admin's token: what is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccountChange {
    /// Another password, at least 8 bytes. Devices that are linked stay linked.
    #[serde(default)]
    pub password: Option<String>,
    /// Bytes that it may store.
    #[serde(default)]
    pub quota: Option<Quota>,
}

/// How much an account may store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Quota {
    /// What the server gives unless said otherwise.
    #[default]
    Default,
    /// No limit.
    Unlimited,
    /// That many bytes.
    Bytes(u64),
}

/// An account, as its owner, the admin and those who share with it see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Its id in every log.
    pub user: UserId,
    /// What people call it.
    pub name: String,
}

/// `GET /v1/account`: one's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnAccount {
    /// Its id in every log.
    pub user: UserId,
    /// What people call it.
    pub name: String,
    /// Bytes that it may store; none for no limit.
    pub quota: Option<u64>,
    /// Bytes that its namespaces hold.
    pub used: u64,
}

/// What one shows to link a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Credential {
    /// Name and password of an account.
    Password {
        /// The account.
        user: String,
        /// Its password.
        password: String,
    },
    /// A ticket's code, as typed.
    Ticket(String),
}

/// `POST /v1/link`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkRequest {
    /// Who asks.
    pub credential: Credential,
    /// The device's public key; nobody ever links one twice.
    pub device: PublicKey,
    /// From [`Challenge`].
    pub challenge: Hash,
    /// The device's signature over [`link_message`](super::link_message): 128 hex digits.
    pub proof: String,
    /// What people call the device.
    pub label: String,
    /// Which namespace: its id, its label, or `OWNER/LABEL`; one's own come first. With a ticket: the ticket's.
    /// Else absent: one's home namespace, made at need.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Whether to make a namespace of that label if one has none.
    #[serde(default)]
    pub create: bool,
    /// The device that lost its state and goes on as this one.
    #[serde(default)]
    pub continues: Option<DeviceId>,
}

/// The answer to [`LinkRequest`]: all that a device has to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Linked {
    /// To be shown with every request; 64 hex digits, nobody else knows it.
    pub token: String,
    /// The device's id.
    pub device: DeviceId,
    /// For whom it acts.
    pub account: Account,
    /// What it is linked to, and as what.
    pub namespace: NamespaceInfo,
    /// Whom it is linked with.
    pub server: ServerInfo,
}

/// `POST /v1/tickets`, with a device's token: for one's next device, in the same namespace unless named.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TicketRequest {
    /// Another namespace that one may read.
    #[serde(default)]
    pub namespace: Option<NamespaceId>,
    /// With the admin's token instead of a device's: for the first device of this account, in its home namespace
    /// unless another is named.
    #[serde(default)]
    pub user: Option<String>,
    /// With `user`: the account's namespace of that label, made at need.
    #[serde(default)]
    pub label: Option<String>,
}

/// The answer to [`TicketRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// What to type: 26 letters and digits in groups, and behind a dot how the server's certificate is known, where
    /// that is by its fingerprint. Shown once.
    pub code: String,
    /// Until when, in milliseconds since 1970.
    pub expires: u64,
    /// Which namespace it leads to.
    pub namespace: NamespaceId,
}
