//! Turns of one Claude Code process: a result ends a turn, not the conversation. Commands, subagents and monitors may go on
//! in the background, and the end of each begins another turn by itself. Events are read by field, and unknown ones are
//! ignored; the program's own list of live tasks (`background_tasks_changed`) wins over the single events.

use std::collections::BTreeMap;

use mosaic_core::domain::outcome::cut;
use mosaic_core::limits;
use mosaic_core::ports::runtime::Pending;
use serde_json::Value;

use super::lines::text;

/// Words of `status` for a task that has not ended.
const LIVE: [&str; 6] = ["running", "pending", "paused", "started", "in_progress", "queued"];

/// The turns and background tasks of one process.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The newest turn has its result.
    ended: bool,
    /// The newest result is an error: no turn follows it.
    failed: bool,
    /// Live background tasks by id, with their descriptions.
    tasks: BTreeMap<String, String>,
    /// A task ended, and the model has not been told yet: that begins a turn, or goes with the running turn's next call.
    untold: bool,
    /// `idle` as the program last said it; nothing for versions that say nothing.
    idle: Option<bool>,
    /// The agent was asked about its background tasks and has not answered yet.
    asked: bool,
    /// Answers in a row that left the tasks as they are and did nothing.
    idle_answers: u32,
    /// Tasks that are not waited for any more.
    left: Vec<String>,
}

/// Answers that leave silent tasks as they are until they are not waited for any more. Each costs a call to the model, and a server
/// that the agent started to try its work would be asked about until the attempt's deadline.
const IDLE_ANSWERS: u32 = 2;

impl Turns {
    /// Takes the beginning of a turn, or anything that only happens within one.
    pub(super) fn begins(&mut self) {
        (self.ended, self.failed) = (false, false);
    }

    /// Takes a tool's answer to the main conversation: the call to the model that follows tells of ended tasks.
    pub(super) fn answered(&mut self) {
        self.begins();
        self.untold = false;
    }

    /// Takes a turn's result.
    pub(super) fn result(&mut self, failed: bool) {
        (self.ended, self.failed) = (true, failed);
        if !std::mem::take(&mut self.asked) || failed {
            return;
        }
        self.idle_answers += 1;
        if self.idle_answers >= IDLE_ANSWERS {
            self.left.extend(std::mem::take(&mut self.tasks).into_values());
            self.untold = false;
        }
    }

    /// The agent is asked about its background tasks.
    pub(super) fn ask(&mut self) {
        self.asked = self.ended && !self.tasks.is_empty();
    }

    /// Takes a tool's call by the main conversation: it does something about its tasks, or goes on working.
    pub(super) fn acts(&mut self) {
        (self.asked, self.idle_answers) = (false, 0);
    }

    /// Takes the tasks that are not waited for any more.
    pub(super) fn take_left(&mut self) -> Vec<String> {
        std::mem::take(&mut self.left)
    }

    /// Takes a `system` line that may be about tasks or the session's state.
    pub(super) fn system(&mut self, line: &Value) {
        let id = text(line, "/task_id");
        match text(line, "/subtype") {
            "session_state_changed" => self.state(text(line, "/state")),
            "background_tasks_changed" => self.replace(line),
            "task_started" if line.get("is_backgrounded").and_then(Value::as_bool) != Some(false) => {
                self.start(id, line);
            }
            "task_updated" if !is_live(text(line, "/patch/status")) => self.end(id),
            "task_notification" if !is_live(text(line, "/status")) => self.end(id),
            _ => {}
        }
    }

    /// Returns what the conversation still waits for.
    pub(super) fn pending(&self) -> Pending {
        if !self.ended || self.failed {
            return Pending::Nothing;
        }
        if !self.tasks.is_empty() {
            return Pending::Tasks(self.tasks.values().cloned().collect());
        }
        match self.untold || self.idle == Some(false) {
            true => Pending::Turn,
            false => Pending::Nothing,
        }
    }

    /// Tells whether nothing can follow any more.
    pub(super) fn is_over(&self) -> bool {
        self.ended && self.pending() == Pending::Nothing
    }

    /// Tells whether a turn is under way.
    pub(super) fn is_in_turn(&self) -> bool {
        !self.ended
    }

    fn state(&mut self, state: &str) {
        match state {
            "idle" => {
                self.idle = Some(true);
                // What it had to tell the model was told.
                self.untold = false;
            }
            "running" | "requires_action" => {
                self.idle = Some(false);
                self.begins();
            }
            _ => {}
        }
    }

    fn replace(&mut self, line: &Value) {
        let Some(tasks) = line.get("tasks").and_then(Value::as_array) else { return };
        let holds = |task: &&Value| {
            // Housekeeping of the program, and work that goes on elsewhere, holds nobody up.
            !["ambient", "off_host"].iter().any(|flag| task.get(flag).and_then(Value::as_bool) == Some(true))
        };
        let now: BTreeMap<String, String> = tasks
            .iter()
            .filter(holds)
            .take(limits::OPEN_TOOLS)
            .map(|task| (text(task, "/task_id").to_owned(), description(task)))
            .collect();
        let ended = self.tasks.keys().any(|id| !now.contains_key(id));
        if ended {
            (self.untold, self.idle_answers) = (true, 0);
        }
        self.tasks = now;
    }

