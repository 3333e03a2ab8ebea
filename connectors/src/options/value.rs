//! A serde deserializer over the option map; it learns the known keys from the struct itself.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

/// An option with its variables replaced.
#[derive(Clone)]
pub(super) struct Value {
    pub(super) text: String,
    /// Whether it must not be shown.
    pub(super) secret: bool,
}

/// What is wrong with the options, before table and connector are named.
#[derive(Debug)]
pub(super) enum Refusal {
    /// A required key is not there.
    Missing(&'static str),
    /// The value of a key is not what the struct wants; the key is added on the way out.
    Value {
        key: Option<String>,
        expected: String,
        secret: bool,
    },
    /// The key is not one of these.
    Unknown {
        key: String,
        known: &'static [&'static str],
    },
    /// What a type of the connector said by itself.
    Custom {
        key: Option<String>,
        message: String,
        secret: bool,
    },
}

impl Refusal {
    fn at(self, name: &str, hidden: bool) -> Self {
        let key = Some(name.to_owned());
        match self {
            Self::Value { expected, .. } => Self::Value {
                key,
                expected,
                secret: hidden,
            },
            Self::Custom { message, .. } => Self::Custom {
                key,
                message,
                secret: hidden,
            },
            other => other,
        }
    }

    fn expected(expected: impl Into<String>) -> Self {
        Self::Value {
            key: None,
            expected: expected.into(),
            secret: false,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Custom {
            key: None,
            message: message.to_string(),
            secret: false,
        }
    }

    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::expected(expected.to_string())
    }

    fn invalid_value(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::expected(expected.to_string())
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        let names = expected
            .iter()
            .map(|name| format!("'{name}'"))
            .collect::<Vec<_>>();
        Self::expected(match names.as_slice() {
            [one] => one.clone(),
            [first @ .., last] => format!("{} or {last}", first.join(", ")),
            [] => "nothing".to_owned(),
        })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

/// All options of a table.
pub(super) struct Options<'a>(pub(super) &'a BTreeMap<String, Value>);

impl<'de> Deserializer<'de> for Options<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refusal> {
        Err(de::Error::custom(
            "options are read into a struct with named fields",
        ))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let belongs = |key: &str| {
            known.iter().any(|name| match name.strip_suffix('*') {
                Some(prefix) => key.len() > prefix.len() && key.starts_with(prefix),
                None => *name == key,
            })
        };
        if let Some(key) = self.0.keys().find(|key| !belongs(key)) {
            return Err(Refusal::Unknown {
                key: key.clone(),
                known,
            });
        }
        let present = |name: &&&'static str| name.ends_with('*') || self.0.contains_key(**name);
        let fields = known.iter().filter(present).copied().collect::<Vec<_>>();
        visitor.visit_map(Fields {
            options: self.0,
            left: fields.into_iter(),
            current: "",
        })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// The fields of the struct that the options have something for.
struct Fields<'a> {
    options: &'a BTreeMap<String, Value>,
    left: std::vec::IntoIter<&'static str>,
    current: &'static str,
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refusal> {
        let Some(field) = self.left.next() else {
            return Ok(None);
        };
        self.current = field;
        let name: StrDeserializer<'_, Refusal> = field.into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        if let Some(prefix) = self.current.strip_suffix('*') {
            let under = |(key, value): (&String, &Value)| {
                key.strip_prefix(prefix)
                    .map(|rest| (rest.to_owned(), value.clone()))
            };
            let entries = self.options.iter().filter_map(under).collect::<Vec<_>>();
            return seed.deserialize(Prefixed { prefix, entries });
        }
        let value = self.options.get(self.current);
        let value = value.ok_or(Refusal::Missing(self.current))?;
        seed.deserialize(One(value))
            .map_err(|fault| fault.at(self.current, value.secret))
    }
}

/// The options under a prefix, as a map.
struct Prefixed {
    prefix: &'static str,
    entries: Vec<(String, Value)>,
}

impl<'de> Deserializer<'de> for Prefixed {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_map(Entries {
            prefix: self.prefix,
            left: self.entries.into_iter(),
            current: None,
        })
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
        ignored_any
    }
}

struct Entries {
    prefix: &'static str,
    left: std::vec::IntoIter<(String, Value)>,
    current: Option<(String, Value)>,
}

impl<'de> de::MapAccess<'de> for Entries {
    type Error = Refusal;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Refusal> {
        self.current = self.left.next();
        let Some((key, _)) = &self.current else {
            return Ok(None);
        };
        let name: StrDeserializer<'_, Refusal> = key.as_str().into_deserializer();
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        let (key, value) = self.current.take().ok_or(Refusal::Missing("value"))?;
        let name = format!("{}{key}", self.prefix);
        seed.deserialize(One(&value))
            .map_err(|fault| fault.at(&name, value.secret))
    }
}

/// The value of one key.
struct One<'a>(&'a Value);

impl One<'_> {
    fn number<T: std::str::FromStr>(&self, expected: &str) -> Result<T, Refusal> {
        self.0
            .text
            .trim()
            .parse()
            .map_err(|_| Refusal::expected(expected))
    }
}

macro_rules! whole_numbers {
    ($($method:ident $visit:ident $type:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            let range = match ($type::BITS, $type::MIN) {
                (64, 0) => "a whole number from 0 on".to_owned(),
                (64, _) => "a whole number".to_owned(),
                (_, least) => format!("a whole number from {least} to {}", $type::MAX),
            };
            visitor.$visit(self.number(&range)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for One<'_> {
    type Error = Refusal;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_str(&self.0.text)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        match self.0.text.trim().to_ascii_lowercase().as_str() {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            _ => Err(Refusal::expected("'true' or 'false'")),
        }
    }

    whole_numbers! {
        deserialize_i8 visit_i8 i8; deserialize_i16 visit_i16 i16;
        deserialize_i32 visit_i32 i32; deserialize_i64 visit_i64 i64;
        deserialize_u8 visit_u8 u8; deserialize_u16 visit_u16 u16;
        deserialize_u32 visit_u32 u32; deserialize_u64 visit_u64 u64;
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let number: f64 = self.number("a number")?;
        if number.is_finite() {
            visitor.visit_f64(number)
        } else {
            Err(Refusal::expected("a number"))
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_newtype_struct(self)
    }

    /// How [`Text`](super::Text) is told whether it is secret.
    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        visitor.visit_seq(Parts {
            value: self.0,
            next: 0,
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let name: StrDeserializer<'_, Refusal> = self.0.text.as_str().into_deserializer();
        visitor.visit_enum(name)
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple map struct identifier
        ignored_any
    }
}

/// A value as the two fields of [`Text`](super::Text).
struct Parts<'a> {
    value: &'a Value,
    next: u8,
}

impl<'de> de::SeqAccess<'de> for Parts<'_> {
    type Error = Refusal;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Refusal> {
        self.next += 1;
        match self.next {
            1 => seed
                .deserialize(self.value.secret.into_deserializer())
                .map(Some),
            2 => seed
                .deserialize(self.value.text.as_str().into_deserializer())
                .map(Some),
            _ => Ok(None),
        }
    }
}
