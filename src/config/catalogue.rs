//! The catalogue that the configuration chooses.

use super::load::Config;
use crate::catalogue::Catalogue;
use crate::diagnostic::Diagnostic;

/// Loads the catalogue of a configuration.
///
/// # Errors
/// The file that it names cannot be read, or is not a catalogue.
pub fn load_catalogue(config: &Config) -> Result<Catalogue, Diagnostic> {
    let Some(path) = &config.runway.catalogue else {
        return Catalogue::built_in();
    };
    std::fs::read_to_string(path)
        .map_err(|error| {
            Diagnostic::new(
                format!("the catalogue cannot be read: {error}"),
                "check that the file is there, or take `runway.catalogue` out of the configuration",
            )
        })
        .and_then(|text| Catalogue::from_json(&text))
        .map_err(|problem| problem.in_source(path.display().to_string()))
}
