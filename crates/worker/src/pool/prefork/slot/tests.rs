//! The rules by which a child lives and dies.

use super::*;

const RULES: Rules = Rules {
    start: Duration::from_secs(20),
    silence: Duration::from_secs(30),
    answer: Duration::from_millis(100),
    react: Duration::from_secs(5),
    grace: Duration::from_secs(1),
    hard_grace: Duration::from_millis(100),
    leave: Duration::from_secs(10),
};

fn task(name: &str) -> TaskId {
    TaskId::new(name)
}

fn ready(now: Instant) -> Slot {
    let mut slot = Slot::new(RULES, now);
    assert!(slot.take_spawn(now) && !slot.take_spawn(now));
    slot.spawned(now);
    slot.reached(Phase::Init);
    assert!(!slot.is_open());
    slot.ready(1, 0);
    slot
}

fn is_idle(slot: &Slot) -> bool {
    slot.takes(&task("next"))
}

/// A child that takes three tasks and runs two of them.
fn shared(now: Instant) -> Slot {
    let mut slot = ready(now);
    slot.ready(3, 0);
    for name in ["a", "b"] {
        slot.assign(task(name), now);
        assert!(slot.started(&task(name), now));
    }
    slot
}

fn busy(now: Instant) -> Slot {
    let mut slot = ready(now);
    assert!(is_idle(&slot));
    slot.assign(task("t"), now);
    assert!(slot.started(&task("t"), now) && !is_idle(&slot));
    slot
}

/// If the doom is of a task, of the first that the child was given.
fn condemn(slot: &mut Slot, doom: Doom, now: Instant) -> Option<Action> {
    let task = slot.task().cloned();
    slot.condemn(doom, task.as_ref(), now)
}

#[test]
fn a_child_is_killed_only_once_it_confirmed_its_task() {
    let now = Instant::now();
    let mut slot = busy(now);
    assert_eq!(condemn(&mut slot, Doom::Revoked(Signum::TERM), now), Some(Action::Confirm(task("t"))));
    assert!(!slot.is_open(), "dispatch stops before any signal");
    assert_eq!(slot.confirmed(&task("other"), now), None);
    assert_eq!(slot.confirmed(&task("t"), now), Some(Action::Terminate));
    assert_eq!(slot.confirmed(&task("t"), now), None, "one TERM is enough");
    assert_eq!(slot.tick(now + RULES.grace), Some(Action::Kill));
    let death = slot.died(Ending::Signal(9), false, now).unwrap();
    assert_eq!(death.reason, DeathReason::Revoked);
    assert_eq!(death.runs[0].id, task("t"));
}

#[test]
fn a_task_that_ended_before_the_signal_saves_its_child() {
    let now = Instant::now();
    let mut slot = busy(now);
    condemn(&mut slot, Doom::HardLimit, now);
    assert!(slot.done(&task("t"), now));
    assert!(is_idle(&slot));
    assert_eq!(slot.confirmed(&task("t"), now), None);
    assert_eq!(slot.tick(now + Duration::from_secs(60)), None);
}

#[test]
fn a_child_that_was_told_to_end_is_not_reopened_by_a_lifted_sentence() {
    let now = Instant::now();
    let mut slot = busy(now);
    condemn(&mut slot, Doom::End, now);
    condemn(&mut slot, Doom::Revoked(Signum::TERM), now);
    slot.done(&task("t"), now);
    assert!(!slot.is_open());
    assert_eq!(slot.died(Ending::Exit(0), false, now).unwrap().reason, DeathReason::Ended);
}

#[test]
fn a_child_that_does_not_answer_is_killed_all_the_same() {
    let now = Instant::now();
    let mut slot = busy(now);
    condemn(&mut slot, Doom::HardLimit, now);
    assert_eq!(slot.tick(now + RULES.answer), Some(Action::Terminate));
    assert_eq!(slot.tick(now + RULES.answer), None);
    assert_eq!(slot.tick(now + RULES.answer + RULES.grace), Some(Action::Kill));
}

#[test]
fn an_idle_child_cannot_be_killed_for_a_task() {
    let mut slot = ready(Instant::now());
    assert_eq!(condemn(&mut slot, Doom::Revoked(Signum::TERM), Instant::now()), None);
    assert!(is_idle(&slot));
}

