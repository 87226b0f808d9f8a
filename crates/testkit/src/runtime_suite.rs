//! Requirements on every runtime: what it promises of itself holds, its plan starts something, and a conversation follows from
//! its opening and its lines alone.

use std::sync::Arc;

use mosaic_core::domain::ids::Word;
use mosaic_core::domain::outcome::Outcome;
use mosaic_core::ports::processes::Exit;
use mosaic_core::ports::runtime::{Dialogue, LaunchPlan, LaunchRequest, Opening, Reaction, Runtime};

/// Lines that no program was asked for.
const NOISE: [&[u8]; 6] =
    [b"", b"{", b"{\"type\":\"unheard-of\",\"x\":[1]}", b"\xff\xfe\x00", b"null", b"plain words"];

/// Runs every check. `request` is one that the runtime can plan; `lines` are output of a successful run of its program.
pub async fn run(runtime: Arc<dyn Runtime>, request: &LaunchRequest, lines: &[Vec<u8>]) {
    names_and_customs_are_plain(runtime.as_ref());
    let plan = a_plan_starts_a_program(runtime.as_ref(), request, lines).await;
    a_session_is_resumed_where_that_is_promised(runtime.as_ref(), request).await;
    let opening = Opening { prompt: request.prompt.clone(), session: plan.session, lent: plan.lent };
    messages_reach_a_program_where_that_is_promised(runtime.as_ref(), &opening, lines);
    a_conversation_follows_from_its_lines(runtime.as_ref(), &opening, lines);
    noise_is_never_an_error(runtime.as_ref(), &opening, lines);
    an_end_by_force_is_no_success(runtime.as_ref(), &opening);
}

fn names_and_customs_are_plain(runtime: &dyn Runtime) {
    runtime.name().parse::<Word>().expect("a name can be asked for");
    let customs = runtime.capabilities();
    assert_eq!(customs, runtime.capabilities(), "they never change");
    let paths = customs.skills_directory.iter().chain(customs.instruction_files).chain(customs.native_names);
    for path in paths {
        let plain = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        assert!(plain, "{path} is no path inside a repository");
    }
}

async fn a_plan_starts_a_program(
    runtime: &dyn Runtime,
    request: &LaunchRequest,
    lines: &[Vec<u8>],
) -> LaunchPlan {
    let plan = runtime.plan(request).await.expect("the request can be planned");
    assert!(plan.command.first().is_some_and(|program| !program.is_empty()), "{plan:?}");
    assert!(plan.command.iter().all(|word| !word.contains('\0')));
    let opening = Opening { prompt: request.prompt.clone(), session: plan.session.clone(), lent: None };
    let mut dialogue = runtime.dialogue(&opening);
    let (first, reactions) = tell(dialogue.as_mut(), lines);
    let replies = reactions.into_iter().flat_map(|reaction| reaction.replies);
    let said: String = plan.stdin.clone().into_iter().chain(first).chain(replies).collect();
    let prompt = request.prompt.lines().next().unwrap_or_default();
    assert!(said.contains(prompt), "the prompt goes in by standard input: {said}");
    assert!(!plan.command.iter().any(|word| word.contains(prompt)), "every user can read a command line");
    plan
}

async fn a_session_is_resumed_where_that_is_promised(runtime: &dyn Runtime, request: &LaunchRequest) {
    if !runtime.capabilities().resumes {
        let plan = runtime.plan(request).await.expect("planned");
        assert_eq!(plan.session, None, "a session that cannot be resumed has no name");
        return;
    }
    let fresh = runtime.plan(request).await.expect("planned");
    assert_eq!(fresh.session.as_deref(), Some(request.new_session.as_str()));
}

fn messages_reach_a_program_where_that_is_promised(
    runtime: &dyn Runtime,
    opening: &Opening,
    lines: &[Vec<u8>],
) {
    let mut dialogue = runtime.dialogue(opening);
    dialogue.start();
    // A program may have to say that it is ready before it can be told anything.
    let mut tries = lines.iter().map(|line| {
        dialogue.line(line);
        dialogue.nudge("are you there?")
    });
    let message = tries.find_map(|message| message);
    assert_eq!(message.is_some(), runtime.capabilities().takes_messages, "{message:?}");
    assert!(message.is_none_or(|text| text.ends_with('\n') && text.contains("are you there?")));
}

fn tell(dialogue: &mut dyn Dialogue, lines: &[Vec<u8>]) -> (Vec<String>, Vec<Reaction>) {
    (dialogue.start(), lines.iter().map(|line| dialogue.line(line)).collect())
}

fn a_conversation_follows_from_its_lines(runtime: &dyn Runtime, opening: &Opening, lines: &[Vec<u8>]) {
    let ended = Exit { code: Some(0), ..Exit::default() };
    let (mut one, mut two) = (runtime.dialogue(opening), runtime.dialogue(opening));
    assert_eq!(
        tell(one.as_mut(), lines),
        tell(two.as_mut(), lines),
        "a later server catches up by the lines"
    );
    assert_eq!((one.session(), one.spent()), (two.session(), two.spent()));
    if !runtime.capabilities().reports_cost {
        assert!(one.spent().usd == 0.0, "a cost that is not reported is not made up");
    }
    let outcome = one.outcome(&ended);
    assert!(matches!(outcome, Outcome::Completed { .. }), "{outcome:?}");
    assert_eq!(outcome, two.outcome(&ended));
}

fn noise_is_never_an_error(runtime: &dyn Runtime, opening: &Opening, lines: &[Vec<u8>]) {
    let mut dialogue = runtime.dialogue(opening);
    dialogue.start();
    for line in lines {
        for noise in NOISE {
            let reaction = dialogue.line(noise);
            assert!(!reaction.give_up && !reaction.turn_over, "{noise:?}");
        }
        dialogue.line(line);
    }
    let outcome = dialogue.outcome(&Exit { code: Some(0), ..Exit::default() });
    assert!(matches!(outcome, Outcome::Completed { .. }), "{outcome:?}");
}

fn an_end_by_force_is_no_success(runtime: &dyn Runtime, opening: &Opening) {
    let mut dialogue = runtime.dialogue(opening);
    dialogue.start();
    let outcome = dialogue.outcome(&Exit { signal: Some(9), ..Exit::default() });
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
}
