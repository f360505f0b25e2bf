//! `taxiway models`: what the catalogue knows, for people who write sidecars.

use serde::Serialize;
use serde_json::{Value, json};

use super::args::Global;
use super::error::CommandError;
use super::output;
use crate::catalogue::{
    Catalogue, Endpoint, Field, Model, Price, Rule, SecondsFrom, Shape, Unit, nearest,
};

/// List endpoints and models with their prices, or the fields of one
#[derive(Debug, clap::Args)]
pub(super) struct Models {
    /// An endpoint or a model: shows its fields and their values
    name: Option<String>,
}

impl Models {
    pub(super) async fn run(self, global: &Global) -> Result<(), CommandError> {
        let catalogue = global.load_catalogue()?;
        let found = find(&catalogue, self.name.as_deref())?;
        if global.json {
            let lines: Vec<Entry<'_>> = found
                .iter()
                .map(|(endpoint, model)| Entry::of(endpoint, model))
                .collect();
            return output::json_lines(&lines);
        }
        match self.name {
            None => output::text(&list(&found)),
            Some(_) => {
                let described: Vec<String> = found
                    .iter()
                    .map(|(endpoint, model)| describe(endpoint, model))
                    .collect();
                output::text(&described.join("\n"))
            }
        }
    }
}

type Found<'a> = Vec<(&'a Endpoint, &'a Model)>;

/// The models of an endpoint, a model at all its endpoints, or everything.
fn find<'a>(catalogue: &'a Catalogue, name: Option<&str>) -> Result<Found<'a>, CommandError> {
    let all = || {
        catalogue
            .endpoints()
            .flat_map(|endpoint| endpoint.models().map(move |model| (endpoint, model)))
    };
    let Some(name) = name else {
        return Ok(all().collect());
    };
    let found: Found<'a> = all()
        .filter(|(endpoint, model)| {
            endpoint.name == name || endpoint.spelling() == name || model.name == name
        })
        .collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let known = all().flat_map(|(endpoint, model)| [endpoint.name.as_str(), model.name.as_str()]);
    let hint = match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`taxiway models` lists what there is".to_owned(),
    };
    Err(CommandError::Failed(format!(
        "there is no endpoint or model `{name}`: {hint}"
    )))
}

fn list(found: &Found<'_>) -> String {
    let mut rows = vec![output::row(["ENDPOINT", "MODEL", "CREDITS"])];
    rows.extend(found.iter().map(|(endpoint, model)| {
        let mut price = model
            .price
            .as_ref()
            .map_or_else(|| "unknown".to_owned(), summarize_price);
        if let Some(dropped) = &model.dropped {
            price.push_str(&format!(" (no longer listed; use {})", dropped.successor));
        }
        vec![endpoint.spelling(), model.name.clone(), price]
    }));
    format!(
        "{}\n`taxiway models NAME` shows the fields of an endpoint or a model.\n",
        output::table(&rows)
    )
}

fn describe(endpoint: &Endpoint, model: &Model) -> String {
    let mut text = format!("{} {}\n", endpoint.spelling(), model.name)
        .trim_end()
        .to_owned();
    text.push_str("\n\n");
    match &model.price {
        None => text.push_str("  The price is unknown.\n"),
        Some(price) => {
            for rule in &price.rules {
                text.push_str(&output::wrap(&describe_rule(rule, price), 2));
            }
            text.push_str(&output::wrap(&format!("Source: {}", price.source), 2));
        }
    }
    if let Some(dropped) = &model.dropped {
        let successor = format!(
            "Runway's newest SDK no longer lists this model. Its successor is {}.",
            dropped.successor
        );
        text.push_str(&output::wrap(&successor, 2));
    }
    text.push('\n');
    for (name, field) in model.fields.iter().filter(|(name, _)| *name != "model") {
        let required = if field.required { ", required" } else { "" };
        text.push_str(&output::wrap(
            &format!("{name}{required}: {}", field.shape.describe()),
            2,
        ));
        if let Some(doc) = &field.doc {
            text.push_str(&output::wrap(doc, 6));
        }
    }
    text
}

