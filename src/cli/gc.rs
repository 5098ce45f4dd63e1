//! `annals gc`: a server forgets what its namespaces' retention says may go, and collects what nothing needs any more.
//!
//! On a server that runs it is asked to; on one that is stopped this process is the server for as long as it takes, on
//! a port of loopback that nobody is told.

use super::{
    arguments::Gc,
    failure::{Exit, Failure},
    moment, place,
    size::{human, many},
    talk::Talk,
};
use crate::{
    actors::{
        Node,
        collecting::{Collected, GRACE_MS, collect},
        forgetting::Forgotten,
        upkeep,
    },
    server::{Config, ServeError, data::FORMAT_FILE, serve},
};
use annals_engine::{protocol::Problem, transport::TransportError};
use std::{path::Path, sync::Arc};

pub(super) fn run(gc: &Gc, typed: &[String], directory: &Path, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let place = place::absolute(&gc.data, directory);
    if !place.join(FORMAT_FILE).is_file() {
        return Err(Failure::usage(format!("{} holds no server's data", place.display()))
            .hint("name the DIR that `annals serve --data DIR` or `annals up --data DIR` was given"));
    }
    let serving = match serve(Config::new(&place)) {
        Err(ServeError::Locked { .. }) => {
            return super::ask_daemon(&place, typed, directory, talk).unwrap_or_else(|| {
                Err(Failure::failed(format!("a server has {} open and does not answer", place.display()))
                    .hint("stop the server, then collect"))
            });
        }
        serving => serving?,
    };
    let done = run_on_server(gc, serving.node(), talk);
    serving.stop()?;
    done
}

/// In the process of the server.
pub(super) fn run_on_server(gc: &Gc, node: &Arc<Node>, talk: &mut Talk<'_>) -> Result<Exit, Failure> {
    let grace = match gc.grace.as_deref().map(moment::span).transpose()? {
        None => GRACE_MS,
        Some(Some(grace)) => grace,
        Some(None) => return Err(Failure::usage("a grace period has an end").hint("write 24h, or 0s")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(error.to_string()))?;
    let done = runtime.block_on(async {
        let forgotten = upkeep::forget(node, gc.dry_run).await?;
        Ok((forgotten, collect(node, grace, gc.dry_run).await?))
    });
    let (forgotten, collected) =
        done.map_err(|problem: Problem| Failure::from(TransportError::Refused(problem)))?;
    say(gc.dry_run, &forgotten, &collected, talk)
}

/// What stands between a retention that was just lowered and this.
const WAITS: &str = "what is older than its folder's retention goes once every device of the folder has said that it knows it to be replaced or removed: each says so once a day, when it syncs";

fn say(
    dry_run: bool,
    forgotten: &Forgotten,
    collected: &Collected,
    talk: &mut Talk<'_>,
) -> Result<Exit, Failure> {
    let Collected { freed, waiting, sent, packs } = collected;
    if talk.output.json {
        talk.json(&serde_json::json!({
            "dry_run": dry_run,
            "versions_expired": forgotten.versions,
            "entries_purged": forgotten.entries,
            "devices_retired": forgotten.devices.len(),
            "waiting_versions": forgotten.waiting.0,
            "waiting_entries": forgotten.waiting.1,
            "waits_for": forgotten.waits_for,
            "chunks": freed.chunks,
            "bytes": freed.stored_bytes,
            "waiting_chunks": waiting.chunks,
            "waiting_bytes": waiting.stored_bytes,
            "sent_chunks": sent.chunks,
            "sent_bytes": sent.stored_bytes,
            "packs_before": packs.packs_before,
            "packs_after": packs.packs_after,
            "pack_bytes_before": packs.bytes_before,
            "pack_bytes_after": packs.bytes_after,
        }))?;
        return Ok(Exit::Done);
    }
    let would = if dry_run { "would be " } else { "" };
    talk.line(format_args!(
        "{would}forgotten: {}, {} of the trash",
        many(forgotten.versions, "version"),
        many(forgotten.entries, "line")
    ))?;
    if forgotten.waiting != (0, 0) {
        let devices: Vec<&str> = forgotten.waits_for.iter().map(String::as_str).collect();
        talk.line(format_args!(
            "old enough, but not known to every device: {}, {} of the trash; waited for: {}",
            many(forgotten.waiting.0, "version"),
            many(forgotten.waiting.1, "line"),
            devices.join(", ")
        ))?;
    }
    if forgotten.waiting != (0, 0) || *forgotten == Forgotten::default() {
        talk.remark(WAITS)?;
    }
    talk.line(format_args!(
        "{would}collected: {}, {}",
        many(freed.chunks, "chunk"),
        human(freed.stored_bytes)
    ))?;
    if waiting.chunks > 0 {
        talk.line(format_args!(
            "not needed, and within the grace period: {}, {}",
            many(waiting.chunks, "chunk"),
            human(waiting.stored_bytes)
        ))?;
    }
    if sent.chunks > 0 {
        talk.line(format_args!(
            "in no version, but sent lately: {}, {}; they are kept for an hour, for an upload that may go on",
            many(sent.chunks, "chunk"),
            human(sent.stored_bytes)
        ))?;
    }
    if !dry_run {
        talk.line(format_args!(
            "packs: {} with {}, before {} with {}",
            packs.packs_after,
            human(packs.bytes_after),
            packs.packs_before,
            human(packs.bytes_before)
        ))?;
    }
    Ok(Exit::Done)
}
