//! `.mosaic/config.toml`: the gates that a repository defines and the ones it adds to profiles. Every fault names
//! its line; what this build does not use is said and never passed over in silence.

mod order;
mod quarantine;

use std::collections::BTreeMap;

use mosaic_core::domain::gates::{GateDefinition, ReportSpec, SetupDefinition};
use mosaic_core::domain::ids::Word;
use mosaic_core::domain::spec::{GateProfile, closest};
use mosaic_core::limits;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::reports::{self, FLOOR};
use crate::gate_reports;

pub(super) use quarantine::{Entry as QuarantineEntry, valid as valid_quarantine};

/// The gate that has the floor.
const COVERAGE: &str = "coverage";
/// Tables of the file that other parts of an orchestrator read.
const UNUSED: &[&str] = &["hooks", "worktree", "agent"];
const TABLES: &[&str] = &["gates", "setup", "quarantine", "hooks", "worktree", "agent"];
/// The word that stands for a gate or a setup which a repository does not have.
const NONE: &str = "none";
const SETUP_FIELDS: &[&str] = &["run", "timeout", "inputs", "outputs"];
const FIELDS: &[&str] = &["run", "reports", "min", "timeout", "needs", "env"];
const REPORT_FIELDS: &[&str] = &["format", "path", "min", "min-changed"];
/// A gate's name becomes part of a job's name of at most 64 characters: `gate-<round>-<eight digits>-<name>`.
const NAME_CHARS: usize = 48;

/// The content of the file.
#[derive(Debug, Default)]
pub(super) struct Config {
    /// The gates by name.
    pub gates: BTreeMap<Word, GateDefinition>,
    /// Gates that are added to each profile, in the file's order.
    pub added: Vec<(GateProfile, Vec<Word>)>,
    /// The command that makes a tree ready.
    pub setup: Option<SetupDefinition>,
    /// There is no command that makes a tree ready, whatever detection finds.
    pub has_no_setup: bool,
    /// Gates that the repository does not have.
    pub declared_none: Vec<Word>,
    /// Only what the file defines is a gate.
    pub ignores_detection: bool,
    /// Tests whose changing results are tolerated.
    pub quarantine: Vec<QuarantineEntry>,
    /// Warnings for a person.
    pub warnings: Vec<String>,
}

/// Reason why the file cannot be used, as a fragment that names the line.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    /// It is too large to be read.
    #[error("is larger than {} bytes", limits::GATE_CONFIG_BYTES)]
    TooLarge,
    /// It is not text.
    #[error("line {line}: is not UTF-8 text")]
    NoText {
        /// The line.
        line: usize,
        /// The first wrong byte.
        source: std::str::Utf8Error,
    },
    /// It is not TOML.
    #[error("line {line}: {}", source.message().replace('\n', " "))]
    Syntax {
        /// The line.
        line: usize,
        /// The parser's answer.
        source: Box<toml::de::Error>,
    },
    /// It defines something that cannot be used.
    #[error("line {line}: {fault}")]
    Fault {
        /// The line.
        line: usize,
        /// The fault, with what is possible.
        fault: String,
    },
}

