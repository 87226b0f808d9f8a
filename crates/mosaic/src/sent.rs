//! Answers of the server: read as types of the API, and kept as they were sent, so that `--json` prints what the server sent and
//! not what this version of the program knows of it.

use std::ops::Deref;

use mosaic_api::AgentView;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// A value that was read, and the JSON that it was read from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent<T> {
    // An agent is large; answers are moved and kept in lists.
    value: Box<T>,
    json: Value,
}

/// An agent.
pub(crate) type Agent = Sent<AgentView>;

impl<T: DeserializeOwned> Sent<T> {
    /// Reads JSON as a type of the API. Fields that the type does not know are tolerated; the error names one that is missing.
    pub(crate) fn read(json: Value) -> serde_json::Result<Self> {
        T::deserialize(&json).map(|value| Self { value: Box::new(value), json })
    }
}

impl<T> Sent<T> {
    /// Returns the JSON as it was sent.
    pub(crate) fn json(&self) -> &Value {
        &self.json
    }
}

impl<T> Deref for Sent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> Serialize for Sent<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Sent<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Sent;
    use mosaic_api::Dispatch;
    use serde_json::json;

    #[test]
    fn unknown_fields_stay_in_the_json_and_a_missing_one_is_named() {
        let json = json!({"paused": false, "pause": null, "newer": [1]});
        let sent: Sent<Dispatch> = Sent::read(json.clone()).unwrap();
        assert!(!sent.paused);
        assert_eq!((sent.json(), serde_json::to_value(&sent).unwrap()), (&json, json.clone()));
        let missing = Sent::<Dispatch>::read(json!({"pause": null})).unwrap_err();
        assert!(missing.to_string().contains("`paused`"), "{missing}");
    }
}
