//! Briefing of an agent: work items and skills looked up in the base commit, the repository's own instructions to
//! agents, and the findings of a refusal. Read from the server's bare repository, never from a tree.

use std::path::PathBuf;

use super::context::{StepContext, StepState};
use crate::domain::agent::Turn;
use crate::domain::ids::CommitId;
use crate::domain::outcome::{Failure, FailureKind};
use crate::domain::prompt::{self, PromptParts, WorkItem};
use crate::limits;

/// Skills by where they were found.
#[derive(Debug, Default)]
pub(super) struct Skills {
    /// In the repository: tracked directories.
    pub(super) in_repository: Vec<String>,
    /// In the operator's folder.
    pub(super) of_operator: Vec<PathBuf>,
    /// Nowhere.
    pub(super) missing: Vec<String>,
}

impl Skills {
    fn found(&self) -> Vec<String> {
        let last = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        let own = self.of_operator.iter().map(|path| last(&path.to_string_lossy()));
        self.in_repository.iter().map(|path| last(path)).chain(own).collect()
    }
}

/// Prompt and system text of one run.
pub(super) struct Briefing {
    pub(super) prompt: String,
    pub(super) system: String,
}

impl StepContext<'_> {
    /// Returns the tracked paths of the base commit, read once per driver.
    pub(super) async fn files<'h>(
        &self,
        step_state: &'h mut StepState,
        base: &CommitId,
    ) -> Result<&'h [String], Failure> {
        if step_state.files.is_none() {
            let repository = &self.agent.spec.context.repository;
            step_state.files = Some(self.orchestrator.ports.commits.list_files(repository, base, "").await?);
        }
        Ok(step_state.files.as_deref().unwrap_or_default())
    }

    /// Looks the asked skills up.
    pub(super) async fn skills(
        &self,
        step_state: &mut StepState,
        base: &CommitId,
    ) -> Result<Skills, Failure> {
        let mut skills = Skills::default();
        if self.agent.spec.context.skills.is_empty() {
            return Ok(skills);
        }
        let operators = self.orchestrator.settings.skills_dir.clone();
        let of_repository = self.runtime(self.runtime_name())?.capabilities().skills_directory;
        let files = self.files(step_state, base).await?;
        for name in &self.agent.spec.context.skills {
            let directory = of_repository.map(|directory| format!("{directory}/{name}"));
            let tracked = |directory: &String| files.contains(&format!("{directory}/SKILL.md"));
            let own = operators.as_ref().map(|dir| dir.join(name.as_str()));
            if let Some(directory) = directory.filter(tracked) {
                skills.in_repository.push(directory);
            } else if let Some(own) = own.filter(|dir| dir.join("SKILL.md").is_file()) {
                skills.of_operator.push(own);
            } else {
                skills.missing.push(name.to_string());
            }
        }
        Ok(skills)
    }

    /// Makes the skills visible: puts them where the runtime's user configuration looks for skills.
    pub(super) async fn place_skills(&self, skills: &Skills, base: &CommitId) -> Result<(), Failure> {
        let (ports, agent) = (&self.orchestrator.ports, self.agent.id);
        for directory in &skills.in_repository {
            let name = directory.rsplit('/').next().unwrap_or(directory);
            let staged = ports.sandbox.staging(agent).await?;
            let repository = &self.agent.spec.context.repository;
            ports.commits.export(repository, base, directory, &staged).await?;
            ports.sandbox.place(agent, &staged, &format!("skills/{name}")).await?;
        }
        for source in &skills.of_operator {
            let name = source.file_name().unwrap_or_default().to_string_lossy();
            ports.sandbox.place(agent, source, &format!("skills/{name}")).await?;
        }
        Ok(())
    }

    /// Writes what the agent is told in this turn.
    pub(super) async fn briefing(
        &self,
        step_state: &mut StepState,
        base: &CommitId,
        skills: &Skills,
        resumes: bool,
    ) -> Result<Briefing, Failure> {
        let context = &self.agent.spec.context;
        let mut work_items = Vec::new();
        for id in &context.work_items {
            work_items.push(WorkItem { id: id.clone(), body: self.work_item(step_state, base, id).await? });
        }
        let mut instructions = Vec::new();
        for name in self.runtime(self.runtime_name())?.capabilities().instruction_files {
            if let Some(text) = self.instructions_file(step_state, base, name).await? {
                instructions.push((*name, text));
            }
        }
        let parts = PromptParts {
            task_id: self.agent.spec.task_id.to_string(),
            agent_type: self.agent.spec.agent_type,
            branch: self.agent.branch.to_string(),
            work_items,
            skills_found: skills.found(),
            skills_missing: skills.missing.clone(),
            instructions: context.instructions.clone(),
        };
        let prompt = match self.turn() {
            Turn::First => prompt::first_prompt(&parts),
            Turn::Again => prompt::again_prompt(&parts),
            Turn::Fix { findings } => {
                let fix = prompt::fix_prompt(findings, &context.branch);
                // A session that goes on knows the task; a new one must be told.
                if resumes { fix } else { format!("{}\n\n{fix}", prompt::again_prompt(&parts)) }
            }
        };
        if prompt.len() > limits::PROMPT_BYTES {
            let text = format!(
                "the prompt would have {} bytes, at most {} are possible; name fewer or shorter work items",
                prompt.len(),
                limits::PROMPT_BYTES
            );
            return Err(Failure::new(FailureKind::BadInput, text));
        }
        let system = prompt::system_text(instructions.iter().map(|(name, text)| (*name, text.as_str())));
        Ok(Briefing { prompt, system })
    }

    async fn instructions_file(
        &self,
        step_state: &mut StepState,
        base: &CommitId,
        path: &str,
    ) -> Result<Option<String>, Failure> {
        if !self.files(step_state, base).await?.iter().any(|file| file == path) {
            return Ok(None);
        }
        self.text_file(base, path).await
    }

    /// Looks a work item up: `.mosaic/work-items/<id>.md`, then the first tracked `*<id>*.md`.
    async fn work_item(
        &self,
        step_state: &mut StepState,
        base: &CommitId,
        id: &str,
    ) -> Result<Option<String>, Failure> {
        let is_id = id.len() <= 128 && !id.chars().any(|c| c.is_whitespace() || c == '/' || c == '\\');
        if !is_id {
            return Ok(None);
        }
        let exact = format!(".mosaic/work-items/{id}.md");
        let files = self.files(step_state, base).await?;
        let name_has_id = |path: &&String| {
            let name = path.rsplit('/').next().unwrap_or(path);
            name.ends_with(".md") && name.contains(id)
        };
        let found =
            files.iter().find(|path| **path == exact).or_else(|| files.iter().find(name_has_id)).cloned();
        match found {
            Some(path) => self.text_file(base, &path).await,
            None => Ok(None),
        }
    }

    async fn text_file(&self, base: &CommitId, path: &str) -> Result<Option<String>, Failure> {
        let repository = &self.agent.spec.context.repository;
        let bytes = self
            .orchestrator
            .ports
            .commits
            .read_file(repository, base, path, limits::PROMPT_FILE_BYTES)
            .await?;
        Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }
}