/// Reads the file. Errors with a fragment that names the line, such as `line 3: …`.
pub(super) fn parse(bytes: &[u8]) -> Result<Config, ConfigError> {
    if bytes.len() > limits::GATE_CONFIG_BYTES {
        return Err(ConfigError::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + bytes[..e.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        ConfigError::NoText { line, source: e }
    })?;
    // Before the parser, which is recursive: a deep key would overflow the stack of the server.
    check_depth(text)?;
    let document = DeTable::parse(text).map_err(|e| {
        let start = e.span().map_or(0, |span| span.start);
        ConfigError::Syntax { line: line_of(text, start), source: Box::new(e) }
    })?;
    let mut reader = Reader { text, config: Config::default(), needs: Vec::new() };
    reader.tables(document.get_ref())?;
    reader.check_needs()?;
    Ok(reader.config)
}

/// Refuses deep nesting before anything recursive sees it: the parser bounds brackets but not dotted keys. Dots
/// in strings and comments do not count.
fn check_depth(text: &str) -> Result<(), ConfigError> {
    let bytes = text.as_bytes();
    let (mut at, mut dots) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'#' => at = bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |end| at + end),
            b'"' | b'\'' => at = string_end(bytes, at),
            b'.' => (at, dots) = (at + 1, dots + 1),
            b'=' | b'\n' | b',' | b'{' | b'}' | b'[' | b']' => (at, dots) = (at + 1, 0),
            _ => at += 1,
        }
        if dots > limits::GATE_CONFIG_DEPTH {
            let most = limits::GATE_CONFIG_DEPTH;
            let fault = format!("tables are nested more than {most} deep");
            return Err(ConfigError::Fault { line: line_of(text, at), fault });
        }
    }
    Ok(())
}

/// Returns where the string that starts here ends; the parser finds its faults later.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let quote = bytes[start];
    let long = bytes[start..].starts_with(&[quote; 3]);
    let mut at = start + if long { 3 } else { 1 };
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' if quote == b'"' => at += 2,
            b'\n' if !long => return at,
            _ if long && bytes[at..].starts_with(&[quote; 3]) => return at + 3,
            _ if !long && byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes()[..at.min(text.len())].iter().filter(|b| **b == b'\n').count()
}

struct Reader<'a> {
    text: &'a str,
    config: Config,
    /// Needs of gates, with the places where they stand.
    needs: Vec<(Word, Vec<Word>, usize)>,
}

