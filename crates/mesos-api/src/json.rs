//! Lenient reading of JSON in one pass, on top of serde.
//!
//! A member of another type than expected is read over and counts as absent; only text that is no
//! JSON is an error. Members that nobody asks for are skipped without being kept.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::intake::Intake;

/// Something that is read from a JSON object, member by member.
pub(crate) trait Object: Default {
    /// Takes the value of the member `name` from `map`, exactly once; what is not wanted goes to
    /// [`skip`].
    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
        intake: &mut Intake,
    ) -> Result<(), A::Error>;
}

/// Reads over a value.
pub(crate) fn skip<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

/// A text; `None` for anything else.
pub(crate) fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
    Ok(match map.next_value_seed(SCALAR)? {
        Scalar::Text(text) => Some(text),
        _ => None,
    })
}

/// A number; `None` for anything else.
pub(crate) fn number<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<f64>, A::Error> {
    Ok(match map.next_value_seed(SCALAR)? {
        Scalar::Number(number) => Some(number),
        _ => None,
    })
}

/// A whole number; `None` for anything else.
pub(crate) fn whole<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<i64>, A::Error> {
    // Beyond 2^53 a float stands for several whole numbers; none of those is of use here.
    let whole = |n: &f64| n.fract() == 0.0 && n.abs() < 9_007_199_254_740_992.0;
    Ok(number(map)?.filter(whole).map(|n| n as i64))
}

/// `true` or `false`; `None` for anything else.
pub(crate) fn flag<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<bool>, A::Error> {
    Ok(match map.next_value_seed(SCALAR)? {
        Scalar::Flag(flag) => Some(flag),
        _ => None,
    })
}

/// An object; `None` for anything else.
pub(crate) fn object<'de, T: Object, A: MapAccess<'de>>(
    map: &mut A,
    intake: &mut Intake,
) -> Result<Option<T>, A::Error> {
    map.next_value_seed(ObjectSeed { intake, what: PhantomData })
}

/// What a list turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Listed {
    /// There is none: the member is absent, null, or something else.
    #[default]
    Absent,
    /// There is one with so many elements.
    Of(usize),
}

/// A list; each element goes to `each`, as `None` where it is not an object.
pub(crate) fn list<'de, T: Object, A: MapAccess<'de>>(
    map: &mut A,
    intake: &mut Intake,
    each: &mut dyn FnMut(&mut Intake, Option<T>),
) -> Result<Listed, A::Error> {
    map.next_value_seed(ListSeed { intake, each, member: None, text: None })
}

/// A list, or an object whose member of that name is the list: `labels` is one in `/state` and
/// the other in the v1 API.
pub(crate) fn list_or_in<'de, T: Object, A: MapAccess<'de>>(
    map: &mut A,
    intake: &mut Intake,
    member: &'static str,
    each: &mut dyn FnMut(&mut Intake, Option<T>),
) -> Result<Listed, A::Error> {
    map.next_value_seed(ListSeed { intake, each, member: Some(member), text: None })
}

/// A list, or an object whose member of that name is a text, which goes to `text`: resources are
/// one in the v1 API and the other in `/state`.
pub(crate) fn list_or_member<'de, T: Object, A: MapAccess<'de>>(
    map: &mut A,
    intake: &mut Intake,
    member: &'static str,
    text: &mut Option<String>,
    each: &mut dyn FnMut(&mut Intake, Option<T>),
) -> Result<Listed, A::Error> {
    map.next_value_seed(ListSeed { intake, each, member: Some(member), text: Some(text) })
}

/// A text, or the text in an object's member `value`: how the v1 API writes ids.
pub(crate) fn id<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Cow<'de, str>>, A::Error> {
    Ok(match map.next_value_seed(ScalarSeed { in_value: true })? {
        Scalar::Text(text) => Some(text),
        _ => None,
    })
}

/// Reads one object that is a whole text.
pub(crate) fn document<T: Object>(
    text: &str,
    intake: &mut Intake,
) -> Result<Option<T>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let object = ObjectSeed { intake, what: PhantomData }.deserialize(&mut reader)?;
    reader.end()?;
    Ok(object)
}

