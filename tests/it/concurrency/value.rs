//! Values that tell what they are.

/// The value of a key's version: of any two keys, versions or lengths they differ.
pub fn value(key: u64, version: u64, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    let mut state = (key << 40 | version << 8 | 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
