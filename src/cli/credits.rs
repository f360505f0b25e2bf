//! `taxiway credits`: balance, limits and today's use, from the API.

use tracing_subscriber::filter::LevelFilter;

use super::args::Global;
use super::error::CommandError;
use super::output;
use crate::config::{Config, find_key};
use crate::runway::{CallError, Client, Organization};

/// Show the balance, the tier's limits and today's use, from the API
#[derive(Debug, clap::Args)]
pub(super) struct Credits {}

impl Credits {
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        global.log(LevelFilter::WARN);
        let organization = ask_organization(&global.load()?).await?;
        match global.json {
            true => output::json_lines(&[organization]),
            false => output::text(&describe(&organization)),
        }
    }
}

fn describe(organization: &Organization) -> String {
    let mut text = format!("Balance: {} credits\n", organization.credit_balance);
    if let Some(most) = organization.max_monthly_credit_spend {
        text.push_str(&format!(
            "The tier lets {most} credits be bought in a month.\n"
        ));
    }
    if organization.models.is_empty() {
        return text;
    }
    let limit =
        |limit: Option<u32>| limit.map_or_else(|| "no limit".to_owned(), |limit| limit.to_string());
    let mut rows = vec![output::row(["MODEL", "AT ONCE", "A DAY", "TODAY"])];
    rows.extend(organization.models.iter().map(|(name, limits)| {
        vec![
            name.clone(),
            limit(limits.max_concurrent),
            limit(limits.max_daily),
            limits.used_today.unwrap_or_default().to_string(),
        ]
    }));
    text.push('\n');
    text.push_str(&output::table(&rows));
    text
}

/// Asks the API with the configured key.
pub(super) async fn ask_organization(config: &Config) -> Result<Organization, CommandError> {
    let key = find_key(config).map_err(|error| CommandError::KeyRefused(error.to_string()))?;
    let client = Client::new(
        config.runway.base_url.clone(),
        &config.runway.api_version,
        key.secret,
    )
    .map_err(|error| CommandError::Invalid(error.to_string()))?;
    client.organization().await.map_err(|error| match &error {
        CallError::BadKey { .. } => CommandError::KeyRefused(error.to_string()),
        CallError::Transient { .. }
        | CallError::NotFound { .. }
        | CallError::Refused { .. }
        | CallError::Garbage { .. } => CommandError::Failed(error.to_string()),
    })
}
