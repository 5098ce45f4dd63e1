//! A linked folder: this device's half of a namespace, for real.
//!
//! [`link`] makes a folder a device, [`Folder`] is that device at work: its state in `.annals/`, the replica
//! that follows from it, and the machine as the engine's [`Host`](annals_engine::round::Host). What a person may
//! ask of it stands in `asking` (questions), `past` (what was there before) and `telling` (new events). [`daemon`] keeps a folder in sync.

mod ahead;
mod asking;
mod bell;
pub mod binding;
mod checkpoint;
mod chute;
mod comparing;
mod conflicting;
mod contents;
pub mod control;
pub mod daemon;
mod error;
mod events;
mod folder;
mod guarding;
mod hooks;
mod host;
mod last_round;
pub(crate) mod layout;
mod linked;
mod linking;
mod listening;
mod lists;
mod lost;
mod noting;
mod opened;
mod past;
mod retelling;
mod rewinding;
pub mod settings;
mod standing;
mod store;
mod telling;
mod trash;
mod watching;

pub use crate::watch::LIMIT_SYSCTL;
pub use binding::{Address, Binding, BindingError};
pub use comparing::{Compared, Difference, DifferenceKind, FileState, Side};
pub use conflicting::ConflictLine;
pub use error::ClientError;
pub use events::{EventLine, EventsWanted};
pub use folder::{Folder, SyncReport};
pub use guarding::open_or_renew;
pub use hooks::{HookCommands, HookEvent, hooks_of, set_hooks};
pub use host::{Doing, Progress};
pub use layout::STATE_FOLDER;
pub use linked::{forget_linked, linked_and_gone};
pub use linking::{LinkWish, Unlinked, found_at, host_name, link, namespaces_of, set_link_aside, unlink};
pub use past::{FileLines, Held, VersionLine, When, Whereabouts};
pub use standing::{Advice, AtWork, Matter, Moving, PathLine, SetAsideLine, State, Status, WaitsFor};
pub use trash::TrashLine;