#[test]
fn a_worse_sentence_replaces_a_milder_one_and_never_the_reverse() {
    let now = Instant::now();
    let mut slot = busy(now);
    assert_eq!(condemn(&mut slot, Doom::End, now), Some(Action::Stop));
    assert_eq!(condemn(&mut slot, Doom::RecycleTasks { tasks: 1 }, now), None);
    assert_eq!(condemn(&mut slot, Doom::HardLimit, now), Some(Action::Confirm(task("t"))));
    assert_eq!(condemn(&mut slot, Doom::Shutdown, now), Some(Action::Kill));
    assert_eq!(condemn(&mut slot, Doom::End, now), None);
    assert_eq!(slot.died(Ending::Signal(9), false, now).unwrap().reason, DeathReason::Shutdown);
}

#[test]
fn a_child_that_does_not_end_when_told_to_is_killed() {
    let now = Instant::now();
    let mut slot = busy(now);
    condemn(&mut slot, Doom::End, now);
    assert_eq!(slot.tick(now + RULES.leave), None, "its task may take any time");
    slot.done(&task("t"), now);
    assert_eq!(slot.tick(now + RULES.leave), Some(Action::Terminate));
    let death = slot.died(Ending::Signal(15), false, now).unwrap();
    assert_eq!(death.reason, DeathReason::Lingering(RULES.leave));
}

#[test]
fn an_exit_in_the_midst_of_a_task_is_not_the_end_it_was_told_to_make() {
    let now = Instant::now();
    let mut slot = busy(now);
    condemn(&mut slot, Doom::End, now);
    assert_eq!(slot.died(Ending::Exit(0), false, now).unwrap().reason, DeathReason::Exit(0));
}

#[test]
fn children_that_fail_to_start_are_started_less_and_less_often() {
    let mut now = Instant::now();
    let mut slot = Slot::new(RULES, now);
    let mut last = Duration::ZERO;
    for _ in 0..4 {
        assert!(slot.take_spawn(now));
        slot.spawned(now);
        slot.died(Ending::Exit(1), false, now).unwrap();
        let due = slot.next_deadline().unwrap();
        assert!(due - now > last, "{:?} after {last:?}", due - now);
        last = due - now;
        assert!(!slot.take_spawn(now));
        now = due;
    }
}

/// What a look says, and a second one.
fn silence_at(slot: &mut Slot, at: Instant) -> Option<Duration> {
    assert_eq!(slot.too_silent(at), None);
    assert_eq!(slot.next_deadline(), Some(at + SECOND_LOOK));
    slot.too_silent(at + SECOND_LOOK)
}

#[test]
fn a_child_that_nobody_could_hear_is_not_silent() {
    let now = Instant::now();
    let mut slot = busy(now);
    let busy_elsewhere = RULES.silence * 2;
    assert_eq!(slot.too_silent(now + busy_elsewhere), None, "what it said meanwhile may be waiting");
    assert_eq!(slot.too_silent(now + 2 * busy_elsewhere), None, "this look comes too late as well");
    slot.heard(now + 2 * busy_elsewhere);
    assert_eq!(slot.too_silent(now + 2 * busy_elsewhere + SECOND_LOOK), None);
    assert_eq!(slot.next_deadline(), Some(now + 2 * busy_elsewhere + RULES.silence));
}

#[test]
fn only_a_silent_child_is_too_silent() {
    let now = Instant::now();
    let mut slot = ready(now);
    let long = Duration::from_secs(3600);
    slot.heard(now + long);
    assert_eq!(slot.too_silent(now + long + Duration::from_secs(29)), None);
    assert_eq!(silence_at(&mut slot, now + long + RULES.silence), Some(RULES.silence + SECOND_LOOK));
}

#[test]
fn a_child_has_its_own_time_to_start_whatever_it_says_meanwhile() {
    let now = Instant::now();
    let mut slot = Slot::new(RULES, now);
    slot.take_spawn(now);
    slot.spawned(now);
    let second = Duration::from_secs(1);
    slot.heard(now + RULES.start - second);
    assert_eq!(slot.too_silent(now + RULES.start - second), None);
    assert_eq!(slot.next_deadline(), Some(now + RULES.start));
    assert_eq!(silence_at(&mut slot, now + RULES.start), Some(RULES.start + SECOND_LOOK));
    slot.reached(Phase::Init);
    assert_eq!(slot.too_silent(now + RULES.start), None, "from then on its silence counts");
}

