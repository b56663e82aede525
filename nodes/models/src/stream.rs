//! Weights that are read from their file each time they are used.
//!
//! A denoiser that does not fit in memory runs all the same: a part of its matrices stays, as many as there is room
//! for; the others are read and prepared right before their product, and dropped after it. The system is asked
//! for the next ones ahead, so that the disk works while the processor computes. Norms, biases and tables always stay.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Result;
use crate::ops::{Ops, Parts};
use crate::source::{Source, Stored};

/// How many weights the system is asked for ahead of their use.
const AHEAD: usize = 3;

/// Says which weights of one model stay, and reads the others.
pub struct Stream {
    source: Arc<dyn Source>,
    /// Bytes of matrices that may stay.
    resident: usize,
    kept: AtomicUsize,
    largest: AtomicUsize,
    /// The tensors of each streamed weight, in the order of loading, which is nearly that of use.
    order: Mutex<Vec<Arc<[String]>>>,
}

impl Stream {
    /// Reads from `source`, which has the tensors that the model is loaded from; keeps matrices of up to `resident`
    /// bytes.
    pub fn new(source: Arc<dyn Source>, resident: usize) -> Arc<Self> {
        let (kept, largest) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Arc::new(Self { source, resident, kept, largest, order: Mutex::default() })
    }

    /// Bytes that the largest streamed weight takes while it is used: as it was read, and prepared.
    pub fn largest(&self) -> usize {
        self.largest.load(Ordering::Relaxed)
    }

    /// Takes a weight for streaming; `None` where it may stay in memory.
    pub(crate) fn take(
        self: &Arc<Self>,
        names: &[String],
        stored: Stored,
        elements: usize,
        bias: Option<&Vec<f32>>,
    ) -> Option<Streamed> {
        let bytes = elements.saturating_mul(stored.size());
        // Loads are sequential: nothing else changes the sum in between.
        if self.kept.load(Ordering::Relaxed).saturating_add(bytes) <= self.resident {
            self.kept.fetch_add(bytes, Ordering::Relaxed);
            return None;
        }
        self.largest.fetch_max(bytes.saturating_mul(2), Ordering::Relaxed);
        let names: Arc<[String]> = names.into();
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        order.push(names.clone());
        let place = order.len() - 1;
        Some(Streamed { stream: self.clone(), place, names, stored, bias: bias.cloned() })
    }

    /// Has the system read what comes after `place`, around the end to the beginning: the next step's.
    fn read_ahead(&self, place: usize) {
        let order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (1..=AHEAD.min(order.len())).map(|n| order[(place + n) % order.len()].clone());
        let next: Vec<_> = next.collect();
        drop(order);
        next.iter().flat_map(|names| names.iter()).for_each(|name| self.source.read_ahead(name));
    }
}

/// A weight that is not in memory, but for its bias.
pub(crate) struct Streamed {
    stream: Arc<Stream>,
    place: usize,
    names: Arc<[String]>,
    stored: Stored,
    pub(crate) bias: Option<Vec<f32>>,
}

impl Streamed {
    /// Bytes that stay.
    pub(crate) fn bytes(&self) -> usize {
        self.bias.as_ref().map_or(0, |bias| bias.len() * 4)
    }

    /// Its tensors, read now; without values for a backend that only counts.
    pub(crate) fn parts(&self, ops: &Ops) -> Result<Parts> {
        let mut parts = Parts { stored: self.stored, values: Vec::new(), blocks: None, files: Vec::new() };
        if !ops.wants_values() {
            return Ok(parts);
        }
        let source = &self.stream.source;
        self.stream.read_ahead(self.place);
        if ops.reads_in_place()
            && let Some(files) = self.names.iter().map(|name| source.stored(name)).collect::<Option<Vec<_>>>()
        {
            parts.files = files;
        } else {
            parts.values = self.names.iter().map(|name| source.read(name)).collect::<Result<_>>()?;
        }
        Ok(parts)
    }
}
