//! Rows as the API writes them: through the same views, under the same rules and with the same traces as a portal's own
//! statements. Whose row it is is judged here, in the transaction that changes it.

use super::read::Place;
use super::{Postgres, error};
use crate::value::{number, unsigned};
use berth_model::ids::{AppName, StackName};
use berth_ports::{Asked, Draft, Expect, Fault, PortError, Put, Refused};
use sqlx::postgres::{PgConnection, PgRow};

/// Tries of an insert that another one was faster than.
const TRIES: usize = 3;

impl Postgres {
    /// The row that asks for a stack.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn stack_row(&self, name: &StackName) -> Result<Option<Asked>, PortError> {
        let statement = sqlx::query(
            "select name, tenant, stage, template, formerly, spec::text, generation, \
             deletion_requested_at is not null from berth.manifests where kind = 'Stack' and name = $1",
        );
        let rows = self.look(statement.bind(name.to_string())).await?;
        rows.first().map(|row| asked(Place(self.place()), row)).transpose()
    }

    /// Rows that ask for stacks and were not judged as they are now.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn unjudged_rows(&self) -> Result<Vec<Asked>, PortError> {
        let statement = sqlx::query(
            "select m.name, m.tenant, m.stage, m.template, m.formerly, m.spec::text, m.generation, \
             m.deletion_requested_at is not null \
             from berth.manifests m left join berth.statuses s on s.key = m.key \
             where m.kind = 'Stack' and coalesce(s.observed_generation, 0) < m.generation \
             and not coalesce(s.from_file, false) order by m.name",
        );
        let rows = self.look(statement).await?;
        rows.iter().map(|row| asked(Place(self.place()), row)).collect()
    }

    /// Asks for a stack, or changes what is asked for.
    ///
    /// # Errors
    /// What stands against it; nothing was changed then.
    pub async fn put_stack(
        &self,
        who: &str,
        draft: &Draft,
        expect: Expect,
        everybody: bool,
    ) -> Result<Put, Refused> {
        for _ in 1..TRIES {
            match self.put_once(who, draft, expect, everybody).await {
                // Somebody made it between the look and the insert.
                Err(Refused::Taken) if expect != Expect::Absent => {}
                done => return done,
            }
        }
        self.put_once(who, draft, expect, everybody).await
    }

    async fn put_once(
        &self,
        who: &str,
        draft: &Draft,
        expect: Expect,
        everybody: bool,
    ) -> Result<Put, Refused> {
        self.write(who, async |at, db| put(at, db, draft, expect, everybody).await).await
    }

    /// Asks for the removal of a stack of this tenant, or of anybody's.
    ///
    /// # Errors
    /// What stands against it; nothing was changed then.
    pub async fn remove_stack(
        &self,
        who: &str,
        name: &StackName,
        tenant: Option<&str>,
        expect: Expect,
    ) -> Result<u64, Refused> {
        self.change(who, name, tenant, expect, async |at, db, _| {
            let statement = sqlx::query("delete from berth.stacks where name = $1").bind(name.as_str());
            let statement = statement.persistent(at.names);
            statement.execute(db).await.map(drop).map_err(|e| at.refused(&e))
        })
        .await
    }

    /// Asks for so many replicas of an app of a stack of this tenant, or of anybody's.
    ///
    /// # Errors
    /// What stands against it; nothing was changed then.
    pub async fn scale_stack(
        &self,
        who: &str,
        name: &StackName,
        tenant: Option<&str>,
        app: &AppName,
        replicas: u32,
        expect: Expect,
    ) -> Result<u64, Refused> {
        self.change(who, name, tenant, expect, async |at, db, there| {
            if there.removing {
                return Err(Refused::BeingRemoved);
            }
            let count = number(u64::from(replicas))?;
            let statement = sqlx::query(
                "update berth.stacks set spec = berth.with_replicas(spec, $2, $3) where name = $1",
            );
            let statement = statement.bind(name.as_str()).bind(app.as_str()).bind(count).persistent(at.names);
            statement.execute(db).await.map(drop).map_err(|e| at.refused(&e))
        })
        .await
    }

    /// One change of a row that is there; its generation afterwards.
    async fn change(
        &self,
        who: &str,
        name: &StackName,
        tenant: Option<&str>,
        expect: Expect,
        work: impl AsyncFnOnce(At<'_>, &mut PgConnection, &Asked) -> Result<(), Refused>,
    ) -> Result<u64, Refused> {
        self.write(who, async |at, db| {
            let there = at.locked(db, name).await?;
            let reaches = |row: &Asked| tenant.is_none() || row.tenant.as_deref() == tenant;
            let there = there.filter(reaches).ok_or(Refused::NotFound)?;
            holds(&there, expect)?;
            work(at, db, &there).await?;
            let now = at.locked(db, name).await?;
            Ok(now.map_or(there.generation, |row| row.generation))
        })
        .await
    }

    /// One transaction of somebody: the audit shows who asked, and not whose connection it was.
    async fn write<T>(
        &self,
        who: &str,
        work: impl AsyncFnOnce(At<'_>, &mut PgConnection) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        let sessions = &self.0.sessions;
        let at = At { place: Place(self.place()), names: sessions.names() };
        let done = self.ask("writing", async |db| {
            let port = |e: sqlx::Error| error::port(at.place.0, "writing", &e);
            let mut transaction = sessions.begin(db).await.map_err(port)?;
            let actor = sqlx::query("select set_config('berth.actor', $1, true)").bind(who);
            actor.persistent(at.names).execute(&mut *transaction).await.map_err(port)?;
            let done = match work(at, &mut transaction).await {
                Ok(done) => done,
                Err(refused) => return Ok(Err(refused)),
            };
            match transaction.commit().await {
                Ok(()) => Ok(Ok(done)),
                Err(e) if error::kind(&e) == error::Kind::Away => {
                    Err(error::unknown(at.place.0, &e.to_string()))
                }
                Err(e) => Err(port(e)),
            }
        });
        done.await?
    }

    /// Rows of one question.
    async fn look(&self, statement: Statement) -> Result<Vec<PgRow>, PortError> {
        let sessions = &self.0.sessions;
        let statement = statement.persistent(sessions.names());
        self.ask("reading", async |db| {
            let work = async |db: &mut _| statement.fetch_all(db).await;
            sessions.single(db, work).await.map_err(|e| Place(self.place()).port(&e))
        })
        .await
    }

    /// The row of a template, as a manifest.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn template_row(&self, name: &str) -> Result<Option<super::Row>, PortError> {
        let statement = sqlx::query(
            "select key, kind, name, tenant, stage, formerly, null::text, spec::text, generation, \
             deletion_requested_at is not null from berth.manifests where kind = 'StackTemplate' and name = $1",
        );
        let rows = self.look(statement.bind(name.to_owned())).await?;
        match rows.first() {
            Some(row) => super::rows::read(Place(self.place()), row),
            None => Ok(None),
        }
    }
}

