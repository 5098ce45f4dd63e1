//! The `annals` program: everything is in the library.

fn main() -> std::process::ExitCode {
    annals::cli::main()
}