#[test]
fn a_child_takes_as_many_tasks_as_it_said_and_none_twice() {
    let now = Instant::now();
    let mut slot = shared(now);
    assert_eq!((slot.capacity(), slot.given()), (3, 2));
    assert!(!slot.takes(&task("a")) && slot.takes(&task("c")));
    slot.assign(task("c"), now);
    assert!(!slot.takes(&task("d")));
    assert!(slot.done(&task("b"), now) && !slot.done(&task("b"), now));
    assert!(slot.takes(&task("b")) && slot.tasks() == 1);
    assert_eq!(slot.task(), Some(&task("a")), "the one it was given first");
}

#[test]
fn a_child_with_several_tasks_does_not_end_for_one_of_them() {
    let now = Instant::now();
    let mut slot = shared(now);
    assert_eq!(condemn(&mut slot, Doom::HardLimit, now), None);
    slot.done(&task("a"), now);
    assert_eq!(
        condemn(&mut slot, Doom::Revoked(Signum::TERM), now),
        None,
        "not even for the last that it runs now"
    );
    assert!(slot.is_open() && slot.next_deadline() == Some(now + RULES.silence));
}

#[test]
fn a_child_that_is_to_end_has_time_until_its_last_task_is_done() {
    let now = Instant::now();
    let mut slot = shared(now);
    assert_eq!(condemn(&mut slot, Doom::RecycleTasks { tasks: 9 }, now), Some(Action::Stop));
    assert_eq!((slot.capacity(), slot.takes(&task("c"))), (0, false));
    slot.done(&task("a"), now);
    assert_eq!(slot.tick(now + RULES.leave), None, "the other may take any time");
    slot.done(&task("b"), now);
    assert_eq!(slot.tick(now + RULES.leave), Some(Action::Terminate));
}

#[test]
fn every_task_of_a_child_dies_with_it() {
    let now = Instant::now();
    let mut slot = shared(now);
    let later = now + Duration::from_secs(2);
    slot.assign(task("c"), later);
    let death = slot.died(Ending::Signal(11), false, later).unwrap();
    let lost: Vec<_> = death.runs.iter().map(|lost| (lost.id.as_str(), lost.runtime.as_secs())).collect();
    assert_eq!(lost, [("a", 2), ("b", 2), ("c", 0)]);
    assert_eq!(slot.task(), None);
}

#[test]
fn a_task_beyond_its_hard_limit_has_its_own_time_to_clean_up() {
    for (doom, grace) in [(Doom::HardLimit, RULES.hard_grace), (Doom::Revoked(Signum::TERM), RULES.grace)] {
        let now = Instant::now();
        let mut slot = busy(now);
        condemn(&mut slot, doom, now);
        assert_eq!(slot.confirmed(&task("t"), now), Some(Action::Terminate));
        assert_eq!(slot.tick(now + grace - Duration::from_millis(1)), None);
        assert_eq!(slot.tick(now + grace), Some(Action::Kill));
    }
}

#[test]
fn a_child_that_keeps_still_instead_of_stopping_a_task_is_killed_and_only_that_task_was_at_fault() {
    let now = Instant::now();
    let mut slot = shared(now);
    assert_eq!(slot.urge(&task("b"), Doom::HardLimit, now), Some(Action::Confirm(task("b"))));
    assert_eq!(slot.urge(&task("b"), Doom::Revoked(Signum::TERM), now), None, "once is enough");
    assert_eq!(slot.urge(&task("other"), Doom::Revoked(Signum::TERM), now), None);
    assert_eq!((slot.is_blocked(now), slot.next_deadline()), (None, Some(now + RULES.react)));
    let later = now + RULES.react;
    assert_eq!(slot.is_blocked(later), Some(RULES.react));
    assert_eq!(condemn(&mut slot, Doom::Blocked(RULES.react), later), Some(Action::Kill));
    assert_eq!((slot.is_blocked(later), slot.next_deadline()), (None, None));
    let death = slot.died(Ending::Signal(9), false, later).unwrap();
    let reasons: Vec<_> = death.runs.into_iter().map(|lost| lost.reason).collect();
    assert_eq!(reasons, [DeathReason::Blocked(RULES.react), DeathReason::HardLimit]);
}

