//! `millstream keys`: the keys of a server's data folder, beside the server or without it.

use std::fmt::Write;

use crate::auth::Scopes;
use crate::auth::keys::{check_name, create};
use crate::cli::{Keys, KeysCommand};
use crate::config::Config;
use crate::exit::Failure;
use crate::store::Store;
use crate::terminal;

pub(super) async fn keys(arguments: &Keys) -> Result<(), Failure> {
    let input = |error: engine::Error| Failure::input(&error);
    let config = Config::read(&arguments.flags()).map_err(input)?;
    let making = matches!(arguments.command, KeysCommand::Create { .. });
    if making {
        std::fs::create_dir_all(&config.data).map_err(|error| {
            let message = format!("the data folder '{}' cannot be made", config.data.display());
            Failure::input(&engine::Error::invalid(message).caused_by(error))
        })?;
    } else if !config.data.join(crate::store::FILE).exists() {
        return Err(Failure::usage(&format!(
            "there is no store in '{}': name the server's data folder with --data",
            config.data.display()
        )));
    }
    let store = Store::open(&config.data).await.map_err(input)?;
    let failed = |error: engine::Error| Failure::run(&error);
    let outcome = match &arguments.command {
        KeysCommand::Create { name, scopes } => {
            check_name(name).map_err(input)?;
            let (record, secret) = create(&store, name, &Scopes::new(scopes))
                .await
                .map_err(failed)?;
            terminal::say(&format!(
                "key '{}' ({}), id {}; it is not shown again:",
                record.name, record.scopes, record.id
            ));
            terminal::print(&format!("{}\n", secret.reveal()))
        }
        KeysCommand::List => list(&store).await,
        KeysCommand::Revoke { id } => match store.revoke_key(id).await.map_err(failed)? {
            true => {
                terminal::say("revoked; a running server refuses it within seconds");
                Ok(())
            }
            false => Err(Failure::usage(&format!(
                "there is no key '{id}': `millstream keys list` tells their ids"
            ))),
        },
    };
    store.close().await;
    outcome
}

async fn list(store: &Store) -> Result<(), Failure> {
    let keys = store.keys().await.map_err(|error| Failure::run(&error))?;
    let mut lines = format!(
        "{:36}  {:16}  {:24}  {:24}  name\n",
        "id", "scopes", "created", "used"
    );
    for key in keys {
        let used = key.used_at.as_deref().unwrap_or("-");
        let revoked = match &key.revoked_at {
            Some(at) => format!(" (revoked {at})"),
            None => String::new(),
        };
        let _ = writeln!(
            lines,
            "{:36}  {:16}  {:24}  {used:24}  {}{revoked}",
            key.id, key.scopes, key.created_at, key.name
        );
    }
    terminal::print(&lines)
}
