//! What an error's answer says beside its code: clients show "Unknown" where there is no message, and
//! whoever asks for help is asked for the request's number.

use bytes::Bytes;
use hyper::{Response, StatusCode};
use s3s::Body;

/// How s3s begins what it says of a form that its policy does not allow; with a code that is for policies
/// that can't be read.
const POLICY_FAILS: [&str; 2] = ["Policy condition ", "Bucket in form field "];

/// Adds a message, if the error has none, and the request's number to an error's answer.
pub fn complete(mut response: Response<Body>, id: &str) -> Response<Body> {
    if !is_error(&response) {
        return response;
    }
    let Some(text) = response.body().bytes() else { return response };
    let denied = not_allowed_by_policy(&text);
    if denied.is_some() {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    match completed(denied.as_deref().map_or(&text, str::as_bytes), id) {
        Some(text) => response.map(|_| Body::from(Bytes::from(text))),
        None => response,
    }
}

/// What an error's answer says: its code and message. For the log.
pub fn error(response: &Response<Body>) -> Option<String> {
    let text = response.body().bytes().filter(|_| is_error(response))?;
    let text = std::str::from_utf8(&text).ok()?;
    let (code, rest) = text.split_once("<Code>")?.1.split_once("</Code>")?;
    let message = rest.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
    Some(message.map_or_else(|| code.to_owned(), |(message, _)| format!("{code}: {message}")))
}

fn is_error(response: &Response<Body>) -> bool {
    response.status().is_client_error() || response.status().is_server_error()
}

/// The answer to a form that its policy does not allow, as S3 gives it.
fn not_allowed_by_policy(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let (before, why) = text.split_once("<Code>InvalidPolicyDocument</Code><Message>")?;
    POLICY_FAILS.iter().any(|begin| why.starts_with(begin)).then(|| {
        format!("{before}<Code>AccessDenied</Code><Message>Invalid according to Policy: {why}")
    })
}

/// The answer of `GetObjectAttributes`, where S3 has entity tags without quotes, and s3s with them.
pub fn without_quotes(response: Response<Body>) -> Response<Body> {
    let text = response.body().bytes().and_then(|bytes| String::from_utf8(bytes.into()).ok());
    let Some(text) = text else { return response };
    let quoted = [("<ETag>\"", "\"</ETag>"), ("<ETag>&quot;", "&quot;</ETag>")];
    let text = quoted.iter().fold(text, |text, (before, behind)| {
        text.replace(before, "<ETag>").replace(behind, "</ETag>")
    });
    response.map(|_| Body::from(Bytes::from(text)))
}

/// The same of the answer's text; `None` where it is no error's, or has all that it needs.
fn completed(text: &[u8], id: &str) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?;
    let (before, behind) = text.split_once("<Error><Code>")?;
    let (code, rest) = behind.split_once("</Code>")?;
    let rest = rest.strip_suffix("</Error>")?;
    let message = match rest.contains("<Message>") {
        true => String::new(),
        false => format!("<Message>{}</Message>", message_of(code)),
    };
    let number = match rest.contains("<RequestId>") {
        true => String::new(),
        false => format!("<RequestId>{id}</RequestId>"),
    };
    Some(format!("{before}<Error><Code>{code}</Code>{message}{rest}{number}</Error>"))
}

