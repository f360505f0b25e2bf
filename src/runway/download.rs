//! Downloads: an output's bytes go into a part file, and an interrupted download continues where it stopped.
//!
//! A crash leaves a part file that may be shorter than what was received. Without the [`ObjectInfo`] that belongs to it, the
//! download starts over.

use std::io;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::{ACCEPT_ENCODING, IF_RANGE, LOCATION, RANGE};
use tokio::fs::File;
use tokio::io::{AsyncSeekExt, AsyncWriteExt, BufWriter, SeekFrom};
use tokio::time::timeout;

use super::client::Client;
use super::continuation::{Headings, ObjectInfo, Plan, choose_plan, read_headings};
use super::ids::{OutputUrl, host_of};
use super::transport::{describe, read_retry_after, text_header};
use crate::failpoint::{self, Point, Request};

/// How many redirects in a row are followed.
const MAX_REDIRECTS: usize = 5;
/// How much is collected before it is written, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// A download that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Downloaded {
    /// The part file's length in bytes.
    pub bytes: u64,
    /// The media type, as the server says. The content counts more.
    pub content_type: Option<String>,
    /// Whether the server said how long the object is, or marked its end. Otherwise only the content shows whether the object is
    /// whole or the connection broke.
    pub length_proven: bool,
}

/// Why a download is not whole.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The URL has expired (401, 403, 404 or 410): asking for the task again gives a new one.
    #[error(
        "the output's address has expired (host {host}, status {status}): ask for the task again to get a new one"
    )]
    Expired {
        /// The host.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The connection ended before all bytes had arrived. What arrived is in the part file, and the next try continues there.
    #[error(
        "the download was interrupted (host {host}) after {have} bytes of {}; the next try continues there",
        total.map_or_else(|| "an unknown number".to_owned(), |total| total.to_string())
    )]
    Truncated {
        /// The host.
        host: String,
        /// The part file's length in bytes.
        have: u64,
        /// The object's length in bytes, if the server says so.
        total: Option<u64>,
    },
    /// The network or the host had trouble: try again later. What arrived is in the part file.
    #[error(
        "the output could not be fetched (host {host}): {why}. Nothing is lost; try again later"
    )]
    Transient {
        /// The host.
        host: String,
        /// What went wrong.
        why: String,
        /// How long the host asks to wait, at most 24 hours.
        retry_after: Option<Duration>,
    },
    /// Another refusal.
    #[error(
        "the host refused to give the output (host {host}, status {status}): fetch it from Runway's web page, or ask \
         for the task again"
    )]
    Refused {
        /// The host.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The output, or a redirect to it, is not on https.
    #[error(
        "the output's address is not https (host {host}), and nothing was fetched from there: check the base URL"
    )]
    Insecure {
        /// The host.
        host: String,
    },
    /// This machine's disk: full, say.
    #[error(
        "the output could not be written to the disk: {0}. Free some space or fix the permissions; the output is then fetched again"
    )]
    Disk(#[source] io::Error),
}

/// An answer to a request for an object, and what to do with it.
struct Fetched {
    response: Response,
    /// The host that answered, after redirects.
    host: String,
    headings: Headings,
    plan: Plan,
}

impl Client {
    /// Downloads an output into `part`, from where an earlier try stopped.
    ///
    /// `object` is what earlier tries learned about the object; the caller keeps it with the part file and begins with
    /// `ObjectInfo::default()`. Bytes that are already there are kept only where `object` proves that they belong to the same
    /// object. `progress` receives the number of bytes so far and, where it is known, the total. Does not fsync.
    ///
    /// # Errors
    ///
    /// [`DownloadError`]; the part file then holds what arrived, and the next try continues from there.
    pub async fn download(
        &self,
        url: &OutputUrl,
        part: &mut File,
        object: &mut ObjectInfo,
        mut progress: impl FnMut(u64, Option<u64>) + Send,
    ) -> Result<Downloaded, DownloadError> {
        let end = part.seek(SeekFrom::End(0)).await;
        let mut have = end.map_err(DownloadError::Disk)?;
        if have > 0 && !object.can_continue(have) {
            have = 0;
        }
        let interrupted = |error: io::Error| DownloadError::Transient {
            host: url.host(),
            why: error.to_string(),
            retry_after: None,
        };
        failpoint::hit(Point::BeforeRequest(Request::Download)).map_err(interrupted)?;
        let mut fetched = self.fetch(url, have, object).await?;
        if fetched.plan == Plan::Restart {
            have = 0;
            *object = ObjectInfo::default();
            fetched = self.fetch(url, have, object).await?;
        }
        let total = match fetched.plan {
            Plan::Append { total } => total,
            Plan::FromStart { total } => {
                have = 0;
                total
            }
            Plan::Whole => {
                progress(have, Some(have));
                return Ok(Downloaded {
                    bytes: have,
                    content_type: object.content_type.clone(),
                    length_proven: true,
                });
            }
            Plan::Restart | Plan::Expired | Plan::Later | Plan::Page | Plan::Refused => {
                return Err(fetched.into_error());
            }
        };
        if have == 0 {
            // The old bytes go before what proves new ones: a crash between the two mixes nothing up.
            empty(part).await?;
        }
        let etag = fetched.headings.etag.clone();
        *object = ObjectInfo {
            etag: etag.or_else(|| object.etag.take().filter(|_| have > 0)),
            total,
            content_type: fetched.headings.content_type.clone(),
        };
        let have = self
            .receive(&mut fetched, part, have, total, &mut progress)
            .await?;
        failpoint::hit(Point::AfterRequest(Request::Download)).map_err(interrupted)?;
        if let Some(total) = total {
            if have < total {
                return Err(DownloadError::Truncated {
                    host: fetched.host,
                    have,
                    total: Some(total),
                });
            }
            if have > total {
                // The server contradicts itself, so nothing of it is worth keeping.
                empty(part).await?;
                *object = ObjectInfo::default();
                let why = format!("more than the announced {total} bytes arrived");
                return Err(fetched.transient(why));
            }
        }
        Ok(Downloaded {
            bytes: have,
            length_proven: total.is_some() || fetched.headings.chunked,
            content_type: fetched.headings.content_type,
        })
    }

