//! The conformance suite of the store port: every backend and every wrapper runs it, so that a backend is right
//! because it does what the port says, not because it does what the first backend happened to do.
//!
//! A backend gives a [`Bench`] and writes `mosaic_testkit::store_suite!(bench)` in a test file; each case becomes
//! a test of its own.

#![expect(clippy::unwrap_used, reason = "the suite is test code: a panic is how a case fails")]

pub mod admission;
pub mod archive;
pub mod durability;
pub mod journal;
pub mod leases;
pub mod listing;
pub mod orders;
pub mod queue;
pub mod removal;
pub mod sample;
pub mod writes;

use std::sync::Arc;

use async_trait::async_trait;
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::store::Store;

/// Makes stores of one backend for the suite.
#[async_trait]
pub trait Bench: Send + Sync {
    /// Makes an empty store in which at most `queue_entries` may wait.
    async fn make(&self, queue_entries: u64) -> Arc<dyn Store>;

    /// Ends this store and opens another one on what it wrote, or returns `None` when the backend keeps nothing.
    async fn reopen(&self, store: Arc<dyn Store>) -> Option<Arc<dyn Store>>;

    /// Lets the lease on this agent run out, where leases do: then another node may take it over.
    async fn lapse(&self, agent: AgentId) {
        let _ = agent;
    }
}

/// Makes a test of each case of the suite; takes an expression for a new [`Bench`], and a condition without which the tests
/// are skipped (whoever answers it says why).
#[macro_export]
macro_rules! store_suite {
    ($bench:expr) => { $crate::store_suite! { $bench, if true } };
    ($bench:expr, if $there:expr) => {
        $crate::store_suite! { @group $bench, $there;
            admission: writes_everything_in_one_step, refuses_a_second_agent_of_a_task, replays_a_known_key,
                forgets_an_old_key, one_key_in_parallel_makes_one_agent, one_task_in_parallel_makes_one_agent,
                refuses_when_the_queue_is_full, a_refusal_writes_nothing;
        }
        $crate::store_suite! { @group $bench, $there;
            queue: starts_by_priority_then_age, ageing_lets_old_work_pass, delayed_work_waits_for_its_time,
                a_pause_stops_dispatch, waiting_lists_in_starting_order, position_counts_what_starts_before,
                counts_follow_every_write, what_is_refused_stays_at_its_place_for_others,
                labels_of_the_node_are_asked_for, of_one_repository_no_more_are_leased_on_all_nodes_than_may,
                what_is_refused_never_hides_what_waits_behind_it, dead_letters_are_failures_with_attempts_used_up;
        }
        $crate::store_suite! { @group $bench, $there;
            leases: an_entry_goes_to_one_caller, epochs_rise, an_old_lease_is_fenced, a_lease_ends_with_its_state,
                take_over_needs_a_lease, home_is_where_it_was_leased_last, leased_lists_what_is_held, racing_take_overs_leave_one_holder;
        }
        $crate::store_suite! { @group $bench, $there;
            writes: advance_writes_record_and_facts, amend_compares_versions, amend_refuses_what_is_held,
                amend_answers_one_by_one, an_end_never_changes, amends_in_parallel_lose_nothing,
                unknown_agents_are_not_found;
        }
        $crate::store_suite! { @group $bench, $there;
            journal: numbers_have_no_gaps, newest_changes_once_a_fact_is_readable, time_never_goes_back_for_an_agent,
                pages_from_any_number, set_pause_logs_once;
        }
        $crate::store_suite! { @group $bench, $there;
            listing: newest_admission_comes_first, pages_by_cursor, filters_one_by_one, filters_together,
                strange_filters_find_nothing, of_task_lists_newest_first;
        }
        $crate::store_suite! { @group $bench, $there;
            removal: a_removed_record_leaves_a_note, only_ended_agents_of_the_version_are_removed,
                a_removed_task_may_be_spawned_again, a_key_of_a_removed_agent_admits_nothing_new,
                settled_lists_by_end_in_pages, pruned_facts_leave_numbers_as_they_were,
                removal_survives_a_new_start, of_racing_removals_one_wins;
        }
        $crate::store_suite! { @group $bench, $there;
            archive: a_moved_record_reads_the_same, a_moved_record_is_written_over_as_before,
                a_record_that_changes_meanwhile_stays_whole, a_move_that_is_broken_off_loses_nothing,
                a_moved_record_is_removed_with_a_note, a_task_goes_on_after_its_agent_was_moved;
        }
        $crate::store_suite! { @group $bench, $there;
            orders: a_kill_all_covers_what_is_admitted, the_barrier_never_sinks, the_first_latch_stands_until_released,
                nothing_is_leased_under_the_latch, a_new_start_knows_the_orders,
                an_order_to_end_one_agent_stands_until_carried_out;
        }
        $crate::store_suite! { @group $bench, $there;
            durability: a_new_start_sees_everything, leases_survive_and_can_be_taken_over, numbers_go_on;
        }
    };
    (@group $bench:expr, $there:expr; $module:ident: $($case:ident),* $(,)?;) => {
        mod $module {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    if $there {
                        $crate::store_suite::$module::$case(&$bench).await;
                    }
                }
            )*
        }
    };
}
