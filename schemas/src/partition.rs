//! Which partition a key belongs to: murmur2, as Kafka's Java client computes it.

/// The partition of a key among `count` partitions.
///
/// Kafka's default partitioner: `(murmur2(key) & 0x7fffffff) % count`.
pub fn partition_for(key: &[u8], count: u32) -> u32 {
    assert!(count > 0, "a topic has at least one partition");
    (murmur2(key) & 0x7fff_ffff) % count
}

/// MurmurHash2, 32 bits, seed 0x9747b28c.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h: u32 = 0x9747_b28c ^ (data.len() as u32);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut k = u32::from_le_bytes(chunk.try_into().expect("four bytes")).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = chunks.remainder();
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From the tests of Kafka's Java client (`UtilsTest.testMurmur2`).
    const JAVA: [(&[u8], i32); 6] = [
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        (b"abc", 479_470_107),
    ];

    /// What Kafka's Java client 4.1.0 answers: its bytes have a sign, of which nothing may be left.
    const JAVA_BEYOND_ASCII: [(&[u8], i32); 5] = [
        ("server-ü\0df -P".as_bytes(), -448_996_305),
        ("日本語".as_bytes(), 1_431_860_170),
        (b"\xff", -311_467_685),
        (b"\x80\xfe\xff", -711_844_693),
        ("abé".as_bytes(), -17_388_004),
    ];

    #[test]
    fn hashes_are_those_of_the_java_client() {
        for (key, hash) in JAVA.into_iter().chain(JAVA_BEYOND_ASCII) {
            assert_eq!(murmur2(key) as i32, hash, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn a_negative_hash_loses_its_sign_bit_before_the_division() {
        // Java: `Utils.toPositive(-973932308) % 12`, where toPositive clears the sign bit.
        assert_eq!(partition_for(b"21", 12), ((-973_932_308i32) & 0x7fff_ffff) as u32 % 12);
        assert_eq!(partition_for(b"abc", 12), 479_470_107 % 12);
        assert_eq!(partition_for(b"abc", 1), 0);
    }
}
