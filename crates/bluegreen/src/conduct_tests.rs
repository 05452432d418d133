use waymark_model::Timestamp;

use super::*;
use crate::picture::Task;
use crate::plan::Growth;
use Light::{Down, Drained, Draining, Serving};

const MAX_WAIT: Duration = Duration::from_secs(300);
const START_WAIT: Duration = Duration::from_secs(600);

fn plan(target: u32, hybrid: Option<u32>) -> Plan {
    Plan {
        target,
        hybrid,
        growth: Growth::Half,
        max_wait: MAX_WAIT,
        start_wait: Some(START_WAIT),
        direction: Direction::Forward,
    }
}

/// Tasks of one app, each a word of what every balancer makes of it: `S` serving, `d` draining, `M`
/// drained, `-` down.
fn side(name: &str, scaled_at: u64, tasks: &str) -> Side {
    let light = |letter| match letter {
        'S' => Serving,
        'd' => Draining,
        'M' => Drained,
        _ => Down,
    };
    let task = |(n, word): (usize, &str)| Task {
        id: format!("{name}{n}"),
        lights: word.chars().map(light).collect(),
    };
    let tasks: Vec<Task> = tasks.split_whitespace().enumerate().map(task).collect();
    Side {
        instances: u32::try_from(tasks.len()).unwrap(),
        deploying: false,
        scaled_at: Timestamp(scaled_at),
        tasks,
    }
}

fn picture(new: &str, old: &str) -> Picture {
    let balancers = new.split_whitespace().chain(old.split_whitespace()).next().map_or(1, str::len);
    Picture {
        new: side("new", 2, new),
        old: side("old", 1, old),
        balancers,
        silent: 0,
        reloading: 0,
    }
}

fn kill(ids: &[&str], scale: Option<u32>) -> Step {
    let kill = ids.iter().map(|id| (*id).to_owned()).collect();
    Step::Advance { kill, cut: false, scale }
}

fn delete(ids: &[&str]) -> Step {
    Step::Delete { kill: ids.iter().map(|id| (*id).to_owned()).collect(), cut: false }
}

/// What is done at once, and what after nothing has changed for `wait`.
fn at_once_and_after(plan: Plan, seen: &Picture, wait: Duration) -> (Step, Step) {
    let mut conduct = Conduct::new(plan);
    let now = Duration::from_secs(7);
    (conduct.next(seen, now), conduct.next(seen, now + wait))
}

#[test]
fn steps_of_a_whole_deployment() {
    let cases: &[(&str, &str, Step)] = &[
        ("-", "S S S", Step::Wait(Waiting::New)),
        ("S", "S S S", Step::Wait(Waiting::Drain)),
        ("S", "d S S", Step::Wait(Waiting::Drain)),
        ("S", "M S S", kill(&["old0"], Some(2))),
        ("S", "M M S", kill(&[], Some(2))),
        ("S - S", "", Step::Wait(Waiting::New)),
        ("S S", "S", kill(&[], Some(3))),
        ("S S S", "M d", Step::Wait(Waiting::Drain)),
        ("S S S", "M M", delete(&["old0", "old1"])),
        ("S S S", "", delete(&[])),
        // Two balancers.
        ("S-", "SS SS SS", Step::Wait(Waiting::New)),
        ("SS", "Md SS SS", Step::Wait(Waiting::Drain)),
        ("SS", "MM SS SS", kill(&["old0"], Some(2))),
        ("SS", "MS SM SS", Step::Wait(Waiting::Drain)),
        // An old task that is broken is replaced, not waited for.
        ("S", "- S S", kill(&["old0"], Some(2))),
        ("S", "M - S", kill(&["old0"], Some(2))),
        ("S S S", "- -", delete(&["old0", "old1"])),
    ];
    for (new, old, want) in cases {
        let mut conduct = Conduct::new(plan(3, None));
        assert_eq!(conduct.next(&picture(new, old), Duration::ZERO), *want, "{new:?} {old:?}");
    }
}

#[test]
fn a_hybrid_stops_with_both() {
    let seen = picture("S S", "M S S");
    assert_eq!(Conduct::new(plan(4, Some(2))).next(&seen, MAX_WAIT), kill(&["old0"], None));
    let seen = picture("S S", "S S");
    assert_eq!(Conduct::new(plan(4, Some(2))).next(&seen, MAX_WAIT), Step::Done);
    let seen = picture("S", "M M S S S");
    let step = Conduct::new(plan(4, Some(3))).next(&seen, MAX_WAIT);
    assert_eq!(step, kill(&["old0", "old1"], Some(2)));
}

#[test]
fn patience_ends() {
    let mut starting = picture("", "S");
    (starting.new.instances, starting.new.deploying) = (1, true);
    let mut silent = picture("-", "-");
    silent.silent = 1;
    let busy = picture("S", "d S S");
    let cut = Step::Advance { kill: vec!["old0".to_owned()], cut: true, scale: Some(2) };
    let mut reloading = busy.clone();
    reloading.reloading = 1;
    let fail = |failure| Step::Fail(failure);
    let all_busy = picture("S S S", "d M");
    let cut_all = Step::Delete { kill: vec!["old0".to_owned(), "old1".to_owned()], cut: true };
    for (seen, waiting, patience, then) in [
        (&starting, Waiting::Marathon, START_WAIT, fail(Failure::NotStarted)),
        (&silent, Waiting::Answer, MAX_WAIT, fail(Failure::Silent)),
        (&picture("-", "S S S"), Waiting::New, MAX_WAIT, fail(Failure::NotUp)),
        (&busy, Waiting::Drain, MAX_WAIT, cut.clone()),
        (&reloading, Waiting::Reload, MAX_WAIT, cut),
        (&picture("S", "S S S"), Waiting::Drain, MAX_WAIT, kill(&[], Some(2))),
        (&picture("S S S", "S S S"), Waiting::Drain, MAX_WAIT, fail(Failure::NotDraining)),
        (&all_busy, Waiting::Drain, MAX_WAIT, cut_all),
    ] {
        let almost = at_once_and_after(plan(3, None), seen, patience - Duration::from_secs(1));
        assert_eq!(almost, (Step::Wait(waiting), Step::Wait(waiting)), "{seen:?}");
        assert_eq!(at_once_and_after(plan(3, None), seen, patience).1, then, "{seen:?}");
    }
}

