//! How a value came about, in sixteen bytes.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use sha2::{Digest, Sha256};

use crate::graph::{Graph, NodeIx, Source};
use crate::node::{Changed, Inputs};
use crate::value::Value;

/// How a value came about: equal signatures are equal work. (The first half of a SHA-256.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signature([u8; 16]);

impl Hash for Signature {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        hasher.write_u64(u64::from_le_bytes([a, b, c, d, e, f, g, h]));
    }
}

/// Maps by signature take its first bytes for their hash: it is one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Signatures write one number; anything else is folded in.
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// The hasher of maps by signature.
pub(crate) type BySignature = BuildHasherDefault<AsItIs>;

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
impl Signature {
    /// A signature of anything, for tests of what is kept by signature.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        hash(bytes)
    }
}

/// Signatures of payloads that an expansion may carry on, by address.
pub(crate) type Known = HashMap<usize, Signature>;

/// Counts what equals nothing, over the whole process: a cache outlives a run.
static UNIQUE: AtomicU64 = AtomicU64::new(0);

/// Signs the nodes of a graph, and those that expansions add to it.
#[derive(Default)]
pub(crate) struct Signer {
    signatures: Vec<Signature>,
    /// What is hashed, gathered here first: one call of the hash a node.
    bytes: Vec<u8>,
    /// The literals of the node at hand.
    literals: Inputs,
}

/// The signature of one element of a signed output.
pub(crate) fn element(made_by: Signature, slot: usize, place: usize) -> Signature {
    let mut bytes = Vec::with_capacity(40);
    bytes.push(b'e');
    bytes.extend_from_slice(&made_by.0);
    bytes.extend_from_slice(&(slot as u64).to_le_bytes());
    bytes.extend_from_slice(&(place as u64).to_le_bytes());
    hash(&bytes)
}

fn hash(bytes: &[u8]) -> Signature {
    let digest = Sha256::digest(bytes);
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    Signature(half)
}

fn unique() -> Signature {
    let mut bytes = [0; 9];
    bytes[0] = b'u';
    bytes[1..].copy_from_slice(&UNIQUE.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    hash(&bytes)
}

impl Signer {
    /// The signature of a node.
    pub(crate) fn of(&self, ix: NodeIx) -> Signature {
        self.signatures[ix.index()]
    }

    /// Signs the nodes that the graph has gained, producers first. Nodes that need each other get
    /// a signature that equals nothing: they cannot run anyway.
    pub(crate) fn extend(&mut self, graph: &Graph, known: &Known) {
        let begin = self.signatures.len();
        self.signatures.resize(graph.len(), Signature([0; 16]));
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            Unseen,
            OnPath,
            Signed,
        }
        let mut marks = vec![Mark::Unseen; graph.len() - begin];
        let mut path: Vec<(NodeIx, usize)> = Vec::new();
        for start in (begin..graph.len()).map(NodeIx::new) {
            if marks[start.index() - begin] == Mark::Unseen {
                marks[start.index() - begin] = Mark::OnPath;
                path.push((start, 0));
            }
            let mut in_cycle = false;
            while let Some((ix, cursor)) = path.last_mut() {
                let (ix, inputs) = (*ix, &graph.node(*ix).inputs);
                if let Some(input) = inputs.get(*cursor) {
                    *cursor += 1;
                    if let Some((from, _)) = input.link().filter(|(from, _)| from.index() >= begin) {
                        match marks[from.index() - begin] {
                            Mark::Unseen => {
                                marks[from.index() - begin] = Mark::OnPath;
                                path.push((from, 0));
                            }
                            Mark::OnPath => {
                                in_cycle = true;
                                self.signatures[from.index()] = unique();
                            }
                            Mark::Signed => {}
                        }
                    }
                } else {
                    // Whatever is signed while a cycle is open may have read an unfinished
                    // signature; that signature is unique, so nothing equal comes of it.
                    let own = self.signatures[ix.index()];
                    if !in_cycle || own == Signature([0; 16]) {
                        self.signatures[ix.index()] = self.sign(graph, ix, known);
                    }
                    marks[ix.index() - begin] = Mark::Signed;
                    path.pop();
                }
            }
        }
    }

    fn sign(&mut self, graph: &Graph, ix: NodeIx, known: &Known) -> Signature {
        let node = graph.node(ix);
        if node.broken {
            return unique();
        }
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        bytes.push(b'n');
        text(&mut bytes, &node.class.name);
        if node.class.schema.keyed_by_id() {
            bytes.push(b'i');
            text(&mut bytes, node.info.id.as_str());
        }
        let mut literals = std::mem::take(&mut self.literals);
        let mut certain = true;
        for input in &node.inputs {
            text(&mut bytes, &input.name);
            match &input.source {
                Source::Wire { from, slot } | Source::Pair { from, slot, .. } => {
                    bytes.push(b'w');
                    bytes.extend_from_slice(&self.of(*from).0);
                    bytes.extend_from_slice(&(*slot as u64).to_le_bytes());
                    literals.set(input.name.clone(), None);
                }
                Source::Value(value) => {
                    certain &= self.sign_value(&mut bytes, graph, ix, value, known);
                    literals.set(input.name.clone(), Some(value.clone()));
                }
            }
        }
        // A node that panics or fails here is treated as changed.
        let changed = catch_unwind(AssertUnwindSafe(|| node.class.node.changed(&literals)));
        let signature = match changed {
            Ok(Ok(None)) if certain => hash(&bytes),
            Ok(Ok(Some(Changed::Fingerprint(fingerprint)))) if certain => {
                bytes.push(b'c');
                text(&mut bytes, &fingerprint);
                hash(&bytes)
            }
            _ => unique(),
        };
        // Whatever a literal refers to must not live longer for it.
        literals.clear();
        (self.bytes, self.literals) = (bytes, literals);
        signature
    }

    /// False if nothing is known of where the value comes from.
    fn sign_value(
        &self,
        bytes: &mut Vec<u8>,
        graph: &Graph,
        ix: NodeIx,
        value: &Value,
        known: &Known,
    ) -> bool {
        match value {
            Value::Plain(json) => {
                bytes.push(b'j');
                let begin = bytes.len();
                let written = serde_json::to_writer(&mut *bytes, json).is_ok();
                let length = (bytes.len() - begin) as u64;
                bytes.extend_from_slice(&length.to_le_bytes());
                written
            }
            Value::Blocked(message) => {
                bytes.push(b'b');
                text(bytes, message.as_deref().unwrap_or("\0"));
                true
            }
            Value::List(values) => {
                bytes.push(b'l');
                bytes.extend_from_slice(&(values.len() as u64).to_le_bytes());
                values.iter().all(|value| self.sign_value(bytes, graph, ix, value, known))
            }
            Value::Payload(_) => {
                if let Some(signature) = value.address().and_then(|address| known.get(&address)) {
                    bytes.push(b'k');
                    bytes.extend_from_slice(&signature.0);
                    return true;
                }
                // Made by the node that expanded: its signature and the place in its subgraph say
                // how the value came about.
                let node = graph.node(ix);
                let Some((parent, _)) = node.origin else { return false };
                let above = graph.node(parent).info.id.as_str().len();
                bytes.push(b'p');
                bytes.extend_from_slice(&self.of(parent).0);
                text(bytes, node.info.id.as_str().get(above..).unwrap_or(""));
                bytes.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                true
            }
        }
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}