#[test]
fn a_child_that_answers_lives_on_even_if_its_task_does_not_stop() {
    let now = Instant::now();
    let mut slot = shared(now);
    slot.urge(&task("a"), Doom::Revoked(Signum::TERM), now);
    assert_eq!(slot.confirmed(&task("a"), now), None);
    slot.urge(&task("b"), Doom::Revoked(Signum::TERM), now);
    slot.done(&task("b"), now);
    assert_eq!(slot.is_blocked(now + Duration::from_secs(3600)), None);
    assert!(slot.is_open());
    // What it dies of later has nothing to do with it.
    let death = slot.died(Ending::Signal(11), false, now).unwrap();
    assert_eq!(death.runs[0].reason, DeathReason::Signal(11));
}

#[test]
fn what_is_given_ahead_is_not_what_the_child_dies_of() {
    let now = Instant::now();
    let mut slot = ready(now);
    slot.ready(1, 2);
    for id in ["a", "b", "c"] {
        assert!(slot.takes(&task(id)));
        slot.assign(task(id), now);
    }
    assert!(!slot.takes(&task("d")), "it is full");
    assert!(slot.started(&task("a"), now));
    assert_eq!((slot.given(), slot.not_started(), slot.has_started(&task("b"))), (3, 2, false));
    slot.unassign(&task("c"));
    assert_eq!(slot.condemn(Doom::HardLimit, Some(&task("a")), now), Some(Action::Confirm(task("a"))));
    // The end of another task than the one it is to die of changes nothing.
    assert!(slot.done(&task("b"), now));
    assert_eq!(slot.confirmed(&task("b"), now), None);
    assert_eq!(slot.confirmed(&task("a"), now), Some(Action::Terminate));
}

#[test]
fn nothing_overtakes_a_task_that_comes_another_way() {
    let now = Instant::now();
    let mut slot = ready(now);
    slot.ready(1, 2);
    slot.assign_alone(task("large"), now);
    assert!(!slot.takes(&task("b")));
    assert!(slot.started(&task("large"), now));
    assert!(slot.takes(&task("b")));
}

#[test]
fn a_signal_that_was_asked_for_takes_the_place_of_the_first() {
    let now = Instant::now();
    for (signal, then) in [(libc::SIGQUIT, Some(Action::Kill)), (libc::SIGKILL, None)] {
        let signal = Signum::of(&i64::from(signal).into()).unwrap();
        let mut slot = busy(now);
        assert_eq!(condemn(&mut slot, Doom::Revoked(signal), now), Some(Action::Confirm(task("t"))));
        assert_eq!(slot.confirmed(&task("t"), now), Some(Action::Signal(task("t"), signal)));
        assert_eq!(slot.tick(now + RULES.grace), then);
        let death = slot.died(Ending::Signal(signal.number()), false, now).unwrap();
        assert_eq!(death.reason, DeathReason::Revoked);
    }
}

#[test]
fn a_signal_that_may_be_survived_is_sent_once_and_to_nobody_else() {
    let now = Instant::now();
    let mut slot = busy(now);
    condemn(&mut slot, Doom::Revoked(Signum::USR1), now);
    assert_eq!(slot.confirmed(&task("t"), now), Some(Action::Signal(task("t"), Signum::USR1)));
    assert_eq!(slot.tick(now + RULES.grace * 100), None);
    // It has survived; another one may end it.
    assert_eq!(condemn(&mut slot, Doom::HardLimit, now), Some(Action::Confirm(task("t"))));
    assert!(slot.done(&task("t"), now) && is_idle(&slot));

    let mut silent = busy(now);
    condemn(&mut silent, Doom::Revoked(Signum::USR1), now);
    assert_eq!(silent.tick(now + RULES.answer), None, "it has not confirmed");
    assert!(silent.is_open() && silent.done(&task("t"), now));

    let mut killed = busy(now);
    condemn(&mut killed, Doom::Revoked(Signum::USR1), now);
    killed.confirmed(&task("t"), now);
    let death = killed.died(Ending::Signal(libc::SIGUSR1), false, now).unwrap();
    assert_eq!(death.reason, DeathReason::Revoked);
}