impl Reader<'_> {
    fn fault<T>(&self, at: usize, what: impl std::fmt::Display) -> Result<T, ConfigError> {
        Err(ConfigError::Fault { line: line_of(self.text, at), fault: what.to_string() })
    }

    fn unknown<T>(&self, at: usize, what: &str, name: &str, known: &[&str]) -> Result<T, ConfigError> {
        let shown = shown(name);
        match closest(name, known) {
            Some(near) => self.fault(at, format!("unknown {what} `{shown}` (did you mean `{near}`?)")),
            None => self.fault(at, format!("unknown {what} `{shown}` (known: {})", known.join(", "))),
        }
    }

    fn tables(&mut self, document: &DeTable<'_>) -> Result<(), ConfigError> {
        for (key, value) in document {
            let name = key.get_ref().as_ref();
            match (name, value.get_ref()) {
                ("gates", DeValue::Table(gates)) => self.gates(gates)?,
                ("setup", DeValue::Table(fields)) => {
                    self.config.setup = Some(self.setup(fields, key.span().start)?);
                }
                ("setup", DeValue::String(text)) if text == NONE => self.config.has_no_setup = true,
                ("quarantine", _) => self.quarantine(value)?,
                (known, DeValue::Table(_)) if UNUSED.contains(&known) => {
                    self.config
                        .warnings
                        .push(format!("[{known}] in .mosaic/config.toml is not used by this build"));
                }
                (known, _) if TABLES.contains(&known) => {
                    return self.fault(key.span().start, format!("`{known}` must be a table: [{known}]"));
                }
                // An unknown key is refused and not passed over: a misspelt table would leave its gates undefined without a
                // word.
                _ => return self.unknown(key.span().start, "key", name, TABLES),
            }
        }
        self.warn_of_misspellings();
        Ok(())
    }

    fn gates(&mut self, gates: &DeTable<'_>) -> Result<(), ConfigError> {
        for (key, value) in gates {
            if key.get_ref() == "profiles" {
                let DeValue::Table(profiles) = value.get_ref() else {
                    return self.fault(key.span().start, "`profiles` must be a table: [gates.profiles]");
                };
                self.profiles(profiles)?;
                continue;
            }
            if key.get_ref() == "detect" {
                let DeValue::Boolean(wanted) = value.get_ref() else {
                    return self.fault(value.span().start, "`detect` must be true or false");
                };
                self.config.ignores_detection = !wanted;
                continue;
            }
            let name = self.name(key.get_ref(), key.span().start)?;
            if matches!(value.get_ref(), DeValue::String(text) if text == NONE) {
                self.config.declared_none.push(name);
                continue;
            }
            let definition = match value.get_ref() {
                DeValue::String(run) => {
                    let run = self.command(run, value.span().start)?;
                    definition(name.clone(), Some(run))
                }
                DeValue::Table(fields) => self.definition(&name, fields, value.span().start)?,
                _ => {
                    let hint =
                        format!("gate `{name}` must be a command or a table such as {{ run = \"…\" }}");
                    return self.fault(value.span().start, hint);
                }
            };
            self.note_floor(&definition);
            self.config.gates.insert(name, definition);
        }
        Ok(())
    }

    fn setup(&self, fields: &DeTable<'_>, at: usize) -> Result<SetupDefinition, ConfigError> {
        let mut run = None;
        let (mut timeout_ms, mut inputs, mut outputs) = (millis(limits::GATE), Vec::new(), Vec::new());
        for (key, value) in fields {
            let at = value.span().start;
            match key.get_ref().as_ref() {
                "run" => run = Some(self.command(self.string("run", value)?, at)?),
                "timeout" => timeout_ms = self.timeout(self.string("timeout", value)?, at)?,
                "inputs" => inputs = self.paths("inputs", value)?,
                "outputs" => outputs = self.paths("outputs", value)?,
                other => return self.unknown(key.span().start, "key", other, SETUP_FIELDS),
            }
        }
        match run {
            Some(run) => Ok(SetupDefinition { run, timeout_ms, inputs, outputs }),
            None => self.fault(at, "[setup] needs a command (`run`)"),
        }
    }

    fn paths(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, ConfigError> {
        let DeValue::Array(list) = value.get_ref() else {
            return self.fault(value.span().start, format!("`{key}` must be a list of paths"));
        };
        list.iter().map(|path| self.path(self.string(key, path)?, path.span().start)).collect()
    }

    fn name(&self, text: &str, at: usize) -> Result<Word, ConfigError> {
        match text.parse::<Word>() {
            Ok(name) if text.len() <= NAME_CHARS => Ok(name),
            Ok(_) => {
                self.fault(at, format!("gate name `{}` has more than {NAME_CHARS} characters", shown(text)))
            }
            Err(why) => self.fault(at, format!("gate name `{}` {why}", shown(text))),
        }
    }

    fn command(&self, text: &str, at: usize) -> Result<String, ConfigError> {
        if text.trim().is_empty() {
            return self.fault(at, "the command is empty");
        }
        if text.len() > limits::GATE_RUN_BYTES {
            return self.fault(at, format!("the command is longer than {} bytes", limits::GATE_RUN_BYTES));
        }
        if text.contains('\0') {
            return self.fault(at, "the command has a NUL character");
        }
        Ok(text.to_owned())
    }

    fn definition(
        &mut self,
        name: &Word,
        fields: &DeTable<'_>,
        at: usize,
    ) -> Result<GateDefinition, ConfigError> {
        let mut made = definition(name.clone(), None);
        let mut min = None;
        for (key, value) in fields {
            let at = value.span().start;
            match key.get_ref().as_ref() {
                "run" => made.run = Some(self.command(self.string(key.get_ref(), value)?, at)?),
                "min" => min = Some(self.percent(value)?),
                "reports" => made.reports.extend(self.reports(value)?),
                "timeout" => made.timeout_ms = self.timeout(self.string(key.get_ref(), value)?, at)?,
                "needs" => made.needs = self.needs(name, value)?,
                "env" => made.env = self.variables(value)?,
                // The name of a format as a key is the short form of one report of it.
                short if gate_reports::format(short).is_some() => {
                    let path = self.path(self.string(short, value)?, at)?;
                    made.reports.push(ReportSpec::new(self.format(short, at)?, path));
                }
                other => {
                    let known: Vec<_> = FIELDS.iter().copied().chain(format_names()).collect();
                    return self.unknown(key.span().start, "key", other, &known);
                }
            }
        }
        if made.run.is_none() && made.reports.is_empty() {
            return self
                .fault(at, format!("gate `{name}` needs a command (`run`) or a report (`lcov`, `junit`)"));
        }
        if made.reports.len() > limits::GATE_REPORTS {
            return self.fault(at, format!("gate `{name}` has more than {} reports", limits::GATE_REPORTS));
        }
        match min {
            Some(min) => self.with_min(made, min, at),
            None => Ok(made),
        }
    }

    /// Gives the gate's `min` to each report that can have one and does not name its own.
    fn with_min(&self, mut made: GateDefinition, min: f64, at: usize) -> Result<GateDefinition, ConfigError> {
        let open = |report: &&mut ReportSpec| reports::measures_coverage(report) && report.min.is_none();
        let mut given = false;
        for report in made.reports.iter_mut().filter(open) {
            report.min = Some(min);
            given = true;
        }
        if !given {
            let name = &made.name;
            return self.fault(at, format!("gate `{name}` has `min` without the report it is for (`lcov`)"));
        }
        Ok(made)
    }

    /// Reads the list of reports.
    fn reports(&self, value: &Spanned<DeValue<'_>>) -> Result<Vec<ReportSpec>, ConfigError> {
        let DeValue::Array(list) = value.get_ref() else {
            let hint = "`reports` must be a list of tables such as { format = \"junit\", path = \"…\" }";
            return self.fault(value.span().start, hint);
        };
        list.iter().map(|entry| self.report(entry)).collect()
    }

    fn report(&self, entry: &Spanned<DeValue<'_>>) -> Result<ReportSpec, ConfigError> {
        let start = entry.span().start;
        let DeValue::Table(fields) = entry.get_ref() else {
            let hint = "a report must be a table such as { format = \"junit\", path = \"…\" }";
            return self.fault(start, hint);
        };
        let (mut format, mut path, mut min, mut min_changed) = (None, None, None, None);
        for (key, value) in fields {
            let at = value.span().start;
            match key.get_ref().as_ref() {
                "format" => format = Some(self.format(self.string("format", value)?, at)?),
                "path" => path = Some(self.path(self.string("path", value)?, at)?),
                "min" => min = Some(self.percent(value)?),
                "min-changed" => min_changed = Some(self.percent(value)?),
                other => return self.unknown(key.span().start, "key", other, REPORT_FIELDS),
            }
        }
        let (Some(format), Some(path)) = (format, path) else {
            return self.fault(start, "a report needs `format` and `path`");
        };
        let made = ReportSpec { min, min_changed, ..ReportSpec::new(format, path) };
        if made.min.or(made.min_changed).is_some() && !reports::measures_coverage(&made) {
            return self.fault(start, format!("a report of the format `{}` has no `min`", made.format));
        }
        Ok(made)
    }

    fn format(&self, name: &str, at: usize) -> Result<Word, ConfigError> {
        match name.parse() {
            Ok(word) if gate_reports::format(name).is_some() => Ok(word),
            _ => self.unknown(at, "report format", name, &format_names().collect::<Vec<_>>()),
        }
    }

    fn string<'v>(&self, key: &str, value: &'v Spanned<DeValue<'_>>) -> Result<&'v str, ConfigError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text),
            other => {
                self.fault(value.span().start, format!("`{key}` must be a string, not {}", other.type_str()))
            }
        }
    }

    fn path(&self, text: &str, at: usize) -> Result<String, ConfigError> {
        match gate_reports::check_path(text) {
            Ok(()) => Ok(text.to_owned()),
            Err(why) => self.fault(at, format!("report path `{}` {why}", shown(text))),
        }
    }

    fn percent(&self, value: &Spanned<DeValue<'_>>) -> Result<f64, ConfigError> {
        let number = match value.get_ref() {
            DeValue::Integer(n) if n.radix() == 10 => n.as_str().parse().ok(),
            DeValue::Float(n) => n.as_str().parse().ok(),
            _ => None,
        };
        match number {
            // The range refuses NaN, too, which TOML can write and which no coverage is below.
            Some(n) if (0.0..=100.0).contains(&n) => Ok(n),
            _ => self.fault(value.span().start, "`min` must be a number of percent from 0 to 100"),
        }
    }

    fn timeout(&self, text: &str, at: usize) -> Result<u64, ConfigError> {
        match humantime::parse_duration(text) {
            // Zero would end every gate at once, and one without an end would hold the slot of its agent indefinitely.
            Ok(time) if time.as_millis() > 0 && time <= limits::GATE_LONGEST => Ok(millis(time)),
            Ok(_) => {
                let longest = humantime::format_duration(limits::GATE_LONGEST);
                self.fault(at, format!("`timeout` must be above 0 and at most {longest}"))
            }
            Err(_) => self.fault(at, "`timeout` must be a time such as \"10m\" or \"90s\""),
        }
    }

    /// Says where the coverage floor is not what the file asks for; the plan applies it.
    fn note_floor(&mut self, made: &GateDefinition) {
        if made.name.as_str() != COVERAGE {
            return;
        }
        let mut measured = made.reports.iter().filter(|report| reports::measures_coverage(report)).peekable();
        if measured.peek().is_none() {
            let floor =
                "has no lcov report, so its command alone decides and the floor of 85% is not checked";
            self.config.warnings.push(format!("gate `{COVERAGE}` {floor}"));
        }
        for min in measured.filter_map(|report| report.min).filter(|min| *min < FLOOR) {
            let why = "the floor may be raised and not lowered, so 85 stays";
            self.config.warnings.push(format!("gate `{COVERAGE}` asks for min = {min}: {why}"));
        }
    }

    fn profiles(&mut self, profiles: &DeTable<'_>) -> Result<(), ConfigError> {
        for (key, value) in profiles {
            let names = GateProfile::ALL.map(GateProfile::as_str);
            let Some(profile) = GateProfile::ALL.into_iter().find(|p| p.as_str() == key.get_ref()) else {
                return self.unknown(key.span().start, "profile", key.get_ref(), &names);
            };
            let DeValue::Array(list) = value.get_ref() else {
                let hint = format!("`{}` must be a list of gate names", profile.as_str());
                return self.fault(value.span().start, hint);
            };
            if list.len() > limits::GATES {
                return self.fault(value.span().start, format!("more than {} gates", limits::GATES));
            }
            let mut added = Vec::new();
            for entry in list {
                added.push(self.name(self.string(profile.as_str(), entry)?, entry.span().start)?);
            }
            self.config.added.push((profile, added));
        }
        Ok(())
    }

    /// A gate that no profile names is for `custom` lists, or a slip of the pen that would leave a gate undefined.
    fn warn_of_misspellings(&mut self) {
        let wanted = GateProfile::Strict.gates();
        let added = |name: &Word| self.config.added.iter().any(|(_, names)| names.contains(name));
        for name in self.config.gates.keys() {
            if wanted.contains(&name.as_str()) || added(name) {
                continue;
            }
            let near = closest(name.as_str(), wanted)
                .filter(|near| !self.config.gates.keys().any(|k| k.as_str() == *near));
            if let Some(near) = near {
                let warning = format!("no profile names the gate `{name}` (did you mean `{near}`?)");
                self.config.warnings.push(warning);
            }
        }
    }
}

fn definition(name: Word, run: Option<String>) -> GateDefinition {
    GateDefinition { run, ..GateDefinition::of_command(name, String::new()) }
}

fn format_names() -> impl Iterator<Item = &'static str> {
    gate_reports::FORMATS.iter().map(|format| format.name)
}

fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Returns a name fit for a message: short and printable.
fn shown(text: &str) -> String {
    text.chars().take(48).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
