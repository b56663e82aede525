//! NumPy's `SeedSequence`, which torchsde uses to give every node of its Brownian tree a seed.
//!
//! The hash is Melissa O'Neill's `seed_seq_fe` ("Developing a seed_seq Alternative", 2015) with NumPy's
//! constants and its rule for spawn keys.

const INIT_A: u32 = 0x43b0_d7e5;
const MULT_A: u32 = 0x931e_8875;
const INIT_B: u32 = 0x8b51_f9dd;
const MULT_B: u32 = 0x58f3_8ded;
const MIX_LEFT: u32 = 0xca01_f9dd;
const MIX_RIGHT: u32 = 0x4973_f715;

/// The first `N` words of the state that `SeedSequence(entropy, spawn_key=…, pool_size=POOL)` generates.
pub(super) fn generate_state<const POOL: usize, const N: usize>(entropy: u64, spawn_key: &[u64]) -> [u32; N] {
    let mut words = words_of(entropy);
    if !spawn_key.is_empty() && words.len() < POOL {
        // Keeps (entropy, key) apart from a longer entropy that happens to end in the key's words.
        words.resize(POOL, 0);
    }
    words.extend(spawn_key.iter().flat_map(|&key| words_of(key)));
    state_of(&mix_entropy::<POOL>(&words))
}

/// Little-endian words without leading zeros; zero itself is one word.
fn words_of(value: u64) -> Vec<u32> {
    let (low, high) = (value as u32, (value >> 32) as u32);
    if high == 0 { vec![low] } else { vec![low, high] }
}

fn mix_entropy<const POOL: usize>(words: &[u32]) -> [u32; POOL] {
    let mut hash = INIT_A;
    let mut hashed = |value: u32| {
        let value = value ^ hash;
        hash = hash.wrapping_mul(MULT_A);
        let value = value.wrapping_mul(hash);
        value ^ (value >> 16)
    };
    let mut pool = [0u32; POOL];
    for (i, slot) in pool.iter_mut().enumerate() {
        *slot = hashed(words.get(i).copied().unwrap_or(0));
    }
    for source in 0..POOL {
        for target in 0..POOL {
            if source != target {
                pool[target] = mix(pool[target], hashed(pool[source]));
            }
        }
    }
    for &word in words.iter().skip(POOL) {
        for slot in &mut pool {
            *slot = mix(*slot, hashed(word));
        }
    }
    pool
}

fn mix(x: u32, y: u32) -> u32 {
    let mixed = MIX_LEFT.wrapping_mul(x).wrapping_sub(MIX_RIGHT.wrapping_mul(y));
    mixed ^ (mixed >> 16)
}

fn state_of<const N: usize>(pool: &[u32]) -> [u32; N] {
    let mut hash = INIT_B;
    std::array::from_fn(|i| {
        let value = pool[i % pool.len()] ^ hash;
        hash = hash.wrapping_mul(MULT_B);
        let value = value.wrapping_mul(hash);
        value ^ (value >> 16)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_numpy() {
        // numpy.random.SeedSequence(…).generate_state(4)
        assert_eq!(generate_state::<4, 4>(0, &[]), NUMPY_0);
        assert_eq!(generate_state::<24, 4>(42, &[5, 3]), NUMPY_42);
        assert_eq!(generate_state::<24, 4>((1 << 40) + 7, &[(1 << 33) + 1, 34]), NUMPY_BIG);
    }
    const NUMPY_0: [u32; 4] = [2_968_811_710, 3_677_149_159, 745_650_761, 2_884_920_346];
    const NUMPY_42: [u32; 4] = [3_084_123_560, 468_215_949, 242_942_938, 2_650_128_260];
    const NUMPY_BIG: [u32; 4] = [1_614_522_446, 2_128_473_930, 2_665_677_077, 3_566_934_801];
}
