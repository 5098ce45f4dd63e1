//! The `annals` program: everything is in the library.

#[global_allocator]
static MEMORY: annals_allocator::Allocator = annals_allocator::Allocator;

fn main() -> std::process::ExitCode {
    annals_allocator::give_back_soon();
    annals::cli::main()
}
