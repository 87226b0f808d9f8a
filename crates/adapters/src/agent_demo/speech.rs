//! Claude Code's lines as the demo agent speaks them: only the fields that a reader of the real ones needs.

use std::io::{self, Write};

use serde_json::{Value, json};

/// Writes lines; every line goes out at once.
pub(super) struct Speech<W: Write> {
    out: W,
    session: String,
    calls: u32,
}

impl<W: Write> Speech<W> {
    pub(super) fn new(out: W, session: String) -> Self {
        Self { out, session, calls: 0 }
    }

    fn line(&mut self, mut line: Value) -> io::Result<()> {
        line["session_id"] = self.session.clone().into();
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    pub(super) fn acknowledge(&mut self, request: &str) -> io::Result<()> {
        let response = json!({"subtype": "success", "request_id": request, "response": {}});
        self.line(json!({"type": "control_response", "response": response}))
    }

    pub(super) fn init(&mut self) -> io::Result<()> {
        self.line(json!({"type": "system", "subtype": "init", "model": "scripted",
            "claude_code_version": concat!("demo-", env!("CARGO_PKG_VERSION"))}))
    }

    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        self.assistant(json!({"type": "text", "text": text}))
    }

    /// Announces a tool call; returns its id.
    pub(super) fn call(&mut self, tool: &str, input: Value) -> io::Result<String> {
        self.calls += 1;
        let id = format!("call_{}", self.calls);
        self.assistant(json!({"type": "tool_use", "id": id, "name": tool, "input": input}))?;
        Ok(id)
    }

    pub(super) fn answered(&mut self, call: &str, ok: bool, text: &str) -> io::Result<()> {
        let block = json!({"type": "tool_result", "tool_use_id": call, "is_error": !ok, "content": text});
        self.line(json!({"type": "user", "message": {"role": "user", "content": [block]}, "parent_tool_use_id": null}))
    }

    pub(super) fn success(&mut self, text: &str) -> io::Result<()> {
        self.result(
            json!({"subtype": "success", "is_error": false, "result": text, "terminal_reason": "completed"}),
        )
    }

    pub(super) fn failure(&mut self, why: &str, reason: &str) -> io::Result<()> {
        self.result(json!({"subtype": "error_during_execution", "is_error": true, "errors": [why], "terminal_reason": reason}))
    }

    fn assistant(&mut self, block: Value) -> io::Result<()> {
        let message = json!({"role": "assistant", "model": "scripted", "content": [block]});
        self.line(json!({"type": "assistant", "message": message, "parent_tool_use_id": null}))
    }

    fn result(&mut self, mut line: Value) -> io::Result<()> {
        line["type"] = "result".into();
        line["total_cost_usd"] = 0.into();
        line["permission_denials"] = json!([]);
        line["usage"] = json!({"input_tokens": 0, "output_tokens": 0});
        self.line(line)
    }
}
