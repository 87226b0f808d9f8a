//! The index by which lists find what a filter wants: by label, repository, part of a name, beginning of an id.
//!
//! Records are rows, 1024 of them in a block, by their numbers of admission. Each row has a signature: every word that it can
//! be found by (a label, the repository, three letters in a row of its name or task, the first digits of its id) sets
//! a bit or two out of 512, chosen by a hash. The bits lie column by column, so that a filter reads only the columns of its own words: the rows
//! that have all of them are looked at, and the few that have them by chance are left out there. That is 80 bytes a record, ids
//! included, whatever it is found by, and nothing to clean up but whole blocks.

use mosaic_core::domain::agent::{Agent, Status};
use mosaic_core::domain::ids::AgentId;
use mosaic_core::ports::store::{Query, StoreError};
use uuid::Uuid;

use super::inner::Inner;
use super::keys::Key;

/// Rows of a block; `index.lua` knows them, too.
pub(super) const ROWS: u64 = 1024;
/// Columns. The first says that a row is in the index at all: records of earlier versions are not.
const COLUMNS: u64 = 512;
/// Bytes of a column.
const COLUMN_BYTES: u64 = ROWS / 8;
/// Bytes of an id.
const ID_BYTES: u64 = 16;
/// Letters in a row that a text is found by.
const LETTERS: usize = 3;
/// Most words of one record; one that has more stands in every column.
const WORDS: usize = 160;
/// Blocks looked at in one round trip.
const BLOCKS: u64 = 32;