/// The price in a few words: `5 per second`, `5 to 8 per image`.
fn summarize_price(price: &Price) -> String {
    let credits = price.rules.iter().map(|rule| rule.credits);
    let (least, most) = credits.fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), credits| (least.min(credits), most.max(credits)),
    );
    let range = if least < most {
        format!("{least} to {most}")
    } else {
        format!("{least}")
    };
    format!("{range} {}", describe_unit(&price.unit))
}

fn describe_rule(rule: &Rule, price: &Price) -> String {
    let price = format!("{} credits {}", rule.credits, describe_unit(&price.unit));
    let conditions: Vec<String> = rule
        .when
        .iter()
        .map(|(field, values)| {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            format!("{field} is {}", values.join(" or "))
        })
        .collect();
    match conditions.is_empty() {
        true => price,
        false => format!("{price} where {}", conditions.join(" and ")),
    }
}

fn describe_unit(unit: &Unit) -> String {
    let each = |per: f64, unit: &str| match per {
        1.0 => format!("per {unit}"),
        _ => format!("per {per} {unit}s"),
    };
    match unit {
        Unit::Seconds {
            per,
            from: SecondsFrom::Duration,
        } => each(*per, "second"),
        Unit::Seconds {
            per,
            from: SecondsFrom::Input,
        } => format!("{} of input", each(*per, "second")),
        Unit::Image { .. } => "per image".to_owned(),
        Unit::Characters { per, .. } => each(*per, "character"),
        Unit::Task => "per task".to_owned(),
    }
}

/// One model at one endpoint, for programs.
#[derive(Serialize)]
struct Entry<'a> {
    endpoint: String,
    model: Option<&'a str>,
    successor: Option<&'a str>,
    prompt: Option<&'a str>,
    price: Option<PriceEntry<'a>>,
    fields: Vec<FieldEntry<'a>>,
}

#[derive(Serialize)]
struct PriceEntry<'a> {
    unit: String,
    rules: Vec<Value>,
    source: &'a str,
}

#[derive(Serialize)]
struct FieldEntry<'a> {
    name: &'a str,
    required: bool,
    /// The allowed values, where they are few and known.
    allowed: Option<Vec<Value>>,
    description: String,
    doc: Option<&'a str>,
}

impl<'a> Entry<'a> {
    fn of(endpoint: &'a Endpoint, model: &'a Model) -> Entry<'a> {
        let field = |(name, field): (&'a String, &'a Field)| FieldEntry {
            name,
            required: field.required,
            allowed: allowed(&field.shape),
            description: field.shape.describe(),
            doc: field.doc.as_deref(),
        };
        Entry {
            endpoint: endpoint.spelling(),
            model: endpoint.takes_model().then_some(&model.name),
            successor: model
                .dropped
                .as_ref()
                .map(|dropped| dropped.successor.as_str()),
            prompt: endpoint.prompt.as_deref(),
            price: model.price.as_ref().map(|price| PriceEntry {
                unit: describe_unit(&price.unit),
                rules: price
                    .rules
                    .iter()
                    .map(|rule| json!({"when": rule.when, "credits": rule.credits}))
                    .collect(),
                source: &price.source,
            }),
            fields: model.fields.iter().map(field).collect(),
        }
    }
}

fn allowed(shape: &Shape) -> Option<Vec<Value>> {
    match shape {
        Shape::String { allowed, .. } if !allowed.is_empty() => Some(
            allowed
                .iter()
                .map(|text| Value::from(text.as_str()))
                .collect(),
        ),
        Shape::Integer { allowed, .. } if !allowed.is_empty() => {
            Some(allowed.iter().map(|number| Value::from(*number)).collect())
        }
        Shape::Boolean => Some(vec![Value::Bool(true), Value::Bool(false)]),
        Shape::String { .. }
        | Shape::Integer { .. }
        | Shape::Number { .. }
        | Shape::Media { .. }
        | Shape::Array { .. }
        | Shape::Object { .. }
        | Shape::Map { .. }
        | Shape::OneOf { .. }
        | Shape::Any { .. } => None,
    }
}
