//! Service ports for apps that have none: tasks with addresses of their own, from Marathon 0.14 to
//! 1.2, which gave such apps no service ports (pure). The numbers are marathon-lb's.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use sha1::{Digest, Sha1};
use waymark_model::AppId;

/// How often another number is drawn before the lowest free one is taken.
const DRAWS: u32 = 50;

/// For each app the service ports of its task ports, by position; 0 where the range is used up.
///
/// The result depends on what is asked for alone, so that it is the same after a restart. Who comes
/// first gets a number that two would draw: the apps come in the order of their ids here, in
/// marathon-lb in that of Marathon's answer.
pub(super) fn invent<'a>(
    range: &RangeInclusive<u16>,
    apps: impl Iterator<Item = (&'a AppId, Vec<u16>)>,
) -> BTreeMap<AppId, Vec<u16>> {
    let mut taken = BTreeSet::new();
    let mut of_app = |app: &AppId, ports: Vec<u16>| -> Vec<u16> {
        ports.into_iter().map(|port| one(range, app, port, &mut taken)).collect()
    };
    apps.map(|(app, ports)| (app.clone(), of_app(app, ports))).collect()
}

fn one(range: &RangeInclusive<u16>, app: &AppId, task_port: u16, taken: &mut BTreeSet<u16>) -> u16 {
    let size = u32::from(*range.end()).saturating_sub(u32::from(*range.start())) + 1;
    let drawn = |draw: u32| {
        let hash = Sha1::digest(format!("{app}-{task_port}-{draw}"));
        let number = hash.iter().take(4).fold(0u32, |n, byte| n << 8 | u32::from(*byte));
        u16::try_from(u32::from(*range.start()) + number % size).unwrap_or(0)
    };
    let free = (0..DRAWS).map(drawn).chain(range.clone()).find(|port| !taken.contains(port));
    free.inspect(|port| {
        taken.insert(*port);
    })
    .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use waymark_model::PathId;

    use super::*;

    #[test]
    fn numbers_are_drawn_then_counted_then_used_up() {
        let ids: Vec<AppId> = ["/a", "/b"].map(|id| PathId::parse(id).unwrap()).into();
        let all = |range: RangeInclusive<u16>| {
            let found = invent(&range, ids.iter().map(|id| (id, vec![80, 81])));
            found.into_values().flatten().collect::<Vec<_>>()
        };
        let usual = all(10050..=10100);
        assert_eq!(usual, all(10050..=10100));
        assert_eq!(usual.iter().collect::<BTreeSet<_>>().len(), 4);
        assert!(usual.iter().all(|port| (10050..=10100).contains(port)));
        // What SHA-1 of "/a-80-0" begins with.
        assert_eq!(u32::from(usual[0]), 10050 + 0xb0fe_1eda % 51);
        let few = all(7..=9);
        assert_eq!(few.iter().filter(|port| **port == 0).count(), 1);
        assert_eq!(few[3], 0);
    }
}
