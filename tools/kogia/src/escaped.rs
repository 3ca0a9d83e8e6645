//! Bytes as text: how keys, prefixes, delimiters and attributes are printed and typed.
//!
//! | bytes | text |
//! | --- | --- |
//! | a backslash | `\\` |
//! | UTF-8 of a printable character | the character |
//! | any other byte | `\x` and two hexadecimal digits |
//!
//! Printing and reading are inverse, so whatever is printed can be pasted back. Reading takes
//! every byte that begins no escape as it is. Example: the four bytes `61 00 ff 5c` are `a\x00\xff\\`.

use std::ffi::OsString;
use std::fmt::{self, Write};
use std::os::unix::ffi::OsStringExt;

use clap::builder::{OsStringValueParser, TypedValueParser, ValueParser, ValueParserFactory};

/// Bytes given on the command line as escaped text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Escaped(pub Vec<u8>);

/// The printable form of `bytes`.
pub fn text(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|character| push(&mut text, character));
        chunk.invalid().iter().for_each(|byte| push_hex(&mut text, *byte));
    }
    text
}

fn push(text: &mut String, character: char) {
    match character {
        '\\' => text.push_str(r"\\"),
        _ if character.is_control() => {
            let mut bytes = [0; 4];
            character.encode_utf8(&mut bytes).bytes().for_each(|byte| push_hex(text, byte));
        }
        _ => text.push(character),
    }
}

fn push_hex(text: &mut String, byte: u8) {
    let _ = write!(text, r"\x{byte:02x}");
}

impl Escaped {
    /// Reads what [`text`] prints.
    pub fn parse(text: &[u8]) -> Result<Self, UnknownEscape> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text;
        while let Some((&byte, after)) = rest.split_first() {
            let (byte, after) = if byte == b'\\' { unescape(after)? } else { (byte, after) };
            bytes.push(byte);
            rest = after;
        }
        Ok(Escaped(bytes))
    }
}

/// The byte that the escape at the start of `text` stands for, and what follows it.
fn unescape(text: &[u8]) -> Result<(u8, &[u8]), UnknownEscape> {
    let hex = |digit: u8| (digit as char).to_digit(16).map(|value| value as u8);
    match text {
        [b'\\', after @ ..] => Ok((b'\\', after)),
        [b'x', high, low, after @ ..] => match (hex(*high), hex(*low)) {
            (Some(high), Some(low)) => Ok((high << 4 | low, after)),
            _ => Err(UnknownEscape),
        },
        _ => Err(UnknownEscape),
    }
}

/// A backslash that begins no escape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownEscape;

impl fmt::Display for UnknownEscape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r"a backslash is written \\, any byte \x and two hexadecimal digits")
    }
}

impl std::error::Error for UnknownEscape {}

impl ValueParserFactory for Escaped {
    type Parser = ValueParser;

    fn value_parser() -> Self::Parser {
        let parse = |text: OsString| Escaped::parse(&text.into_vec());
        OsStringValueParser::new().try_map(parse).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_bytes_reads_back_as_printed() {
        for pair in 0..=u16::MAX {
            let bytes = pair.to_le_bytes();
            let printed = text(&bytes);
            assert!(!printed.contains(char::is_control), "{printed:?}");
            assert_eq!(Escaped::parse(printed.as_bytes()), Ok(Escaped(bytes.to_vec())));
        }
    }

    #[test]
    fn printable_text_of_any_script_stays_as_it_is() {
        for plain in ["cam1/2026-01-01.ts", "Füße 鯨", ""] {
            assert_eq!(text(plain.as_bytes()), plain);
        }
        assert_eq!(text(b"a\x00\xff\\"), r"a\x00\xff\\");
        assert_eq!(text("\u{85}".as_bytes()), r"\xc2\x85");
    }

    #[test]
    fn unknown_escapes_are_refused() {
        for wrong in [r"\", r"\n", r"\x", r"\x1", r"\xgg", r"a\"] {
            assert_eq!(Escaped::parse(wrong.as_bytes()), Err(UnknownEscape), "{wrong}");
        }
    }
}
