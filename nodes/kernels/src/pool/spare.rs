//! Pages of weights that make way for others, handed on to these.
//!
//! A model in memory is some gigabytes of pages. Where one makes way for another, the system would take all of them back,
//! clear them, and give them out again one by one, which takes longer than reading the file does. So whoever is about to
//! load says how much ([`expect`]), and until that load has ended, pages of weights that are dropped wait here for the next
//! weights that are packed: never more of them than are still expected, so that what waits and what was loaded are
//! together no more than what was announced. When nobody expects any more, all that is left goes to the system.

use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Stock {
    /// Beginnings of mappings (whole pages, of weights that were dropped), by their bytes.
    blocks: BTreeMap<usize, Vec<usize>>,
    held: usize,
    /// Bytes that are expected and were not taken yet.
    expected: usize,
    /// Loads that expect some.
    loads: usize,
}

static STOCK: Mutex<Stock> = Mutex::new(Stock { blocks: BTreeMap::new(), held: 0, expected: 0, loads: 0 });

fn stock() -> MutexGuard<'static, Stock> {
    // Numbers alone are changed inside the lock, so that a poisoned one holds a sound state.
    STOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A load that is under way.
#[derive(Debug)]
pub(crate) struct Expecting(());

/// Announces weights of so many bytes: until the result is dropped, pages that other weights leave are kept for them.
pub(crate) fn expect(bytes: usize) -> Expecting {
    let mut stock = stock();
    stock.loads += 1;
    stock.expected = stock.expected.saturating_add(bytes);
    Expecting(())
}

impl Drop for Expecting {
    fn drop(&mut self) {
        let mut stock = stock();
        stock.loads -= 1;
        // Whose bytes have come is not known. Where another load is under way it goes on with fresh pages: more must never be
        // kept than is expected.
        stock.expected = 0;
        stock.held = 0;
        let blocks = std::mem::take(&mut stock.blocks);
        drop(stock);
        for (bytes, starts) in blocks {
            for start in starts {
                // SAFETY: a mapping of as many bytes that `keep` was given, which nobody refers to.
                unsafe { libc::munmap(start as *mut libc::c_void, bytes) };
            }
        }
    }
}

/// Keeps the pages of weights that were dropped, if weights are expected that need so many. False where they go back.
pub(super) fn keep(start: NonNull<u8>, bytes: usize) -> bool {
    let mut stock = stock();
    if stock.held.saturating_add(bytes) > stock.expected {
        return false;
    }
    stock.held += bytes;
    stock.blocks.entry(bytes).or_default().push(start.as_ptr() as usize);
    true
}

/// A mapping of so many bytes, a multiple of a page, for weights: the smallest that is large enough, cut to size. None where
/// there is none.
pub(super) fn take(bytes: usize) -> Option<NonNull<u8>> {
    let mut stock = stock();
    stock.expected = stock.expected.saturating_sub(bytes);
    let (&found, starts) = stock.blocks.range_mut(bytes..).next()?;
    let start = starts.pop()?;
    if starts.is_empty() {
        stock.blocks.remove(&found);
    }
    stock.held -= found;
    let rest = found - bytes;
    if rest > 0 {
        // What is cut off waits on: a mapping may be given back in parts.
        stock.blocks.entry(rest).or_default().push(start + bytes);
        stock.held += rest;
    }
    drop(stock);
    NonNull::new(start as *mut u8)
}

#[cfg(test)]
mod tests {
    use super::super::Block;
    use super::*;

    const MIB: usize = 1 << 20;

    fn numbers() -> (usize, usize, usize) {
        let stock = stock();
        (stock.held, stock.expected, stock.loads)
    }

    /// One test, because there is one stock.
    #[test]
    fn pages_are_handed_on_while_weights_are_expected_and_go_back_after() {
        let at = |block: &Block| block.ptr() as usize;
        let block = |bytes| Block::for_weights(bytes).unwrap();
        let (first, large) = (block(MIB), block(3 * MIB));
        drop(first);
        assert_eq!(numbers(), (0, 0, 0), "nobody expects anything");

        let load = expect(5 * MIB);
        let place = at(&large);
        drop(large);
        assert_eq!(numbers(), (3 * MIB, 5 * MIB, 1));
        drop(Block::zeroed(MIB));
        assert_eq!(numbers(), (3 * MIB, 5 * MIB, 1), "only the pages of weights are handed on");
        let (second, third) = (block(MIB), block(2 * MIB - 10));
        assert_eq!((at(&second), at(&third)), (place, place + MIB), "cut to size");
        assert_eq!(numbers(), (0, 2 * MIB, 1));
        let fourth = block(2 * MIB);
        drop((second, third));
        assert_eq!(numbers(), (0, 0, 1), "all that was expected has come");

        let another = expect(MIB);
        drop(fourth);
        assert_eq!(numbers(), (0, MIB, 2), "more than is expected");
        let fifth = block(512 << 10);
        drop(fifth);
        assert_eq!(numbers(), (512 << 10, 512 << 10, 2));
        drop(another);
        assert_eq!(numbers(), (0, 0, 1), "whose bytes have come is not known");
        drop(load);
        assert_eq!(numbers(), (0, 0, 0));
    }
}