async fn put(
    at: At<'_>,
    db: &mut PgConnection,
    draft: &Draft,
    expect: Expect,
    everybody: bool,
) -> Result<Put, Refused> {
    let Some(there) = at.locked(db, &draft.name).await? else {
        if matches!(expect, Expect::Present | Expect::Generation(_)) {
            return Err(Refused::Stale(None));
        }
        sqlx::query(
            "insert into berth.stacks (name, tenant, stage, template, formerly, spec) \
             values ($1, $2, $3, $4, $5, $6::text::jsonb)",
        )
        .bind(draft.name.as_str())
        .bind(&draft.tenant)
        .bind(&draft.stage)
        .bind(&draft.template)
        .bind(&draft.formerly)
        .bind(&draft.spec)
        .persistent(at.names)
        .execute(db)
        .await
        .map_err(|e| at.refused(&e))?;
        return Ok(Put { created: true, generation: 1 });
    };
    let own = there.tenant == draft.tenant;
    if !own && !everybody {
        return Err(Refused::Taken);
    }
    holds(&there, expect)?;
    if there.removing {
        return Err(Refused::BeingRemoved);
    }
    if !own && draft.tenant.is_some() {
        return Err(Refused::Fixed("the tenant"));
    }
    if draft.formerly.is_some() && draft.formerly != there.formerly {
        return Err(Refused::Fixed("\"formerly\""));
    }
    let stage = draft.stage.as_deref().unwrap_or("production");
    sqlx::query("update berth.stacks set spec = $2::text::jsonb, template = $3, stage = $4 where name = $1")
        .bind(draft.name.as_str())
        .bind(&draft.spec)
        .bind(&draft.template)
        .bind(stage)
        .persistent(at.names)
        .execute(&mut *db)
        .await
        .map_err(|e| at.refused(&e))?;
    let now = at.locked(db, &draft.name).await?;
    Ok(Put { created: false, generation: now.map_or(there.generation, |row| row.generation) })
}

