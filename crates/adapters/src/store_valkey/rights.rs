//! Rights of the connected user in Valkey's access control list: what this build needs, and what of it is missing. The server
//! itself is asked, by a script that looks and does nothing, so that the user needs no right to read the list.

use redis::aio::MultiplexedConnection;

use super::ask::ask;
use super::keys::{Key, Names};

/// The commands with keys, as one use of each; `K` stands for a key.
const ON_KEYS: &[&str] = &[
    "BITFIELD K GET u8 0",
    "BZPOPMIN K 1",
    "DEL K",
    "EVALSHA x 1 K",
    "EXISTS K",
    "GET K",
    "GETRANGE K 0 1",
    "HDEL K x",
    "HEXISTS K x",
    "HGET K x",
    "HGETALL K",
    "HINCRBY K x 1",
    "HLEN K",
    "HMGET K x",
    "HSET K x x",
    "HSETNX K x x",
    "INCR K",
    "INCRBY K 1",
    "LINDEX K 0",
    "LLEN K",
    "LPOS K x",
    "LPUSH K x",
    "LRANGE K 0 1",
    "LREM K 1 x",
    "LTRIM K 0 1",
    "MGET K",
    "MSET K x",
    "PTTL K",
    "RENAME K K",
    "RPUSH K x",
    "SADD K x",
    "SCARD K",
    "SET K x",
    "SETBIT K 0 0",
    "SETNX K x",
    "SETRANGE K 0 x",
    "SMEMBERS K",
    "SREM K x",
    "XADD K * x x",
    "XLEN K",
    "XRANGE K - +",
    "XTRIM K MAXLEN 1",
    "ZADD K 1 x",
    "ZCARD K",
    "ZCOUNT K 0 1",
    "ZPOPMIN K",
    "ZRANGE K 0 1",
    "ZRANGEBYSCORE K 0 1",
    "ZRANK K x",
    "ZREM K x",
    "ZREVRANGE K 0 1",
    "ZREVRANGEBYSCORE K 1 0",
    "ZSCORE K x",
];
/// The commands without keys.
const WITHOUT_KEYS: &[&str] = &["CLIENT SETNAME x", "EVAL x 0", "INFO", "PING", "TIME", "WAIT 0 1"];
/// The commands on channels; `C` stands for a channel.
const ON_CHANNELS: &[&str] = &["PUBLISH C x", "SUBSCRIBE C"];
/// The commands that may be missing: what they show is not seen then.
const OPTIONAL: &[&str] = &["CLUSTER SLOTS", "CONFIG GET x"];

/// Asks which of the uses are allowed; each is one argument, its words separated by line feeds.
const LOOK: &str = r"local answers = {}
for n, use in ipairs(ARGV) do
  local words = {}
  for word in string.gmatch(use, '[^\n]+') do words[#words + 1] = word end
  local fine, allowed = pcall(redis.acl_check_cmd, unpack(words))
  answers[n] = fine and allowed and 1 or 0
end
return answers";

/// Rights that the connected user lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rights {
    /// Its name, where the server says it.
    pub user: String,
    /// The rules that are missing, as `ACL SETUSER` takes them.
    pub missing: Vec<String>,
    /// The rules that are missing and may be.
    pub optional: Vec<String>,
    /// The patterns of keys and channels of this fleet, as `ACL SETUSER` takes them.
    patterns: [String; 3],
}

impl Rights {
    /// Returns the command that makes a user with the least rights.
    pub fn least(&self) -> String {
        let commands = [ON_KEYS, WITHOUT_KEYS, ON_CHANNELS, OPTIONAL].concat();
        let mut rules: Vec<String> = commands.into_iter().map(rule).collect();
        rules.sort();
        format!("ACL SETUSER {} on >PASSWORD {} {}", self.user, self.patterns.join(" "), rules.join(" "))
    }

    /// Returns the command that adds what is missing.
    pub fn fix(&self) -> String {
        format!("ACL SETUSER {} {}", self.user, self.missing.join(" "))
    }
}

/// Returns the rule that allows the command of a use.
fn rule(use_: &str) -> String {
    let mut words = use_.split(' ').map(str::to_lowercase);
    let name = words.next().unwrap_or_default();
    match (name.as_str(), words.next()) {
        ("client" | "cluster" | "config", Some(part)) => format!("+{name}|{part}"),
        _ => format!("+{name}"),
    }
}

