//! Canvases composed in Rust. Each has the name and the shape of one in `python/canvases`, and comes to the same.

mod chains;
mod chords;
mod failures;
mod groups;
mod nested;
mod options;
mod parts;

use std::pin::Pin;

use celeriac::canvas::{Composed, Group};
use celeriac::prelude::*;
use serde::de::DeserializeOwned;

/// What it becomes when it is sent: Celery's result tuple.
type Sent<'app> = Pin<Box<dyn Future<Output = Result<Value, SendError>> + 'app>>;

/// One canvas.
pub struct Canvas {
    /// As the same one is named in Python.
    pub name: &'static str,
    /// Composes it, in Celery's form.
    pub compose: fn() -> Composed,
    /// Composes it and sends it as it is.
    pub send: for<'app> fn(&'app App) -> Sent<'app>,
}

/// What can be sent: calls, and groups of them.
trait Composition: Into<Composed> {
    async fn send(self, app: &App) -> Result<Value, SendError>;
}

impl<T: DeserializeOwned> Composition for Signature<T> {
    async fn send(self, app: &App) -> Result<Value, SendError> {
        Ok(self.apply_async(app).await?.as_tuple())
    }
}

impl<T, R> Composition for Group<T, R> {
    async fn send(self, app: &App) -> Result<Value, SendError> {
        Ok(self.apply_async(app).await?.as_tuple())
    }
}

macro_rules! canvases {
    ($($module:ident { $($name:ident)* })*) => {
        /// All of them.
        pub const ALL: &[Canvas] = &[$($(
            Canvas {
                name: stringify!($name),
                compose: || $module::$name().into(),
                send: |app| Box::pin($module::$name().send(app)),
            },
        )*)*];
    };
}

canvases! {
    chains {
        a_chain_hands_its_results_on
        a_chain_of_one_task
        immutable_steps_take_nothing
        arguments_by_name_join_those_by_place
        a_chain_of_chains_is_flat
        every_step_knows_its_parent_and_root
        a_long_chain
        a_chain_ends_in_a_group
        a_group_inside_a_chain_becomes_a_chord
        a_chain_begins_with_a_group
        a_group_after_a_group
        groups_and_tasks_take_turns
        a_chain_of_two_groups_and_two_tasks
        a_chain_led_by_a_group_inside_a_chain
        a_chain_of_chords
        a_callback_takes_the_result
        a_callback_has_a_callback
        a_callback_is_a_chain
        a_callback_is_a_group
        every_step_has_a_callback
        a_callback_of_a_chain_is_that_of_its_last_step
        a_chain_inside_keeps_its_callbacks
    }
    groups {
        a_group_answers_in_order
        members_know_their_group_and_place
        a_group_of_groups_is_flat
        a_group_of_chains
        a_group_of_chords
        a_group_ends_in_groups
        each_member_has_a_callback
        a_map
        a_starmap
        a_map_with_a_callback
        maps_in_a_chain
        chunks_are_a_group
        chunks_before_a_task
    }
    chords {
        a_chord_sums_its_header
        results_come_in_the_order_of_the_header
        a_header_of_one_task
        a_body_of_arguments_of_its_own
        an_immutable_body
        members_and_body_know_their_place
        a_chord_inside_a_chain_knows_its_place
        a_header_of_chains
        a_header_of_groups
        a_header_of_chords
        a_chain_ending_in_a_chord_inside_a_header
        steps_follow_a_chord
        a_group_among_the_steps_after_a_chord
        a_group_after_a_chord
        a_body_that_is_a_group
        a_body_that_is_a_chord
        a_body_has_callbacks
        members_have_callbacks
    }
    nested {
        chords_four_deep
        bodies_four_deep
        chains_and_groups_four_deep
        a_chain_of_a_chord_of_a_chain_of_a_chord
        a_group_of_chains_that_end_in_chords
        a_chord_whose_header_chains_end_in_groups
        a_wide_and_deep_tree
    }
    failures {
        an_errback_is_told_the_id
        an_errback_has_arguments_of_its_own
        an_errback_is_told_once
        an_errback_is_a_chain
        a_success_calls_no_errback
        a_failure_calls_no_callback
        the_first_step_fails
        a_step_in_the_middle_fails
        the_last_step_fails
        only_the_errback_of_the_failed_step_is_told
        a_member_of_a_group_fails
        a_chain_in_a_group_fails
        a_member_of_a_header_fails
        members_of_a_header_have_errbacks
        an_errback_of_a_chord
        a_body_fails
        a_header_fails_before_a_group
        a_chain_in_a_header_fails_in_the_middle
        a_group_in_a_header_fails
        the_body_of_a_chord_in_a_header_fails
        a_chord_before_a_task_fails
        retries_of_a_member_end_in_failure
        an_expired_member_of_a_header
    }
    options {
        a_priority_goes_along_a_chain
        every_task_has_its_own_priority
        headers_go_to_those_they_are_for
        stamps_reach_every_task_of_a_chain
        stamps_of_a_chord_and_its_body
        stamps_reach_callbacks
        a_retry_goes_on_with_its_chain
        a_retry_counts_once_for_its_chord
        a_step_whose_result_is_ignored
        a_step_for_later
        what_expires_later_runs
        time_limits_go_along
        compressed_bodies_go_along
    }
}
