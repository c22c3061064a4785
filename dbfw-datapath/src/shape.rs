//! The built object, and the shape of each map it defines.

use std::collections::BTreeMap;

use dbfw_common::MAPS;

use crate::{error::DatapathError, sys::MapShape};

/// The kernel programs, as built.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/dbfw-ebpf"));

/// The shape that the object defines for each map: a pin must have it to be taken over.
///
/// # Errors
/// The built object cannot be read.
pub(crate) fn map_shapes() -> Result<BTreeMap<&'static str, MapShape>, DatapathError> {
    let object =
        aya_obj::Object::parse(OBJECT).map_err(|error| DatapathError::Object(error.to_string()))?;
    MAPS.iter()
        .map(|&name| {
            let map = object
                .maps
                .get(name)
                .ok_or_else(|| DatapathError::Object(format!("no map {name}")))?;
            let shape = MapShape {
                map_type: map.map_type(),
                key_size: map.key_size(),
                value_size: map.value_size(),
                max_entries: map.max_entries(),
                flags: map.map_flags(),
            };
            Ok((name, shape))
        })
        .collect()
}