/// Looks at the rights of the connected user; nothing where the server cannot be asked.
pub(super) async fn look(
    connection: &MultiplexedConnection,
    names: &Names,
    username: Option<&str>,
) -> Option<Rights> {
    let patterns = [format!("~{}*", names.ours), format!("~{}*", names.queue), format!("&{}*", names.ours)];
    let keys = [names.of(Key::Check), names.of(Key::Meta)];
    let channel = names.of(Key::Events);
    // Whoever may run a script may run one on a key exactly when its pattern is allowed.
    let mut uses: Vec<String> = keys.iter().map(|key| format!("EVAL x 1 {key}")).collect();
    uses.extend(ON_CHANNELS.iter().map(|one| with(one, "C", &channel)));
    uses.extend(ON_KEYS.iter().flat_map(|one| keys.iter().map(|key| with(one, "K", key))));
    uses.extend([WITHOUT_KEYS, OPTIONAL].concat().into_iter().map(str::to_owned));
    // The uses are arguments and not keys: the server refuses a script as a whole when the user may not touch one of
    // its keys, and then it could not look.
    let mut command = redis::cmd("EVAL");
    command.arg(LOOK).arg(0);
    for one in &uses {
        command.arg(one.replace(' ', "\n"));
    }
    let answers: Vec<u8> = ask(connection, &command).await.ok()?;
    let allowed = |n: usize| answers.get(n).is_some_and(|answer| *answer == 1);
    let told = ask::<String>(connection, redis::cmd("ACL").arg("WHOAMI")).await.ok();
    let user = told.or_else(|| username.map(str::to_owned)).unwrap_or_else(|| "default".to_owned());
    let mut rights = Rights { user, missing: Vec::new(), optional: Vec::new(), patterns };
    let keys_allowed = [allowed(0), allowed(1)];
    for (n, is_allowed) in keys_allowed.into_iter().enumerate() {
        if !is_allowed {
            rights.missing.push(rights.patterns[n].clone());
        }
    }
    let channels = [allowed(2), allowed(3)];
    // Both are refused where the channel is not allowed.
    if channels == [false, false] {
        rights.missing.push(rights.patterns[2].clone());
    }
    for (one, _) in ON_CHANNELS.iter().zip(channels).filter(|(_, allowed)| !allowed) {
        rights.missing.push(rule(one));
    }
    let mut at = 4;
    for one in ON_KEYS {
        // On keys that are not allowed nothing shows which commands are.
        if keys_allowed.into_iter().enumerate().any(|(n, fine)| fine && !allowed(at + n)) {
            rights.missing.push(rule(one));
        }
        at += keys.len();
    }
    let rest = |list: &[&str], from: usize| -> Vec<String> {
        list.iter().enumerate().filter(|(n, _)| !allowed(from + n)).map(|(_, one)| rule(one)).collect()
    };
    rights.missing.extend(rest(WITHOUT_KEYS, at));
    rights.optional = rest(OPTIONAL, at + WITHOUT_KEYS.len());
    Some(rights)
}

fn with(use_: &str, placeholder: &str, value: &str) -> String {
    let words: Vec<&str> =
        use_.split(' ').map(|word| if word == placeholder { value } else { word }).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Returns what stands behind each of these beginnings up to the quote.
    fn quoted(text: &str, before: &str, quote: char) -> Vec<String> {
        text.split(before).skip(1).filter_map(|rest| rest.split(quote).next()).map(str::to_owned).collect()
    }

    #[test]
    fn every_command_that_is_used_is_in_the_list_of_rights() {
        let listed: BTreeSet<String> = [ON_KEYS, WITHOUT_KEYS, ON_CHANNELS, OPTIONAL]
            .concat()
            .into_iter()
            .filter_map(|one| one.split(' ').next())
            .map(str::to_owned)
            .collect();
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/store_valkey");
        let read = |dir: &str| -> Vec<String> {
            let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
            files.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap()).collect()
        };
        let mut used = BTreeSet::new();
        for text in read(&format!("{dir}/scripts")) {
            used.extend(quoted(&text, "call('", '\''));
            used.extend(quoted(&text, "call(listed and '", '\''));
        }
        for text in read(dir) {
            used.extend(quoted(&text, "cmd(\"", '"'));
        }
        // Asked of Sentinels, and of the list itself.
        for other in ["SENTINEL", "ACL"] {
            used.remove(other);
        }
        let missing: Vec<_> = used.difference(&listed).collect();
        assert!(used.len() > 50 && missing.is_empty(), "{missing:?}");
        // Sent by the client library itself.
        let by_the_library = ["EVALSHA", "EVAL", "SUBSCRIBE"].map(str::to_owned);
        let unused: Vec<_> = listed.difference(&used).filter(|one| !by_the_library.contains(one)).collect();
        assert!(unused.is_empty(), "{unused:?}");
    }
}
