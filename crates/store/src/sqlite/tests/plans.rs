//! How SQLite runs the statements that have to be fast whatever lies in the file.

use rusqlite::Connection;

use crate::sqlite::locate;
use crate::sqlite::schema::STEPS;

/// Statements that run for every message, fetch or result; none may look through a large table.
const HOT: &[&str] = &[
    include_str!("../sql/due_first.sql"),
    include_str!("../sql/due_to_ready.sql"),
    include_str!("../sql/due_last.sql"),
    include_str!("../sql/due_remove.sql"),
    include_str!("../sql/claim_candidates.sql"),
    include_str!("../sql/claim_lend.sql"),
    include_str!("../sql/claim_read.sql"),
    include_str!("../sql/claim_remove.sql"),
    include_str!("../sql/claim_unlend.sql"),
    include_str!("../sql/ready_any.sql"),
    include_str!("../sql/message_task.sql"),
    include_str!("../sql/settle_is_lent.sql"),
    include_str!("../sql/settle_message.sql"),
    include_str!("../sql/settle_tag.sql"),
    include_str!("../sql/settle_back.sql"),
    include_str!("../sql/settle_count_run.sql"),
    include_str!("../sql/settle_run_messages.sql"),
    include_str!("../sql/settle_run_tags.sql"),
    include_str!("../sql/result_get.sql"),
    include_str!("../sql/result_get_final.sql"),
    include_str!("../sql/result_forget.sql"),
    include_str!("../sql/result_last.sql"),
    include_str!("../sql/result_feed.sql"),
    include_str!("../sql/sweep_minute.sql"),
    include_str!("../sql/sweep_step_end.sql"),
    include_str!("../sql/sweep_results.sql"),
    include_str!("../sql/sweep_revoked.sql"),
    include_str!("../sql/revoked_is.sql"),
    include_str!("../sql/revoked_last.sql"),
    include_str!("../sql/revoked_feed.sql"),
    include_str!("../sql/task_messages.sql"),
    include_str!("../sql/task_unready.sql"),
    include_str!("../sql/task_undelay.sql"),
    include_str!("../sql/revoke_read.sql"),
    include_str!("../sql/revoke_ready.sql"),
    include_str!("../sql/revoke_move.sql"),
    include_str!("../sql/schedule_next.sql"),
    locate::OF_TASK,
    locate::OF_MESSAGE,
    include_str!("../sql/locate_failed.sql"),
    include_str!("../sql/search_task.sql"),
    include_str!("../sql/search_read.sql"),
    include_str!("../sql/search_ahead.sql"),
    include_str!("../sql/chord_get.sql"),
    include_str!("../sql/part_any.sql"),
    include_str!("../sql/part_list.sql"),
    include_str!("../sql/part_remove_all.sql"),
    include_str!("../sql/group_get.sql"),
    include_str!("../sql/group_forget.sql"),
    include_str!("../sql/sweep_run.sql"),
    include_str!("../sql/sweep_parts.sql"),
    include_str!("../sql/sweep_run_done.sql"),
    include_str!("../sql/sweep_chord_runs.sql"),
    include_str!("../sql/sweep_chords.sql"),
    include_str!("../sql/sweep_groups.sql"),
    include_str!("../sql/listener_any.sql"),
    include_str!("../sql/listener_renew.sql"),
    include_str!("../sql/listener_remove.sql"),
    include_str!("../sql/broadcast_last.sql"),
    include_str!("../sql/broadcast_first.sql"),
    include_str!("../sql/broadcast_trim.sql"),
    include_str!("../sql/broadcast_feed.sql"),
    include_str!("../sql/broadcast_unheard.sql"),
    include_str!("../sql/sweep_broadcasts.sql"),
    include_str!("../sql/binding_list.sql"),
    include_str!("../sql/binding_any.sql"),
    include_str!("../sql/change_replace.sql"),
    include_str!("../sql/change_forget.sql"),
    include_str!("../sql/change_count.sql"),
];

#[test]
fn no_hot_statement_looks_through_a_large_table() {
    let connection = Connection::open_in_memory().unwrap();
    STEPS.iter().for_each(|step| connection.execute_batch(step).unwrap());
    for sql in HOT {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let count = explain.parameter_count();
        let nulls = rusqlite::params_from_iter(std::iter::repeat_n(1, count));
        let steps = explain.query_map(nulls, |row| row.get::<_, String>(3)).unwrap();
        for step in steps.map(Result::unwrap) {
            // Walking an index or a primary key in order, for the first row, is what the statement asks for.
            let is_bounded = sql.contains("LIMIT") || sql.contains("max(");
            let scans = step.starts_with("SCAN") && !step.contains("CONSTANT") && !is_bounded;
            assert!(!scans && !step.contains("TEMP B-TREE"), "{step}: {sql}");
        }
    }
}