#[test]
fn only_what_gets_better_is_progress() {
    let mut conduct = Conduct::new(plan(3, None));
    let at = Duration::from_secs;
    let up = |n: usize| {
        let mut seen = picture("S S -", "S");
        seen.new.tasks.truncate(n);
        seen.new.deploying = true;
        seen
    };
    // Tasks that come and go for ever.
    let mut last = Step::Done;
    for second in 0..=700 {
        last = conduct.next(&up(if second % 2 == 0 { 1 } else { 2 }), at(second));
        if last != Step::Wait(Waiting::Marathon) {
            assert_eq!(second, 601, "since the first time that two served");
            break;
        }
    }
    assert_eq!(last, Step::Fail(Failure::NotStarted));
    let endless = Plan { start_wait: None, ..plan(3, None) };
    assert_eq!(at_once_and_after(endless, &up(1), at(1_000_000)).1, Step::Wait(Waiting::Marathon));
}

#[test]
fn balancers_that_drain_the_wrong_side_are_turned() {
    let mut seen = picture("M S S", "S -");
    let back = plan(3, None).back();
    assert_eq!(Conduct::new(back.clone()).next(&seen, MAX_WAIT), Step::Wait(Waiting::New));
    seen.old.scaled_at = Timestamp(3);
    let turned = at_once_and_after(back.clone(), &seen, SIDES_PATIENCE);
    assert_eq!(turned, (Step::Wait(Waiting::New), kill(&[], Some(4))), "not because they are late");
    // The one too many need not come for it to have an effect.
    (seen.new.instances, seen.new.deploying, seen.new.scaled_at) = (4, true, Timestamp(4));
    seen.new.tasks[0].lights = vec![Serving];
    seen.old.tasks[0].lights = vec![Drained];
    let mut conduct = Conduct::new(back);
    assert_eq!(conduct.next(&seen, MAX_WAIT), kill(&["old0", "old1"], None));
    (seen.old.tasks, seen.old.instances) = (Vec::new(), 0);
    assert_eq!(conduct.next(&seen, MAX_WAIT), kill(&[], Some(3)));
    (seen.new.instances, seen.new.deploying) = (3, false);
    assert_eq!(conduct.next(&seen, MAX_WAIT), delete(&[]));
}

#[test]
fn a_new_version_that_never_works_is_deleted() {
    let mut seen = picture("S S S", "- -");
    (seen.old.deploying, seen.old.scaled_at) = (true, Timestamp(3));
    let back = plan(3, Some(2)).back();
    assert_eq!(Conduct::new(back).next(&seen, MAX_WAIT), delete(&["old0", "old1"]));
}

#[test]
fn whatever_is_seen_what_serves_is_never_killed() {
    use proptest::prelude::*;
    let side_of = |name: &'static str| {
        ("([SdM-]{2} ){0,5}", 0..7u32, any::<bool>(), 0..3u64).prop_map(
            move |(tasks, instances, deploying, scaled_at)| Side {
                instances,
                deploying,
                ..side(name, scaled_at, &tasks)
            },
        )
    };
    let seen = (side_of("new"), side_of("old")).prop_map(|(new, old)| Picture {
        new,
        old,
        balancers: 2,
        silent: 0,
        reloading: 0,
    });
    let setting = (0..6u32, proptest::option::of(1..4u32), any::<bool>(), any::<bool>());
    proptest!(ProptestConfig::with_cases(4096), |(seen in seen, setting in setting)| {
        let (target, hybrid, back, late) = setting;
        let plan = plan(target, hybrid.map(|n| n.min(target)));
        let plan = if back { plan.back() } else { plan };
        let mut conduct = Conduct::new(plan);
        let first = conduct.next(&seen, Duration::ZERO);
        let step = if late { conduct.next(&seen, START_WAIT) } else { first };
        let (Step::Advance { kill, .. } | Step::Delete { kill, .. }) = &step else { return Ok(()) };
        let killed = |task: &&Task| kill.contains(&task.id);
        prop_assert_eq!(seen.old.tasks.iter().filter(killed).count(), kill.len());
        for task in seen.old.tasks.iter().filter(killed) {
            prop_assert!(!task.lights.contains(&Serving), "{step:?}");
        }
        if let Step::Delete { kill, .. } = &step {
            prop_assert_eq!(kill.len(), seen.old.tasks.len());
            prop_assert!(seen.new.instances >= target);
        }
        for balancer in 0..2 {
            if kill.is_empty() { break }
            let up = seen.new.count(balancer, |l| l == Serving) + seen.old.count(balancer, |l| l == Serving);
            let broken = seen.old.count(balancer, |l| l == Down);
            prop_assert!(up + broken >= usize::try_from(target).unwrap(), "{step:?}");
        }
    });
}
