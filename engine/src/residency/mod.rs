//! What is in memory, who holds it, and what goes first.
//!
//! Weights come into memory on one path only: a node asks its context for a *component* (a text
//! encoder, a denoiser, a VAE) by its [`ComponentSpec`] and gets a [`Lease`]. Leases on one
//! component share it, whichever loader it came from. When the last lease drops, the component is
//! *evictable*, not gone: the [`Policy`] decides what is kept, and the budget what must go.
//!
//! Weights and the outputs that the cache keeps are one pool: when room is needed, both are
//! [`Candidate`]s, and what is needed last goes first, whichever it is. Who needs what is known from the
//! plans of running jobs and from the queue ([`Residency::foresee`]).
//!
//! Every byte has an owner in the [`Ledger`]: components, outputs of nodes, scratch. The
//! [`Timeline`] keeps its sums over time.

mod component;
mod item;
mod ledger;
mod load;
mod manager;
mod outlook;
mod policy;
pub mod pressure;
mod process;
mod room;
mod shelf;
#[cfg(test)]
mod tests;
mod timeline;

pub use component::{Component, ComponentKey, ComponentSpec, Lease, LoadProgress, Loader};
pub use item::Item;
pub use ledger::{Held, Ledger, Owner, OwnerKind};
pub(crate) use load::Meanwhile;
pub use manager::{EvictError, HandOn, Headroom, Holder, Residency, Resident, ResidentState};
pub use outlook::{QueuedJob, Upcoming};
pub use policy::{Candidate, Foresight, KeepLast, KeepNothing, Lru, NextUse, Policy};
pub use process::{resident, rss_anon};
pub use room::Reservation;
pub use shelf::CachedOutput;
pub(crate) use shelf::Shelf;
pub use timeline::{Band, History, Mark, MarkKind, News, Sample, Timeline};
