//! Requests that start a task: checked as the API checks them, and turned into an order.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};

use super::answers::Issue;
use super::clock::Millis;
use super::faults::Action;
use super::media::Product;
use super::tasks::{Ending, Kind, Order};
use super::uuid::random_uuid;
use crate::catalogue::{
    Catalogue, Endpoint, EndpointRef, MediaSlot, Model, On, Output, Problem, check,
    find_media_slots,
};
use crate::json::Step;
use crate::media::{Kind as MediaKind, sniff};

/// The longest data URI with an image, in bytes.
const IMAGE_DATA_URI: usize = 5_000_000;
/// The longest data URI with video or audio, in bytes.
const OTHER_DATA_URI: usize = 16_000_000;
/// The longest `https://` URI, in characters.
const URL_LENGTH: usize = 2_048;
/// The estimate for what has no known price, in credits.
const UNKNOWN_PRICE: f64 = 10.0;
/// The fields that ask for several outputs, as the SDK's types name them.
const COUNTS: [&str; 2] = ["outputCount", "numVariants"];
/// The most outputs that one task makes here.
const MOST_OUTPUTS: u64 = 10;
/// The workflow nodes under which outputs are listed.
pub(super) const NODES: [&str; 2] = [
    "5f8f3c0e-2a34-4c57-8d0b-6c1f3f6f0a01",
    "5f8f3c0e-2a34-4c57-8d0b-6c1f3f6f0a02",
];

/// What an order depends on besides the body.
pub(super) struct Context<'a> {
    pub(super) now: Millis,
    /// How long tasks take unless the prompt says otherwise.
    pub(super) task_seconds: f64,
    pub(super) fault: Option<&'a Action>,
    pub(super) body_sha256: &'a str,
    /// The media kind of a valid upload, by its id.
    pub(super) upload: &'a dyn Fn(&str) -> Option<MediaKind>,
}

/// Makes the order that a body asks for, or lists all its problems.
pub(super) fn make_order(
    target: &EndpointRef<'_>,
    body: &Map<String, Value>,
    context: &Context<'_>,
) -> Result<Order, Vec<Issue>> {
    let endpoint = target.endpoint;
    let model = find_model(endpoint, body)?;
    let problems = check(endpoint, model, body);
    let slots = find_media_slots(model, body);
    let issues: Vec<Issue> = problems
        .iter()
        .map(issue)
        .chain(slots.iter().filter_map(|slot| {
            find_uri_problem(slot, context.upload).map(|message| Issue {
                code: "invalid_asset",
                message,
                path: steps(&slot.path),
            })
        }))
        .collect();
    if !issues.is_empty() {
        return Err(issues);
    }
    let magic = Magic::in_body(body);
    Ok(Order {
        id: random_uuid(),
        kind: if endpoint.poll.starts_with("/v1/workflow_invocations/") {
            Kind::Workflow
        } else {
            Kind::Task
        },
        endpoint: target.name.clone(),
        model: lane_name(endpoint, &model.name).to_owned(),
        created: context.now,
        seconds: magic.seconds.unwrap_or(context.task_seconds),
        ending: choose_ending(context.fault, magic.ending),
        estimated: model.estimate(body, None).unwrap_or(UNKNOWN_PRICE),
        outputs: choose_outputs(endpoint.output, body, &slots),
        body_sha256: context.body_sha256.to_owned(),
    })
}

/// The name that limits and usage are counted by: the model, or the last part of an endpoint without models.
fn lane_name<'a>(endpoint: &'a Endpoint, model: &'a str) -> &'a str {
    if model.is_empty() {
        endpoint.name.rsplit('/').next().unwrap_or(&endpoint.name)
    } else {
        model
    }
}

