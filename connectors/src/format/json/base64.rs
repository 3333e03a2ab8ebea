//! Base64 with the standard alphabet and padding, for BINARY columns.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn digit(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// Appends the decoded bytes.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || "expected base64".to_owned();
    if !text.len().is_multiple_of(4) {
        return Err(wrong());
    }
    let groups = text.len() / 4;
    for (i, group) in text.chunks_exact(4).enumerate() {
        let padding = group.iter().rev().take_while(|byte| **byte == b'=').count();
        if padding > 2 || (padding > 0 && i + 1 < groups) {
            return Err(wrong());
        }
        let mut word = 0;
        for byte in &group[..4 - padding] {
            word = word << 6 | digit(*byte).ok_or_else(wrong)?;
        }
        word <<= 6 * padding as u32;
        let bytes = word.to_be_bytes();
        // What the padding cuts off must be empty, so that each value has one spelling.
        if bytes[4 - padding..].iter().any(|byte| *byte != 0) {
            return Err(wrong());
        }
        out.extend_from_slice(&bytes[1..4 - padding]);
    }
    Ok(())
}

/// Appends the text of the bytes.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for group in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=group.len()].copy_from_slice(group);
        let word = u32::from_be_bytes(word);
        for place in 0..4 {
            let digit = (word >> (18 - 6 * place)) as usize & 63;
            out.push(if place <= group.len() {
                ALPHABET[digit]
            } else {
                b'='
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_hold() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = vec![];
            encode(plain.as_bytes(), &mut out);
            assert_eq!(out, text.as_bytes());
            out.clear();
            decode(text.as_bytes(), &mut out).expect("valid");
            assert_eq!(out, plain.as_bytes());
        }
        for wrong in [
            "Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zh==", "Zm 9", "Zm9-",
        ] {
            assert!(decode(wrong.as_bytes(), &mut vec![]).is_err(), "{wrong}");
        }
    }
}
