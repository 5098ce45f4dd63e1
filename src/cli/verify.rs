//! `annals verify`: nothing was altered, nothing is missing, and the projections follow from the log.

use super::{
    arguments::{FolderVerb, Verb, Verify},
    failure::{Exit, Failure},
    place,
    size::{self, many},
    talk::Talk,
};
use crate::{
    actors::{
        Node,
        checkpoints::{Checkpoints, ReadError},
    },
    chunk_store::Packs,
    client::{ClientError, Folder, STATE_FOLDER, control},
    random::random,
    server::{
        CHUNKS_HINT, ServeError,
        data::{CHECKPOINTS_FOLDER, Data, FORMAT_FILE},
    },
    verification::{MISSING, Problem, Recount, Report, Resumed, TornTail, Verifier, of_checkpoint},
};
use annals_engine::chunk_store::{ChunkStore, ChunkStoreError};
use annals_events::{
    log::{
        EventLog, LogError, Logged, Position,
        embedded::{self, OpenError},
    },
    segment::{Unfinished, Witness},
};
use annals_projections::{CheckpointError, Scope};
use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A linked folder: the records that it keeps, and that the folds at work are those of a replay.
pub(super) fn run(verify: &Verify, folder: &mut Folder, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let mut verifier = Verifier::new(Scope::Device);
    for logged in folder.records() {
        match logged {
            Ok(logged) => verifier.read(logged.position, &logged.record),
            Err(error) => {
                verifier.problem(Problem {
                    what: error.to_string(),
                    place: "records".into(),
                    affects: "this device's copy of the log".into(),
                });
                break;
            }
        }
    }
    let mut report = verifier.report();
    for problem in folder.differences(&report) {
        report.problems.push(problem);
    }
    folder.verify_outbox(verify.deep, &mut report.problems)?;
    report.torn = folder.torn();
    show(report, talk)
}

/// A linked folder whose own state is damaged, so that it cannot be opened: that is what was to be found out.
pub(super) fn run_unopened(root: &Path, error: &ClientError, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let problem = Problem {
        what: error.to_string(),
        place: root.join(STATE_FOLDER).display().to_string(),
        affects: "this device's own state; its files, and what the server has, are not touched by it".into(),
    };
    let exit = show(Report { problems: vec![problem], ..Report::default() }, talk)?;
    talk.remark("hint: unlink the folder and link it anew: both sides are merged, nothing is deleted")?;
    Ok(exit)
}

/// The data of a server that is stopped, or asks the one that runs. Changes nothing in it.
pub(super) fn run_on_data(
    verify: &Verify,
    typed: &[String],
    directory: &Path,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let place = place::absolute(verify.data.as_deref().unwrap_or(Path::new(".")), directory);
    if !place.join(FORMAT_FILE).is_file() {
        return Err(Failure::usage(format!("{} holds no server's data", place.display()))
            .hint("name the DIR that `annals serve --data DIR` or `annals up --data DIR` was given"));
    }
    let mut reading = Reading::default();
    match Data::look(&place) {
        Err(ServeError::Locked { .. }) => return ask_server(&place, typed, directory, talk),
        Err(ServeError::Damaged { place, what }) => {
            reading.verifier.problem(of_file(&place.display().to_string(), what));
        }
        looked => reading.look(&looked?, verify.deep, talk)?,
    }
    show(reading.report(), talk)
}

/// A server that runs, asked by way of its control socket.
pub(super) fn answer(request: &control::Request, data: &Path, node: &Arc<Node>) -> control::Answer {
    super::answer_with(request, |verb, talk| match verb {
        Verb::OnFolder(FolderVerb::Verify(verify)) => {
            run_on_server(&verify, data, &*node.log, &*node.chunks, talk)
        }
        Verb::Gc(gc) => super::gc::run_on_server(&gc, node, talk),
        _ => Err(Failure::usage("a server does not run this verb")),
    })
}

fn run_on_server(
    verify: &Verify,
    data: &Path,
    log: &dyn EventLog,
    chunks: &dyn ChunkStore,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let mut reading = Reading::default();
    reading.take_checkpoints(data.join(CHECKPOINTS_FOLDER), talk)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(|error| Failure::failed(error.to_string()))?;
    let mut after = Position::default();
    loop {
        match runtime.block_on(log.read_all(after, PAGE_BYTES)) {
            Err(error) => break reading.verifier.problem(of_log(&error)),
            Ok(page) => {
                let Some(last) = page.last() else { break };
                after = last.position;
                page.into_iter().all(|logged| reading.take(Ok(logged)));
            }
        }
    }
    reading.check_chunks(chunks, verify.deep, talk)?;
    show(reading.report(), talk)
}

