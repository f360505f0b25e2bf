//! PNG: chunks up to `IEND`.

use std::io::{self, Read, Seek};

use super::findings::{Findings, Wholeness};
use super::input::Input;

/// `IEND` has no content, so its checksum is always this.
const END_CHECKSUM: [u8; 4] = [0xAE, 0x42, 0x60, 0x82];

pub(super) fn walk<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Findings> {
    let mut found = Findings::partial("the PNG end chunk (IEND) is missing");
    let mut data = false;
    input.go_to(8)?;
    while let Some([l0, l1, l2, l3, name @ ..]) = input.take::<8>()? {
        let length = u64::from(u32::from_be_bytes([l0, l1, l2, l3]));
        let start = input.position();
        match &name {
            b"IHDR" => {
                found.dimensions = input.take()?.map(|[w0, w1, w2, w3, h0, h1, h2, h3]| {
                    (
                        u32::from_be_bytes([w0, w1, w2, w3]),
                        u32::from_be_bytes([h0, h1, h2, h3]),
                    )
                });
            }
            b"IDAT" => data = true,
            b"IEND" => {
                if length == 0 && data && input.take()? == Some(END_CHECKSUM) {
                    found.wholeness = Wholeness::Whole;
                }
                return Ok(found);
            }
            other if !other.iter().all(u8::is_ascii_alphabetic) => {
                // Reserved space that is not filled yet, or damage.
                let at = start.saturating_sub(8);
                found.wholeness =
                    Wholeness::partial(format!("the PNG data breaks off at byte {at}"));
                return Ok(found);
            }
            _ => {}
        }
        input.go_to(start)?;
        // The content and its checksum.
        if !input.skip(length.saturating_add(4))? {
            break;
        }
    }
    Ok(found)
}
