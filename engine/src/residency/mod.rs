//! What is in memory, who holds it, and what goes first.
//!
//! Weights come into memory on one path only: a node asks its context for a *component* (a text
//! encoder, a denoiser, a VAE) by its [`ComponentSpec`] and gets a [`Lease`]. Leases on one
//! component share it, whichever loader it came from. When the last lease drops, the component is
//! *evictable*, not gone: the [`Policy`] decides what is kept, and the budget what must go.
//!
//! Every byte has an owner in the [`Ledger`]: components, outputs of nodes, scratch.

mod component;
mod ledger;
mod manager;
mod policy;

pub use component::{Component, ComponentKey, ComponentSpec, Lease, LoadProgress};
pub use ledger::{Held, Ledger, Owner, OwnerKind};
pub use manager::{Reservation, Residency, Resident};
pub use policy::{Candidate, KeepLast, KeepNothing, Lru, Policy};
