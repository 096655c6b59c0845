//! The description of the API for people: one page, made from the same description that programs read.

use maud::{Markup, html};
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr, Required};

use crate::service::problem::Kind;

pub(super) fn content(api: &OpenApi) -> Markup {
    html! {
        div class="reading" {
            h1 { "API of kai " (api.info.version) }
            @if let Some(text) = &api.info.description { p { (text) } }
            p {
                "Requests carry a key: " code { "Authorization: Bearer kai_..." } ". For programs: "
                a href="/openapi.json" { "openapi.json" } "."
            }
            h2 { "Requests" }
            @for (path, item) in &api.paths.paths {
                @for (method, operation) in operations(item) {
                    (describe(method, path, operation))
                }
            }
            h2 { "Kinds of problems" }
            dl {
                @for kind in Kind::ALL {
                    dt id=(kind.name()) { code { (kind.name()) } " · " (kind.title()) }
                    dd { (kind.remedy()) }
                }
            }
        }
    }
}

fn operations(item: &PathItem) -> Vec<(&'static str, &Operation)> {
    let all = [("GET", &item.get), ("POST", &item.post), ("PATCH", &item.patch), ("DELETE", &item.delete)];
    all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?))).collect()
}

fn describe(method: &str, path: &str, operation: &Operation) -> Markup {
    html! {
        section class="operation" {
            h3 { code { (method) " " (path) } }
            @if let Some(text) = &operation.summary { p { (text) } }
            @if let Some(text) = &operation.description { p { (text) } }
            @if let Some(parameters) = operation.parameters.as_ref().filter(|parameters| !parameters.is_empty()) {
                ul {
                    @for parameter in parameters {
                        @if let RefOr::T(parameter) = parameter {
                            li {
                                code { (parameter.name) }
                                @if matches!(parameter.parameter_in, ParameterIn::Query) { " (query)" }
                                @if matches!(parameter.parameter_in, ParameterIn::Header) { " (header)" }
                                @if matches!(parameter.required, Required::True) { ", required" }
                                @if let Some(text) = &parameter.description { ": " (text) }
                            }
                        }
                    }
                }
            }
            p class="quiet" {
                "Answers: "
                @for (status, response) in &operation.responses.responses {
                    @if let RefOr::T(response) = response {
                        @if !matches!(status.as_str(), "400" | "401" | "default") { code { (status) } " " (response.description) " " }
                    }
                }
            }
        }
    }
}