/// What to do about the errors that are found while a request is read, which have no message.
fn message_of(code: &str) -> &'static str {
    match code {
        "AccessDenied" => {
            "Access denied: the access key has no right to do this, or none was given."
        }
        "AuthorizationHeaderMalformed" => {
            "The Authorization header is malformed; it has to be one of AWS4-HMAC-SHA256."
        }
        "BadDigest" => "The digest that was given is not that of what came.",
        "EntityTooLarge" => "The object is larger than one upload may be; upload it in parts.",
        "ExpiredToken" => "The token has expired.",
        "IllegalLocationConstraintException" => "The server has one region, and not this one.",
        "IncompleteBody" => "The body ended before all of it had come.",
        "InternalError" => "The server has failed; its log says how.",
        "InvalidAccessKeyId" => "The server does not know the access key.",
        "InvalidArgument" => "An argument is not valid.",
        "InvalidBucketName" => {
            "The name is not valid for a bucket: 3 to 63 of a to z, 0 to 9, dots and hyphens, a letter \
             or a digit at both ends, and no IP address."
        }
        "InvalidDigest" => "What was given for a digest is none.",
        "InvalidPolicyDocument" => "The form is not what its policy allows, or that can't be read.",
        "InvalidRange" => "The object has nothing in this range.",
        "InvalidRequest" => "The request is not valid.",
        "InvalidURI" => "The address can't be read.",
        "KeyTooLongError" => "The key has more than 1024 bytes.",
        "MalformedPOSTRequest" => "The form can't be read.",
        "MalformedXML" => "The body is not the XML that this request takes.",
        "MethodNotAllowed" => "This can't be done with what the address names.",
        "MissingAuthenticationToken" => "The request is not signed.",
        "MissingContentLength" => "The request has to say how long its body is.",
        "MissingRequestBodyError" => "The request has no body, and needs one.",
        "MissingSecurityHeader" => "A header that has to be signed is missing.",
        "NoSuchBucket" => "There is no such bucket.",
        "NoSuchKey" => "There is no such object.",
        "NoSuchUpload" => "There is no such upload; it may have been completed or aborted.",
        "NotImplemented" => "The server does not do what the request asks for.",
        "PreconditionFailed" => "A condition that the request makes does not hold.",
        "RequestTimeTooSkewed" => {
            "The request's time and the server's are too far apart; one of the clocks is wrong."
        }
        "SignatureDoesNotMatch" => {
            "The signature is not that of this request with this access key's secret. Is the secret \
             right, and does nothing on the way change addresses or headers?"
        }
        "XAmzContentSHA256Mismatch" => {
            "What came has not the SHA-256 that x-amz-content-sha256 says."
        }
        _ => "The request can't be carried out as it is.",
    }
}

#[cfg(test)]
mod tests {
    use super::{completed, not_allowed_by_policy};

    #[test]
    fn a_form_that_its_policy_does_not_allow_is_denied() {
        let says = |code: &str, why: &str| {
            format!("<Error><Code>{code}</Code><Message>{why}</Message></Error>")
        };
        let fails = says("InvalidPolicyDocument", "Policy condition &apos;eq&apos; failed");
        let denied = not_allowed_by_policy(fails.as_bytes()).unwrap();
        let why = "Invalid according to Policy: Policy condition &apos;eq&apos; failed";
        assert_eq!(denied, says("AccessDenied", why));
        for other in [
            says("InvalidPolicyDocument", "invalid JSON"),
            says("InvalidArgument", "Policy condition"),
        ] {
            assert_eq!(not_allowed_by_policy(other.as_bytes()), None);
        }
    }

    #[test]
    fn errors_are_completed_and_nothing_else_is_touched() {
        let head = r#"<?xml version="1.0" encoding="UTF-8"?>"#;
        let bare = format!("{head}<Error><Code>NoSuchKey</Code></Error>");
        let whole = completed(bare.as_bytes(), "7").unwrap();
        let says = "<Message>There is no such object.</Message><RequestId>7</RequestId>";
        assert_eq!(whole, format!("{head}<Error><Code>NoSuchKey</Code>{says}</Error>"));
        assert_eq!(completed(whole.as_bytes(), "8").unwrap(), whole);
        let said = "<Error><Code>NoSuchKey</Code><Message>Gone</Message></Error>";
        let numbered =
            "<Error><Code>NoSuchKey</Code><Message>Gone</Message><RequestId>9</RequestId></Error>";
        assert_eq!(completed(said.as_bytes(), "9").as_deref(), Some(numbered));
        for other in ["", "<Error>", "<Error><Code>", "<Error><Code>A</Code>", "{}", "\u{fffd}"] {
            assert_eq!(completed(other.as_bytes(), "1"), None);
        }
        assert_eq!(completed(b"\xff<Error><Code>A</Code></Error>", "1"), None);
    }
}
