//! Desired state as rows: all of them, or what changed since. Each row becomes the text of a manifest, so that rows
//! and files are read by the same rules.

use super::read::Place;
use super::{Postgres, error};
use crate::value::unsigned;
use berth_ports::{Draft, PortError};
use sqlx::postgres::PgRow;

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// `stack/NAME`, `project/NAME`, `stacktemplate/NAME` and so on.
    pub key: String,
    /// What it asks for, as a manifest; `None` where it asks for removal, or is gone.
    pub manifest: Option<String>,
    /// Rises when what it asks for changes; 0 where it is gone.
    pub generation: u64,
}

/// What a look at the rows found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rows {
    /// The rows that changed, or all of them. Some come twice.
    pub rows: Vec<Row>,
    /// These are all there are: what is not among them is gone.
    pub all: bool,
    /// What to ask with next time. It names the run of the server that it means something to: asked anywhere else, all
    /// rows are answered.
    pub upto: String,
}

impl Postgres {
    /// The rows that changed since an earlier look; all of them without one.
    ///
    /// # Errors
    /// The database cannot be read: nothing is known of what changed.
    pub async fn rows(&self, since: Option<&str>) -> Result<Rows, PortError> {
        let place = Place(self.place());
        let sessions = &self.0.sessions;
        let statement = sqlx::query(
            "select key, kind, name, tenant, stage, formerly, \
             case when not spec ? 'template' then template end, spec::text, generation, \
             deletion_requested_at is not null or removed, \
             f.since is null or f.since > pg_snapshot_xmax(pg_current_snapshot()), \
             pg_snapshot_xmin(pg_current_snapshot()) || ' ' || f.run \
             from (select run, case when split_part($1, ' ', 2) = run then split_part($1, ' ', 1)::xid8 end as since \
             from (select extract(epoch from pg_postmaster_start_time())::text as run) server) f \
             left join berth.changes(f.since) on true",
        )
        .bind(since)
        .persistent(sessions.names());
        let found = self
            .ask("reading", async |db| {
                let work = async |db: &mut _| statement.fetch_all(db).await;
                sessions.single(db, work).await.map_err(|e| place.port(&e))
            })
            .await?;
        let first = found.first().ok_or_else(|| place.port(&sqlx::Error::RowNotFound))?;
        let (all, upto) = (place.get(first, 10)?, place.get(first, 11)?);
        let mut rows = found.iter().map(|row| read(place, row)).filter_map(Result::transpose);
        let mut rows = rows.by_ref().collect::<Result<Vec<_>, _>>()?;
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Rows { rows, all, upto })
    }

    /// Takes rows away whose removal was asked for and of which there is nothing: these, and those of whose kind nothing
    /// is ever made.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn finish(&self, keys: &[String]) -> Result<(), PortError> {
        let port = |e: sqlx::Error| error::port(self.place(), "writing", &e);
        let (sessions, epoch) = (&self.0.sessions, self.epoch());
        self.ask("writing", async |db| {
            let mut transaction = sessions.begin(db).await.map_err(port)?;
            self.fence(&mut transaction, epoch).await?;
            sqlx::query(
                "delete from berth.manifests m where deletion_requested_at is not null \
                 and (key = any($1) or kind not in ('Stack', 'Project')) \
                 and not exists (select from berth.records r where r.key = m.key)",
            )
            .bind(keys)
            .persistent(sessions.names())
            .execute(&mut *transaction)
            .await
            .map_err(port)?;
            transaction.commit().await.map_err(port)
        })
        .await
    }
}

pub(super) fn read(place: Place<'_>, row: &PgRow) -> Result<Option<Row>, PortError> {
    // The one that says that there is none.
    let Some(key) = place.get(row, 0)? else {
        return Ok(None);
    };
    let gone: bool = place.get(row, 9)?;
    let generation: Option<i64> = place.get(row, 8)?;
    let manifest = if gone { None } else { Some(manifest(place, row)?) };
    Ok(Some(Row { key, manifest, generation: unsigned(generation.unwrap_or(0)) }))
}

/// The row as a manifest.
fn manifest(place: Place<'_>, row: &PgRow) -> Result<String, PortError> {
    let word = |column: usize| place.get::<Option<String>>(row, column);
    let (kind, name, spec): (String, String, String) =
        (place.get(row, 1)?, place.get(row, 2)?, place.get(row, 7)?);
    let mut metadata = Vec::new();
    if kind == "Stack" {
        metadata = vec![("tenant", word(3)?), ("stage", word(4)?), ("formerly", word(5)?)];
    }
    Ok(text(&kind, &name, &metadata, word(6)?.as_deref(), &spec))
}

/// What somebody wants to ask for, as the manifest that its row would be. The spec must be a JSON object.
#[must_use]
pub fn manifest_of(draft: &Draft) -> String {
    let metadata = [
        ("tenant", draft.tenant.clone()),
        ("stage", draft.stage.clone()),
        ("formerly", draft.formerly.clone()),
    ];
    text("Stack", draft.name.as_str(), &metadata, draft.template.as_deref(), &draft.spec)
}

/// The spec is taken over letter by letter: `1.10` must not become `1.1` on the way.
fn text(
    kind: &str,
    name: &str,
    metadata: &[(&str, Option<String>)],
    template: Option<&str>,
    spec: &str,
) -> String {
    let mut text = format!("apiVersion: berth.dev/v1\nkind: {kind}\nmetadata:\n  name: {}\n", quoted(name));
    for (key, value) in metadata {
        if let Some(value) = value {
            text.push_str(&format!("  {key}: {}\n", quoted(value)));
        }
    }
    let rest = spec.strip_prefix('{').unwrap_or(spec);
    text.push_str("spec: {");
    if let Some(template) = template {
        let comma = if rest.trim_start().starts_with('}') { "" } else { ", " };
        text.push_str(&format!("\"template\": {}{comma}", quoted(template)));
    }
    text.push_str(rest);
    text.push('\n');
    text
}

/// A JSON string, which is a YAML one too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