/// Bytes of records that are read at once from a log at work.
const PAGE_BYTES: usize = 8 << 20;

fn ask_server(data: &Path, typed: &[String], directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    super::ask_daemon(data, typed, directory, talk).unwrap_or_else(|| {
        Err(Failure::failed(format!("a server has {} open and does not answer", data.display()))
            .hint("stop the server, then verify"))
    })
}

fn of_file(file: &str, what: String) -> Problem {
    Problem { what, place: file.into(), affects: "everything in this data".into() }
}

/// A folder that goes with this, for copies of what may not be touched.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Result<Self, Failure> {
        let name = format!("annals-verify-{}", annals_events::NamespaceId(random()));
        let place = std::env::temp_dir().join(name);
        let made = DirBuilder::new().mode(0o700).create(&place);
        made.map_err(|error| {
            Failure::failed(format!("{}: {error}", place.display()))
                .hint("set TMPDIR to a folder with room for copies of the indexes")
        })?;
        Ok(Self(place))
    }

    /// The folder.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    fn folder(&self, name: &str) -> Result<PathBuf, Failure> {
        let folder = self.0.join(name);
        let failed = |error: std::io::Error| Failure::failed(format!("{}: {error}", folder.display()));
        std::fs::create_dir(&folder).map_err(failed)?;
        Ok(folder)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::debug!(%error, "copies could not be removed");
        }
    }
}

fn of_log(error: &LogError) -> Problem {
    let place = match error {
        LogError::Damaged { position, place, .. } => format!("position {}, {place}", position.0),
        _ => "the log".into(),
    };
    Problem { what: error.to_string(), place, affects: "everything from there on".into() }
}

/// A server's log as it goes by.
struct Reading {
    verifier: Verifier,
    recount: Recount,
    resumed: Resumed,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            verifier: Verifier::new(Scope::Server),
            recount: Recount::default(),
            resumed: Resumed::default(),
        }
    }
}

impl Reading {
    /// Everything in a data directory that nobody serves, left as it is.
    fn look(&mut self, data: &Data, deep: bool, talk: &mut Talk<'_>) -> Result<(), Failure> {
        let scratch = Scratch::new()?;
        self.take_checkpoints(data.checkpoints(), talk)?;
        match embedded::look(&data.log(), data.id.0, &scratch.folder("log")?) {
            Ok(log) => self.read(&log, data),
            Err(OpenError::Log(error)) => self.verifier.problem(of_log(&error)),
            Err(OpenError::Damaged { file, what }) => self.verifier.problem(of_file(&file, what)),
            Err(OpenError::Missing { place }) => {
                self.verifier.problem(of_file(&place, "the log is gone".into()));
            }
            Err(error @ OpenError::Format { .. }) => {
                return Err(Failure::failed(error.to_string()).hint("use the release that wrote it"));
            }
            Err(error) => return Err(Failure::failed(error.to_string())),
        }
        match Packs::look(&data.packs(), data.server_id(), &scratch.folder("packs")?) {
            Ok(packs) => {
                if let Some(Unfinished { place, bytes }) = packs.unfinished() {
                    self.verifier.torn(TornTail { place: format!("packs, {place}"), bytes });
                }
                self.check_chunks(&packs, deep, talk)
            }
            Err(error) => {
                self.verifier.problem(of_store(&error));
                Ok(())
            }
        }
    }

    fn read(&mut self, log: &embedded::Look, data: &Data) {
        if let Witness::Unusable(what) = log.witness() {
            self.verifier.problem(Problem {
                what: format!("what says how far the log has got cannot be read: {what}"),
                place: data.log().join("end").display().to_string(),
                affects: "nothing that is here: it is written anew when the log is next opened".into(),
            });
        }
        if let Some(Unfinished { place, bytes }) = log.unfinished() {
            self.verifier.torn(TornTail { place: format!("position {}, {place}", place.0), bytes });
        }
        log.verify().all(|logged| self.take(logged));
        if let Err(error) = log.verify_index() {
            self.verifier.problem(Problem {
                what: error.to_string(),
                place: "the log's index".into(),
                affects: "nothing: delete it, it is made again".into(),
            });
        }
    }

