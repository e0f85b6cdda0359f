//! From `proxy.yaml` to the [`Plan`] the program runs on.
//!
//! A file is parsed into a tree that remembers where everything was written (`tree`), read into types that mirror it
//! (`file`, by `read`), and compiled (`compile`): parsed, not validated. Whatever is wrong at any of these steps is
//! told in one pass (`diagnostics`).

mod compile;
mod diagnostics;
mod file;
mod interpolation;
mod machine;
mod mask;
mod plan;
mod read;
mod scalars;
#[cfg(test)]
mod tests;
mod tree;

pub use diagnostics::Diagnostics;
pub use plan::*;

use diagnostics::Problems;
use read::Read;
use std::path::Path;

/// Compiles the file at `path`, with variables from the environment.
///
/// # Errors
///
/// Everything that is wrong with the file, or that it cannot be read.
pub fn load(path: &Path) -> Result<Plan, Diagnostics> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Diagnostics::unreadable(&name, &error))?;
    compile_text(&name, &text, &|variable| std::env::var(variable).ok())
}

/// Compiles the text of a configuration file.
///
/// `name` is what errors call it; relative paths in it start in its directory. `env` gives the values of
/// environment variables.
///
/// # Errors
///
/// Everything that is wrong with the text.
pub fn compile_text(
    name: &str,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Plan, Diagnostics> {
    let mut problems = Problems::default();
    let root = tree::parse(text, env, &mut problems);
    let plan = root.as_deref().and_then(|root| {
        let file = file::File::read(root, &mut problems)?;
        let directory = Path::new(name).parent().unwrap_or(Path::new(""));
        compile::compile(&file, directory, &mut problems)
    });
    match plan {
        Some(plan) if problems.is_empty() => Ok(plan),
        _ => Err(Diagnostics::new(name, mask::mask(text, root.as_deref()), problems)),
    }
}

/// The JSON Schema of the configuration file, for editors.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(file::File).to_value()
}
