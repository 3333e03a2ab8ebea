//! A scanner over one JSON text: no recursion that the text could drive, no copy that it could
//! avoid.

/// Levels of nesting that a message may have.
pub(super) const MAX_DEPTH: usize = 64;

/// What a value begins like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    Number,
    String,
    Array,
    Object,
}

impl Kind {
    /// As reasons name it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::True | Self::False => "a boolean",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        }
    }
}

/// The inside of a string as it stands in the text.
#[derive(Debug, Clone, Copy)]
pub(super) struct Raw<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether it has escapes.
    pub(super) escaped: bool,
}

/// A reader of a text that is valid UTF-8.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// Marks the first byte of eight that ends the plain part of a string: a quote, a backslash or
/// a control character. Bytes above the first mark may be marked wrongly.
fn marks(chunk: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let below = |word: u64, limit: u64| word.wrapping_sub(ONES * limit) & !word;
    let quote = below(chunk ^ (ONES * 0x22), 1);
    let backslash = below(chunk ^ (ONES * 0x5c), 1);
    (below(chunk, 0x20) | quote | backslash) & HIGH
}

/// How many bytes come before the first that a string cannot hold as it is.
#[inline]
pub(super) fn plain(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let marks = marks(u64::from_le_bytes(*chunk));
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    bytes[at..]
        .iter()
        .position(special)
        .map_or(bytes.len(), |after| at + after)
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
        }
    }

    /// The next byte that is no blank; it is not taken.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<u8> {
        loop {
            match self.bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(byte) => return Some(*byte),
                None => return None,
            }
        }
    }

    /// Takes the byte if it is the next one that is no blank.
    #[inline]
    pub(super) fn take(&mut self, wanted: u8) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// Takes the byte or says what stands there instead.
    #[inline]
    pub(super) fn expect(&mut self, wanted: u8) -> Result<(), String> {
        if self.take(wanted) {
            Ok(())
        } else {
            Err(self.expected(&format!("'{}'", wanted as char)))
        }
    }

    /// A reason: something else was expected here.
    #[cold]
    pub(super) fn expected(&self, what: &str) -> String {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match String::from_utf8_lossy(&rest[..rest.len().min(8)])
            .chars()
            .next()
        {
            Some(found) => {
                format!(
                    "invalid JSON: expected {what} at byte {}, found {found:?}",
                    self.at
                )
            }
            None => format!(
                "invalid JSON: expected {what} at byte {}, found the end",
                self.at
            ),
        }
    }

    /// What the next value begins like.
    #[inline]
    pub(super) fn kind(&mut self) -> Result<Kind, String> {
        Ok(match self.peek() {
            Some(b'"') => Kind::String,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            Some(b'n') => Kind::Null,
            Some(b't') => Kind::True,
            Some(b'f') => Kind::False,
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            _ => return Err(self.expected("a value")),
        })
    }

    /// Takes a word.
    #[inline]
    pub(super) fn word(&mut self, word: &str) -> Result<(), String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(self.expected(&format!("'{word}'")));
        }
        self.at += word.len();
        Ok(())
    }

    /// Takes `,` before the next member or the closing byte: whether a member follows.
    #[inline]
    pub(super) fn more(&mut self, first: bool, close: u8) -> Result<bool, String> {
        if self.take(close) {
            return Ok(false);
        }
        if first || self.take(b',') {
            return Ok(true);
        }
        Err(self.expected(if close == b'}' {
            "',' or '}'"
        } else {
            "',' or ']'"
        }))
    }

    /// Takes a string.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Raw<'a>, String> {
        if !self.take(b'"') {
            return Err(self.expected("a string"));
        }
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += plain(rest);
            match self.bytes.get(self.at) {
                Some(b'"') => {
                    let bytes = &self.bytes[start..self.at];
                    self.at += 1;
                    return Ok(Raw { bytes, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.at = (self.at + 2).min(self.bytes.len());
                }
                Some(_) => return Err(self.expected("no control character in a string")),
                None => return Err(self.expected("'\"'")),
            }
        }
    }

    /// Takes a number that follows JSON's grammar.
    #[inline]
    pub(super) fn number(&mut self) -> Result<super::number::Number<'a>, String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match super::number::scan(rest) {
            Ok(number) => {
                self.at += number.text.len();
                Ok(number)
            }
            Err(at) => {
                self.at += at;
                Err(self.expected("a digit"))
            }
        }
    }

    /// Takes a value of any kind without looking at its meaning; `scratch` checks escapes.
    pub(super) fn skip(&mut self, depth: usize, scratch: &mut Vec<u8>) -> Result<(), String> {
        match self.kind()? {
            Kind::Null => self.word("null"),
            Kind::True => self.word("true"),
            Kind::False => self.word("false"),
            Kind::Number => self.number().map(|_| ()),
            Kind::String => self.string().and_then(|raw| checked(raw, scratch)),
            Kind::Array | Kind::Object if depth >= MAX_DEPTH => Err(too_deep()),
            Kind::Array => {
                self.at += 1;
                let mut first = true;
                while self.more(first, b']')? {
                    self.skip(depth + 1, scratch)?;
                    first = false;
                }
                Ok(())
            }
            Kind::Object => {
                self.at += 1;
                let mut first = true;
                while self.more(first, b'}')? {
                    checked(self.string()?, scratch)?;
                    self.expect(b':')?;
                    self.skip(depth + 1, scratch)?;
                    first = false;
                }
                Ok(())
            }
        }
    }

    /// Only blanks may follow.
    pub(super) fn end(&mut self) -> Result<(), String> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end")),
        }
    }
}

/// The reason for a message that is nested deeper than [`MAX_DEPTH`].
#[cold]
pub(super) fn too_deep() -> String {
    format!("nested deeper than {MAX_DEPTH} levels")
}

fn checked(raw: Raw<'_>, scratch: &mut Vec<u8>) -> Result<(), String> {
    if raw.escaped {
        scratch.clear();
        unescape(raw.bytes, scratch)?;
    }
    Ok(())
}

/// Appends a string with its escapes replaced.
pub(super) fn unescape(mut raw: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    while let Some(backslash) = raw.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(&raw[..backslash]);
        let escape = raw.get(backslash + 1).copied();
        raw = raw.get(backslash + 2..).unwrap_or_default();
        out.push(match escape {
            Some(byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'u') => {
                let character;
                (character, raw) =
                    unicode(raw).ok_or("invalid JSON: a \\u escape is not a character")?;
                let mut buffer = [0; 4];
                out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
                continue;
            }
            _ => return Err("invalid JSON: unknown escape in a string".to_owned()),
        });
    }
    out.extend_from_slice(raw);
    Ok(())
}

/// The character of `XXXX` or of the surrogates `XXXX\uXXXX`, and what follows.
fn unicode(raw: &[u8]) -> Option<(char, &[u8])> {
    let unit = |raw: &[u8]| -> Option<u32> {
        let mut unit = 0;
        for digit in raw.get(..4)? {
            unit = unit * 16 + char::from(*digit).to_digit(16)?;
        }
        Some(unit)
    };
    let first = unit(raw)?;
    let rest = &raw[4..];
    if !(0xd800..0xdc00).contains(&first) {
        return Some((char::from_u32(first)?, rest));
    }
    let rest = rest.strip_prefix(b"\\u")?;
    let second = unit(rest)?;
    if !(0xdc00..0xe000).contains(&second) {
        return None;
    }
    let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    Some((char::from_u32(code)?, &rest[4..]))
}
