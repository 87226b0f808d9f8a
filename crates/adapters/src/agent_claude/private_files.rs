//! Secrets in the login file that is placed in an agent's private directory.

use serde_json::Value;

/// Returns the tokens in a login file: every long string below a key that ends in `Token` or `Key`.
pub(super) fn tokens(login: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    if let Ok(value) = serde_json::from_slice::<Value>(login) {
        collect(&value, &mut found);
    }
    found
}

fn collect(value: &Value, found: &mut Vec<String>) {
    let Value::Object(fields) = value else { return };
    for (key, value) in fields {
        match value {
            Value::String(text) if key.ends_with("Token") || key.ends_with("Key") => found.push(text.clone()),
            other => collect(other, found),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_a_login_are_found() {
        let login =
            br#"{"claudeAiOauth":{"accessToken":"aaaaaaaaaa","refreshToken":"bbbbbbbbbb","expiresAt":1}}"#;
        assert_eq!(tokens(login), ["aaaaaaaaaa", "bbbbbbbbbb"]);
        assert!(tokens(b"no json").is_empty());
    }
}
