//! Tenants, and the keys that let them in. For the administration.

use axum::extract::State;
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::access_key::{AccessKey, random_id};
use crate::service::Service;
use crate::service::access::Access;
use crate::service::extract::{Json, Path, Query};
use crate::service::problem::Problem;
use crate::store::{self, DEFAULT_TENANT, KeyAdded, StoredKey, is_tenant_id};

/// Longest name of a tenant or key, in characters.
const LONGEST_NAME: usize = 100;

/// Somebody whose sources nobody else sees.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tenant {
    pub(crate) id: String,
    pub(crate) name: String,
    /// RFC 3339, UTC.
    pub(crate) created_at: String,
}

impl From<store::Tenant> for Tenant {
    fn from(tenant: store::Tenant) -> Self {
        Self { id: tenant.id, name: tenant.name, created_at: tenant.created_at }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tenants {
    pub(crate) tenants: Vec<Tenant>,
}

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// Lower-case letters, digits and hyphens.
    #[schema(pattern = "^[a-z0-9-]{1,40}$")]
    pub(crate) id: String,
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
}

/// A key, without what opens.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Whose key it is; none: the administration's.
    pub(crate) tenant_id: Option<String>,
    /// RFC 3339, UTC.
    pub(crate) created_at: String,
}

impl From<StoredKey> for Key {
    fn from(key: StoredKey) -> Self {
        Self { id: key.id, name: key.name, tenant_id: key.tenant_id, created_at: key.created_at }
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Keys {
    pub(crate) keys: Vec<Key>,
}

/// A key to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// For people.
    #[schema(min_length = 1, max_length = 100)]
    pub(crate) name: String,
    /// Whose key it is; none: the administration's.
    #[serde(default)]
    pub(crate) tenant_id: Option<String>,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeKey {
    pub(crate) id: String,
    pub(crate) name: String,
    /// Whose key it is; none: the administration's.
    pub(crate) tenant_id: Option<String>,
    /// The key itself. It is not shown again.
    pub(crate) key: String,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeysQuery {
    /// Of this tenant.
    pub(crate) tenant_id: Option<String>,
}

fn name(given: &str) -> Result<String, Problem> {
    let name = given.trim();
    if name.is_empty() || name.chars().count() > LONGEST_NAME {
        return Err(Problem::invalid(format!("name: write 1 to {LONGEST_NAME} characters")));
    }
    Ok(name.to_owned())
}

pub(crate) async fn all_tenants(service: &Service, access: &Access) -> Result<Vec<Tenant>, Problem> {
    access.administration()?;
    let tenants = service.readers.read(None, |store| store.tenants()).await?;
    Ok(tenants.into_iter().map(Tenant::from).collect())
}

pub(crate) async fn make_tenant(
    service: &Service,
    access: &Access,
    new: NewTenant,
) -> Result<Tenant, Problem> {
    access.administration()?;
    if !is_tenant_id(&new.id) {
        return Err(Problem::invalid("id: write 1 to 40 lower-case letters, digits and hyphens"));
    }
    let (id, name) = (new.id, name(&new.name)?);
    let taken = Problem::conflict(format!("there is a tenant {id} already"));
    let added = service.store.with(move |store| store.add_tenant(&id, &name)).await?;
    added.map(Tenant::from).ok_or(taken)
}

/// With its keys.
pub(crate) async fn drop_tenant(service: &Service, access: &Access, id: &str) -> Result<(), Problem> {
    access.administration()?;
    if id == DEFAULT_TENANT {
        return Err(Problem::conflict(
            "the default tenant stays: the command line registers its sources there",
        ));
    }
    let id = id.to_owned();
    let removed = service.store.with(move |store| {
        let known = store.tenants()?.iter().any(|tenant| tenant.id == id);
        Ok::<_, store::StoreError>((known, store.remove_tenant(&id)?))
    });
    match removed.await? {
        (_, true) => Ok(()),
        (true, false) => Err(Problem::conflict("the tenant has sources: remove them first")),
        (false, false) => Err(Problem::not_found("tenant")),
    }
}

pub(crate) async fn all_keys(
    service: &Service,
    access: &Access,
    tenant_id: Option<String>,
) -> Result<Vec<Key>, Problem> {
    access.administration()?;
    let keys = service.readers.read(None, move |store| store.keys(tenant_id.as_deref())).await?;
    Ok(keys.into_iter().map(Key::from).collect())
}

pub(crate) async fn make_key(service: &Service, access: &Access, new: NewKey) -> Result<MadeKey, Problem> {
    access.administration()?;
    let key = AccessKey::generate().map_err(Problem::internal)?;
    let id = random_id().map_err(Problem::internal)?;
    let made = MadeKey {
        id: id.clone(),
        name: name(&new.name)?,
        tenant_id: new.tenant_id.clone(),
        key: key.expose().to_owned(),
    };
    let (name, digest) = (made.name.clone(), key.digest());
    let added =
        service.store.with(move |store| store.add_key(&id, &name, new.tenant_id.as_deref(), digest)).await?;
    match added {
        KeyAdded::Added => Ok(made),
        KeyAdded::NoTenant => Err(Problem::not_found("tenant")),
    }
}

pub(crate) async fn revoke(service: &Service, access: &Access, id: &str) -> Result<(), Problem> {
    access.administration()?;
    if access.key.id == id {
        return Err(Problem::conflict("a key does not revoke itself: revoke it with another one"));
    }
    let id = id.to_owned();
    match service.store.with(move |store| store.remove_key(&id)).await? {
        true => Ok(()),
        false => Err(Problem::not_found("key")),
    }
}

/// Lists the tenants
#[utoipa::path(get, path = "/tenants", tag = "keys",
    responses((status = 200, description = "The tenants.", body = Tenants)))]
pub(crate) async fn list_tenants(
    State(service): State<Service>,
    access: Access,
) -> Result<axum::Json<Tenants>, Problem> {
    Ok(axum::Json(Tenants { tenants: all_tenants(&service, &access).await? }))
}

/// Makes a tenant
#[utoipa::path(post, path = "/tenants", tag = "keys", request_body = NewTenant,
    responses((status = 201, description = "It is there.", body = Tenant)))]
