//! The API's errors and how each of the two transports words them.
//! A message must never be cleaned up here: that they leak is part of what clients must survive.

use serde_json::{Value, json};

use crate::schema::flatten;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    BadRequest,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotSupported,
    UnsupportedMediaType,
    Internal,
}

impl Code {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Code::BadRequest => "BAD_REQUEST",
            Code::Unauthorized => "UNAUTHORIZED",
            Code::Forbidden => "FORBIDDEN",
            Code::NotFound => "NOT_FOUND",
            Code::MethodNotSupported => "METHOD_NOT_SUPPORTED",
            Code::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Code::Internal => "INTERNAL_SERVER_ERROR",
        }
    }

    pub(crate) fn http(self) -> u16 {
        match self {
            Code::BadRequest => 400,
            Code::Unauthorized => 401,
            Code::Forbidden => 403,
            Code::NotFound => 404,
            Code::MethodNotSupported => 405,
            Code::UnsupportedMediaType => 415,
            Code::Internal => 500,
        }
    }

    fn rpc(self) -> i64 {
        match self {
            Code::BadRequest => -32600,
            Code::Unauthorized => -32001,
            Code::Forbidden => -32003,
            Code::NotFound => -32004,
            Code::MethodNotSupported => -32005,
            Code::UnsupportedMediaType => -32015,
            Code::Internal => -32603,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub code: Code,
    pub message: String,
    pub issues: Option<Vec<Value>>,
}

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> ApiError {
        ApiError { code, message: message.into(), issues: None }
    }

    pub(crate) fn bad(message: impl Into<String>) -> ApiError {
        ApiError::new(Code::BadRequest, message)
    }

    pub(crate) fn missing(what: &str) -> ApiError {
        ApiError::new(Code::NotFound, format!("{what} not found"))
    }

    pub(crate) fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(Code::Internal, message)
    }

    pub(crate) fn denied(message: impl Into<String>) -> ApiError {
        ApiError::new(Code::Unauthorized, message)
    }

    pub(crate) fn invalid(issues: Vec<Value>) -> ApiError {
        let message = "Input validation failed".to_owned();
        ApiError { code: Code::BadRequest, message, issues: Some(issues) }
    }

    /// The REST body. Without a path it is the answer of an endpoint that does not exist.
    pub(crate) fn rest(&self, path: Option<&str>) -> String {
        let zod = self.issues.as_deref().map_or(Value::Null, flatten);
        let mut data = json!({"code": self.code.name(), "httpStatus": self.code.http()});
        if let Some(path) = path {
            data["path"] = Value::from(path);
        }
        data["zodError"] = zod;
        let mut body = json!({"message": self.message, "code": self.code.name(), "data": data});
        if let Some(issues) = &self.issues {
            body["issues"] = Value::from(issues.clone());
        }
        body.to_string()
    }

    /// The tRPC item. There the issues stand in the message, as indented JSON.
    pub(crate) fn trpc(&self, path: &str) -> String {
        let zod = self.issues.as_deref().map_or(Value::Null, flatten);
        let message = match &self.issues {
            Some(issues) => serde_json::to_string_pretty(issues).unwrap_or_default(),
            None => self.message.clone(),
        };
        let data =
            json!({"code": self.code.name(), "httpStatus": self.code.http(), "path": path, "zodError": zod});
        json!({"error": {"json": {"message": message, "code": self.code.rpc(), "data": data}}}).to_string()
    }
}

/// A procedure's answer: the JSON text of its value, or nothing at all (an empty body, still 200).
pub(crate) type Answer = Result<Option<String>, ApiError>;

pub(crate) fn say(value: &impl serde::Serialize) -> Answer {
    Ok(Some(serde_json::to_string(value).map_err(|e| ApiError::internal(e.to_string()))?))
}
