//! GIF: blocks up to the trailer.

use std::io::{self, Read, Seek};

use super::findings::{Findings, Wholeness};
use super::input::Input;

pub(super) fn walk<R: Read + Seek>(input: &mut Input<R>) -> io::Result<Findings> {
    let mut found = Findings::partial("the GIF trailer is missing");
    input.go_to(6)?;
    let Some([w0, w1, h0, h1, flags, _background, _aspect]) = input.take()? else {
        return Ok(found);
    };
    found.dimensions = Some((
        u16::from_le_bytes([w0, w1]).into(),
        u16::from_le_bytes([h0, h1]).into(),
    ));
    if !input.skip(colour_table_bytes(flags))? {
        return Ok(found);
    }
    while let Some(introducer) = input.byte()? {
        let more = match introducer {
            // An extension: its label, then its blocks.
            0x21 => input.skip(1)? && skip_blocks(input)?,
            // An image: position and size, its own colours, the code size, then its blocks.
            0x2C => match input.take()? {
                Some([_, _, _, _, _, _, _, _, flags]) => {
                    input.skip(colour_table_bytes(flags).saturating_add(1))? && skip_blocks(input)?
                }
                None => false,
            },
            0x3B => {
                found.wholeness = Wholeness::Whole;
                false
            }
            _ => false,
        };
        if !more {
            break;
        }
    }
    Ok(found)
}

fn colour_table_bytes(flags: u8) -> u64 {
    if flags & 0x80 == 0 {
        0
    } else {
        3 << ((flags & 7) + 1)
    }
}

/// Steps over blocks up to the empty one; `false` when the file ends first.
fn skip_blocks<R: Read + Seek>(input: &mut Input<R>) -> io::Result<bool> {
    while let Some(length) = input.byte()? {
        if length == 0 {
            return Ok(true);
        }
        if !input.skip(length.into())? {
            break;
        }
    }
    Ok(false)
}