    /// Writes an answer's bytes to the part file, which holds `have` bytes already. Returns how many it holds in the end.
    async fn receive(
        &self,
        fetched: &mut Fetched,
        part: &mut File,
        mut have: u64,
        total: Option<u64>,
        progress: &mut (impl FnMut(u64, Option<u64>) + Send),
    ) -> Result<u64, DownloadError> {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, part);
        progress(have, total);
        let stall = self.timeouts().download_stall;
        let end = loop {
            match timeout(stall, fetched.response.chunk()).await {
                Ok(Ok(Some(chunk))) => {
                    if let Err(error) = out.write_all(&chunk).await {
                        break Err(DownloadError::Disk(error));
                    }
                    have += chunk.len() as u64;
                    progress(have, total);
                }
                Ok(Ok(None)) => break Ok(()),
                Ok(Err(error)) if is_reset(&error) => {
                    break Err(fetched.transient(describe(error)));
                }
                Ok(Err(_)) => {
                    let host = fetched.host.clone();
                    break Err(DownloadError::Truncated { host, have, total });
                }
                Err(_) => {
                    let why = format!("nothing arrived for {} s", stall.as_secs());
                    break Err(fetched.transient(why));
                }
            }
        };
        // However it ended, what arrived goes to the file, so that the next try has it.
        out.flush().await.map_err(DownloadError::Disk)?;
        end.map(|()| have)
    }

    /// Asks for the object from byte `have` on, and follows redirects.
    async fn fetch(
        &self,
        url: &OutputUrl,
        have: u64,
        object: &ObjectInfo,
    ) -> Result<Fetched, DownloadError> {
        let stall = self.timeouts().download_stall;
        let mut url = url.url().clone();
        for _ in 0..=MAX_REDIRECTS {
            let host = host_of(&url);
            if !self.may_use(&url) {
                return Err(DownloadError::Insecure { host });
            }
            let transient = |host, why: &str| DownloadError::Transient {
                host,
                why: why.to_owned(),
                retry_after: None,
            };
            let mut request = self
                .storage()
                .get(url.clone())
                .header(ACCEPT_ENCODING, "identity");
            if have > 0 {
                request = request.header(RANGE, format!("bytes={have}-"));
                if let Some(etag) = &object.etag {
                    request = request.header(IF_RANGE, etag);
                }
            }
            let response = match timeout(stall, request.send()).await {
                Ok(Ok(response)) => response,
                Ok(Err(error)) => return Err(transient(host, &describe(error))),
                Err(_) => {
                    let why = format!("no answer for {} s", stall.as_secs());
                    return Err(transient(host, &why));
                }
            };
            let status = response.status().as_u16();
            if !matches!(status, 301 | 302 | 303 | 307 | 308) {
                let headings = read_headings(response.headers());
                return Ok(Fetched {
                    plan: choose_plan(have, object, status, &headings),
                    response,
                    host,
                    headings,
                });
            }
            let target = text_header(response.headers(), LOCATION.as_str()).map(|to| url.join(to));
            let Some(Ok(target)) = target else {
                return Err(transient(host, "a redirect leads nowhere"));
            };
            url = target;
        }
        Err(DownloadError::Transient {
            host: host_of(&url),
            why: format!("more than {MAX_REDIRECTS} redirects in a row"),
            retry_after: None,
        })
    }
}

impl Fetched {
    fn transient(&self, why: String) -> DownloadError {
        DownloadError::Transient {
            host: self.host.clone(),
            why,
            retry_after: None,
        }
    }

    /// The error that an answer without the object's bytes means.
    fn into_error(self) -> DownloadError {
        let status = self.response.status().as_u16();
        let host = self.host;
        match self.plan {
            Plan::Expired => DownloadError::Expired { host, status },
            Plan::Refused => DownloadError::Refused { host, status },
            Plan::Page => DownloadError::Transient {
                host,
                why: "a web page was received instead of media".to_owned(),
                retry_after: None,
            },
            Plan::Later
            | Plan::Restart
            | Plan::Append { .. }
            | Plan::FromStart { .. }
            | Plan::Whole => DownloadError::Transient {
                host,
                why: format!("status {status}"),
                retry_after: read_retry_after(self.response.headers()),
            },
        }
    }
}

/// Empties the part file.
async fn empty(part: &mut File) -> Result<(), DownloadError> {
    part.set_len(0).await.map_err(DownloadError::Disk)?;
    part.rewind().await.map_err(DownloadError::Disk)?;
    Ok(())
}

/// Whether the connection was reset, rather than closed too early.
fn is_reset(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>()
            && matches!(
                io.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::TimedOut
            )
        {
            return true;
        }
        source = cause.source();
    }
    false
}