    /// Takes the checkpoints in `folder`, as they are now, to be compared.
    fn take_checkpoints(&mut self, folder: PathBuf, talk: &mut Talk<'_>) -> Result<(), Failure> {
        let checkpoints = Checkpoints::new(folder.clone());
        let all = checkpoints.all();
        for id in all.map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))? {
            let place = checkpoints.place(id).display().to_string();
            match checkpoints.read(id) {
                Ok(Some(checkpoint)) => self.resumed.add(place, checkpoint),
                Ok(None) => {}
                Err(ReadError::Checkpoint(CheckpointError::OtherFormat)) => {
                    talk.remark(format_args!("{place} is of another release and not used by this one"))?;
                }
                Err(error) => self.verifier.problem(of_checkpoint(error.to_string(), place)),
            }
        }
        Ok(())
    }

    /// What came of it.
    fn report(mut self) -> Report {
        for problem in self.resumed.compare(&self.verifier) {
            self.verifier.problem(problem);
        }
        self.verifier.report()
    }

    /// Takes the next record. False: there is no point in going on.
    fn take(&mut self, logged: Result<Logged, LogError>) -> bool {
        match logged {
            Ok(logged) => {
                self.verifier.read(logged.position, &logged.record);
                self.resumed.read(logged.position, &logged.record);
                self.recount.read(&logged.record, self.verifier.of(logged.record.admission().namespace));
                true
            }
            Err(error) => {
                self.verifier.problem(of_log(&error));
                false
            }
        }
    }

    fn check_chunks(
        &mut self,
        chunks: &dyn ChunkStore,
        deep: bool,
        talk: &mut Talk<'_>,
    ) -> Result<(), Failure> {
        let mut found = Vec::new();
        let outcome = self.recount.compare(&self.verifier, chunks, &mut found).and_then(|needed| {
            let stats = if deep {
                chunks.verify(&mut |damage| found.push(of_chunk(damage)))?
            } else {
                chunks.stats()?
            };
            Ok((needed, stats))
        });
        match outcome {
            Ok((needed, stats)) => talk.remark(format_args!(
                "chunks: {needed} needed, {} stored ({})",
                stats.chunks,
                size::human(stats.stored_bytes)
            ))?,
            Err(error) => found.push(of_store(&error)),
        }
        found.into_iter().for_each(|problem| self.verifier.problem(problem));
        Ok(())
    }
}

fn of_chunk(damage: annals_engine::chunk_store::ChunkDamage) -> Problem {
    let chunk = damage.id.map_or_else(|| "a chunk".to_owned(), |id| format!("chunk {id}"));
    Problem { what: damage.what, place: damage.place, affects: chunk }
}

fn of_store(error: &ChunkStoreError) -> Problem {
    Problem { what: error.to_string(), place: STORE.into(), affects: "contents".into() }
}

/// Where it is that packs cannot be opened.
const STORE: &str = "the chunk store";

/// What to do about what was found.
fn hint_on(problems: &[Problem]) -> String {
    let first = "keep a copy of everything before you change anything";
    let then = match () {
        () if problems.iter().any(|problem| problem.place == STORE) => CHUNKS_HINT,
        () if problems.iter().all(|problem| problem.what == MISSING) => {
            "what is missing comes back where a device still has it, once somebody asks for it and that device syncs; what no device has is lost, and stands in nobody's way"
        }
        () => return first.to_owned(),
    };
    format!("{first}; {then}")
}

fn show(mut report: Report, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    report.ok = report.problems.is_empty();
    if talk.output.json {
        talk.json(&report)?;
    } else {
        for problem in &report.problems {
            talk.line(&problem.what)?;
            talk.line(format_args!("  where: {}", problem.place))?;
            talk.line(format_args!("  affects: {}", problem.affects))?;
        }
        for TornTail { place, bytes } in &report.torn {
            talk.line(format_args!("torn: {bytes} bytes that were never acknowledged"))?;
            talk.line(format_args!("  where: {place}"))?;
            talk.line("  affects: nothing; they are moved aside when this is next opened for work")?;
        }
        let verdict = if report.ok { "whole" } else { "DAMAGED" };
        let events = many(report.seq, "event");
        let read = match (report.problems.len(), report.chain.get(..16)) {
            (0, Some(chain)) => format!("{events}, chain {chain}"),
            (0, None) => events,
            (problems, _) => format!("{}; {events} could be checked", many(problems as u64, "problem")),
        };
        talk.line(format_args!("{verdict}: {read}"))?;
    }
    if report.ok {
        return Ok(Exit::Done);
    }
    talk.remark("error: verification failed")?;
    talk.remark(format_args!("hint: {}", hint_on(&report.problems)))?;
    Ok(Exit::Verification)
}