/// Returns the columns of a word: a word that few records share gets several.
fn columns(kind: &str, word: &str, count: u64) -> impl Iterator<Item = u64> + use<> {
    // FNV-1a, which every version computes alike.
    let bytes = kind.bytes().chain(word.bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    (0..count).map(move |n| 1 + (hash >> (16 * n)) % (COLUMNS - 1))
}

fn letters(text: &str) -> Vec<String> {
    let all: Vec<char> = text.to_lowercase().chars().collect();
    all.windows(LETTERS).map(|three| three.iter().collect()).collect()
}

/// Returns the columns of a record.
pub(super) fn signature(agent: &Agent) -> Vec<u64> {
    let spec = &agent.spec;
    let mut all = vec![0];
    all.extend(columns("r", &spec.context.repository.to_string(), 3));
    for (key, value) in &spec.labels {
        all.extend(columns("l", &format!("{key}={value}"), 3));
    }
    let id = agent.id.to_string();
    all.extend((2..=4).flat_map(|n| columns("i", &id[..n], 2)));
    let mut words = letters(&agent.name);
    words.extend(letters(spec.task_id.as_str()));
    all.extend(words.iter().flat_map(|three| columns("t", three, 1)));
    all.sort_unstable();
    all.dedup();
    if all.len() > WORDS {
        return (0..COLUMNS).collect();
    }
    all
}

/// Returns the columns that what a query wants has; nothing when the index does not help.
fn wanted(query: &Query) -> Vec<u64> {
    let mut all = Vec::new();
    if let Some(repository) = &query.repository {
        all.extend(columns("r", repository, 3));
    }
    if let Some((key, value)) = &query.label {
        all.extend(columns("l", &format!("{key}={value}"), 3));
    }
    // Two digits are shared by so many that a look through all finds enough.
    if let Some(prefix) = query.id_prefix.as_ref().filter(|prefix| prefix.len() >= 2 && prefix.is_ascii()) {
        all.extend(columns("i", &prefix[..prefix.len().min(4)], 2));
    }
    if let Some(text) = &query.text {
        all.extend(letters(text).iter().flat_map(|three| columns("t", three, 1)));
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// Returns what is looked for in the middle of ids, too: a text that could stand there.
fn in_ids(query: &Query) -> Option<String> {
    let text = query.text.as_ref()?.to_lowercase();
    text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-').then_some(text)
}

/// Sets the bits of those rows whose ids have this text in them.
fn mark(rows: &mut [u8], ids: &[u8], text: &str) {
    for (row, bytes) in ids.chunks_exact(ID_BYTES as usize).enumerate() {
        let id = Uuid::from_slice(bytes).unwrap_or_default();
        if id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).contains(text)
            && let Some(byte) = rows.get_mut(row / 8)
        {
            *byte |= 0x80 >> (row % 8);
        }
    }
}

/// Returns the indexes in which what a query wants is found.
pub(super) fn indexes(query: &Query) -> Vec<Key<'static>> {
    if query.dead {
        return vec![Key::Dead];
    }
    let wanted = |status: &Status| query.status.is_empty() || query.status.contains(status);
    Status::ALL.iter().filter(|status| wanted(status)).map(|status| Key::Agents(status.as_str())).collect()
}

/// One block as it was read.
struct Block {
    number: u64,
    /// Rows that have every word, or are not in the index.
    rows: Vec<u8>,
    /// Rows that are in the index.
    present: Vec<u8>,
    /// Agents with a wanted status and their sequence numbers, read when a status is asked for or a row is not indexed.
    listed: Vec<(AgentId, u64)>,
}

fn has(bits: &[u8], row: u64) -> bool {
    let byte = bits.get((row / 8) as usize).copied().unwrap_or(0);
    byte & (0x80 >> (row % 8)) != 0
}

impl Block {
    /// Returns the candidates among these rows, highest first, with their ids where those are known.
    fn candidates(&self, below: u64, by_status: bool) -> Vec<(u64, Option<AgentId>)> {
        let first = self.number * ROWS;
        if by_status {
            let fits = |seq: u64| seq >= first && seq < below && has(&self.rows, seq - first);
            let mut all: Vec<_> =
                self.listed.iter().filter(|(_, seq)| fits(*seq)).map(|(id, seq)| (*seq, Some(*id))).collect();
            all.sort_unstable_by_key(|(seq, _)| std::cmp::Reverse(*seq));
            return all;
        }
        let rows = (first.max(1)..below.min(first + ROWS)).rev().filter(|seq| has(&self.rows, seq - first));
        let known = |seq: u64| self.listed.iter().find(|(_, at)| *at == seq).map(|(id, _)| *id);
        rows.filter_map(|seq| match has(&self.present, seq - first) {
            true => Some((seq, None)),
            false => known(seq).map(|id| (seq, Some(id))),
        })
        .collect()
    }
}

impl Inner {
    /// Returns the ids of what may meet a query, below a number of admission, newest first, and where to go on; nothing
    /// when the index does not help. Bounded: at most some blocks are looked at, and those with candidates end the look.
    pub(super) async fn search(
        &self,
        query: &Query,
        before: u64,
        most: usize,
    ) -> Result<Option<(Vec<AgentId>, Option<u64>)>, StoreError> {
        let columns = wanted(query);
        if columns.is_empty() {
            return Ok(None);
        }
        let mut newest = redis::cmd("GET");
        newest.arg(self.key(Key::Admitted));
        let newest: Option<u64> = self.link.query(newest).await?;
        let below = before.min(newest.unwrap_or(0).saturating_add(1));
        if below <= 1 {
            return Ok(Some((Vec::new(), None)));
        }
        let top = (below - 1) / ROWS;
        let by_status = !query.status.is_empty() || query.dead;
        let numbers: Vec<u64> = (top.saturating_sub(BLOCKS - 1)..=top).rev().collect();
        let mut rows = Vec::new();
        let mut end = numbers.last().map_or(0, |number| number * ROWS);
        for block in self.blocks(query, &columns, &numbers, by_status).await? {
            rows.extend(block.candidates(below, by_status));
            if rows.len() >= most {
                rows.truncate(most);
                end = rows.last().map_or(0, |(seq, _)| *seq);
                break;
            }
        }
        let ids = self.ids_of_rows(&rows).await?;
        Ok(Some((ids, Some(end).filter(|end| *end > 1))))
    }

    async fn blocks(
        &self,
        query: &Query,
        columns: &[u64],
        numbers: &[u64],
        by_status: bool,
    ) -> Result<Vec<Block>, StoreError> {
        let mut pipe = redis::pipe();
        for number in numbers {
            for column in std::iter::once(&0).chain(columns) {
                let from = column * COLUMN_BYTES;
                pipe.cmd("GETRANGE")
                    .arg(self.key(Key::Index(*number)))
                    .arg(from)
                    .arg(from + COLUMN_BYTES - 1);
            }
        }
        let read: Vec<Vec<u8>> = self.link.pipeline(pipe).await?;
        let mut blocks = Vec::with_capacity(numbers.len());
        let text = in_ids(query);
        for (number, columns) in numbers.iter().zip(read.chunks(columns.len() + 1)) {
            let mut present = columns[0].clone();
            present.resize(COLUMN_BYTES as usize, 0);
            let meets =
                |at: usize| columns[1..].iter().fold(0xff, |all, one| all & one.get(at).unwrap_or(&0));
            // A row that is not in the index belongs to a record of an earlier version. It counts as a candidate, and
            // its record decides.
            let rows = (0..present.len()).map(|at| meets(at) | !present[at]).collect();
            let mut block = Block { number: *number, rows, present, listed: Vec::new() };
            // The first row of all is nobody's.
            let first = if *number == 0 { 0x80 } else { 0 };
            let is_whole =
                (block.present[0] | first) == 0xff && block.present[1..].iter().all(|b| *b == 0xff);
            if by_status || !is_whole {
                block.listed = self.listed_between(query, number * ROWS, (number + 1) * ROWS).await?;
            }
            if let Some(text) = &text {
                let mut ids = redis::cmd("GET");
                ids.arg(self.key(Key::Ids(*number)));
                let ids: Option<Vec<u8>> = self.link.query(ids).await?;
                mark(&mut block.rows, &ids.unwrap_or_default(), text);
            }
            blocks.push(block);
        }
        Ok(blocks)
    }

    /// Lists what has one of the wanted statuses, by its number of admission.
    async fn listed_between(
        &self,
        query: &Query,
        from: u64,
        to: u64,
    ) -> Result<Vec<(AgentId, u64)>, StoreError> {
        let mut pipe = redis::pipe();
        for index in indexes(query) {
            pipe.cmd("ZRANGEBYSCORE").arg(self.key(index)).arg(from).arg(format!("({to}")).arg("WITHSCORES");
        }
        let read: Vec<Vec<(String, u64)>> = self.link.pipeline(pipe).await?;
        let all = read.into_iter().flatten();
        Ok(all.filter_map(|(id, seq)| Some((id.parse().ok()?, seq))).collect())
    }

    /// Reads the ids of rows; those that were removed have none.
    async fn ids_of_rows(&self, rows: &[(u64, Option<AgentId>)]) -> Result<Vec<AgentId>, StoreError> {
        let mut pipe = redis::pipe();
        let unknown: Vec<u64> = rows.iter().filter(|(_, id)| id.is_none()).map(|(seq, _)| *seq).collect();
        for seq in &unknown {
            let from = (seq % ROWS) * ID_BYTES;
            pipe.cmd("GETRANGE").arg(self.key(Key::Ids(seq / ROWS))).arg(from).arg(from + ID_BYTES - 1);
        }
        let read: Vec<Vec<u8>> =
            if unknown.is_empty() { Vec::new() } else { self.link.pipeline(pipe).await? };
        let mut read = read.into_iter();
        let mut ids = Vec::with_capacity(rows.len());
        for (_, known) in rows {
            let id = match known {
                Some(id) => Some(*id),
                None => read.next().and_then(|bytes| Uuid::from_slice(&bytes).ok()).map(AgentId),
            };
            ids.extend(id.filter(|id| !id.0.is_nil()));
        }
        Ok(ids)
    }
}

/// Returns an id as it stands in a block.
pub(super) fn id_bytes(id: AgentId) -> Vec<u8> {
    id.0.into_bytes().to_vec()
}

/// Returns the columns as the script takes them.
pub(super) fn columns_text(agent: &Agent) -> String {
    let all: Vec<String> = signature(agent).iter().map(u64::to_string).collect();
    all.join(",")
}

/// Statuses of which so few have to be looked at that no index is needed.
pub(super) const FEW: u64 = 100;

impl Inner {
    /// Tells whether so few records have the wanted statuses that reading all of them is the shortest way.
    pub(super) async fn are_few(&self, query: &Query) -> Result<bool, StoreError> {
        if query.status.is_empty() || query.status.iter().any(|status| Status::is_terminal(*status)) {
            return Ok(false);
        }
        let mut pipe = redis::pipe();
        for index in indexes(query) {
            pipe.cmd("ZCARD").arg(self.key(index));
        }
        let sizes: Vec<u64> = self.link.pipeline(pipe).await?;
        Ok(sizes.iter().sum::<u64>() <= FEW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_found_by_its_bits() {
        let mut rows = vec![0u8; COLUMN_BYTES as usize];
        rows[0] = 0b0100_0001;
        let block = Block { number: 0, present: vec![0xff; COLUMN_BYTES as usize], rows, listed: Vec::new() };
        assert_eq!(block.candidates(100, false), [(7, None), (1, None)]);
        assert_eq!(block.candidates(7, false), [(1, None)]);
    }

    #[test]
    fn a_query_wants_no_column_that_a_record_with_it_lacks() {
        let spec = mosaic_core::domain::spec::SpawnSpec::parse(&serde_json::json!({
            "taskId": "Ärger_100%", "agentType": "worker", "labels": {"team": "core"},
            "context": {"repository": "https://git.example/acme/widgets", "branch": "main", "workItems": ["x"]},
        }))
        .unwrap();
        let id = AgentId(Uuid::new_v4());
        let agent = Agent::admitted(id, spec, "mosaic", None, mosaic_core::domain::ids::Timestamp(0));
        let query = Query {
            repository: Some("https://git.example/acme/widgets".to_owned()),
            label: Some(("team".to_owned(), "core".to_owned())),
            text: Some("ÄRGER_".to_owned()),
            id_prefix: Some(id.short()),
            ..Query::default()
        };
        let has = signature(&agent);
        assert!(wanted(&query).iter().all(|column| has.contains(column)));
        assert_eq!(in_ids(&Query { text: Some("7D0C-".to_owned()), ..Query::default() }).unwrap(), "7d0c-");
        assert!(in_ids(&query).is_none());
    }
}
