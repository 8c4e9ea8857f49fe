//! Frames of a server, taken apart and put together with as little effort as can be.

/// Where the text of the next frame is in `bytes`, and how long the frame is; `None` if it is not complete.
pub(crate) fn next_frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (header, length) = match bytes.get(1)? {
        126 => (
            4,
            usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        ),
        127 => {
            let length = bytes.get(2..10)?;
            (
                10,
                usize::try_from(u64::from_be_bytes(length.try_into().unwrap())).unwrap(),
            )
        }
        length => (2, usize::from(*length)),
    };
    Some((bytes.get(header..header + length)?, header + length))
}

/// `text` as a frame of a server.
pub(crate) fn frame(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    assert!(length > 125, "events are longer");
    let mut bytes = vec![0x81, 126];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

/// A request to become a viewer.
pub(crate) fn request(host: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// Microseconds since 1970 of the event in `text`, if it is one.
pub(crate) fn recorded_at(text: &[u8]) -> Option<i64> {
    let key = b"\"timestamp\":\"";
    let at = text.windows(key.len()).position(|window| window == key)? + key.len();
    let length = text[at..].iter().position(|byte| *byte == b'"')?;
    let text = std::str::from_utf8(&text[at..at + length]).ok()?;
    tracking_model::Timestamp::parse(text)
        .ok()
        .map(tracking_model::Timestamp::as_micros)
}
