//! The `annals` program: everything is in the library.

/// Chunks are made on some threads and let go of on others, which the system's own allocator answers with memory that it
/// keeps: half of the peak of a first sync, measured.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    annals::cli::main()
}
