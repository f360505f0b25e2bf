//! The formats that are recognized, and which of them Runway accepts.

use crate::media::kind::Kind;

/// A file format that is recognized by content: what Runway accepts, and what people are likely to drop, so that a refusal can
/// name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// JPEG, baseline or progressive.
    Jpeg,
    /// PNG.
    Png,
    /// WebP, lossy, lossless or animated.
    Webp,
    /// GIF.
    Gif,
    /// HEIF with HEVC pictures, as iPhones take them.
    Heic,
    /// HEIF with AV1 pictures.
    Avif,
    /// TIFF, and the raw formats of cameras, most of which are built on it.
    Tiff,
    /// Windows bitmap.
    Bmp,
    /// JPEG XL, bare or in its container.
    Jxl,
    /// Scalable vector graphics.
    Svg,
    /// Photoshop document.
    Psd,
    /// MP4 with pictures, including M4V and 3GP.
    Mp4,
    /// QuickTime film.
    Mov,
    /// MP4 with sound alone.
    M4a,
    /// WebM.
    Webm,
    /// Matroska.
    Matroska,
    /// AVI.
    Avi,
    /// MPEG-1 and MPEG-2 program and transport streams.
    Mpeg,
    /// Windows Media, with pictures or not.
    Asf,
    /// Flash video.
    Flv,
    /// Ogg with Theora pictures.
    Ogv,
    /// Ogg with sound alone (Vorbis, Opus, Speex).
    Ogg,
    /// MPEG audio, mostly layer III.
    Mp3,
    /// AAC in an ADTS stream.
    Aac,
    /// WAV, also RF64 and BW64.
    Wav,
    /// AIFF and AIFF-C.
    Aiff,
    /// FLAC.
    Flac,
    /// A ZIP archive; office documents are such archives, too.
    Zip,
    /// PDF.
    Pdf,
    /// A web page, usually saved in place of the file that was meant.
    Html,
}

struct Facts {
    kind: Option<Kind>,
    extension: &'static str,
    mime: &'static str,
    name: &'static str,
}

impl Format {
    /// The kind of media; `None` for what is not media.
    pub fn kind(self) -> Option<Kind> {
        self.facts().kind
    }

    /// The usual file name extension, without the dot.
    pub fn extension(self) -> &'static str {
        self.facts().extension
    }

    /// The media type for `Content-Type` headers and data URIs.
    pub fn mime(self) -> &'static str {
        self.facts().mime
    }

    /// The name for people, to be read after "a" or "an": `JPEG image`.
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// Whether Runway's API accepts files of this format as input.
    ///
    /// Images: JPEG, PNG, WebP. Video: H.264, H.265, AV1, VP8/VP9, ProRes and Theora in MP4, MOV, WebM and the like,
    /// which are here Matroska and Ogg. Audio: MP3, AAC, FLAC, PCM, ALAC. An accepted container may
    /// still hold a codec that is not; the API decides.
    pub fn accepted_by_api(self) -> bool {
        self.remedy().is_none()
    }

    /// What the user can do to get a file of this format accepted; `None` if it is accepted as it is.
    pub(super) fn remedy(self) -> Option<&'static str> {
        match self {
            Format::Jpeg
            | Format::Png
            | Format::Webp
            | Format::Mp4
            | Format::Mov
            | Format::M4a
            | Format::Webm
            | Format::Matroska
            | Format::Ogv
            | Format::Mp3
            | Format::Aac
            | Format::Wav
            | Format::Flac => None,
            Format::Gif => {
                Some("Save it as PNG or JPEG, or as MP4 if it moves, and drop that instead")
            }
            Format::Heic
            | Format::Avif
            | Format::Tiff
            | Format::Bmp
            | Format::Jxl
            | Format::Svg
            | Format::Psd => Some("Save it as PNG or JPEG, and drop that instead"),
            Format::Avi | Format::Mpeg | Format::Flv => {
                Some("Convert it to MP4 with H.264, and drop that instead")
            }
            Format::Asf => Some(
                "Convert it to MP4 with H.264 (video) or to MP3 (sound), and drop that instead",
            ),
            Format::Ogg | Format::Aiff => {
                Some("Convert it to MP3, WAV or FLAC, and drop that instead")
            }
            Format::Zip => {
                Some("Unpack it, and drop the images, videos or sound files in it instead")
            }
            Format::Pdf => {
                Some("Save the page that is meant as PNG or JPEG, and drop that instead")
            }
            Format::Html => Some(
                "It was probably saved in place of a download: get the media itself, and drop that",
            ),
        }
    }

    fn facts(self) -> Facts {
        use Kind::{Audio, Image, Video};
        let (kind, extension, mime, name) = match self {
            Format::Jpeg => (Some(Image), "jpg", "image/jpeg", "JPEG image"),
            Format::Png => (Some(Image), "png", "image/png", "PNG image"),
            Format::Webp => (Some(Image), "webp", "image/webp", "WebP image"),
            Format::Gif => (Some(Image), "gif", "image/gif", "GIF image"),
            Format::Heic => (Some(Image), "heic", "image/heic", "HEIC image"),
            Format::Avif => (Some(Image), "avif", "image/avif", "AVIF image"),
            Format::Tiff => (
                Some(Image),
                "tiff",
                "image/tiff",
                "TIFF or camera raw image",
            ),
            Format::Bmp => (Some(Image), "bmp", "image/bmp", "BMP image"),
            Format::Jxl => (Some(Image), "jxl", "image/jxl", "JPEG XL image"),
            Format::Svg => (Some(Image), "svg", "image/svg+xml", "SVG drawing"),
            Format::Psd => (
                Some(Image),
                "psd",
                "image/vnd.adobe.photoshop",
                "Photoshop document",
            ),
            Format::Mp4 => (Some(Video), "mp4", "video/mp4", "MP4 video"),
            Format::Mov => (Some(Video), "mov", "video/quicktime", "QuickTime video"),
            Format::M4a => (Some(Audio), "m4a", "audio/mp4", "M4A sound file"),
            Format::Webm => (Some(Video), "webm", "video/webm", "WebM video"),
            Format::Matroska => (Some(Video), "mkv", "video/x-matroska", "Matroska video"),
            Format::Avi => (Some(Video), "avi", "video/x-msvideo", "AVI video"),
            Format::Mpeg => (Some(Video), "mpg", "video/mpeg", "MPEG stream"),
            Format::Asf => (Some(Video), "wmv", "video/x-ms-asf", "Windows Media file"),
            Format::Flv => (Some(Video), "flv", "video/x-flv", "Flash video"),
            Format::Ogv => (Some(Video), "ogv", "video/ogg", "Ogg video"),
            Format::Ogg => (Some(Audio), "ogg", "audio/ogg", "Ogg sound file"),
            Format::Mp3 => (Some(Audio), "mp3", "audio/mpeg", "MP3 sound file"),
            Format::Aac => (Some(Audio), "aac", "audio/aac", "AAC sound file"),
            Format::Wav => (Some(Audio), "wav", "audio/wav", "WAV sound file"),
            Format::Aiff => (Some(Audio), "aiff", "audio/aiff", "AIFF sound file"),
            Format::Flac => (Some(Audio), "flac", "audio/flac", "FLAC sound file"),
            Format::Zip => (
                None,
                "zip",
                "application/zip",
                "ZIP archive or office document",
            ),
            Format::Pdf => (None, "pdf", "application/pdf", "PDF document"),
            Format::Html => (None, "html", "text/html", "web page"),
        };
        Facts {
            kind,
            extension,
            mime,
            name,
        }
    }
}
