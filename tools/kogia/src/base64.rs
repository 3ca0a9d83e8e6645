//! Base64 (RFC 4648, with padding): bytes that are no text, in JSON.

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The digits of `bytes`.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let number = (0..3)
            .fold(0, |number, at| number << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * at) & 63) as usize];
            text.push(if at <= group.len() { digit.into() } else { '=' });
        }
    }
    text
}

/// The bytes whose digits these are; `None` for any other text.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let groups = text.as_bytes().chunks_exact(4);
    if !groups.remainder().is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let last = groups.len().wrapping_sub(1);
    for (index, group) in groups.enumerate() {
        let padding = group.iter().rev().take_while(|digit| **digit == b'=').count();
        if padding > 2 || (padding > 0 && index != last) {
            return None;
        }
        let mut number = 0;
        for digit in &group[..4 - padding] {
            number = number << 6 | DIGITS.iter().position(|known| known == digit)? as u32;
        }
        number <<= 6 * padding;
        bytes.extend_from_slice(&number.to_be_bytes()[1..4 - padding]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rfcs_examples_and_every_byte_round_trip() {
        let examples = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (len, text) in examples.iter().enumerate() {
            assert_eq!(encode(&b"foobar"[..len]), *text);
            assert_eq!(decode(text).as_deref(), Some(&b"foobar"[..len]));
        }
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all)), Some(all));
        for wrong in ["Z", "Zg=", "Zg==Zg==", "Z===", "Zm9 ", "Zm=v"] {
            assert_eq!(decode(wrong), None, "{wrong}");
        }
    }
}
