//! Why Runway's API would refuse a file, and what kind of media a file name promises.

use std::ffi::OsStr;
use std::path::Path;

use super::format::Format;
use super::kind::Kind;
use super::probe::Probe;

/// The kind of media that a file's name promises, by its extension in any case.
///
/// It includes formats that the API refuses (`gif`, `heic`, `tiff`, camera raw…): such a file gets a message instead of being
/// ignored. The content decides in the end; see [`super::probe`].
pub fn kind_by_extension(name: impl AsRef<OsStr>) -> Option<Kind> {
    format_by_extension(name.as_ref()).and_then(Format::kind)
}

/// Explains why the API would refuse this content and what to do about it; `None` if it would accept it.
///
/// A wrong extension is not a reason, since the API goes by the content. Neither is an incomplete file, which
/// [`Probe::wholeness`] reports.
pub fn refusal(probe: &Probe, name: &str) -> Option<String> {
    if probe.bytes == 0 {
        return Some(format!("{name} is empty (0 bytes). Save or copy it again"));
    }
    let Some(format) = probe.format else {
        return Some(format!(
            "{name} is neither an image nor a video nor sound of any kind known here. Check that it opens, then save it \
             as PNG or JPEG (image), MP4 (video), or MP3 or WAV (sound)"
        ));
    };
    let remedy = format.remedy()?;
    let what = format.name();
    let article = article(what);
    let is = match format_by_extension(name.as_ref()) {
        Some(promised) if promised != format => {
            format!("{name} is really {article} {what} (the content counts, not the extension)")
        }
        Some(_) | None => format!("{name} is {article} {what}"),
    };
    Some(format!("{is}, which Runway does not accept. {remedy}"))
}

fn article(noun: &str) -> &'static str {
    // By sound: "an AVI video", "an MPEG stream", "an SVG drawing", but "a GIF image".
    if noun.starts_with(['A', 'O', 'M', 'S']) && !noun.starts_with("Matroska") {
        "an"
    } else {
        "a"
    }
}

fn format_by_extension(name: &OsStr) -> Option<Format> {
    let extension = Path::new(name).extension()?.to_str()?.to_ascii_lowercase();
    Some(match extension.as_str() {
        "jpg" | "jpeg" | "jpe" | "jfif" => Format::Jpeg,
        "png" => Format::Png,
        "webp" => Format::Webp,
        "gif" => Format::Gif,
        "heic" | "heif" | "hif" => Format::Heic,
        "avif" => Format::Avif,
        "tif" | "tiff" | "dng" | "nef" | "cr2" | "cr3" | "arw" | "orf" | "raf" | "rw2" | "pef" => {
            Format::Tiff
        }
        "bmp" | "dib" => Format::Bmp,
        "jxl" => Format::Jxl,
        "svg" => Format::Svg,
        "psd" | "psb" => Format::Psd,
        "mp4" | "m4v" | "3gp" | "3g2" => Format::Mp4,
        "mov" | "qt" => Format::Mov,
        "m4a" | "m4b" => Format::M4a,
        "webm" => Format::Webm,
        "mkv" => Format::Matroska,
        "avi" => Format::Avi,
        "mpg" | "mpeg" | "m2v" | "vob" | "ts" | "mts" | "m2ts" => Format::Mpeg,
        "wmv" | "wma" | "asf" => Format::Asf,
        "flv" => Format::Flv,
        "ogv" => Format::Ogv,
        "ogg" | "oga" | "opus" => Format::Ogg,
        "mp3" => Format::Mp3,
        "aac" => Format::Aac,
        "wav" | "wave" => Format::Wav,
        "aif" | "aiff" | "aifc" => Format::Aiff,
        "flac" => Format::Flac,
        _ => return None,
    })
}
