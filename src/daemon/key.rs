//! The API key while the daemon runs: where it comes from, whose account it is, and that a corrected one is found.

use std::sync::Arc;

use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::error::StartError;
use super::shared::Shared;
use crate::config::{ApiKey, Config, KeyError, find_key};
use crate::engine::Engine;
use crate::policy::retry::Trouble;
use crate::runway::{Client, ClientError};

/// The client for a key, with a name for its account that does not hold the key.
fn client(config: &Config, key: &ApiKey) -> Result<(Client, String), ClientError> {
    let client = Client::new(
        config.runway.base_url.clone(),
        &config.runway.api_version,
        key.secret.clone(),
    )?;
    let mut hash = Sha256::new();
    hash.update(b"taxiway uploads\0");
    hash.update(config.runway.base_url.as_str());
    hash.update(b"\0");
    hash.update(key.secret.expose_secret());
    let account = hash
        .finalize()
        .iter()
        .take(6)
        .fold(String::new(), |mut text, byte| {
            text.push_str(&format!("{byte:02x}"));
            text
        });
    Ok((client, account))
}

/// Uses a key, or says why nothing is submitted without one.
pub(super) fn set(
    engine: &Engine,
    config: &Config,
    key: Result<ApiKey, KeyError>,
) -> Result<(), StartError> {
    match key {
        Ok(key) => engine.account.set_client(Ok(client(config, &key)?)),
        Err(error) => {
            tracing::error!("{error}\n  Nothing is lost: all work waits");
            engine
                .account
                .set_client(Err(format!("for an API key: {error}")));
        }
    }
    Ok(())
}

/// Looks for another key while the one there is stands in the way, so that a corrected key file is enough: no restart, and
/// nobody has to remember a reload.
pub(super) async fn watch(shared: Arc<Shared>) {
    let engine = shared.hub.engine.clone();
    while engine
        .pause(engine.settings.choose_pause(Trouble::BadKey, 1, None))
        .await
    {
        if !engine.account.gates().wait_for_key() {
            continue;
        }
        let config = shared.config().clone();
        // The file may lie on a share that hangs.
        let looking = tokio::task::spawn_blocking(move || (find_key(&config), config));
        let Ok((Ok(found), config)) = looking.await else {
            continue;
        };
        match client(&config, &found) {
            Ok((client, account)) if account != engine.account.name() => {
                tracing::info!("there is another API key: submitting goes on with it");
                engine.account.set_client(Ok((client, account)));
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the key is of no use"),
        }
    }
}
