//! Pieces for writing JSON whose members come and go by rule.
//!
//! Marathon's answers leave some fields out when they are empty and always show others. The writers
//! of this crate say which by the method they call, in the order in which the fields appear.

use std::fmt::Display;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// A model value, to be written the way Marathon writes it.
pub(crate) struct Json<'a, T>(pub &'a T);

/// A list of model values.
pub(crate) struct List<'a, T>(pub &'a [T]);

impl<T> Serialize for List<'_, T>
where
    for<'b> Json<'b, T>: Serialize,
{
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(Json))
    }
}

/// A value that is written as its text: ids, timestamps, addresses.
pub(crate) struct Text<T>(pub T);

impl<T: Display> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A number without a needless fraction: `1`, not `1.0`, as Marathon's JSON library prints it.
pub(crate) struct Number(pub f64);

/// Whole numbers up to here are exact in a double.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.fract() == 0.0 && self.0.abs() < MAX_EXACT {
            serializer.serialize_i64(self.0 as i64)
        } else {
            serializer.serialize_f64(self.0)
        }
    }
}

/// The members of an object that is being written.
pub(crate) struct Members<M>(M);

impl<M: SerializeMap> Members<M> {
    /// A member that is always there.
    pub fn put<T: Serialize>(&mut self, name: &str, value: T) -> Result<(), M::Error> {
        self.0.serialize_entry(name, &value)
    }

    /// A member that is left out when there is no value.
    pub fn put_some<T: Serialize>(&mut self, name: &str, value: Option<T>) -> Result<(), M::Error> {
        match value {
            Some(value) => self.put(name, value),
            None => Ok(()),
        }
    }

    /// A list that is left out when it is empty.
    pub fn put_filled<'a, T>(&mut self, name: &str, values: &'a [T]) -> Result<(), M::Error>
    where
        List<'a, T>: Serialize,
    {
        if values.is_empty() { Ok(()) } else { self.put(name, List(values)) }
    }
}

/// Writes one object.
pub(crate) fn object<S: Serializer>(
    serializer: S,
    write: impl FnOnce(&mut Members<S::SerializeMap>) -> Result<(), S::Error>,
) -> Result<S::Ok, S::Error> {
    let mut members = Members(serializer.serialize_map(None)?);
    write(&mut members)?;
    members.0.end()
}

/// The JSON text of a value, on one line.
pub fn to_text(value: &impl Serialize) -> String {
    // Keys are strings and the writer is memory, so nothing can fail here.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lose_needless_fractions() {
        for (number, want) in [
            (1.0, "1"),
            (0.1, "0.1"),
            (0.0, "0"),
            (-2.0, "-2"),
            (1.15, "1.15"),
            (1e300, "1e+300"),
            (128.5, "128.5"),
        ] {
            assert_eq!(to_text(&Number(number)), want);
        }
    }
}
