//! `taxiway credits`: balance, limits and today's use, from the API.

use serde_json::json;

use super::{CommandError, Global, load, output};
use crate::config::{Config, find_key};
use crate::runway::{CallError, Client, Organization};

/// Shows them.
pub async fn run(global: &Global) -> Result<(), CommandError> {
    let config = load(global)?;
    let organization = organization(&config).await?;
    if global.json {
        let models: serde_json::Map<String, serde_json::Value> = organization
            .models
            .iter()
            .map(|(name, limits)| {
                let value = json!({
                    "max_concurrent": limits.max_concurrent,
                    "max_daily": limits.max_daily,
                    "used_today": limits.used_today,
                });
                (name.clone(), value)
            })
            .collect();
        return output::line(
            &json!({
                "credit_balance": organization.credit_balance,
                "max_monthly_credit_spend": organization.max_monthly_credit_spend,
                "models": models,
            })
            .to_string(),
        );
    }
    let mut text = format!("Balance: {} credits\n", organization.credit_balance);
    if let Some(most) = organization.max_monthly_credit_spend {
        text.push_str(&format!(
            "The tier lets {most} credits be bought in a month.\n"
        ));
    }
    if !organization.models.is_empty() {
        let figure = |figure: Option<u32>| {
            figure.map_or_else(|| "no limit".to_owned(), |figure| figure.to_string())
        };
        let mut rows = vec![
            ["MODEL", "AT ONCE", "A DAY", "TODAY"]
                .map(str::to_owned)
                .to_vec(),
        ];
        rows.extend(organization.models.iter().map(|(name, limits)| {
            vec![
                name.clone(),
                figure(limits.max_concurrent),
                figure(limits.max_daily),
                limits
                    .used_today
                    .map_or_else(|| "0".to_owned(), |used| used.to_string()),
            ]
        }));
        text.push('\n');
        text.push_str(&output::table(&rows));
    }
    output::text(&text)
}

/// Asks the API with the configured key.
pub async fn organization(config: &Config) -> Result<Organization, CommandError> {
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
