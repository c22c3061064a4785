//! Fields that are absent, `null`, or there.

use serde::{Deserialize, Deserializer};

/// A field that is there; serde's default is for one that is absent. `null` is `Some(None)`.
///
/// # Errors
/// It is no `T`.
pub(crate) fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
