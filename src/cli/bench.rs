//! `annals bench`: measurements that anybody can repeat.

use super::{
    arguments::Bench,
    failure::{Exit, Failure},
};

#[cfg(feature = "bench")]
pub(super) fn run(bench: &Bench) -> Result<Exit, Failure> {
    use annals_benches::{append, content, delta, files, idle, latency, replay};
    let own = || std::env::current_exe().map_err(|error| Failure::failed(error.to_string()));
    match bench {
        Bench::Append(size) => append::run(size.entries),
        Bench::Replay(size) => replay::run(size.entries),
        Bench::Content(size) => content::run(size.entries),
        Bench::Latency { saves, files, tree } => latency::run(&own()?, *saves, *files, tree.as_deref()),
        Bench::Idle { files, tree } => idle::run(&own()?, *files, tree.as_deref()),
        Bench::Delta(size) => delta::run(&own()?, size.entries),
        Bench::Files(size) => files::run(&own()?, size.entries),
        Bench::Measure { role, path } => replay::measure(role, path),
    }
    Ok(Exit::Done)
}

#[cfg(not(feature = "bench"))]
pub(super) fn run(_: &Bench) -> Result<Exit, Failure> {
    Err(Failure::usage("this build has no measurements")
        .hint("build one that has: cargo run --release --features bench -- bench …"))
}