pub(crate) async fn add_tenant(
    State(service): State<Service>,
    access: Access,
    Json(new): Json<NewTenant>,
) -> Result<(StatusCode, axum::Json<Tenant>), Problem> {
    Ok((StatusCode::CREATED, axum::Json(make_tenant(&service, &access, new).await?)))
}

/// Removes a tenant
///
/// With its keys. One that has sources stays: remove those first.
#[utoipa::path(delete, path = "/tenants/{tenant_id}", tag = "keys", params(("tenant_id" = String, Path)),
    responses(
        (status = 204, description = "It is gone."),
        (status = 409, description = "It has sources.", body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn remove_tenant(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    drop_tenant(&service, &access, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the keys
#[utoipa::path(get, path = "/keys", tag = "keys", params(KeysQuery),
    responses((status = 200, description = "The keys, without what opens.", body = Keys)))]
pub(crate) async fn list(
    State(service): State<Service>,
    access: Access,
    Query(query): Query<KeysQuery>,
) -> Result<axum::Json<Keys>, Problem> {
    Ok(axum::Json(Keys { keys: all_keys(&service, &access, query.tenant_id).await? }))
}

/// Makes a key
#[utoipa::path(post, path = "/keys", tag = "keys", request_body = NewKey,
    responses((status = 201, description = "The key. It is not shown again.", body = MadeKey)))]
pub(crate) async fn add(
    State(service): State<Service>,
    access: Access,
    Json(new): Json<NewKey>,
) -> Result<(StatusCode, axum::Json<MadeKey>), Problem> {
    Ok((StatusCode::CREATED, axum::Json(make_key(&service, &access, new).await?)))
}

/// Revokes a key
///
/// It lets in no longer, and neither do the sessions that it began.
#[utoipa::path(delete, path = "/keys/{key_id}", tag = "keys", params(("key_id" = String, Path)),
    responses((status = 204, description = "It lets in no longer.")))]
pub(crate) async fn remove(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    revoke(&service, &access, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
