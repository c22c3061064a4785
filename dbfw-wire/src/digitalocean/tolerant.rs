//! Reading what servers write in more ways than one.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// An object or `null`. Serde itself would read `[]` as an object without a field.
///
/// # Errors
/// It is neither.
pub(super) fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    struct Object<T>(PhantomData<T>);

    impl<'de, T: Deserialize<'de>> Visitor<'de> for Object<T> {
        type Value = Option<T>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_unit<E>(self) -> Result<Option<T>, E> {
            Ok(None)
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Option<T>, A::Error> {
            T::deserialize(MapAccessDeserializer::new(map)).map(Some)
        }
    }

    deserializer.deserialize_any(Object(PhantomData))
}

/// `null` is the same as nothing.
///
/// # Errors
/// It is no `T`.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// `null` is an empty list; only where it is absent it is `None`.
///
/// # Errors
/// It is no list of `T`.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    nullable(deserializer).map(Some)
}

/// Text that nothing depends on: whatever else it may be counts as empty.
///
/// # Errors
/// It is not JSON.
pub(super) fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    lenient_option(deserializer).map(Option::unwrap_or_default)
}

/// See [`lenient`]: whatever is no text counts as absent.
///
/// # Errors
/// It is not JSON.
pub(super) fn lenient_option<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Lenient {
        Text(String),
        Other(IgnoredAny),
    }
    Lenient::deserialize(deserializer).map(|value| match value {
        Lenient::Text(text) => Some(text),
        Lenient::Other(_) => None,
    })
}
