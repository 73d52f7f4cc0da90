//! The laws that every store obeys.
//!
//! A law is one function that reads as a sentence about the traits of this crate; together they say all that the
//! docs of the traits promise. The list of them exists once, in [`store_laws!`](crate::store_laws). A store
//! supplies a [`FreshServer`] and its [`Capabilities`](crate::Capabilities), which choose the laws that apply:
//!
//! ```ignore
//! celeriac_store::store_laws!(FreshFile::new(), (flavor = "current_thread"));
//! ```
//!
//! Laws never sleep to wait. They wait for what must happen, with a deadline, and show that something does not happen
//! by letting the store answer other questions meanwhile. Time passes when a law moves the clock of the store.

pub mod broadcasting;
pub mod changing;
pub mod chords;
mod consuming;
pub mod crowds;
pub mod failing;
pub mod fetching;
pub mod finishing;
pub mod groups;
pub mod leases;
pub mod presence;
pub mod publishing;
pub mod queues;
pub mod results;
pub mod revoking;
pub mod scheduling;
pub mod settling;
mod subject;
pub mod workflows;

use self::consuming::Consuming;
pub use self::subject::{FreshServer, StoreUnderTest};
use self::subject::{LIMIT, START};

/// Makes one `#[tokio::test]` of every law, for the store that the expression opens.
///
/// The second argument is that of `#[tokio::test]`. A law with `if` applies to stores with that capability.
#[macro_export]
macro_rules! store_laws {
    ($fresh:expr, $tokio:tt) => {
        $crate::store_laws! {
            @list $fresh, $tokio,

            publishing: {
                messages_come_in_the_order_of_publishing,
                a_message_arrives_as_it_was_published,
                a_message_without_an_id_arrives,
                messages_of_one_call_become_visible_together if atomic_publish,
                a_message_over_the_limit_publishes_nothing,
                publishing_nothing_does_nothing,
                one_call_publishes_to_many_queues,
                a_message_outlives_its_publisher,
                a_message_just_below_the_limit_arrives,
                two_messages_of_one_task_are_two,
                a_queue_may_have_any_name,
            }

            fetching: {
                the_highest_priority_comes_first,
                messages_of_one_priority_keep_their_order,
                no_priority_counts_as_zero,
                priorities_hold_over_all_queues if priorities_across_queues,
                the_longest_waiting_comes_first_over_all_queues if age_across_queues,
                no_queue_is_passed_over_for_ever,
                a_fetch_takes_no_more_than_its_limit,
                a_limit_of_zero_counts_as_one,
                a_waiting_fetch_is_woken_by_a_publish_from_elsewhere,
                a_consumer_takes_only_from_its_queues,
                a_dropped_fetch_loses_nothing,
                what_a_dropped_fetch_took_goes_back_at_close,
                a_lent_message_is_nobody_elses,
                a_rehearsed_fetch_takes_nothing,
                the_prefetch_limit_holds,
                a_full_consumer_leaves_messages_to_others,
                the_delivery_count_rises_at_each_fetch,
                undecodable_bytes_go_to_the_failed_tasks,
                a_closed_consumer_fetches_nothing,
                a_priority_beyond_nine_counts_as_nine,
                limits_may_be_as_large_as_wanted,
                a_queue_named_twice_is_consumed_once,
                a_consumer_of_no_queue_waits,
            }

            settling: {
                an_acknowledged_message_is_gone,
                a_requeued_message_comes_again_and_counts,
                a_released_message_comes_again_and_does_not_count,
                releasing_does_not_forget_earlier_deliveries if counts_deliveries,
                what_goes_back_goes_to_the_head if returns_to_head,
                what_goes_back_in_one_call_keeps_its_order,
                a_message_goes_back_to_its_own_queue,
                a_delivery_settles_once,
                each_finish_of_a_call_is_answered,
                closing_gives_everything_back,
                closing_wakes_who_waits,
                a_closed_consumer_has_no_deliveries,
                a_failed_message_moves_to_the_failed_tasks,
            }

            finishing: {
                a_finish_does_all_its_parts,
                a_finish_becomes_visible_at_once if atomic_finish,
                nothing_of_a_lost_finish_takes_effect,
                a_finish_without_a_delivery_takes_effect,
                a_follow_up_over_the_limit_finishes_nothing,
                a_result_over_the_limit_finishes_nothing,
                a_follow_up_may_be_for_later,
                one_call_finishes_many,
                follow_ups_keep_their_order,
                a_retry_replaces_its_message,
                results_may_be_kept_in_another_store,
            }

            leases: {
                a_lease_tells_its_length,
                a_renewed_delivery_stays_ours if timed_lease,
                an_abandoned_delivery_wakes_who_waits if timed_lease,
                a_dropped_consumers_deliveries_come_back if timed_lease,
                abandoned_deliveries_go_to_the_head if timed_lease,
                a_delivery_is_ours_for_a_whole_lease if timed_lease,
                a_lease_counts_from_the_fetch if timed_lease,
                a_finish_after_the_lease_is_lost if timed_lease,
                renewing_too_late_keeps_nothing if timed_lease,
                a_consumer_may_come_back_from_silence if timed_lease,
                renewing_gives_back_what_others_abandoned if timed_lease,
                renewing_nothing_does_nothing,
                losing_deliveries_makes_room if timed_lease,
                every_lost_start_counts if timed_lease,
                a_lost_first_delivery_counts_either_way if timed_lease,
                a_lost_redelivery_that_did_not_start_does_not_count if timed_lease,
                a_start_counts_once if timed_lease,
                starting_what_is_not_ours_does_nothing if timed_lease,
                a_lease_may_be_endless if timed_lease,
            }

            scheduling: {
                a_scheduled_message_comes_at_its_time_and_not_before,
                a_scheduled_message_comes_within_50_ms_of_its_time,
                a_message_due_already_is_ready_at_once,
                scheduled_messages_come_in_the_order_of_their_times,
                a_scheduled_message_keeps_its_priority,
                a_sooner_message_wakes_sooner,
                the_next_due_time_is_the_earliest if schedule_access,
                the_schedule_lists_the_soonest_first if schedule_access,
                a_cancelled_message_never_comes if schedule_access,
                a_ready_message_leaves_the_schedule,
                a_due_time_may_be_at_the_end_of_time,
                cancelling_counts_messages if schedule_access,
                a_crowd_that_is_due_comes_in_order,
            }

            results: {
                a_result_is_read_back_as_it_was_stored,
                an_encoded_result_is_stored_as_it_is,
                results_come_in_the_order_asked,
                a_final_result_is_not_replaced_by_a_report,
                the_later_of_two_failures_stays,
                a_success_stays,
                a_report_is_replaced_by_the_next,
                waiting_returns_what_is_final_already,
                a_final_result_wakes_who_waits,
                one_result_wakes_many,
                waiting_for_no_task_returns_at_once,
                a_wait_may_be_dropped,
                a_forgotten_result_is_unknown,
                a_result_expires,
                an_expired_result_is_in_nobodys_way,
                a_result_over_the_limit_is_refused,
                no_results_are_no_error,
                task_ids_are_compared_as_text,
                a_result_may_be_kept_for_ever,
            }

            groups: {
                saved_groups_are_restored,
                a_group_saved_again_is_replaced,
                a_forgotten_group_is_unknown,
                a_saved_group_expires,
                a_group_over_the_limit_saves_nothing,
                no_groups_are_no_error,
            }

            chords: {
                a_chord_tells_what_it_waits_for,
                each_member_counts_once,
                a_call_at_two_places_counts_at_both,
                the_last_success_closes_its_chord,
                the_first_failure_closes_its_chord,
                a_failure_may_ask_too,
                a_part_that_closes_nothing_brings_nothing,
                foreseeing_counts_nothing,
                members_may_report_before_their_chord_begins,
                an_early_failure_closes_its_chord_later,
                an_open_chord_that_begins_again_counts_on,
                a_closed_chord_begins_anew,
                an_extended_chord_waits_for_more,
                a_member_adds_to_its_chord_once,
                reports_come_in_the_order_of_their_places,
                a_chord_expires,
                a_closed_chord_is_forgotten_in_the_end,
                a_closing_reaches_outer_chords,
                counting_publishes_nothing,
                a_part_over_the_limit_counts_nothing,
                a_chord_may_be_kept_for_ever,
            }

            workflows: {
                a_publication_does_all_its_parts,
                a_chord_begins_with_its_header,
                a_refused_publication_begins_nothing,
                a_finish_brings_about_its_consequences,
                the_last_member_comes_twice_with_the_body,
                what_completes_a_chord_is_still_ours,
                a_member_that_runs_again_counts_once,
                members_may_finish_together,
                the_last_of_many_members_asks,
                members_may_finish_among_others,
                a_lost_member_counts_nothing,
                a_failed_member_closes_its_chord,
                a_failed_member_closes_outer_chords_too,
                a_whole_chord_may_finish_in_one_call,
                one_finish_may_report_several_members,
                a_finish_that_completes_a_chord_counts_in_no_other,
                a_closing_that_comes_too_early_does_not_happen,
                a_closing_over_the_limit_finishes_nothing,
                one_of_many_consumers_closes_a_chord,
                chords_may_be_kept_in_another_store,
                chords_of_another_stores_messages_may_be_kept,
            }

            revoking: {
                a_revoked_task_is_known_to_all,
                revocations_are_listed_while_they_count,
                a_task_revoked_before_it_is_sent_comes_marked,
                a_task_revoked_while_lent_comes_again_marked if fetch_checks_revocations,
                a_revoked_task_leaves_its_queue_and_the_schedule if random_access,
                revoking_again_answers_the_same,
                a_watch_tells_what_is_revoked_from_its_start_on,
                a_revocation_wakes_a_watch,
                a_watch_may_be_interrupted,
                every_watch_is_told,
                a_revocation_expires,
                every_message_of_a_revoked_task_goes if random_access,
                a_released_message_of_a_revoked_task_goes if random_access,
                a_revocation_may_be_endless,
                a_revoked_member_of_a_workflow_leaves_the_schedule_for_a_worker if schedule_access,
                a_revoked_member_of_a_workflow_comes_first if random_access,
            }

            changing: {
                changes_are_kept_for_all,
                each_node_has_its_own_changes,
                a_change_replaces_the_last_of_its_name,
                a_forgotten_change_is_gone,
                changes_expire_together,
                an_expired_change_stays_forgotten,
                a_change_may_be_kept_for_ever,
                so_many_changes_are_kept_and_no_more,
            }

            broadcasting: {
                a_broadcast_reaches_everybody_who_listens,
                a_broadcast_arrives_as_it_was_sent,
                a_broadcast_with_a_key_reaches_those_who_listen_to_keys,
                a_listener_may_be_interrupted,
                a_broadcast_to_nobody_is_not_kept,
                a_listener_that_never_asks_costs_the_others_nothing,
                no_more_than_so_many_bytes_wait_for_a_listener,
                many_broadcasts_are_heard_in_their_order,
                a_broadcast_that_is_too_large_is_passed_over,
                a_reply_expires,
                a_reply_to_nobody_is_not_kept,
                replies_come_to_the_mailbox_that_they_are_for,
                waiting_for_a_reply_may_be_interrupted,
                a_closed_mailbox_gets_nothing,
                a_mailbox_that_was_left_open_is_removed,
            }

            failing: {
                a_failed_task_is_kept_unharmed,
                failed_tasks_are_listed_latest_first,
                a_list_of_failed_tasks_comes_without_bodies,
                a_failed_task_is_found_by_its_id,
                a_requeued_failed_task_starts_anew,
                requeueing_wakes_who_waits,
                a_dropped_failed_task_is_gone,
                a_task_that_fails_again_is_kept_once,
                a_failed_message_without_an_id_gets_one,
                undecodable_bytes_can_only_be_dropped,
                failed_tasks_do_not_expire,
                failed_tasks_are_counted_once,
                a_requeued_failed_task_keeps_its_priority,
                requeueing_forgets_results_kept_elsewhere,
            }

            presence: {
                announced_workers_are_listed_by_name,
                a_new_announcement_replaces_the_last,
                a_withdrawn_worker_is_gone,
                a_silent_worker_is_forgotten,
                asking_brings_fresh_announcements,
                asking_nobody_returns_at_once,
                a_worker_that_does_not_answer_is_still_listed,
                a_question_reaches_everybody_who_waits,
                a_question_between_two_waits_is_heard,
                a_worker_may_be_valid_for_ever,
            }

            queues: {
                a_queue_tells_its_numbers,
                queues_are_answered_in_the_order_asked,
                what_waits_first_can_be_looked_at,
                every_known_queue_is_listed if lists_queues,
                a_queue_that_was_bound_is_there if lists_queues,
                a_closed_consumer_does_not_count,
                a_consumer_takes_from_the_queues_it_was_told_last,
                a_delivery_of_a_queue_that_was_left_goes_back_there,
                a_consumer_of_no_queue_waits,
                a_silent_consumer_does_not_count if timed_lease,
                purging_empties_a_queue_but_keeps_what_is_lent,
                purging_nothing_removes_nothing,
                a_queue_asked_twice_is_answered_twice,
                a_purged_queue_works_on,
                messages_are_found_by_their_tasks,
                a_search_for_tasks_brings_their_messages,
                a_search_for_a_text_brings_the_messages_that_mention_it,
                a_search_that_did_not_see_everything_says_so,
            }

            crowds: {
                many_consumers_get_each_message_once,
                consumers_that_come_and_go_lose_nothing,
            }
        }
    };

    (@list $fresh:expr, $tokio:tt, $($part:ident: { $($law:ident $(if $capability:ident)?,)* })*) => {
        $(mod $part {
            use super::*;

            $(#[tokio::test $tokio]
            async fn $law() {
                let store = $crate::conformance::StoreUnderTest::new($fresh).await;
                $(if !store.capabilities().$capability {
                    eprintln!("does not apply: the store has no {}", stringify!($capability));
                    return;
                })?
                $crate::conformance::$part::$law(&store).await;
            })*
        })*
    };
}

#[cfg(test)]
mod tests {
    /// A law that is written but not listed would hold for nobody.
    #[test]
    fn every_law_is_listed() {
        let list = include_str!("mod.rs");
        let parts = [
            include_str!("broadcasting.rs"),
            include_str!("changing.rs"),
            include_str!("chords.rs"),
            include_str!("crowds.rs"),
            include_str!("failing.rs"),
            include_str!("fetching.rs"),
            include_str!("finishing.rs"),
            include_str!("groups.rs"),
            include_str!("leases.rs"),
            include_str!("presence.rs"),
            include_str!("publishing.rs"),
            include_str!("queues.rs"),
            include_str!("results.rs"),
            include_str!("revoking.rs"),
            include_str!("scheduling.rs"),
            include_str!("settling.rs"),
            include_str!("workflows.rs"),
        ];
        let laws =
            parts.iter().flat_map(|part| part.lines()).filter_map(|line| line.strip_prefix("pub async fn "));
        for law in laws.filter_map(|line| line.split('(').next()) {
            let listed = |line: &str| line.trim().split([' ', ',']).next() == Some(law);
            assert!(list.lines().any(listed), "{law} is not listed");
        }
    }
}
