//! What the answer to one entry means for its record.

use aws_sdk_eventbridge::types::PutEventsResultEntry;
use tracking_journal::Delivery;

/// Codes of entries that EventBridge may accept a moment later.
const RETRYABLE: [&str; 2] = ["InternalFailure", "ThrottlingException"];

/// What became of the entry.
pub(crate) fn delivery_of(result: &PutEventsResultEntry) -> Delivery {
    let Some(code) = result.error_code() else {
        return match result.event_id() {
            Some(_) => Delivery::Delivered,
            None => Delivery::retry("EventBridge gave neither an id nor an error code for the entry"),
        };
    };
    let mut reason = format!("EventBridge refused the entry: {code}");
    if let Some(message) = result.error_message().filter(|message| !message.is_empty()) {
        reason = format!("{reason}: {}", message.trim_end_matches('.'));
    }
    if RETRYABLE.contains(&code) {
        Delivery::retry(reason)
    } else {
        Delivery::park(format!("{reason}; {}", hint(code)))
    }
}

/// Whether the server asks for fewer calls.
pub(crate) fn is_throttled(result: &PutEventsResultEntry) -> bool {
    result.error_code() == Some("ThrottlingException")
}

fn hint(code: &str) -> &'static str {
    match code {
        "AccessDeniedException"
        | "NotAuthorizedForSourceException"
        | "NotAuthorizedForDetailTypeException" => {
            "let the policies of the credentials and of the bus allow it, then run `ekstrack sinks retry`"
        }
        "InvalidAccountIdException" => {
            "correct the account in the bus's ARN, then run `ekstrack sinks retry`"
        }
        "InvalidArgument" => "see whether source and resources are valid, then run `ekstrack sinks retry`",
        "MalformedDetail" => "its detail is no JSON to EventBridge; the journal has the record",
        _ => "EventBridge does not accept it; the journal has the record",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str) -> Delivery {
        let result = PutEventsResultEntry::builder()
            .error_code(code)
            .error_message("so.");
        delivery_of(&result.build())
    }

    #[test]
    fn only_what_can_change_by_itself_is_sent_again() {
        for code in RETRYABLE {
            assert_eq!(
                refused(code),
                Delivery::retry(format!("EventBridge refused the entry: {code}: so"))
            );
        }
        for code in [
            "MalformedDetail",
            "AccessDeniedException",
            "RedactionFailure",
            "OfALaterVersion",
        ] {
            assert!(matches!(refused(code), Delivery::Park { reason } if reason.contains(code)));
        }
    }

    #[test]
    fn silence_is_no_success() {
        let silent = PutEventsResultEntry::builder().build();
        assert!(matches!(delivery_of(&silent), Delivery::Retry { .. }));
        let taken = PutEventsResultEntry::builder().event_id("x").build();
        assert_eq!(delivery_of(&taken), Delivery::Delivered);
    }
}
