//! What `kai serve`, `kai keys` and `kai tenants` do.

use std::io::Write;
use std::path::Path;

use kai::access_key::{AccessKey, random_id};
use kai::error::Error;
use kai::service::{self, Options, Ready};
use kai::store::{DEFAULT_TENANT, KeyAdded, SqliteStore, StoreError};
use kai_host::Connector;
use serde::Serialize;

use crate::arguments::{Keys, Serve, Tenants};
use crate::commands::{Environment, json, print};
use crate::messages;

/// Serves until `stop` comes to its end.
pub(crate) async fn serve(
    connector: Connector,
    arguments: &Serve,
    environment: &Environment,
    stop: impl Future<Output = ()>,
) -> Result<u8, Error> {
    let data = &arguments.data;
    // A key is made only where it is the first that the store needs: tokens that another one sealed would be lost.
    let key = if service::has_sealed_tokens(data)? {
        environment.key.read(data)?
    } else {
        environment.key.read_or_make(data)?
    };
    let options = Options {
        data: data.clone(),
        listen: arguments.listen,
        tls: arguments.tls_cert.clone().zip(arguments.tls_key.clone()),
    };
    service::serve(&options, connector, key, |ready| say(&ready), stop).await?;
    messages::note("kai: stopped; runs that were under way go on with the next start");
    Ok(0)
}

/// To stderr, so that a key does not end up in what stdout is piped to.
pub(crate) fn say(ready: &Ready) {
    let scheme = if ready.tls { "https" } else { "http" };
    messages::always(format!("the service is at {scheme}://{}/", ready.address));
    if let Some(key) = &ready.first_key {
        messages::always(format!(
            "sign in there with this key of the administration, which is not shown again: {}",
            key.expose()
        ));
    }
    if !ready.tls && !ready.address.ip().is_loopback() {
        messages::always(
            "it speaks plain HTTP to other machines: give --tls-cert and --tls-key, or put a proxy with TLS in front",
        );
    }
}

#[derive(Serialize)]
struct JsonKey<'a> {
    id: &'a str,
    name: &'a str,
    tenant_id: Option<&'a str>,
    created_at: &'a str,
}

pub(crate) fn keys(command: &Keys, out: &mut impl Write) -> Result<u8, Error> {
    match command {
        Keys::Add { name, tenant, data } => {
            let random = |error| Error::Usage(format!("the system gives no random bytes: {error}"));
            let (key, id) = (AccessKey::generate().map_err(random)?, random_id().map_err(random)?);
            let mut store = SqliteStore::open_beside_writer(data)?;
            match store.add_key(&id, name, tenant.as_deref(), key.digest())? {
                KeyAdded::Added => print(out, key.expose()),
                KeyAdded::NoTenant => return Err(no_tenant(&store, tenant.as_deref().unwrap_or_default())),
            }
            let whose =
                tenant.as_deref().map_or("the administration".to_owned(), |id| format!("tenant {id}"));
            messages::always(format!("key {id} of {whose}; it is not shown again"));
        }
        Keys::List { data, json: as_json } => {
            for key in existing(data)?.keys(None)? {
                let tenant = key.tenant_id.as_deref();
                let line = if *as_json {
                    let (id, name, created_at) = (&key.id, &key.name, &key.created_at);
                    json(&JsonKey { id, name, tenant_id: tenant, created_at })
                } else {
                    [&key.id, tenant.unwrap_or("(administration)"), &key.created_at, &key.name].join("\t")
                };
                print(out, &line);
            }
        }
        Keys::Revoke { id, data } => {
            existing(data)?;
            if !SqliteStore::open_beside_writer(data)?.remove_key(id)? {
                return Err(Error::Usage(format!(
                    "there is no key {id} in {}; `kai keys list` shows them",
                    data.display()
                )));
            }
            print(out, &format!("revoked key {id}"));
        }
    }
    Ok(0)
}

pub(crate) fn tenants(command: &Tenants, out: &mut impl Write) -> Result<u8, Error> {
    match command {
        Tenants::Add { id, name, data } => {
            let mut store = SqliteStore::open_beside_writer(data)?;
            let name = name.as_deref().unwrap_or(id);
            match store.add_tenant(id, name)? {
                Some(tenant) => print(out, &format!("added tenant {}", tenant.id)),
                None => {
                    return Err(Error::Usage(format!(
                        "tenant {id} cannot be added: there is one already, or the id is not 1 to 40 lower-case letters, digits and hyphens"
                    )));
                }
            }
        }
        Tenants::List { data } => {
            for tenant in existing(data)?.tenants()? {
                print(out, &[tenant.id, tenant.created_at, tenant.name].join("\t"));
            }
        }
        Tenants::Remove { id, data } => {
            existing(data)?;
            let mut store = SqliteStore::open_beside_writer(data)?;
            if id == DEFAULT_TENANT {
                return Err(Error::Usage(
                    "the default tenant stays: it has what is registered here".to_owned(),
                ));
            }
            if !store.source_ids(Some(id))?.is_empty() {
                return Err(Error::Usage(format!("tenant {id} has sources: remove them first")));
            }
            if !store.remove_tenant(id)? {
                return Err(no_tenant(&store, id));
            }
            print(out, &format!("removed tenant {id} with its keys"));
        }
    }
    Ok(0)
}

/// The store, where there is one: none is made only to look into it.
fn existing(data: &Path) -> Result<SqliteStore, Error> {
    match SqliteStore::open_for_reading(data) {
        // A writer brings it along.
        Err(StoreError::Older { .. }) => Ok(SqliteStore::open_beside_writer(data)?),
        opened => Ok(opened?),
    }
}

fn no_tenant(store: &SqliteStore, id: &str) -> Error {
    match store.tenants() {
        Ok(tenants) => {
            let known: Vec<_> = tenants.into_iter().map(|tenant| tenant.id).collect();
            Error::Usage(format!(
                "there is no tenant {id}; there are: {}; `kai tenants add` makes one",
                known.join(", ")
            ))
        }
        Err(error) => error.into(),
    }
}