enum Scalar<'de> {
    Text(Cow<'de, str>),
    Number(f64),
    Flag(bool),
    Other,
}

struct ScalarSeed {
    /// Whether an object stands for what its member `value` holds.
    in_value: bool,
}

const SCALAR: ScalarSeed = ScalarSeed { in_value: false };

/// Methods of a visitor for the values that it does not want.
macro_rules! scalars_are {
    ($value:expr) => {
        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok($value)
        }
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("JSON")
        }
    };
}

fn drain_list<'de, A: SeqAccess<'de>>(mut list: A) -> Result<(), A::Error> {
    while list.next_element::<IgnoredAny>()?.is_some() {}
    Ok(())
}

impl<'de> DeserializeSeed<'de> for ScalarSeed {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Scalar<'de>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }
    fn visit_bool<E>(self, flag: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Flag(flag))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(number as f64))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(number as f64))
    }
    fn visit_f64<E>(self, number: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Number(number))
    }
    fn visit_str<E>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }
    fn visit_unit<E>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Other)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Scalar<'de>, A::Error> {
        drain_list(list).map(|()| Scalar::Other)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scalar<'de>, A::Error> {
        let mut value = Scalar::Other;
        while let Some(name) = map.next_key_seed(Name)? {
            match &*name {
                "value" if self.in_value => value = map.next_value_seed(SCALAR)?,
                _ => skip(&mut map)?,
            }
        }
        Ok(value)
    }
}

/// The name of a member.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Cow<'de, str>, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }
    fn visit_str<E>(self, text: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }
}

struct ObjectSeed<'c, T> {
    intake: &'c mut Intake,
    what: PhantomData<T>,
}

impl<'de, T: Object> DeserializeSeed<'de> for ObjectSeed<'_, T> {
    type Value = Option<T>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<T>, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, T: Object> Visitor<'de> for ObjectSeed<'_, T> {
    type Value = Option<T>;

    scalars_are!(None);

    fn visit_str<E>(self, _: &str) -> Result<Option<T>, E> {
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Option<T>, A::Error> {
        drain_list(list).map(|()| None)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Option<T>, A::Error> {
        let mut object = T::default();
        while let Some(name) = map.next_key_seed(Name)? {
            object.member(&name, &mut map, self.intake)?;
        }
        Ok(Some(object))
    }
}

struct ListSeed<'c, T> {
    intake: &'c mut Intake,
    each: &'c mut dyn FnMut(&mut Intake, Option<T>),
    /// Where the list may stand when there is an object in its place.
    member: Option<&'static str>,
    /// What to put there when that member is a text instead.
    text: Option<&'c mut Option<String>>,
}

impl<'de, T: Object> DeserializeSeed<'de> for ListSeed<'_, T> {
    type Value = Listed;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Listed, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de, T: Object> Visitor<'de> for ListSeed<'_, T> {
    type Value = Listed;

    scalars_are!(Listed::Absent);

    fn visit_str<E>(self, found: &str) -> Result<Listed, E> {
        if let Some(text) = self.text {
            *text = Some(found.to_owned());
        }
        Ok(Listed::Absent)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Listed, A::Error> {
        let mut n = 0;
        loop {
            let seed = ObjectSeed { intake: &mut *self.intake, what: PhantomData };
            let Some(element) = list.next_element_seed(seed)? else { return Ok(Listed::Of(n)) };
            (self.each)(self.intake, element);
            n += 1;
        }
    }
    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Listed, A::Error> {
        let mut listed = Listed::Absent;
        while let Some(name) = map.next_key_seed(Name)? {
            if self.member.is_some_and(|member| name == member) {
                let intake = &mut *self.intake;
                let text = self.text.as_deref_mut();
                let seed = ListSeed { intake, each: &mut *self.each, member: None, text };
                listed = map.next_value_seed(seed)?;
            } else {
                skip(&mut map)?;
            }
        }
        Ok(listed)
    }
}
