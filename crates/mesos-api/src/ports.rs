//! Host ports as resources list them: as the text `[31000-31001, 31005-31005]` in `/state`, as
//! ranges in the v1 API.

/// The most host ports that one task can have; more are left out.
pub(crate) const MAX_PORTS: usize = 65_536;
/// The most host ports in one document, over all tasks; more are left out. A few bytes of ranges
/// stand for very many ports, so this bounds what a document costs.
pub(crate) const MAX_PORTS_IN_ALL: usize = 4_000_000;

/// Reads the text form into `ports`, and counts them in `taken`, which all tasks of a document
/// share; whether all of it made sense and had room. As in Mesos-DNS, what stands
/// between the first brackets counts, parts that are no ranges are left out, and a descending
/// range is empty.
pub(crate) fn from_text(text: &str, ports: &mut Vec<u16>, taken: &mut usize) -> bool {
    if text.is_empty() {
        return true;
    }
    let inner = text.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
    let Some((inner, _)) = inner else { return false };
    let mut sound = true;
    for part in inner.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let range = part.split_once('-').map(|(a, b)| (a.trim().parse(), b.trim().parse()));
        match range {
            Some((Ok(first), Ok(last))) => sound &= add(first, last, ports, taken),
            _ => sound = false,
        }
    }
    sound
}

/// Adds a range to `ports`, counted in `taken`; whether all of it are ports and had room.
pub(crate) fn add(first: i64, last: i64, ports: &mut Vec<u16>, taken: &mut usize) -> bool {
    let (from, to) = (first.max(0), last.min(65_535));
    let room = MAX_PORTS.saturating_sub(ports.len()).min(MAX_PORTS_IN_ALL.saturating_sub(*taken));
    let before = ports.len();
    ports.extend((from..=to).filter_map(|port| u16::try_from(port).ok()).take(room));
    *taken += ports.len() - before;
    (from, to) == (first, last) && last.saturating_sub(first) < room as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_text_form() {
        let read = |text: &str| {
            let mut ports = Vec::new();
            let sound = from_text(text, &mut ports, &mut 0);
            (ports, sound)
        };
        assert_eq!(read("[31000-31001, 31005-31005]"), (vec![31000, 31001, 31005], true));
        assert_eq!(read("[]"), (vec![], true));
        assert_eq!(read(""), (vec![], true));
        assert_eq!(read("[9-7]"), (vec![], true));
        assert_eq!(read("[31000]"), (vec![], false));
        assert_eq!(read("31000-31001"), (vec![], false));
        assert_eq!(read("[a-b, 5-6, 7-]"), (vec![5, 6], false));
        assert_eq!(read("[65535-65537]"), (vec![65535], false));
        assert_eq!(read("x[1-1]y[2-2]"), (vec![1], true));
        assert_eq!(read("[0-65535,0-65535]").0.len(), MAX_PORTS);
        assert!(!read("[0-99999999999]").1);
        assert_eq!(read("[2--9223372036854775807]"), (vec![], true));
        assert_eq!(read("[-9223372036854775807-2]"), (vec![], false));
    }

    #[test]
    fn a_document_has_room_for_so_many() {
        let mut taken = 0;
        for _ in 0..MAX_PORTS_IN_ALL / MAX_PORTS {
            assert!(add(0, 65_535, &mut Vec::new(), &mut taken));
        }
        let mut ports = Vec::new();
        assert!(!add(0, 65_535, &mut ports, &mut taken));
        assert_eq!((ports.len(), taken), (MAX_PORTS_IN_ALL % MAX_PORTS, MAX_PORTS_IN_ALL));
        assert!(!add(0, 0, &mut Vec::new(), &mut taken));
    }
}