type Statement = sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Where a transaction is.
#[derive(Clone, Copy)]
struct At<'a> {
    place: Place<'a>,
    /// Statements may be known to the server by names.
    names: bool,
}

impl At<'_> {
    /// The row, kept as it is until the transaction ends.
    async fn locked(self, db: &mut PgConnection, name: &StackName) -> Result<Option<Asked>, Refused> {
        let row = sqlx::query(
            "select name, tenant, stage, template, formerly, spec::text, generation, \
             deletion_requested_at is not null from berth.manifests where kind = 'Stack' and name = $1 for update",
        )
        .bind(name.as_str())
        .persistent(self.names)
        .fetch_optional(db)
        .await
        .map_err(|e| self.refused(&e))?;
        Ok(row.map(|row| asked(self.place, &row)).transpose()?)
    }

    /// What the rules of the tables say against it, else what went wrong.
    fn refused(self, error: &sqlx::Error) -> Refused {
        let sqlx::Error::Database(said) = error else {
            return Refused::Port(error::port(self.place.0, "writing", error));
        };
        match said.code().as_deref() {
            Some("23505") => Refused::Taken,
            Some("55006") => Refused::BeingRemoved,
            // A rule of the row, or a text that is no JSON for PostgreSQL: a NUL in it, say.
            Some("23514" | "23502" | "22P02" | "22P05" | "22003") => {
                let said = said.try_downcast_ref::<sqlx::postgres::PgDatabaseError>();
                let text = |found: Option<&str>| found.map(str::to_owned);
                Refused::Faulty(vec![Fault {
                    path: text(said.and_then(|e| e.column())),
                    message: said.map_or_else(|| error.to_string(), |e| e.message().to_owned()),
                    help: text(said.and_then(|e| e.hint())),
                }])
            }
            _ => Refused::Port(error::port(self.place.0, "writing", error)),
        }
    }
}

fn holds(there: &Asked, expect: Expect) -> Result<(), Refused> {
    let holds = match expect {
        Expect::Anything | Expect::Present => true,
        Expect::Absent => false,
        Expect::Generation(n) => n == there.generation,
    };
    if holds { Ok(()) } else { Err(Refused::Stale(Some(there.generation))) }
}

fn asked(place: Place<'_>, row: &PgRow) -> Result<Asked, PortError> {
    let name: String = place.get(row, 0)?;
    Ok(Asked {
        name: StackName::new(&name).map_err(|e| place.unreadable(&name, &e.to_string()))?,
        tenant: place.get(row, 1)?,
        stage: place.get(row, 2)?,
        template: place.get(row, 3)?,
        formerly: place.get(row, 4)?,
        spec: place.get(row, 5)?,
        generation: unsigned(place.get(row, 6)?),
        removing: place.get(row, 7)?,
    })
}
