//! Tenants and keys, for the administration.

use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::layout::{self, Field, Section, time};
use super::with_status;
use crate::service::Service;
use crate::service::access::Access;
use crate::service::api::keys::{self, Key, MadeKey, NewKey, NewTenant, Tenant};
use crate::service::extract::{Form, Path, Query};
use crate::service::problem::Problem;
use crate::store::DEFAULT_TENANT;

#[derive(Default, Deserialize)]
pub(super) struct KeysQuery {
    #[serde(default)]
    done: String,
}

/// What came of a form of the page.
enum Outcome {
    Nothing,
    Done(&'static str),
    Made(MadeKey),
    Refused(Problem),
    NoKey(Problem, KeyForm),
    NoTenant(Problem, TenantForm),
}

pub(super) async fn list(
    State(service): State<Service>,
    access: Access,
    Query(query): Query<KeysQuery>,
) -> Result<Markup, Problem> {
    let outcome = match query.done.as_str() {
        "revoked" => Outcome::Done("The key lets in no longer, and the sessions that it began are over."),
        "tenant-made" => Outcome::Done("The tenant is there. Make a key for it."),
        "tenant-removed" => Outcome::Done("The tenant is gone, with its keys."),
        _ => Outcome::Nothing,
    };
    page(&service, &access, &outcome).await
}

async fn page(service: &Service, access: &Access, outcome: &Outcome) -> Result<Markup, Problem> {
    let tenants = keys::all_tenants(service, access).await?;
    let all = keys::all_keys(service, access, None).await?;
    let content = html! {
        h1 { "Keys" }
        p class="lead" {
            "A key lets in one tenant, to its own sources and documents, or the administration, to all of them. Kept is only \
             what recognises it."
        }
        @match outcome {
            Outcome::Done(text) => { p class="notice good" role="status" { (text) } }
            Outcome::Refused(problem) => { (layout::notice(problem)) }
            Outcome::Made(made) => { (made_key(made)) }
            _ => {}
        }
        section aria-labelledby="keys" {
            h2 id="keys" { "Keys" }
            (key_table(&all, &access.key.id))
            (key_form(&tenants, outcome))
        }
        section aria-labelledby="tenants" {
            h2 id="tenants" { "Tenants" }
            p class="quiet" { "What one tenant has, another neither sees nor learns of." }
            (tenant_table(&tenants))
            (tenant_form(outcome))
        }
    };
    Ok(layout::page(Some(access), Section::Keys, "Keys", content))
}

fn made_key(made: &MadeKey) -> Markup {
    html! {
        div class="notice good" role="status" {
            p { strong { "The key “" (made.name) "” is made." } " Copy it now: it is not shown again." }
            div class="copy" {
                code id="made-key" tabindex="0" { (made.key) }
                button type="button" data-copy="made-key" hidden { "Copy" }
            }
        }
    }
}

fn key_table(all: &[Key], own: &str) -> Markup {
    html! {
        div class="wide" tabindex="0" role="group" aria-label="Keys" {
            table {
                thead { tr {
                    th scope="col" { "Name" }
                    th scope="col" { "Lets in" }
                    th scope="col" { "Made" }
                    th scope="col" { "Id" }
                    th scope="col" { span class="unseen" { "Revoke" } }
                } }
                tbody {
                    @for key in all {
                        tr {
                            td class="text" { (key.name) }
                            td { @match &key.tenant_id { Some(id) => { "tenant " (id) }, None => { "the administration" } } }
                            td { (time(&key.created_at)) }
                            td { code { (key.id) } }
                            td class="number" {
                                @if key.id == own { span class="quiet" { "yours" } }
                                @else {
                                    details class="confirm" {
                                        summary aria-label={ "Revoke " (key.name) } { "Revoke" }
                                        form method="post" action={ "/keys/" (key.id) "/revoke" } {
                                            button class="danger" { "Revoke for good" }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn key_form(tenants: &[Tenant], outcome: &Outcome) -> Markup {
    let (problem, typed) = match outcome {
        Outcome::NoKey(problem, form) => (Some(problem), Some(form)),
        _ => (None, None),
    };
    let chosen = typed.map_or(DEFAULT_TENANT, |form| &form.tenant_id);
    html! {
        form method="post" action="/keys" class="panel row" {
            (Field {
                name: "name", label: "Name of the new key", required: true, problem,
                value: typed.map_or("", |form| &form.name), ..Field::default()
            })
            div class="field" {
                label for="tenant_id" { "Lets in" }
                select id="tenant_id" name="tenant_id" {
                    @for tenant in tenants {
                        option value=(tenant.id) selected[tenant.id == chosen] { "tenant " (tenant.name) }
                    }
                    option value="" selected[chosen.is_empty()] { "the administration" }
                }
            }
            button { "Make a key" }
        }
    }
}

fn tenant_table(tenants: &[Tenant]) -> Markup {
    html! {
        div class="wide" tabindex="0" role="group" aria-label="Tenants" {
            table {
                thead { tr {
                    th scope="col" { "Name" }
                    th scope="col" { "Id" }
                    th scope="col" { "Made" }
                    th scope="col" { span class="unseen" { "Remove" } }
                } }
                tbody {
                    @for tenant in tenants {
                        tr {
                            td class="text" { a href={ "/?tenant_id=" (tenant.id) } { (tenant.name) } }
                            td { code { (tenant.id) } }
                            td { (time(&tenant.created_at)) }
                            td class="number" {
                                @if tenant.id == DEFAULT_TENANT { span class="quiet" { "stays" } }
                                @else {
                                    details class="confirm" {
                                        summary aria-label={ "Remove " (tenant.name) } { "Remove" }
                                        form method="post" action={ "/tenants/" (tenant.id) "/remove" } {
                                            button class="danger" { "Remove with its keys" }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn tenant_form(outcome: &Outcome) -> Markup {
    let (problem, typed) = match outcome {
        Outcome::NoTenant(problem, form) => (Some(problem), Some(form)),
        _ => (None, None),
    };
    let of_id = problem.filter(|problem| !problem.detail.starts_with("name"));
    let of_name = problem.filter(|problem| problem.detail.starts_with("name"));
    html! {
        form method="post" action="/tenants" class="panel row" {
            (Field {
                name: "new_tenant_id", label: "Id of the new tenant", required: true, placeholder: "acme", problem: of_id,
                value: typed.map_or("", |form| &form.new_tenant_id), ..Field::default()
            })
            (Field {
                name: "tenant_name", label: "Name of it", required: true, placeholder: "Acme Inc.", problem: of_name,
                value: typed.map_or("", |form| &form.tenant_name), ..Field::default()
            })
            button { "Make a tenant" }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct KeyForm {
    #[serde(default)]
    name: String,
    #[serde(default)]
    tenant_id: String,
}

#[derive(Deserialize)]
pub(super) struct TenantForm {
    #[serde(default)]
    new_tenant_id: String,
    #[serde(default)]
    tenant_name: String,
}

/// The key is in this answer and in no other, so no redirect follows.
pub(super) async fn make(
    State(service): State<Service>,
    access: Access,
    Form(form): Form<KeyForm>,
) -> Result<Response, Problem> {
    let tenant_id = Some(form.tenant_id.clone()).filter(|id| !id.is_empty());
    let new = NewKey { name: form.name.clone(), tenant_id };
    match keys::make_key(&service, &access, new).await {
        Ok(made) => Ok(page(&service, &access, &Outcome::Made(made)).await?.into_response()),
        Err(problem) => refused(&service, &access, &problem, Outcome::NoKey(problem.clone(), form)).await,
    }
}

pub(super) async fn revoke(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let result = keys::revoke(&service, &access, &id).await;
    done(&service, &access, result, "revoked").await
}

pub(super) async fn make_tenant(
    State(service): State<Service>,
    access: Access,
    Form(form): Form<TenantForm>,
) -> Result<Response, Problem> {
    let new = NewTenant { id: form.new_tenant_id.trim().to_owned(), name: form.tenant_name.clone() };
    match keys::make_tenant(&service, &access, new).await {
        Ok(_) => Ok(Redirect::to("/keys?done=tenant-made").into_response()),
        Err(problem) => refused(&service, &access, &problem, Outcome::NoTenant(problem.clone(), form)).await,
    }
}

pub(super) async fn remove_tenant(
    State(service): State<Service>,
    access: Access,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let result = keys::drop_tenant(&service, &access, &id).await;
    done(&service, &access, result, "tenant-removed").await
}

async fn done(
    service: &Service,
    access: &Access,
    result: Result<(), Problem>,
    done: &str,
) -> Result<Response, Problem> {
    match result {
        Ok(()) => Ok(Redirect::to(&format!("/keys?done={done}")).into_response()),
        Err(problem) => refused(service, access, &problem, Outcome::Refused(problem.clone())).await,
    }
}

async fn refused(
    service: &Service,
    access: &Access,
    problem: &Problem,
    outcome: Outcome,
) -> Result<Response, Problem> {
    Ok(with_status(problem, page(service, access, &outcome).await?))
}