/// Lists all names that limits and usage are counted by: models, and endpoints without models.
pub(super) fn list_lanes(catalogue: &Catalogue) -> Vec<&str> {
    let mut names: Vec<&str> = catalogue
        .endpoints()
        .flat_map(|endpoint| {
            let own = (!endpoint.takes_model()).then(|| lane_name(endpoint, ""));
            endpoint.model_names().chain(own)
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Finds the model that the body names, or the only one of an endpoint without model names.
fn find_model<'a>(
    endpoint: &'a Endpoint,
    body: &Map<String, Value>,
) -> Result<&'a Model, Vec<Issue>> {
    let wrong = |code, message| {
        vec![Issue {
            code,
            message,
            path: vec!["model".into()],
        }]
    };
    let name = if endpoint.takes_model() {
        match body.get("model") {
            Some(Value::String(name)) => name.as_str(),
            Some(_) => return Err(wrong("invalid_type", "Expected a string".to_owned())),
            None => return Err(wrong("invalid_type", "Required".to_owned())),
        }
    } else {
        ""
    };
    endpoint.model(name).ok_or_else(|| {
        let known: Vec<&str> = endpoint.model_names().collect();
        let message = format!(
            "Invalid model {name:?}. Expected one of: {}",
            known.join(", ")
        );
        wrong("invalid_union_discriminator", message)
    })
}

fn issue(problem: &Problem) -> Issue {
    Issue {
        code: match problem.on {
            On::Key => "unrecognized_keys",
            On::Value => "invalid_value",
            On::Missing => "invalid_type",
        },
        message: problem.diagnostic.message.clone(),
        path: steps(&problem.path),
    }
}

fn steps(path: &[Step]) -> Vec<Value> {
    path.iter()
        .map(|step| match step {
            Step::Key(key) => Value::from(key.as_str()),
            Step::Index(index) => Value::from(*index),
        })
        .collect()
}

/// Checks the URI of a media field.
fn find_uri_problem(
    slot: &MediaSlot,
    upload: &dyn Fn(&str) -> Option<MediaKind>,
) -> Option<String> {
    let uri = slot.uri.as_str();
    let kind = if let Some(data) = uri.strip_prefix("data:") {
        match find_data_kind(data, uri.len()) {
            Ok(kind) => kind,
            Err(problem) => return Some(problem),
        }
    } else if let Some(id) = uri.strip_prefix("runway://") {
        let Some(kind) = upload(id) else {
            return Some(
                "The upload does not exist, holds no media yet, or has expired.".to_owned(),
            );
        };
        kind
    } else if let Some(rest) = uri.strip_prefix("https://") {
        // The URL is not opened: the simulator makes no requests.
        return find_url_problem(rest, uri.len());
    } else {
        return Some("Expected an HTTPS URL, a Runway upload URI or a data URI.".to_owned());
    };
    (!slot.kinds.contains(&kind)).then(|| {
        let wanted: Vec<&str> = slot.kinds.iter().map(|kind| kind.as_str()).collect();
        format!("Expected {}, got {kind}.", wanted.join(" or "))
    })
}

/// Finds the kind of media in a data URI by its content, if the API accepts it.
fn find_data_kind(data: &str, length: usize) -> Result<MediaKind, String> {
    let encoded = match data.split_once(',') {
        Some((head, encoded)) if head.ends_with(";base64") => encoded,
        Some(_) | None => return Err("The data URI is not in base64.".to_owned()),
    };
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|error| format!("The data URI cannot be decoded: {error}."))?;
    let kind = detect_kind(&bytes).ok_or_else(|| {
        "Unsupported asset type: the content is not media that Runway accepts.".to_owned()
    })?;
    let most = match kind {
        MediaKind::Image => IMAGE_DATA_URI,
        MediaKind::Video | MediaKind::Audio => OTHER_DATA_URI,
    };
    if length > most {
        return Err(format!(
            "The data URI has {length} bytes; the limit is {most}."
        ));
    }
    Ok(kind)
}

/// Finds the kind of media by the first bytes, if the API accepts it.
pub(super) fn detect_kind(head: &[u8]) -> Option<MediaKind> {
    sniff(head)
        .filter(|format| format.accepted_by_api())
        .and_then(|format| format.kind())
}