    fn start(&mut self, id: &str, line: &Value) {
        let ambient = line.get("ambient").and_then(Value::as_bool) == Some(true);
        if !id.is_empty() && !ambient && self.tasks.len() < limits::OPEN_TOOLS {
            self.tasks.entry(id.to_owned()).or_insert_with(|| description(line));
        }
    }

    fn end(&mut self, id: &str) {
        if self.tasks.remove(id).is_some() {
            (self.untold, self.idle_answers) = (true, 0);
        }
    }
}

/// Tells whether a status leaves a task under way. An update without a status changes something else.
fn is_live(status: &str) -> bool {
    status.is_empty() || LIVE.contains(&status)
}

fn description(task: &Value) -> String {
    let words = [text(task, "/description"), text(task, "/task_type"), text(task, "/task_id")];
    let words = words.into_iter().find(|words| !words.is_empty()).unwrap_or("a task");
    cut(words.split_whitespace().collect::<Vec<_>>().join(" "), limits::TITLE_CHARS)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn changed(tasks: &[&str]) -> Value {
        let tasks: Vec<Value> =
            tasks.iter().map(|id| json!({"task_id": id, "description": format!("d-{id}")})).collect();
        json!({"type": "system", "subtype": "background_tasks_changed", "tasks": tasks})
    }

    fn state(state: &str) -> Value {
        json!({"type": "system", "subtype": "session_state_changed", "state": state})
    }

    fn tasks(names: &[&str]) -> Pending {
        Pending::Tasks(names.iter().map(|name| (*name).to_owned()).collect())
    }

    #[test]
    fn a_task_that_the_agent_lets_run_twice_without_doing_anything_is_not_waited_for() {
        let mut turns = Turns::default();
        turns.system(&changed(&["server"]));
        turns.result(false);
        turns.ask();
        turns.begins();
        turns.result(false);
        assert_eq!(turns.pending(), tasks(&["d-server"]));
        // It looked at the task's output: that is waiting.
        turns.ask();
        turns.begins();
        turns.acts();
        turns.result(false);
        for _ in 0..IDLE_ANSWERS {
            assert_eq!(turns.pending(), tasks(&["d-server"]));
            turns.ask();
            turns.begins();
            turns.result(false);
        }
        assert!(turns.is_over());
        assert_eq!(turns.take_left(), ["d-server"]);
    }

    #[test]
    fn a_result_without_tasks_is_the_last_one() {
        let mut turns = Turns::default();
        assert!(!turns.is_over());
        turns.result(false);
        assert!(turns.is_over());
    }

    #[test]
    fn the_programs_list_wins_over_single_events() {
        let mut turns = Turns::default();
        for id in ["a", "b"] {
            turns.system(&json!({"subtype": "task_started", "task_id": id, "is_backgrounded": true}));
        }
        turns.result(false);
        assert_eq!(turns.pending(), tasks(&["a", "b"]));
        turns.system(&changed(&["b"]));
        assert_eq!(turns.pending(), tasks(&["d-b"]));
        turns.system(&changed(&[]));
        assert_eq!(turns.pending(), Pending::Turn, "the last task's end begins a turn");
        turns.begins();
        turns.answered();
        turns.result(false);
        assert!(turns.is_over());
    }

    #[test]
    fn versions_without_a_list_are_followed_by_their_single_events() {
        let mut turns = Turns::default();
        turns.system(&json!({"subtype": "task_started", "task_id": "fg", "is_backgrounded": false}));
        turns.system(&json!({"subtype": "task_started", "task_id": "a", "task_type": "local_bash"}));
        turns.result(false);
        turns.system(&json!({"subtype": "task_updated", "task_id": "a", "patch": {"is_backgrounded": true}}));
        turns.system(&json!({"subtype": "task_progress", "task_id": "a", "new_of_next_year": 1}));
        assert_eq!(turns.pending(), tasks(&["local_bash"]));
        turns.system(&json!({"subtype": "task_notification", "task_id": "a", "status": "failed"}));
        assert_eq!(turns.pending(), Pending::Turn);
    }

    #[test]
    fn what_a_tools_answer_takes_along_begins_no_turn_of_its_own() {
        let mut turns = Turns::default();
        turns.system(&changed(&["a"]));
        turns.system(&changed(&[]));
        turns.answered();
        turns.result(false);
        assert!(turns.is_over());
    }

    #[test]
    fn a_program_that_tells_its_state_is_believed() {
        let mut turns = Turns::default();
        turns.system(&state("running"));
        turns.system(&changed(&["a"]));
        turns.system(&changed(&[]));
        turns.result(false);
        assert_eq!(turns.pending(), Pending::Turn, "it is not idle yet: a turn is about to begin");
        turns.begins();
        turns.result(false);
        turns.system(&state("idle"));
        assert!(turns.is_over());
    }

    #[test]
    fn nothing_follows_an_error() {
        let mut turns = Turns::default();
        turns.system(&changed(&["a"]));
        turns.result(true);
        assert!(turns.is_over());
    }

    #[test]
    fn housekeeping_and_work_elsewhere_hold_nobody_up() {
        let mut turns = Turns::default();
        turns.system(&json!({"subtype": "background_tasks_changed",
            "tasks": [{"task_id": "a", "ambient": true}, {"task_id": "b", "off_host": true}, "odd", 7]}));
        turns.system(&json!({"subtype": "background_tasks_changed", "tasks": "odd"}));
        turns.system(&changed(&[]));
        turns.system(&state("idle"));
        turns.result(false);
        assert!(turns.is_over());
    }
}