/// Checks an HTTPS URL, given without its scheme.
fn find_url_problem(rest: &str, length: usize) -> Option<String> {
    if length > URL_LENGTH {
        return Some(format!("The URL is longer than {URL_LENGTH} characters."));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    let number = host.starts_with('[') || name.parse::<std::net::IpAddr>().is_ok();
    (number || !name.contains('.'))
        .then(|| "The URL must have a domain name, not an IP address.".to_owned())
}

/// Decides how the task ends: by a fault, else by the prompt.
fn choose_ending(fault: Option<&Action>, magic: Option<Ending>) -> Ending {
    match fault {
        Some(Action::TaskFails {
            code,
            message,
            charged,
        }) => fail_with(code, message.as_deref(), *charged),
        Some(Action::Stuck) => Ending::Never,
        Some(
            Action::Status { .. }
            | Action::ResetBefore
            | Action::ResetAfter
            | Action::Slow { .. }
            | Action::Garbage { .. }
            | Action::NoId
            | Action::Truncate { .. }
            | Action::Expire
            | Action::CorruptLength
            | Action::Redirect { .. },
        )
        | None => magic.unwrap_or(Ending::Succeeds),
    }
}

fn fail_with(code: &str, message: Option<&str>, charged: Option<bool>) -> Ending {
    let moderated = code.starts_with("SAFETY");
    let usual = if moderated {
        "Your content was flagged by our content moderation system."
    } else if code.starts_with("ASSET") {
        "The provided asset could not be used."
    } else {
        "An unexpected error occurred."
    };
    Ending::Fails {
        code: code.to_owned(),
        message: message.unwrap_or(usual).to_owned(),
        charged: charged.unwrap_or(moderated),
    }
}

/// Decides which files the task makes.
fn choose_outputs(output: Output, body: &Map<String, Value>, slots: &[MediaSlot]) -> Vec<Product> {
    let one = match output {
        Output::Any => return vec![Product::Mp4, Product::Png],
        Output::Media(MediaKind::Video) => Product::Mp4,
        Output::Media(MediaKind::Image) => Product::Png,
        // Both formats occur: a WAV if the input is audio, else an MP3.
        Output::Media(MediaKind::Audio) => {
            if slots
                .iter()
                .any(|slot| slot.kinds.contains(&MediaKind::Audio))
            {
                Product::Wav
            } else {
                Product::Mp3
            }
        }
    };
    let nested = body.get("input").and_then(Value::as_object);
    let count = COUNTS
        .iter()
        .find_map(|name| {
            let value = body.get(*name).or_else(|| nested?.get(*name))?;
            value.as_u64()
        })
        .unwrap_or(1)
        .clamp(1, MOST_OUTPUTS);
    (0..count).map(|_| one).collect()
}

/// What a prompt can ask for: `[[fail CODE]]`, `[[slow SECONDS]]`, `[[stuck]]`.
#[derive(Debug, Default, PartialEq)]
struct Magic {
    seconds: Option<f64>,
    ending: Option<Ending>,
}

impl Magic {
    fn in_body(body: &Map<String, Value>) -> Self {
        let mut magic = Self::default();
        body.values().for_each(|value| magic.read_value(value));
        magic
    }

    fn read_value(&mut self, value: &Value) {
        match value {
            Value::String(text) if text.starts_with("data:") => {}
            Value::String(text) => self.read_text(text),
            Value::Array(items) => items.iter().for_each(|item| self.read_value(item)),
            Value::Object(fields) => fields.values().for_each(|field| self.read_value(field)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn read_text(&mut self, text: &str) {
        for part in text.split("[[").skip(1) {
            let Some((words, _)) = part.split_once("]]") else {
                continue;
            };
            let mut words = words.split_whitespace();
            match (words.next(), words.next()) {
                (Some("fail"), code) => {
                    self.ending = Some(fail_with(code.unwrap_or("INTERNAL"), None, None));
                }
                (Some("slow"), Some(seconds)) => {
                    self.seconds = seconds.parse().ok().or(self.seconds)
                }
                (Some("stuck"), _) => self.ending = Some(Ending::Never),
                // Other brackets belong to the prompt.
                (Some(_) | None, _) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use serde_json::json;

    fn ordered(endpoint: &str, body: Value) -> Result<Order, Vec<Issue>> {
        let catalogue = Catalogue::built_in().unwrap();
        let target = catalogue.endpoint(endpoint).unwrap();
        let context = Context {
            now: 0,
            task_seconds: 2.0,
            fault: None,
            body_sha256: "",
            upload: &|id| (id == "clip").then_some(MediaKind::Video),
        };
        make_order(&target, body.as_object().unwrap(), &context)
    }

    fn first_issue(endpoint: &str, body: Value) -> Issue {
        ordered(endpoint, body).unwrap_err().remove(0)
    }

    fn turbo(uri: &str) -> Value {
        json!({"model": "gen4_turbo", "promptImage": uri, "ratio": "1280:720", "duration": 5})
    }

    #[test]
    fn a_good_request_is_an_order_with_an_estimate() {
        let order = ordered("image_to_video", turbo("https://example.com/cat.jpg")).unwrap();
        assert_eq!(order.model, "gen4_turbo");
        assert_eq!(order.estimated, 25.0);
        assert_eq!(order.outputs, [Product::Mp4]);
    }

    #[test]
    fn an_unknown_model_is_refused_at_its_place() {
        let issue = first_issue("text_to_video", json!({"model": "gen9", "promptText": "x"}));
        assert_eq!(issue.path, [json!("model")]);
    }

    #[test]
    fn uris_that_the_api_does_not_accept_are_refused() {
        let gif = format!(
            "data:image/gif;base64,{}",
            STANDARD.encode(b"GIF89a\x01\0\x01\0\0\0\0;")
        );
        for uri in [
            "http://example.com/cat.jpg",
            "https://127.0.0.1/cat.jpg",
            "https://[::1]/cat.jpg",
            "https://localhost/cat.jpg",
            "cat.jpg",
            "runway://gone",
            "runway://clip",
            "data:image/png,abc",
            "data:image/png;base64,%%%",
            &gif,
        ] {
            let issue = first_issue("image_to_video", turbo(uri));
            assert_eq!(issue.path, [json!("promptImage")], "{uri}");
        }
    }

    #[test]
    fn a_picture_in_a_data_uri_is_accepted_whatever_its_label_says() {
        let uri = format!(
            "data:video/mp4;base64,{}",
            STANDARD.encode(Product::Png.file("x"))
        );
        assert!(ordered("image_to_video", turbo(&uri)).is_ok());
    }

    #[test]
    fn an_upload_of_the_right_kind_is_accepted() {
        let body = json!({"model": "aleph2", "videoUri": "runway://clip", "promptText": "snow"});
        assert!(ordered("video_to_video", body).is_ok());
    }

    #[test]
    fn magic_words_in_the_prompt_decide_how_the_task_ends() {
        let body = json!({"model": "eleven_text_to_sound_v2",
            "promptText": "storm [[fail INTERNAL.BAD_OUTPUT.CODE01]] [[slow 30]]"});
        let order = ordered("sound_effect", body).unwrap();
        assert_eq!(order.seconds, 30.0);
        assert!(matches!(order.ending, Ending::Fails { charged: false, .. }));
    }

    #[test]
    fn moderation_is_charged_and_internal_failure_is_not() {
        assert!(matches!(
            fail_with("SAFETY.INPUT.TEXT", None, None),
            Ending::Fails { charged: true, .. }
        ));
        assert!(matches!(
            fail_with("INTERNAL", None, None),
            Ending::Fails { charged: false, .. }
        ));
    }
}
